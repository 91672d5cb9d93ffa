"""Orthogonal polynomials against their coefficients, and spherical harmonics at the poles."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special

scipy_special = pytest.importorskip("scipy.special")


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("legendre", ()), ("chebyt", ()), ("chebyu", ()), ("hermite", ()), ("hermitenorm", ()), ("laguerre", ()),
        ("genlaguerre", (1.5,)), ("gegenbauer", (0.7,)), ("jacobi", (0.5, 1.5)),
    ],
)  # fmt: skip
def test_three_derivatives_are_those_of_the_coefficients(name: str, parameters: tuple[float, ...]) -> None:
    for n in range(6):
        exact = np.poly1d(getattr(scipy_special, name)(n, *parameters).coef)
        f = lambda x, n=n: getattr(special, f"eval_{name}")(n, *parameters, x)
        for order in range(4):
            for x in (-1.0, 0.3, 1.0):  # the ends, where other formulas divide by zero
                np.testing.assert_allclose(f(x), exact.deriv(order)(x) if order else exact(x), rtol=1e-10, atol=1e-10)
            f = tg.grad(f)


def test_spherical_harmonics() -> None:
    """The angular part of the Laplacian has the eigenvalue -n (n + 1); at the poles there is a derivative too."""
    for n, m in [(0, 0), (2, 1), (3, -2), (4, 4)]:
        for part in (np.real, np.imag):
            f = lambda theta, phi, n=n, m=m, part=part: part(special.sph_harm_y(n, m, theta, phi))
            theta, phi = 0.9, 0.4
            polar = tg.grad(tg.grad(f))(theta, phi) + tg.grad(f)(theta, phi) / np.tan(theta)
            round_it = tg.grad(tg.grad(f, 1), 1)(theta, phi) / np.sin(theta) ** 2
            np.testing.assert_allclose(polar + round_it, -n * (n + 1) * f(theta, phi), rtol=1e-12, atol=1e-13)
    slope = tg.grad(lambda theta: np.real(special.sph_harm_y(1, 1, theta, 0.0)))(0.0)
    np.testing.assert_allclose(slope, -np.sqrt(3 / (8 * np.pi)), rtol=1e-15)
