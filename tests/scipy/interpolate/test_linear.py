"""interp1d: SciPy's values, derivatives, and what is outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.interpolate

import tracegrad as tg
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
from tracegrad.scipy.interpolate import interp1d
from tracegrad.scipy.interpolate.linear import KINDS
from tracegrad.testing import check_grads

RNG = np.random.default_rng(0)
X = np.sort(RNG.normal(size=7))
INSIDE = np.concatenate([RNG.uniform(X[0], X[-1], 5), X, (X[1:2] + X[2:3]) / 2]).reshape(-1, 1)
WIDE = np.concatenate([INSIDE, X[:1, None] - 1, X[-1:, None] + 1])


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_scipys(kind: str) -> None:
    order = RNG.permutation(7)
    ways: list[tuple[dict[str, Any], Any]] = [({}, INSIDE), ({"bounds_error": False}, WIDE)]
    if kind != "zero":  # of which SciPy has a spline of its own there
        ways += [({"bounds_error": False, "fill_value": (1.0, 2.0)}, WIDE), ({"fill_value": "extrapolate"}, WIDE)]
    for shape, axis in (((7,), -1), ((2, 7), 1), ((7, 3), 0)):
        y = RNG.normal(size=shape)
        for how, points in ways:
            expected = scipy.interpolate.interp1d(X[order], np.take(y, order, axis), kind, axis, **how)(points)
            found = interp1d(X[order], np.take(y, order, axis), kind, axis, **how)(points)
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
            jitted = tg.jit(lambda y, t, how=how, axis=axis: interp1d(X, y, kind, axis, **how)(t))(y, points)
            np.testing.assert_array_equal(jitted, found)


@pytest.mark.parametrize("kind", ["linear", "quadratic", "cubic"])
def test_derivatives(kind: str) -> None:
    points = X[:-1] + 0.3 * np.diff(X)
    check_grads(lambda x, y, t: interp1d(x, y, kind)(t), (X, np.sin(X), points), order=1)


def test_steps() -> None:
    f = lambda y, t: interp1d(np.arange(3.0), y, "nearest")(t)
    assert tg.grad(f)(np.arange(3.0), 1.4).tolist() == [0.0, 1.0, 0.0]
    assert tg.grad(f, 1)(np.arange(3.0), 1.4) == 0.0


def test_places_in_any_order() -> None:
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    f = lambda x, y: interp1d(x, y)(INSIDE)
    np.testing.assert_array_equal(tg.jit(f)(X[order], X[order] ** 2), f(X, X**2))
    expected = tg.jacrev(f, (0, 1))(X, X**2)
    for found, dense in zip(tg.jacrev(f, (0, 1))(X[order], X[order] ** 2), expected, strict=True):
        np.testing.assert_array_equal(found, dense[..., order])


def test_trees() -> None:
    f = interp1d(X, np.sin(X))
    np.testing.assert_array_equal(tg.jit(lambda f, t: f(t))(f, INSIDE), f(INSIDE))


def test_outside() -> None:
    f = interp1d(np.arange(3.0), np.arange(3.0))
    with pytest.raises(ValueError, match=r"interp1d at .*test_linear.*: a point is above the interpolation range"):
        f(2.5)
    with pytest.raises(ValueError, match="a point is below"):
        tg.grad(f)(-1.0)
    assert np.isnan(tg.jit(f)(2.5)) and np.isnan(f(np.nan))
    with pytest.raises(UnsupportedFunctionError, match="kind 'quintic' is not traced"):
        interp1d(X, X, "quintic")
    for kind, needed in (("quadratic", 3), ("cubic", 4)):
        with pytest.raises(ShapeError, match=f"of kind '{kind}' needs {needed} or more samples, got 2"):
            interp1d(X[:2], X[:2], kind)
