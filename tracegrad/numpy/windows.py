"""Windows: those of signals whose shape depends on a number (Kaiser's, by the Bessel function i0), and those that slide over arrays."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, unsupported, user_source
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.ops.rearrange import windows_op
from tracegrad.ops.special_functions import bessel_i
from tracegrad.typing import Array, ArrayLike, Axis


@implements(np.i0)
def i0(x: ArrayLike) -> Array:
    """The modified Bessel function of the first kind of order 0, of real numbers. Its derivative is that of order 1.

    >>> i0(np.array([0.0, 1.0])).round(6).tolist()
    [1.0, 1.266066]
    """
    x = as_array(x)
    return bessel_i(x if number_kind(type_of(x).dtype) in "fc" else astype(x, float), 0)


@implements(np.kaiser)
def kaiser(M: int, beta: ArrayLike) -> Array:
    """Kaiser's window of `M` points, differentiable in the number `beta`, which says how fast it falls.

    >>> kaiser(3, 2.0).round(4).tolist()
    [0.4387, 1.0, 0.4387]
    """
    count = operator.index(M)
    if count <= 1:
        return np.ones(max(count, 0))
    half = (count - 1) / 2
    inside = np.sqrt(1 - ((np.arange(count) - half) / half) ** 2)
    return i0(beta * inside) / i0(beta)


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: ArrayLike,
    window_shape: int | tuple[int, ...],
    axis: Axis = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Array:
    """All windows of this shape: where they begin along the axes of `x`, then the windows' own axes, one for each of `axis`.

    >>> sliding_window_view(np.array([1, 2, 3, 4]), 3).tolist()
    [[1, 2, 3], [2, 3, 4]]

    Raises:
        ValueError: where there is not one size for each axis, or one is larger than the array.
        UnsupportedFunctionError: for windows to be written through.
    """
    if writeable:
        raise unsupported(np.lib.stride_tricks.sliding_window_view, " with writeable=True")
    a: Any = as_array(x)
    ndim = len(shape_of(a))
    sizes = window_shape if isinstance(window_shape, tuple | list) else (window_shape,)
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    if len(sizes) != len(axes):
        raise ShapeError(
            f"sliding_window_view{at(user_source())}: {len(sizes)} sizes of windows for {len(axes)} axes of {type_of(a)}"
        )
    for size, i in zip(map(operator.index, sizes), axes, strict=True):
        i = normalize_axis(i, ndim, "sliding_window_view")
        if size < 0 or size > a.shape[i]:
            raise ShapeError(
                f"sliding_window_view{at(user_source())}: no window of {size} along axis {i} of {type_of(a)}"
            )
        a = bind(windows_op, (a,), {"size": size, "axis": i})
    return a
