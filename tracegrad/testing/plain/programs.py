"""The programs: operands of every dtype and layout, a few lines of NumPy on them, and these run line by line."""

from __future__ import annotations

import builtins
import keyword
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tracegrad import lax
from tracegrad.scipy import special

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
        scope = scope_with(xp)
        exec(compile(source, f"<case {self.seed}>", "exec"), scope)
        found: Callable[..., Any] = scope["program"]
        return found

    def args(self) -> list[Any]:
        return [operand.make() for operand in self.operands]

    def __repr__(self) -> str:
        given = "\n".join([f"    {operand.source}," for operand in self.operands])
        return f"# case {self.seed}\n{self.source}args = [\n{given}\n]"


def scope_with(xp: Any = np) -> dict[str, Any]:
    """What programs know, with something else in NumPy's place if that is given."""
    return {"np": xp, "lax": lax, "special": getattr(xp, "special", special)}


def run(function: Callable[..., Any], args: Sequence[Any]) -> tuple[Any, Exception | None]:
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def leaves_of(out: Any) -> list[Any]:
    return [leaf for item in out for leaf in leaves_of(item)] if isinstance(out, tuple | list) else [out]


def reread(case: Case, args: Sequence[Any], read: Callable[[str, Any], Any]) -> list[Any]:
    """What the program makes of its arguments, in a list, or none where it raises, if each line reads something else in
    place of each value that has a name."""
    scope = {**scope_with(), "read": read, **dict(zip(case.names, args, strict=True))}
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


def steps_of(
    case: Case, args: Sequence[Any], instead: Callable[[int], Any] | None = None
) -> Iterator[tuple[int, Any, bool]]:
    """For each line its number, what it makes and whether it does, one after the other in plain NumPy; `instead` makes
    something in the place of a line that raises."""
    scope = {**scope_with(), **dict(zip(case.names, args, strict=True))}
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
