"""Distributions of angles against mpmath."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import stats

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


def test_the_distribution_of_von_mises() -> None:
    """SciPy's own has six digits where kappa is more than 50."""

    def exact(kappa: float, x: float) -> float:
        scale = 2 * mpmath.pi * mpmath.besseli(0, kappa) * mpmath.exp(-kappa)
        return mpmath.quad(lambda t: mpmath.exp(kappa * (mpmath.cos(t) - 1)) / scale, mpmath.linspace(0, x, 5))

    points = [(0.0, 1.0), (0.3, -2.0), (5.0, 3.0), (22.0, -1.2), (23.0, 0.7), (60.0, 0.1), (1e4, 0.01)]
    kappa, x = np.array(points).T
    np.testing.assert_allclose(stats.vonmises.cdf(x, kappa) - 0.5, [float(exact(*p)) for p in points], rtol=1e-13)
    slope = tg.grad(lambda kappa: np.sum(stats.vonmises.cdf(x, kappa)))(kappa)[1:]
    with mpmath.workdps(30):
        wanted = [float(mpmath.diff(lambda k, x=x: exact(k, x), kappa)) for kappa, x in points[1:]]
    np.testing.assert_allclose(slope, wanted, rtol=1e-10, atol=1e-16)
    np.testing.assert_allclose(stats.vonmises.cdf(x + 2 * np.pi, kappa), 1 + stats.vonmises.cdf(x, kappa), rtol=1e-12)


def test_the_centre_of_von_mises() -> None:
    f = lambda x: stats.vonmises.cdf(x, 2.0)
    np.testing.assert_allclose(tg.grad(f)(0.0), stats.vonmises.pdf(0.0, 2.0), rtol=1e-14)
    q = np.array([0.2, 0.7])
    back = tg.grad(lambda q: np.sum(stats.vonmises.ppf(q, 2.0)))(q)
    np.testing.assert_allclose(back * stats.vonmises.pdf(stats.vonmises.ppf(q, 2.0), 2.0), 1, rtol=1e-12)


def test_moments_of_wrapcauchy() -> None:
    for c in (0.01, 0.3, 0.6, 0.99):
        wanted = mpmath.pi**2 / 3 + 4 * mpmath.polylog(2, c)
        np.testing.assert_allclose(stats.wrapcauchy.var(c), float(wanted), rtol=1e-14)


def test_wrapcauchy_at_minus_zero() -> None:
    wrapcauchy = stats.wrapcauchy
    for call in (lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")):
        assert call(lambda x: wrapcauchy.sf(x, 0.4))(np.array([-0.0, 0.0])).tolist() == [1.0, 1.0]
        assert np.allclose(call(lambda q: wrapcauchy.isf(q, 0.4))(np.array([-0.0])), 2 * np.pi)
