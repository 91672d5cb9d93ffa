"""The incomplete beta function. One op has all its derivatives in both parameters (incomplete.py); those in x are of the density."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.products import multiply_keeping_zeros
from tracegrad.ops.special.declared import call_real, in_blocks, in_double, scipy_special
from tracegrad.ops.special.incomplete import beta_slope_of, beta_slopes, digamma_rise_of, mixed
from tracegrad.ops.special.incomplete_gamma import falling, one_less, psi_slope, vanishing
from tracegrad.ops.special.polygamma import digamma, polygamma_of
from tracegrad.typing import Array, ArrayLike

# Of Stirling's series, B(2k) / (2k (2k - 1)): what is left of lgamma from 8 on is their sum over x**(2k - 1).
_STIRLING = (
    1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400, 43867 / 244188, -174611 / 125400,
)  # fmt: skip


def _stirling_rest(x: Any) -> Any:
    return sum([c / x ** (2 * k + 1) for k, c in enumerate(_STIRLING)])


def betaln_of(xp: Any, lgamma: Any, a: Any, b: Any) -> Any:
    """log B(a, b): where three lgammas would cancel, by what Stirling's series leaves of them. SciPy's has ten digits of it at (1, 10,000).

    Source: A. Didonato and A. Morris, "Algorithm 708", ACM Trans. Math. Softw. 18 (1992), BETALN and ALGDIV."""
    p, q = xp.minimum(a, b), xp.maximum(a, b)
    small = lgamma(p) + (lgamma(q) - lgamma(p + q))
    far_p, far_q = xp.maximum(p, 8.0), xp.maximum(q, 8.0)
    near = xp.maximum(p, 0.0)
    rest = _stirling_rest(far_q) - _stirling_rest(near + far_q)
    one = lgamma(near) + (rest - (far_q + (near - 0.5)) * xp.log1p(near / far_q) - near * (xp.log(far_q) - 1.0))
    h = far_p / far_q
    logs = (far_p - 0.5) * xp.log(h / (1.0 + h)) - far_q * xp.log1p(h) - 0.5 * xp.log(far_q)
    both = logs + 0.5 * math.log(2 * math.pi) + _stirling_rest(far_p) + rest
    return xp.where(p >= 8.0, both, xp.where((q >= 8.0) & (p > 0.0), one, small))


def beta_density_of(
    xp: Any, xlogy: Any, xlog1py: Any, betaln: Any, a: Any, b: Any, x: Any, fall: int, fall_b: int,
    without: tuple[int, ...] = (), without_b: tuple[int, ...] = (),
) -> Any:  # fmt: skip
    factor = falling(a - 1, fall, without) * falling(b - 1, fall_b, without_b)
    density = vanishing(xp, factor, xlogy(a - 1 - fall, x) + xlog1py(b - 1 - fall_b, -x) - betaln(a, b))
    return xp.where((a > 0) & (b > 0) & (x >= 0) & (x <= 1), density, xp.nan)


def _beta_density(a: Any, b: Any, x: Any, **falls: Any) -> Any:
    s = scipy_special()
    return beta_density_of(np, s.xlogy, s.xlog1py, functools.partial(betaln_of, np, s.gammaln), a, b, x, **falls)


def _beta_density_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for fall, fall_b, without_b in [(0, 0, ()), (1, 2, ()), (1, 2, (0,))]:
        inputs = (rng.uniform(0.5, 3, (2, 3)), rng.uniform(0.5, 3, 3), rng.uniform(0.2, 0.8, (2, 1)))
        yield Sample(inputs, {"fall": fall, "fall_b": fall_b, "without": (), "without_b": without_b})


def _beta_density_in_a(
    d: Any, out: Any, a: Any, b: Any, x: Any, fall: int, fall_b: int, without: Any = (), without_b: Any = ()
) -> Any:
    rest = [beta_density(a, b, x, fall, fall_b, less, without_b) for less in one_less(fall, without)]
    return d * sum(rest, multiply_keeping_zeros(out, np.log(x) - digamma(a) + digamma(a + b)))


def _beta_density_in_b(
    d: Any, out: Any, a: Any, b: Any, x: Any, fall: int, fall_b: int, without: Any = (), without_b: Any = ()
) -> Any:
    rest = [beta_density(a, b, x, fall, fall_b, without, less) for less in one_less(fall_b, without_b)]
    return d * sum(rest, multiply_keeping_zeros(out, np.log1p(-x) - digamma(b) + digamma(a + b)))


# x**(a-1-n) (1-x)**(b-1-m) (a-1) ... (a-n) (b-1) ... (b-m) / B(a, b): as for the gamma distribution, at both ends.
beta_density_op: Op = in_double(
    "beta_density",
    _beta_density,
    _beta_density_in_a,
    _beta_density_in_b,
    lambda d, out, a, b, x, fall, fall_b, without=(), without_b=(): (
        d
        * (
            beta_density(a, b, x, fall + 1, fall_b, without, without_b)
            - beta_density(a, b, x, fall, fall_b + 1, without, without_b)
        )
    ),
    samples=_beta_density_samples,
)


def beta_density(
    a: ArrayLike, b: ArrayLike, x: ArrayLike, fall: int = 0, fall_b: int = 0, without: Any = (), without_b: Any = ()
) -> Array:
    """The density of the beta distribution at x, or a step of its derivatives in x, `without` some factors of each kind."""
    return call_real(beta_density_op, a, b, x, fall=fall, fall_b=fall_b, without=without, without_b=without_b)


def beta_samples() -> Iterable[Sample]:
    yield Sample((np.array([1, 2, 4]), np.array([2, 3, 2]), np.array([[0.2, 0.5, 0.7], [0.4, 0.3, 0.6]])))
    yield Sample((np.array(2), np.array(3), 0.3))


betainc_op = in_double(
    "betainc", "betainc", lambda d, out, a, b, x: d * betainc_slope(a, b, x, 1, 0),
    lambda d, out, a, b, x: d * betainc_slope(a, b, x, 0, 1), lambda d, out, a, b, x: d * beta_density(a, b, x),
    samples=beta_samples,
)  # fmt: skip


def _slope_in_parameters(a: Any, b: Any, x: Any, m: int, n: int) -> Any:
    s = scipy_special()
    rise, betaln = functools.partial(digamma_rise_of, np, s.psi), functools.partial(betaln_of, np, s.gammaln)
    return in_blocks(lambda a, b, x: beta_slope_of(np, psi_slope, rise, betaln, a, b, x, m, n), a, b, x)


def _slope_of_density(a: Any, b: Any, x: Any, m: int, n: int) -> Any:
    """The derivative of beta_density(a, b, x) of these orders in a and b."""
    joint = digamma(a + b)
    slopes = beta_slopes(polygamma_of, a, b, (np.log(x), np.log1p(-x)), (joint - digamma(a), joint - digamma(b)), m, n)
    return multiply_keeping_zeros(beta_density(a, b, x), mixed(slopes, m, n))


betainc_slope_op: Op = in_double(
    "betainc_slope", _slope_in_parameters, lambda d, out, a, b, x, m, n: d * betainc_slope(a, b, x, m + 1, n),
    lambda d, out, a, b, x, m, n: d * betainc_slope(a, b, x, m, n + 1),
    lambda d, out, a, b, x, m, n: d * _slope_of_density(a, b, x, m, n),
    samples=lambda: [Sample(s.inputs, {"m": m, "n": n}) for m, n in ((1, 0), (1, 1)) for s in beta_samples()],
)  # fmt: skip


def betainc_slope(a: ArrayLike, b: ArrayLike, x: ArrayLike, m: int, n: int) -> Array:
    """The derivative of I_x(a, b) of order `m` in a and `n` in b."""
    return call_real(betainc_slope_op, a, b, x, m=m, n=n)


def betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """The regularised incomplete beta function I_x(a, b), with derivatives in all three.

    >>> float(betainc(1.0, 1.0, 0.25))
    0.25
    """
    return call_real(betainc_op, a, b, x)


SCIPY_FUNCTIONS["betainc"] = betainc
