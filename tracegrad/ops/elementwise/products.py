"""Products that keep zeros: 0 log 0 = 0. Sums of such are entropies."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.op import Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import bind
from tracegrad.ops.elementwise.activations import logistic
from tracegrad.ops.elementwise.conventions import by_convention
from tracegrad.ops.elementwise.samples import binary_samples
from tracegrad.ops.families import elementwise, promoted, ufunc_type
from tracegrad.typing import Array, ArrayLike


def _multiply_keeping_zeros(x: Any, y: Any) -> Any:
    return np.where(np.equal(x, 0), 0, quietly(("invalid",), np.multiply, x, y))


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


def multiply_keeping_zeros(x: ArrayLike, y: ArrayLike) -> Array:
    """`x * y`, but zero wherever `x` is zero, also where `y` is infinite: 0 log 0 = 0.

    >>> multiply_keeping_zeros(np.array([0.0, 0.5]), np.array([-np.inf, 2.0])).tolist()
    [0.0, 1.0]
    """
    return bind(_multiply_keeping_zeros_op, (x, y))


# The terms of a weighted sum of exponentials. A weight of zero makes zero of an exponential that overflows, but has that for
# its own derivative.
def _times_exp(x: Any, y: Any) -> Any:
    dtype = promoted(np.logaddexp, x, y)
    x, y = np.asarray(x, dtype), np.asarray(y, dtype)
    return x * np.exp(np.where(x == 0, 0, y))


_times_exp_op = elementwise(
    "times_exp", _times_exp, lambda d, out, x, y: d * np.exp(y), lambda d, out, x, y: d * out,
    infer=ufunc_type(np.logaddexp), linear=[{0}], kinds="f", samples=binary_samples(-2, 2), neutral=1,
)  # fmt: skip


def times_exp(x: ArrayLike, y: ArrayLike) -> Array:
    """`x * exp(y)`, and zero wherever `x` is zero.

    >>> times_exp(np.array([2.0, 0.0]), np.array([0.0, 1e9])).tolist()
    [2.0, 0.0]
    """
    return bind(_times_exp_op, (x, y))


# ---------------------------------------------------------------------------------------------------------------------
# The cross-entropy of one logit.


def _binary_cross_entropy(x: Any, p: Any) -> Any:
    dtype = promoted(np.logaddexp, x, p)
    x, p = np.asarray(x, dtype), np.asarray(p, dtype)
    size = np.abs(x)
    return _multiply_keeping_zeros(np.where(x >= 0, 1 - p, p), size) + np.log1p(np.exp(-size))


def _binary_cross_entropy_partial(d: Any, out: Any, x: Any, p: Any) -> Any:
    """logistic(x) - p; where that is near 1 - 1, as the difference of what both lack."""
    smaller = logistic(-np.absolute(x))
    return d * np.where(np.greater_equal(x, 0), (1 - p) - smaller, smaller - p)


_binary_cross_entropy_op = elementwise(
    "binary_cross_entropy", _binary_cross_entropy, _binary_cross_entropy_partial, lambda d, out, x, p: -d * x,
    infer=ufunc_type(np.logaddexp), kinds="f",
    samples=lambda: [Sample((np.array([[-1.5], [2.0]]), np.array([0.0, 0.3, 1.0])))],
)  # fmt: skip


def binary_cross_entropy(x: ArrayLike, p: ArrayLike) -> Array:
    """-p log(logistic(x)) - (1-p) log(1 - logistic(x)), exact to rounding for certain p and far-out x alike.

    >>> float(binary_cross_entropy(np.array(1000.0), np.array(1.0)))
    0.0
    """
    return bind(_binary_cross_entropy_op, (x, p))
