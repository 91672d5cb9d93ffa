"""Scaled Bessel functions, against mpmath."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax


def test_scaled_bessel_functions_against_mpmath() -> None:
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 30
    for order in range(3):
        f = lambda t: mpmath.exp(-abs(t)) * mpmath.besseli(1, t)
        g = lax.bessel_i1e
        for _ in range(order):
            g = (lambda g: lambda x: tg.jvp(g, (x,), (np.ones_like(x),))[1])(g)
        exact = [float(mpmath.diff(f, t, order)) if order else float(f(t)) for t in (0.4, 3.0)]
        np.testing.assert_allclose(g(np.array([0.4, 3.0])), exact, rtol=1e-10)
    assert tg.grad(lax.bessel_i1e)(0.0) == 0.5
