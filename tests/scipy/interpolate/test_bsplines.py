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


@pytest.mark.parametrize(
    "k, bc_type",
    [(3, "natural"), (3, "clamped"), (3, "periodic"), (4, "periodic"), (1, "periodic"), (2, ([(1, 0.3)], None)), (5, ([(1, 0.3), (2, 0.1)], [(1, 0.2), (3, 0.4)]))],
)  # fmt: skip
def test_conditions_at_the_ends(k: int, bc_type: object) -> None:
    y = RNG.normal(size=(9, 2))
    y[-1] = y[0]
    given = bc_type
    if isinstance(bc_type, tuple):  # of which SciPy wants an array for each column
        given = tuple([side and [(order, np.full(2, value)) for order, value in side] for side in bc_type])
    expected = scipy.interpolate.make_interp_spline(X, y, k, bc_type=given)
    f = lambda x, y, t: make_interp_spline(x, y, k, bc_type=bc_type)(t)
    np.testing.assert_allclose(tg.jit(f)(X, y, POINTS), expected(POINTS), rtol=1e-8, atol=1e-9)
    inside = X[:-1] + 0.4 * np.diff(X)
    if bc_type == "periodic":  # which is no function of the last sample
        check_grads(lambda x, y: f(x, np.concatenate([y, y[:1]]), inside), (X, y[:-1]), order=1)
    else:
        check_grads(lambda x, y: f(x, y, inside), (X, y), order=1)


def test_antiderivatives_and_integrals() -> None:
    y = np.sin(3 * X)
    for k in (0, 1, 3):
        theirs, ours = scipy.interpolate.make_interp_spline(X, y, k), make_interp_spline(X, y, k)
        for nu in (1, 2):
            np.testing.assert_allclose(
                ours.antiderivative(nu)(POINTS), theirs.antiderivative(nu)(POINTS), rtol=1e-9, atol=1e-10
            )
        for how in (True, False) if k else ():
            wanted = theirs.integrate(X[1] - 0.1, X[-1] + 0.3, how)
            np.testing.assert_allclose(ours.integrate(X[1] - 0.1, X[-1] + 0.3, how), wanted, rtol=1e-9)
    check_grads(lambda c, a, b: BSpline(ours.t, c, 3).integrate(a, b), (ours.c, X[1], X[4]), order=2, rtol=1e-5)
    np.testing.assert_allclose(tg.grad(ours.antiderivative())(X[3] + 0.01), ours(X[3] + 0.01), rtol=1e-10)


def test_errors() -> None:
    with pytest.raises(ShapeError, match="degree 3 needs 4 or more samples, got 3"):
        make_interp_spline(np.arange(3.0), np.arange(3.0))
    with pytest.raises(ValueError, match="a spline of degree 2 needs 1 conditions at its ends, got 1 and 1"):
        make_interp_spline(X, X, 2, bc_type="natural")
    with pytest.raises(ValueError, match="or a pair of conditions, got 'odd'"):
        make_interp_spline(X, X, bc_type="odd")
    with pytest.raises(ValueError, match="the first and the last sample of a periodic spline must be equal"):
        make_interp_spline(X, X, bc_type="periodic")
    with pytest.raises(UnsupportedFunctionError, match="extrapolate='periodic' is not traced"):
        make_interp_spline(X, np.zeros(9), bc_type="periodic").integrate(0.0, 1.0)
    with pytest.raises(ShapeError, match=r"n coefficients of degree 3 need n \+ 4 knots"):
        BSpline(np.arange(5.0), np.arange(5.0), 3)
