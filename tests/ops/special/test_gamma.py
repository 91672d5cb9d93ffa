"""The gamma function's kin: poles, and differences of neighbours."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.ops.special.gamma import digamma_rise
from tracegrad.scipy import special

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


def test_the_reciprocal_has_derivatives_at_the_poles() -> None:
    """(-1)**n n! at -n, and the second derivative is -2 (-1)**n n! psi(n + 1)."""
    for n, factorial in enumerate([1, 1, 2, 6, 24]):
        slope = (-1) ** n * factorial
        np.testing.assert_allclose(tg.grad(special.rgamma)(-float(n)), slope, rtol=1e-14)
        np.testing.assert_allclose(
            tg.grad(tg.grad(special.rgamma))(-float(n)), -2 * slope * special.digamma(n + 1.0), rtol=1e-13
        )


def test_the_rise_of_digamma() -> None:
    for x, h in [(1e10, 1e-3), (2.5, 1e-12), (1e-8, 3.0), (0.3, 1e8), (40.0, -39.0), (-2.5, 1.0), (1.0, 0.0)]:
        with mpmath.workdps(50):
            true = mpmath.digamma(mpmath.mpf(x) + mpmath.mpf(h)) - mpmath.digamma(mpmath.mpf(x))
        np.testing.assert_allclose(digamma_rise(x, h), float(true), rtol=1e-14)


def test_beta_where_one_parameter_is_far_larger() -> None:
    with mpmath.workdps(60):
        true = float(mpmath.digamma(mpmath.mpf(10) ** 10) - mpmath.digamma(mpmath.mpf(10) ** 10 + 2))
    np.testing.assert_allclose(tg.grad(special.betaln)(1e10, 2.0), true, rtol=1e-14)


def test_counting() -> None:
    n, k = np.arange(6.0)[:, None], np.arange(7.0)
    assert (
        special.comb(n, k).tolist()
        == np.array([[float(mpmath.binomial(i, j)) for j in range(7)] for i in range(6)]).tolist()
    )
    assert special.factorial(np.array([-1.0, 0.0, 5.0])).tolist() == [0.0, 1.0, 120.0]
    with pytest.raises(ValueError, match=r"write math\.comb\(N, k\)"):
        special.comb(5, 2, exact=True)
    assert tg.grad(special.comb)(2.0, 5.0) == 0


def test_several_dimensions() -> None:
    scipy_special = pytest.importorskip("scipy.special")
    a = np.array([2.5, 7.0])
    np.testing.assert_array_equal(special.multigammaln(a, 4), scipy_special.multigammaln(a, 4))
    slope = tg.grad(lambda a: np.sum(special.multigammaln(a, 3)))(a)
    np.testing.assert_allclose(
        slope, special.digamma(a) + special.digamma(a - 0.5) + special.digamma(a - 1), rtol=1e-15
    )
