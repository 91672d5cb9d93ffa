"""Terms of entropies, power transforms of Box and Cox, and Huber's loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.ops.elementwise.products import multiply_keeping_zeros
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.ops.special.hypergeometric import hyp1f1, hyp2f1
from tracegrad.typing import Array, ArrayLike

_xlogy_op = special(
    "xlogy", lambda d, out, x, y: d * np.log(y), lambda d, out, x, y: d * multiply_keeping_zeros(x, np.divide(1, y)),
    samples=binary_samples(0.3, 3),
)  # fmt: skip
_xlog1py_op = special(
    "xlog1py", lambda d, out, x, y: d * np.log1p(y), lambda d, out, x, y: d * multiply_keeping_zeros(x, np.divide(1, 1 + y)),
    samples=binary_samples(0.3, 3),
)  # fmt: skip
_entr_op = special("entr", lambda d, out, x: d * (-1 - np.log(x)), samples=unary_samples(0.3, 3))
_rel_entr_op = special(
    "rel_entr", lambda d, out, x, y: d * (1 + np.log(np.divide(x, y))), lambda d, out, x, y: -d * np.divide(x, y), samples=binary_samples(0.3, 3),
)  # fmt: skip
_kl_div_op = special(
    "kl_div", lambda d, out, x, y: d * np.log(np.divide(x, y)), lambda d, out, x, y: d * np.divide(y - x, y), samples=binary_samples(0.3, 3),
)  # fmt: skip


@traces
def xlogy(x: ArrayLike, y: ArrayLike) -> Array:
    """x log(y), and zero where `x` is.

    >>> float(xlogy(0.0, 0.0))
    0.0
    """
    return call(_xlogy_op, x, y)


@traces
def xlog1py(x: ArrayLike, y: ArrayLike) -> Array:
    """x log(1 + y), and zero where `x` is.

    >>> float(xlog1py(0.0, -1.0))
    0.0
    """
    return call(_xlog1py_op, x, y)


@traces
def entr(x: ArrayLike) -> Array:
    """-x log(x), and zero where `x` is; -inf for negative numbers.

    >>> float(entr(0.0))
    0.0
    """
    return call(_entr_op, x)


@traces
def rel_entr(x: ArrayLike, y: ArrayLike) -> Array:
    """x log(x / y), and zero where `x` is; inf for what is negative.

    >>> float(rel_entr(0.0, 2.0))
    0.0
    """
    return call(_rel_entr_op, x, y)


@traces
def kl_div(x: ArrayLike, y: ArrayLike) -> Array:
    """x log(x / y) - x + y, and y where `x` is zero; inf for what is negative.

    >>> float(kl_div(2.0, 2.0))
    0.0
    """
    return call(_kl_div_op, x, y)


# ---------------------------------------------------------------------------------------------------------------------
# Box and Cox. With L = log(x), the derivative of expm1(p L) / p in p is the integral of s L**2 exp(p L s) over 0 < s < 1, and
# that of log1p(p y) / p is less the integral of s y**2 / (1 + p y s)**2: neither has a difference in it where p is small.


def _boxcox_slope(power: Any, log: Any) -> Any:
    product = power * log
    # Of large numbers SciPy's function never returns; of those beyond one nothing cancels in it.
    beyond = product > 1
    small, large = np.where(beyond, 1.0, product), np.where(beyond, product, 1.0)
    grown = 2 * (1 - 1 / large) * (np.exp(large) / large) + 2 / (large * large)
    return 0.5 * log * log * np.where(beyond, grown, hyp1f1(2.0, 3.0, small))


def _inv_boxcox_slope(out: Any, y: Any, power: Any) -> Any:
    return -0.5 * out * y * y * hyp2f1(2.0, 2.0, 3.0, -power * y)


_boxcox_op = special(
    "boxcox", lambda d, out, x, power: d * np.power(x, power - 1), lambda d, out, x, power: d * _boxcox_slope(power, np.log(x)),
    samples=binary_samples(0.5, 2, -1, 1.5),
)  # fmt: skip
_boxcox1p_op = special(
    "boxcox1p", lambda d, out, x, power: d * np.exp((power - 1) * np.log1p(x)),
    lambda d, out, x, power: d * _boxcox_slope(power, np.log1p(x)), samples=binary_samples(0.1, 2, -1, 1.5),
)  # fmt: skip
_inv_boxcox_op = special(
    "inv_boxcox", lambda d, out, y, power: d * (out / (1 + power * y)),
    lambda d, out, y, power: d * _inv_boxcox_slope(out, y, power), samples=binary_samples(-0.4, 0.8, -0.8, 0.9),
)  # fmt: skip
_inv_boxcox1p_op = special(
    "inv_boxcox1p", lambda d, out, y, power: d * ((1 + out) / (1 + power * y)),
    lambda d, out, y, power: d * _inv_boxcox_slope(1 + out, y, power), samples=binary_samples(-0.4, 0.8, -0.8, 0.9),
)  # fmt: skip


@traces
def boxcox(x: ArrayLike, lmbda: ArrayLike) -> Array:
    """(x**lmbda - 1) / lmbda, which is log(x) for lmbda = 0, of positive numbers.

    >>> float(boxcox(3.0, 1.0))
    2.0
    """
    return call(_boxcox_op, x, lmbda)


@traces
def boxcox1p(x: ArrayLike, lmbda: ArrayLike) -> Array:
    """`boxcox` of 1 + x, accurate where that is near 1.

    >>> round(float(boxcox1p(2.0, 1.0)), 9)
    2.0
    """
    return call(_boxcox1p_op, x, lmbda)


@traces
def inv_boxcox(y: ArrayLike, lmbda: ArrayLike) -> Array:
    """The number whose `boxcox` is `y`.

    >>> round(float(inv_boxcox(2.0, 1.0)), 9)
    3.0
    """
    return call(_inv_boxcox_op, y, lmbda)


@traces
def inv_boxcox1p(x: ArrayLike, lmbda: ArrayLike) -> Array:
    """The number whose `boxcox1p` is `x`.

    >>> round(float(inv_boxcox1p(2.0, 1.0)), 9)
    2.0
    """
    return call(_inv_boxcox1p_op, x, lmbda)


# ---------------------------------------------------------------------------------------------------------------------
# Huber's loss.


def _huber_in_delta(d: Any, out: Any, delta: Any, r: Any) -> Any:
    size = np.absolute(r)
    return d * np.maximum(size - delta, 0)


_huber_op = special(
    "huber", _huber_in_delta, lambda d, out, delta, r: d * np.minimum(np.maximum(r, -delta), delta),
    samples=binary_samples(0.4, 0.9, 1, 3),
)  # fmt: skip


@traces
def huber(delta: ArrayLike, r: ArrayLike) -> Array:
    """r**2 / 2 where |r| <= delta, and delta (|r| - delta / 2) beyond; inf for a negative `delta`.

    >>> float(huber(1.0, 0.5)), float(huber(1.0, 3.0))
    (0.125, 2.5)
    """
    return call(_huber_op, delta, r)
