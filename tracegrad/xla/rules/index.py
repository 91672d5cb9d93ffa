"""Ops that read and write parts of arrays: at places that are known, at computed ones, and in windows.

Ints and slices of an index cut a block out of an array, in which ints leave axes of size 1. Arrays then gather from that. What
is out of range is moved into it where it is read, and left out where it is written, as in jax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, Shape, is_added, number_kind
from tracegrad.ops.index.expression import Index, from_front, is_joined, region, region_of, slice_of
from tracegrad.ops.index.gathers import are_distinct
from tracegrad.ops.rearrange import diagonal_index
from tracegrad.xla.values import alike, broadcast_to, cast, is_split, select, split_along

# ---------------------------------------------------------------------------------------------------------------------
# Blocks.


class _Block(NamedTuple):
    """What an index cuts out before arrays are looked at.

    start, stop, step   one for each axis
    shape               the block's
    turned              axes along which it is reversed, once cut
    cut                 whether it is less than all of the array
    ints                axes that go
    kept                how many axes stay in front of all arrays and ints
    """

    start: Shape
    stop: Shape
    step: Shape
    shape: Shape
    turned: tuple[int, ...]
    cut: bool
    ints: tuple[int, ...]
    kept: int


@lru_cache(maxsize=4096)
def _block(shape: Shape, index: Index) -> _Block:
    start, stop, step = [0] * len(shape), list(shape), [1] * len(shape)
    turned, ints = [], []
    kept = -1
    axis = 0
    for e in index:
        if e is None or e == "...":
            continue
        if type(e) is int:
            ints.append(axis)
            start[axis], stop[axis] = e, e + 1
        elif e != "array":
            places = range(*slice_of(e).indices(shape[axis]))
            if not places:
                stop[axis] = 0
            elif places.step > 0:
                start[axis], stop[axis], step[axis] = places.start, places[-1] + 1, places.step
            else:
                turned.append(axis)
                start[axis], stop[axis], step[axis] = places[-1], places[0] + 1, -places.step
        if kept < 0 and is_joined(e):
            kept = axis
        axis += 1
    block = tuple([-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True)])
    return _Block(
        tuple(start), tuple(stop), tuple(step), block, tuple(turned), block != shape, tuple(ints), max(kept, 0)
    )


def _cut(x: Any, block: _Block) -> Any:
    if block.cut:
        x = lax.slice(x, block.start, block.stop, None if set(block.step) == {1} else block.step)
    return lax.rev(x, block.turned) if block.turned else x


def _pasted(x: Any, block: _Block, shape: Shape) -> Any:
    """Zeros of this shape, with the block in its place."""
    if block.turned:
        x = lax.rev(x, block.turned)
    if not block.cut:
        return x
    pads = [
        (a, n - (a + (m - 1) * s + 1), s - 1) if m else (0, n, 0)
        for a, s, m, n in zip(block.start, block.step, block.shape, shape, strict=True)
    ]
    return lax.pad(x, x.dtype.type(0), pads)


def _written(x: Any, v: Any, block: _Block) -> Any:
    """`x` with the block in its place."""
    if block.turned:
        v = lax.rev(v, block.turned)
    if not block.cut:
        return v
    if set(block.step) == {1}:
        return lax.dynamic_update_slice(x, v, block.start, allow_negative_indices=False)
    turned_back = block._replace(turned=())
    written = _pasted(broadcast_to(np.True_, block.shape), turned_back, x.shape)
    return select(written, _pasted(v, turned_back, x.shape), x)


# ---------------------------------------------------------------------------------------------------------------------
# Places.


def _from_front(a: Any, size: int, dtype: np.dtype[Any]) -> Any:
    """Traced indices counted from the front, in a dtype that holds the size: int8 would not hold 128. An index that this
    dtype does not hold stays out of range, and on the same side."""
    own = a.dtype
    unsigned = own.kind == "u"
    if not np.can_cast(own, dtype):
        a = lax.clamp(own.type(0 if unsigned else -size - 1), a, own.type(size))
    a = cast(a, dtype)
    return a if unsigned else select(lax.lt(a, dtype.type(0)), lax.add(a, dtype.type(size)), a)


def _clamped(starts: Sequence[Any], shape: Shape, sizes: Shape) -> list[Any]:
    """Where a window of these sizes begins, from starts counted from the front: moved until it lies within the array. XLA's
    own dynamic_slice moves it too, but forgets that where it makes one slice of a slice of a slice."""
    return [
        lax.clamp(s.dtype.type(0), s, s.dtype.type(n - w))
        if isinstance(s, jax.Array)
        else s.dtype.type(min(max(int(s), 0), n - w))
        for s, n, w in zip(starts, shape, sizes, strict=True)
    ]


def _all_from_front(arrays: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    dtype = np.dtype(np.int32 if max(sizes) < 2**31 else np.int64)
    return [
        _from_front(a, n, dtype) if isinstance(a, jax.Array) else from_front(np.asarray(a), n).astype(dtype)
        for a, n in zip(arrays, sizes, strict=True)
    ]


def _columns(arrays: Sequence[Any], sizes: Sequence[int]) -> Any:
    """The index arrays for axes of these sizes, counted from the front, side by side along a new last axis."""
    columns = _all_from_front(arrays, sizes)
    if not any([isinstance(a, jax.Array) for a in columns]):
        return np.stack(np.broadcast_arrays(*columns), -1)
    joint = np.broadcast_shapes(*[np.shape(a) for a in columns])
    columns = [lax.expand_dims(broadcast_to(a, joint), (len(joint),)) for a in columns]
    return columns[0] if len(columns) == 1 else lax.concatenate(columns, len(joint))


class _Windows(NamedTuple):
    """How arrays gather from a block: the axes that they index and those that go, the sizes of a window and where its
    axes stand in the region without new axes; the shape of that."""

    block: _Block
    axes: tuple[int, ...]
    gone: tuple[int, ...]
    sizes: Shape
    offsets: tuple[int, ...]
    shape: Shape


@lru_cache(maxsize=4096)
def _windows(shape: Shape, index: Index, arrays: tuple[Shape, ...]) -> _Windows:
    found, block = region(shape, index, arrays), _block(shape, index)
    gone = tuple(sorted({*found.axes, *block.ints}))
    first = 0 if found.apart else block.kept
    kept = [n for axis, n in enumerate(block.shape) if axis not in gone]
    joint = found.shape[found.first : found.first + found.count]
    offsets = tuple([i if i < first else i + found.count for i in range(len(kept))])
    sizes = tuple([1 if axis in gone else n for axis, n in enumerate(block.shape)])
    return _Windows(block, found.axes, gone, sizes, offsets, (*kept[:first], *joint, *kept[first:]))


def _windows_of(shape: Shape, index: Index, arrays: Sequence[Any]) -> _Windows:
    return _windows(shape, index, tuple([np.shape(a) for a in arrays]))


def _starts(arrays: Sequence[Any], windows: _Windows, shape: Shape) -> list[Any] | None:
    """Where the one window begins; None if there may be others."""
    if any([np.shape(a) for a in arrays]):
        return None
    given = dict(zip(windows.axes, _all_from_front(arrays, [shape[axis] for axis in windows.axes]), strict=True))
    zero = next(iter(given.values())).dtype.type(0)
    return _clamped([given.get(axis, zero) for axis in range(len(shape))], windows.block.shape, windows.sizes)


class _Rows(NamedTuple):
    """Index arrays that count the places along an axis, 0, 1, ... in an axis of their own, as all but one do in
    take_along_axis: row by row the others index within the row. Which arrays these are; their axes of the block; and their
    own among those of all arrays together."""

    which: tuple[int, ...]
    axes: tuple[int, ...]
    along: tuple[int, ...]


def _rows(arrays: Sequence[Any], windows: _Windows) -> _Rows:
    joint = np.broadcast_shapes(*[np.shape(a) for a in arrays])
    found: dict[int, tuple[int, int]] = {}
    for k, (a, axis) in enumerate(zip(arrays, windows.axes, strict=True)):
        size = windows.block.shape[axis]
        along = [len(joint) - np.ndim(a) + i for i, n in enumerate(np.shape(a)) if n != 1]
        if isinstance(a, np.ndarray) and len(along) == 1 and np.array_equal(a.ravel(), np.arange(size)):
            found.setdefault(along[0], (axis, k))
    if len(found) == len(arrays):  # then one of them is what indexes
        found.popitem()
    rows = sorted([(axis, k, along) for along, (axis, k) in found.items()])
    return _Rows(*[tuple([row[i] for row in rows]) for i in (1, 0, 2)])


def _within_rows(
    x: Any, arrays: Sequence[Any], sizes: Sequence[int], windows: _Windows, make: Callable[..., Any]
) -> tuple[Any, Any, Any]:
    """The block and the places for a gather or a scatter that is split over a mesh, along which jax takes it apart where it
    is told that each row has places of its own; and the numbers, by `make`."""
    rows = _rows(arrays, windows)
    others = [k for k in range(len(arrays)) if k not in rows.which]
    joint = np.broadcast_shapes(*[np.shape(a) for a in arrays])
    columns = _all_from_front([arrays[k] for k in others], [sizes[k] for k in others])
    columns = [lax.expand_dims(broadcast_to(a, joint), (len(joint),)) for a in columns]
    places = lax.concatenate(alike(columns), len(joint))
    x, places = split_along(x, places, list(zip(rows.axes, rows.along, strict=True)))
    gone = tuple([axis for axis in windows.gone if axis not in rows.axes])
    return x, places, make(windows.offsets, gone, tuple([windows.axes[k] for k in others]), rows.axes, rows.along)


def _is_on_mesh(*values: Any) -> bool:
    return any([isinstance(x, jax.Array) and is_split(x) for x in values])


def _scatter_numbers(windows: _Windows) -> Any:
    return lax.ScatterDimensionNumbers(windows.offsets, windows.gone, windows.axes)


# ---------------------------------------------------------------------------------------------------------------------
# The ops of ops/index.


@lowers("slice")
def _slice(out: ArrayType, x: Any, *, index: Index) -> Any:
    block = _block(np.shape(x), index)
    x = _cut(x, block)
    if None in index:
        return lax.reshape(x, out.shape)
    return lax.squeeze(x, block.ints) if block.ints else x


@lowers("unslice")
def _unslice(out: ArrayType, x: Any, *, index: Index, shape: Shape) -> Any:
    block = _block(shape, index)
    x = cast(x, out.dtype)
    return _pasted(x if x.shape == block.shape else lax.reshape(x, block.shape), block, shape)


@lowers("diagonal")
def _diagonal(out: ArrayType, x: Any, *, k: int) -> Any:
    *rest, n, m = x.shape
    return _slice(out, lax.reshape(x, (*rest, n * m)), index=diagonal_index(x.shape, k))


@lowers("gather")
def _gather(out: ArrayType, x: Any, *arrays: Any, index: Index) -> Any:
    windows = _windows_of(x.shape, index, arrays)
    block = _cut(x, windows.block)
    starts = _starts(arrays, windows, x.shape)
    if starts is not None:
        window = lax.dynamic_slice(block, starts, windows.sizes, allow_negative_indices=False)
        found = lax.squeeze(window, windows.gone)
    else:
        sizes = [x.shape[axis] for axis in windows.axes]
        if _is_on_mesh(block, *arrays):
            block, places, numbers = _within_rows(block, arrays, sizes, windows, lax.GatherDimensionNumbers)
        else:
            numbers = lax.GatherDimensionNumbers(windows.offsets, windows.gone, windows.axes)
            places = _columns(arrays, sizes)
        found = lax.gather(block, places, numbers, windows.sizes, mode=lax.GatherScatterMode.CLIP)
    return found if found.shape == out.shape else lax.reshape(found, out.shape)


@lowers("scatter_add")
def _scatter_add(out: ArrayType, x: Any, *arrays: Any, index: Index, shape: Shape) -> Any:
    windows = _windows_of(shape, index, arrays)
    dtype = np.dtype(np.float32) if is_added(out.dtype) else out.dtype
    x = cast(x, dtype)
    zeros = broadcast_to(dtype.type(0), windows.block.shape)
    starts = _starts(arrays, windows, shape)
    if starts is not None:
        x = lax.reshape(x, windows.sizes)
        total = lax.dynamic_update_slice(zeros, x, starts, allow_negative_indices=False)
    else:
        x = x if x.shape == windows.shape else lax.reshape(x, windows.shape)
        add = lax.scatter_max if number_kind(out.dtype) == "b" else lax.scatter_add
        sizes = [shape[axis] for axis in windows.axes]
        if _is_on_mesh(x, *arrays):
            kept = [axis for axis in range(len(shape)) if axis not in windows.gone]
            zeros, x = split_along(zeros, x, list(zip(kept, windows.offsets, strict=True)))
            zeros, places, numbers = _within_rows(zeros, arrays, sizes, windows, lax.ScatterDimensionNumbers)
        else:
            places, numbers = _columns(arrays, sizes), _scatter_numbers(windows)
        total = add(zeros, places, x, numbers)
    return _pasted(cast(total, out.dtype), windows.block, shape)


@lowers("last_writes")
def _last_writes(out: ArrayType, *arrays: Any, sizes: Shape) -> Any:
    return _lasting(_columns(arrays, sizes), sizes)


def _lasting(places: Any, sizes: Sequence[int]) -> Any:
    joint, count = np.shape(places)[:-1], len(sizes)
    order = lax.reshape(lax.iota(np.int32, math.prod(joint)), joint)
    to = lax.ScatterDimensionNumbers((), tuple(range(count)), tuple(range(count)))
    writer = lax.scatter_max(broadcast_to(np.int32(0), tuple(sizes)), places, order, to)
    of = lax.GatherDimensionNumbers((), tuple(range(count)), tuple(range(count)))
    return lax.eq(lax.gather(writer, places, of, (1,) * count, mode=lax.GatherScatterMode.CLIP), order)


@lowers("scatter")
def _scatter(out: ArrayType, x: Any, v: Any, *arrays: Any, index: Index) -> Any:
    found = region_of(out.shape, arrays, index)
    v = broadcast_to(cast(v, out.dtype), found.shape)
    if not arrays:
        block = _block(out.shape, index)
        return _written(x, v if v.shape == block.shape else lax.reshape(v, block.shape), block)
    windows = _windows_of(out.shape, index, arrays)
    part = _cut(x, windows.block)
    starts = _starts(arrays, windows, out.shape)
    if starts is not None:
        v = lax.reshape(v, windows.sizes)
        written = lax.dynamic_update_slice(part, v, starts, allow_negative_indices=False)
    else:
        sizes = [out.shape[axis] for axis in windows.axes]
        v = v if v.shape == windows.shape else lax.reshape(v, windows.shape)
        written = _scattered(part, v, _columns(arrays, sizes), sizes, _scatter_numbers(windows))
    return _written(x, written, windows.block)


def _scattered(x: Any, v: Any, places: Any, sizes: Sequence[int], numbers: Any) -> Any:
    """XLA says nothing of the order of writes. On CPUs it is NumPy's; elsewhere only the last ones may be let through."""
    if isinstance(places, np.ndarray):
        flat = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), tuple(sizes), mode="clip")
        if are_distinct(flat, math.prod(sizes)):
            return lax.scatter(x, places, v, numbers, unique_indices=True)
    if jax.default_backend() != "cpu":
        last = _lasting(places, sizes)
        nowhere = broadcast_to(places.dtype.type(max(sizes)), places.shape)
        places = select(lax.broadcast_in_dim(last, places.shape, tuple(range(last.ndim))), places, nowhere)
    return lax.scatter(x, places, v, numbers)


# ---------------------------------------------------------------------------------------------------------------------
# Those of ops/gather.py and ops/dynamic.py.


def _extreme_at(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(out: ArrayType, x: Any, v: Any, *arrays: Any) -> Any:
        axes = tuple(range(len(arrays)))
        places = _columns(arrays, out.shape[: len(axes)])
        joint = np.ndim(places) - 1
        windows = tuple(range(joint, joint + len(out.shape) - len(axes)))
        return function(x, places, cast(v, out.dtype), lax.ScatterDimensionNumbers(windows, axes, axes))

    return rule


lowers("scatter_max")(_extreme_at(lax.scatter_max))
lowers("scatter_min")(_extreme_at(lax.scatter_min))


def _window_starts(starts: Sequence[Any], shape: Shape, sizes: Shape) -> list[Any]:
    """The starts counted from the front, in one dtype, of a window that lies within the array."""
    traced = [s.dtype for s in starts if isinstance(s, jax.Array)]
    short = max(shape, default=0) < 2**31 and all([np.can_cast(t, np.int32) for t in traced])
    dtype = np.dtype(np.int32 if short else np.int64)
    counted = [
        _from_front(s, n, dtype)
        if isinstance(s, jax.Array)
        else dtype.type(min(max(int(s) + n if s < 0 else int(s), 0), n))
        for s, n in zip(starts, shape, strict=True)
    ]
    return _clamped(counted, shape, sizes)


@lowers("dynamic_slice")
def _dynamic_slice(out: ArrayType, x: Any, *starts: Any, slice_sizes: Shape) -> Any:
    places = _window_starts(starts, x.shape, slice_sizes)
    return lax.dynamic_slice(x, places, slice_sizes, allow_negative_indices=False)


@lowers("dynamic_unslice")
def _dynamic_unslice(out: ArrayType, x: Any, *starts: Any, shape: Shape) -> Any:
    return _dynamic_update_slice(out, broadcast_to(out.dtype.type(0), shape), x, *starts)


@lowers("dynamic_update_slice")
def _dynamic_update_slice(out: ArrayType, x: Any, v: Any, *starts: Any) -> Any:
    places = _window_starts(starts, out.shape, v.shape)
    return lax.dynamic_update_slice(x, cast(v, out.dtype), places, allow_negative_indices=False)
