"""What is elementwise and (nearly) locally constant: rounding, comparisons, logic, bits; taking floats apart; and the
functions that choose among values by a condition."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import UFUNCS, Tracer, as_array, bind, concrete, plain_value, strengthened
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, is_added, is_inexact, number_kind, scalar_type, type_of
from tracegrad.ops.elementwise import (
    astype,
    binary_samples,
    imag,
    integer_samples,
    unary_samples,
)
from tracegrad.ops.families import declare, elementwise, elementwise_batch, implements, reject, shape_of, ufunc_type

# ---------------------------------------------------------------------------------------------------------------------
# Locally constant ufuncs. No derivative, or rather zero.


def _constant(
    ufunc: np.ufunc,
    kinds: str,
    samples: Callable[[], Iterable[Sample]],
    python: Callable[..., Any] | None = None,
) -> Op:
    return elementwise(ufunc.__name__, ufunc, kinds=kinds, samples=samples, python=python)


floor, ceil, trunc = [_constant(f, "biuf", unary_samples(0.6, 0.9)) for f in (np.floor, np.ceil, np.trunc)]
rint = _constant(np.rint, "iufc", unary_samples(0.6, 0.9))
spacing = _constant(np.spacing, "f", unary_samples(0.6, 0.9))
signbit = _constant(np.signbit, "f", unary_samples(0.6, 0.9))
isnan, isinf, isfinite = [_constant(f, "biufc", unary_samples(-2, 2)) for f in (np.isnan, np.isinf, np.isfinite)]
equal = _constant(np.equal, "biufc", binary_samples(-2, 2), operator.eq)
not_equal = _constant(np.not_equal, "biufc", binary_samples(-2, 2), operator.ne)
less = _constant(np.less, "biufc", binary_samples(-2, 2), operator.lt)
less_equal = _constant(np.less_equal, "biufc", binary_samples(-2, 2), operator.le)
greater = _constant(np.greater, "biufc", binary_samples(-2, 2), operator.gt)
greater_equal = _constant(np.greater_equal, "biufc", binary_samples(-2, 2), operator.ge)
logical_and, logical_or, logical_xor = [
    _constant(f, "biufc", binary_samples(-2, 2)) for f in (np.logical_and, np.logical_or, np.logical_xor)
]
logical_not = _constant(np.logical_not, "biufc", unary_samples(-2, 2))
bitwise_and = _constant(np.bitwise_and, "biu", integer_samples(2), operator.and_)
bitwise_or = _constant(np.bitwise_or, "biu", integer_samples(2), operator.or_)
bitwise_xor = _constant(np.bitwise_xor, "biu", integer_samples(2), operator.xor)
left_shift = _constant(np.left_shift, "iu", integer_samples(2), operator.lshift)
right_shift = _constant(np.right_shift, "iu", integer_samples(2), operator.rshift)
gcd, lcm = [_constant(f, "iu", integer_samples(2)) for f in (np.gcd, np.lcm)]
# Of a Python bool, too, it turns all bits of an int: ~True is -2.
invert = _constant(np.invert, "biu", integer_samples(1), lambda x: ~(x + 0))
bitwise_count = _constant(np.bitwise_count, "iu", integer_samples(1))


# ---------------------------------------------------------------------------------------------------------------------
# Steps that are not quite constant, and floats taken apart.


heaviside = elementwise(
    "heaviside", np.heaviside, None, lambda d, out, x, h: np.where(np.equal(x, 0), d, 0),
    kinds="f", samples=binary_samples(0.3, 2),
)  # fmt: skip
nextafter = elementwise(
    "nextafter", np.nextafter, lambda d, out, x, y: d, None, kinds="f", samples=binary_samples(0.3, 2)
)


def _ldexp_samples() -> Iterable[Sample]:
    yield Sample((np.array([[0.5, -1.5], [2.0, 3.0]]), np.array([1, -2])))
    yield Sample((np.array(0.5), np.array([[1], [3]])))


ldexp = elementwise(
    "ldexp", np.ldexp, lambda d, out, x, n: np.ldexp(d, n), None, linear=[{0}], kinds="f", samples=_ldexp_samples,
)  # fmt: skip


def _frexp_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return np.ldexp(tangents[0], -out[1]), None


# The derivative is that of the mantissa at a fixed exponent, x * 2**-e.
frexp: Op = declare(
    "frexp", evaluate=np.frexp, infer=ufunc_type(np.frexp), jvp=_frexp_jvp,
    batch=elementwise_batch(lambda: frexp), several=True, kinds="f", samples=unary_samples(1.2, 1.8),
)  # fmt: skip


def _modf_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return tangents[0], None


modf: Op = declare(
    "modf", evaluate=np.modf, infer=ufunc_type(np.modf), jvp=_modf_jvp,
    batch=elementwise_batch(lambda: modf), several=True, kinds="f", samples=unary_samples(1.2, 1.8),
)  # fmt: skip
UFUNCS[np.frexp], UFUNCS[np.modf] = frexp, modf


@implements(np.divmod)
def divmod(x1: Any, x2: Any, /, out: Any = None, *, where: Any = True) -> tuple[Any, Any]:
    """`(x1 // x2, x1 % x2)`."""
    reject(np.divmod, out=out, where=None if where is True else where)
    return np.floor_divide(x1, x2), np.remainder(x1, x2)


# ---------------------------------------------------------------------------------------------------------------------
# Rounding to decimals.


def _round_scalar(x: Any, decimals: int) -> Any:
    """What `round(x, decimals)` is of a Python number, and np.round of a complex one."""
    return np.round(x, decimals).item() if type(x) is complex else x.__round__(decimals)


def _round_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    if t.weak:
        return scalar_type(_round_scalar, types, params)
    if number_kind(t.dtype) == "b":
        raise DtypeError(f"round takes no input of type {t}; write x.astype(int)")
    return ArrayType(t.shape, t.dtype)


def _round_samples() -> Iterable[Sample]:
    for decimals in (0, 1, -1):
        yield Sample((np.array([[1.26, -2.38], [7.32, 14.41]]),), {"decimals": decimals})
    yield Sample((1.26,), {"decimals": 0})


round_op = elementwise(
    "round", lambda x, decimals: np.round(x, decimals), infer=_round_type, python=_round_scalar, kinds="iufc",
    samples=_round_samples,
)  # fmt: skip


@implements(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Rounded to this many decimals, halves to even. The derivative is zero."""
    reject(np.round, out=out)
    return bind(round_op, (strengthened(as_array(a)),), {"decimals": operator.index(decimals)})


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    """Rounded towards zero. The derivative is zero."""
    reject(np.fix, out=out)
    return np.trunc(as_array(x))


# ---------------------------------------------------------------------------------------------------------------------
# Questions about each element.


@implements(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    """Where `x` is plus infinity."""
    return _is(x, math.inf, np.isposinf, out)


@implements(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    """Where `x` is minus infinity."""
    return _is(x, -math.inf, np.isneginf, out)


def _is(x: Any, value: float, function: Any, out: Any) -> Any:
    reject(function, out=out)
    x = as_array(x)
    found = type_of(x)
    if number_kind(found.dtype) == "c":
        raise DtypeError(f"{function.__name__}: infinities of {found} have no sign; ask for np.isinf, or of x.real")
    return np.equal(x, value)


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """Where the imaginary part is not zero."""
    return np.not_equal(imag(x), 0)


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """Where the imaginary part is zero."""
    return imag(x) == 0


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is a complex one, whatever the values."""
    return number_kind(type_of(as_array(x)).dtype) == "c"


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Whether the dtype is not a complex one."""
    return not iscomplexobj(x)


# ---------------------------------------------------------------------------------------------------------------------
# Are two arrays equal?


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """Where |a - b| <= atol + rtol * |b|, or both are the same infinity (or NaN, with `equal_nan`)."""
    a, b = as_array(a), as_array(b)
    b = b if is_inexact(type_of(b).dtype) else astype(b, float)
    # Infinities are compared apart: inf - inf would warn.
    finite = np.logical_and(np.isfinite(a), np.isfinite(b))
    a0, b0 = np.where(finite, a, 0), np.where(finite, b, 0)
    near = np.logical_and(finite, np.less_equal(np.abs(a0 - b0), atol + rtol * np.abs(b0)))
    near = np.logical_or(near, np.equal(a, b))
    return np.logical_or(near, np.logical_and(np.isnan(a), np.isnan(b))) if equal_nan else near


_TEST_ARRAYS = "write np.all(np.isclose(a, b)) or np.all(a == b), which stays an array"


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds everywhere: a Python bool, so the values must be known."""
    a, b = [concrete(x, "np.allclose", _TEST_ARRAYS) for x in (as_array(a), as_array(b))]
    return np.allclose(a, b, rtol, atol, equal_nan)


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """Whether two arrays have the same shape and values: a Python bool, so the values must be known."""
    a1, a2 = [concrete(x, "np.array_equal", _TEST_ARRAYS) for x in (as_array(a1), as_array(a2))]
    return np.array_equal(a1, a2, equal_nan)


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> bool:
    """Whether two arrays are equal after broadcasting: a Python bool, so the values must be known."""
    a1, a2 = [concrete(x, "np.array_equiv", _TEST_ARRAYS) for x in (as_array(a1), as_array(a2))]
    return np.array_equiv(a1, a2)


# ---------------------------------------------------------------------------------------------------------------------
# Choosing by conditions.

_NOT_GIVEN: Any = object()


@implements(np.clip)
def clip(
    a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = _NOT_GIVEN, max: Any = _NOT_GIVEN,
    dtype: Any = None, where: Any = None,
) -> Any:  # fmt: skip
    """Limited to the interval from `a_min` (or `min`) to `a_max` (or `max`); None means no limit on that side.

    An element that equals a limit shares the derivative with it, half to each.
    """
    reject(np.clip, out=out, dtype=dtype, where=where)
    low = a_min if min is _NOT_GIVEN else min
    high = a_max if max is _NOT_GIVEN else max
    if (a_min is not None and min is not _NOT_GIVEN) or (a_max is not None and max is not _NOT_GIVEN):
        raise ValueError("clip: a limit is given twice; pass a_min or min, a_max or max")
    a = strengthened(as_array(a))
    dtype = type_of(a).dtype
    if number_kind(dtype) in "iu":  # to which a Python int need not belong
        limits = np.iinfo(dtype)
        low = None if type(low) is int and low <= limits.min else low
        high = None if type(high) is int and high >= limits.max else high
    if low is None and high is None:
        return np.positive(a)
    given = [type_of(as_array(x)).weight for x in (a, low, high) if x is not None]
    if len(given) == 3 and is_added(dtype):
        given[0] = np.float32  # np.clip with both limits is a ufunc that has no bfloat16
    a = astype(a, np.result_type(*given))  # which depends on all of them, not on two at a time
    if low is not None:
        a = np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """For each element the choice of the first condition that holds there, else the default."""
    if len(condlist) != len(choicelist):
        raise ValueError(f"select: {len(condlist)} conditions for {len(choicelist)} choices; give one for each")
    if not len(condlist):
        raise ValueError("select: no conditions; give at least one")
    conditions = [as_array(c) for c in condlist]
    for i, c in enumerate(conditions):
        if number_kind(type_of(c).dtype) != "b":
            raise DtypeError(f"select: condition {i} is {type_of(c)}, not boolean; write a comparison, such as x != 0")
    values = [as_array(x) for x in (*choicelist, default)]
    # Of all of them together, where the conditions would give that of two at a time.
    dtype = np.result_type(*[type_of(x).weight for x in values])
    values = [x if type_of(x).weak else astype(x, dtype) for x in values]
    *choices, result = values
    choices[-1] = dtype.type(choices[-1]) if type(choices[-1]) in PYTHON_SCALARS else astype(choices[-1], dtype)
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = np.where(condition, choice, result)
    return result


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """`choices[a[i]][i]` for each element i, after broadcasting: `a` selects one of few arrays.

    `mode` says what an index outside of range(len(choices)) does: "raise" (wherever its value is known), "wrap" around,
    or be limited ("clip").
    """
    reject(np.choose, out=out)
    a = as_array(a)
    count = shape_of(choices)[0] if type(choices) is Tracer else len(choices)
    if number_kind(type_of(a).dtype) not in "biu":
        raise DtypeError(f"choose: the index is {type_of(a)}, not an array of integers")
    if mode == "wrap":
        a = np.remainder(a, count)
    elif mode == "raise" and (value := plain_value(a, "np.choose")) is not None:
        if np.any(value < 0) or np.any(value >= count):
            raise ValueError(f"choose: index {value} is out of range for {count} choices{at(user_source())}")
    elif mode not in ("raise", "clip"):
        raise ValueError(f"choose: mode must be 'raise', 'wrap' or 'clip', not {mode!r}")
    result = choices[count - 1]
    for i in reversed(range(count - 1)):
        result = np.where(np.less_equal(a, i), choices[i], result)
    return np.broadcast_to(result, np.broadcast_shapes(shape_of(a), shape_of(result)))


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """NaN replaced by `nan`, infinities by `posinf` and `neginf` (None: the largest finite numbers of the dtype).

    The derivative of what was replaced is zero.
    """
    x = strengthened(as_array(x))
    dtype = type_of(x).dtype
    if number_kind(dtype) == "c":
        return nan_to_num(np.real(x), True, nan, posinf, neginf) + 1j * nan_to_num(
            np.imag(x), True, nan, posinf, neginf
        )
    if not issubclass(dtype.type, np.floating):  # nor is bfloat16 one to NumPy
        return x
    limits = np.finfo(dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    for found, replacement in [(np.isnan(x), nan), (np.isposinf(x), high), (np.isneginf(x), low)]:
        # NumPy copies the replacement into an array of this dtype.
        x = np.where(found, replacement if type(replacement) is float else astype(replacement, dtype), x)
    return x


# ---------------------------------------------------------------------------------------------------------------------
# sinc, smooth at zero, and unwrap.


def sinc_of(xp: Any, x: Any, order: int) -> Any:
    """The order-th derivative of sin(y) / y at y = pi x, with respect to x.

    From sin(y) = y s(y) follows s_n = (sin(y + n pi/2) - n s_{n-1}) / y, whose errors grow like n! / y**n: good for
    y > n/2. Below, the power series, whose terms there are no larger than exp(n/2). Whole half turns are taken from x, not
    from y, so that the sine is as good for large x, and exactly zero at its zeros.
    """
    if order == 0:
        return xp.sinc(x)
    x = xp.asarray(x)
    x_wide = x.astype(np.result_type(x.dtype, np.float32))  # the powers are too much for float16
    y = np.pi * x_wide
    near = xp.abs(y) <= max(1.0, order / 2)
    far = xp.where(near, 1, y)
    halves = xp.rint(2 * xp.real(x_wide))
    angle = np.pi * (x_wide - 0.5 * halves)
    turns = halves % 4
    sine, cosine = xp.sin(angle), xp.cos(angle)
    quarters = [xp.where(turns == 0, a, xp.where(turns == 1, b, xp.where(turns == 2, -a, -b)))
                for a, b in ((sine, cosine), (cosine, -sine))]  # fmt: skip
    quarters += [-q for q in quarters]
    result = quarters[0] / far
    for n in range(1, order + 1):
        result = (quarters[n % 4] - n * result) / far
    small = xp.where(near, y, 0)
    # The derivative of y**(2k) (-1)**k / (2k+1)!, summed from the smallest term on.
    series = xp.zeros_like(small)
    for k in reversed(range(-(-order // 2), -(-order // 2) + 12 + order)):
        series = series + (-1) ** k * small ** (2 * k - order) * (math.perm(2 * k, order) / math.factorial(2 * k + 1))
    return (xp.where(near, series, result) * math.pi**order).astype(x.dtype)[()]


def _sinc_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    # np.sinc multiplies by pi, and so makes float32 of bfloat16.
    return ArrayType(
        t.shape, np.sinc(np.ones(1, t.dtype)).dtype if is_added(t.dtype) and not params["order"] else t.dtype
    )


def _sinc_samples() -> Iterable[Sample]:
    x = np.array([[0.0, 0.02, -0.3, 0.49], [0.6, -1.3, 2.7, 7.9]])
    yield Sample((x,), {"order": 0})
    yield Sample((x,), {"order": 3})
    yield Sample((0.1,), {"order": 1})


sinc_op: Op = elementwise(
    "sinc", lambda x, order: sinc_of(np, x, order),
    lambda d, out, x, order: d * bind(sinc_op, (x,), {"order": order + 1}),
    infer=_sinc_type, samples=_sinc_samples,
)  # fmt: skip


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), and 1 at 0, with derivatives of every order, at 0 too."""
    x = as_array(x)
    return bind(sinc_op, (x if is_inexact(type_of(x).dtype) else astype(x, float),), {"order": 0})


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: float = 2 * math.pi) -> Any:
    """Jumps of more than `discont` (default: half a period) along the axis are made up for by whole periods."""
    p = as_array(p)
    if is_added(type_of(p).dtype):
        p = astype(p, np.float64)
    steps = np.diff(p, axis=axis)
    half = period / 2
    wrapped = np.remainder(steps + half, period) - half
    wrapped = np.where(np.logical_and(np.equal(wrapped, -half), np.greater(steps, 0)), half, wrapped)
    limit = half if discont is None else np.maximum(discont, half)
    jumps = np.where(np.less(np.abs(steps), limit), 0, wrapped - steps)
    first = tuple([slice(None)] * (axis % len(p.shape)) + [slice(0, 1)])
    rest = tuple([slice(None)] * (axis % len(p.shape)) + [slice(1, None)])
    return np.concatenate([p[first], p[rest] + np.cumsum(jumps, axis=axis)], axis=axis)
