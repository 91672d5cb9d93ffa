"""Splines along each axis of a grid: their tensor product at points of d numbers, and pchip along one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.types import type_of
from tracegrad.ops.index import take
from tracegrad.scipy.interpolate.bsplines import BSpline, make_interp_spline
from tracegrad.scipy.interpolate.piecewise import PchipInterpolator

DEGREES = {"slinear": 1, "cubic": 3, "quintic": 5}


def of_splines(grid: Sequence[Any], values: Any, points: Any, degree: int, nu: Sequence[int]) -> Any:
    """Values (m, ...) at points (m, d), or those of the derivative of order `nu[i]` along axis i. Each point has `degree + 1` coefficients
    along each axis that are not multiplied by zero, which are taken at once."""
    count = type_of(points).shape[0]
    c, place, weights = values, np.zeros((count, 1), int), np.ones((count, 1))
    for i, (p, order) in enumerate(zip(grid, nu, strict=True)):
        spline = make_interp_spline(p, c, degree, axis=i).derivative(order)
        c = np.moveaxis(spline.c, 0, i)
        first, along = basis(spline, points[:, i])
        near = first[:, None] + np.arange(spline.k + 1)
        size = (count, (spline.k + 1) * type_of(weights).shape[1])
        place = np.reshape(place[:, :, None] * type_of(c).shape[i] + near[:, None, :], size)
        weights = np.reshape(weights[:, :, None] * along[:, None, :], size)
    shape = type_of(c).shape
    rest = shape[len(grid) :]
    near = take(np.reshape(c, (math.prod(shape[: len(grid)]), *rest)), place, axis=0)
    return np.sum(near * np.reshape(weights, (*type_of(weights).shape, *(1,) * len(rest))), axis=1)


def basis(spline: BSpline, x: Any) -> tuple[Any, Any]:
    """Those of the B-splines that are not zero at points (m,): the number of the first, and their values (m, k + 1), by the recursion of
    Cox and de Boor. Outside those of the first and the last interval go on."""
    t, k = spline.t, spline.k
    n = type_of(t).shape[0] - k - 1
    i = np.clip(np.searchsorted(t, x, side="right") - 1, k, n - 1)
    x, found = x[:, None], np.ones((*type_of(x).shape, 1))
    for r in range(1, k + 1):
        right = take(t, i[:, None] + np.arange(1, r + 1)) - x
        left = x - take(t, i[:, None] + np.arange(1 - r, 1))
        share = found / (right + left)
        nothing = np.zeros(type_of(x).shape)
        found = np.concatenate([right * share, nothing], axis=1) + np.concatenate([nothing, left * share], axis=1)
    return i - k, found


def of_pchips(grid: Sequence[Any], values: Any, points: Any) -> Any:
    """Values (m, ...) at points (m, d): along the last axis first, through what comes out along the one before it, and so on."""
    count, last = type_of(points).shape[0], len(grid) - 1
    found = PchipInterpolator(grid[last], np.moveaxis(values, last, 0))(points[:, last])
    for i in range(last - 1, -1, -1):
        along = PchipInterpolator(grid[i], found, axis=i + 1)  # a function for each point, of which one value is wanted
        pieces = type_of(along.c).shape[1]
        x, where = along.x, points[:, i]
        number = np.clip(np.searchsorted(x, where, side="right") - 1, 0, pieces - 1)
        flat = np.reshape(along.c, (4, pieces * count, *type_of(along.c).shape[3:]))
        near = take(flat, number * count + np.arange(count), axis=1)
        s = np.reshape(where - take(x, number), (count, *(1,) * (len(type_of(near).shape) - 2)))
        found = ((near[0] * s + near[1]) * s + near[2]) * s + near[3]
    return found
