"""NumPy's functions that give arrays other shapes, turn and repeat them, put in and take out, made of the ops in ops/shape.py,
join.py, rearrange.py and index/."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, bind, strengthened
from tracegrad.core.tracer import Tracer, concrete
from tracegrad.core.types import type_of
from tracegrad.ops.families import implements, is_of_a_scalar, normalize_axes, normalize_axis, shape_of
from tracegrad.ops.shape import contiguous_op, copied, is_fortran, shape_tuple
from tracegrad.ops.writes import held
from tracegrad.typing import Array, ArrayLike, Axis, Shape

# ---------------------------------------------------------------------------------------------------------------------
# Axes.


@implements(np.ravel)
def ravel(a: ArrayLike, order: str = "C") -> Array:
    """All elements in one dimension; a copy if they do not lie in memory one behind the other.

    >>> ravel(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    a = as_array(a)
    order = "C" if order == "K" and not is_fortran(a, order) else order
    if type(a) is Tracer and a.shape:
        a = bind(contiguous_op, (a,), {"order": "F" if order == "F" else "C"})
    return np.reshape(a, (-1,), order=order)


@implements(np.expand_dims)
def expand_dims(a: ArrayLike, axis: Axis) -> Array:
    """`a` with axes of size 1 inserted, which lie at `axis` in the result.

    >>> expand_dims(np.zeros((2, 3)), (0, 3)).shape
    (1, 2, 3, 1)
    """
    a = as_array(a)
    shape = a.shape
    ndim = len(shape) + (len(axis) if isinstance(axis, tuple | list) else 1)
    new = normalize_axes(axis, ndim, "expand_dims")
    old = iter(shape)
    return np.reshape(a, tuple([1 if i in new else next(old) for i in range(ndim)]))


@implements(np.squeeze)
def squeeze(a: ArrayLike, axis: Axis = None) -> Array:
    """`a` without its axes of size 1, or without those in `axis`. ShapeError if one of these is of another size.

    >>> squeeze(np.ones((1, 3, 1))).shape
    (3,)
    """
    a = as_array(a)
    shape = a.shape
    if axis is None:
        return np.reshape(a, tuple([n for n in shape if n != 1]))
    if not shape and axis in (0, -1):  # which NumPy lets a number have
        return a
    axes = normalize_axes(axis, len(shape), "squeeze")
    for i in axes:
        if shape[i] != 1:
            raise ShapeError(f"squeeze: axis {i} of {a.type} has size {shape[i]}; only axes of size 1 can go")
    return np.reshape(a, tuple([n for i, n in enumerate(shape) if i not in axes]))


def _at_least(
    function: Callable[..., Any], arrays: Sequence[Any], enlarged: Callable[[tuple[int, ...]], tuple[int, ...]]
) -> Any:
    found = []
    for x in map(as_array, arrays):
        found.append(np.reshape(x, enlarged(shape_of(x))) if type(x) is Tracer else function(x))
    return found[0] if len(found) == 1 else tuple(found)


@implements(np.atleast_1d)
def atleast_1d(*arys: ArrayLike) -> Array:
    """Scalars become arrays of one element.

    >>> atleast_1d(3.0).shape
    (1,)
    """
    return _at_least(np.atleast_1d, arys, lambda s: s or (1,))


@implements(np.atleast_2d)
def atleast_2d(*arys: ArrayLike) -> Array:
    """Axes of size 1 go in front until there are two.

    >>> atleast_2d(3.0).shape
    (1, 1)
    """
    return _at_least(np.atleast_2d, arys, lambda s: (1,) * (2 - len(s)) + s)


@implements(np.atleast_3d)
def atleast_3d(*arys: ArrayLike) -> Array:
    """Vectors become `(1, n, 1)`, matrices `(n, m, 1)`.

    >>> atleast_3d(3.0).shape
    (1, 1, 1)
    """
    return _at_least(
        np.atleast_3d, arys, lambda s: (1, *(s or (1,)), 1) if len(s) < 2 else (*s, 1) if len(s) == 2 else s
    )


@implements(np.moveaxis)
def moveaxis(a: ArrayLike, source: Axis, destination: Axis) -> Array:
    """`a` with the axes `source` moved to the places `destination`, the others in their order.

    >>> moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    ndim = len(a.shape)
    source = axis_list(source, ndim, "moveaxis")
    destination = axis_list(destination, ndim, "moveaxis")
    if len(source) != len(destination):
        raise ShapeError(f"moveaxis: {len(source)} axes cannot go to {len(destination)} places")
    order = [i for i in range(ndim) if i not in source]
    for to, axis in sorted(zip(destination, source, strict=True)):
        order.insert(to, axis)
    return np.transpose(a, tuple(order))


def axis_list(axes: Any, ndim: int, name: str) -> list[int]:
    """Axes counted from the front, in the order given."""
    found = [normalize_axis(i, ndim, name) for i in (axes if isinstance(axes, Iterable) else (axes,))]
    if len(set(found)) != len(found):
        raise ShapeError(f"{name}: an axis is named twice in {axes}")
    return found


@implements(np.swapaxes)
def swapaxes(a: ArrayLike, axis1: int, axis2: int) -> Array:
    """`a` with two axes exchanged.

    >>> swapaxes(np.ones((2, 3)), 0, 1).shape
    (3, 2)
    """
    ndim = len(a.shape)
    order = list(range(ndim))
    i, j = normalize_axis(axis1, ndim, "swapaxes"), normalize_axis(axis2, ndim, "swapaxes")
    order[i], order[j] = j, i
    return np.transpose(a, tuple(order))


@implements(np.rollaxis)
def rollaxis(a: ArrayLike, axis: int, start: int = 0) -> Array:
    """`a` with one axis moved to before `start`; np.moveaxis says it more plainly.

    >>> rollaxis(np.ones((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    ndim = len(a.shape)
    axis = normalize_axis(axis, ndim, "rollaxis")
    start = normalize_axis(start, ndim + 1, "rollaxis") if start >= 0 else normalize_axis(start, ndim, "rollaxis")
    return np.moveaxis(a, axis, start - (start > axis))


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: ArrayLike, /) -> Array:
    """Each matrix transposed: (..., m, n) gives (..., n, m).

    >>> matrix_transpose(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    x = as_array(x)
    if len(x.shape) < 2:
        raise ShapeError(f"matrix_transpose takes matrices, got {type_of(x)}")
    return np.swapaxes(x, -1, -2)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: ArrayLike, subok: bool = False) -> Array:
    """All arrays, broadcast against each other.

    >>> [x.shape for x in broadcast_arrays(np.ones(3), np.ones((2, 1)))]
    [(2, 3), (2, 3)]
    """
    arrays = [as_array(x) for x in args]
    shape = broadcast_shapes(*[shape_of(x) for x in arrays])
    return tuple([np.broadcast_to(x, shape) for x in arrays])


# ---------------------------------------------------------------------------------------------------------------------
# Turning round and repeating.


@implements(np.flip)
def flip(m: ArrayLike, axis: Axis = None) -> Array:
    """The elements in reverse order along the axes (all, if None).

    >>> flip(np.array([3.0, 1.0, 2.0])).tolist()
    [2.0, 1.0, 3.0]
    """
    m = strengthened(as_array(m))
    axes = normalize_axes(axis, len(m.shape), "flip")
    return m[tuple([slice(None, None, -1 if i in axes else None) for i in range(len(m.shape))])]


@implements(np.flipud)
def flipud(m: ArrayLike) -> Array:
    """The rows in reverse order.

    >>> flipud(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[3.0, 4.0], [1.0, 2.0]]
    """
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: ArrayLike) -> Array:
    """The columns in reverse order.

    >>> fliplr(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[2.0, 1.0], [4.0, 3.0]]
    """
    return flip(m, 1)


@implements(np.rot90)
def rot90(m: ArrayLike, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """`m` turned by k * 90 degrees in the plane of two axes, from the first towards the second.

    >>> rot90(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    m = as_array(m)
    first, second = axis_list(tuple(axes), len(m.shape), "rot90")
    k = operator.index(k) % 4
    if k == 0:
        return m
    if k == 2:
        return np.flip(m, (first, second))
    return np.swapaxes(np.flip(m, second), first, second) if k == 1 else np.flip(np.swapaxes(m, first, second), second)


@implements(np.tile)
def tile(A: ArrayLike, reps: Shape) -> Array:
    """`A`, `reps` times over along each axis. The one of the two that is shorter gets ones in front.

    >>> tile([[1, 2]], (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    A, reps = as_array(A), shape_tuple(reps)
    shape = shape_of(A)
    ndim = max(len(shape), len(reps))
    shape = (1,) * (ndim - len(shape)) + shape
    reps = (1,) * (ndim - len(reps)) + reps
    if all([r == 1 for r in reps]):
        return np.reshape(copied(A), shape)
    repeated = np.reshape(A, tuple([m for n in shape for m in (1, n)]))
    repeated = np.broadcast_to(repeated, tuple([m for n, r in zip(shape, reps, strict=True) for m in (r, n)]))
    return copied(np.reshape(repeated, tuple([n * r for n, r in zip(shape, reps, strict=True)])))


@implements(np.repeat, further=["total_repeat_length"])
def repeat(
    a: ArrayLike, repeats: ArrayLike, axis: int | None = None, *, total_repeat_length: int | None = None
) -> Array:
    """Each element along `axis` (of the flattened array, if None) so many times: an int, or one for each element.

    The values of `repeats` must be known, unless `total_repeat_length` says how long the result is: cropped, or filled up with the last
    element.

    >>> repeat([1, 2, 3], [2, 0, 1]).tolist()
    [1, 1, 3]
    """
    a = as_array(a)
    if axis is None or is_of_a_scalar(axis, len(shape_of(a))):
        a, axis = np.reshape(a, -1), 0
    axis = normalize_axis(axis, len(a.shape), "repeat")
    before, n, after = a.shape[:axis], a.shape[axis], a.shape[axis + 1 :]
    if total_repeat_length is not None:
        ends = np.cumsum(np.broadcast_to(as_array(repeats), (n,)))
        places = np.searchsorted(ends, np.arange(total_repeat_length), "right")
        return np.take(a, np.minimum(places, n - 1), axis)
    advice = (
        "pass repeats as a plain int or array, or say how long the result is: tnp.repeat(..., total_repeat_length=n)"
    )
    counts = np.asarray(concrete(as_array(repeats), "np.repeat", f"{advice}, with `import tracegrad.numpy as tnp`"))
    if counts.size == 1:
        count = int(counts.reshape(()))
        if count < 0:
            raise ValueError(f"repeat: counts cannot be negative, got {count}")
        repeated = np.broadcast_to(np.reshape(a, (*before, n, 1, *after)), (*before, n, count, *after))
        return copied(np.reshape(repeated, (*before, n * count, *after)))
    return np.take(a, np.repeat(np.arange(n), counts), axis)


@implements(np.resize)
def resize(a: ArrayLike, new_shape: Shape) -> Array:
    """The elements over and over, until they fill the new shape.

    >>> resize([1, 2, 3], (2, 4)).tolist()
    [[1, 2, 3, 1], [2, 3, 1, 2]]
    """
    a, new_shape = np.reshape(as_array(a), -1), shape_tuple(new_shape)
    size = math.prod(new_shape)
    if a.shape[0] == 0:
        return np.zeros(new_shape, type_of(a).dtype)
    times = -(-size // a.shape[0])
    return np.reshape(np.tile(a, times)[:size], new_shape)


# ---------------------------------------------------------------------------------------------------------------------
# Inserting and deleting.


@implements(np.insert)
def insert(arr: ArrayLike, obj: ArrayLike, values: ArrayLike, axis: int | None = None) -> Array:
    """`values` inserted before the places `obj` along `axis` (of the flattened array, if None), in the dtype of `arr`. The places,
    ints, a slice or a mask, must be known.

    >>> insert([1, 2, 3], 1, [8, 9]).tolist()
    [1, 8, 9, 2, 3]
    """
    arr, values = as_array(arr), as_array(values)
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    shape = arr.shape
    axis = normalize_axis(axis, len(shape), "insert")
    n = shape[axis]
    places = _places(obj, n, "np.insert")
    values = held(values, type_of(arr).dtype, "np.insert")
    values = np.reshape(values, (*(1,) * (len(shape) - len(shape_of(values))), *shape_of(values)))
    if places.size == 1:
        if places.ndim == 0:
            values = np.moveaxis(values, 0, axis)
        count = values.shape[axis]
        order = np.insert(np.arange(n), places.item(), np.arange(n, n + count))
    else:
        count = places.size
        order = np.insert(np.arange(n), places, np.arange(n, n + count))
    values = np.broadcast_to(values, (*shape[:axis], count, *shape[axis + 1 :]))
    return np.take(np.concatenate([arr, values], axis), order, axis)


def _places(obj: Any, size: int, name: str) -> Any:
    """The places that an index argument names, as an array of integers."""
    if isinstance(obj, slice):
        return np.arange(size)[obj]
    places = np.asarray(concrete(as_array(obj), name, "pass the places as plain ints"))
    if places.dtype == bool:
        return np.flatnonzero(places)
    return places.astype(np.intp) if places.size == 0 else places


@implements(np.delete)
def delete(arr: ArrayLike, obj: ArrayLike, axis: int | None = None) -> Array:
    """`arr` without the places `obj` along `axis` (of the flattened array, if None). The places, ints, a slice or a mask, must be
    known.

    >>> delete([1, 2, 3, 4], [0, 2]).tolist()
    [2, 4]
    """
    arr = as_array(arr)
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    axis = normalize_axis(axis, len(arr.shape), "delete")
    if not isinstance(obj, slice):
        obj = concrete(as_array(obj), "np.delete", "pass the places as plain ints")
    return np.take(arr, np.delete(np.arange(arr.shape[axis]), obj), axis)


@implements(np.trim_zeros)
def trim_zeros(filt: ArrayLike, trim: str = "fb", axis: Axis = None) -> Array:
    """`filt` without the zeros at its front ("f") and back ("b"), whose values must be known.

    >>> trim_zeros(np.array([0, 1, 2, 0])).tolist()
    [1, 2]
    """
    filt = as_array(filt)
    places = np.argwhere(concrete(filt, "np.trim_zeros", "slice with plain ints"))
    bounds = []
    for i in range(len(filt.shape)):
        start, stop = (int(places[:, i].min()), int(places[:, i].max()) + 1) if len(places) else (0, 0)
        bounds.append(slice(start if "f" in trim.lower() else None, stop if "b" in trim.lower() or not stop else None))
    axes = normalize_axes(axis, len(filt.shape), "trim_zeros")
    return filt[tuple([b if i in axes else slice(None) for i, b in enumerate(bounds)])]
