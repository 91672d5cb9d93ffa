"""NumPy's elementwise functions. Each op is one call: its ufunc, then for each input the map that multiplies by the
partial derivative, `(d, out, *inputs) -> d * partial`.

Conventions at kinks and singular points: ties and kinks are JAX's (abs at 0 has derivative 0, max of equals gives half
to each). Where a partial is infinite but what it multiplies is exactly zero, the product is zero (`safe_divide`): the
branch that `where` did not take adds nothing, not NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.errors import DtypeError
from tracegrad.op import Op, Params, Sample
from tracegrad.ops.families import broadcast_shapes, elementwise, implements
from tracegrad.trace import FUNCTIONS, bind
from tracegrad.types import ArrayType, type_of

LN2 = math.log(2.0)
LN10 = math.log(10.0)


def _values(low: float, high: float, *, seed: int = 0) -> Callable[[], Iterable[Sample]]:
    """Samples of one input: a matrix, a scalar, an empty array, with values in (low, high)."""

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(seed)
        yield Sample((rng.uniform(low, high, (2, 3)),))
        yield Sample((rng.uniform(low, high),))
        yield Sample((np.zeros((0, 2)) + (low + high) / 2,))

    return samples


def _pairs(low: float, high: float, low2: float | None = None, high2: float | None = None) -> Callable[[], Iterable[Sample]]:
    """Samples of two inputs, with every way of broadcasting, the second in (low2, high2)."""
    low2 = low if low2 is None else low2
    high2 = high if high2 is None else high2

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(1)
        for left, right in [((2, 3), (2, 3)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((), (3,)), ((2, 2), ())]:
            yield Sample((rng.uniform(low, high, left), rng.uniform(low2, high2, right)))

    return samples


def _integers(inputs: int, low: int = 0, high: int = 6) -> Callable[[], Iterable[Sample]]:
    """Samples of integer inputs."""

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(2)
        yield Sample(tuple([rng.integers(low, high, (2, 3)) for _ in range(inputs)]))
        if inputs == 2:
            yield Sample((rng.integers(low, high, (2, 1)), rng.integers(low, high, 3)))

    return samples


# ---------------------------------------------------------------------------------------------------------------------
# A quotient that keeps zeros: for partials that are infinite where nothing flows.


def _divide_keeping_zeros(d: Any, y: Any) -> Any:
    if np.count_nonzero(d) == np.size(d):
        return np.divide(d, y)
    return np.divide(d, np.where(np.equal(d, 0), 1, y))


def _divide_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    dtype = np.divide.resolve_dtypes((*[t.promotion for t in types], None))[-1]
    return ArrayType(broadcast_shapes("safe_divide", types), dtype)


_safe_divide = elementwise(
    "safe_divide",
    _divide_keeping_zeros,
    lambda d, out, x, y: safe_divide(d, y),
    lambda d, out, x, y: -safe_divide(d * out, y),
    infer=_divide_type,
    linear=[{0}],
    samples=_pairs(0.5, 2.0),
)


def safe_divide(d: Any, y: Any) -> Any:
    """`d / y`, but zero wherever `d` is zero, whatever `y` is there."""
    return bind(_safe_divide, (d, y))


def _real_dtype(x: Any) -> bool:
    return type_of(x).dtype.kind != "c"


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic.

add = elementwise(
    "add", np.add, lambda d, out, x, y: d, lambda d, out, x, y: d,
    linear=[{0, 1}], weak=True, kinds="biufc", samples=_pairs(-2, 2),
)  # fmt: skip
subtract = elementwise(
    "subtract", np.subtract, lambda d, out, x, y: d, lambda d, out, x, y: -d,
    linear=[{0, 1}], weak=True, kinds="iufc", samples=_pairs(-2, 2),
)  # fmt: skip
multiply = elementwise(
    "multiply", np.multiply, lambda d, out, x, y: d * y, lambda d, out, x, y: d * x,
    linear=[{0}, {1}], weak=True, kinds="biufc", samples=_pairs(-2, 2),
)  # fmt: skip
divide = elementwise(
    "divide", np.divide, lambda d, out, x, y: safe_divide(d, y), lambda d, out, x, y: -safe_divide(d * out, y),
    linear=[{0}], weak=True, kinds="iufc", samples=_pairs(0.5, 2),
)  # fmt: skip
negative = elementwise(
    "negative", np.negative, lambda d, out, x: -d, linear=[{0}], weak=True, kinds="iufc", samples=_values(-2, 2)
)
positive = elementwise(
    "positive", np.positive, lambda d, out, x: d, linear=[{0}], weak=True, kinds="iufc", samples=_values(-2, 2)
)
reciprocal = elementwise("reciprocal", np.reciprocal, lambda d, out, x: -safe_divide(d * out, x), samples=_values(0.5, 2))
square = elementwise("square", np.square, lambda d, out, x: 2 * d * x, kinds="iufc", samples=_values(-2, 2))
floor_divide = elementwise("floor_divide", np.floor_divide, weak=True, kinds="iuf", samples=_pairs(1.1, 1.9, 0.6, 0.8))
remainder = elementwise(
    "remainder", np.remainder, lambda d, out, x, y: d, lambda d, out, x, y: -d * np.floor_divide(x, y),
    weak=True, kinds="iuf", samples=_pairs(1.1, 1.9, 0.6, 0.8),
)  # fmt: skip
fmod = elementwise(
    "fmod", np.fmod, lambda d, out, x, y: d, lambda d, out, x, y: -d * np.trunc(x / y),
    kinds="iuf", samples=_pairs(1.1, 1.9, -0.8, -0.6),
)  # fmt: skip


def _power_base(d: Any, out: Any, x: Any, p: Any) -> Any:
    """d * p * x**(p-1), which needs no guard for a Python exponent that keeps the power finite at x = 0."""
    if type(p) is int or type(p) is float:
        if p == 2:
            return 2 * d * x
        if p >= 1 or p == 0:
            return d * p if p in (0, 1) else d * (p * x ** (p - 1))
    # A base of zero where nothing flows, or where p = 0, must not make inf * 0.
    idle = np.logical_or(np.equal(d, 0), np.equal(p, 0))
    return d * p * np.power(np.where(idle, np.ones((), type_of(x).dtype), x), p - 1)


def _power_exponent(d: Any, out: Any, x: Any, p: Any) -> Any:
    """d * x**p * log(x); zero at x = 0, as is the limit for p > 0."""
    return d * out * np.log(np.where(np.equal(x, 0), np.ones((), type_of(x).dtype), x))


power = elementwise("power", np.power, _power_base, _power_exponent, weak=True, kinds="iufc", samples=_pairs(0.5, 2))
float_power = elementwise("float_power", np.float_power, _power_base, _power_exponent, samples=_pairs(0.5, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Exponentials, logarithms, roots.

exp = elementwise("exp", np.exp, lambda d, out, x: d * out, samples=_values(-2, 2))
exp2 = elementwise("exp2", np.exp2, lambda d, out, x: d * (out * LN2), samples=_values(-2, 2))
expm1 = elementwise("expm1", np.expm1, lambda d, out, x: d * (out + 1), samples=_values(-2, 2))
log = elementwise("log", np.log, lambda d, out, x: safe_divide(d, x), samples=_values(0.3, 3))
log2 = elementwise("log2", np.log2, lambda d, out, x: safe_divide(d, x * LN2), samples=_values(0.3, 3))
log10 = elementwise("log10", np.log10, lambda d, out, x: safe_divide(d, x * LN10), samples=_values(0.3, 3))
log1p = elementwise("log1p", np.log1p, lambda d, out, x: safe_divide(d, x + 1), samples=_values(-0.5, 2))
sqrt = elementwise("sqrt", np.sqrt, lambda d, out, x: safe_divide(d, 2 * out), samples=_values(0.3, 3))
cbrt = elementwise("cbrt", np.cbrt, lambda d, out, x: safe_divide(d, 3 * out * out), kinds="f", samples=_values(0.3, 3))


def _softmax_partial(i: int, base: float) -> Callable[..., Any]:
    """base**(x_i - out), the share of the i-th term; an infinite term that is all of the sum has share 1."""

    def partial(d: Any, out: Any, *inputs: Any) -> Any:
        difference = inputs[i] - np.where(np.isinf(out), 0, out)
        share = np.exp(difference * LN2 if base == 2 else np.where(np.isposinf(difference), 0, difference))
        return d * share

    return partial


logaddexp = elementwise(
    "logaddexp", np.logaddexp, _softmax_partial(0, math.e), _softmax_partial(1, math.e), kinds="f", samples=_pairs(-2, 2)
)
logaddexp2 = elementwise(
    "logaddexp2", np.logaddexp2, _softmax_partial(0, 2), _softmax_partial(1, 2), kinds="f", samples=_pairs(-2, 2)
)


# ---------------------------------------------------------------------------------------------------------------------
# Trigonometric and hyperbolic functions and their inverses.

sin = elementwise("sin", np.sin, lambda d, out, x: d * np.cos(x), samples=_values(-2, 2))
cos = elementwise("cos", np.cos, lambda d, out, x: -d * np.sin(x), samples=_values(-2, 2))
tan = elementwise("tan", np.tan, lambda d, out, x: d * (1 + out * out), samples=_values(-1.2, 1.2))
sinh = elementwise("sinh", np.sinh, lambda d, out, x: d * np.cosh(x), samples=_values(-2, 2))
cosh = elementwise("cosh", np.cosh, lambda d, out, x: d * np.sinh(x), samples=_values(-2, 2))
tanh = elementwise("tanh", np.tanh, lambda d, out, x: d * (1 - out * out), samples=_values(-2, 2))
arcsin = elementwise(
    "arcsin", np.arcsin, lambda d, out, x: safe_divide(d, np.sqrt((1 - x) * (1 + x))), samples=_values(-0.9, 0.9)
)
arccos = elementwise(
    "arccos", np.arccos, lambda d, out, x: -safe_divide(d, np.sqrt((1 - x) * (1 + x))), samples=_values(-0.9, 0.9)
)
arctan = elementwise("arctan", np.arctan, lambda d, out, x: d / (1 + x * x), samples=_values(-2, 2))
arcsinh = elementwise(
    "arcsinh", np.arcsinh,
    lambda d, out, x: d / (np.hypot(x, 1) if _real_dtype(x) else np.sqrt(x * x + 1)),
    samples=_values(-2, 2),
)  # fmt: skip
arccosh = elementwise(
    "arccosh", np.arccosh, lambda d, out, x: safe_divide(d, np.sqrt(x - 1) * np.sqrt(x + 1)), samples=_values(1.2, 3)
)
arctanh = elementwise(
    "arctanh", np.arctanh, lambda d, out, x: safe_divide(d, (1 - x) * (1 + x)), samples=_values(-0.9, 0.9)
)
arctan2 = elementwise(
    "arctan2", np.arctan2,
    lambda d, out, y, x: safe_divide(d * x, x * x + y * y), lambda d, out, y, x: -safe_divide(d * y, x * x + y * y),
    kinds="f", samples=_pairs(0.3, 2, -2, -0.3),
)  # fmt: skip
hypot = elementwise(
    "hypot", np.hypot, lambda d, out, x, y: safe_divide(d * x, out), lambda d, out, x, y: safe_divide(d * y, out),
    kinds="f", samples=_pairs(0.3, 2, -2, -0.3),
)  # fmt: skip
deg2rad = elementwise("deg2rad", np.deg2rad, lambda d, out, x: d * (math.pi / 180), linear=[{0}], kinds="f", samples=_values(-2, 2))
rad2deg = elementwise("rad2deg", np.rad2deg, lambda d, out, x: d * (180 / math.pi), linear=[{0}], kinds="f", samples=_values(-2, 2))
radians = elementwise("radians", np.radians, lambda d, out, x: d * (math.pi / 180), linear=[{0}], kinds="f", samples=_values(-2, 2))
degrees = elementwise("degrees", np.degrees, lambda d, out, x: d * (180 / math.pi), linear=[{0}], kinds="f", samples=_values(-2, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Size, sign, complex parts. On complex numbers these are linear over the reals only; the family takes the real part of
# a tangent wherever the output is real, which makes each map below the right one in both directions.

absolute = elementwise(
    "absolute", np.absolute,
    lambda d, out, x: d * np.sign(x) if _real_dtype(x) else safe_divide(d * np.conjugate(x), out),
    weak=True, kinds="iufc", samples=_values(0.3, 2),
)  # fmt: skip
fabs = elementwise("fabs", np.fabs, lambda d, out, x: d * np.sign(x), kinds="f", samples=_values(-2, -0.3))
sign = elementwise("sign", np.sign, kinds="iufc", samples=_values(0.3, 2))
signbit = elementwise("signbit", np.signbit, kinds="f", samples=_values(0.3, 2))
conjugate = elementwise(
    "conjugate", np.conjugate, lambda d, out, x: np.conjugate(d), linear=[{0}], kinds="iufc", samples=_values(-2, 2)
)


def _real_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    return ArrayType(t.shape, np.zeros((), t.dtype).real.dtype)


real = elementwise(
    "real", np.real, lambda d, out, x: d, infer=_real_type, linear=[{0}], kinds="iufc", samples=_values(-2, 2)
)
imag = elementwise(
    "imag", lambda x: np.imag(x) + 0, lambda d, out, x: None if _real_dtype(x) else d * -1j,
    infer=_real_type, linear=[{0}], kinds="iufc", samples=_values(-2, 2),
)  # fmt: skip
copysign = elementwise(
    "copysign", np.copysign,
    lambda d, out, x, y: np.where(np.equal(np.signbit(x), np.signbit(y)), d, -d), lambda d, out, x, y: d * 0,
    kinds="f", samples=_pairs(0.3, 2, -2, -0.3),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The larger and the smaller: half of the derivative to each of two equals, as in JAX.


def _chosen(better: np.ufunc) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Partials of a function that picks x where `better(x, y)`."""

    def first(d: Any, out: Any, x: Any, y: Any) -> Any:
        return np.where(better(x, y), d, np.where(np.equal(x, y), 0.5 * d, 0))

    return first, lambda d, out, x, y: first(d, out, y, x)


def _chosen_ignoring_nan(better: np.ufunc) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The same for fmax and fmin, where a NaN loses."""

    def first(d: Any, out: Any, x: Any, y: Any) -> Any:
        return np.where(np.logical_or(better(x, y), np.isnan(y)), d, np.where(np.equal(x, y), 0.5 * d, 0))

    return first, lambda d, out, x, y: first(d, out, y, x)


maximum = elementwise("maximum", np.maximum, *_chosen(np.greater), kinds="biuf", samples=_pairs(-2, 2))
minimum = elementwise("minimum", np.minimum, *_chosen(np.less), kinds="biuf", samples=_pairs(-2, 2))
fmax = elementwise("fmax", np.fmax, *_chosen_ignoring_nan(np.greater), kinds="biuf", samples=_pairs(-2, 2))
fmin = elementwise("fmin", np.fmin, *_chosen_ignoring_nan(np.less), kinds="biuf", samples=_pairs(-2, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Choosing by a condition, changing dtype.


def _where_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    dtype = np.result_type(*[_promotable(t) for t in types[1:]])
    return ArrayType(broadcast_shapes("where", types), dtype)


def _promotable(t: ArrayType) -> Any:
    """A stand-in for np.result_type: Python scalars promote weakly there too, but by value rather than type."""
    return t.promotion() if t.weak else t.dtype


def _where_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(3)
    for shapes in [((2, 3), (2, 3), (2, 3)), ((3,), (2, 1), ()), ((2, 1), (3,), (2, 3))]:
        condition, x, y = [rng.uniform(-1, 1, s) for s in shapes]
        yield Sample((condition > 0, x, y))


where = elementwise(
    "where", np.where,
    None, lambda d, out, c, x, y: np.where(c, d, 0), lambda d, out, c, x, y: np.where(c, 0, d),
    infer=_where_type, linear=[{1, 2}], kinds="biufc", samples=_where_samples,
)  # fmt: skip


@implements(np.where)
def _where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """`np.where`: with three arguments the op above; with one, the places where the condition holds."""
    if x is None and y is None:
        return np.nonzero(condition)
    return bind(where, (condition, x, y))


def _astype_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(types[0].shape, params["dtype"])


def _astype_samples() -> Iterable[Sample]:
    x = np.array([[-1.25, 2.5, 0.75]])
    for dtype in ("float32", "float64", "complex128"):
        yield Sample((x,), {"dtype": np.dtype(dtype)})


def _astype(x: Any, dtype: np.dtype[Any]) -> Any:
    x = np.asarray(x)
    return (x.real if x.dtype.kind == "c" and dtype.kind not in "cb" else x).astype(dtype)[()]


astype_op = elementwise(
    "astype", _astype, lambda d, out, x, dtype: d, infer=_astype_type, linear=[{0}], kinds="biufc", samples=_astype_samples
)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """`x` with another dtype. From complex to real the imaginary part goes. The derivative is cast the same way."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biufc":
        raise DtypeError(f"astype: {dtype} is not a dtype of numbers")
    found = type_of(x)
    if found.dtype == dtype and not found.weak:
        return x
    return bind(astype_op, (x,), {"dtype": dtype})


# ---------------------------------------------------------------------------------------------------------------------
# Locally constant functions: rounding, comparisons, logic, bits. No derivative, or rather zero.


def _constant(ufunc: np.ufunc, samples: Callable[[], Iterable[Sample]], kinds: str) -> Op:
    return elementwise(ufunc.__name__, ufunc, kinds=kinds, samples=samples)


floor, ceil, trunc, rint, spacing = [
    _constant(f, _values(0.6, 0.9), "f") for f in (np.floor, np.ceil, np.trunc, np.rint, np.spacing)
]
isnan, isinf, isfinite = [_constant(f, _values(-2, 2), "fc") for f in (np.isnan, np.isinf, np.isfinite)]
equal, not_equal = [_constant(f, _pairs(-2, 2), "biufc") for f in (np.equal, np.not_equal)]
less, less_equal, greater, greater_equal = [
    _constant(f, _pairs(-2, 2), "biuf") for f in (np.less, np.less_equal, np.greater, np.greater_equal)
]
logical_and, logical_or, logical_xor = [
    _constant(f, _pairs(-2, 2), "biufc") for f in (np.logical_and, np.logical_or, np.logical_xor)
]
logical_not = _constant(np.logical_not, _values(-2, 2), "biufc")
bitwise_and, bitwise_or, bitwise_xor, left_shift, right_shift, gcd, lcm = [
    _constant(f, _integers(2), "iu")
    for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.left_shift, np.right_shift, np.gcd, np.lcm)
]
invert, bitwise_count = [_constant(f, _integers(1), "iu") for f in (np.invert, np.bitwise_count)]
heaviside, nextafter = [_constant(f, _pairs(0.3, 2), "f") for f in (np.heaviside, np.nextafter)]


def _ldexp_samples() -> Iterable[Sample]:
    yield Sample((np.array([[0.5, -1.5], [2.0, 3.0]]), np.array([1, -2])))


ldexp = elementwise(
    "ldexp", np.ldexp, lambda d, out, x, n: np.ldexp(d, n), None, linear=[{0}], kinds="f", samples=_ldexp_samples
)


# What np.astype does to a tracer; plain arrays reach the function above through NumPy itself.
FUNCTIONS[np.astype] = astype
