"""Powers of absolute values at zero: what a derivative is there, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.ops.elementwise.powers import absolute_power
from tracegrad.scipy import stats


def derivatives(p: float, count: int) -> list[float]:
    f = lambda x: absolute_power(x, p)
    found = []
    for _ in range(count):
        f = tg.grad(f)
        found.append(float(f(0.0)))
    return found


def test_at_zero() -> None:
    np.testing.assert_array_equal(derivatives(2.0, 3), [0, 2, 0])
    np.testing.assert_array_equal(derivatives(4.0, 4), [0, 0, 0, 24])
    np.testing.assert_array_equal(derivatives(1.5, 2), [0, np.inf])
    assert derivatives(1.0, 1) == [0]  # the convention at the kink of |x|
    assert tg.grad(absolute_power, 1)(0.0, 2.0) == 0.0
    in_both = lambda p: tg.grad(lambda x: tg.grad(absolute_power, 1)(x, p))
    assert in_both(3.0)(0.0) == 0 and tg.grad(in_both(3.0))(0.0) == 0  # x**2 log(x) and x log(x)
    assert tg.grad(in_both(2.0))(0.0) == -np.inf


def test_the_middle_of_gennorm() -> None:
    """As the normal distribution of variance 1/2 for beta = 2, and NaN or infinite where there is no second derivative."""
    pytest.importorskip("scipy")
    normal = lambda x: stats.norm.logpdf(x, 0.0, np.sqrt(0.5))
    for name, of in (("logpdf", normal), ("cdf", lambda x: stats.norm.cdf(x, 0.0, np.sqrt(0.5)))):
        f, g = lambda x, name=name: getattr(stats.gennorm, name)(x, 2.0), of
        for _ in range(3):
            f, g = tg.grad(f), tg.grad(g)
            np.testing.assert_allclose(f(0.0), g(0.0), atol=1e-15, rtol=1e-14)
    f, g = lambda q: stats.gennorm.ppf(q, 2.0), lambda q: stats.norm.ppf(q, 0.0, np.sqrt(0.5))
    for _ in range(3):
        f, g = tg.grad(f), tg.grad(g)
        np.testing.assert_allclose(f(0.5), g(0.5), rtol=1e-12, atol=1e-12)
    assert tg.grad(tg.grad(lambda x: stats.gennorm.logpdf(x, 1.5)))(0.0) == -np.inf
    assert tg.grad(tg.grad(lambda x: stats.gennorm.logpdf(x, 3.0)))(0.0) == 0
    in_beta = tg.grad(lambda b: tg.grad(lambda x: stats.gennorm.cdf(x, b))(0.0))(2.0)
    slope = tg.grad(lambda b: stats.gennorm.pdf(0.0, b))(2.0)
    np.testing.assert_allclose(in_beta, slope, rtol=1e-13)
