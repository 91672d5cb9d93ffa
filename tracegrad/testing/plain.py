"""Random NumPy programs on exotic operands, plain NumPy against tracegrad: `python -m tracegrad.testing.fuzz --plain`.

A `Case` is drawn by one number: operands of every dtype, as Python's, NumPy's scalars and arrays of every memory layout, with
zeros of both signs, infinities and NaN among their elements, and a few lines of NumPy on them, under any variable names. What
plain NumPy makes of it is the truth. A traced function, a jitted one, one on XLA and one under vmap must give the same, or
say that they do not take it; its two derivatives must agree, and be those of differences where these exist.

Where they differ, plain NumPy is asked again, since not all that it gives is told by the program alone:

- A value without axes is a number to a traced function (README). Where NumPy makes something else of an array without
  axes than of the number in it, either is right.
- NumPy has several ways to the same. The program is run once more on others (`OtherWays`), and no element is compared on
  which these disagree with the program itself; so every element is compared that NumPy gives in one way only. Products
  are added up by BLAS, by einsum's loops, by ufuncs: these do not agree on infinity times a complex number, on zero
  times infinity (BLAS leaves out what is multiplied by zero) and on the sign of a sum of zeros. Integers
  of which it takes the mean are cast as they are added up, or all of them before; where they are too large for float64, their
  sums are rounded, and the variance of equal ones is what is left of that. `ufunc.at` makes an int64 of Python's numbers, beside
  which uint64 are computed with as float64. Of equal elements, `np.argsort` may have any first. A NaN has either sign. An infinite or too large number as an integer is whatever the
  processor has for it, and so is `np.reciprocal` of an integer zero. NumPy's scalars do not compare complex NaN, nor raise
  infinities to powers, as its arrays do. `np.clip` is not quite the `np.minimum` of `np.maximum` that its documentation
  calls it: for zeros of both signs, and NaN of complex numbers.
- XLA's complex functions of infinities are C's, NumPy's are not; and what overflows or underflows on the way in NumPy may
  not on XLA, which writes log(x**y) as y * log(x), and sqrt(x*x) as abs(x). On XLA no element is compared that is another
  one with other numbers in the place of complex ones, and of those on the way, that are not finite, or with zeros for
  subnormal numbers (`_within_range`), or in numbers with more room for exponents (`_in_wide_numbers`). `OnXla` has the rest.
- Python's numbers leave their kind: (-0.25) ** 0.5 is complex, 2 ** -3 a float, (2**40) ** 2 no int64. A traced number is
  of one dtype.
- What differs by rounding alone is not wrong. NumPy computes once more with noise in the last places of all that each
  line reads (`_noisy`); by as much as that changes an element, others may differ that need not be the same to the bit.
- What nothing reads is not computed by a jitted function, be it that NumPy would have raised there. Then the result must
  be what the rest of the program makes of any other value in its place.
"""

from __future__ import annotations

import builtins
import functools
import keyword
import math
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import tracegrad.numpy  # noqa: F401 -- the functions that plain code calls on tracers
from tracegrad import lax, tree
from tracegrad.core.errors import (
    ConcretizationTypeError,
    DifferentiationError,
    DtypeError,
    TracerArrayConversionError,
    UnsupportedFunctionError,
)
from tracegrad.scipy import special
from tracegrad.transforms.inspect import eval_shape
from tracegrad.transforms.jit.numpy import jit
from tracegrad.transforms.linearize import jvp, vjp
from tracegrad.transforms.vmap import vmap

DTYPES = "?bBhHiIlLefdgFD"
FLOATS = "efd"
SHAPES = ((), (3,), (1,), (2, 3), (3, 2), (2, 1), (1, 3), (0,), (2, 0), (2, 3, 2))
LAYOUTS = ("C", "F", "strided", "reversed", "broadcast", "read-only")
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, math.inf, -math.inf, math.nan, 1e-300, 1e300, 100.0, 300.0)

UNARY = (
    "-{0}", "+{0}", "abs({0})", "~{0}", "np.sin({0})", "np.exp({0})", "np.sqrt({0})", "np.log({0})", "np.tanh({0})", "np.floor({0})",
    "np.sign({0})", "np.square({0})", "np.reciprocal({0})", "np.isnan({0})", "np.logical_not({0})", "np.cbrt({0})", "np.rint({0})",
    "np.log1p({0})", "np.expm1({0})", "np.arctan({0})", "np.conj({0})", "np.real({0})", "np.imag({0})", "np.angle({0})", "np.signbit({0})",
    "np.sum({0})", "np.mean({0})", "np.var({0})", "np.std({0})", "np.prod({0})", "np.max({0})", "np.min({0})", "np.any({0})", "np.all({0})",
    "np.sum({0}, axis=-1)", "np.sum({0}, axis=0, keepdims=True)", "np.mean({0}, axis=0)", "np.max({0}, axis=-1)",
    "np.cumsum({0})", "np.cumprod({0}, axis=-1)", "np.sort({0})", "np.argsort({0})", "np.argmax({0})", "np.median({0})", "np.ptp({0})",
    "np.ravel({0})", "np.ravel({0}, order='K')", "{0}.T", "np.transpose({0})", "np.reshape({0}, -1)", "{0}.flatten()", "np.copy({0})",
    "np.reshape({0}, (-1, 1), order='F')", "np.squeeze({0})", "np.expand_dims({0}, 0)", "np.flip({0})", "np.roll({0}, 1)",
    "{0}[0]", "{0}[-1]", "{0}[..., 0]", "{0}[::-1]", "{0}[None]", "{0}[[0, -1, 0]]", "{0}[{0} > 0]", "{0}[()]", "{0}[1:, ...]",
    "np.diff({0})", "np.repeat({0}, 2)", "np.repeat({0}, 2, 0)", "np.tile({0}, 2)", "np.pad({0}, 1)", "np.pad({0}, 1, constant_values=-0.0)",
    "np.clip({0}, -1, 2)", "np.clip({0}, 0, 300)", "np.nan_to_num({0})", "np.round({0}, 1)", "round({0})", "np.trunc({0})",
    "{0}.astype('f4')", "{0}.astype('i8')", "{0}.astype(bool)", "{0}.mean()", "{0}.sum(-1)", "{0}.real", "{0}.imag", "{0}.conj()", "{0}.item()",
    "{0}.tolist()", "{0}.dtype.type(2) * {0}", "{0} / np.prod(np.shape({0}))", "{0} * {0}", "{0} * 2", "2 * {0}", "{0} ** 2", "{0} ** 0.5",
    "{0} ** -1", "2 ** {0}", "{0} / 2", "{0} // 2", "{0} % 3", "7.5 % {0}", "{0} + 1", "1 - {0}", "{0} - True", "{0} * 1.5", "{0} * 1j", "{0} > 300",
    "{0} < -1", "{0} == 0", "{0} != None", "{0} & 1", "{0} | 1", "{0} ^ 1", "{0} << 1", "{0} >> 1", "np.where({0} > 0, {0}, 0)",
    "np.where({0}, 1, 0.5)", "np.nanmax({0})", "np.nansum({0})", "np.count_nonzero({0})", "np.atleast_2d({0})", "np.asarray({0})",
    "np.ones_like({0})", "np.zeros_like({0}, dtype='f4')", "np.full_like({0}, 3)", "np.frexp({0})[0]", "np.modf({0})[0]", "np.float32(3) * {0}",
    "np.int64(4) * {0}", "{0} / np.int64(4)", "{0} / np.float16(2)", "{0} * np.uint8(200)", "{0} + np.int8(100)", "np.float64(0.1) * {0}",
    "np.linalg.norm({0})", "np.unique({0})", "np.trace({0})", "np.diagonal({0})", "np.tril({0})", "np.ndim({0}) == 0 or np.isscalar({0})",
    "np.ndim({0}) == 0 or isinstance({0}, np.ndarray)", "np.ndim({0}) > 0 and isinstance({0}, float)", "np.size({0})", "np.ndim({0})", "np.take({0}, [0, 0])", "np.maximum({0}, 0)", "np.minimum(1, {0})",
)  # fmt: skip
BINARY = (
    "{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} / {1}", "{0} // {1}", "{0} % {1}", "{0} ** {1}", "{0} @ {1}", "{0} & {1}", "{0} | {1}", "{0} ^ {1}",
    "{0} << {1}", "{0} >> {1}", "{0} < {1}", "{0} <= {1}", "{0} == {1}", "{0} != {1}", "{0} > {1}", "np.maximum({0}, {1})", "np.minimum({0}, {1})",
    "np.fmax({0}, {1})", "np.arctan2({0}, {1})", "np.hypot({0}, {1})", "np.logaddexp({0}, {1})", "np.copysign({0}, {1})", "np.fmod({0}, {1})",
    "np.power({0}, {1})", "np.float_power({0}, {1})", "np.logical_and({0}, {1})", "np.where({0}, {1}, {0})", "np.where({1} > 0, {0}, {1})",
    "np.dot({0}, {1})", "np.outer({0}, {1})", "np.inner({0}, {1})", "np.concatenate([{0}, {1}])", "np.stack([{0}, {1}])", "np.hstack([{0}, {1}])",
    "np.append({0}, {1})", "np.clip({0}, None, {1})", "np.clip({0}, {1}, 2)", "np.add({0}, {1})", "np.subtract({0}, {1}, dtype='f8')",
    "np.multiply({0}, {1})", "np.divide({0}, {1})", "np.einsum('...,...', {0}, {1})", "np.tensordot({0}, {1}, 0)", "np.cross({0}, {1})",
    "np.convolve({0}, {1})", "np.searchsorted(np.sort({0}), {1})", "np.isclose({0}, {1})", "np.allclose({0}, {1})", "np.array_equal({0}, {1})",
    "np.broadcast_arrays({0}, {1})[0]", "np.heaviside({0}, {1})", "np.divmod({0}, {1})[1]", "np.ldexp({0}, {1})", "np.kron({0}, {1})",
    "np.select([{0} > 0], [{1}], {0})", "np.polyval([1.0, 2.0], {0}) + {1}", "np.average({0}, weights={1})", "{0}[{1}]", "np.take({0}, {1} % 2, mode='clip')",
    "np.add.outer({0}, {1})", "np.logical_xor({0}, {1})", "np.nextafter({0}, {1})", "np.gcd({0}, {1})", "np.vdot({0}, {1})", "np.matmul({0}, {1})",
)  # fmt: skip
# Branches and loops, what masks select, and SciPy's functions, in cases from this number on: the others keep their programs.
WIDER_FROM = 500_000_000
WIDER = (
    "np.sin({0}) if np.all({0} > 0) else np.cos({0})", "{0} * 2 if np.sum({0}) > 1 else {0} - 1", "{0} if {0} > 0.5 else {1}",
    "{0} if np.any({0} < {1}) else {1} * 0.5", "({0} if np.max({0}) > 1 else -{0}) if np.size({0}) else {1}",
    "np.sum({0}[{0} > 0])", "{0}[{0} > 0] * 2", "np.mean({0}[{0} < 1])", "{0}[~({0} > 0)]", "np.max({0}[{0} > 0])", "np.cumsum({0}[{0} != 0])",
    "np.sum({0}, where={0} > 0)", "np.mean({0}, where={0} != 0)", "np.max({0}, where={0} > 0, initial=-1)", "np.extract({0} > 0, {0})",
    "np.compress([True], {0})", "np.nonzero({0})[0]", "np.where({0} > 0, {0}, {1})", "np.sum(({0} > 0) * {0})", "np.prod({0}[{0} > 0], axis=0)",
    "np.var({0}[{0} > 0])", "np.median({0}[{0} > 0])", "np.dot({0}[{0} > 0], {0}[{0} > 0])", "np.any({0}[{1} > 0])", "{0}[{1} > 0].sum()",
    "lax.fori_loop(0, 3, lambda i, c: c * 0.5, {0})", "lax.cond(np.sum({0}) > 0, np.sin, np.cos, {0})", "lax.map(lambda v: v * v, {0})",
    "lax.scan(lambda c, v: (c * 0.5 + 1, c * v), 0.5, {0})[1]", "lax.while_loop(lambda c: np.any((c > 1) & np.isfinite(c)), lambda c: c * 0.5, np.abs({0}))",
    "lax.switch(1, [np.sin, np.square], {0})",
    "special.expit({0})", "special.erf({0})", "special.xlogy({0}, {1})", "special.logsumexp({0})", "special.gammaln({0})", "special.log_ndtr({0})",
    "special.j0({0})", "special.entr({0})", "special.digamma({0})", "special.rel_entr({0}, {1})", "special.i0e({0})", "special.logit({0})",
)  # fmt: skip
WRITES = (
    "{0}[0] = 2", "{0}[...] = 0.5", "{0} += 1", "{0} *= 2", "{0} -= {1}", "{0}[::2] *= 3", "{0}[{0} > 0] = 1", "{0}[-1] += {1}", "{0}.T[0] = 3",
    "{0}.fill(2)", "{0}.sort()", "{0}[[0, 0]] += 1", "np.add.at({0}, 0, 2)", "np.add({0}, {1}, out={0})", "np.copyto({0}, {1})", "{0}.flat[0] = 7",
    "np.put({0}, [0], 5)", "{0} /= 2", "{0} **= 2",
)  # fmt: skip
WIDER_WRITES = (
    "{0}[{0} > 0] *= 2", "{0}[{0} < 1] = {0}[{0} < 1] + 1", "{0}[{1} > 0] = 0.5", "{0}[...] += {1}", "{0}[1:] += {0}[:-1]", "{0}.ravel()[0] = 4",
    "{0}[:, 0] = {1}", "{0}[..., ::-1][0] -= 1", "np.fill_diagonal({0}, 9)", "np.place({0}, {0} > 0, 3)", "np.putmask({0}, {0} > 0, {1})",
    "np.multiply({0}, 2, out={0}, where={0} > 0)", "{0}.T[...] -= 1", "{0}[0], {0}[-1] = {0}[-1], {0}[0]", "np.maximum.at({0}, [0], 1)",
)  # fmt: skip
# What makes an integer of Python's of as many bits as the operand says, and what makes an element of each pair of elements:
# neither may fill the memory.
UNBOUNDED = ("2 ** {0}", "{0} ** {1}", "{0} << {1}")
PAIRED = ("np.outer({0}, {1})", "np.tensordot({0}, {1}, 0)", "np.kron({0}, {1})", "np.add.outer({0}, {1})", "{0}[{1}]")
NAMES = [n for n in (*dir(builtins), "x", "a", "b", "aa", "own", "out", "f", "np_", "empty", "multiply", "sin", "array", "compiled", "é", "axis")
         if n.isidentifier() and not keyword.iskeyword(n) and n not in ("abs", "round", "isinstance", "float", "bool", "print", "__import__", "__debug__")]  # fmt: skip
# What NumPy computes in several steps, and a traced function in others: their sums are rounded otherwise, or taken in another
# order, since what is summed up lies otherwise in memory, as what a mask selects does, among what it leaves out. (See `jit`. It
# says that of copies of what is not in C order, too.)
COMPOSED = ("inner", "dot", "norm", "einsum", "nan_to_num", "nansum", " > 0]\n")
# What says that a program is not taken, and why.
REFUSED = (
    ConcretizationTypeError,
    DifferentiationError,
    DtypeError,
    TracerArrayConversionError,
    UnsupportedFunctionError,
)


# What else is an answer: no value is given where NumPy has one.
SAID = (
    "nothing to take it of",
    "needs a value where that is nothing",
    "depends on memory layout",
    "would be a float in plain Python",
    "must be of integer",
    "which of the two this is",
    "would write a traced array into a plain one",
    "could not broadcast input array",
)


class Operand:
    """An operand: the Python that makes it, and what it makes, anew at each call."""

    def __init__(self, source: str, make: Callable[[], Any]) -> None:
        self.source, self.make = source, make


def _numbers(rng: random.Random, char: str, count: int, mild: bool) -> Any:
    dtype = np.dtype(char)
    if dtype.kind in "fc":
        draw = lambda: rng.uniform(-2, 2) if mild or rng.random() < 0.7 else rng.choice(SPECIAL)
        values = [complex(draw(), draw()) if dtype.kind == "c" else draw() for _ in range(count)]
    elif dtype.kind == "b":
        values = [rng.random() < 0.5 for _ in range(count)]
    else:
        info = np.iinfo(dtype)
        low, high = (max(info.min, -5), 5) if mild or rng.random() < 0.8 else (info.min, info.max)
        values = [rng.randint(low, high) for _ in range(count)]
    with np.errstate(all="ignore"):
        return np.array(values, dtype)


def laid_out(x: Any, layout: str) -> Any:
    """The same elements in memory of another layout."""
    if layout == "F":
        return np.asfortranarray(x) if x.ndim else x
    if layout == "strided" and x.ndim:
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout == "reversed" and x.ndim:
        return np.ascontiguousarray(x[::-1])[::-1]
    if layout == "broadcast" and x.ndim > 1:
        return np.broadcast_to(x[:1], x.shape)
    x = x.copy()
    x.flags.writeable = layout != "read-only"
    return x


def draw_operand(rng: random.Random, mild: bool) -> Operand:
    kind = rng.random()
    if kind < 0.15:
        value = rng.choice(
            [True, False, 0, 1, 2, -3, 2**40, 0.0, -0.0, 0.5, 2.5, math.inf, math.nan, 1j, 0.5 - 2j]
            if not mild
            else [2, 0.5, 1.5, -0.25]
        )
        return Operand(repr(value), lambda: value)
    char = rng.choice(FLOATS if mild else DTYPES)
    if kind < 0.3:
        scalar = _numbers(rng, char, 1, mild)[0]
        return Operand(f"np.dtype({char!r}).type({scalar!s})", lambda: scalar)
    shape = rng.choice(SHAPES)
    array = _numbers(rng, char, math.prod(shape), mild).reshape(shape)
    layout = rng.choice(LAYOUTS)
    return Operand(
        f"laid_out(np.array({array.tolist()!r}, {char!r}).reshape({shape}), {layout!r})",
        lambda: laid_out(array, layout),
    )


class Case:
    """A drawn program: `source` is Python that defines `program(*operands)`."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.seed = seed
        self.mild = rng.random() < 0.3  # floats only, without special values: for differences
        count = rng.choice((1, 2, 2, 3))
        self.operands = [draw_operand(rng, self.mild) for _ in range(count)]
        names = rng.sample(NAMES, count + 4)
        values = names[:count]
        self.names = tuple(values)
        self.writes = False
        self.lines: list[tuple[str, str]] = []  # what each is about, and it
        self.paired = 0
        wider = seed >= WIDER_FROM
        templates, writes = UNARY + BINARY + wider * WIDER, WRITES + wider * WIDER_WRITES
        endless = any([operand.source == repr(2**40) for operand in self.operands])
        for i in range(rng.choice((1, 1, 2, 3))):
            latest = values[-1] if i else rng.choice(values)
            if rng.random() < 0.12:
                target = names[count + i]
                self.lines.append((target, f"{target} = np.copy({latest})"))
                self.lines.append((target, rng.choice(writes).format(target, rng.choice(values))))
                self.writes = True
            else:
                template = rng.choice(templates)
                while (endless and template in UNBOUNDED) or (template in PAIRED and self.paired == 2):
                    template = rng.choice(templates)
                self.paired += template in PAIRED
                target = names[count + i]
                self.lines.append((target, f"{target} = {template.format(latest, rng.choice(values))}"))
            values.append(target)
        self.source = self.up_to(len(self.lines))
        self.program = self.made(self.source)

    def up_to(self, line: int) -> str:
        """The source of the program's first lines, which returns what the last of them is about."""
        body = "".join([f"    {text}\n" for _, text in self.lines[:line]])
        return f"def program({', '.join(self.names)}):\n{body}    return {self.lines[line - 1][0]}\n"

    def made(self, source: str, xp: Any = np) -> Callable[..., Any]:
        """The function that a source defines, with something else in NumPy's place if that is given."""
        scope = _scope(xp)
        exec(compile(source, f"<case {self.seed}>", "exec"), scope)
        found: Callable[..., Any] = scope["program"]
        return found

    def args(self) -> list[Any]:
        return [operand.make() for operand in self.operands]

    def __repr__(self) -> str:
        given = "\n".join([f"    {operand.source}," for operand in self.operands])
        return f"# case {self.seed}\n{self.source}args = [\n{given}\n]"


def _scope(xp: Any = np) -> dict[str, Any]:
    """What programs know, with something else in NumPy's place if that is given."""
    return {"np": xp, "lax": lax, "special": special}


def _run(function: Callable[..., Any], args: Sequence[Any]) -> tuple[Any, Exception | None]:
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def _is_said(error: Exception) -> bool:
    """Whether it says that the program is not taken, or why there is no value."""
    return isinstance(error, REFUSED) or any([said in str(error) for said in SAID])


def _leaves(out: Any) -> list[Any]:
    return [leaf for item in out for leaf in _leaves(item)] if isinstance(out, tuple | list) else [out]


def _stirred(x: Any) -> Any:
    """Integers as float64; those whose sum that cannot hold, with noise in the last places."""
    if np.asarray(x).dtype.kind not in "iu":
        return x
    y = np.asarray(x, np.float64)
    noise = 1 + 4 * np.finfo(np.float64).eps * np.cos(np.arange(y.size)).reshape(y.shape)
    return np.where(np.abs(y) * y.size > 2.0**53, y * noise, y)


class OtherWays:
    """NumPy, but what it has several ways for goes another one: sums of products by `np.multiply` and `np.sum`, `np.outer` by
    einsum, which adds to zero."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def mean(self, a: Any, *args: Any, **keywords: Any) -> Any:
        return np.mean(_stirred(a), *args, **keywords)

    def var(self, a: Any) -> Any:
        return np.var(_stirred(a))

    def std(self, a: Any) -> Any:
        return np.std(_stirred(a))

    def matmul(self, a: Any, b: Any) -> Any:
        a, b = np.asarray(a), np.asarray(b)
        wide, tall = a if a.ndim > 1 else a[None], b if b.ndim > 1 else b[:, None]
        out = np.sum(wide[..., None] * tall[..., None, :, :], -2, dtype=np.result_type(a, b))
        out = out if b.ndim > 1 else out[..., 0]
        return out if a.ndim > 1 else out[0] if b.ndim < 2 else out[..., 0, :]

    def inner(self, a: Any, b: Any) -> Any:
        if not (np.ndim(a) and np.ndim(b)):
            return np.multiply(a, b)
        a = np.reshape(a, (*np.shape(a)[:-1], *(1,) * (np.ndim(b) - 1), -1))
        return np.sum(np.multiply(a, b), -1, dtype=np.result_type(a, b))

    def dot(self, a: Any, b: Any) -> Any:
        return self.inner(a, np.swapaxes(b, -1, -2) if np.ndim(b) > 1 else b)

    def vdot(self, a: Any, b: Any) -> Any:
        return self.inner(np.conj(np.ravel(a)), np.ravel(b))

    def tensordot(self, a: Any, b: Any, axes: int) -> Any:
        return np.multiply.outer(a, b)

    def outer(self, a: Any, b: Any) -> Any:
        return np.einsum("i,j", np.ravel(a), np.ravel(b))

    def einsum(self, subscripts: str, a: Any, b: Any) -> Any:
        return np.multiply(a, b)

    def reciprocal(self, x: Any) -> Any:
        found = np.reciprocal(x)
        return np.where(np.asarray(x) == 0, x, found)[()].astype(found.dtype) if found.dtype.kind in "iu" else found

    def clip(self, a: Any, low: Any, high: Any) -> Any:
        found = a if low is None else np.maximum(a, low)
        found = found if high is None else np.minimum(found, high)
        return np.asarray(found).astype(np.clip(a, low, high).dtype)

    def as_i8(self, x: Any) -> Any:
        found = x.astype("i8")
        if x.dtype.kind not in "fc":
            return found
        return np.where(np.abs(np.real(x)) < 2.0**63, found, ~found)[()]

    def signbit(self, x: Any) -> Any:
        return np.signbit(x) ^ np.isnan(x)

    def copysign(self, x: Any, y: Any) -> Any:
        return np.copysign(x, np.where(np.isnan(y), -y, y))

    def argsort(self, a: Any) -> Any:
        return np.argsort(a, kind="stable")

    def convolve(self, a: Any, v: Any) -> Any:
        a, v = np.atleast_1d(a), np.atleast_1d(v)
        out = np.zeros(a.size + v.size - 1, np.result_type(a, v))
        for k in range(v.size):
            out[k : k + a.size] += a * v[k]
        return out


class OnXla(OtherWays):
    """The same with what XLA makes of some things. It has zeros beside what is convolved, and infinity times these is NaN. Its
    compiler for CPUs (of jax 0.10.2) makes garbage of an exponential of what it finds to be NaN, as it does in a border: in
    exp(x / x), where x is lax.pad(y, 0.0, ...). A power of complex numbers overflows or underflows there where the power of the
    base's size does, or what its angle adds; and log1p of complex numbers is exact for small ones, of whose logarithms NumPy's
    has no digits."""

    def sum(self, a: Any, *args: Any, **keywords: Any) -> Any:
        found = np.sum(a, *args, **keywords)
        return found + found.dtype.type(0)

    def mean(self, a: Any, *args: Any, **keywords: Any) -> Any:
        found = super().mean(a, *args, **keywords)
        return found + found.dtype.type(0)

    def logaddexp(self, x: Any, y: Any) -> Any:
        found = np.logaddexp(x, y)
        return np.where(np.isnan(found), found.dtype.type(0), found)[()]

    def log1p(self, x: Any) -> Any:
        found = np.log1p(x)
        if found.dtype.kind != "c":
            return found
        real, imag = np.real(x), np.imag(x)
        return (np.log1p(real * (2 + real) + imag**2) / 2 + 1j * np.arctan2(imag, 1 + real)).astype(found.dtype)

    def power(self, x: Any, p: Any) -> Any:
        found = np.power(x, p)
        if found.dtype.kind != "c":
            return found
        parts = np.abs(x) ** np.real(p), np.exp(-np.imag(p) * np.angle(x))
        within = [(part != 0) & np.isfinite(part) for part in parts]
        return np.where(within[0] & within[1], found, math.nan)[()].astype(found.dtype)

    def float_power(self, x: Any, p: Any) -> Any:
        dtype = np.float_power(x, p).dtype
        return self.power(np.asarray(x, dtype), np.asarray(p, dtype))

    def convolve(self, a: Any, v: Any) -> Any:
        a, v = np.atleast_1d(a), np.atleast_1d(v)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(a, v.size - 1), v.size)
        return np.sum(windows * v[::-1], -1, dtype=np.result_type(a, v))


def _agree(a: Any, b: Any, noisy: Sequence[Any] = (), signs: bool = True) -> Any:
    """Where two arrays agree to almost all digits, NaN with NaN and zeros in their signs, or differ no more from each other
    than `b` does from what noise makes of it."""
    if a.dtype.kind == "c":
        (ar, br, *real), (ai, bi, *imag) = [[part(x) for x in (a, b, *noisy)] for part in (np.real, np.imag)]
        return _agree(ar, br, real, signs) & _agree(ai, bi, imag, signs)
    same = a == b
    if a.dtype.kind == "f":
        same = np.isclose(a, b, 300 * np.finfo(a.dtype).eps, 0, equal_nan=True)
        if signs:
            same &= (a != 0) | (b != 0) | (np.signbit(a) == np.signbit(b))
    for x in noisy:
        moved = np.abs(np.subtract(x, b, dtype=np.longdouble))
        same |= (moved > 0) & (np.abs(np.subtract(a, b, dtype=np.longdouble)) <= 3 * moved)
        if a.dtype.kind == "f":
            same |= np.isfinite(x) != np.isfinite(b)
    return same


def _differ(
    got: Any, expected: Any, exactly: bool, elsewise: Sequence[Any] = (), noisy: Sequence[Any] = ()
) -> str | None:
    """In what two results differ: to the bit, or by more than what noise makes of them; but for elements on which NumPy's
    other ways to the same disagree."""
    for number, (a, b) in enumerate(zip(_leaves(got), _leaves(expected), strict=True)):
        if b is None or isinstance(b, str | np.dtype | type):
            continue
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype:
            return f"dtype {a.dtype}, not {b.dtype}"
        others, moved = [[np.asarray(_leaves(x)[number]) for x in found] for found in (elsewise, noisy)]
        others, moved = [[x for x in found if x.dtype == b.dtype] for found in (others, moved)]
        if any([x.shape != b.shape for x in (*others, *moved)]):
            return None  # a shape that depends on what is not defined, or on rounding
        if a.shape != b.shape:
            return f"shape {a.shape}, not {b.shape}"
        if b.dtype.kind == "O":
            if a.tolist() != b.tolist():
                return f"{a}, not {b}"
            continue
        if exactly:
            same = _agree(a, b) & ((a == b) | (a != a))
        else:
            same = _agree(a, b, moved, signs=False)
            if a.dtype.kind == "c":  # infinity times a complex number is whatever the order makes it
                same |= ~np.isfinite(a) & ~np.isfinite(b)
        rounded = moved if b.dtype.kind in "fc" else ()
        known = np.all([np.ones(b.shape, bool), *[_agree(x, b, rounded) for x in others]], 0)
        if not np.all(same | ~known):
            return f"{a}, not {b}"
    return None


def _reread(case: Case, args: Sequence[Any], read: Callable[[str, Any], Any]) -> list[Any]:
    """What the program makes of its arguments, in a list, or none where it raises, if each line reads something else in
    place of each value that has a name."""
    scope = {**_scope(), "read": read, **dict(zip(case.names, args, strict=True))}
    names = "|".join([*case.names, *[target for target, _ in case.lines]])
    try:
        for target, text in case.lines:
            # After the first equals sign, all that is no attribute and no keyword.
            written, sign, expression = text.partition("= ")
            scope_of_line = {**scope}
            exec(
                written + sign + re.sub(rf"(?<![.\w])({names})(?![\w=])", r"read('\1', \1)", expression), scope_of_line
            )
            scope[target] = scope_of_line[target]
    except Exception:
        return []
    return [scope[case.lines[-1][0]]]


def _noisy(case: Case, args: Sequence[Any]) -> list[Any]:
    """What the program makes of its arguments if all that each line reads is rounded otherwise."""

    def noise(rng: np.random.Generator, name: str, x: Any) -> Any:
        dtype = np.asarray(x).dtype
        if dtype.kind not in "fc":
            return x
        size, turn = 30 * np.finfo(dtype).eps * rng.uniform(-1, 1, (2, *np.shape(x)))
        factor = 1 + size + (1j * turn if dtype.kind == "c" else 0)
        y = np.where(np.isfinite(x), x * factor, x).astype(dtype)
        return y if type(x) is np.ndarray else type(x)(y)

    drawn = [np.random.default_rng(seed) for seed in range(8)]
    return [found for rng in drawn for found in _reread(case, args, functools.partial(noise, rng))]


def _within_range(case: Case, args: Sequence[Any]) -> list[Any]:
    """What the program makes of its arguments with other numbers in the place of complex ones that are not finite, and of what
    is not on the way; and with zeros in the place of subnormal numbers."""
    values = dict(zip(case.names, args, strict=True))
    values |= {case.lines[number][0]: value for number, value, _ in _steps(case, args)}

    def other(fill: complex, name: str, x: Any) -> Any:
        dtype = np.asarray(values[name]).dtype
        if dtype.kind != "c" and (dtype.kind != "f" or name in case.names):
            return x
        y = np.where(np.isfinite(values[name]), x, fill if dtype.kind == "c" else fill.real).astype(dtype)
        return y if type(x) is np.ndarray else type(x)(y)

    def flushed(name: str, x: Any) -> Any:
        dtype = np.asarray(x).dtype
        if dtype.kind != "f":
            return x
        y = np.where(np.abs(x) < np.finfo(dtype).tiny, dtype.type(0), x)
        return y if type(x) is np.ndarray else type(x)(y)

    fills = (0j, 0.75 - 0.25j, -400 - 400j, complex(math.nan, math.nan))
    normal = [tree.tree_map(lambda x: flushed("", x), found) for found in _reread(case, args, flushed)]
    return normal + [found for fill in fills for found in _reread(case, args, functools.partial(other, fill))]


def _in_wide_numbers(case: Case, args: Sequence[Any]) -> list[Any]:
    """What the program makes of its arguments as long doubles, which hold what overflows and underflows on the way. The dtype's own
    ends, which `np.nan_to_num` and `np.nextafter` give, stay."""

    def wide(x: Any) -> Any:
        kind = np.asarray(x).dtype.kind
        if kind not in "fc":
            return x.copy() if type(x) is np.ndarray else x
        y = np.asarray(x).astype(np.longdouble if kind == "f" else np.clongdouble)
        return y if type(x) is np.ndarray else y[()]

    def narrow(x: Any, like: Any) -> Any:
        found, dtype = np.asarray(x), np.asarray(like).dtype
        return found.astype(dtype) if found.dtype.kind == dtype.kind and dtype.kind in "fc" else x

    given = {**_scope(), **dict(zip(case.names, [x.copy() if type(x) is np.ndarray else x for x in args], strict=True))}
    scope = {**_scope(), **dict(zip(case.names, map(wide, args), strict=True))}
    target = ""
    try:
        for target, text in case.lines:
            exec(text, given)
            if "nan_to_num" in text or "nextafter" in text:
                scope[target] = tree.tree_map(wide, given[target])
            else:
                exec(text, scope)
    except Exception:
        return []
    found, expected = _leaves(scope[target]), _leaves(given[target])
    if len(found) != len(expected):
        return []
    return [[narrow(x, like) for x, like in zip(found, expected, strict=True)]]


def _digits(case: Case, args: Sequence[Any]) -> float:
    """The coarsest rounding on the way."""
    found = [*args, *[leaf for _, value, _ in _steps(case, args) for leaf in _leaves(value)]]
    dtypes = [x.dtype for x in found if isinstance(x, np.ndarray | np.generic)]
    return max([float(np.finfo(dtype).eps) for dtype in dtypes if dtype.kind in "fc"], default=0.0)


def _has_mean_of_integers(case: Case, values: Sequence[Any]) -> bool:
    """Whether NumPy adds up integers as it casts them, buffer by buffer."""
    kinds = [x.dtype.kind for value in (*case.args(), *values) for x in map(np.asarray, _leaves(value))]
    return re.search(r"\b(mean|var|std)\(", case.source) is not None and not set(kinds).isdisjoint("iub")


def _leaves_its_kind(case: Case) -> bool:
    """Whether a Python number on the way is one that no traced number of the operands' kinds can be."""
    is_complex = "1j" in case.source or any([np.asarray(x).dtype.kind == "c" for x in case.args()])
    made = dict(zip(case.names, case.args(), strict=True))
    for number, value, _ in _steps(case, case.args()):
        target, text = case.lines[number]
        of_ints = all([type(made[name]) in (int, bool) for name in re.findall(r"\w+", text) if name in made])
        made[target] = value
        for x in _leaves(value):
            if isinstance(x, str | np.dtype | type | None):
                continue
            is_long = np.asarray(x).dtype.kind == "O" or (type(x) is int and not -(2**63) <= x < 2**63)
            is_quotient = type(x) is float and " ** " in text and of_ints
            # A complex number of Python's takes np.float64, such as np.prod(()), for a float of Python's.
            is_quotient |= type(x) is complex and "np.prod(" in text
            if is_long or is_quotient or (type(x) is complex and not is_complex):
                return True
    return False


def _steps(
    case: Case, args: Sequence[Any], instead: Callable[[int], Any] | None = None
) -> Iterator[tuple[int, Any, bool]]:
    """For each line its number, what it makes and whether it does, one after the other in plain NumPy; `instead` makes
    something in the place of a line that raises."""
    scope = {**_scope(), **dict(zip(case.names, args, strict=True))}
    for number, (target, text) in enumerate(case.lines):
        does = True
        try:
            exec(text, scope)
        except Exception:
            does = False
            if instead is None:
                return
            scope[target] = instead(number)
        yield number, scope[target], does


def _is_of_dead_code(case: Case, got: Any) -> bool:
    """Whether what a function gives, where NumPy raises, is what its other lines make of any values in the place of those that
    raise."""
    for seed in range(3):
        rng = np.random.default_rng(seed)

        def drawn(line: int, rng: np.random.Generator = rng) -> Any:
            found = eval_shape(case.made(case.up_to(line + 1)), *case.args())
            return tree.tree_map(lambda x: np.asarray(rng.integers(0, 5, x.shape)).astype(x.dtype), found)

        try:
            *_, (_, value, does) = _steps(case, case.args(), drawn)
        except REFUSED:  # of what type it is depends on values
            return False
        if not does or _differ(got, value, exactly=False) is not None:
            return False
    return True


def check_case(case: Case, backends: Sequence[str] = ("numpy",)) -> str:
    """Hold a case against plain NumPy.

    Returns:
        "ran", or "refused" where NumPy has no result, or tracegrad said that it does not take it.

    Raises:
        AssertionError: what differs.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _check_case(case, backends)


# Values without axes, as they come, as numbers all, and as arrays all: what each line reads.
ZERO_AXES: dict[str, Callable[[str, Any], Any]] = {
    "as given": lambda name, x: x,
    "numbers": lambda name, x: x[()] if type(x) is np.ndarray and not x.shape else x,
    "arrays": lambda name, x: np.asarray(x) if isinstance(x, np.generic) else x,
}


_COMPARED = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}


def _elsewise(case: Case, args: Sequence[Any], on_xla: bool = False) -> list[Any]:
    """What the program makes of arguments with NumPy's other ways to multiply and add."""
    source = re.sub(r"(\w+) @ (\w+)", r"np.matmul(\1, \2)", case.source)
    source = re.sub(r"(\w+) \*\* (-?[\w.]+)", r"np.power(\1, \2)", source)
    source = re.sub(
        r"(np\.\w+\(\w+\)|\w+) (<=|>=|<|>) (-?\w+)",
        lambda found: f"np.{_COMPARED[found[2]]}({found[1]}, {found[3]})",
        source,
    )
    source = re.sub(r"(\w+)\.astype\('i8'\)", r"np.as_i8(\1)", source)
    source = re.sub(r"\b(?!np\.)(\w+)\.(mean|sum)\(", r"np.\2(\1, ", source)
    source = re.sub(r"np\.(add|maximum)\.at\((\w+), ([^ ]+), (\d)\)", r"\2[\3] = np.\1(\2[\3], \4)", source)
    found = []
    for xp in (OtherWays(), OnXla()) if on_xla else (OtherWays(),):
        value, error = _run(case.made(source, xp), [x.copy() if type(x) is np.ndarray else x for x in args])
        if error is None:
            found.append(value)
    return found + _within_range(case, args) + _in_wide_numbers(case, args) if on_xla else found


def _check_case(case: Case, backends: Sequence[str]) -> str:
    expected, failure = _run(case.program, case.args())
    others: dict[str, tuple[list[Any], Any, Exception | None]] = {"as given": (case.args(), expected, failure)}
    ran = False

    def asked(how: str) -> tuple[list[Any], Any, Exception | None]:
        """The arguments, and what plain NumPy makes of them, or raises, with values without axes of one kind."""
        if how not in others:
            args = [ZERO_AXES[how]("", x) for x in case.args()]
            found = _reread(case, args, ZERO_AXES[how])
            others[how] = (args, found[0], None) if found else (args, *_run(case.program, args))
        return others[how]

    def judge(got: Any, error: Exception | None, how: str, exactly: bool, on_xla: bool) -> str | None:
        args, expected, failure = asked(how)
        if error is not None:
            return None if failure is not None or _is_said(error) else f"raises {type(error).__name__}: {error}"
        if failure is not None:
            # A tracer takes more than a scalar of Python's does, and gives infinity or NaN where that raises; one without axes
            # is a scalar, and not an array that `+=` cannot make larger. What depends on values is no error on XLA.
            allowed: tuple[str, ...] = (
                "non-broadcastable",
                "setting an array element",
                "float NaN to integer",
                "float infinity",
            )
            if on_xla:
                allowed += ("negative integer powers", "negative shift count", "out of bounds")
            if isinstance(failure, TypeError | AttributeError | ZeroDivisionError) or any(
                [said in str(failure) for said in allowed]
            ):
                return None
            if "zero-size array" in str(failure) and re.search(r"\w+\[~?\(?\w+ [<>!]", case.source):
                return None  # NaN is the largest of what a mask selects, of whose type alone is known, where that is nothing
            if all([np.size(x) == 0 for x in _leaves(got)]) and isinstance(failure, OverflowError):
                return None  # about a number that is written nowhere
            return None if _is_of_dead_code(case, got) else f"gives {got}, where NumPy raises {failure!r}"
        difference = _differ(got, expected, exactly)
        if difference is not None:
            # Numbers on the way have NumPy's scalar arithmetic, which is not that of its arrays to the last bit.
            values = [value for _, value, _ in _steps(case, args)]
            exactly = exactly and all(map(np.ndim, values[:-1])) and not _has_mean_of_integers(case, values)
            difference = _differ(got, expected, exactly, _elsewise(case, args, on_xla), _noisy(case, args))
        return None if difference is None else f"gives {difference}"

    def hold(what: str, function: Callable[..., Any], exactly: bool = True, on_xla: bool = False) -> None:
        nonlocal ran
        args = case.args()
        got, error = _run(function, args)
        for x, y in zip(args, case.args(), strict=True):
            if type(x) is np.ndarray and not np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"):
                raise AssertionError(f"{what} wrote into its argument\n{case!r}")
        wrong = judge(got, error, "as given", exactly, on_xla)
        if wrong is None:
            ran = ran or (error is None and failure is None)
            return
        if None in [judge(got, error, how, exactly, on_xla) for how in ("numbers", "arrays")] or _leaves_its_kind(case):
            return
        raise AssertionError(f"{what} {wrong}\n{case!r}") from error

    hold("a traced function", lambda *args: vjp(case.program, *args)[0], exactly=False)
    # NumPy's scalars have arithmetic of their own, which is not that of its arrays to the last bit; products of complex ones
    # depend on how many there are.
    arrays = all([np.ndim(x) > 0 and x.dtype.kind != "c" for x in case.args()]) and "1j" not in case.source
    arrays = arrays and not any([name in case.source for name in COMPOSED])
    arrays = arrays and ("np.copy" not in case.source or all([x.flags.c_contiguous for x in case.args()]))
    hold("jit", jit(case.program, backend="numpy"), arrays)
    twice = jit(case.program, backend="numpy")
    hold("jit, called again,", lambda *args: (_run(twice, args), twice(*args))[1], arrays)
    # XLA has no long double, and Python's bools are NumPy's there.
    if "xla" in backends and not any([type(x) is bool or np.asarray(x).dtype.char in "gG" for x in case.args()]):
        on_xla = jit(case.program, backend="xla")
        hold("jit on XLA", lambda *args: [np.asarray(x) for x in _leaves(on_xla(*args))], exactly=False, on_xla=True)
    if ran:
        _check_rows(case)
        if case.mild:
            _check_derivatives(case)
    return "ran" if ran else "refused"


def _check_rows(case: Case) -> None:
    """vmap against a loop."""
    args = case.args()
    arrays = [i for i, x in enumerate(args) if type(x) is np.ndarray]
    if not arrays:
        return
    rows = [np.stack([x, np.flip(x)]) if i in arrays else x for i, x in enumerate(args)]
    axes = tuple([0 if i in arrays else None for i in range(len(args))])
    got, error = _run(vmap(case.program, axes), rows)
    each = [_run(case.program, [x[k] if i in arrays else x for i, x in enumerate(rows)]) for k in range(2)]
    if any([failure is not None for _, failure in each]):
        return
    if error is not None:
        if not _is_said(error) and not _leaves_its_kind(case):
            raise AssertionError(f"vmap raises {type(error).__name__}: {error}\n{case!r}") from error
        return
    for k, (expected, _) in enumerate(each):
        row = tree.tree_map(lambda x, k=k: np.asarray(x)[k], got)
        if (difference := _differ(row, expected, exactly=False)) is None:
            continue
        given = [x[k] if i in arrays else x for i, x in enumerate(rows)]
        for read in ZERO_AXES.values():
            args = [read("", x) for x in given]
            found = _reread(case, args, read)
            if found and _differ(row, found[0], False, _elsewise(case, args), _noisy(case, args)) is None:
                break
        else:
            if not _leaves_its_kind(case):
                raise AssertionError(f"vmap gives {difference}\n{case!r}")


def _jumps(f: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any], pushed: Any) -> bool:
    """Whether the derivative on both sides is another one than here, as at a kink."""
    beside = [
        jvp(f, tuple([x + h * t for x, t in zip(args, tangents, strict=True)]), tangents)[1] for h in (1e-6, -1e-6)
    ]
    return bool(np.all(np.abs(np.subtract(beside, pushed)) > 1e-4 * (1 + abs(pushed))))


def _check_derivatives(case: Case) -> None:
    """Forward against reverse, and against differences where the function is smooth."""
    args = [x.astype(np.float64) if isinstance(x, np.ndarray | np.generic) else float(x) for x in case.args()]
    rng = np.random.default_rng(case.seed)
    smooth = lambda *xs: np.sum(np.real(case.program(*xs)) * 1.0)
    tangents = tuple([rng.uniform(-1, 1, np.shape(x))[()] for x in args])
    pushed, error = _run(lambda *xs: jvp(smooth, tuple(xs), tangents)[1], args)
    if error is not None:
        return
    value, pull = vjp(smooth, *args)
    cotangents = [np.asarray(c) for c in pull(np.ones_like(value))]
    pulled = sum([np.sum(c * t) for c, t in zip(cotangents, tangents, strict=True) if c.dtype.kind == "f"])
    close = min(max(1e-8, 1e4 * _digits(case, args)), 0.1)
    if not np.isfinite(value) or any([np.any(np.isinf(c)) for c in cotangents if c.dtype.kind == "f"]):
        return  # infinities that are added up, in the one mode or the other, may cancel
    if not np.allclose(pulled, pushed, close, close * (1 + abs(value)), equal_nan=True):
        if 0 in [np.size(x) for x in args]:
            return  # the sum over no elements of what is NaN for each is zero
        if np.isnan(pushed) and np.isfinite(pulled) and re.search(r"where\(|\w+\[~?\(?\w+ [<>!]", case.source):
            return  # what a mask leaves out ends forwards in a sum, whose zero meets an infinity; backwards it comes last
        raise AssertionError(f"the reverse derivative {pulled} is not the forward one {pushed}\n{case!r}")
    at = lambda h: smooth(*[x + h * t for x, t in zip(args, tangents, strict=True)])
    steps = [0.0, 1e-4, -1e-4, 5e-5, -5e-5, 1e-5, -1e-5]
    runs = [_run(at, [h]) for h in steps]
    if any([error is not None for _, error in runs]):
        return  # plain NumPy does not take what a tracer does, or has another shape there
    values = {h: found for h, (found, _) in zip(steps, runs, strict=True)}
    quotients = [(values[h] - values[-h]) / (2 * h) for h in (1e-4, 5e-5)]
    sided = [(values[h] - values[0.0]) / h for h in (1e-5, -1e-5)]
    size = 1 + abs(pushed) + abs(value)
    is_smooth = np.all(np.isfinite([*quotients, *sided, value])) and np.ptp(quotients) < 1e-6 * size
    if is_smooth and np.ptp(sided) < 1e-3 * size and abs(quotients[1] - pushed) > 1e-4 * size and close == 1e-8:
        if re.search(r"np\.(clip|median|sort)\(|\.sort\(", case.source) and _jumps(smooth, args, tangents, pushed):
            return  # where three are equal, the derivative by convention is no one-sided one's
        raise AssertionError(f"the derivative {pushed} is not that of differences, {quotients[1]}\n{case!r}")
