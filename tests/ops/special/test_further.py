"""Airy's functions and others: second derivatives, and what meets what."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DifferentiationError
from tracegrad.scipy import special
from tracegrad.testing import check_grads

scipy_special = pytest.importorskip("scipy.special")


def test_airys_equation() -> None:
    x = np.array([-4.0, 0.0, 1.5])
    for part in (0, 2):
        f = lambda x, part=part: special.airy(x)[part]
        np.testing.assert_allclose([tg.grad(tg.grad(f))(v) for v in x], x * f(x), rtol=1e-14)


def test_second_derivatives() -> None:
    x, y = np.array([0.6, 1.0, 1.9]), np.array([0.4, -1.2, 2.0])
    for f, args in [
        (special.spence, (x,)), (special.owens_t, (y, x)), (special.wrightomega, (y,)), (special.erfi, (y,)), (special.zetac, (x + 1,)),
        (special.voigt_profile, (y, x, x + 0.1)), (lambda x: special.hyp0f1(1.5, x), (y,)), (lambda x: special.struve(0.5, x), (x,)),
        (lambda x: special.modstruve(1.5, x), (x,)), (lambda x: special.hyperu(0.7, 1.2, x), (x,)),
    ]:  # fmt: skip
        check_grads(f, args, order=2, rtol=2e-5, atol=1e-6)


def test_voigts_limits() -> None:
    """Cauchy's density where sigma is zero, the normal one where gamma is."""
    x = np.array([-2.0, 0.3])
    np.testing.assert_allclose(special.voigt_profile(x, 0.0, 0.5), scipy_special.voigt_profile(x, 0.0, 0.5), rtol=1e-14)
    slope = tg.grad(lambda g: np.sum(special.voigt_profile(x, 0.0, g)))(0.5)
    np.testing.assert_allclose(slope, np.sum((x**2 - 0.25) / (np.pi * (x**2 + 0.25) ** 2)), rtol=1e-13)
    normal = tg.grad(lambda x: special.voigt_profile(x, 1.0, 0.0))(9.0)
    np.testing.assert_allclose(normal, -9 * np.exp(-40.5) / np.sqrt(2 * np.pi), rtol=1e-13)


def test_parameters_without_a_derivative() -> None:
    with pytest.raises(DifferentiationError, match="hyperu has no derivative with respect to a"):
        tg.jvp(lambda a: special.hyperu(a, 1.2, 0.5), (0.3,), (1.0,))
