"""Hypergeometric functions, elliptic integrals and Lambert's W: closed forms, and derivatives in parameters."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DifferentiationError
from tracegrad.scipy import special
from tracegrad.testing import check_grads

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


def test_closed_forms() -> None:
    for order, f in enumerate([special.hyp1f1, tg.grad(special.hyp1f1, 2), tg.grad(tg.grad(special.hyp1f1, 2), 2)]):
        np.testing.assert_allclose(f(2.0, 2.0, 0.7), np.exp(0.7), rtol=1e-14)
        np.testing.assert_allclose(
            [special.hyp2f1, tg.grad(special.hyp2f1, 3), tg.grad(tg.grad(special.hyp2f1, 3), 3)][order](1.0, 2.0, 2.0, 0.5),
            [2, 4, 16][order], rtol=1e-13,
        )  # fmt: skip


def test_derivatives_in_parameters() -> None:
    """Against quotients in many digits, on both sides of zero and with parameters of both signs."""
    for f, exact, points in [
        (special.hyp1f1, mpmath.hyp1f1, [(0.3, 2.0, 4.0), (2.0, 0.7, -25.0), (-1.5, 2.5, 3.0), (-2.0, 1.5, -6.0), (3.0, 3.0, 20.0)]),
        (special.hyp2f1, mpmath.hyp2f1, [(0.3, 2.0, 1.5, 0.9), (2.0, 1.0, 3.0, -20.0), (-1.5, 0.5, 2.5, 0.4), (-2.0, 3.0, 2.0, 0.5)]),
    ]:  # fmt: skip
        for point in points:
            for i in range(len(point) - 1):
                with mpmath.workdps(40):
                    step, xs = mpmath.mpf(10) ** -12, [mpmath.mpf(x) for x in point]
                    beside = [exact(*xs[:i], xs[i] + s, *xs[i + 1 :]) for s in (step, -step)]
                    true = float((beside[0] - beside[1]) / (2 * step))
                np.testing.assert_allclose(tg.grad(f, i)(*point), true, rtol=1e-12, err_msg=str((point, i)))
    args = (np.array([0.7, 2.0]), np.array([2.0, 0.5]), np.array([0.3, -3.0]))
    check_grads(special.hyp1f1, args, order=1, rtol=1e-6)
    check_grads(
        lambda x: tg.grad(lambda a: np.sum(special.hyp1f1(a, args[1], x)))(args[0]), args[2:], order=1, rtol=1e-6
    )
    check_grads(
        lambda x: tg.grad(lambda b: np.sum(special.hyp1f1(args[0], b, x)))(args[1]), args[2:], order=1, rtol=1e-6
    )
    for i in range(3):
        in_parameter = lambda z, i=i: tg.grad(lambda *v: special.hyp2f1(*v), i)(0.7, 1.2, 2.0, z)
        check_grads(in_parameter, (np.float64(-0.6),), order=1, rtol=1e-6)


def test_where_their_series_fail() -> None:
    assert np.isnan(tg.grad(special.hyp2f1)(1.0, 2.0, 3.5, 0.9999))
    assert np.isnan(tg.grad(special.hyp2f1)(1.0, 2.0, 3.5, 1.5))
    text = r"hyp1f1_slope has no derivative with respect to b at .*test_hypergeometric\.py"
    with pytest.raises(DifferentiationError, match=text):
        tg.jvp(lambda b: tg.grad(special.hyp1f1, 1)(1.0, b, 0.5), (2.0,), (1.0,))


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
