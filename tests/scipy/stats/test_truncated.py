"""The truncated normal distribution, far out on both sides, against mpmath."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import stats

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


def tail(a: object, b: object) -> object:
    """The probability of the normal distribution between a and b."""
    low, high = (-b, -a) if a > 0 else (a, b)  # type: ignore[operator]
    return mpmath.ncdf(high) - mpmath.ncdf(low)


POINTS = [
    (41.0, 40.0, np.inf),
    (-41.0, -50.0, -40.5),
    (0.3, -1.0, 2.0),
    (1e-9, -1e-8, 1e-8),
    (7.5, 7.0, 8.8),
    (-3.0, -np.inf, 1.0),
]


def test_in_the_tails() -> None:
    x, a, b = np.array(POINTS).T
    with mpmath.workdps(60):
        at = [tuple(map(mpmath.mpf, p)) for p in POINTS]
        below = [float(mpmath.log(tail(a, x) / tail(a, b))) for x, a, b in at]
        above = [float(mpmath.log(tail(x, b) / tail(a, b))) for x, a, b in at]
        density = [float(-(x**2) / 2 - mpmath.log(2 * mpmath.pi) / 2 - mpmath.log(tail(a, b))) for x, a, b in at]
    np.testing.assert_allclose(stats.truncnorm.logcdf(x, a, b), below, rtol=2e-11)
    np.testing.assert_allclose(stats.truncnorm.logsf(x, a, b), above, rtol=2e-11)
    np.testing.assert_allclose(stats.truncnorm.logpdf(x, a, b), density, rtol=1e-12)
    np.testing.assert_allclose(stats.truncnorm.ppf(np.exp(below), a, b)[1:], x[1:], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(stats.truncnorm.isf(np.exp(above), a, b), x, rtol=1e-10, atol=1e-15)


def test_entropy() -> None:
    """SciPy has three digits of this."""
    a, b = 6.968348243663636, 8.836807574150823
    assert abs(stats.truncnorm.entropy(a, b) + 0.979756067906471) < 1e-12


def test_derivatives_in_the_ends() -> None:
    """Those of log(Phi(b) - Phi(a)) are densities by what lies between."""
    for x, a, b in [(41.0, 40.0, 43.0), (-41.0, -50.0, -40.5), (0.3, -1.0, 2.0)]:
        found = tg.grad(lambda a, b, x=x: stats.truncnorm.logpdf(x, a, b), (0, 1))(a, b)
        with mpmath.workdps(60):
            mass = tail(mpmath.mpf(a), mpmath.mpf(b))
            wanted = [float(mpmath.npdf(a) / mass), float(-mpmath.npdf(b) / mass)]
        np.testing.assert_allclose(found, wanted, rtol=1e-10)
    assert np.isfinite(tg.grad(lambda a: stats.truncnorm.logcdf(41.0, a, np.inf))(40.0))
