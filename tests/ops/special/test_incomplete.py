"""Derivatives of the incomplete gamma and beta functions in their parameters, against mpmath."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")
pytest.importorskip("jax")


@pytest.mark.parametrize("backend", ["numpy", pytest.param("xla", marks=pytest.mark.slow)])
def test_derivatives_of_tails_in_parameters(backend: str) -> None:
    """They are as exact as the tails."""
    run = functools.partial(tg.jit, backend=backend)
    points = [(1e-3, 0.5), (0.5, 1e-5), (3.0, 90.0), (40.0, 4.0), (120.0, 300.0), (7.0, 700.0)]
    a, x = np.array(points).T
    exact = []
    for ai, xi in points:
        with mpmath.workdps(60):
            tail = (lambda s: -mpmath.gammainc(s, xi, mpmath.inf, regularized=True)) if xi > ai else (
                lambda s: mpmath.gammainc(s, 0, xi, regularized=True)
            )  # fmt: skip
            exact.append(float(mpmath.diff(tail, mpmath.mpf(ai))))
    np.testing.assert_allclose(run(tg.grad(lambda a: np.sum(lax.igamma(a, x))))(a), exact, rtol=3e-11)
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(lax.igammac(a, x)))(a), -np.array(exact), rtol=3e-11)

    corners = [
        (0.5, 0.5, 1 - 1e-9),
        (30.0, 0.1, 1e-8),
        (1e3, 1e3, 0.45),
        (200.0, 3.0, 0.2),
        (1e-3, 0.5, 0.3),
        (2.0, 60.0, 0.6),
    ]
    exact_in = [[], []]
    for ai, bi, xi in corners:
        left = xi * (ai + bi) <= ai
        with mpmath.workdps(60):
            tail = lambda s, t: (
                mpmath.betainc(s, t, 0, xi, regularized=True)
                if left
                else -mpmath.betainc(t, s, 0, 1 - mpmath.mpf(xi), regularized=True)
            )
            exact_in[0].append(float(mpmath.diff(lambda s: tail(s, mpmath.mpf(bi)), mpmath.mpf(ai))))
            exact_in[1].append(float(mpmath.diff(lambda t: tail(mpmath.mpf(ai), t), mpmath.mpf(bi))))
    a, b, x = np.array(corners).T
    found = run(tg.grad(lambda a, b: np.sum(lax.betainc(a, b, x)), (0, 1)))(a, b)
    np.testing.assert_allclose(found, exact_in, rtol=1e-10)


def test_the_second_derivatives_of_betainc() -> None:
    """By which those in x and in the parameters are bound together."""
    f = lambda t: lax.betainc(*t)
    hessian = tg.hessian(f)(np.array([2.0, 3.5, 0.3]))
    exact = np.array([
        [float(mpmath.diff(lambda *t: mpmath.betainc(*t[:2], 0, t[2], regularized=True), (2.0, 3.5, 0.3), tuple(map(sum, zip(i, j, strict=True)))))
         for j in np.eye(3, dtype=int).tolist()]
        for i in np.eye(3, dtype=int).tolist()
    ])  # fmt: skip
    np.testing.assert_allclose(hessian, exact, rtol=1e-9)


def test_derivatives_of_betainc_where_a_parameter_is_small() -> None:
    """Near the mode, where over logits the density ends as exp(-exp(v)): the rule had not converged there, and was wrong in the fourth
    digit."""
    corners = [
        (138.0, 0.0164, 0.99976),
        (0.0185, 219.0, 1.05e-4),
        (17.3, 0.5, 0.968),
        (0.00117, 53.2, 5.9e-4),
        (575.0, 0.031, 0.99986),
        (1e-3, 1e3, 1e-6),
    ]
    exact = []
    for a, b, x in corners:
        with mpmath.workdps(60):
            x = mpmath.mpf(x)
            in_a = mpmath.diff(lambda t, b=b, x=x: mpmath.betainc(t, b, 0, x, regularized=True), mpmath.mpf(a))
            in_b = mpmath.diff(lambda t, a=a, x=x: mpmath.betainc(a, t, 0, x, regularized=True), mpmath.mpf(b))
        exact.append((float(in_a), float(in_b)))
    found = tg.grad(lambda a, b, x: np.sum(lax.betainc(a, b, x)), (0, 1))(*np.array(corners).T)
    np.testing.assert_allclose(np.transpose(found), exact, rtol=1e-11)
