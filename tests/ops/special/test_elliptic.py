"""Elliptic integrals and functions: second derivatives against mpmath, and round trips."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special
from tracegrad.testing import check_grads

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


def test_second_derivatives() -> None:
    for function, exact in ((special.ellipkinc, mpmath.ellipf), (special.ellipeinc, mpmath.ellipe)):
        for point in [(0.7, 0.5), (5.0, 0.999), (1.2, -1e6), (-1.57, 1 - 1e-8), (1.0, 0.0)]:
            with mpmath.workdps(50):
                given = [mpmath.mpf(x) for x in point]
                wanted = [float(mpmath.diff(exact, given, order)) for order in ((2, 0), (1, 1), (0, 2))]
            found = tg.hessian(lambda x, f=function: f(x[0], x[1]))(np.array(point))
            np.testing.assert_allclose([found[0, 0], found[0, 1], found[1, 1]], wanted, rtol=1e-11)


def test_the_amplitude_is_the_inverse() -> None:
    """Whatever m is, to second order too."""
    round_trip = lambda x: special.ellipkinc(special.ellipj(x[0], x[1])[3], x[1])
    for point in ([0.8, 0.3], [1.3, 0.9]):
        x = np.array(point)
        np.testing.assert_allclose(tg.grad(round_trip)(x), [1, 0], atol=1e-13)
        np.testing.assert_allclose(tg.hessian(round_trip)(x), np.zeros((2, 2)), atol=1e-11)
        check_grads(lambda x: np.stack(special.ellipj(x[0], x[1])[:3]), (x,), order=2, rtol=1e-5)


def test_beyond_one_it_is_nan() -> None:
    with np.errstate(all="ignore"):
        assert np.isnan(tg.grad(special.ellipkinc, 1)(0.3, 1.5))


def test_the_mean_of_gauss() -> None:
    check_grads(special.agm, (np.array([1.0, 2.0, 1.0]), np.array([1.0, 5.0, 1e-3])), order=2, rtol=1e-5)
    assert special.agm(1e200, 1e200) == 1e200
