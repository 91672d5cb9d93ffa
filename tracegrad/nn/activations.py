"""Activations and what goes with them, with jax.nn's names, arguments and values. All take plain arrays or traced ones,
and keep float32 in float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.types import number_kind
from tracegrad.ops import softmax as over_axes
from tracegrad.ops.elementwise.activations import gelu as gelu_by_tanh
from tracegrad.ops.elementwise.activations import logistic, relu6, softplus
from tracegrad.ops.elementwise.error_function import erfc
from tracegrad.ops.reduce.logsumexp import logsumexp
from tracegrad.typing import Array, ArrayLike, Axis, DType


def identity(x: ArrayLike) -> Array:
    """The argument, unchanged.

    >>> identity(np.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """
    return x


def leaky_relu(x: ArrayLike, negative_slope: ArrayLike = 1e-2) -> Array:
    """x where x >= 0, else negative_slope * x.

    >>> leaky_relu(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-0.04, -0.005, 0.0, 2.0]
    """
    return np.where(np.greater_equal(x, 0), x, np.multiply(negative_slope, x))


def elu(x: ArrayLike, alpha: ArrayLike = 1.0) -> Array:
    """Exponential linear unit: x where x > 0, else alpha * (exp(x) - 1).

    Source: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by ELUs", ICLR 2016.

    >>> elu(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-0.9817, -0.3935, 0.0, 2.0]
    """
    positive = np.greater(x, 0)
    return np.where(positive, x, alpha * np.expm1(np.where(positive, 0, x)))


def selu(x: ArrayLike) -> Array:
    """Scaled ELU, with the scales that keep activations at mean 0 and variance 1.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017.

    >>> selu(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-1.7259, -0.6918, 0.0, 2.1014]
    """
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def celu(x: ArrayLike, alpha: ArrayLike = 1.0) -> Array:
    """Continuously differentiable ELU: x where x > 0, else alpha * (exp(x / alpha) - 1).

    Source: Barron, "Continuously Differentiable Exponential Linear Units", 2017, arXiv:1704.07483.

    >>> celu(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-0.9817, -0.3935, 0.0, 2.0]
    """
    return np.maximum(x, 0.0) + alpha * np.expm1(np.minimum(x, 0.0) / alpha)


def gelu(x: ArrayLike, approximate: bool = True) -> Array:
    """Gaussian error linear unit, x times the normal distribution's probability below x.

    Args:
        x: array of real numbers.
        approximate: with tanh in place of the error function, x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))).

    >>> round(float(gelu(1.0)), 4), round(float(gelu(1.0, approximate=False)), 4)
    (0.8412, 0.8413)

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, arXiv:1606.08415, section 2.
    """
    if approximate:
        return gelu_by_tanh(x)
    return 0.5 * x * erfc(-math.sqrt(0.5) * x)


def sigmoid(x: ArrayLike) -> Array:
    """The logistic function 1 / (1 + exp(-x)).

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return logistic(x)


def log_sigmoid(x: ArrayLike) -> Array:
    """log(sigmoid(x)), accurate where sigmoid underflows: -softplus(-x).

    >>> log_sigmoid(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-4.0181, -0.9741, -0.6931, -0.1269]
    """
    return -softplus(np.negative(x))


def silu(x: ArrayLike) -> Array:
    """x * sigmoid(x), also known as swish.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units", 2017, arXiv:1702.03118.

    >>> silu(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-0.0719, -0.1888, 0.0, 1.7616]
    """
    return x * logistic(x)


swish = silu


def mish(x: ArrayLike) -> Array:
    """x * tanh(softplus(x)).

    Source: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019, arXiv:1908.08681.

    >>> mish(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-0.0726, -0.2207, 0.0, 1.944]
    """
    return x * np.tanh(softplus(x))


def sparse_plus(x: ArrayLike) -> Array:
    """0 for x <= -1, (x + 1)**2 / 4 between, x for x >= 1: softplus's twin with a true zero.

    >>> sparse_plus(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [0.0, 0.0625, 0.25, 2.0]
    """
    return np.where(np.less_equal(x, -1), 0, np.where(np.greater_equal(x, 1), x, np.square(np.add(x, 1.0)) / 4))


def sparse_sigmoid(x: ArrayLike) -> Array:
    """(x + 1) / 2 clipped to [0, 1]: the derivative of `sparse_plus`.

    >>> sparse_sigmoid(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    return 0.5 * np.minimum(np.maximum(np.add(x, 1.0), 0.0), 2.0)


def tanh(x: ArrayLike) -> Array:
    """The hyperbolic tangent.

    >>> tanh(np.array([0.0, np.inf])).tolist()
    [0.0, 1.0]
    """
    return np.tanh(x)


def hard_tanh(x: ArrayLike) -> Array:
    """x clipped to [-1, 1], with derivative 1 at the ends.

    >>> hard_tanh(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-1.0, -0.5, 0.0, 1.0]
    """
    return np.where(np.greater(x, 1), 1, np.where(np.less(x, -1), -1, x))


def hard_sigmoid(x: ArrayLike) -> Array:
    """relu6(x + 3) / 6.

    >>> hard_sigmoid(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [0.0, 0.4167, 0.5, 0.8333]
    """
    return relu6(np.add(x, 3.0)) / 6.0


def hard_silu(x: ArrayLike) -> Array:
    """x * hard_sigmoid(x), also known as hard_swish.

    Source: Howard et al., "Searching for MobileNetV3", ICCV 2019.

    >>> hard_silu(np.array([-4.0, -0.5, 0.0, 2.0])).round(4).tolist()
    [-0.0, -0.2083, 0.0, 1.6667]
    """
    return x * hard_sigmoid(x)


hard_swish = hard_silu


def glu(x: ArrayLike, axis: int = -1) -> Array:
    """Gated linear unit: the first half of `x` along `axis` times the sigmoid of the second half.

    Raises:
        ShapeError: an axis of odd size.

    >>> glu(np.array([1.0, 2.0, 0.0, 0.0])).tolist()
    [0.5, 1.0]
    """
    size = np.shape(x)[axis]
    if size % 2:
        raise ShapeError(f"glu halves axis {axis}, which must be of even size; the shape is {np.shape(x)}")
    first, second = np.split(x, 2, axis)
    return first * logistic(second)


# ---------------------------------------------------------------------------------------------------------------------
# Over axes.


def softmax(x: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """exp(x) / sum(exp(x)) over `axis` (an int, a tuple, None for all), for entries of any size.

    Args:
        x: array of real numbers; an entry of -inf gets probability 0, and a derivative of 0.
        axis: the axes over which the result sums to 1.
        where: mask of the entries to include, of a shape that broadcasts to that of `x`; the others give 0.

    >>> softmax(np.array([1000.0, 1000.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    if where is None:
        return over_axes.softmax(x, axis)
    return np.where(where, over_axes.softmax(np.where(where, x, -np.inf), axis), 0)


def log_softmax(x: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """The logarithm of `softmax`, accurate where that underflows. Entries that `where` leaves out give -inf.

    >>> log_softmax(np.array([0.0, -1000.0])).tolist()
    [0.0, -1000.0]
    """
    if where is None:
        return over_axes.log_softmax(x, axis)
    return np.where(where, over_axes.log_softmax(np.where(where, x, -np.inf), axis), -np.inf)


def logmeanexp(x: ArrayLike, axis: Axis = None, where: ArrayLike | None = None, keepdims: bool = False) -> Array:
    """log(mean(exp(x))) over `axis`, for entries of any size.

    >>> float(logmeanexp(np.array([1000.0, 1000.0])))
    1000.0
    """
    out = logsumexp(x, axis, keepdims=keepdims, where=where)
    return out - np.log(_count(x, axis, where, keepdims)).astype(out.dtype)


def standardize(
    x: ArrayLike,
    axis: Axis = -1,
    mean: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    epsilon: ArrayLike = 1e-5,
    where: ArrayLike | None = None,
    *,
    algorithm: str = "stable",
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) over `axis`.

    Args:
        x: array of real numbers.
        axis: the axes over which mean and variance are taken; None for all.
        mean: taken as given rather than computed, if not None. It broadcasts against `x`.
        variance: likewise.
        epsilon: added to the variance.
        where: mask of the entries that count for mean and variance.
        algorithm: "stable" for mean((x - mean)**2); "fast", jax's default, for mean(x**2) - mean**2, which cancels
            where the mean is large next to the deviation.

    >>> np.round(standardize(np.array([1.0, 2.0, 3.0])), 3).tolist()
    [-1.225, 0.0, 1.225]
    """
    if algorithm not in ("stable", "fast"):
        raise ValueError(f'standardize: algorithm is "stable" or "fast", not {algorithm!r}')
    if mean is None:
        mean = _mean(x, axis, where)
    if variance is None:
        if algorithm == "stable":
            variance = _mean(np.square(np.subtract(x, mean)), axis, where)
        else:
            variance = np.maximum(_mean(np.square(x), axis, where) - np.square(mean), 0)
    return np.subtract(x, mean) / np.sqrt(np.add(variance, epsilon))


def _mean(x: Any, axis: Axis, where: Any) -> Any:
    """The mean over axes, which stay with size 1, of the entries that a mask includes."""
    return np.mean(x, axis, keepdims=True) if where is None else np.mean(x, axis, keepdims=True, where=where)


def _count(x: Any, axis: Axis, where: Any, keepdims: bool) -> Any:
    """How many entries a reduction takes in."""
    return np.sum(np.broadcast_to(True if where is None else where, np.shape(x)), axis, keepdims=keepdims)


def one_hot(x: ArrayLike, num_classes: int, *, dtype: DType = None, axis: int = -1) -> Array:
    """Each integer of `x` as a vector of zeros with a one at that index; all zeros if it is outside [0, num_classes).

    Args:
        x: array of integers.
        num_classes: length of the new axis.
        dtype: of the result; float64 where not given.
        axis: where the new axis goes in the result.

    Raises:
        DtypeError: `x` does not hold integers.

    >>> one_hot(np.array([0, 2, -1]), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    x = np.add(x, 0)
    if number_kind(x.dtype) not in "iu":
        raise DtypeError(f"one_hot takes integers, got {x.dtype.name}; write x.astype(int)")
    ndim = x.ndim + 1
    if not -ndim <= axis < ndim:
        raise ShapeError(f"one_hot: axis {axis} is out of range for a result of {ndim} dimensions")
    classes = np.arange(num_classes).reshape([-1 if i == axis % ndim else 1 for i in range(ndim)])
    return np.equal(np.expand_dims(x, axis), classes).astype(np.dtype(float if dtype is None else dtype))
