"""Exponential, trigonometric and Fresnel's integrals: the integrands are their derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special

pytest.importorskip("scipy")


def test_integrands() -> None:
    x = np.array([0.2, 1.0, 4.0])
    total = lambda f: tg.grad(lambda x: np.sum(f(x)))(x)
    np.testing.assert_allclose(total(special.expi), np.exp(x) / x, rtol=1e-15)
    np.testing.assert_allclose(total(special.exp1), -np.exp(-x) / x, rtol=1e-15)
    np.testing.assert_allclose(total(lambda x: special.fresnel(x)[0]), np.sin(np.pi / 2 * x**2), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(total(lambda x: special.fresnel(x)[1]), np.cos(np.pi / 2 * x**2), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(total(lambda x: special.sici(x)[0]), np.sin(x) / x, rtol=1e-14)
    np.testing.assert_allclose(total(lambda x: special.sici(x)[1]), np.cos(x) / x, rtol=1e-14)


def test_the_sine_integral_at_zero() -> None:
    assert tg.grad(lambda x: special.sici(x)[0])(0.0) == 1


def test_orders_down_to_below_zero() -> None:
    """E_1'' = -E_0' = E_{-1} = exp(-x) (1 + 1 / x) / x."""
    f = lambda x: special.expn(1, x)
    for x in (0.3, 2.0):
        np.testing.assert_allclose(tg.grad(tg.grad(f))(x), np.exp(-x) * (1 + 1 / x) / x, rtol=1e-14)
        np.testing.assert_allclose(tg.grad(lambda x: special.expn(3, x))(x), -special.expn(2, x), rtol=1e-15)
