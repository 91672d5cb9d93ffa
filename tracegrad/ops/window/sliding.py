"""Windows as NumPy makes them, which are read and not reduced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.op import Params, Sample, View
from tracegrad.core.symbols import as_index
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.families import implements, linear, normalize_axis, shape_of
from tracegrad.ops.index import scatter_add_op
from tracegrad.typing import Array, ArrayLike


def _sliding(x: Any, axis: int, size: int) -> Any:
    return np.lib.stride_tricks.sliding_window_view(x, size, axis)


def _sliding_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,), axis, size = types, params["axis"], params["size"]
    return ArrayType((*t.shape[:axis], t.shape[axis] - size + 1, *t.shape[axis + 1 :], size), t.dtype)


def places_in_windows(n: int, size: int) -> Any:
    """Which of n elements stands at each place of each window."""
    return np.arange(n - size + 1)[:, None] + np.arange(size)


def _sliding_transpose(ct: Any, x: Any, axis: int, size: int) -> Any:
    shape = shape_of(x)
    params = {"index": (*(":",) * axis, "array"), "shape": shape}
    return bind(scatter_add_op, (np.moveaxis(ct, -1, axis + 1), places_in_windows(shape[axis], size)), params)


def _sliding_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(sliding_windows_op, tuple(inputs), {**params, "axis": params["axis"] + 1})


def _sliding_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3))
    for axis, size in ((0, 1), (0, 3), (1, 2), (1, 3), (1, 0)):
        yield Sample((x,), {"axis": axis, "size": size})


sliding_windows_op = linear(
    "sliding_windows", _sliding, _sliding_transpose, infer=_sliding_type, batch=_sliding_batch, kinds="biufc",
    samples=_sliding_samples, moves=True, view=View(None, _sliding),
)  # fmt: skip


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: ArrayLike, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Array:
    """The windows of a shape at all places of an array, a read-only view: their places along the axes that they slide along, and
    behind all axes the places within a window.

    Args:
        x: an array.
        window_shape: a size, or one for each axis.
        axis: the axes, or one; all, if None. Along one that is named twice windows slide over the windows.
        subok: is not looked at.
        writeable: True is refused where x is traced: elements of windows that overlap are the same.

    Raises:
        ValueError: sizes that are negative, larger than the array or not as many as the axes.

    >>> sliding_window_view(np.arange(4.0), 2).tolist()
    [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    x = as_array(x)
    sizes = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    sizes = tuple([as_index(n) for n in sizes])
    ndim = len(shape_of(x))
    if any([n < 0 for n in sizes]):
        raise ValueError(f"`window_shape` cannot contain negative values: {sizes}")
    if axis is None:
        axes = tuple(range(ndim))
    else:
        given = tuple(axis) if np.iterable(axis) else (axis,)
        axes = tuple([normalize_axis(a, ndim, "sliding_window_view") for a in given])
    if len(axes) != len(sizes):
        raise ValueError(f"sliding_window_view needs a size for each axis: window_shape={window_shape}, axis={axis}")
    if writeable:
        raise ValueError(
            f"sliding_window_view{at(user_source())} of what is traced is read-only; write into the array itself"
        )
    for a, size in zip(axes, sizes, strict=True):
        if size > shape_of(x)[a]:
            raise ValueError(
                f"window shape cannot be larger than input array shape: {size} along axis {a} of {type_of(x)}"
            )
        x = bind(sliding_windows_op, (x,), {"axis": a, "size": size})
    return x
