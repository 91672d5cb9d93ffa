"""Random NumPy programs on exotic operands, plain NumPy against tracegrad: `python -m tracegrad.testing.fuzz --plain`.

A `Case` is drawn by one number: operands of every dtype, as Python's, NumPy's scalars and arrays of every memory layout, with
zeros of both signs, infinities and NaN among their elements, and a few lines of NumPy on them, under any variable names. What
plain NumPy makes of it is the truth. A traced function, a jitted one, one on XLA and one under vmap must give the same, or
say that they do not take it; its two derivatives must agree, and be those of differences where these exist.
"""

from __future__ import annotations

import builtins
import keyword
import math
import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tracegrad.numpy  # noqa: F401 -- the functions that plain code calls on tracers
from tracegrad.core.errors import (
    ConcretizationTypeError,
    DifferentiationError,
    DtypeError,
    TracerArrayConversionError,
    UnsupportedFunctionError,
)
from tracegrad.transforms.batch import vmap
from tracegrad.transforms.grad import jvp, vjp
from tracegrad.transforms.jit.numpy import jit

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
WRITES = (
    "{0}[0] = 2", "{0}[...] = 0.5", "{0} += 1", "{0} *= 2", "{0} -= {1}", "{0}[::2] *= 3", "{0}[{0} > 0] = 1", "{0}[-1] += {1}", "{0}.T[0] = 3",
    "{0}.fill(2)", "{0}.sort()", "{0}[[0, 0]] += 1", "np.add.at({0}, 0, 2)", "np.add({0}, {1}, out={0})", "np.copyto({0}, {1})", "{0}.flat[0] = 7",
    "np.put({0}, [0], 5)", "{0} /= 2", "{0} **= 2",
)  # fmt: skip
NAMES = [n for n in (*dir(builtins), "x", "a", "b", "aa", "own", "out", "f", "np_", "empty", "multiply", "sin", "array", "compiled", "é", "axis")
         if n.isidentifier() and not keyword.iskeyword(n) and n not in ("abs", "round", "isinstance", "float", "bool", "print", "__import__", "__debug__")]  # fmt: skip
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
        values, lines = names[:count], []
        self.writes = False
        for i in range(rng.choice((1, 1, 2, 3))):
            latest = values[-1] if i else rng.choice(values)
            if rng.random() < 0.12:
                target = names[count + i]
                lines.append(f"{target} = np.copy({latest})")
                lines.append(rng.choice(WRITES).format(target, rng.choice(values)))
                self.writes = True
            else:
                template = rng.choice(UNARY + BINARY)
                target = names[count + i]
                lines.append(f"{target} = {template.format(latest, rng.choice(values))}")
            values.append(target)
        body = "".join([f"    {line}\n" for line in lines])
        self.source = f"def program({', '.join(names[:count])}):\n{body}    return {values[-1]}\n"
        scope: dict[str, Any] = {"np": np}
        exec(compile(self.source, f"<case {seed}>", "exec"), scope)
        self.program: Callable[..., Any] = scope["program"]

    def args(self) -> list[Any]:
        return [operand.make() for operand in self.operands]

    def __repr__(self) -> str:
        given = "\n".join([f"    {operand.source}," for operand in self.operands])
        return f"# case {self.seed}\n{self.source}args = [\n{given}\n]"


def _run(function: Callable[..., Any], args: Sequence[Any]) -> tuple[Any, Exception | None]:
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def _leaves(out: Any) -> list[Any]:
    return [leaf for item in out for leaf in _leaves(item)] if isinstance(out, tuple | list) else [out]


def _differ(got: Any, expected: Any, exactly: bool, signs: bool = True) -> str | None:
    """In what two results differ: to the bit or nearly, with the signs of zeros or without."""
    for a, b in zip(_leaves(got), _leaves(expected), strict=True):
        if b is None or isinstance(b, str | np.dtype | type):
            continue
        a, b = np.asarray(a), np.asarray(b)
        if b.dtype.kind == "O":  # an int too long for any dtype
            continue
        if a.dtype != b.dtype:
            return f"dtype {a.dtype}, not {b.dtype}"
        if a.shape != b.shape:
            return f"shape {a.shape}, not {b.shape}"
        if exactly:
            same = np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
            if same and a.dtype.kind == "f" and signs:
                zeros = (a == 0) & (b == 0)
                same = bool(np.all(np.signbit(a)[zeros] == np.signbit(b)[zeros]))
        else:
            eps = np.finfo(a.dtype).eps if a.dtype.kind in "fc" else 0
            with np.errstate(all="ignore"):
                scale = np.max(np.abs(b[np.isfinite(b)]), initial=0.0) if a.dtype.kind in "fc" else 0
            same = np.allclose(a, b, 300 * eps, 100 * eps * max(float(scale), 1e-30), equal_nan=True)
            if a.dtype.kind == "c" and not same:  # infinity times a complex number is whatever the order makes it
                known = np.isfinite(a) & np.isfinite(b)
                same = np.array_equal(np.isfinite(a), np.isfinite(b)) and np.allclose(a[known], b[known], 300 * eps)
        if not same:
            return f"{a}, not {b}"
    return None


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


def _check_case(case: Case, backends: Sequence[str]) -> str:
    expected, failure = _run(case.program, case.args())
    ran = False

    def hold(what: str, function: Callable[..., Any], exactly: bool = True) -> None:
        nonlocal ran
        args = case.args()
        got, error = _run(function, args)
        for x, y in zip(args, case.args(), strict=True):
            if type(x) is np.ndarray and not np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"):
                raise AssertionError(f"{what} wrote into its argument\n{case!r}")
        if error is not None:
            if failure is None and not isinstance(error, REFUSED) and not any([said in str(error) for said in SAID]):
                raise AssertionError(f"{what} raises {type(error).__name__}: {error}\n{case!r}") from error
            return
        if failure is not None:
            # A tracer takes more than a scalar of Python's does, and gives infinity or NaN where that raises; one without axes
            # is a scalar, and not an array that `+=` cannot make larger.
            allowed = ("non-broadcastable", "setting an array element", "float NaN to integer", "float infinity")
            if isinstance(failure, TypeError | AttributeError | ZeroDivisionError) or any(
                [said in str(failure) for said in allowed]
            ):
                return
            raise AssertionError(f"{what} gives {got}, where NumPy raises {failure!r}\n{case!r}")
        # np.clip of -0.0 is 0.0 where it is traced.
        if (difference := _differ(got, expected, exactly, "clip" not in case.source)) is not None:
            raise AssertionError(f"{what} gives {difference}\n{case!r}")
        ran = True

    hold("a traced function", lambda *args: vjp(case.program, *args)[0], exactly=False)
    # NumPy's scalars have arithmetic of their own, which is not that of its arrays to the last bit; products of complex ones
    # depend on how many there are, and what these functions sum up is traced as other sums.
    arrays = all([np.ndim(x) > 0 and x.dtype.kind != "c" for x in case.args()])
    arrays = arrays and not any([name in case.source for name in ("inner", "vdot", "norm", "einsum", "tensordot")])
    hold("jit", jit(case.program, backend="numpy"), arrays)
    twice = jit(case.program, backend="numpy")
    hold("jit, called again,", lambda *args: (_run(twice, args), twice(*args))[1], arrays)
    # XLA has no long double, and Python's bools are NumPy's there.
    if "xla" in backends and not any([type(x) is bool or np.asarray(x).dtype.char in "gG" for x in case.args()]):
        on_xla = jit(case.program, backend="xla")
        hold("jit on XLA", lambda *args: [np.asarray(x) for x in _leaves(on_xla(*args))], exactly=False)
    if ran and failure is None:
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
    if error is not None:
        if not isinstance(error, REFUSED):
            raise AssertionError(f"vmap raises {type(error).__name__}: {error}\n{case!r}") from error
        return
    each = [_run(case.program, [x[k] if i in arrays else x for i, x in enumerate(rows)]) for k in range(2)]
    if any([error is not None for _, error in each]):
        return
    for out, one, two in zip(_leaves(got), *[_leaves(value) for value, _ in each], strict=True):
        if isinstance(one, str | np.dtype | type | None):
            continue
        if (difference := _differ(out, np.stack([one, two]), exactly=False)) is not None:
            raise AssertionError(f"vmap gives {difference}\n{case!r}")


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
    pulled = sum(
        [
            np.sum(c * t)
            for c, t in zip(pull(np.ones_like(value)), tangents, strict=True)
            if np.asarray(c).dtype.kind == "f"
        ]
    )
    close = 1e-8 if "f4" not in case.source and "np.float" not in case.source else 1e-3  # of what is rounded on the way
    if not np.isfinite(value):
        return
    if not np.allclose(pulled, pushed, close, close * (1 + abs(value)), equal_nan=True):
        if 0 in [np.size(x) for x in args]:
            return  # the sum over no elements of what is NaN for each is zero
        raise AssertionError(f"the reverse derivative {pulled} is not the forward one {pushed}\n{case!r}")
    at = lambda h: smooth(*[x + h * t for x, t in zip(args, tangents, strict=True)])
    quotients = [(at(h) - at(-h)) / (2 * h) for h in (1e-4, 5e-5)]
    sided = [(at(s * 1e-5) - at(0.0)) / (s * 1e-5) for s in (1, -1)]
    size = 1 + abs(pushed) + abs(value)
    is_smooth = np.all(np.isfinite([*quotients, *sided, value])) and np.ptp(quotients) < 1e-6 * size
    if is_smooth and np.ptp(sided) < 1e-3 * size and abs(quotients[1] - pushed) > 1e-4 * size and close < 1e-3:
        raise AssertionError(f"the derivative {pushed} is not that of differences, {quotients[1]}\n{case!r}")
