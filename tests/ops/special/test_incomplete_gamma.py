"""Incomplete gamma functions, against mpmath and at the edges."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)


def test_incomplete_gamma_functions_against_mpmath() -> None:
    """P(a, x) and its derivatives in a, where x is less than, about, and more than a."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 30
    pairs = [(0.5, 0.1), (2.0, 2.5), (3.0, 30.0), (40.0, 38.0), (200.0, 190.0), (0.7, 400.0)]
    a, x = np.array(pairs).T
    lower = lambda x: lambda a: mpmath.gammainc(a, 0, x, regularized=True)
    for order in range(4):
        exact = [float(mpmath.diff(lower(xi), ai, order)) if order else float(lower(xi)(ai)) for ai, xi in pairs]
        g = lax.igamma
        for _ in range(order):
            g = (lambda g: lambda a, x: tg.jvp(lambda a: g(a, x), (a,), (np.ones_like(a),))[1])(g)
        np.testing.assert_allclose(g(a, x), exact, rtol=1e-9, atol=1e-13)
        if order == 1:
            np.testing.assert_allclose(lax.igamma_grad_a(a, x), exact, rtol=1e-9, atol=1e-13)


def test_random_gamma_grad() -> None:
    a, x = np.array([0.5, 2.0, 9.0]), np.array([0.3, 1.5, 10.0])
    np.testing.assert_allclose(lax.random_gamma_grad(a, x), jax.lax.random_gamma_grad(a, x), rtol=1e-8)


def test_the_derivative_of_igamma_at_the_edges() -> None:
    with np.errstate(all="raise"):
        slopes = lax.igamma_grad_a(np.array([1.0, 1, -1, 1]), np.array([0.0, np.inf, 1, np.nan]))
    np.testing.assert_array_equal(slopes, [0, 0, np.nan, np.nan])
    slope = tg.grad(lambda a, x: lax.igamma(a, x))
    assert [slope(1.5, 0.0), slope(1.5, np.inf)] == [0.0, 0.0]
    with np.errstate(all="ignore"):
        assert np.all(np.isnan([slope(a, x) for a in (0.0, -1.0) for x in (0.0, np.inf)]))


def test_the_upper_function_of_small_shapes_on_xla() -> None:
    """jax takes the lower one from 1, of which nothing is left."""
    mpmath = pytest.importorskip("mpmath")
    a = np.array([1e-300, 1e-160, 1e-20, 1e-8, 1e-4, 0.0099, 1e-300])
    x = np.array([0.5, 1e-160, 1e-300, 1.0, 0.01, 0.9, 1e-300])

    def upper(a: float, x: float) -> float:
        series = mpmath.fsum([(-mpmath.mpf(x)) ** k / ((a + k) * mpmath.factorial(k)) for k in range(1, 60)])
        return float(1 - mpmath.mpf(x) ** a / mpmath.gamma(1 + mpmath.mpf(a)) * (1 + a * series))

    with mpmath.workdps(340):
        expected = [upper(mpmath.mpf(p), q) for p, q in zip(a.tolist(), x.tolist(), strict=True)]
    np.testing.assert_allclose(tg.jit(lax.igammac, backend="xla")(a, x), expected, rtol=1e-12)
