"""New arrays; other shapes for old ones; padding; slices at fixed places, and at computed ones along one axis."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import concrete
from tracegrad.core.types import type_of
from tracegrad.lax.elementwise import dtype_of, fails
from tracegrad.numpy import creation
from tracegrad.ops.dynamic import dynamic_slice, dynamic_update_slice
from tracegrad.ops.families import normalize_axis, shape_of
from tracegrad.ops.index import at as place
from tracegrad.ops.join import unstack as unstack_of
from tracegrad.typing import Array, ArrayLike, DType, Shape

# ---------------------------------------------------------------------------------------------------------------------
# New arrays.


def iota(dtype: DType, size: int) -> Array:
    """0, 1, ..., size - 1 in this dtype.

    >>> iota(np.int32, 3).tolist()
    [0, 1, 2]
    """
    return np.arange(size, dtype=dtype)


def broadcasted_iota(dtype: DType, shape: Sequence[int], dimension: int) -> Array:
    """An array of this shape that counts along one axis.

    >>> broadcasted_iota(int, (2, 3), 0).tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    axis = normalize_axis(dimension, len(shape), "broadcasted_iota")
    return np.indices(tuple(shape), dtype=dtype, sparse=True)[axis] + np.zeros(tuple(shape), dtype)


def full(shape: Shape, fill_value: ArrayLike, dtype: DType = None) -> Array:
    """An array of this shape filled with a scalar, in its dtype or the one given.

    >>> full((2,), 7.0).tolist()
    [7.0, 7.0]
    """
    if shape_of(as_array(fill_value)):
        raise fails("full", f"fill_value must be a scalar, got {type_of(as_array(fill_value))}; write np.broadcast_to")
    return creation.full(shape, fill_value, dtype)


def full_like(x: ArrayLike, fill_value: ArrayLike, dtype: DType = None, shape: Shape | None = None) -> Array:
    """`full` of the shape and dtype of `x`, where none is given.

    >>> full_like(np.array([3.0, 1.0, 2.0]), 7).tolist()
    [7.0, 7.0, 7.0]
    """
    return creation.full_like(as_array(x), fill_value, dtype, shape=shape)


def empty(shape: Shape, dtype: DType) -> Array:
    """An array of this shape and dtype with any values: with zeros.

    >>> empty((2, 3), np.float32).shape
    (2, 3)
    """
    return np.zeros(shape, dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Shapes.


def broadcast(operand: ArrayLike, sizes: Sequence[int]) -> Array:
    """`operand` repeated along new leading axes of these sizes.

    >>> broadcast(np.ones(3), (2,)).shape
    (2, 3)
    """
    x = as_array(operand)
    return np.broadcast_to(x, (*sizes, *shape_of(x)))


def broadcast_in_dim(operand: ArrayLike, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Array:
    """`operand` repeated to `shape`, of which its own axes are `broadcast_dimensions`, each of equal size or of size 1.

    >>> broadcast_in_dim(np.array([1, 2]), (2, 3), (0,)).tolist()
    [[1, 1, 1], [2, 2, 2]]
    """
    x, shape, places = as_array(operand), tuple(shape), tuple(broadcast_dimensions)
    own = shape_of(x)
    if len(places) != len(own) or len(set(places)) != len(places) or any([not 0 <= p < len(shape) for p in places]):
        raise fails("broadcast_in_dim", f"{places} must name an axis of {shape} for each axis of {type_of(x)}")
    if any([n not in (1, shape[p]) for n, p in zip(own, places, strict=True)]):
        raise fails("broadcast_in_dim", f"the axes of {type_of(x)} must be of size 1 or as axes {places} of {shape}")
    sizes = dict(zip(places, own, strict=True))
    ordered = np.transpose(x, tuple(np.argsort(places).tolist()))
    return np.broadcast_to(np.reshape(ordered, tuple([sizes.get(i, 1) for i in range(len(shape))])), shape)


def broadcast_to_rank(x: ArrayLike, rank: int) -> Array:
    """`x` with leading axes of size 1 until it has `rank` of them.

    >>> broadcast_to_rank(np.ones(3), 3).shape
    (1, 1, 3)
    """
    x = as_array(x)
    missing = rank - len(shape_of(x))
    if missing < 0:
        raise fails("broadcast_to_rank", f"{type_of(x)} has more than {rank} axes")
    return np.reshape(x, (*(1,) * missing, *shape_of(x)))


def broadcast_like(arr: ArrayLike, like_arr: ArrayLike) -> Array:
    """`arr` broadcast to the shape of `like_arr`.

    >>> broadcast_like(1.0, np.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """
    return np.broadcast_to(as_array(arr), shape_of(as_array(like_arr)))


def expand_dims(array: ArrayLike, dimensions: Sequence[int]) -> Array:
    """`array` with axes of size 1, which are `dimensions` of the result.

    >>> expand_dims(np.ones(3), (0, 2)).shape
    (1, 3, 1)
    """
    return np.expand_dims(as_array(array), tuple(dimensions))


def squeeze(array: ArrayLike, dimensions: Sequence[int]) -> Array:
    """`array` without these axes, which are of size 1.

    >>> squeeze(np.ones((1, 3)), (0,)).shape
    (3,)
    """
    return np.squeeze(as_array(array), tuple(dimensions))


def reshape(operand: ArrayLike, new_sizes: Any, dimensions: Sequence[int] | None = None) -> Array:
    """`operand` in another shape, its axes first put in the order `dimensions`.

    >>> reshape(np.array([[1.0, 2.0], [3.0, 4.0]]), (4,)).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    x = as_array(operand)
    return np.reshape(x if dimensions is None else np.transpose(x, tuple(dimensions)), new_sizes)


def collapse(operand: ArrayLike, start_dimension: int, stop_dimension: int | None = None) -> Array:
    """The axes from `start_dimension` up to `stop_dimension` merged into one.

    >>> collapse(np.zeros((2, 3, 4)), 0, 2).shape
    (6, 4)
    """
    x = as_array(operand)
    shape = shape_of(x)
    start, stop, _ = builtins.slice(start_dimension, stop_dimension).indices(len(shape))
    if stop <= start:
        raise fails("collapse", f"there are no axes from {start_dimension} to {stop_dimension} in {type_of(x)}")
    return np.reshape(x, (*shape[:start], math.prod(shape[start:stop]), *shape[stop:]))


def transpose(operand: ArrayLike, permutation: Sequence[int]) -> Array:
    """The axes of `operand` in the order `permutation`.

    >>> transpose(np.ones((2, 3)), (1, 0)).shape
    (3, 2)
    """
    return np.transpose(as_array(operand), tuple([int(i) for i in permutation]))


def rev(operand: ArrayLike, dimensions: Sequence[int]) -> Array:
    """The elements in reverse order along these axes.

    >>> rev(np.array([3.0, 1.0, 2.0]), (0,)).tolist()
    [2.0, 1.0, 3.0]
    """
    return np.flip(as_array(operand), tuple(dimensions))


def concatenate(operands: Sequence[ArrayLike], dimension: int) -> Array:
    """The arrays one after the other along an axis.

    >>> concatenate([np.ones(1), np.zeros(2)], 0).tolist()
    [1.0, 0.0, 0.0]
    """
    return np.concatenate([as_array(x) for x in operands], dimension)


def stack(operands: Sequence[ArrayLike], axis: int = 0) -> Array:
    """The arrays along a new axis.

    >>> stack([np.ones(2), np.zeros(2)]).shape
    (2, 2)
    """
    return np.stack([as_array(x) for x in operands], axis)


def unstack(x: ArrayLike, axis: int = 0) -> tuple[Array, ...]:
    """The arrays along an axis, without it.

    >>> [x.tolist() for x in unstack(np.array([[1.0, 2.0], [3.0, 4.0]]))]
    [[1.0, 2.0], [3.0, 4.0]]
    """
    return unstack_of(as_array(x), axis=axis)


def split(operand: ArrayLike, sizes: Sequence[int], axis: int = 0) -> list[Array]:
    """Parts of these sizes along an axis, which together are all of it.

    >>> [x.shape for x in split(np.ones(5), (2, 3))]
    [(2,), (3,)]
    """
    x = as_array(operand)
    n = shape_of(x)[normalize_axis(axis, len(shape_of(x)), "split")]
    if sum(sizes) != n or any([s < 0 for s in sizes]):
        raise fails("split", f"sizes {tuple(sizes)} must add up to {n}, the size of axis {axis} of {type_of(x)}")
    return list(np.split(x, list(accumulate(sizes))[:-1], axis))


def tile(operand: ArrayLike, reps: Sequence[int]) -> Array:
    """`operand` as often along each axis as `reps` says.

    >>> tile(np.array([1, 2]), (2,)).tolist()
    [1, 2, 1, 2]
    """
    x = as_array(operand)
    if len(reps) != len(shape_of(x)):
        raise fails("tile", f"reps needs a number for each axis of {type_of(x)}, got {tuple(reps)}")
    return np.tile(x, tuple(reps))


def pad(operand: ArrayLike, padding_value: ArrayLike, padding_config: Sequence[tuple[int, int, int]]) -> Array:
    """`operand` with a scalar around and between its elements: for each axis (before, after, between neighbours). Negative
    numbers before and after take away, of elements and what is between them.

    >>> pad(np.array([1.0, 2.0, 3.0]), 0.0, [(1, -1, 1)]).tolist()
    [0.0, 1.0, 0.0, 2.0, 0.0]
    """
    x, value = as_array(operand), as_array(padding_value)
    shape = shape_of(x)
    if len(padding_config) != len(shape) or shape_of(value):
        raise fails(
            "pad", f"needs a scalar, got {type_of(value)}, and (before, after, between) for each axis of {type_of(x)}"
        )
    if not np.can_cast(dtype_of(value), dtype_of(x), "same_kind"):
        raise DtypeError(f"pad: {type_of(x)} cannot hold the padding {type_of(value)}; write operand.astype(...)")
    kept, places, sizes = [], [], []
    for axis, (n, (before, after, between)) in enumerate(zip(shape, padding_config, strict=True)):
        step = between + 1
        size = before + after + (n + (n - 1) * between if n else 0)
        if between < 0 or size < 0:
            raise fails(
                "pad", f"axis {axis} of {type_of(x)} padded by {(before, after, between)} would have a negative size"
            )
        # The i-th element goes to before + i * step; those that go to nowhere are left out.
        first = -(before // step) if before < 0 else 0
        stop = np.clip((size - before - 1) // step + 1, first, builtins.max(n, first)).item()
        kept.append(builtins.slice(first, stop))
        start = before + first * step
        places.append(builtins.slice(start, start + (stop - first - 1) * step + 1 if stop > first else start, step))
        sizes.append(size)
    background = creation.full(tuple(sizes), value, dtype_of(x))
    return place(background)[tuple(places)].set(x[tuple(kept)])


# ---------------------------------------------------------------------------------------------------------------------
# Slices at fixed places.


def _known(i: Any, name: str) -> int:
    """A place that must be known; the error for a traced one names the function that takes these."""
    return operator.index(concrete(i, f"lax.{name}", f"write tg.lax.dynamic_{name}"))


def slice(
    operand: ArrayLike, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None = None
) -> Array:
    """operand[start:limit:stride] along each axis, all within the operand: nothing counts from the end.

    >>> slice(np.arange(10), (1,), (9,), (3,)).tolist()
    [1, 4, 7]
    """
    x = as_array(operand)
    shape = shape_of(x)
    steps = (1,) * len(shape) if strides is None else tuple(strides)
    if not len(start_indices) == len(limit_indices) == len(steps) == len(shape):
        raise fails("slice", f"needs a start, a limit and a stride for each axis of {type_of(x)}")
    starts, limits, paces = [[_known(i, "slice") for i in part] for part in (start_indices, limit_indices, steps)]
    for axis, (start, limit, step, n) in enumerate(zip(starts, limits, paces, shape, strict=True)):
        if not 0 <= start <= limit <= n or step < 1:
            raise fails(
                "slice",
                f"from {start} to {limit} in steps of {step} is not within axis {axis} of {type_of(x)}; write x[{start}:"
                f"{limit}:{step}] for what NumPy makes of it",
            )
    return x[tuple([builtins.slice(*part) for part in zip(starts, limits, paces, strict=True)])]


def slice_in_dim(
    operand: ArrayLike, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0
) -> Array:
    """`slice` along one axis, where negative numbers count from the end, and None is its beginning or end.

    >>> slice_in_dim(np.array([3.0, 1.0, 2.0]), 1, 3).tolist()
    [1.0, 2.0]
    """
    x = as_array(operand)
    shape = shape_of(x)
    axis = normalize_axis(axis, len(shape), "slice_in_dim")
    n = shape[axis]
    start, limit = [d if i is None else _known(i, "slice_in_dim") for i, d in ((start_index, 0), (limit_index, n))]
    start, limit = [i + n if i < 0 else i for i in (start, limit)]
    starts, limits, strides = [0] * len(shape), list(shape), [1] * len(shape)
    starts[axis], limits[axis], strides[axis] = start, limit, operator.index(stride)
    return slice(x, starts, limits, strides)


def index_in_dim(operand: ArrayLike, index: int, axis: int = 0, keepdims: bool = True) -> Array:
    """The slice at one place along an axis, which stays with size 1 if `keepdims`. IndexError out of range.

    >>> index_in_dim(np.array([3.0, 1.0, 2.0]), 1).tolist()
    [1.0]
    """
    x = as_array(operand)
    axis = normalize_axis(axis, len(shape_of(x)), "index_in_dim")
    n, index = shape_of(x)[axis], _known(index, "index_in_dim")
    if not -n <= index < n:
        raise IndexError(
            f"index_in_dim: index {index} is out of bounds for axis {axis} of {type_of(x)}{at(user_source())}"
        )
    found = x[(builtins.slice(None),) * axis + (index,)]
    return np.expand_dims(found, axis) if keepdims else found


def index_take(src: ArrayLike, idxs: Sequence[Any], axes: Sequence[int]) -> Array:
    """The slices of `src` at places along some axes: idxs[k][i] along axes[k] for the i-th, modulo the sizes. The result has
    an axis for i, then the other axes of `src`.

    >>> index_take(np.array([[1.0, 2.0], [3.0, 4.0]]), (np.array([1, 0]),), (0,)).tolist()
    [[3.0, 4.0], [1.0, 2.0]]
    """
    x, axes = as_array(src), tuple(axes)
    sizes = [shape_of(x)[a] for a in axes]
    front = np.moveaxis(x, axes, tuple(range(len(axes))))
    return front[tuple([np.remainder(as_array(i), n) for i, n in zip(idxs, sizes, strict=True)])]


# ---------------------------------------------------------------------------------------------------------------------
# Slices at computed places along one axis; those along all are in ops/dynamic.py.


def _along(operand: Any, axis: int, size: int, name: str) -> tuple[Any, int, tuple[int, ...]]:
    x = as_array(operand)
    shape = shape_of(x)
    axis = normalize_axis(axis, len(shape), name)
    return x, axis, (*shape[:axis], size, *shape[axis + 1 :])


def _one_start(axis: int, ndim: int, start: Any) -> tuple[Any, ...]:
    return (*(0,) * axis, start, *(0,) * (ndim - axis - 1))


def dynamic_slice_in_dim(
    operand: ArrayLike, start_index: ArrayLike, slice_size: int, axis: int = 0, *, allow_negative_indices: bool = True
) -> Array:
    """`dynamic_slice` along one axis, all of the others.

    >>> dynamic_slice_in_dim(np.array([3.0, 1.0, 2.0]), 1, 2).tolist()
    [1.0, 2.0]
    """
    x, axis, sizes = _along(operand, axis, operator.index(slice_size), "dynamic_slice_in_dim")
    starts = _one_start(axis, len(sizes), start_index)
    return dynamic_slice(x, starts, sizes, allow_negative_indices=allow_negative_indices)


def dynamic_index_in_dim(
    operand: ArrayLike, index: ArrayLike, axis: int = 0, keepdims: bool = True, *, allow_negative_indices: bool = True
) -> Array:
    """The slice at one place along an axis, which stays with size 1 if `keepdims`.

    >>> dynamic_index_in_dim(np.array([3.0, 1.0, 2.0]), 1).tolist()
    [1.0]
    """
    x, axis, sizes = _along(operand, axis, 1, "dynamic_index_in_dim")
    starts = _one_start(axis, len(sizes), index)
    found = dynamic_slice(x, starts, sizes, allow_negative_indices=allow_negative_indices)
    return found if keepdims else np.squeeze(found, axis)


def dynamic_update_slice_in_dim(
    operand: ArrayLike, update: ArrayLike, start_index: ArrayLike, axis: int, *, allow_negative_indices: bool = True
) -> Array:
    """`dynamic_update_slice` that begins at `start_index` along one axis, and at 0 along the others.

    >>> dynamic_update_slice_in_dim(np.array([3.0, 1.0, 2.0]), np.zeros(2), 1, 0).tolist()
    [3.0, 0.0, 0.0]
    """
    x, axis, sizes = _along(operand, axis, 0, "dynamic_update_slice_in_dim")
    starts = _one_start(axis, len(sizes), start_index)
    return dynamic_update_slice(x, update, starts, allow_negative_indices=allow_negative_indices)


def dynamic_update_index_in_dim(
    operand: ArrayLike, update: ArrayLike, index: ArrayLike, axis: int, *, allow_negative_indices: bool = True
) -> Array:
    """A copy of `operand` with one place along an axis written. `update` has that axis with size 1, or not at all.

    >>> dynamic_update_index_in_dim(np.array([3.0, 1.0, 2.0]), 9.0, 1, 0).tolist()
    [3.0, 9.0, 2.0]
    """
    x, axis, sizes = _along(operand, axis, 1, "dynamic_update_index_in_dim")
    v = as_array(update)
    if len(shape_of(v)) == len(sizes) - 1:
        v = np.expand_dims(v, axis)
    starts = _one_start(axis, len(sizes), index)
    return dynamic_update_slice(x, v, starts, allow_negative_indices=allow_negative_indices)
