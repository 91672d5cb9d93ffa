"""Bessel functions: their differential equation, ends, and orders."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special

scipy_special = pytest.importorskip("scipy.special")


@pytest.mark.parametrize("name, sign", [("jv", 1), ("yv", 1), ("iv", -1), ("kv", -1)])
def test_the_differential_equation(name: str, sign: int) -> None:
    """x**2 y'' + x y' + (sign x**2 - v**2) y = 0."""
    f = getattr(special, name)
    for v in (0.0, 1.0, 0.3, 2.5, 7.0):
        for x in (0.4, 2.0, 9.0):
            first, second = tg.grad(f, 1), tg.grad(tg.grad(f, 1), 1)
            terms = [x * x * second(v, x), x * first(v, x), sign * x * x * f(v, x), -v * v * f(v, x)]
            assert abs(sum(terms)) <= 1e-13 * sum(map(abs, terms))


def test_at_zero() -> None:
    assert [tg.grad(f)(0.0) for f in (special.j0, special.j1, special.i0, special.i1)] == [0, 0.5, 0, 0.5]
    assert tg.grad(special.jv, 1)(1.0, 0.0) == 0.5
    assert tg.grad(special.spherical_jn, 1)(1, 0.0) == pytest.approx(1 / 3, rel=1e-15)
    assert tg.grad(special.spherical_jn, 1)(0, 0.0) == 0


def test_slopes_of_spherical_ones() -> None:
    z = np.array([0.7, 3.0])
    for name in ("spherical_jn", "spherical_yn", "spherical_in", "spherical_kn"):
        for n in (0, 1, 4):
            found = getattr(special, name)(n, z, derivative=True)
            np.testing.assert_allclose(found, getattr(scipy_special, name)(n, z, derivative=True), rtol=1e-12)
