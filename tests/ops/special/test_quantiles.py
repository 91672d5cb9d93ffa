"""Inverses and their derivatives, by the functions that they invert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.ops.special import quantiles
from tracegrad.ops.special.normal import log_ndtr, ndtri_exp
from tracegrad.scipy import special

pytest.importorskip("scipy")


@pytest.mark.parametrize("inverse, function, shapes", [
    (quantiles.gammaincinv, special.gammainc, (2.5,)), (quantiles.gammainccinv, special.gammaincc, (0.4,)),
    (quantiles.betaincinv, special.betainc, (0.6, 3.0)), (quantiles.betainccinv, lambda a, b, x: 1 - special.betainc(a, b, x), (2.0, 5.0)),
    (quantiles.stdtrit, quantiles.stdtr, (3.5,)), (ndtri_exp, log_ndtr, ()),
])  # fmt: skip
def test_inverses(inverse: Callable[..., Any], function: Callable[..., Any], shapes: tuple[float, ...]) -> None:
    """The function of the inverse is y, whatever the parameters, to second order too."""
    for p in (0.01, 0.3, 0.8):
        y = np.log(p) if function is log_ndtr else p
        round_trip = lambda *args: function(*args[:-1], inverse(*args))
        np.testing.assert_allclose(round_trip(*shapes, y), y, rtol=1e-12)
        slopes = tg.grad(round_trip, tuple(range(len(shapes) + 1)))(*shapes, y)
        np.testing.assert_allclose(slopes, [0] * len(shapes) + [1], atol=1e-9)
        second = tg.hessian(lambda v: round_trip(*v))(np.array([*shapes, y]))
        np.testing.assert_allclose(second, 0 * second, atol=1e-6)


def test_far_out() -> None:
    assert abs(ndtri_exp(-1e10) + np.sqrt(2e10)) < 1e-3
    slope = tg.grad(quantiles.gammainccinv, 1)(1.0, 1e-300)
    np.testing.assert_allclose(slope, -1e300, rtol=1e-12)


def test_students_distribution() -> None:
    mpmath = pytest.importorskip("mpmath")
    for df, t in [(0.5, -3.0), (3.0, 0.1), (3.0, 40.0), (200.0, -1.0)]:
        with mpmath.workdps(40):
            z = lambda df, t=t: df / (df + mpmath.mpf(t) ** 2)
            tail = lambda df, z=z: mpmath.betainc(df / 2, 0.5, 0, z(df), regularized=True) / 2
            wanted = float(mpmath.diff(tail, df)) * (1 if t < 0 else -1)
        np.testing.assert_allclose(tg.grad(quantiles.stdtr)(df, t), wanted, rtol=1e-10)
