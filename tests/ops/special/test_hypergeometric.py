"""Hypergeometric functions, elliptic integrals and Lambert's W: closed forms, and what has no derivative."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DifferentiationError
from tracegrad.scipy import special

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


def test_closed_forms() -> None:
    for order, f in enumerate([special.hyp1f1, tg.grad(special.hyp1f1, 2), tg.grad(tg.grad(special.hyp1f1, 2), 2)]):
        np.testing.assert_allclose(f(2.0, 2.0, 0.7), np.exp(0.7), rtol=1e-14)
        np.testing.assert_allclose(
            [special.hyp2f1, tg.grad(special.hyp2f1, 3), tg.grad(tg.grad(special.hyp2f1, 3), 3)][order](1.0, 2.0, 2.0, 0.5),
            [2, 4, 16][order], rtol=1e-13,
        )  # fmt: skip


def test_parameters_without_a_derivative() -> None:
    for f, parameter, args, position in [
        (special.hyp1f1, "b", (1.0, 2.0, 0.5), 1), (special.hyp2f1, "c", (1.0, 2.0, 3.0, 0.5), 2),
    ]:  # fmt: skip
        one = lambda x, f=f, args=args, i=position: f(*args[:i], x, *args[i + 1 :])
        text = rf"no derivative with respect to {parameter} at .*test_hypergeometric\.py"
        with pytest.raises(DifferentiationError, match=text):
            tg.jvp(one, (args[position],), (1.0,))
        assert np.isnan(tg.grad(f, position)(*args))


def test_elliptic_integrals_about_zero() -> None:
    for m in (-0.3, -0.24, -1e-9, 0.0, 1e-9, 0.24, 0.26, 0.9, -50.0):
        for f, exact in ((special.ellipk, mpmath.ellipk), (special.ellipe, mpmath.ellipe)):
            with mpmath.workdps(50):
                true = [float(mpmath.diff(exact, mpmath.mpf(m), n)) for n in (1, 2)]
            np.testing.assert_allclose([tg.grad(f)(m), tg.grad(tg.grad(f))(m)], true, rtol=3e-12)


def test_lamberts_w() -> None:
    slope = tg.grad(lambda x: np.real(special.lambertw(x)))
    assert slope(0.0) == 1
    assert tg.grad(slope)(0.0) == -2
    lower = tg.grad(lambda x: np.real(special.lambertw(x, -1)))(-0.2)
    with mpmath.workdps(30):
        true = float(mpmath.diff(lambda z: mpmath.re(mpmath.lambertw(z, -1)), mpmath.mpf(-0.2)))
    np.testing.assert_allclose(lower, true, rtol=1e-13)
