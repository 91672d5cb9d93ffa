"""Means and extrema of what lies in a window around each element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.index import take
from tracegrad.scipy.calling import of_scipy
from tracegrad.scipy.ndimage.boundaries import (
    as_output,
    checked_axes,
    computed,
    continued,
    for_each_axis,
    known_mode,
    output_dtype,
)
from tracegrad.scipy.ndimage.filters import around, summed
from tracegrad.typing import Array, ArrayLike

ndimage = of_scipy("scipy.ndimage")


@ndimage
def uniform_filter1d(
    input: ArrayLike,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: ArrayLike = 0.0,
    origin: int = 0,
) -> Array:
    """The mean of `size` elements around each along `axis`.

    >>> uniform_filter1d(np.array([1.0, 2.0, 6.0]), 3).round(9).tolist()
    [1.333333333, 3.0, 4.666666667]
    """
    x = computed(input)
    ones = np.ones(int(size), np.zeros((), x.dtype).real.dtype)
    dtype = output_dtype("uniform_filter1d", output, as_array(input))
    return as_output(summed(x, ones, axis, mode, cval, origin) / int(size), dtype)


def _separately(
    name: str, one: Callable[..., Any], x: Any, size: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Any:
    x = as_array(x)
    axes = checked_axes(axes, len(x.shape))
    each = [for_each_axis(v, len(axes), n) for v, n in ((size, "size"), (mode, "mode"), (origin, "origin"))]
    dtype = output_dtype(name, output, x)
    for axis, n, m, o in zip(axes, *each, strict=True):
        if n > 1:
            x = one(x, int(n), axis, dtype, m, cval, o)
    return as_output(x, dtype)


@ndimage
def uniform_filter(
    input: ArrayLike,
    size: Any = 3,
    output: Any = None,
    mode: Any = "reflect",
    cval: ArrayLike = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """The mean of a box around each element: `size`, `mode` and `origin` are one for all axes (or `axes`) or one for each.

    >>> uniform_filter(np.ones((2, 2))).round(9).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return _separately("uniform_filter", uniform_filter1d, input, size, output, mode, cval, origin, axes)


def _extremum(
    name: str,
    which: Callable[..., Any],
    input: Any,
    size: int,
    axis: int,
    output: Any,
    mode: Any,
    cval: Any,
    origin: int,
) -> Any:
    x = as_array(input)
    if number_kind(x.dtype) == "c":
        raise DtypeError(f"{name}{at(user_source())}: complex numbers have no order, got {type_of(x)}")
    moved = np.moveaxis(x, axis, -1)
    pads = [(0, 0)] * (len(x.shape) - 1) + [around(int(size), origin)]
    places = np.arange(moved.shape[-1])[:, None] + np.arange(int(size))
    found = which(take(continued(moved, pads, known_mode(mode), cval), places, -1), axis=-1)
    return as_output(np.moveaxis(found, -1, axis), output_dtype(name, output, x))


def _extremum_of(
    name: str, which: Callable[..., Any], input: Any, size: Any, footprint: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Any:  # fmt: skip
    x = as_array(input)
    chosen = checked_axes(axes, len(x.shape))
    if footprint is None:
        if size is None:
            raise ValueError(f"{name}: give it a size or a footprint")
        one = lambda x, n, axis, dtype, m, c, o: _extremum(name, which, x, n, axis, dtype, m, c, o)
        return _separately(name, one, x, size, output, mode, cval, origin, axes)
    foot = np.asarray(footprint, bool)
    if foot.ndim != len(chosen) or not foot.any():
        raise ShapeError(
            f"{name}{at(user_source())}: the footprint must have an axis for each of {len(chosen)} and hold somewhere, got "
            f"{type_of(foot)}"
        )
    if foot.all():
        return _extremum_of(name, which, x, foot.shape, None, output, mode, cval, origin, axes)
    if number_kind(x.dtype) == "c":
        raise DtypeError(f"{name}{at(user_source())}: complex numbers have no order, got {type_of(x)}")
    pads, origins = [(0, 0)] * len(x.shape), for_each_axis(origin, len(chosen), "origin")
    sizes = dict(zip(sorted(chosen), foot.shape, strict=True))  # SciPy's: its axes are in the input's order
    for axis, o in zip(chosen, origins, strict=True):
        pads[axis] = around(sizes[axis], o)
    wide = continued(x, pads, known_mode(mode), cval)
    views = []
    for place in np.argwhere(foot).tolist():
        start = dict(zip(sorted(chosen), place, strict=True))
        views.append(wide[tuple([slice(start.get(i, 0), start.get(i, 0) + n) for i, n in enumerate(x.shape)])])
    return as_output(which(np.stack(views), axis=0), output_dtype(name, output, x))


@ndimage
def maximum_filter1d(
    input: ArrayLike, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: ArrayLike = 0.0, origin: int = 0
) -> Array:  # fmt: skip
    """The largest of `size` elements around each along `axis`. The derivative is shared by those that are equal.

    >>> maximum_filter1d(np.array([1.0, 2.0, 0.0]), 3).tolist()
    [2.0, 2.0, 2.0]
    """
    return _extremum("maximum_filter1d", np.max, input, size, axis, output, mode, cval, origin)


@ndimage
def minimum_filter1d(
    input: ArrayLike, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: ArrayLike = 0.0, origin: int = 0
) -> Array:  # fmt: skip
    """The smallest of `size` elements around each along `axis`. The derivative is shared by those that are equal.

    >>> minimum_filter1d(np.array([1.0, 2.0, 0.0]), 3).tolist()
    [1.0, 0.0, 0.0]
    """
    return _extremum("minimum_filter1d", np.min, input, size, axis, output, mode, cval, origin)


@ndimage
def maximum_filter(
    input: ArrayLike,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: ArrayLike = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """The largest of what lies around each element: a box of this `size`, or the elements where `footprint`, a plain array of truth values, holds.

    >>> maximum_filter(np.eye(3), footprint=[[0, 1, 0], [1, 0, 1], [0, 1, 0]], mode="constant").tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    return _extremum_of("maximum_filter", np.max, input, size, footprint, output, mode, cval, origin, axes)


@ndimage
def minimum_filter(
    input: ArrayLike,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: ArrayLike = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """The smallest of what lies around each element: a box of this `size`, or the elements where `footprint` holds.

    >>> minimum_filter(np.eye(2), size=(1, 2), mode="nearest").tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    return _extremum_of("minimum_filter", np.min, input, size, footprint, output, mode, cval, origin, axes)
