"""Functions that NumPy lacks and networks need: the logistic function and its kin, rectifiers.

Each is one op because the composition would overflow, cancel, or make NaN where the answer is finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, is_inexact, number_kind
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.elementwise.trigonometric import sech_squared
from tracegrad.ops.families import elementwise, promoted, ufunc_type
from tracegrad.ops.masks import Mask
from tracegrad.typing import Array, ArrayLike


def as_float(x: ArrayLike) -> Array:
    """Integers as NumPy's own elementwise functions take them: in the smallest float dtype that holds them."""
    x = np.asarray(x)
    return x if is_inexact(x.dtype) else x.astype(np.exp.resolve_dtypes((x.dtype, None))[1])


# ---------------------------------------------------------------------------------------------------------------------
# The logistic function, and logarithms of sums of exponentials.


def _logistic(x: Any) -> Any:
    if type(x) is not np.ndarray or not is_inexact(x.dtype):
        x = as_float(x)
    if number_kind(x.dtype) == "c":
        right = x.real >= 0
        e = np.exp(np.where(right, -x, x))
    else:
        right = x >= 0
        e = np.exp(-np.abs(x))  # never above one, whatever the sign
    return np.where(right, 1, e) / (1 + e)


_logistic_op = elementwise(
    "logistic", _logistic, lambda d, out, x: d * (0.25 * sech_squared(0.5 * x)),
    infer=ufunc_type(np.exp), kinds="fc", samples=unary_samples(-3, 3),
)  # fmt: skip


def logistic(x: ArrayLike) -> Array:
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
    x = as_float(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_softplus_op = elementwise(
    "softplus", _softplus, lambda d, out, x: d * logistic(x),
    infer=ufunc_type(np.exp), kinds="f", samples=unary_samples(-3, 3),
)  # fmt: skip


def softplus(x: ArrayLike) -> Array:
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


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _relu6(x: Any) -> Any:
    return np.minimum(np.maximum(x, 0), 6)


def _rectifier(name: str, evaluate: Callable[..., Any], inside: Callable[[Any], Any], samples: Any) -> Op:
    """Clamping to an interval, with derivative zero at its ends; NaN stays NaN."""
    return elementwise(
        name, evaluate, lambda d, out, x: d, taken=lambda out, x: [Mask(lambda: inside(x))], infer=_clamped_type, kinds="iuf",
        samples=samples,
    )  # fmt: skip


_relu_op = _rectifier("relu", _relu, lambda x: x > 0, unary_samples(0.3, 2))
_relu6_op = _rectifier("relu6", _relu6, lambda x: np.logical_and(x > 0, x < 6), unary_samples(0.3, 5))


def relu(x: ArrayLike) -> Array:
    """max(x, 0), with derivative 0 at 0.

    >>> relu(np.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return bind(_relu_op, (x,))


def relu6(x: ArrayLike) -> Array:
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
    x = as_float(x)
    return (x * _logistic(_gelu_angle(x)[1])).astype(x.dtype, copy=False)


def _gelu_slope(x: Any) -> Any:
    x = as_float(x)
    dtype = x.dtype
    x, angle, slope = _gelu_angle(x)
    e = np.exp(-np.absolute(angle))
    share = 1 / (1 + e)
    result = np.where(angle >= 0, share, e * share) + x * slope * (e * share * share)
    return result.astype(dtype, copy=False)


def _gelu_slope_partial(d: Any, out: Any, x: Any) -> Any:
    x, angle, slope = _gelu_angle(x)
    turn = 2 * slope + x * (6 * _GELU_B * x - np.square(slope) * np.tanh(0.5 * angle))
    return d * (0.25 * sech_squared(0.5 * angle)) * turn


_gelu_slope_op = elementwise(
    "gelu_slope", _gelu_slope, _gelu_slope_partial, infer=ufunc_type(np.exp), kinds="f", samples=unary_samples(-3, 3),
)  # fmt: skip
_gelu_op = elementwise(
    "gelu", _gelu, lambda d, out, x: d * bind(_gelu_slope_op, (x,)), infer=ufunc_type(np.exp), kinds="f",
    samples=unary_samples(-3, 3),
)  # fmt: skip


def gelu(x: ArrayLike) -> Array:
    """x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))).

    >>> round(float(gelu(1.0)), 4), float(gelu(1e300)), float(gelu(-1e300))
    (0.8412, 1e+300, -0.0)
    """
    return bind(_gelu_op, (x,))


# ---------------------------------------------------------------------------------------------------------------------
# Algebraic sigmoids and rectifiers, whose derivatives would cancel far out if they were taken term by term.


def _soft_sign(x: Any) -> Any:
    return x / (np.absolute(x) + 1)


_soft_sign_op = elementwise(
    "soft_sign", _soft_sign, lambda d, out, x: d * np.square(1 / (np.absolute(x) + 1)),
    infer=ufunc_type(np.exp), kinds="f", samples=unary_samples(0.3, 2),
)  # fmt: skip


def soft_sign(x: ArrayLike) -> Array:
    """x / (|x| + 1).

    >>> soft_sign(np.array([-3.0, 0.0, 1.0])).tolist()
    [-0.75, 0.0, 0.5]
    """
    return bind(_soft_sign_op, (x,))


def _squareplus_and_root(x: Any, b: Any) -> tuple[Any, Any]:
    """Squareplus, and sqrt(x**2 + b)."""
    dtype = promoted(np.hypot, x, b)
    x, b = np.asarray(x, dtype), np.asarray(b, dtype)
    root = np.hypot(x, np.sqrt(b))
    total, right = root + np.abs(x), x >= 0
    return np.where(right, total / 2, b / (2 * np.where(right, 1, total)))[()], root


def _squareplus(x: Any, b: Any) -> Any:
    return _squareplus_and_root(x, b)[0]


def _squareplus_slope(x: Any, b: Any) -> Any:
    value, root = _squareplus_and_root(x, b)
    return value / root


def _root_of_square_plus(x: Any, b: Any) -> Any:
    return np.hypot(x, np.sqrt(b))


def _over_cube(d: Any, x: Any, root: Any) -> Any:
    root = 1 / root  # XLA would make one division by the cube of three
    return d * (x * root * root * root)


_squareplus_samples = lambda: [Sample((np.array([[-1.5], [2.0]]), np.array([0.3, 1.0, 4.0]))), Sample((0.7, 4.0))]
_squareplus_slope_op = elementwise(
    "squareplus_slope",
    _squareplus_slope,
    lambda d, out, x, b: _over_cube(d, 0.5 * b, _root_of_square_plus(x, b)),
    lambda d, out, x, b: _over_cube(d, -0.25 * x, _root_of_square_plus(x, b)),
    infer=ufunc_type(np.hypot), kinds="f", neutral=1, samples=_squareplus_samples,
)  # fmt: skip
_squareplus_op = elementwise(
    "squareplus",
    _squareplus,
    lambda d, out, x, b: d * bind(_squareplus_slope_op, (x, b)),
    lambda d, out, x, b: d * 0.25 / _root_of_square_plus(x, b),
    infer=ufunc_type(np.hypot), kinds="f", neutral=1, samples=_squareplus_samples,
)  # fmt: skip


def squareplus(x: ArrayLike, b: ArrayLike = 4) -> Array:
    """(x + sqrt(x**2 + b)) / 2 for b >= 0, without overflow of the square and without cancelling.

    Source: Barron, "Squareplus: A Softplus-Like Algebraic Rectifier", 2021, arXiv:2112.11687.

    >>> squareplus(np.array([0.0, -1e10])).tolist()
    [1.0, 1e-10]
    """
    return bind(_squareplus_op, (x, b))


SCIPY_FUNCTIONS.update(expit=logistic)
