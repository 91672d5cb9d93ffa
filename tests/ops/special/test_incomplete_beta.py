"""Densities of the gamma and beta distributions where a factor is zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad.ops.special.incomplete_beta import beta_density


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_derivatives_of_densities_in_parameters_where_a_factor_is_zero(backend: Any) -> None:
    mpmath = pytest.importorskip("mpmath")

    def gamma(a: Any, x: Any) -> Any:
        return x ** (a - 1) * mpmath.exp(-x) / mpmath.gamma(a)

    def beta(a: Any, b: Any, x: Any) -> Any:
        return x ** (a - 1) * (1 - x) ** (b - 1) / mpmath.beta(a, b)

    for a in (1.0, 2.0, 1.5):
        of_gamma: Any = tg.grad(lambda a, x: tg.scipy.special.gammainc(a, x), 1)
        twice = tg.jit(tg.grad(tg.grad(of_gamma, 1), 0), backend=backend)
        near(twice(a, 0.5), float(mpmath.diff(gamma, (a, 0.5), (1, 1))), 1e-9)
        of_beta: Any = tg.grad(lambda a, b, x: tg.scipy.special.betainc(a, b, x), 2)
        for number, orders in ((0, (1, 0, 2)), (1, (0, 1, 2))):
            third = tg.jit(tg.grad(tg.grad(tg.grad(of_beta, 2), 2), number), backend=backend)
            near(third(a, 2.0, 0.3), float(mpmath.diff(beta, (a, 2.0, 0.3), orders)), 1e-8)


def test_a_density_near_a_zero_of_its_factors_in_half_floats() -> None:
    mpmath = pytest.importorskip("mpmath")
    a, b, x = map(np.float16, (0.996, 1.624, 0.2483))
    density: Any = lambda a: beta_density(a, b, x, fall=1, fall_b=2)
    curve = tg.grad(tg.grad(density))
    steep = mpmath.diff(
        lambda a: (a - 1) * (b - 1) * (b - 2) * mpmath.mpf(float(x)) ** (a - 2) * (1 - float(x)) ** (float(b) - 3) / mpmath.beta(a, float(b)),
        float(a), 2,
    )  # fmt: skip
    np.testing.assert_allclose(curve(a), float(steep), rtol=5e-3)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_densities_have_their_digits_where_gammas_are_huge(backend: Any) -> None:
    """Of lgamma(10,000) = 82,100 the difference to lgamma(10,001.3) has eleven digits left."""
    mpmath = pytest.importorskip("mpmath")
    slope = tg.jit(tg.grad(lambda x, a, b: tg.scipy.special.betainc(a, b, x)), backend=backend)
    for a, b, x in ((1.25, 1e4, 2**-13), (1e4, 1.25, 1 - 2**-13), (9.5, 20.0, 0.375), (300.0, 400.0, 0.4375)):
        with mpmath.workdps(40):
            p, q, t = map(mpmath.mpf, (a, b, x))
            truth = float(t ** (p - 1) * (1 - t) ** (q - 1) / mpmath.beta(p, q))
        np.testing.assert_allclose(slope(x, a, b), truth, rtol=2e-13)
