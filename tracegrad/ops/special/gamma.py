"""The gamma function and what is made of it: its reciprocal and sign, beta functions, binomials and rising factorials."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind
from tracegrad.ops.elementwise.products import multiply_keeping_zeros
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.families import elementwise, ufunc_type
from tracegrad.ops.special.declared import call, scipy_special, special, traces
from tracegrad.ops.special.incomplete import digamma_rise_of
from tracegrad.ops.special.polygamma import digamma, lgamma, polygamma, zeta_slope
from tracegrad.typing import Array, ArrayLike

_gamma_op = special("gamma", lambda d, out, x: d * out * digamma(x), samples=unary_samples(0.4, 4))
_loggamma_op = special("loggamma", lambda d, out, x: d * digamma(x), samples=unary_samples(0.4, 4))


def _rgamma_partial(d: Any, out: Any, x: Any) -> Any:
    """Below 1/2 by the reflection 1 / Gamma(x) = Gamma(1 - x) sin(pi x) / pi, which is finite at the poles of Gamma."""
    below = np.less(x, 0.5)
    right, left = np.where(below, 1, x), np.where(below, x, 0)
    far, turn = 1 - left, math.pi * left
    reflected = gamma(far) * (np.cos(turn) - digamma(far) * np.sin(turn) / math.pi)
    return d * np.where(below, reflected, -rgamma(right) * digamma(right))


_rgamma_op = special("rgamma", _rgamma_partial, samples=lambda: [*unary_samples(0.6, 4)(), *unary_samples(-2.4, 0.3)()])
_gammasgn_op = special("gammasgn", lambda d, out, x: None, samples=unary_samples(0.4, 4))


@traces
def gamma(z: ArrayLike) -> Array:
    """The gamma function of real numbers.

    >>> float(gamma(5.0))
    24.0
    """
    return call(_gamma_op, z)


@traces
def loggamma(z: ArrayLike) -> Array:
    """The logarithm of the gamma function of positive numbers; NaN for negative ones, where that is complex.

    >>> bool(abs(loggamma(5.0) - np.log(24.0)) < 1e-14)
    True
    """
    return call(_loggamma_op, z)


@traces
def rgamma(z: ArrayLike) -> Array:
    """1 / Gamma(z), which is zero at the poles of Gamma, and has a derivative there.

    >>> float(rgamma(3.0)), float(rgamma(-2.0))
    (0.5, 0.0)
    """
    return call(_rgamma_op, z)


@traces
def gammasgn(x: ArrayLike) -> Array:
    """The sign of Gamma(x), 1 or -1; it has no derivative.

    >>> float(gammasgn(-0.5))
    -1.0
    """
    return call(_gammasgn_op, x)


_riemann_zeta_op = special(
    "riemann_zeta", lambda d, out, x: d * zeta_slope(x, 1.0, 1), samples=unary_samples(1.5, 5), function="zeta"
)


def riemann_zeta(x: ArrayLike) -> Array:
    """The sum of k**-x over k = 1, 2, ...

    >>> bool(abs(riemann_zeta(2.0) - np.pi**2 / 6) < 1e-14)
    True
    """
    return call(_riemann_zeta_op, x)


def multigammaln(a: ArrayLike, d: int) -> Array:
    """The logarithm of the gamma function of `d` dimensions, for a > (d - 1) / 2.

    >>> bool(multigammaln(3.5, 1) == lgamma(3.5))
    True
    """
    return np.sum(np.stack([lgamma(a - (j - 1.0) / 2) for j in range(1, d + 1)]), axis=0) + (
        d * (d - 1) * 0.25
    ) * np.log(np.pi)


# ---------------------------------------------------------------------------------------------------------------------
# psi(x + h) - psi(x).


def _digamma_rise(x: Any, h: Any) -> Any:
    dtype = np.exp.resolve_dtypes((np.result_type(x, h), None))[-1]
    wide = np.asarray(x, np.float64), np.asarray(h, np.float64)
    return quietly(("all",), digamma_rise_of, np, scipy_special().psi, *wide).astype(dtype)[()]


_digamma_rise_op: Op = elementwise(
    "digamma_rise", _digamma_rise, lambda d, out, x, h: d * (polygamma(1, x + h) - polygamma(1, x)),
    lambda d, out, x, h: d * polygamma(1, x + h), infer=ufunc_type(np.logaddexp), kinds="f", samples=binary_samples(0.5, 3),
)  # fmt: skip


def digamma_rise(x: ArrayLike, h: ArrayLike) -> Array:
    """psi(x + h) - psi(x)."""
    return bind(_digamma_rise_op, (as_array(x), as_array(h)))


# ---------------------------------------------------------------------------------------------------------------------
# Beta functions.

_beta_op = special(
    "beta", lambda d, out, a, b: -d * out * digamma_rise(a, b), lambda d, out, a, b: -d * out * digamma_rise(b, a),
    samples=binary_samples(0.5, 3),
)  # fmt: skip
_betaln_op = special(
    "betaln", lambda d, out, a, b: -d * digamma_rise(a, b), lambda d, out, a, b: -d * digamma_rise(b, a),
    samples=binary_samples(0.5, 3),
)  # fmt: skip


@traces
def beta(a: ArrayLike, b: ArrayLike) -> Array:
    """Gamma(a) Gamma(b) / Gamma(a + b).

    >>> float(beta(2.0, 1.0))
    0.5
    """
    return call(_beta_op, a, b)


@traces
def betaln(a: ArrayLike, b: ArrayLike) -> Array:
    """The logarithm of |beta(a, b)|.

    >>> float(betaln(1.0, 1.0))
    0.0
    """
    return call(_betaln_op, a, b)


# ---------------------------------------------------------------------------------------------------------------------
# Counting.

_poch_op = special(
    "poch", lambda d, out, z, m: d * multiply_keeping_zeros(out, digamma_rise(z, m)),
    lambda d, out, z, m: d * multiply_keeping_zeros(out, digamma(z + m)), samples=binary_samples(0.5, 3),
)  # fmt: skip


def _binom_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    yield Sample((rng.uniform(4, 6, (2, 3)), rng.uniform(0.5, 3, 3)))
    yield Sample((np.array(4.5), 1.5))


_binom_op = special(
    "binom", lambda d, out, n, k: d * multiply_keeping_zeros(out, digamma_rise(n - k + 1, k)),
    lambda d, out, n, k: d * multiply_keeping_zeros(out, digamma_rise(k + 1, n - 2 * k)), samples=_binom_samples,
)  # fmt: skip


@traces
def poch(z: ArrayLike, m: ArrayLike) -> Array:
    """Pochhammer's symbol, Gamma(z + m) / Gamma(z).

    >>> float(poch(2.0, 3.0))
    24.0
    """
    return call(_poch_op, z, m)


@traces
def binom(x: ArrayLike, y: ArrayLike) -> Array:
    """The binomial coefficient of real numbers, Gamma(x + 1) / (Gamma(y + 1) Gamma(x - y + 1)).

    >>> float(binom(5.0, 2.0))
    10.0
    """
    return call(_binom_op, x, y)


def comb(N: ArrayLike, k: ArrayLike, *, exact: bool = False, repetition: bool = False) -> Array:
    """In how many ways `k` of `N` things are chosen, as a float; with `repetition`, where one may be chosen again. `exact=True`
    computes with Python's integers, which are not traced.

    >>> float(comb(5.0, 2.0)), float(comb(5.0, 2.0, repetition=True))
    (10.0, 15.0)
    """
    if exact:
        raise ValueError("comb(exact=True) computes with Python's integers; leave it out, or write math.comb(N, k)")
    if repetition:
        return comb(np.subtract(np.add(N, k), 1), k)
    counts = np.less_equal(k, N) & np.greater_equal(N, 0) & np.greater_equal(k, 0)
    return np.where(counts, binom(N, k), 0.0)


def factorial(n: ArrayLike) -> Array:
    """Gamma(n + 1), and zero for n < 0.

    >>> float(factorial(4.0))
    24.0
    """
    return np.where(np.less(n, 0), 0.0, gamma(np.add(n, 1)))
