"""Derivatives of Bessel functions in a real order against mpmath's quotients in many digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mpf

import tracegrad as tg
from tracegrad.core.errors import DifferentiationError
from tracegrad.ops.special.orders import i_slope, j_slope, k_slope, y_slope
from tracegrad.testing import check_grads

special = tg.scipy.special
rng = np.random.default_rng(2)
ORDERS = np.concatenate([rng.uniform(0, 3, 8), rng.uniform(0, 25, 6), [0.0, 1.0, 2.0, 1e-3], -rng.uniform(0, 3, 4)])
NUMBERS = np.exp(rng.uniform(np.log(1e-3), np.log(200), len(ORDERS)))
EXACT: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "jv": (j_slope, mpmath.besselj),
    "yv": (y_slope, mpmath.bessely),
    "iv": (lambda v, z: i_slope(v, z, scaled=False), mpmath.besseli),
    "kv": (lambda v, z: k_slope(v, z, order=1, scaled=False), mpmath.besselk),
}


@pytest.mark.parametrize("name", EXACT)
def test_against_mpmath(name: str) -> None:
    """To 1e-12 of the derivative, or of what the function is where it oscillates."""
    slope, exact = EXACT[name]
    for v, z, got in zip(ORDERS, NUMBERS, slope(ORDERS, NUMBERS), strict=True):
        with mpmath.workdps(40):
            step = mpf(10) ** -12
            true = float((exact(mpf(v) + step, mpf(z)) - exact(mpf(v) - step, mpf(z))) / (2 * step))
            size = float(abs(exact(mpf(v), mpf(z)))) if name in ("jv", "yv") else 0.0
        assert abs(got - true) <= 1e-12 * (abs(true) + size) + 1e-300, (v, z, got, true)


def test_grad_of_the_functions() -> None:
    v, z = np.array([0.3, 2.0, 4.5]), np.array([0.5, 3.0, 12.0])
    for f in (special.jv, special.yv, special.iv, special.ive, special.kv, special.kve):
        check_grads(f, (v, z), order=1, rtol=1e-6)
        single = tg.grad(lambda v, f=f: np.sum(f(v, z.astype(np.float32))))(v.astype(np.float32))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, tg.grad(lambda v, f=f: np.sum(f(v, z)))(v), rtol=1e-5)
    for f in (special.kv, special.kve):
        check_grads(f, (v, z), order=2, rtol=1e-4)
    check_grads(lambda z: tg.grad(lambda v: np.sum(special.iv(v, z)))(v), (z,), order=1, rtol=1e-5)


def test_ends() -> None:
    """K is even in the order, and the derivative of I_0 in it is -K_0."""
    assert tg.grad(special.kv)(0.0, 1.0) == 0
    assert tg.grad(special.kv)(1.0, 0.0) == np.inf
    np.testing.assert_allclose(tg.grad(special.iv)(0.0, 3.0), -special.k0(3.0), rtol=1e-12)
    np.testing.assert_allclose(tg.grad(special.jv)(0.0, 3.0), np.pi / 2 * special.y0(3.0), rtol=1e-12)
    assert tg.grad(special.iv)(2.0, 0.0) == 0 == tg.grad(special.jv)(2.0, 0.0)
    for f in (special.jv, special.yv, special.kv, special.iv):
        assert np.isnan(tg.grad(f)(0.5, -1.0))


def test_no_second_derivative_in_the_order_but_of_k() -> None:
    for f in (special.jv, special.yv, special.iv, special.ive):
        with pytest.raises(
            DifferentiationError, match=r"_slope has no derivative with respect to v.*tg\.stop_gradient\(v\)"
        ):
            tg.jvp(tg.grad(f), (0.5, 1.0), (1.0, 0.0))


def test_the_order_of_j_above_the_number() -> None:
    """Where J is tiny, and in large orders, up to the number itself."""
    with mpmath.workdps(40):
        for v, z in [
            (20.0, 1.0),
            (30.5, 20.0),
            (12.3, 1e-3),
            (8.0, 0.5),
            (300.0, 200.0),
            (1600.0, 1500.0),
            (1600.0, 1599.9),
            (2000.0, 2000.0),
        ]:
            step = mpmath.mpf(10) ** -15
            wanted = (mpmath.besselj(v + step, z) - mpmath.besselj(v - step, z)) / (2 * step)
            assert abs(tg.grad(tg.scipy.special.jv)(v, z) / wanted - 1) < 1e-12, (v, z)
    assert tg.grad(tg.scipy.special.jv)(1e4, 1.0) == 0  # below the least number
