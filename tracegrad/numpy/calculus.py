"""Differences, integrals, derivatives and values between the samples of a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.trace import as_array
from tracegrad.core.types import is_added, is_inexact, number_kind, type_of
from tracegrad.ops.cumulative import along, along_shape
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, is_tracer, normalize_axes, normalize_axis, of_axis, shape_of
from tracegrad.ops.index import take  # np.take does not see a tracer among the indices
from tracegrad.typing import Array, ArrayLike, Axis


@implements(np.diff)
def diff(a: ArrayLike, n: int = 1, axis: int = -1, prepend: ArrayLike = None, append: ArrayLike = None) -> Array:
    """Differences of neighbours along the axis, `n` times over; of booleans, whether they differ. `prepend` and `append`, numbers
    or arrays, go before and behind the array first.

    >>> diff([1, 4, 9, 16]).tolist(), diff([1, 4, 9, 16], 2).tolist(), diff([1, 4], prepend=0).tolist()
    ([3, 5, 7], [2, 2], [1, 3])
    """
    if n < 0:
        raise ValueError(f"diff: the order n must not be negative, got {n}")
    if n == 0:
        return as_array(a)
    a, axis = of_axis(a, axis, "diff")
    ndim = len(a.shape)
    edges = [
        None if e is None else np.broadcast_to(e, along_shape(a.shape, axis, 1)) if shape_of(as_array(e)) == () else e
        for e in (prepend, append)
    ]
    parts = [part for part in (edges[0], a, edges[1]) if part is not None]
    if len(parts) > 1:
        a = np.concatenate(parts, axis)
    later, earlier = along(axis, ndim, slice(1, None)), along(axis, ndim, slice(None, -1))
    step = np.not_equal if number_kind(a.dtype) == "b" else np.subtract
    for _ in range(n):
        a = step(a[later], a[earlier])
    return a


@implements(np.ediff1d)
def ediff1d(ary: ArrayLike, to_end: ArrayLike = None, to_begin: ArrayLike = None) -> Array:
    """Differences of neighbours of the flattened array, between `to_begin` and `to_end`.

    >>> ediff1d(np.array([3.0, 1.0, 2.0])).tolist()
    [-2.0, 1.0]
    """
    a = np.reshape(as_array(ary), -1)
    ends = [None if e is None else np.reshape(as_array(e), -1) for e in (to_begin, to_end)]
    for name, end in zip(("to_begin", "to_end"), ends, strict=True):
        if end is not None and not np.can_cast(end.dtype, a.dtype, "same_kind"):
            raise DtypeError(f"ediff1d: {name}, {type_of(end)}, does not become {a.dtype}, the dtype of the array")
    ends = [None if e is None else astype(e, a.dtype) for e in ends]
    parts = [part for part in (ends[0], a[1:] - a[:-1], ends[1]) if part is not None]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@implements(np.trapezoid)
def trapezoid(y: ArrayLike, x: ArrayLike = None, dx: ArrayLike = 1.0, axis: int = -1) -> Array:
    """The integral of `y` along the axis by the trapezoidal rule, over the points `x` (a vector, or of the shape of
    `y`) or at spacing `dx`.

    >>> float(trapezoid([0.0, 1.0, 4.0], [0.0, 1.0, 2.0]))
    3.0
    """
    y, axis = of_axis(y, axis, "trapezoid")
    ndim = len(y.shape)
    if x is not None:
        x = as_array(x)
        if len(x.shape) == 1:
            steps = x[1:] - x[:-1]
            dx = np.reshape(steps, along_shape((1,) * ndim, axis, steps.shape[0]))
        else:
            dx = np.diff(x, axis=axis)
    sums = y[along(axis, ndim, slice(1, None))] + y[along(axis, ndim, slice(None, -1))]
    return np.sum(dx * sums / 2.0, axis)


@implements(np.gradient)
def gradient(f: ArrayLike, *varargs: ArrayLike, axis: Axis = None, edge_order: int = 1) -> Array:
    """Derivatives of sampled values along the axes by differences of second order, one-sided at the ends.

    Spacings are numbers, or arrays of coordinates along an axis; one for all axes or one for each. At the ends
    `edge_order`, 1 or 2, is that of the differences. Of one axis it is an array of the shape of `f`, of several a tuple of
    these; integers have float64 derivatives.

    >>> gradient(np.array([0.0, 1.0, 4.0, 9.0]), edge_order=2).tolist()
    [0.0, 2.0, 4.0, 6.0]

    Raises:
        ShapeError: where an axis has fewer than `edge_order` + 1 elements, or coordinates do not fit it.
    """
    f = as_array(f)
    shape = shape_of(f)
    given = range(len(shape)) if axis is None else axis if isinstance(axis, tuple | list) else [axis]
    axes = [normalize_axis(a, len(shape), "gradient") for a in given]
    normalize_axes(tuple(axes), len(shape), "gradient")
    spacings = list(varargs) or [1.0]
    if len(spacings) == 1:
        spacings *= len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(varargs)} spacings for {len(axes)} axes; give none, one, or one for each axis")
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    if not is_inexact(f.dtype):
        f = astype(f, np.float64)
    derivatives = [_gradient_along(f, a, h, edge_order) for a, h in zip(axes, spacings, strict=True)]
    if is_added(f.dtype):  # of which np.gradient does not know that they are floats
        derivatives = [astype(d, np.float64) for d in derivatives]
    return derivatives[0] if len(derivatives) == 1 else tuple(derivatives)


def _gradient_along(f: Any, axis: int, spacing: Any, edge_order: int) -> Any:
    n, ndim = f.shape[axis], len(f.shape)
    if n < edge_order + 1:
        raise ShapeError(
            f"gradient: {type_of(f)} has {n} along axis {axis}; edge_order={edge_order} needs {edge_order + 1}"
        )
    at = [f[along(axis, ndim, slice(k, n - 2 + k))] for k in range(3)] if n > 2 else []
    first = [f[along(axis, ndim, slice(k, k + 1))] for k in range(edge_order + 1)]
    last = [f[along(axis, ndim, slice(n - 1 - k, n - k))] for k in range(edge_order + 1)]
    spacing = as_array(spacing)
    if shape_of(spacing) == ():
        interior = [(at[2] - at[0]) / (2.0 * spacing)] if at else []
        weights = [[-1.0, 1.0], [-1.5, 2.0, -0.5]][edge_order - 1]
        begin = _combined(weights, first) / spacing
        end = -(_combined(weights, last) / spacing)
        return np.concatenate([begin, *interior, end], axis)
    if shape_of(spacing) != (n,):
        raise ShapeError(
            f"gradient: the spacing is {type_of(spacing)}; it must be a number or {n} coordinates for axis {axis}"
        )
    if number_kind(spacing.dtype) in "iu":
        spacing = astype(spacing, np.float64)
    steps = spacing[1:] - spacing[:-1]
    h = np.reshape(steps, along_shape((1,) * ndim, axis, n - 1))
    interior = []
    if at:
        left, right = h[along(axis, ndim, slice(None, -1))], h[along(axis, ndim, slice(1, None))]
        weights = [-right / (left * (left + right)), (right - left) / (left * right), left / (right * (left + right))]
        interior = [_combined(weights, at)]
    ends = []
    # Seen from either end inward: steps of h1, then h2, away from it.
    for points, sign, (i, j) in ((first, 1, (0, 1)), (last, -1, (-1, -2))):
        h1 = steps[i]
        if edge_order == 1:
            ends.append(sign * (points[1] - points[0]) / h1)
        else:
            h2 = steps[j]
            weights = [-(2.0 * h1 + h2) / (h1 * (h1 + h2)), (h1 + h2) / (h1 * h2), -h1 / (h2 * (h1 + h2))]
            ends.append(sign * _combined(weights, points))
    return np.concatenate([ends[0], *interior, ends[1]], axis)


def _combined(weights: Sequence[Any], points: Sequence[Any]) -> Any:
    total = weights[0] * points[0]
    for w, p in zip(weights[1:], points[1:], strict=True):
        total = total + w * p
    return total


@implements(np.interp)
def interp(
    x: ArrayLike,
    xp: ArrayLike,
    fp: ArrayLike,
    left: ArrayLike = None,
    right: ArrayLike = None,
    period: ArrayLike = None,
) -> Array:
    """The piecewise linear function through the points (xp, fp), xp ascending, at `x`.

    Outside it is `left` and `right` (by default the outermost values), or repeats with `period`. Differentiable in `x`,
    where at a corner it is the slope to the right, and in `xp` and `fp`. float64, or complex128 where `fp` is complex.

    >>> float(interp(1.5, [0.0, 1.0, 2.0], [0.0, 1.0, 4.0]))
    2.5

    Raises:
        ShapeError: unless xp and fp are vectors of one length, not empty.
    """
    x, xp, fp = [as_array(v) for v in (x, xp, fp)]
    if "c" in [number_kind(type_of(v).dtype) for v in (x, xp)]:
        raise DtypeError(f"interp: x is {type_of(x)} and xp {type_of(xp)}; complex numbers do not lie on a line")
    complex_values = number_kind(type_of(fp).dtype) == "c"
    x, xp, fp = (
        astype(x, np.float64),
        astype(xp, np.float64),
        astype(fp, np.complex128 if complex_values else np.float64),
    )
    if len(shape_of(xp)) != 1 or shape_of(xp) != shape_of(fp) or xp.shape[0] == 0:
        raise ShapeError(
            f"interp: xp is {type_of(xp)} and fp {type_of(fp)}; they must be vectors of one length, not empty"
        )
    if period is not None:
        if not is_tracer(period) and period == 0:
            raise ValueError("interp: the period must not be zero")
        period = np.abs(period)
        left = right = None
        x, xp = np.remainder(x, period), np.remainder(xp, period)
        order = np.argsort(xp)
        xp, fp = take(xp, order), take(fp, order)
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    n = xp.shape[0]
    if n == 1:
        value = np.broadcast_to(fp, (*shape_of(x), 1))[..., 0]
    else:
        i = np.minimum(np.maximum(np.searchsorted(xp, x, "right"), 1), n - 1)
        x0, f0 = take(xp, i - 1), take(fp, i - 1)
        width = take(xp, i) - x0
        none = np.equal(width, 0)
        value = f0 + np.where(none, 0, x - x0) / np.where(none, 1, width) * (take(fp, i) - f0)
    value = np.where(np.less(x, xp[0]), fp[0] if left is None else left, value)
    value = np.where(np.greater(x, xp[-1]), fp[-1] if right is None else right, value)
    return np.where(np.isnan(x), x, value)
