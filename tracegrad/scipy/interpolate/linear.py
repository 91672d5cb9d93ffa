"""`interp1d`: samples, and what lies between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.boxes import public
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.scipy.interpolate.bsplines import make_interp_spline
from tracegrad.scipy.interpolate.piecewise import CubicSpline, known, numbered, samples
from tracegrad.tree import register_pytree_node
from tracegrad.typing import Array, ArrayLike

KINDS = ("linear", "slinear", "nearest", "nearest-up", "zero", "previous", "next", "quadratic", "cubic")


class interp1d:
    """`scipy.interpolate.interp1d`: a function through samples `y` at `x`, with derivatives in both and in the points. A node of trees.

    Args:
        x: the places (n,), in any order; ascending with `assume_sorted`.
        y: samples along `axis`, the last one by default.
        kind: "linear", "nearest", "nearest-up", "previous", "next", "zero", "quadratic" or "cubic" (not-a-knot).
        copy: of no effect.
        bounds_error: whether points outside raise. Where only types are known they get NaN. None: unless "extrapolate" is asked.
        fill_value: what they get otherwise; a pair for those below and above, or "extrapolate".
        assume_sorted: whether `x` ascends.

    Raises:
        ShapeError: sizes that do not fit; fewer samples than a spline needs.
        UnsupportedFunctionError: another kind.
        ValueError: a point outside.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda y: tg.scipy.interpolate.interp1d(np.array([0.0, 1.0, 3.0]), y)(1.5)
    >>> tg.grad(f)(np.array([1.0, 2.0, 4.0])).tolist()
    [0.0, 0.75, 0.25]
    """

    def __init__(
        self, x: ArrayLike, y: ArrayLike, kind: str = "linear", axis: int = -1, copy: bool = True,
        bounds_error: bool | None = None, fill_value: Any = np.nan, assume_sorted: bool = False,
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise UnsupportedFunctionError(
                f"interp1d{at(user_source())} of kind {kind!r} is not traced.\n  There are {', '.join(KINDS)}; "
                "make_interp_spline has splines of other degrees."
            )
        self.x, self.y, self.axis = _sorted(x, y, axis, assume_sorted)
        count, needed = type_of(self.x).shape[0], {"quadratic": 3, "cubic": 4}.get(kind, 2)
        if count < needed:
            raise ShapeError(
                f"interp1d{at(user_source())} of kind {kind!r} needs {needed} or more samples, got {count}"
            )
        self.kind = kind
        self.extrapolates = isinstance(fill_value, str)
        self.bounds_error = not self.extrapolates if bounds_error is None else bool(bounds_error)
        self.fill: Any = fill_value if isinstance(fill_value, tuple) else (fill_value, fill_value)
        if self.extrapolates:
            self.fill = (np.nan, np.nan)

    def __call__(self, x: ArrayLike) -> Array:
        """The values at points of any shape; NaN at NaN (where SciPy's "nearest" and its kin have the last sample)."""
        found: Array = _between(self, x)
        return found


@public
def _sorted(x: Any, y: Any, axis: int, assume_sorted: bool) -> Any:
    x = as_array(x)
    shape = type_of(y := as_array(y)).shape
    if not assume_sorted and len(type_of(x).shape) == 1 and shape and shape[axis] == type_of(x).shape[0]:
        places = known(x)
        order = np.argsort(x if places is None else places, kind="stable")
        if places is None or np.any(np.diff(order) < 0):
            x, y = take(x, order), take(y, order, axis=axis)
    return samples(x, y, axis, "interp1d")


@public
def _between(f: interp1d, points: Any) -> Any:
    t = astype(as_array(points), np.float64)
    x, y = f.x, f.y
    low, high = t < x[0], t > x[-1]
    if f.bounds_error:
        outside = [known(low), known(high)]
        if outside[0] is not None and np.any(outside[0] | outside[1]):
            side = "below" if np.any(outside[0]) else "above"
            raise ValueError(f"interp1d{at(user_source())}: a point is {side} the interpolation range")
    count, rest = type_of(x).shape[0], (1,) * (len(type_of(y).shape) - 1)
    column = lambda v: np.reshape(v, (*type_of(t).shape, *rest))
    if f.kind == "cubic":
        found = CubicSpline(x, y)(t)
    elif f.kind == "quadratic":
        found = make_interp_spline(x, y, 2)(t)
    elif f.kind in ("linear", "slinear"):
        i = np.clip(np.searchsorted(x, t), 1, count - 1)
        x0, y0 = take(x, i - 1), take(y, i - 1, axis=0)
        slope = (take(y, i, axis=0) - y0) / column(take(x, i) - x0)
        found = slope * column(t - x0) + y0
    else:
        found = take(y, _index(f.kind, x, t, count), axis=0)
    below, above = low | np.isnan(t), high
    if f.extrapolates:  # where there is no previous or next sample, there is nothing to go on with
        below = (low & (f.kind in ("previous", "zero"))) | np.isnan(t)
        above = high & (f.kind == "next")
    found = np.where(column(below), np.where(column(np.isnan(t)), np.nan, f.fill[0]), found)
    found = np.where(column(above), f.fill[1], found)
    return np.transpose(found, numbered(type_of(found).shape, f.axis, len(type_of(t).shape))) if f.axis else found


def _index(kind: str, x: Any, t: Any, count: int) -> Any:
    if kind in ("previous", "zero"):
        i = np.searchsorted(x, t, side="right") - 1
    elif kind == "next":
        i = np.searchsorted(x, t)
    else:
        halves = x / 2.0
        i = np.searchsorted(halves[1:] + halves[:-1], t, side="left" if kind == "nearest" else "right")
    return np.clip(i, 0, count - 1)


def _together(data: Any, leaves: Any) -> interp1d:
    found = interp1d.__new__(interp1d)
    found.x, found.y, found.fill = leaves
    found.kind, found.axis, found.bounds_error, found.extrapolates = data
    return found


register_pytree_node(
    interp1d, lambda f: ((f.x, f.y, f.fill), (f.kind, f.axis, f.bounds_error, f.extrapolates)), _together
)
