"""B-splines: SciPy's values, and derivatives in knots, coefficients, samples and points."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.interpolate

import tracegrad as tg
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
from tracegrad.scipy.interpolate import BSpline, make_interp_spline
from tracegrad.testing import check_grads

RNG = np.random.default_rng(0)
X = np.sort(RNG.normal(size=9))
POINTS = RNG.uniform(X[0] - 0.1, X[-1] + 0.1, (3, 4))


@pytest.mark.parametrize("k", range(6))
def test_values_are_scipys(k: int) -> None:
    y = RNG.normal(size=(2, 9))
    theirs, ours = scipy.interpolate.make_interp_spline(X, y, k, axis=1), make_interp_spline(X, y, k, axis=1)
    np.testing.assert_array_equal(ours.t, theirs.t)
    np.testing.assert_allclose(
        tg.jit(lambda y, t: make_interp_spline(X, y, k, axis=1)(t))(y, POINTS), theirs(POINTS), rtol=1e-8
    )
    for how in (True, False, "periodic"):
        spline = BSpline(theirs.t, theirs.c, k, how, 0)
        expected = scipy.interpolate.BSpline(theirs.t, theirs.c, k, how, 0)
        np.testing.assert_allclose(spline(POINTS), expected(POINTS), rtol=1e-10, atol=1e-12)
        for nu in range(1, k + 1):
            np.testing.assert_allclose(spline(POINTS, nu), expected(POINTS, nu), rtol=1e-8, atol=1e-9)
    assert not np.any(ours(POINTS, k + 1))


def test_derivatives() -> None:
    y, inside = np.sin(3 * X), X[:-1] + 0.4 * np.diff(X)
    check_grads(lambda x, y, t: make_interp_spline(x, y, 3)(t), (X, y, inside), order=1)
    check_grads(lambda y: make_interp_spline(X, y, 2)(inside), (y,), order=1)
    spline = make_interp_spline(X, y)
    check_grads(lambda c: BSpline(spline.t, c, 3)(inside), (spline.c,), order=1)
    np.testing.assert_allclose(tg.vmap(tg.grad(spline))(inside), spline(inside, 1), rtol=1e-10)
    np.testing.assert_array_equal(tg.jit(lambda s, t: s(t))(spline, inside), spline(inside))


def test_errors() -> None:
    with pytest.raises(ShapeError, match="degree 3 needs 4 or more samples, got 3"):
        make_interp_spline(np.arange(3.0), np.arange(3.0))
    with pytest.raises(UnsupportedFunctionError, match="bc_type 'natural' is not traced"):
        make_interp_spline(X, X, bc_type="natural")
    with pytest.raises(ShapeError, match=r"n coefficients of degree 3 need n \+ 4 knots"):
        BSpline(np.arange(5.0), np.arange(5.0), 3)
