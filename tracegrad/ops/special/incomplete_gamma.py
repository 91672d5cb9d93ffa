"""Incomplete gamma functions. One op has all derivatives of P(a, x) in a (incomplete.py); those in x are of the density."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.products import multiply_keeping_zeros
from tracegrad.ops.special.declared import call_real, in_blocks, in_double, scipy_special
from tracegrad.ops.special.incomplete import gamma_slope_of, gamma_slopes, mixed
from tracegrad.ops.special.polygamma import digamma, polygamma_of
from tracegrad.typing import Array, ArrayLike


def psi_slope(order: int, x: Any) -> Any:
    """The derivative of this plain order of digamma, of plain numbers."""
    s = scipy_special()
    return s.psi(x) if order == 0 else s.polygamma(order, x)


def _igamma(a: Any, x: Any, order: int) -> Any:
    s = scipy_special()
    if order == 0:
        return s.gammainc(a, x)
    return in_blocks(lambda a, x: gamma_slope_of(np, psi_slope, s.gammaln, a, x, order), a, x)


def falling(x: Any, count: int, without: Sequence[int] = ()) -> Any:
    """x (x - 1) (x - 2) ..., of so many factors, but for those of these numbers."""
    return math.prod([x - i for i in range(count) if i not in without])


def one_less(count: int, without: tuple[int, ...]) -> list[tuple[int, ...]]:
    """`without`, and one more of so many factors: of each of the products that are the derivative of all of them."""
    return [tuple(sorted((*without, i))) for i in range(count) if i not in without]


def vanishing(xp: Any, factor: Any, exponent: Any) -> Any:
    """factor * exp(exponent), and zero where the factor is, also where the exponent is infinite or NaN."""
    return xp.where(factor == 0, 0, factor * xp.exp(exponent))


def gamma_density_of(
    xp: Any,
    xlogy: Callable[..., Any],
    lgamma: Callable[..., Any],
    a: Any,
    x: Any,
    fall: int,
    without: tuple[int, ...] = (),
) -> Any:
    density = vanishing(xp, falling(a - 1, fall, without), xlogy(a - 1 - fall, x) - x - lgamma(a))
    return xp.where((a > 0) & (x >= 0), density, xp.nan)


def _gamma_density(a: Any, x: Any, **falls: Any) -> Any:
    s = scipy_special()
    return gamma_density_of(np, s.xlogy, s.gammaln, a, x, **falls)


def _gamma_density_in_a(d: Any, out: Any, a: Any, x: Any, fall: int, without: tuple[int, ...] = ()) -> Any:
    rest = [gamma_density(a, x, fall, less) for less in one_less(fall, without)]
    return d * sum(rest, multiply_keeping_zeros(out, np.log(x) - digamma(a)))


# x**(a-1-n) exp(-x) (a-1) ... (a-n) / Gamma(a), which for n = 0 is dP/dx. As the derivative of one in x is the next less itself, all
# derivatives have their values at x = 0 too, where quotients by x would have none. So it is where a factor is zero, at whole a:
# the derivative in a of the factors are products `without` one of them.
gamma_density_op: Op = in_double(
    "gamma_density", _gamma_density,
    _gamma_density_in_a,
    lambda d, out, a, x, fall, without=(): d * (gamma_density(a, x, fall + 1, without) - out),
    samples=lambda: [*_two_samples(fall=0)(), *_two_samples(fall=2)(), *_two_samples(fall=2, without=(1,))()],
)  # fmt: skip


def gamma_density(a: ArrayLike, x: ArrayLike, fall: int = 0, without: tuple[int, ...] = ()) -> Array:
    """The density of the gamma distribution at x, or the n-th step of its derivatives in x, `without` some factors."""
    return call_real(gamma_density_op, a, x, fall=fall, without=without)


def _igamma_density(a: Any, x: Any, order: int) -> Any:
    """The derivative of order `order` in a of x**(a-1) exp(-x) / Gamma(a), which is dP/dx."""
    if order == 0:
        return gamma_density(a, x)
    slopes = gamma_slopes(polygamma_of, a, np.log(x), order)
    return multiply_keeping_zeros(gamma_density(a, x), mixed(slopes, order, 0))


def _two_samples(**params: int) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        yield Sample((rng.uniform(0.5, 3, (2, 3)), rng.uniform(0.5, 4, (2, 3))), params)
        yield Sample((rng.uniform(0.5, 3, 2), 1.5), params)

    return samples


igamma_op: Op = in_double(
    "igamma", _igamma, lambda d, out, a, x, order: d * call_real(igamma_op, a, x, order=order + 1),
    lambda d, out, a, x, order: d * _igamma_density(a, x, order),
    samples=lambda: [*_two_samples(order=0)(), *_two_samples(order=2)()],
)  # fmt: skip

igammac_op = in_double(
    "igammac", "gammaincc", lambda d, out, a, x: -d * igamma_grad_a(a, x),
    lambda d, out, a, x: -d * _igamma_density(a, x, 0), samples=_two_samples(),
)  # fmt: skip


def igamma(a: ArrayLike, x: ArrayLike) -> Array:
    """The regularised lower incomplete gamma function P(a, x), with derivatives in both.

    >>> bool(abs(igamma(1.0, 2.0) - (1 - np.exp(-2.0))) < 1e-15)
    True
    """
    return call_real(igamma_op, a, x, order=0)


def igammac(a: ArrayLike, x: ArrayLike) -> Array:
    """The regularised upper incomplete gamma function, 1 - P(a, x), accurate where that is tiny.

    >>> bool(abs(igammac(1.0, 50.0) / np.exp(-50.0) - 1) < 1e-13)
    True
    """
    return call_real(igammac_op, a, x)


def igamma_grad_a(a: ArrayLike, x: ArrayLike) -> Array:
    """The derivative of P(a, x) in `a`.

    >>> igamma_grad_a(2.0, 1.0).round(4).item()
    -0.2762
    """
    return call_real(igamma_op, a, x, order=1)


def random_gamma_grad(a: ArrayLike, sample: ArrayLike) -> Array:
    """How a sample of the gamma distribution moves with its parameter `a` at a fixed probability P(a, sample).

    >>> random_gamma_grad(2.0, 1.0).round(4).item()
    0.7508
    """
    return -igamma_grad_a(a, sample) / _igamma_density(a, sample, 0)


SCIPY_FUNCTIONS.update(gammainc=igamma, gammaincc=igammac)
