"""Special functions, computed in single precision at least, of inputs of one shape; and sinc."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.ops.elementwise.trigonometric import sinc_of
from tracegrad.ops.special.bessel_i import bessel_slope
from tracegrad.ops.special.incomplete import beta_slope_of, digamma_rise_of, gamma_slope_of
from tracegrad.ops.special.incomplete_beta import beta_density_of, betaln_of
from tracegrad.ops.special.incomplete_gamma import gamma_density_of
from tracegrad.ops.special.polygamma import polygamma_size_of, zeta_slope_of
from tracegrad.xla.values import broadcast_to, cast, log1p


def in_double(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have a function of inputs of one dtype and shape be the rule of the op of this name."""

    def registered(function: Callable[..., Any]) -> Callable[..., Any]:
        def rule(out: ArrayType, *inputs: Any, **params: Any) -> Any:
            dtype = np.result_type(out.dtype, np.float32)
            return function(*[broadcast_to(cast(x, dtype), out.shape) for x in inputs], **params)

        lowers(name)(rule)
        return function

    return registered


# jax.lax's functions at SciPy's poles and at infinity, where they have NaN or another infinity.


def _is_pole(x: Any) -> Any:
    return (x <= 0) & (x == lax.floor(x))


def _lgamma(x: Any) -> Any:
    return jnp.where(x == -math.inf, x, lax.lgamma(x))


def _digamma(x: Any) -> Any:
    return jnp.where(x == 0, -jnp.copysign(math.inf, x), lax.digamma(x))


# Where a sum of Euler and Maclaurin's has its first terms alone, and others of jax's underflow.
_FAR = 1e8


def _polygamma(order: Any, x: Any) -> Any:
    sign = jnp.where(order % 2 == 0, -1, 1)
    whole = (order > 0) & (order == lax.floor(order))
    known = whole & (_is_pole(x) | (x == math.inf))
    found = jnp.where(known, sign * jnp.where(x > 0, 0.0, math.inf), lax.polygamma(order, x))
    far = whole & (order <= 100) & (x > _FAR) & (x < math.inf)
    m, base = jnp.where(far, order, 1.0), jnp.where(far, x, 1.0)
    found = jnp.where(far, sign * lax.exp(lax.lgamma(m)) * lax.pow(base, -m) * (1 + 0.5 * m / base), found)
    huge = whole & (x > 0) & (x < _FAR) & (order > 20) & ~((jnp.abs(found) > 0) & (jnp.abs(found) < math.inf))
    m, base = jnp.where(huge, order, 1.0), jnp.where(huge, x, 1.0)
    by_logs = lambda: sign * polygamma_size_of(jnp, lax.lgamma, m, base)
    found = jnp.where(huge, lax.cond(jnp.any(huge), by_logs, lambda: found), found)
    return jnp.where(order == 0, _digamma(x), found)


def _zeta(x: Any, q: Any) -> Any:
    known = (x > 1) & (_is_pole(q) | (q == math.inf))
    found = jnp.where(known, jnp.where(q > 0, 0.0, math.inf), lax.zeta(x, q))
    far = (x > 1) & (q > _FAR) & (q < math.inf)
    s, base = jnp.where(far, x, 2.0), jnp.where(far, q, 1.0)
    found = jnp.where(far, (1 / (s - 1) + 0.5 / base) * lax.pow(base, 1 - s), found)
    return jnp.where(x < 1, math.nan, found)


def _igammac(a: Any, x: Any) -> Any:
    """jax takes it from 1 where x is small, which leaves nothing of it for small a."""
    found = jnp.where(a == math.inf, jnp.where((x >= 0) & (x < math.inf), 1.0, math.nan), lax.igammac(a, x))
    small = (a > 0) & (a < 0.01) & (x > 0) & (x <= 1)
    a, x = jnp.where(small, a, 0.01), jnp.where(small, x, 1.0)
    return jnp.where(small, _igammac_of_small(a, x), found)


# The Taylor coefficients of log(gamma(1 + a)).
_LOG_GAMMA = (-0.5772156649015329, 0.8224670334241132, -0.40068563438653143, 0.27058080842778454,
              -0.20738555102867398, 0.1695571769974082)  # fmt: skip


def _igammac_of_small(a: Any, x: Any) -> Any:
    """For small a, and x up to 1, by the series of DLMF 8.7.1, whose 1 is taken off."""
    log_gamma = a * 0
    for c in reversed(_LOG_GAMMA):
        log_gamma = a * (c + log_gamma)
    log = a * lax.log(x) - log_gamma
    terms, power = x * 0, x * 0 + 1
    for k in range(1, 20):
        power = power * (-x / k)
        terms = terms + power / (a + k)
    return -lax.expm1(log) - lax.exp(log) * a * terms


_LAX: dict[str, Callable[..., Any]] = {
    "lgamma": _lgamma, "digamma": _digamma, "polygamma": _polygamma, "zeta": _zeta, "igammac": _igammac,
    "betainc": lax.betainc, "erf_inv": lax.erf_inv,
}  # fmt: skip
for _name, _function in _LAX.items():
    in_double(_name)(_function)


@lowers("sinc")
def _sinc(out: ArrayType, x: Any, order: int) -> Any:
    return sinc_of(jnp, x, order)


# ---------------------------------------------------------------------------------------------------------------------
# Incomplete gamma and beta functions.


def psi_slope(order: int, x: Any) -> Any:
    return lax.polygamma(lax.full(x.shape, order, x.dtype), x) if order else lax.digamma(x)


def _lower_igamma(a: Any, x: Any) -> Any:
    ends = jnp.where(
        (x > 0) & (x < math.inf), jnp.where(a == 0, 1.0, 0.0), jnp.where((x == 0) & (a > 0), 0.0, math.nan)
    )
    return jnp.where(((a == 0) & (x > 0) & (x < math.inf)) | (a == math.inf), ends, lax.igamma(a, x))


@in_double("igamma")
def _igamma(a: Any, x: Any, order: int) -> Any:
    return gamma_slope_of(jnp, psi_slope, lax.lgamma, a, x, order) if order else _lower_igamma(a, x)


class _Words:
    """jax.numpy's functions, but for its log1p."""

    log1p = staticmethod(log1p)

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)


_WORDS = _Words()
_betaln = functools.partial(betaln_of, _WORDS, lax.lgamma)


@in_double("betainc_slope")
def _betainc_slope(a: Any, b: Any, x: Any, m: int, n: int) -> Any:
    rise = functools.partial(digamma_rise_of, _WORDS, lax.digamma)
    return beta_slope_of(_WORDS, psi_slope, rise, _betaln, a, b, x, m, n)


def _xlogy(x: Any, y: Any) -> Any:
    return jnp.where(x == 0, 0, x * lax.log(y))


def _xlog1py(x: Any, y: Any) -> Any:
    return jnp.where(x == 0, 0, x * log1p(y))


in_double("zeta_slope")(functools.partial(zeta_slope_of, jnp))
in_double("gamma_density")(functools.partial(gamma_density_of, jnp, _xlogy, lax.lgamma))
in_double("beta_density")(functools.partial(beta_density_of, jnp, _xlogy, _xlog1py, _betaln))


# ---------------------------------------------------------------------------------------------------------------------
# Modified Bessel functions of the first kind.

_MOST_RATIOS = 10_000


@in_double("scaled_bessel_i")
def _scaled_bessel(x: Any, order: int, rise: int) -> Any:
    """Beyond jax's orders by the ratios r_k = I_{k+1} / I_k = 1 / (2 (k+1) / x + r_{k+1}), which are found downwards: each
    step makes the error of the first one less. That starts as a bound of it (D. E. Amos, "Computation of modified Bessel
    functions and their ratios", Math. Comp. 28 (1974), eq. 9)."""
    if rise:
        return bessel_slope(jnp, lambda x, n: _scaled_bessel(x, n, 0), x, order, rise)
    if order < 2:
        return lax.bessel_i1e(x) if order else lax.bessel_i0e(x)
    size = jnp.abs(x)
    usual = lax.is_finite(x)
    size = jnp.where(usual, size, 1)
    steps = order + 30 + jnp.minimum(7 * lax.sqrt(jnp.max(size, initial=0)), _MOST_RATIOS).astype(np.int32)

    def step(n: Any, state: Any) -> Any:
        ratio, product = state
        k = steps - 1 - n
        ratio = size / (2 * (k + 1).astype(x.dtype) + size * ratio)
        return ratio, jnp.where(k < order, product * ratio, product)

    half = steps.astype(x.dtype) + 0.5
    first = size / (half + jnp.hypot(half, size))
    product = lax.fori_loop(0, steps, step, (first, lax.full(x.shape, 1, x.dtype)))[1]
    found = lax.bessel_i0e(size) * product * (lax.sign(x) if order % 2 else 1)
    return jnp.where(usual, found, jnp.where(x == x, 0, x))


@in_double("bessel_i")
def _bessel_i(x: Any, order: int) -> Any:
    """By halves of the exponential, so that it is infinite where the function is and not before."""
    half = lax.exp(0.5 * jnp.abs(x))
    return half * _scaled_bessel(x, order, 0) * half
