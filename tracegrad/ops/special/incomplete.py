"""Derivatives of the incomplete gamma and beta functions in their parameters: integrals over a tail of the distribution.

P(a, x) and I_x(a, b) are integrals of densities, and a derivative in a parameter makes of a density its product with a polynomial in
the logarithms of the variable. Over all of its range that integrates to nothing, so that it may be integrated over either side of x:
here over the one that leads away from the mode, where the density falls from x on. Nothing cancels there, and the derivative of a tail
is as exact as the tail, however far out. Variables are such that densities fall exponentially: logarithms and logits, and for the upper
tail of gamma the number itself. With v = L exp(s - exp(-s)), L being the length on which a density falls at first, the trapezoidal
rule in s converges exponentially (H. Takahasi and M. Mori, "Double exponential formulas for numerical integration", Publ. RIMS 9, 1974).

Everything here is in NumPy's words or jax's (`xp`), of arrays of one dtype and shape; `polygamma` takes a plain order first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def _rule(step: float) -> tuple[Any, Any]:
    """Points and weights for this step in s."""
    s = np.arange(round(-3.4 / step), round(16 / step)) * step
    points = np.exp(s - np.exp(-s))
    return points, step * points * (1 + np.exp(-s))


_GAMMA = _rule(0.1)
_BETA = _rule(0.05)
_LARGE = 3.0


def mixed(slopes: Mapping[tuple[int, int], Any], m: int, n: int) -> Any:
    """exp(-g) times the derivative of exp(g) of order m in one variable and n in another, of which those of g are `slopes`."""
    if m == 0 and n == 0:
        return 1.0
    terms = (
        [((i + 1, j), math.comb(m - 1, i) * math.comb(n, j)) for i in range(m) for j in range(n + 1)]
        if m
        else [((0, j + 1), math.comb(n - 1, j)) for j in range(n)]
    )
    return sum([ways * slopes[i, j] * mixed(slopes, m - i, n - j) for (i, j), ways in terms])


def gamma_slopes(polygamma: Callable[..., Any], a: Any, log: Any, order: int) -> dict[tuple[int, int], Any]:
    """The derivatives in a of the logarithm of the density, at a number with the logarithm `log`."""
    return {(k, 0): (log if k == 1 else 0) - polygamma(k - 1, a) for k in range(1, order + 1)}


def beta_slopes(
    polygamma: Callable[..., Any], a: Any, b: Any, logs: tuple[Any, Any], rises: tuple[Any, Any], m: int, n: int
) -> dict[tuple[int, int], Any]:
    """Those in a and b; `logs` are log(x) and log(1 - x), and `rises` what psi rises from a and from b to a + b."""
    joint = {k: polygamma(k - 1, a + b) for k in range(2, m + n + 1)}
    found = {(i, j): joint[i + j] for i in range(1, m + 1) for j in range(1, n + 1)}
    found |= {(k, 0): joint[k] - polygamma(k - 1, a) if k > 1 else logs[0] + rises[0] for k in range(1, m + 1)}
    return found | {(0, k): joint[k] - polygamma(k - 1, b) if k > 1 else logs[1] + rises[1] for k in range(1, n + 1)}


def _sum(xp: Any, rule: tuple[Any, Any], length: Any, integrand: Callable[[Any], Any]) -> Any:
    """The integral over positive numbers of what falls on this length at first; the numbers are along a new last axis."""
    points, weights = [x.astype(length.dtype) for x in rule]
    return length * xp.sum(weights * integrand(length[..., None] * points), axis=-1)


def gamma_slope_of(xp: Any, polygamma: Any, lgamma: Any, a: Any, x: Any, order: int) -> Any:
    """The derivative of P(a, x) of this order in a, one at least."""
    usual = (a > 0) & (x > 0) & xp.isfinite(a) & xp.isfinite(x)
    edge = xp.where((a > 0) & ((x == 0) | (x == np.inf)), 0, np.nan)
    a, x = xp.where(usual, a, 1), xp.where(usual, x, 1)
    below = x <= a
    log = xp.log(x)
    slopes = gamma_slopes(polygamma, a, log, order)
    across = {key: slope[..., None] for key, slope in slopes.items()}
    shape, at, on_the_left = a[..., None], x[..., None], below[..., None]

    def integrand(v: Any) -> Any:
        """To the left v is what the logarithm falls, to the right what the number grows, in units of x."""
        right = xp.where(on_the_left, 0, v)
        step = xp.where(on_the_left, -v, xp.log1p(right))
        fall = shape * step - xp.where(on_the_left, at * xp.expm1(-v), at * right) - xp.log1p(right)
        return xp.exp(fall) * mixed({**across, (1, 0): across[1, 0] + step}, order, 0)

    length = xp.maximum(1 / (xp.abs(a - x) + xp.sqrt(x)), xp.where(below, 0, 1e-3 / x))
    found = xp.where(below, 1, -1) * xp.exp(a * log - x - lgamma(a)) * _sum(xp, _GAMMA, length, integrand)
    return xp.where(usual, found, edge)


def beta_slope_of(xp: Any, polygamma: Any, rise: Any, betaln: Any, a: Any, b: Any, x: Any, m: int, n: int) -> Any:
    """The derivative of I_x(a, b) of order m in a and n in b, one of them at least; `rise(x, h)` is psi(x + h) - psi(x)."""
    usual = (a > 0) & (b > 0) & (x > 0) & (x < 1) & xp.isfinite(a) & xp.isfinite(b)
    edge = xp.where((a > 0) & (b > 0) & ((x == 0) | (x == 1)), 0, np.nan)
    a, b, x = xp.where(usual, a, 1), xp.where(usual, b, 1), xp.where(usual, x, 0.5)
    below = x * (a + b) <= a
    sign = xp.where(below, -1, 1).astype(x.dtype)
    logs = xp.log(x), xp.log1p(-x)
    slopes = beta_slopes(polygamma, a, b, logs, (rise(a, b), rise(b, a)), m, n)
    across = {key: slope[..., None] for key, slope in slopes.items()}
    near = xp.where(below, x, 1 - x)[
        ..., None
    ]  # what becomes exp(-v) times as much beside the rest, which becomes 1 / `share`
    rest = 1 - near
    on_the_left = below[..., None]
    # Where little is left of the rest and the exponent is large, the density falls as exp(-exp(v)) over logits, which is analytic in a
    # narrow strip: there v is what the odds of the rest grow, in units of themselves, as for the upper tail of gamma.
    by_odds = (near >= 0.5) & (xp.where(below, a, b)[..., None] > _LARGE)

    def integrand(v: Any) -> Any:
        fall = xp.where(by_odds, xp.log1p(v), v)
        small = xp.exp(-fall)
        grown = -xp.where(near < 0.5, xp.log1p(-xp.minimum(near, 0.5) * (1 - small)), xp.log(rest + near * small))
        shrunk = grown - fall
        first, second = xp.where(on_the_left, shrunk, grown), xp.where(on_the_left, grown, shrunk)
        moved = dict(across)
        for key, step in (((1, 0), first), ((0, 1), second)):
            if key in moved:
                moved[key] = moved[key] + step
        density = xp.exp(a[..., None] * first + b[..., None] * second) * mixed(moved, m, n)
        return density * xp.where(by_odds, small, 1)

    length = 1 / (xp.abs(a * (1 - x) - b * x) + xp.sqrt((a + b) * x * (1 - x)))
    density = xp.exp(a * logs[0] + b * logs[1] - betaln(a, b))
    return xp.where(usual, -sign * density * _sum(xp, _BETA, length, integrand), edge)


# ---------------------------------------------------------------------------------------------------------------------
# psi(x + h) - psi(x), of which little is left by subtraction where h is small beside x: for x > 0 it is the sum of
# h / ((x + k) (x + k + h)) over a few k (DLMF 5.5.2), and then the difference of the series in 1 / x**2, term by term (5.11.2).

_SHIFT = 10
_BERNOULLI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160)  # B_2k / 2k


def digamma_rise_of(xp: Any, psi: Any, x: Any, h: Any) -> Any:
    """In NumPy's words or jax's."""
    positive = (x > 0) & (x + h > 0)
    low, step = xp.where(positive, x, 1), xp.where(positive, h, 1)
    found = 0.0
    for k in range(_SHIFT):
        found = found + step / ((low + k) * (low + k + step))
    low = low + _SHIFT
    high = low + step
    found = found + xp.log1p(step / low) + 0.5 * step / (low * high)
    u, v = 1 / (low * low), 1 / (high * high)
    fall = -step * (low + high) * u * v  # of v - u
    powers, power = 1.0, 1.0  # (v**k - u**k) / (v - u), and u**(k-1)
    for b in _BERNOULLI:
        found = found - b * fall * powers
        power = power * u
        powers = powers * v + power
    return xp.where(positive, found, psi(x + h) - psi(x))
