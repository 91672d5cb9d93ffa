"""`RegularGridInterpolator`: values on a grid of several axes, and what lies between them."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.boxes import public
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import is_inexact, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.scipy.interpolate.piecewise import known
from tracegrad.scipy.interpolate.tensor import DEGREES, of_pchips, of_splines
from tracegrad.tree import register_pytree_node
from tracegrad.typing import Array, ArrayLike


class RegularGridInterpolator:
    """`scipy.interpolate.RegularGridInterpolator`: a function of points of d numbers through `values` on a grid, with derivatives in these, in
    the grid and in the points. A node of trees.

    Args:
        points: d vectors of places along the axes, ascending or descending.
        values: (n1, ..., nd, ...).
        method: "linear", "nearest", "slinear", "cubic" or "quintic" (splines of degree 1, 3 and 5, not-a-knot), or "pchip".
        bounds_error: whether points outside raise. Where only types are known they get NaN.
        fill_value: what they get otherwise; None to go on with what is nearest.
        solver, solver_args: of no effect; the coefficients of splines are found axis by axis, to rounding (SciPy's default solver stops
            at an error of 1e-6).

    Raises:
        ShapeError: sizes that do not fit; fewer places along an axis than a spline needs.
        ValueError: another method; a point outside.

    >>> import numpy as np, tracegrad as tg
    >>> grid = np.arange(3.0), np.arange(2.0)
    >>> f = tg.scipy.interpolate.RegularGridInterpolator(grid, np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 9.0]]))
    >>> tg.grad(lambda p: f(p)[0])(np.array([0.5, 0.5])).tolist()
    [3.0, 2.0]
    """

    def __init__(
        self, points: Sequence[ArrayLike], values: ArrayLike, method: str = "linear", bounds_error: bool = True,
        fill_value: ArrayLike | None = np.nan, *, solver: Any = None, solver_args: Any = None,
    ) -> None:  # fmt: skip
        self.grid, self.values = _checked(tuple(points), values)
        _require_method(method, self.grid)
        self.method, self.bounds_error, self.fill_value = method, bool(bounds_error), fill_value

    def __call__(self, xi: Any, method: str | None = None, *, nu: Sequence[int] | None = None) -> Array:
        """The values (..., ...) at points `xi` (..., d), or a tuple of d arrays of coordinates. A vector is one point, or on a grid of one
        axis as many; of it a vector is made. `nu` has an order for each axis: then the values are those of that derivative of a spline."""
        if method is not None:
            _require_method(method, self.grid)
        method = (method or self.method).removesuffix("_legacy")
        if nu is not None:
            _require_orders(nu, method, len(self.grid))
        found: Array = _values(self, xi, method, nu)
        return found


def _require_method(method: str, grid: Sequence[Any]) -> None:
    degree = {"linear": 1, "nearest": 1, "pchip": 3, **DEGREES}.get(method.removesuffix("_legacy"))
    if degree is None:
        raise ValueError(
            f"RegularGridInterpolator{at(user_source())}: method is 'linear', 'nearest', {', '.join(map(repr, DEGREES))} or 'pchip', got "
            f"{method!r}"
        )
    for i, p in enumerate(grid):
        if type_of(p).shape[0] <= degree:
            raise ShapeError(
                f"RegularGridInterpolator{at(user_source())}: method {method!r} needs {degree + 1} or more places along each axis, got "
                f"{type_of(p)} along axis {i}"
            )


def _require_orders(nu: Sequence[int], method: str, count: int) -> None:
    if method not in DEGREES or len(nu) != count or any([operator.index(order) < 0 for order in nu]):
        raise ValueError(
            f"RegularGridInterpolator{at(user_source())}: nu has {count} orders of derivatives, none below 0, for methods "
            f"{', '.join(map(repr, DEGREES))}; got {nu} for {method!r}. tg.grad of the interpolator has derivatives of all methods"
        )


@public
def _checked(points: tuple[Any, ...], values: Any) -> Any:
    values = as_array(values)
    t = type_of(values)
    if not is_inexact(t.dtype):
        values = astype(values, np.float64)
    if len(points) > len(t.shape):
        raise ShapeError(f"RegularGridInterpolator{at(user_source())}: a grid of {len(points)} axes, but values {t}")
    grid = []
    for i, p in enumerate(points):
        p = astype(as_array(p), np.float64)
        if type_of(p).shape != t.shape[i : i + 1] or type_of(p).shape[0] < 2:
            raise ShapeError(
                f"RegularGridInterpolator{at(user_source())}: {type_of(p)} places along axis {i} of values {t}; there must be two or "
                "more, as many as the axis has"
            )
        places = known(p)
        if places is not None and places[-1] < places[0]:
            p, values, places = np.flip(p), np.flip(values, i), places[::-1]
        if places is not None and not np.all(np.diff(places) > 0):
            raise ValueError(
                f"RegularGridInterpolator{at(user_source())}: the places along axis {i} must ascend or descend"
            )
        grid.append(p)
    return tuple(grid), values


@public
def _values(f: RegularGridInterpolator, xi: Any, method: str, nu: Sequence[int] | None) -> Any:
    count = len(f.grid)
    if isinstance(xi, tuple):
        xi = np.stack(np.broadcast_arrays(*[as_array(part) for part in xi]), axis=-1)
    xi = astype(as_array(xi), np.float64)
    shape = type_of(xi).shape
    if len(shape) == 1 and shape[0] % count == 0:  # one point, or many places along one axis
        shape = (shape[0] // count, count)
    if not shape or shape[-1] != count:
        raise ShapeError(
            f"RegularGridInterpolator{at(user_source())}: points must have {count} coordinates along the last axis, got {type_of(xi)}"
        )
    points = np.reshape(xi, (-1, count))
    whole = type_of(f.values).shape
    rest = (1,) * (len(whole) - count)
    column = lambda v: np.reshape(v, (-1, *rest))
    outside: Any = False
    for i, p in enumerate(f.grid):
        outside = outside | (points[:, i] < p[0]) | (points[:, i] > p[-1])
    if f.bounds_error and (places := known(outside)) is not None and np.any(places):
        raise ValueError(f"RegularGridInterpolator{at(user_source())}: one of the points is out of bounds of the grid")
    if method in DEGREES:
        found = of_splines(f.grid, f.values, points, DEGREES[method], nu or (0,) * count)
    elif method == "pchip":
        found = of_pchips(f.grid, f.values, points)
    else:
        found = _of_corners(f.grid, f.values, points, method, column)
    fill = np.nan if f.bounds_error else f.fill_value
    if fill is not None:
        found = np.where(column(outside), fill, found)
    nan = np.any(np.isnan(points), axis=-1)
    found = np.where(column(nan), np.nan, found)
    return np.reshape(found, (*shape[:-1], *whole[count:]))


def _of_corners(grid: Sequence[Any], values: Any, points: Any, method: str, column: Any) -> Any:
    """From the corners of the cell that a point is in: their mean with weights, or the nearest."""
    count, whole = len(grid), type_of(values).shape
    sides = []  # along each axis, the numbers of the places on both sides of a point, and their weights
    for i, p in enumerate(grid):
        t = points[:, i]
        number = np.clip(np.searchsorted(p, t, side="right") - 1, 0, whole[i] - 2)
        low = take(p, number)
        share = (t - low) / (take(p, number + 1) - low)
        if method == "nearest":
            sides.append([(np.where(share <= 0.5, number, number + 1), None)])
        else:
            sides.append([(number, 1 - share), (number + 1, share)])
    found: Any = 0.0
    flat = np.reshape(values, (math.prod(whole[:count]), *whole[count:]))
    for corner in itertools.product(*sides):
        place, weight = corner[0]
        for i, (number, share) in enumerate(corner[1:], 1):
            place = place * whole[i] + number
            weight = None if share is None else weight * share
        term = take(flat, place, axis=0)
        found = found + (term if weight is None else term * column(weight))
    return found


def _together(data: Any, leaves: Any) -> RegularGridInterpolator:
    found = RegularGridInterpolator.__new__(RegularGridInterpolator)
    found.grid, found.values, found.fill_value = leaves
    found.method, found.bounds_error = data
    return found


register_pytree_node(
    RegularGridInterpolator, lambda f: ((f.grid, f.values, f.fill_value), (f.method, f.bounds_error)), _together
)
