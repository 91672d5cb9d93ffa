"""The logarithm of the gamma function, its derivatives, and Hurwitz' zeta function, of which these are made. Values are SciPy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise import unary_samples
from tracegrad.ops.elementwise.samples import order_samples
from tracegrad.ops.special.declared import call_real, in_double, scipy_special
from tracegrad.typing import Array, ArrayLike

lgamma_op = in_double("lgamma", "gammaln", lambda d, out, x: d * digamma(x), samples=unary_samples(0.3, 4))

digamma_op = in_double("digamma", "psi", lambda d, out, x: d * polygamma(1, x), samples=unary_samples(0.4, 4))


def _polygamma(m: Any, x: Any) -> Any:
    """As SciPy computes it, but by logarithms where its factorial is infinite or its zeta function too small to be told from zero."""
    s = scipy_special()
    size, factor = s.zeta(m + 1, x), s.gamma(m + 1)
    found = np.where(m == 0, s.psi(x), (-1.0) ** (m + 1) * factor * size)
    huge = (m > 20) & (m < np.inf) & (x > 0) & (x < np.inf) & ((factor == np.inf) | (size < np.finfo(float).tiny))
    if np.any(huge):
        m, x = np.where(huge, m, 1.0), np.where(huge, x, 1.0)
        found = np.where(huge, (-1.0) ** (m + 1) * polygamma_size_of(np, s.gammaln, m, x), found)
    return found


polygamma_op: Op = in_double(
    "polygamma", _polygamma, lambda d, out, m, x: d * polygamma(m + 1, x), samples=order_samples([0, 1, 2], 0.6, 3),
    without=["m"],
)  # fmt: skip

zeta_op: Op = in_double(
    "zeta", "zeta", lambda d, out, x, q: d * zeta_slope(x, q, 1), lambda d, out, x, q: d * (-x * zeta(x + 1, q)),
    samples=order_samples([2, 3, 5], 0.6, 3),
)  # fmt: skip

# Its derivatives in x are those of Euler and Maclaurin's formula (DLMF 25.11.5 and 25.2.9), term by term: each is a product of
# powers of k + q, 1 / (x - 1) and factors x + i, of which the first coefficients of Taylor's series are multiplied.

_ZETA_TERMS = 20
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)


def _times(u: Sequence[Any], v: Sequence[Any]) -> list[Any]:
    """The product of two Taylor series, to as many terms as the first has."""
    return [sum([u[j] * v[i - j] for j in range(i + 1) if i - j < len(v)]) for i in range(len(u))]


def zeta_slope_of(xp: Any, x: Any, q: Any, order: int) -> Any:
    """In NumPy's words or jax's."""
    usual = (q > 0) & (x != 1)
    x, q = xp.where(usual, x, 2.0), xp.where(usual, q, 1.0)

    def power(base: Any, x: Any) -> list[Any]:
        log = xp.log(base)
        value = xp.exp(-x * log)
        return [value * (-log) ** i / math.factorial(i) for i in range(order + 1)]

    found = sum([power(q + k, x)[order] for k in range(_ZETA_TERMS - 1, -1, -1)])
    far = q + _ZETA_TERMS
    rest = power(far, x)
    found = (
        found
        + _times(rest, [(-1) ** i * (x - 1) ** (-i - 1) for i in range(order + 1)])[order] * far
        + 0.5 * rest[order]
    )
    for j, b in enumerate(_BERNOULLI, 1):
        for i in range(max(2 * j - 3, 0), 2 * j - 1):
            rest = _times(rest, [x + i, 1.0])
        found = found + b / math.factorial(2 * j) * rest[order] * far ** (1 - 2 * j)
    return xp.where(usual, math.factorial(order) * found, math.nan)


def polygamma_size_of(xp: Any, lgamma: Any, m: Any, x: Any) -> Any:
    """m! zeta(m + 1, x) for positive x, by logarithms and by the same formula, of which x**(-m - 1) is taken out. In NumPy's words or
    jax's."""
    s = m + 1
    scaled = sum([xp.exp(-s * xp.log1p(k / x)) for k in range(_ZETA_TERMS - 1, -1, -1)])
    far = x + _ZETA_TERMS
    rest = xp.exp(-s * xp.log1p(_ZETA_TERMS / x))
    scaled = scaled + rest * (far / (s - 1) + 0.5)
    for j, b in enumerate(_BERNOULLI, 1):
        for i in range(max(2 * j - 3, 0), 2 * j - 1):
            rest = rest * ((s + i) / far)
        scaled = scaled + b / math.factorial(2 * j) * rest
    return xp.exp(lgamma(s) - s * xp.log(x) + xp.log(scaled))


def _zeta_slope(x: Any, q: Any, order: int) -> Any:
    return zeta_slope_of(np, x, q, order)


_zeta_slope_op: Op = in_double(
    "zeta_slope", _zeta_slope, lambda d, out, x, q, order: d * zeta_slope(x, q, order + 1),
    lambda d, out, x, q, order: (
        -d * (x * zeta_slope(x + 1, q, order) + order * (zeta_slope(x + 1, q, order - 1) if order > 1 else zeta(x + 1, q)))
    ),
    samples=lambda: [Sample(s.inputs, {"order": n}) for n in (1, 2) for s in order_samples([2, 3, 5], 0.6, 3)()],
)  # fmt: skip


def zeta_slope(x: ArrayLike, q: ArrayLike, order: int) -> Array:
    """The derivative of this order of zeta(x, q) in x."""
    return call_real(_zeta_slope_op, x, q, order=order)


def lgamma(x: ArrayLike) -> Array:
    """log |Gamma(x)|.

    >>> bool(abs(lgamma(5.0) - np.log(24.0)) < 1e-14)
    True
    """
    return call_real(lgamma_op, x)


def digamma(x: ArrayLike) -> Array:
    """The derivative of log Gamma(x).

    >>> bool(abs(digamma(1.0) + np.euler_gamma) < 1e-14)
    True
    """
    return call_real(digamma_op, x)


def polygamma(m: ArrayLike, x: ArrayLike) -> Array:
    """The derivative of order m + 1 of log Gamma(x), for m = 0, 1, ...; it has a derivative in `x` only.

    >>> bool(abs(polygamma(1.0, 1.0) - np.pi**2 / 6) < 1e-14)
    True
    """
    return call_real(polygamma_op, m, x)


def polygamma_of(order: int, x: Any) -> Any:
    """`polygamma` of a plain order, zero included, of what is traced."""
    return polygamma(order, x) if order else digamma(x)


def zeta(x: ArrayLike, q: ArrayLike) -> Array:
    """Hurwitz' zeta function, the sum of (k + q)**-x over k = 0, 1, ...

    >>> bool(abs(zeta(2.0, 1.0) - np.pi**2 / 6) < 1e-14)
    True
    """
    return call_real(zeta_op, x, q)


SCIPY_FUNCTIONS.update(gammaln=lgamma, psi=digamma, zeta=zeta)
