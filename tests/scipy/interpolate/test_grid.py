"""RegularGridInterpolator: SciPy's values, derivatives, and what is outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.interpolate
import scipy.sparse.linalg

import tracegrad as tg
from tracegrad.core.errors import ShapeError
from tracegrad.scipy.interpolate import RegularGridInterpolator
from tracegrad.testing import check_grads

RNG = np.random.default_rng(0)


def drawn(shape: tuple[int, ...], extra: tuple[int, ...] = ()) -> tuple[Any, Any, Any]:
    grid = tuple([np.sort(RNG.normal(size=k)) for k in shape])
    points = np.stack([RNG.uniform(g[0] - 0.1, g[-1] + 0.1, 12) for g in grid], -1).reshape(3, 4, -1)
    return grid, RNG.normal(size=(*shape, *extra)), points


@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_values_are_scipys(method: str) -> None:
    for shape, extra in (((4,), ()), ((4, 3), ()), ((3, 4, 5), (2,))):
        grid, values, points = drawn(shape, extra)
        grid = (grid[0][::-1], *grid[1:])
        for fill in (np.nan, 7.0, None):
            expected = scipy.interpolate.RegularGridInterpolator(grid, values, method, False, fill)(points)
            run = lambda values, points, grid=grid, fill=fill: RegularGridInterpolator(
                grid, values, method, False, fill
            )(points)
            for found in (run(values, points), tg.jit(run)(values, points)):
                np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


def test_derivatives() -> None:
    grid, values, _ = drawn((4, 3))
    points = np.stack([0.4 * g[:-1] + 0.6 * g[1:] for g in (grid[0][:3], grid[1])], -1)
    f = lambda grid, values, points: RegularGridInterpolator(grid, values)(points)
    check_grads(f, (grid, values, points), order=2)
    at_once = tg.vmap(tg.grad(lambda p: f(grid, values, p)[0]))(points)
    assert at_once.shape == points.shape


@pytest.mark.parametrize("method", ["slinear", "cubic", "quintic", "pchip"])
def test_splines(method: str) -> None:
    """Values are those of SciPy's splines along one axis after the other, and so are their derivatives of an order for each axis."""
    legacy = method if method == "pchip" else f"{method}_legacy"
    for shape, extra in (((7,), ()), ((7, 8), ()), ((6, 7, 6), (2,))):
        grid = tuple([np.arange(k) + RNG.uniform(0.0, 0.4, k) for k in shape])
        values = RNG.normal(size=(*shape, *extra))
        points = np.stack([RNG.uniform(g[0] - 0.1, g[-1] + 0.1, 12) for g in grid], -1).reshape(3, 4, -1)
        grid = (grid[0][::-1], *grid[1:])
        for fill in (np.nan, None):
            theirs = scipy.interpolate.RegularGridInterpolator(grid, values, legacy, False, fill)
            ours = RegularGridInterpolator(grid, values, method, False, fill)
            np.testing.assert_allclose(ours(points), theirs(points), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(ours(points, legacy), theirs(points), rtol=1e-11, atol=1e-13)
        if method != "pchip":
            orders = (1, 0, 1)[: len(shape)] if method == "slinear" else (1, 0, 2)[: len(shape)]
            exact = scipy.interpolate.RegularGridInterpolator(
                grid, values, method, False, None, solver=scipy.sparse.linalg.spsolve
            )
            np.testing.assert_allclose(ours(points, nu=orders), exact(points, nu=orders), rtol=1e-8, atol=1e-9)
            if len(shape) == 1:
                slopes = tg.vmap(tg.grad(lambda p, f=ours: f(p)[0]))(points.reshape(-1, 1))
                np.testing.assert_allclose(slopes.reshape(3, 4), ours(points, nu=(1,)), rtol=1e-9)
    assert ours(np.empty((0, 3))).shape == (0, 2)


@pytest.mark.parametrize("method", ["slinear", "cubic", "quintic", "pchip"])
def test_derivatives_of_splines(method: str) -> None:
    grid = tuple([np.arange(k) + RNG.uniform(0.0, 0.4, k) for k in (7, 6)])
    values, points = RNG.normal(size=(7, 6)), np.stack([0.4 * g[:4] + 0.6 * g[1:5] for g in grid], -1)
    f = lambda grid, values, points: RegularGridInterpolator(grid, values, method)(points)
    check_grads(f, (grid, values, points), order=2, rtol=1e-5)
    np.testing.assert_allclose(tg.jit(f)(grid, values, points), f(grid, values, points), rtol=1e-12)
    np.testing.assert_allclose(
        tg.vmap(f, in_axes=(None, 0, None))(grid, np.stack([values, -values]), points)[1],
        f(grid, -values, points),
        rtol=1e-12,
    )


def test_coordinates_apart_and_trees() -> None:
    grid, values, _ = drawn((4, 3))
    f = RegularGridInterpolator(grid, values, bounds_error=False, fill_value=None)
    np.testing.assert_array_equal(f((0.1, np.array([0.2, 0.3]))), f(np.array([[0.1, 0.2], [0.1, 0.3]])))
    one = RegularGridInterpolator(grid[:1], values)
    theirs = scipy.interpolate.RegularGridInterpolator(grid[:1], values)
    inside = grid[0][:-1] + 0.1 * np.diff(grid[0])
    np.testing.assert_array_equal(one(inside), theirs(inside))
    points = np.array([[0.1, 0.2]])
    np.testing.assert_array_equal(tg.jit(lambda f, p: f(p, "nearest"))(f, points), f(points, "nearest"))


def test_errors() -> None:
    f = RegularGridInterpolator((np.arange(3.0), np.arange(2.0)), np.arange(6.0).reshape(3, 2))
    with pytest.raises(ValueError, match="one of the points is out of bounds of the grid"):
        f(np.array([3.0, 0.0]))
    assert np.isnan(tg.jit(f)(np.array([3.0, 0.0])))
    with pytest.raises(ShapeError, match="points must have 2 coordinates along the last axis"):
        f(np.ones(3))
    with pytest.raises(ShapeError, match=r"f64\[3\] places along axis 0 of values f64\[2\]"):
        RegularGridInterpolator((np.arange(3.0),), np.ones(2))
    with pytest.raises(ShapeError, match="a grid of 2 axes, but values"):
        RegularGridInterpolator((np.arange(3.0), np.arange(3.0)), np.ones(3))
    with pytest.raises(ValueError, match="the places along axis 0 must ascend or descend"):
        RegularGridInterpolator((np.array([0.0, 2.0, 1.0]),), np.ones(3))
    with pytest.raises(
        ShapeError, match=r"method 'cubic' needs 4 or more places along each axis, got f64\[3\] along axis 0"
    ):
        RegularGridInterpolator((np.arange(3.0),), np.ones(3), "cubic")
    with pytest.raises(ShapeError, match="method 'quintic' needs 6 or more"):
        f(np.array([1.0, 0.0]), "quintic")
    with pytest.raises(ValueError, match=r"method is 'linear', .* or 'pchip', got 'kriging'"):
        RegularGridInterpolator((np.arange(3.0),), np.ones(3), "kriging")
    with pytest.raises(ValueError, match=r"nu has 2 orders .* got \(1,\) for 'slinear'"):
        f(np.array([1.0, 0.0]), "slinear", nu=(1,))
    with pytest.raises(ValueError, match=r"for methods 'slinear', 'cubic', 'quintic'; got \(1, 0\) for 'linear'"):
        f(np.array([1.0, 0.0]), nu=(1, 0))
    with pytest.raises(TypeError, match="y must be real"):
        RegularGridInterpolator((np.arange(4.0),), np.ones(4, complex), "pchip")(np.array([1.0]))
