"""Moving elements about: flip, roll, tile, repeat, pad, insert, delete, diagonals and triangles. All but roll are
composites of indexing, joining and broadcasting.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError
from tracegrad.core.op import Params, Sample, View
from tracegrad.core.trace import Tracer, as_array, bind, concrete, strengthened, unsupported
from tracegrad.core.types import ArrayType, Shape, is_inexact, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import (
    implements,
    is_of_a_scalar,
    linear,
    normalize_axes,
    normalize_axis,
    reject,
    shape_of,
)
from tracegrad.ops.index import region, slice_entry, take, unslice, wide
from tracegrad.ops.shape import axis_list, copied, shape_tuple

# ---------------------------------------------------------------------------------------------------------------------
# Turning round and shifting.


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """The elements in reverse order along the axes (all, if None)."""
    m = strengthened(as_array(m))
    axes = normalize_axes(axis, len(m.shape), "flip")
    return m[tuple([slice(None, None, -1 if i in axes else None) for i in range(len(m.shape))])]


@implements(np.flipud)
def flipud(m: Any) -> Any:
    """The rows in reverse order."""
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    """The columns in reverse order."""
    return flip(m, 1)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """`m` turned by k * 90 degrees in the plane of two axes, from the first towards the second."""
    m = as_array(m)
    first, second = axis_list(tuple(axes), len(m.shape), "rot90")
    k = operator.index(k) % 4
    if k == 0:
        return m
    if k == 2:
        return np.flip(m, (first, second))
    return np.swapaxes(np.flip(m, second), first, second) if k == 1 else np.flip(np.swapaxes(m, first, second), second)


def _roll(x: Any, shift: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    for s, a in zip(shift, axis, strict=True):
        before = (slice(None),) * a
        n = x.shape[a] - s
        x = np.concatenate((x[(*before, slice(n, None))], x[(*before, slice(None, n))]), a)
    return x


def _roll_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(types[0].shape, types[0].dtype)


def _roll_transpose(ct: Any, x: Any, shift: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    back = tuple([x.shape[a] - s for s, a in zip(shift, axis, strict=True)])
    return bind(roll_op, (ct,), {"shift": back, "axis": axis})


def _roll_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(roll_op, tuple(inputs), {**params, "axis": tuple([a + 1 for a in params["axis"]])})


def _roll_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4))
    yield Sample((x,), {"shift": (1,), "axis": (0,)})
    yield Sample((x,), {"shift": (2, 3), "axis": (0, 1)})


# Shifts between 0 and the axis' size, each of another axis.
roll_op = linear(
    "roll", _roll, _roll_transpose,
    infer=_roll_type, batch=_roll_batch, kinds="biufc", samples=_roll_samples, moves=True, nonnegative=True,
)  # fmt: skip


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """The elements moved on by `shift` places along `axis`, those pushed out at the end coming in at the beginning."""
    a = as_array(a)
    if axis is None:
        return np.reshape(roll(np.reshape(a, -1), shift, 0), shape_of(a))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    if type(shift) is Tracer:
        if len(axes) != 1 or shift.shape:
            raise unsupported(np.roll, " with several traced shifts; pass a tuple of ints, or roll one axis at a time,")
        i = normalize_axis(axes[0], len(a.shape), "roll")
        return take(a, np.remainder(np.arange(a.shape[i]) - wide(shift), max(a.shape[i], 1)), i)
    shifts, places = np.broadcast_arrays(shift, axes)
    total: dict[int, int] = {}
    for s, i in zip(shifts.ravel().tolist(), places.ravel().tolist(), strict=True):
        i = normalize_axis(i, len(a.shape), "roll")
        total[i] = (total.get(i, 0) + s) % max(a.shape[i], 1)
    moved = {i: s for i, s in sorted(total.items()) if s}
    return bind(roll_op, (a,), {"shift": tuple(moved.values()), "axis": tuple(moved)}) if moved else copied(a)


# ---------------------------------------------------------------------------------------------------------------------
# Repeating.


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """`A`, `reps` times over along each axis."""
    A, reps = as_array(A), shape_tuple(reps)
    shape = shape_of(A)
    ndim = max(len(shape), len(reps))
    shape = (1,) * (ndim - len(shape)) + shape
    reps = (1,) * (ndim - len(reps)) + reps
    if all([r == 1 for r in reps]):
        return np.reshape(copied(A), shape)
    spread = np.reshape(A, tuple([m for n in shape for m in (1, n)]))
    spread = np.broadcast_to(spread, tuple([m for n, r in zip(shape, reps, strict=True) for m in (r, n)]))
    return copied(np.reshape(spread, tuple([n * r for n, r in zip(shape, reps, strict=True)])))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element along `axis` (of the flattened array, if None) so many times: an int, or one for each element."""
    a = as_array(a)
    if axis is None or is_of_a_scalar(axis, len(shape_of(a))):
        a, axis = np.reshape(a, -1), 0
    axis = normalize_axis(axis, len(a.shape), "repeat")
    before, n, after = a.shape[:axis], a.shape[axis], a.shape[axis + 1 :]
    counts = np.asarray(concrete(as_array(repeats), "np.repeat", "pass repeats as a plain int or array"))
    if counts.size == 1:
        count = int(counts.reshape(()))
        if count < 0:
            raise ValueError(f"repeat: counts cannot be negative, got {count}")
        spread = np.broadcast_to(np.reshape(a, (*before, n, 1, *after)), (*before, n, count, *after))
        return copied(np.reshape(spread, (*before, n * count, *after)))
    return np.take(a, np.repeat(np.arange(n), counts), axis)


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """The elements over and over, until they fill the new shape."""
    a, new_shape = np.reshape(as_array(a), -1), shape_tuple(new_shape)
    size = math.prod(new_shape)
    if a.shape[0] == 0:
        return np.zeros(new_shape, type_of(a).dtype)
    times = -(-size // a.shape[0])
    return np.reshape(np.tile(a, times)[:size], new_shape)


# ---------------------------------------------------------------------------------------------------------------------
# Inserting, deleting, padding.


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`values` inserted before the places `obj` along `axis` (of the flattened array, if None)."""
    arr, values = as_array(arr), as_array(values)
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    shape = arr.shape
    axis = normalize_axis(axis, len(shape), "insert")
    n = shape[axis]
    places = _places(obj, n, "np.insert")
    values = astype(values, type_of(arr).dtype)
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
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """`arr` without the places `obj` along `axis` (of the flattened array, if None)."""
    arr = as_array(arr)
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    axis = normalize_axis(axis, len(arr.shape), "delete")
    if not isinstance(obj, slice):
        obj = concrete(as_array(obj), "np.delete", "pass the places as plain ints")
    return np.take(arr, np.delete(np.arange(arr.shape[axis]), obj), axis)


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """`filt` without the zeros at its front ("f") and back ("b"), whose values must be known."""
    filt = as_array(filt)
    places = np.argwhere(concrete(filt, "np.trim_zeros", "slice with plain ints"))
    bounds = []
    for i in range(len(filt.shape)):
        start, stop = (int(places[:, i].min()), int(places[:, i].max()) + 1) if len(places) else (0, 0)
        bounds.append(slice(start if "f" in trim.lower() else None, stop if "b" in trim.lower() or not stop else None))
    axes = normalize_axes(axis, len(filt.shape), "trim_zeros")
    return filt[tuple([b if i in axes else slice(None) for i, b in enumerate(bounds)])]


def _pairs(given: Any, ndim: int, name: str) -> list[tuple[Any, Any]]:
    """A number, a (before, after) or one such pair for each axis, as the last; entries may be traced."""
    if isinstance(given, dict):
        pairs = [(0, 0)] * ndim
        for axis, pair in given.items():
            pairs[normalize_axis(axis, ndim, name)] = (pair, pair) if np.ndim(pair) == 0 else tuple(pair)
        return pairs
    table = np.broadcast_to(as_array(given), (ndim, 2))
    if type(table) is np.ndarray:
        return [tuple(row) for row in table.tolist()]
    return [(table[i, 0], table[i, 1]) for i in range(ndim)]


_PAD_OPTIONS = {
    "constant": ("constant_values", 0),
    "linear_ramp": ("end_values", 0),
    "mean": ("stat_length", None),
    "median": ("stat_length", None),
    "maximum": ("stat_length", None),
    "minimum": ("stat_length", None),
    "reflect": ("reflect_type", "even"),
    "symmetric": ("reflect_type", "even"),
    "edge": ("", None),
    "wrap": ("", None),
}
_STATISTICS = {"mean": np.mean, "median": np.median, "maximum": np.max, "minimum": np.min}


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Any:
    """`array` with borders, filled as `mode` says.

    `pad_width` is an int, a pair (before, after), one pair for each axis, or a dict from axis to one of these. Modes:
    "constant" (with constant_values, which may be traced), "edge", "reflect", "symmetric", "wrap", "linear_ramp" (with
    end_values), "mean", "median", "maximum", "minimum" (with stat_length).
    """
    array = strengthened(as_array(array))
    shape = shape_of(array)
    ndim = len(shape)
    if mode not in _PAD_OPTIONS:
        raise unsupported(np.pad, f" with mode={mode!r}")
    keyword, default = _PAD_OPTIONS[mode]
    option = kwargs.pop(keyword, default)
    if kwargs or (keyword == "reflect_type" and option != "even"):
        raise unsupported(np.pad, f" with mode={mode!r} and {', '.join(kwargs) or keyword}=")
    widths = [(operator.index(b), operator.index(a)) for b, a in _pairs(pad_width, ndim, "pad")]
    if any([w < 0 for pair in widths for w in pair]):
        raise ValueError(f"pad: widths cannot be negative, got {pad_width}")
    if mode == "constant" and type(option) is not Tracer and _is_zero(_plain_or_one(option)):
        larger = tuple([b + n + a for n, (b, a) in zip(shape, widths, strict=True)])
        index = tuple([slice_entry(b, b + n, 1, m) for n, m, (b, _) in zip(shape, larger, widths, strict=True)])
        return unslice(array, index, larger) if larger != shape else copied(array)
    options = _pairs(option, ndim, "pad") if mode in ("constant", "linear_ramp") else None
    lengths = (
        [(None, None)] * ndim
        if options or option is None
        else _pairs(option, ndim, "pad")
        if keyword == "stat_length"
        else None
    )
    for axis, width in enumerate(widths):
        if not any(width):
            continue
        if options is not None:
            borders = [
                _constant_border(array, axis, w, value) if mode == "constant" else _ramp(array, axis, i, w, value)
                for i, (w, value) in enumerate(zip(width, options[axis], strict=True))
            ]
        elif mode in _STATISTICS:
            assert lengths is not None
            borders = [
                _statistic_border(array, axis, i, w, _STATISTICS[mode], n)
                for i, (w, n) in enumerate(zip(width, lengths[axis], strict=True))
            ]
        else:
            array = np.take(array, np.pad(np.arange(shape[axis]), width, mode), axis)
            continue
        array = np.concatenate([borders[0], array, borders[1]], axis)
    return array


def _is_zero(value: Any) -> bool:
    """Whether it is zero, and none of it -0.0."""
    x = np.asarray(value)
    return not (np.any(x) or np.any(np.signbit(x.real)) or np.any(np.signbit(x.imag)))


def _plain_or_one(value: Any) -> Any:
    """A value to look at: 1 where a tracer is in it."""
    return 1 if type(as_array(value)) is Tracer else value


def _border_shape(array: Any, axis: int, width: int) -> Shape:
    return (*array.shape[:axis], width, *array.shape[axis + 1 :])


def _constant_border(array: Any, axis: int, width: int, value: Any) -> Any:
    dtype = array.dtype
    if type(value) is Tracer and is_inexact(value.dtype) and number_kind(value.dtype) > number_kind(dtype):
        raise DtypeError(f"pad: {type_of(array)} cannot hold the constant {value.type}; write x.astype(float)")
    return np.broadcast_to(astype(value, dtype), _border_shape(array, axis, width))


def _end_of(array: Any, axis: int, after: int, length: int) -> Any:
    """The first or the last so many entries along the axis."""
    n = array.shape[axis]
    return array[(slice(None),) * axis + (slice(n - length, n) if after else slice(0, length),)]


def _ramp(array: Any, axis: int, after: int, width: int, end: Any) -> Any:
    """From `end` at the border to just before the edge."""
    edge = _end_of(array, axis, after, 1)
    steps = np.arange(width) / max(width, 1)
    steps = np.reshape(steps[::-1] if after else steps, (-1, *(1,) * (len(array.shape) - axis - 1)))
    dtype = array.dtype
    if is_inexact(dtype):
        return end + (edge - end) * astype(steps, dtype)
    return astype(np.floor(end + (edge - end) * steps), dtype)


def _statistic_border(array: Any, axis: int, after: int, width: int, statistic: Any, length: int | None) -> Any:
    n = array.shape[axis]
    value = statistic(_end_of(array, axis, after, n if length is None else min(length, n)), axis, keepdims=True)
    if number_kind(array.dtype) in "iu":
        value = np.rint(value)
    return np.broadcast_to(astype(value, array.dtype), _border_shape(array, axis, width))


# ---------------------------------------------------------------------------------------------------------------------
# Triangles and diagonals.


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """The lower triangle of the last two axes, up to the k-th diagonal; zeros above."""
    m = as_array(m)
    return np.where(np.tri(*m.shape[-2:], k=k, dtype=bool), m, np.zeros((), m.dtype))


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """The upper triangle of the last two axes, from the k-th diagonal on; zeros below."""
    m = as_array(m)
    return np.where(np.tri(*m.shape[-2:], k=k - 1, dtype=bool), np.zeros((), m.dtype), m)


def _diagonal_entry(rows: int, columns: int, k: int) -> str:
    """The k-th diagonal of a matrix as a slice of its flattened elements."""
    row, column = max(-k, 0), max(k, 0)
    count = min(rows - row, columns - column)
    if count <= 0:
        return "0:0"
    start = row * columns + column
    return slice_entry(start, start + (count - 1) * (columns + 1) + 1, columns + 1, rows * columns)


def _of_last_axes(x: Any, k: int) -> Any:
    return np.diagonal(x, k, -2, -1)


def diagonal_index(shape: Shape, k: int) -> tuple[str, ...]:
    """Of the k-th diagonals in an array of matrices whose elements lie along one axis."""
    rows, columns = shape[-2:]
    return (":",) * (len(shape) - 2) + (_diagonal_entry(rows, columns, k),)


def _diagonal_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    *rest, n, m = t.shape
    return ArrayType(region((*rest, n * m), diagonal_index(t.shape, params["k"]), ()).shape, t.dtype)


def _diagonal_transpose(ct: Any, x: Any, k: int) -> Any:
    *rest, n, m = x.shape
    return np.reshape(unslice(ct, diagonal_index(x.shape, k), (*rest, n * m)), x.shape)


def _diagonal_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4))
    for k in (0, 2, -1, 7):
        yield Sample((x,), {"k": k})
    yield Sample((x[0, :, :3],), {"k": 1})


diagonal_op = linear(
    "diagonal", _of_last_axes, _diagonal_transpose, infer=_diagonal_type,
    batch=lambda size, batched, inputs, params: bind(diagonal_op, tuple(inputs), params),
    kinds="biufc", samples=_diagonal_samples, moves=True, picks=True, view=View(None, _of_last_axes),
)  # fmt: skip


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The `offset`-th diagonal of the matrices in two axes of `a`; it becomes the last axis of the result."""
    a = np.moveaxis(as_array(a), (axis1, axis2), (-2, -1))
    return bind(diagonal_op, (a,), {"k": operator.index(offset)})


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix; or the matrix that has `v` as its k-th diagonal, and zeros elsewhere."""
    v, k = as_array(v), operator.index(k)
    if len(v.shape) == 2:
        return np.diagonal(v, k)
    if len(v.shape) != 1:
        raise ValueError(f"diag needs one or two dimensions, got {type_of(v)}")
    n = v.shape[0] + abs(k)
    return np.reshape(unslice(v, (_diagonal_entry(n, n, k),), (n * n,)), (n, n))


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix that has all elements of `v` on its k-th diagonal."""
    return np.diag(np.reshape(as_array(v), -1), k)


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """The sum of the `offset`-th diagonal of the matrices in two axes of `a`."""
    reject(np.trace, out=out)
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The matrix of the powers of `x`: column j holds x**(N-1-j), or x**j if `increasing`."""
    x = as_array(x)
    if len(x.shape) != 1:
        raise ValueError(f"vander needs one dimension, got {type_of(x)}")
    x = astype(x, np.promote_types(x.dtype, int))
    powers = np.arange(x.shape[0] if N is None else N).astype(x.dtype)
    return np.power(x[:, None], powers if increasing else powers[::-1])
