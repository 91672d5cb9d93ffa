"""Functions that NumPy lacks and networks need: the logistic function, rectifiers, the error function, softmax.

Each is one op because the composition would overflow, cancel, or make NaN where the answer is finite. Those that
`scipy.special` has too are traced under its name as well.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.trace import SCIPY_FUNCTIONS, bind
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, float_extreme, is_inexact, number_kind, type_of
from tracegrad.ops.elementwise import binary_samples, by_convention, sech_squared, widened
from tracegrad.ops.families import cast, declare, elementwise, normalize_axes, shape_of, ufunc_type
from tracegrad.ops.masks import Mask

TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
ONE_OVER_SQRT_TWO_PI = 1 / math.sqrt(2 * math.pi)


def _values(low: float, high: float) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        yield Sample((rng.uniform(low, high, (2, 3)),))
        yield Sample((rng.uniform(low, high),))
        yield Sample((np.zeros((0, 2)),))

    return samples


def _as_float(x: Any) -> Any:
    """Integers as NumPy's own elementwise functions take them: in the smallest float dtype that holds them."""
    x = np.asarray(x)
    return x if is_inexact(x.dtype) else x.astype(np.exp.resolve_dtypes((x.dtype, None))[1])


# ---------------------------------------------------------------------------------------------------------------------
# The logistic function.


def _logistic(x: Any) -> Any:
    if type(x) is not np.ndarray or not is_inexact(x.dtype):
        x = _as_float(x)
    if number_kind(x.dtype) == "c":
        right = x.real >= 0
        e = np.exp(np.where(right, -x, x))
    else:
        right = x >= 0
        e = np.exp(-np.abs(x))  # never above one, whatever the sign
    return np.where(right, 1, e) / (1 + e)


_logistic_op = elementwise(
    "logistic", _logistic, lambda d, out, x: d * (0.25 * sech_squared(0.5 * x)),
    infer=ufunc_type(np.exp), kinds="fc", samples=_values(-3, 3),
)  # fmt: skip


def logistic(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow at either end.

    >>> logistic(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return bind(_logistic_op, (x,))


def _share(i: int, base: float) -> Callable[..., Any]:
    """The partial of logaddexp: the share of the i-th term in the sum, exp(x_i) / (exp(x_0) + exp(x_1)).

    An infinite term that is all of the sum has share 1, and so has each of two, as in JAX.
    """

    def partial(d: Any, out: Any, *inputs: Any) -> Any:
        x, other = inputs[i], inputs[1 - i]
        if True in [type(v) in PYTHON_SCALARS and math.isfinite(v) for v in inputs]:  # which then leaves dtypes alone
            difference = x - other
        else:
            both = np.logical_and(np.equal(x, other), np.isinf(x))
            difference = np.where(both, math.inf, x - np.where(both, 0, other))
        return d * logistic(difference if base == math.e else difference * math.log(base))

    return partial


logaddexp = elementwise(
    "logaddexp", np.logaddexp, _share(0, math.e), _share(1, math.e), kinds="f", samples=binary_samples(-2, 2),
)  # fmt: skip
logaddexp2 = elementwise(
    "logaddexp2", np.logaddexp2, _share(0, 2), _share(1, 2), kinds="f", samples=binary_samples(-2, 2),
)  # fmt: skip


def _softplus(x: Any) -> Any:
    x = _as_float(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_softplus_op = elementwise(
    "softplus", _softplus, lambda d, out, x: d * logistic(x),
    infer=ufunc_type(np.exp), kinds="f", samples=_values(-3, 3),
)  # fmt: skip


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow, and with NaN for NaN (of which np.logaddexp warns).

    >>> softplus(np.array([-1000.0, 1000.0])).tolist()
    [0.0, 1000.0]
    """
    return bind(_softplus_op, (x,))


# ---------------------------------------------------------------------------------------------------------------------
# Rectifiers, whose derivative at a kink is zero (half is what np.maximum would give).


def _clamped_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    dtype = np.maximum.resolve_dtypes((types[0].dtype, int, None))[-1]
    return ArrayType(types[0].shape, dtype)


def _rectifier(name: str, low: int, high: int | None, samples: Any) -> Op:
    """Clamping to an interval, with derivative zero at its ends; NaN stays NaN."""
    return elementwise(
        name,
        lambda x: np.maximum(x, low) if high is None else np.minimum(np.maximum(x, low), high),
        lambda d, out, x: d,
        taken=lambda out, x: [Mask(lambda: x > low if high is None else np.logical_and(x > low, x < high))],
        infer=_clamped_type,
        kinds="iuf",
        samples=samples,
    )


_relu_op = _rectifier("relu", 0, None, _values(0.3, 2))
_relu6_op = _rectifier("relu6", 0, 6, _values(0.3, 5))


def relu(x: Any) -> Any:
    """max(x, 0), with derivative 0 at 0.

    >>> relu(np.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return bind(_relu_op, (x,))


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6), with derivative 0 at 0 and at 6.

    >>> relu6(np.array([-1.0, 2.0, 8.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return bind(_relu6_op, (x,))


# ---------------------------------------------------------------------------------------------------------------------
# The Gaussian error linear unit by tanh: x (1 + tanh(u / 2)) / 2 = x logistic(u), which does not cancel on the left, for
# u = x (a + b x**2). It is an op with its derivative as another since from |x| = 30 on, where the logistic function has long
# been 0 or 1, powers of x may overflow.

_GELU_A = 2 * math.sqrt(2 / math.pi)
_GELU_B = _GELU_A * 0.044715


def _gelu_angle(x: Any) -> tuple[Any, Any, Any]:
    """x within [-30, 30], u, and du / dx."""
    x = np.minimum(np.maximum(x, -30.0), 30.0)
    square = np.square(x)
    return x, x * (_GELU_A + _GELU_B * square), _GELU_A + 3 * _GELU_B * square


def _gelu(x: Any) -> Any:
    x = _as_float(x)
    return (x * _logistic(_gelu_angle(x)[1])).astype(x.dtype, copy=False)


def _gelu_slope(x: Any) -> Any:
    x = _as_float(x)
    dtype = x.dtype
    x, angle, slope = _gelu_angle(x)
    e = np.exp(-np.absolute(angle))
    share = 1 / (1 + e)
    found = np.where(angle >= 0, share, e * share) + x * slope * (e * share * share)
    return found.astype(dtype, copy=False)


def _gelu_slope_partial(d: Any, out: Any, x: Any) -> Any:
    x, angle, slope = _gelu_angle(x)
    turn = 2 * slope + x * (6 * _GELU_B * x - np.square(slope) * np.tanh(0.5 * angle))
    return d * (0.25 * sech_squared(0.5 * angle)) * turn


_gelu_slope_op = elementwise(
    "gelu_slope", _gelu_slope, _gelu_slope_partial, infer=ufunc_type(np.exp), kinds="f", samples=_values(-3, 3),
)  # fmt: skip
_gelu_op = elementwise(
    "gelu", _gelu, lambda d, out, x: d * bind(_gelu_slope_op, (x,)), infer=ufunc_type(np.exp), kinds="f",
    samples=_values(-3, 3),
)  # fmt: skip


def gelu(x: Any) -> Any:
    """x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))).

    >>> round(float(gelu(1.0)), 4), float(gelu(1e300)), float(gelu(-1e300))
    (0.8412, 1e+300, -0.0)
    """
    return bind(_gelu_op, (x,))


# ---------------------------------------------------------------------------------------------------------------------
# Algebraic sigmoids and rectifiers, whose derivatives would cancel far out if they were taken term by term.

_soft_sign_op = elementwise(
    "soft_sign", lambda x: x / (np.absolute(x) + 1), lambda d, out, x: d * np.square(1 / (np.absolute(x) + 1)),
    infer=ufunc_type(np.exp), kinds="f", samples=_values(0.3, 2),
)  # fmt: skip


def soft_sign(x: Any) -> Any:
    """x / (|x| + 1).

    >>> soft_sign(np.array([-3.0, 0.0, 1.0])).tolist()
    [-0.75, 0.0, 0.5]
    """
    return bind(_soft_sign_op, (x,))


def _branches(xp: Any, x: Any, b: Any) -> tuple[Any, Any, Any, Any]:
    """What the two functions below choose by, sqrt(x**2 + b), its sum with |x|, and b."""
    dtype = np.hypot.resolve_dtypes((type_of(x).promotion, type_of(b).promotion, None))[-1]
    x, b = xp.asarray(x, dtype), xp.asarray(b, dtype)
    root = xp.hypot(x, xp.sqrt(b))
    return x >= 0, root, root + xp.abs(x), b


def _squareplus(xp: Any, x: Any, b: Any) -> Any:
    right, _, total, b = _branches(xp, x, b)
    return xp.where(right, total / 2, b / (2 * xp.where(right, 1, total)))[()]


def _squareplus_slope(xp: Any, x: Any, b: Any) -> Any:
    right, root, total, b = _branches(xp, x, b)
    return xp.where(right, total / 2, b / (2 * xp.where(right, 1, total)))[()] / root


def _root_of_square_plus(x: Any, b: Any) -> Any:
    return np.hypot(x, np.sqrt(b))


def _over_cube(d: Any, x: Any, root: Any) -> Any:
    root = 1 / root  # XLA would make one division by the cube of three
    return d * (x * root * root * root)


_squareplus_samples = lambda: [Sample((np.array([[-1.5], [2.0]]), np.array([0.3, 1.0, 4.0]))), Sample((0.7, 4.0))]
_squareplus_slope_op = elementwise(
    "squareplus_slope",
    lambda x, b: _squareplus_slope(np, x, b),
    lambda d, out, x, b: _over_cube(d, 0.5 * b, _root_of_square_plus(x, b)),
    lambda d, out, x, b: _over_cube(d, -0.25 * x, _root_of_square_plus(x, b)),
    infer=ufunc_type(np.hypot), kinds="f", neutral=1, samples=_squareplus_samples,
)  # fmt: skip
_squareplus_op = elementwise(
    "squareplus",
    lambda x, b: _squareplus(np, x, b),
    lambda d, out, x, b: d * bind(_squareplus_slope_op, (x, b)),
    lambda d, out, x, b: d * 0.25 / _root_of_square_plus(x, b),
    infer=ufunc_type(np.hypot), kinds="f", neutral=1, samples=_squareplus_samples,
)  # fmt: skip


def squareplus(x: Any, b: Any = 4) -> Any:
    """(x + sqrt(x**2 + b)) / 2 for b >= 0, without overflow of the square and without cancelling.

    >>> squareplus(np.array([0.0, -1e10])).tolist()
    [1.0, 1e-10]
    """
    return bind(_squareplus_op, (x, b))


# ---------------------------------------------------------------------------------------------------------------------
# The error function. Two expansions, both computed with mpmath to 50 digits as Chebyshev interpolants and written out
# in powers: near zero erf(x)/x in x**2 on [0, 1]; beyond 1/2 the smooth factor x*exp(x**2)*erfc(x) in t = (x-3)/(x+3),
# which maps the half-line to an interval (Shepherd and Laframboise, "Chebyshev approximation of (1+2x)exp(x**2)erfc(x)
# in 0 <= x < inf", Math. Comp. 36 (1981)). Both are within about two units in the last place.

_ERF_SERIES = (
    -4.230945824295338e-12, 8.709045129053106e-11, -1.216456005728345e-09, 1.4792401209404813e-08,
    -1.6364642158167616e-07, 1.6462045441468418e-06, -1.4925647567519332e-05, 0.00012055332902888736,
    -0.000854832702193483, 0.0052239776254232985, -0.02686617064512984, 0.1128379167095512,
    -0.37612638903183754, 1.1283791670955126,
)  # fmt: skip
_ERFC_FACTOR = (
    1.913598221263382e-09, -4.84592589702951e-09, -1.0215023958806485e-08, 2.7510841955788583e-08,
    5.534641755847608e-08, -9.801275689361173e-08, -3.259461893698987e-07, 2.9883078151603863e-07,
    1.8846358915689215e-06, -9.934964888053778e-07, -1.1110704011365503e-05, 6.464263883945614e-06,
    6.898000377888295e-05, -8.46082659032283e-05, -0.00041254379538380274, 0.0012428761643295178,
    0.0009108226894199897, -0.014019825626440937, 0.04635026333128135, -0.0954697503066208,
    0.13988054760177007, -0.14658304803289107, 0.09530622695922802, 0.5370034535441699,
)  # fmt: skip
_BLOCK = 8192  # so that the many passes of a polynomial stay in the cache


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Horner's rule, the coefficients from the highest power down."""
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y *= x
        y += c
    return y


def _erf_near(x: Any) -> Any:
    return x * _polynomial(_ERF_SERIES, x * x)


def _erfc_far(x: Any) -> Any:
    """erfc of x >= 1/2. The square is taken in two parts: an error in it would be multiplied by its size."""
    x = np.minimum(x, 28.0)  # where the function has long been zero
    high = x.astype(np.float32).astype(np.float64)
    gauss = np.exp(-high * high) * np.exp((high - x) * (high + x))
    return gauss * _polynomial(_ERFC_FACTOR, (x - 3.0) / (x + 3.0)) / x


@functools.cache
def _scipy_special() -> Any:
    """The module, three times as fast as NumPy's passes over a polynomial; None where it is not installed."""
    try:
        return importlib.import_module("scipy.special")
    except ImportError:
        return None


def _ndtr_by_scipy(special: Any, x: Any) -> Any:
    """By the symmetry about zero: SciPy's code branches on the sign, which a processor cannot foresee in data of both
    signs, and takes a fifth longer than these passes and itself on -|x|."""
    below = np.negative(np.absolute(x))
    tail = special.ndtr(below, below)
    return np.absolute(np.subtract(x > 0, tail, tail), tail)


def _by_distance(
    by_scipy: Callable[[Any, Any], Any] | None,
    edge: float,
    near: Callable[[Any], Any],
    far: Callable[[Any], Any],
    scalar: Callable[[float], float],
) -> Callable[[Any], Any]:
    """What `by_scipy` makes of scipy.special and x (None: it is less accurate), or where SciPy is missing an evaluation
    that applies `near` where |x| < edge and `far` elsewhere, in float64 and block by block."""

    def block(x: Any) -> Any:
        is_near = np.abs(x) < edge
        count = np.count_nonzero(is_near)
        if count == x.size:
            return near(x)
        if count == 0:
            return far(x)
        out = np.empty_like(x)
        out[is_near] = near(x[is_near])
        is_far = ~is_near
        out[is_far] = far(x[is_far])
        return out

    def evaluate(x: Any) -> Any:
        x = _as_float(x)
        if x.ndim == 0:
            return x.dtype.type(scalar(float(x)))
        if by_scipy and x.dtype.char in "fd" and (special := _scipy_special()) is not None:
            return by_scipy(special, x)
        flat = x.astype(np.float64).ravel()
        for start in range(0, flat.size, _BLOCK):
            flat[start : start + _BLOCK] = block(flat[start : start + _BLOCK])
        return flat.reshape(x.shape).astype(x.dtype, copy=False)

    return evaluate


_erf_op = elementwise(
    "erf",
    _by_distance(
        lambda special, x: special.erf(x), 1.0, _erf_near, lambda x: np.copysign(1 - _erfc_far(np.abs(x)), x), math.erf
    ),
    lambda d, out, x: d * (TWO_OVER_SQRT_PI * np.exp(-x * x)),
    infer=ufunc_type(np.exp),
    kinds="f",
    samples=_values(-2, 2),
)
_erfc_op = elementwise(
    "erfc",
    _by_distance(
        None,
        0.5,
        lambda x: 1 - _erf_near(x),
        lambda x: np.where(np.signbit(x), 2 - _erfc_far(np.abs(x)), _erfc_far(np.abs(x))),
        math.erfc,
    ),
    lambda d, out, x: d * (-TWO_OVER_SQRT_PI * np.exp(-x * x)),
    infer=ufunc_type(np.exp),
    kinds="f",
    samples=_values(-2, 2),
)


_HALF_ROOT = math.sqrt(0.5)
_ndtr_op = elementwise(
    "ndtr",
    _by_distance(
        _ndtr_by_scipy,
        0.7,
        lambda x: 0.5 + 0.5 * _erf_near(_HALF_ROOT * x),
        lambda x: 0.5 * _erfc_op.evaluate(-_HALF_ROOT * x),
        lambda x: 0.5 * math.erfc(-_HALF_ROOT * x),
    ),
    lambda d, out, x: d * (np.exp(-0.5 * x * x) * ONE_OVER_SQRT_TWO_PI),
    infer=ufunc_type(np.exp),
    kinds="f",
    samples=_values(-2, 2),
)


def erf(x: Any) -> Any:
    """The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.

    >>> float(erf(0.0)), float(erf(np.inf))
    (0.0, 1.0)
    """
    return bind(_erf_op, (x,))


def erfc(x: Any) -> Any:
    """1 - erf(x), accurate also where that difference is tiny.

    >>> bool(1e-46 < erfc(10.0) < 1e-44)
    True
    """
    return bind(_erfc_op, (x,))


def ndtr(x: Any) -> Any:
    """The normal distribution's cumulative distribution function, the integral of its density up to x.

    >>> float(ndtr(0.0)), float(ndtr(np.inf))
    (0.5, 1.0)
    """
    return bind(_ndtr_op, (x,))


# ---------------------------------------------------------------------------------------------------------------------
# A product that keeps zeros, and the cross-entropy of one logit.


def _multiply_keeping_zeros(x: Any, y: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.where(np.equal(x, 0), 0, np.multiply(x, y))


def _logarithm_of_nothing(d: Any, out: Any, x: Any, y: Any) -> Any:
    nothing = np.logical_and(np.equal(x, 0), np.isinf(y))
    return d * by_convention(np.where(nothing, x, y), nothing)


_multiply_keeping_zeros_op = elementwise(
    "multiply_keeping_zeros",
    _multiply_keeping_zeros,
    _logarithm_of_nothing,
    lambda d, out, x, y: d * x,
    infer=ufunc_type(np.multiply),
    linear=[{1}],
    samples=lambda: [
        Sample((np.array([[0.5], [0.0]]), np.array([1.0, -2.0, 0.3]))),
        Sample((0.5, np.array([1.0, 2.0]))),
    ],
)


def multiply_keeping_zeros(x: Any, y: Any) -> Any:
    """`x * y`, but zero wherever `x` is zero, also where `y` is infinite: 0 log 0 = 0.

    >>> multiply_keeping_zeros(np.array([0.0, 0.5]), np.array([-np.inf, 2.0])).tolist()
    [0.0, 1.0]
    """
    return bind(_multiply_keeping_zeros_op, (x, y))


# The terms of a weighted sum of exponentials. A weight of zero makes zero of an exponential that overflows, but has that for
# its own derivative.
def _times_exp(x: Any, y: Any) -> Any:
    dtype = np.logaddexp.resolve_dtypes((type_of(x).promotion, type_of(y).promotion, None))[2]
    x, y = np.asarray(x, dtype), np.asarray(y, dtype)
    return x * np.exp(np.where(x == 0, 0, y))


_times_exp_op = elementwise(
    "times_exp", _times_exp, lambda d, out, x, y: d * np.exp(y), lambda d, out, x, y: d * out,
    infer=ufunc_type(np.logaddexp), linear=[{0}], kinds="f", samples=binary_samples(-2, 2), neutral=1,
)  # fmt: skip


def times_exp(x: Any, y: Any) -> Any:
    """`x * exp(y)`, and zero wherever `x` is zero.

    >>> times_exp(np.array([2.0, 0.0]), np.array([0.0, 1e9])).tolist()
    [2.0, 0.0]
    """
    return bind(_times_exp_op, (x, y))


def _binary_cross_entropy(x: Any, p: Any) -> Any:
    dtype = np.logaddexp.resolve_dtypes((type_of(x).promotion, type_of(p).promotion, None))[2]
    x, p = np.asarray(x, dtype), np.asarray(p, dtype)
    size = np.abs(x)
    return _multiply_keeping_zeros(np.where(x >= 0, 1 - p, p), size) + np.log1p(np.exp(-size))


def _binary_cross_entropy_partial(d: Any, out: Any, x: Any, p: Any) -> Any:
    """logistic(x) - p; where that is near 1 - 1, as the difference of what both lack."""
    smaller = logistic(-np.absolute(x))
    return d * np.where(np.greater_equal(x, 0), (1 - p) - smaller, smaller - p)


_binary_cross_entropy_op = elementwise(
    "binary_cross_entropy",
    _binary_cross_entropy,
    _binary_cross_entropy_partial,
    lambda d, out, x, p: -d * x,
    infer=ufunc_type(np.logaddexp),
    kinds="f",
    samples=lambda: [Sample((np.array([[-1.5], [2.0]]), np.array([0.0, 0.3, 1.0])))],
)


def binary_cross_entropy(x: Any, p: Any) -> Any:
    """-p log(logistic(x)) - (1-p) log(1 - logistic(x)), exact to rounding for certain p and far-out x alike.

    >>> float(binary_cross_entropy(np.array(1000.0), np.array(1.0)))
    0.0
    """
    return bind(_binary_cross_entropy_op, (x, p))


# ---------------------------------------------------------------------------------------------------------------------
# Softmax and its logarithm over some axes. Their inputs may hold -inf: such an entry has no share, and is at rest.


def _float_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    return ArrayType(t.shape, np.exp.resolve_dtypes((t.dtype, None))[1])


def _shifted(x: Any, axes: tuple[int, ...]) -> tuple[Any, np.dtype[Any]]:
    """x minus its largest, so that exp cannot overflow, and the dtype of the result. NaN where all is -inf, as in jax."""
    x = _as_float(x)
    with np.errstate(invalid="ignore", over="ignore"):
        # Among float8 are some without an infinity.
        return widened(x - np.maximum.reduce(x, axes, keepdims=True, initial=float_extreme(x.dtype, -1))), x.dtype


def _softmax(x: Any, axes: tuple[int, ...]) -> Any:
    shifted, dtype = _shifted(x, axes)
    e = np.exp(shifted)
    return (e / np.add.reduce(e, axes, keepdims=True)).astype(dtype, copy=False)


def _log_softmax(x: Any, axes: tuple[int, ...]) -> Any:
    shifted, dtype = _shifted(x, axes)
    return (shifted - np.log(np.add.reduce(np.exp(shifted), axes, keepdims=True))).astype(dtype, copy=False)


def _total(d: Any, params: Params) -> Any:
    return np.add.reduce(widened(d), params["axes"], keepdims=True)


# An entry with almost all of the probability has a derivative that is almost zero: a difference of two numbers near each
# other, by the formulas, but a sum of what the other entries have. At most one entry has more than half.


def _softmax_tangent(t: Any, out: Any, params: Params) -> Any:
    """out * (t - sum(out * t)), a map that is its own transpose. It does not change where a constant is added to t, so that
    t may be counted from the entry that has more than half."""
    t = t - _total(np.where(np.greater(out, 0.5), t, 0), params)
    return cast(out * (t - _total(out * t, params)), type_of(out).dtype)


def _log_softmax_tangent(t: Any, out: Any, params: Params) -> Any:
    """t - sum(softmax * t), likewise."""
    t = t - _total(np.where(np.greater(out, _LOG_HALF), t, 0), params)
    return cast(t - _total(np.exp(out) * t, params), type_of(out).dtype)


def _log_softmax_cotangent(ct: Any, out: Any, params: Params) -> Any:
    """ct - softmax * sum(ct). All entries of that together are zero, so that one is what the others lack."""
    largest = np.greater(out, _LOG_HALF)
    found = ct - np.exp(out) * _total(ct, params)
    return cast(np.where(largest, -_total(np.where(largest, 0, found), params), found), type_of(out).dtype)


_LOG_HALF = math.log(0.5)


def _over_axes(
    name: str,
    evaluate: Callable[..., Any],
    tangent: Callable[[Any, Any, Params], Any],
    cotangent: Callable[[Any, Any, Params], Any],
) -> Op:
    """Declare an op of one input over `axes`, its derivative and the transpose of that written from the output."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return None if tangents[0] is None else tangent(tangents[0], out, params)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        return (cotangent(ct, out, params),) if number_kind(type_of(primals[0]).dtype) == "f" else (None,)

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        return bind(op, tuple(inputs), {"axes": tuple([a + 1 for a in params["axes"]])})

    op = declare(
        name, evaluate=evaluate, infer=_float_type, jvp=jvp, vjp=vjp, batch=batch, kinds="f", samples=_axes_samples,
    )  # fmt: skip
    return op


def _axes_samples() -> Iterable[Sample]:
    x = np.random.default_rng(4).normal(0, 2, (2, 3, 2))
    for axes in [(2,), (0, 1), (0, 1, 2)]:
        yield Sample((x,), {"axes": axes})


_softmax_op = _over_axes(
    "softmax",
    _softmax,
    _softmax_tangent,
    _softmax_tangent,
)


def _shares(x: Any, axes: tuple[int, ...]) -> Any:
    x = _as_float(x)
    largest = np.maximum.reduce(x, axes, keepdims=True, initial=-np.inf)
    e = np.exp(widened(x - np.where(np.isneginf(largest), 0, largest)))
    total = np.add.reduce(e, axes, keepdims=True)
    return (e / np.where(total == 0, 1, total)).astype(x.dtype, copy=False)[()]


# Those of a sum's terms in their sum: softmax, but zero where all of x is -inf. It is the derivative of logsumexp.
shares_op = _over_axes("shares", _shares, _softmax_tangent, _softmax_tangent)
_log_softmax_op = _over_axes(
    "log_softmax",
    _log_softmax,
    _log_softmax_tangent,
    _log_softmax_cotangent,
)


def softmax(x: Any, axis: int | Sequence[int] | None = -1) -> Any:
    """exp(x) / sum(exp(x)) over `axis`, for entries of any size.

    >>> softmax(np.array([1000.0, 1000.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    return bind(_softmax_op, (x,), {"axes": normalize_axes(axis, len(_shape(x, "softmax")), "softmax")})


def log_softmax(x: Any, axis: int | Sequence[int] | None = -1) -> Any:
    """The logarithm of `softmax`, accurate where that underflows.

    >>> log_softmax(np.array([0.0, -1000.0])).tolist()
    [0.0, -1000.0]
    """
    return bind(_log_softmax_op, (x,), {"axes": normalize_axes(axis, len(_shape(x, "log_softmax")), "log_softmax")})


def _shape(x: Any, name: str) -> tuple[int, ...]:
    found = type_of(x) if not isinstance(x, list | tuple) else type_of(np.asarray(x))
    if number_kind(found.dtype) not in "biuf":
        raise DtypeError(f"{name} takes real numbers, got {found}")
    return shape_of(x) if not isinstance(x, list | tuple) else found.shape


SCIPY_FUNCTIONS.update(erf=erf, erfc=erfc, expit=logistic, ndtr=ndtr)
