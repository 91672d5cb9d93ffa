"""Entropies at zero, Box and Cox at the power zero, Huber's kink."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


def test_where_nothing_is_weighed() -> None:
    assert special.xlogy(0.0, 0.0) == special.entr(0.0) == special.rel_entr(0.0, 1.0) == 0
    with np.errstate(all="ignore"):
        assert tg.grad(special.xlogy, 1)(0.0, 0.0) == tg.grad(special.xlog1py, 1)(0.0, -1.0) == 0
        assert tg.grad(special.entr)(0.0) == np.inf
        assert tg.grad(special.kl_div, 1)(0.0, 2.0) == 1


def test_power_transforms_at_the_power_zero() -> None:
    log = np.log(3.0)
    for f, x, value in [(special.boxcox, 3.0, log), (special.boxcox1p, 2.0, log)]:
        assert f(x, 0.0) == pytest.approx(value, rel=1e-15)
        np.testing.assert_allclose(tg.grad(f, 1)(x, 0.0), log**2 / 2, rtol=1e-15)
        np.testing.assert_allclose(tg.grad(tg.grad(f, 1), 1)(x, 0.0), log**3 / 3, rtol=1e-14)
        np.testing.assert_allclose(tg.grad(tg.grad(f, 1))(x, 0.0), log / 3, rtol=1e-14)
    np.testing.assert_allclose(tg.grad(special.inv_boxcox, 1)(log, 0.0), -3 * log**2 / 2, rtol=1e-14)
    with mpmath.workdps(40):
        inverse = lambda p: mpmath.exp(mpmath.log1p(p * mpmath.mpf(log)) / p)
        true = float(mpmath.diff(inverse, mpmath.mpf(1e-6)))
    np.testing.assert_allclose(tg.grad(special.inv_boxcox, 1)(log, 1e-6), true, rtol=1e-13)


def test_hubers_loss() -> None:
    r = np.array([-3.0, -1.0, 0.5, 1.0, 4.0])
    assert tg.grad(lambda r: np.sum(special.huber(1.0, r)))(r).tolist() == [-1.0, -1.0, 0.5, 1.0, 1.0]
    assert tg.vmap(tg.grad(special.huber), (None, 0))(1.0, r).tolist() == [2.0, 0.0, 0.0, 0.0, 3.0]


def test_power_transforms_of_extremes_on_xla() -> None:
    """Products that overflow, and such as vanish."""
    with np.errstate(all="ignore"):
        y, power = np.array([-1e300, 1e300, 1e300, -1e160]), np.array([-1e300, 1e300, 1e20, -1e160])
        for name, *inputs, expected in [
            ("inv_boxcox", y, power, np.ones(4)),
            ("boxcox1p", np.array([1e-300, 1e-20]), np.array([1e-300, -1e-300]), np.array([1e-300, 1e-20])),
            ("boxcox", np.array([1 + 2**-52, 0.0, 3.0]), np.array([1e-300, 2.0, 2.0]), np.array([2**-52, -0.5, 4.0])),
            ("kl_div", np.array([1e-300, 1e-20]), np.array([1e20, 1e300]), np.array([1e20, 1e300])),
        ]:
            np.testing.assert_allclose(tg.jit(getattr(special, name), backend="xla")(*inputs), expected, rtol=1e-15)


def test_the_derivative_in_a_large_power_returns() -> None:
    """SciPy's hyp1f1(2, 3, x) does not for x from 1e300 on."""
    for power in (0.5, 1 / np.log(3.0), 5.0, 600.0):
        log = np.log(3.0)
        product = power * log
        first = (1 + (product - 1) * np.exp(product)) / power**2
        second = (log**2 * np.exp(product) - 2 * first) / power
        np.testing.assert_allclose(tg.grad(special.boxcox, 1)(3.0, power), first, rtol=1e-13)
        np.testing.assert_allclose(tg.grad(tg.grad(special.boxcox, 1), 1)(3.0, power), second, rtol=1e-12)
    with np.errstate(all="ignore"):
        assert tg.grad(special.boxcox, 1)(3.0, 1e300) == np.inf
        assert tg.grad(special.boxcox1p, 1)(2.0, 1e300) == np.inf
        assert tg.grad(special.boxcox, 1)(3.0, -1e300) == 0
        assert np.isnan(tg.grad(special.boxcox, 1)(3.0, np.inf))
