"""RegularGridInterpolator: SciPy's values, derivatives, and what is outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.interpolate

import tracegrad as tg
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
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
    with pytest.raises(UnsupportedFunctionError, match="method 'cubic' is not traced"):
        RegularGridInterpolator((np.arange(3.0),), np.ones(3), "cubic")
