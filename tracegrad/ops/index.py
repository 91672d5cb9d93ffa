"""Indexing: reading and writing parts of arrays.

An index expression becomes data, a tuple with one entry for each place in it:

    3           an int, counted from the front
    "1:4:2"     a slice, clipped to the axis; ":" takes all of it
    None        a new axis
    "array"     the next of the op's integer inputs
    "..."       no axis, but NumPy takes what it stands between for apart

so `x[-1, :, i, ..., 2:]` of a five-dimensional x is `gather[index=(4, ':', 'array', ':', '2:')] x i`. NumPy itself
then does the indexing, which settles where the axes of several arrays go. Ellipses, masks, lists and negative ints are
gone by then; negative elements of arrays are not.

The ops, each linear, and in pairs of which one is the transpose of the other:

    slice    x[index] without arrays        unslice        zeros, with x written at index
    gather   x[index] with arrays           scatter_add    zeros, with x added at index
    scatter  x with v written at index; where an element is written twice, the last write counts
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, user_source
from tracegrad.core.errors import at as placed
from tracegrad.core.memory import Strides, in_c_order, new_strides
from tracegrad.core.op import Op, Params, Sample, View, Wanted
from tracegrad.core.trace import (
    FUNCTIONS,
    Tracer,
    as_array,
    bind,
    concrete,
    depends_on,
    lifted,
    plain_value,
    settled,
    unsupported,
)
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, Shape, is_added, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import conform, implements, is_of_a_scalar, linear, normalize_axis, reject, shape_of
from tracegrad.ops.masks import masking_jvp, masking_vjp
from tracegrad.ops.shape import copied

Index = tuple[Any, ...]


# ---------------------------------------------------------------------------------------------------------------------
# The entries of an index.


@lru_cache(maxsize=4096)
def slice_entry(start: int | None, stop: int | None, step: int | None, size: int) -> str:
    """A slice of an axis of this size, clipped to it."""
    first, last, stride = slice(start, stop, step).indices(size)
    length = len(range(first, last, stride))
    if length == size and (stride == 1 or size == 1):
        return ":"
    if length == 0:
        return "0:0"
    if stride > 0:
        return f"{first or ''}:{last if last < size else ''}" + (f":{stride}" if stride > 1 else "")
    return f"{first if first < size - 1 else ''}:{last if last >= 0 else ''}:{stride}"


@lru_cache(maxsize=4096)
def _slice(entry: str) -> slice:
    return slice(*[int(part) if part else None for part in entry.split(":")])


@lru_cache(maxsize=4096)
def _basic(index: Index) -> Index:
    """What NumPy takes for an index; "array" stays where an array is to go."""
    native: dict[Any, Any] = {"array": "array", "...": Ellipsis}
    return tuple([(native.get(e) or _slice(e)) if type(e) is str else e for e in index])


def _native(index: Index, arrays: Sequence[Any]) -> Index:
    """What NumPy takes for an index with these arrays in it."""
    if len(index) == 1:
        return (arrays[0],)
    rest = iter(arrays)
    return tuple([next(rest) if type(e) is str and e == "array" else e for e in _basic(index)])


class Region(NamedTuple):
    """What `x[index]` looks like: its shape, of which the axes `first : first + count` come from the arrays, and the
    axes of x that the arrays index. `apart`: something stands between the arrays, and NumPy puts their axes first."""

    shape: Shape
    first: int
    count: int
    axes: tuple[int, ...]
    apart: bool


@lru_cache(maxsize=4096)
def region(shape: Shape, index: Index, arrays: tuple[Shape, ...]) -> Region:
    """The region of an array of this shape that an index with arrays of these shapes picks."""
    axes = []
    dims: list[int] = []
    advanced = []  # the places of arrays, and of ints, which count as arrays next to any
    first = 0
    axis = 0
    for place, e in enumerate(index):
        if e is None:
            dims.append(1)
            continue
        if e == "...":
            continue
        if type(e) is str and e != "array":
            dims.append(len(range(*_slice(e).indices(shape[axis]))))
        else:
            if not advanced:
                first = len(dims)
            advanced.append(place)
            if e == "array":
                axes.append(axis)
        axis += 1
    dims += shape[axis:]
    if not axes:
        return Region(tuple(dims), 0, 0, (), False)
    try:
        joint = np.broadcast_shapes(*arrays)
    except ValueError:
        listing = " ".join(map(str, arrays))
        raise IndexError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {listing}"
        ) from None
    apart = advanced[-1] - advanced[0] >= len(advanced)
    if apart:
        first = 0
    return Region((*dims[:first], *joint, *dims[first:]), first, len(joint), tuple(axes), apart)


def _region_of(shape: Shape, arrays: Sequence[Any], index: Index) -> Region:
    return region(shape, index, tuple([shape_of(a) for a in arrays]))


# ---------------------------------------------------------------------------------------------------------------------
# From an index expression to entries and arrays.


class Located(NamedTuple):
    """An array, an index into it, and the index's integer arrays."""

    array: Any
    index: Index
    arrays: list[Any]


def locate(x: Any, expression: Any, mode: str | None = None) -> Located:
    """Normalise an index expression, with NumPy's rules and errors.

    The array comes back as it is, unless there is a mask without dimensions (`x[True]`): this gets an axis to index.
    What is out of range raises; with mode "clip" it becomes the nearest place, with "drop" it stays for the caller.
    """
    items = list(expression) if type(expression) is tuple else [expression]
    shape = shape_of(x)
    # What each item is, and how many axes it takes.
    taken = 0
    ellipsis = None
    for place, item in enumerate(items):
        kind = type(item)
        if kind is int or kind is slice:
            taken += 1
        elif item is None:
            pass
        elif item is Ellipsis:
            if ellipsis is not None:
                raise IndexError("an index can only have a single ellipsis ('...')")
            ellipsis = place
        else:
            item = items[place] = _array_item(item, x)
            taken += item.ndim if type(item) is np.ndarray and item.dtype == bool else 1
    if taken > len(shape):
        raise IndexError(
            f"too many indices for array: array is {len(shape)}-dimensional, but {taken} were indexed: "
            f"{type_of(x)}{placed(user_source())}"
        )
    if ellipsis is not None:
        items[ellipsis : ellipsis + 1] = [_ALL] * (len(shape) - taken) or [Ellipsis]

    entries: list[Any] = []
    arrays: list[Any] = []
    sizes: list[int] = []  # the shape with an axis for each mask without dimensions
    axis = 0
    for item in items:
        kind = type(item)
        if item is None:
            entries.append(None)
            continue
        if item is Ellipsis:
            entries.append("...")
            continue
        if kind is np.ndarray and item.dtype == bool:
            for i, (n, m) in enumerate(zip(shape[axis:], item.shape, strict=False), axis):
                if n != m:
                    raise IndexError(
                        f"boolean index did not match indexed array along axis {i}; "
                        f"size of axis is {n} but size of corresponding boolean axis is {m}: "
                        f"a mask of shape {item.shape} for {type_of(x)}{placed(user_source())}"
                    )
            entries += ["array"] * (item.ndim or 1)
            arrays += item.nonzero() if item.ndim else [np.zeros(int(item), np.intp)]
            sizes += shape[axis : axis + item.ndim] if item.ndim else [1]
            axis += item.ndim
            continue
        n = shape[axis]
        if kind is int:
            if mode == "clip":
                item = max(min(item, n - 1), -n)
            if -n <= item < n:
                entries.append(item + n if item < 0 else item)
            elif mode == "drop":
                entries.append("array")
                arrays.append(np.array(item))
            else:
                _out_of_bounds(item, axis, n, x)
        elif kind is slice:
            try:
                entries.append(slice_entry(item.start, item.stop, item.step, n))
            except TypeError:  # a tracer, which has no hash
                parts = [p if p is None else operator.index(p) for p in (item.start, item.stop, item.step)]
                entries.append(slice_entry(*parts, n))
        else:
            entries.append("array")
            if mode is not None:  # where we compute with it
                depends_on(item)
            arrays.append(np.clip(_from_front(item, n), 0, n - 1) if mode == "clip" else item)
        sizes.append(n)
        axis += 1
    if "..." in entries:
        place = entries.index("...")
        apart = arrays and any(map(_is_joined, entries[:place])) and any(map(_is_joined, entries[place:]))
        element = len(entries) > 1 and not arrays and all([type(e) is int for e in entries if e != "..."])
        if not (apart or element):  # of which the last is an array without axes, and not a number
            del entries[place]
    while entries and entries[-1] == ":" and "..." not in entries:  # which would take the axis
        entries.pop()
    if len(sizes) > axis:
        x = np.reshape(x, (*sizes, *shape[axis:]))
    located = Located(x, tuple(entries), arrays)
    if arrays and mode is None and any(map(_is_abstract, (x, *arrays))):
        _check_bounds(located)
    return located


_ALL: Any = slice(None)


def _is_joined(entry: Any) -> bool:
    """Whether an entry is one of those that NumPy broadcasts together, if there is an array among them."""
    return type(entry) is int or entry == "array"


def _array_item(item: Any, x: Any) -> Any:
    """An item of an index that is neither int, slice, None nor Ellipsis: as an int, a mask or an array of integers."""
    if type(item) is not Tracer and type(item) is not np.ndarray:
        if isinstance(item, bool | np.bool_):
            return np.asarray(item)
        if hasattr(item, "__index__") and not isinstance(item, np.ndarray):
            return operator.index(item)
        if not isinstance(item, list | tuple) and not hasattr(item, "__array__"):
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays "
                f"are valid indices, got {item!r} for {type_of(x)}{placed(user_source())}"
            )
        item = np.asarray(as_array(item)) if isinstance(item, np.generic) else as_array(item)
        if type(item) is np.ndarray and item.size == 0 and item.dtype == np.float64:
            item = item.astype(np.intp)  # x[[]]
    kind = number_kind(item.dtype)
    if kind == "b":
        return np.asarray(
            concrete(
                item, "indexing with a mask",
                "write `np.where(mask, x, 0)` or `x.at[mask].set(0)`, whose shapes do not depend on values",
            )
        )  # fmt: skip
    if kind not in "iu":
        raise IndexError(
            f"arrays used as indices must be of integer (or boolean) type, got {type_of(item)} as an index of "
            f"{type_of(x)}{placed(user_source())}; write i.astype(int)"
        )
    return int(item) if type(item) is np.ndarray and item.ndim == 0 else item


def wide(a: Any) -> Any:
    """Indices as intp, in which may be counted: uint8 holds neither the size of an axis nor what comes of adding it, and
    uint64 next to signed integers would become float64. Numbers too large for intp become the largest, out of range
    as before. What is not of integers stays as it is, for whoever takes it to refuse."""
    dtype = type_of(a).dtype
    if number_kind(dtype) not in "biu":
        return a
    if number_kind(dtype) == "u" and dtype.itemsize == np.intp().itemsize:
        a = np.minimum(a, dtype.type(np.iinfo(np.intp).max))
    return astype(a, np.intp)


def _from_front(a: Any, size: int) -> Any:
    """Indices counted from the front, in a signed dtype that holds the size."""
    dtype = type_of(a).dtype
    if number_kind(dtype) == "u":
        return wide(a)
    a = a if np.iinfo(dtype).max >= size else wide(a)
    return np.where(np.less(a, 0), np.add(a, size), a)


def _out_of_bounds(i: int, axis: int, size: int, x: Any) -> NoReturn:
    raise IndexError(
        f"index {i} is out of bounds for axis {axis} with size {size}: {type_of(x)}{placed(user_source())}"
    )


def _is_abstract(x: Any) -> bool:
    """Whether there is no value to be found under a tracer, so that NumPy will not see this index before it runs."""
    return plain_value(x, "an index") is None


def _check_bounds(located: Located) -> None:
    """Raise for known indices that are out of range, where evaluation, which would tell, comes later or elsewhere."""
    x, index, arrays = located
    shape = shape_of(x)
    for a, axis in zip(arrays, _region_of(shape, arrays, index).axes, strict=True):
        if type(a) is not Tracer and a.size:
            for i in (int(a.min()), int(a.max())):
                if not -shape[axis] <= i < shape[axis]:
                    _out_of_bounds(i, axis, shape[axis], x)


# ---------------------------------------------------------------------------------------------------------------------
# Batches. A batch goes in front of the index as ":" where nothing but the indexed array has one, and else as an array
# that counts the examples.


class _BatchedIndex(NamedTuple):
    """An index into batched arrays, and the permutation that brings its region into order: batch first, then as it is
    for one example."""

    index: Index
    arrays: list[Any]
    order: tuple[int, ...]


def _batched_index(
    size: int, whole: bool, flags: Sequence[bool], arrays: Sequence[Any], index: Index, found: Region
) -> _BatchedIndex:
    """`whole`: the indexed array has a batch axis. `flags`: which index arrays have. `found`: one example's region."""
    first, count, ndim = found.first, found.count, len(found.shape)
    arrays = list(arrays)
    for i, b in enumerate(flags):
        if b:
            s = arrays[i].shape
            arrays[i] = np.reshape(arrays[i], (size, *(1,) * (count + 1 - len(s)), *s[1:]))
    order = list(range(ndim + 1))
    if not any(flags):
        index = (":", *index)
        if found.apart:  # (arrays, batch, rest)
            order = [count, *range(count), *range(count + 1, ndim + 1)]
    elif whole:  # (batch, arrays, rest)
        index = ("array", *index)
        arrays.insert(0, np.reshape(np.arange(size), (size, *(1,) * count)))
        order = [0, *range(1 + count, 1 + count + first), *range(1, 1 + count), *range(1 + count + first, ndim + 1)]
    else:  # (before, batch, arrays, after)
        order = [first, *range(first), *range(first + 1, ndim + 1)]
    return _BatchedIndex(index, arrays, tuple(order))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _batched_update(v: Any, batched: bool, ndim: int) -> Any:
    """What is written into a region of `ndim` dimensions, with all of these and a batch axis (if need be of size 1)."""
    s = shape_of(v)
    return np.reshape(v, (s[0] if batched else 1, *(1,) * (ndim + batched - len(s)), *s[batched:]))


# ---------------------------------------------------------------------------------------------------------------------
# On XLA. Ints and slices cut a block out of an array, in which ints leave axes of size 1. Arrays then gather from that.


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
            places = range(*_slice(e).indices(shape[axis]))
            if not places:
                stop[axis] = 0
            elif places.step > 0:
                start[axis], stop[axis], step[axis] = places.start, places[-1] + 1, places.step
            else:
                turned.append(axis)
                start[axis], stop[axis], step[axis] = places[-1], places[0] + 1, -places.step
        if kept < 0 and _is_joined(e):
            kept = axis
        axis += 1
    block = tuple([-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True)])
    return _Block(
        tuple(start), tuple(stop), tuple(step), block, tuple(turned), block != shape, tuple(ints), max(kept, 0)
    )


def _cut_xla(j: Any, x: Any, block: _Block) -> Any:
    if block.cut:
        x = j.lax.slice(x, block.start, block.stop, None if set(block.step) == {1} else block.step)
    return j.lax.rev(x, block.turned) if block.turned else x


def _paste_xla(j: Any, x: Any, block: _Block, shape: Shape) -> Any:
    """Zeros of this shape, with the block in its place."""
    if block.turned:
        x = j.lax.rev(x, block.turned)
    if not block.cut:
        return x
    pads = [
        (a, n - (a + (m - 1) * s + 1), s - 1) if m else (0, n, 0)
        for a, s, m, n in zip(block.start, block.step, block.shape, shape, strict=True)
    ]
    return j.lax.pad(x, x.dtype.type(0), pads)


def _write_xla(j: Any, x: Any, v: Any, block: _Block) -> Any:
    """`x` with the block in its place."""
    if block.turned:
        v = j.lax.rev(v, block.turned)
    if not block.cut:
        return v
    if set(block.step) == {1}:
        return j.lax.dynamic_update_slice(x, v, block.start, allow_negative_indices=False)
    turned_back = block._replace(turned=())
    written = _paste_xla(j, j.spread(np.True_, block.shape), turned_back, x.shape)
    return j.lax.select(written, _paste_xla(j, v, turned_back, x.shape), x)


def from_front_xla(j: Any, a: Any, size: int, dtype: np.dtype[Any]) -> Any:
    """Traced indices counted from the front, in a dtype that holds the size: int8 would not hold 128. An index that this
    dtype does not hold stays out of range, and on the same side."""
    own = a.dtype
    unsigned = own.kind == "u"
    if not np.can_cast(own, dtype):
        a = j.lax.clamp(own.type(0 if unsigned else -size - 1), a, own.type(size))
    a = j.cast(a, dtype)
    return a if unsigned else j.lax.select(j.lax.lt(a, dtype.type(0)), j.lax.add(a, dtype.type(size)), a)


def clamped_xla(j: Any, starts: Sequence[Any], shape: Shape, sizes: Shape) -> list[Any]:
    """Where a window of these sizes begins, from starts counted from the front: moved until it lies within the array. XLA's
    own dynamic_slice moves it too, but forgets that where it makes one slice of a slice of a slice."""
    return [
        j.lax.clamp(s.dtype.type(0), s, s.dtype.type(n - w))
        if isinstance(s, j.jax.Array)
        else s.dtype.type(min(max(int(s), 0), n - w))
        for s, n, w in zip(starts, shape, sizes, strict=True)
    ]


def index_columns(j: Any, arrays: Sequence[Any], sizes: Sequence[int]) -> Any:
    """The index arrays for axes of these sizes, counted from the front, side by side along a new last axis."""
    columns = _from_front_all(j, arrays, sizes)
    if not any([isinstance(a, j.jax.Array) for a in columns]):
        return np.stack(np.broadcast_arrays(*columns), -1)
    joint = np.broadcast_shapes(*[np.shape(a) for a in columns])
    columns = [j.lax.expand_dims(j.spread(a, joint), (len(joint),)) for a in columns]
    return columns[0] if len(columns) == 1 else j.lax.concatenate(columns, len(joint))


def _from_front_all(j: Any, arrays: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    dtype = np.dtype(np.int32 if max(sizes) < 2**31 else np.int64)
    return [
        from_front_xla(j, a, n, dtype) if isinstance(a, j.jax.Array) else _from_front(np.asarray(a), n).astype(dtype)
        for a, n in zip(arrays, sizes, strict=True)
    ]


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


def _starts_xla(j: Any, arrays: Sequence[Any], windows: _Windows, shape: Shape) -> list[Any] | None:
    """Where the one window begins; None if there may be others."""
    if any([np.shape(a) for a in arrays]):
        return None
    given = dict(zip(windows.axes, _from_front_all(j, arrays, [shape[axis] for axis in windows.axes]), strict=True))
    zero = next(iter(given.values())).dtype.type(0)
    return clamped_xla(j, [given.get(axis, zero) for axis in range(len(shape))], windows.block.shape, windows.sizes)


def _scatter_numbers(j: Any, windows: _Windows) -> Any:
    return j.lax.ScatterDimensionNumbers(windows.offsets, windows.gone, windows.axes)


# ---------------------------------------------------------------------------------------------------------------------
# slice and unslice.


def _slice_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(region(types[0].shape, params["index"], ()).shape, types[0].dtype)


def _slice_transpose(ct: Any, x: Any, index: Index) -> Any:
    if all([e == ":" or e == "::-1" for e in index]):
        return ct[_basic(index)]  # a permutation, its own inverse
    return bind(unslice_op, (ct,), {"index": index, "shape": x.shape})


def _slice_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(slice_op, tuple(inputs), {"index": (":", *params["index"])})


def _slice_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 2))
    for index in [(1,), (":", 3), (2, 0, 1), ("1:", None, "::2"), ("::-1",), (0, "2::-1", ":", None), ("0:0",)]:
        yield Sample((x,), {"index": index})


def _slice_xla(j: Any, inputs: Sequence[Any], params: Params, out: ArrayType) -> Any:
    (x,) = inputs
    block = _block(np.shape(x), params["index"])
    x = _cut_xla(j, x, block)
    if None in params["index"]:
        return j.lax.reshape(x, out.shape)
    return j.lax.squeeze(x, block.ints) if block.ints else x


def _slice_strides(inputs: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Strides | None:
    strides, shape, index = inputs[0], types[0].shape, params["index"]
    if strides is None:
        return None
    found = []
    axis = 0
    for e in index:
        if e is None:
            found.append(0)
        elif e == "...":
            count = len(shape) - axis - sum([rest is not None for rest in index[index.index("...") + 1 :]])
            found += strides[axis : axis + count]
            axis += count
        else:
            if type(e) is str:
                found.append(strides[axis] * _slice(e).indices(shape[axis])[2])
            axis += 1
    return (*found, *strides[axis:])


def _spelled(index: Index) -> str:
    """A basic index as the user would write it."""
    return ", ".join([str(e) for e in index]) or "..."


def _spelled_slice(
    args: Sequence[str], types: Sequence[ArrayType], is_block: Callable[[int], bool], params: Params
) -> str | None:
    return f"{args[0]}[{_spelled(params['index'])}]" if types[0].shape else None


def _slice_layout(x: Any, index: Index) -> Any:
    """An element is a number, not a view."""
    view = x[_basic(index)]
    return view if type(view) is np.ndarray else None


def _within_slice(index: Index, arrays: Sequence[Any], shape: Shape, params: Params) -> tuple[Index, list[Any]] | None:
    """Where in an array of this shape an index into a slice of it points."""
    outer: Index = params["index"]
    if None in outer or None in index or "..." in (*outer, *index):
        return None
    if arrays and (any([type(e) is int for e in outer]) or any([type(a) is Tracer for a in arrays])):
        return (
            None  # ints next to arrays change where the axes go; of what is not known nobody can say if it is in range
        )
    inner = iter((*index, *(":",) * (len(shape) - len(index))))
    rest = iter(arrays)
    entries: list[Any] = []
    found = []
    for axis, n in enumerate(shape):
        e = outer[axis] if axis < len(outer) else ":"
        if type(e) is int:
            entries.append(e)
            continue
        places = range(*_slice(e).indices(n))
        i = next(inner)
        if type(i) is int:
            entries.append(places[i])
        elif i == "array":
            entries.append(i)
            a = next(rest)
            depends_on(a)
            found.append(np.asarray(places)[a])
        else:
            chosen = places[_slice(i)]
            stop = chosen.stop if chosen.stop >= 0 else None
            entries.append(slice_entry(chosen.start, stop, chosen.step, n) if len(chosen) else "0:0")
    while entries and entries[-1] == ":":
        entries.pop()
    return tuple(entries), found


slice_op = linear(
    "slice", lambda x, index: x[_basic(index)], _slice_transpose,
    infer=_slice_type, batch=_slice_batch, kinds="biufc", samples=_slice_samples, xla=_slice_xla, moves=True, picks=True,
    strides=_slice_strides, spell=_spelled_slice,
    view=View(lambda x, v, index: bind(scatter_op, (x, v), {"index": index}), _slice_layout, within=_within_slice),
)  # fmt: skip


def _unslice(x: Any, index: Index, shape: Shape) -> Any:
    out = np.zeros(shape, PYTHON_SCALARS.get(type(x)) or x.dtype)
    out[_basic(index)] = x
    return out


def _unslice_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(params["shape"], types[0].dtype)


def _unslice_transpose(ct: Any, x: Any, index: Index, shape: Shape) -> Any:
    return bind(slice_op, (ct,), {"index": index})


def _unslice_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(unslice_op, tuple(inputs), {"index": (":", *params["index"]), "shape": (size, *params["shape"])})


def _unslice_samples() -> Iterable[Sample]:
    for s in _slice_samples():
        (x,), index = s.inputs, s.params["index"]
        yield Sample((np.array(x[_basic(index)]) * 2,), {"index": index, "shape": x.shape})


def _unslice_xla(j: Any, inputs: Sequence[Any], params: Params, out: ArrayType) -> Any:
    block = _block(out.shape, params["index"])
    x = j.cast(inputs[0], out.dtype)
    return _paste_xla(j, x if x.shape == block.shape else j.lax.reshape(x, block.shape), block, out.shape)


unslice_op = linear(
    "unslice", _unslice, _unslice_transpose,
    infer=_unslice_type, batch=_unslice_batch, kinds="biufc", samples=_unslice_samples, xla=_unslice_xla,
    moves=True, leaves_zeros=True, fresh=True, strides=lambda inputs, types, params: in_c_order(params["shape"]),
)  # fmt: skip


def unslice(x: Any, index: Index, shape: Shape) -> Any:
    """Zeros of this shape, with `x` written at the basic `index` (in the form of this module)."""
    return bind(unslice_op, (x,), {"index": index, "shape": shape})


# ---------------------------------------------------------------------------------------------------------------------
# gather and scatter_add.


def _positions(arrays: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Where in a C-ordered array of these sizes the index arrays point, counted from 0, as an array of intp."""
    flat: Any = 0
    for axis, (a, n) in enumerate(zip(arrays, sizes, strict=True)):
        a = np.asarray(a, np.intp)
        if a.size:
            low, high = int(a.min()), int(a.max())
            if low < -n or high >= n:
                raise IndexError(f"index {low if low < -n else high} is out of bounds for axis {axis} with size {n}")
            if low < 0:
                a = np.where(a < 0, a + n, a)
        flat = flat * n + a
    return flat


def _are_distinct(flat: Any, total: int) -> bool:
    """Whether no position in range(total) comes twice."""
    if flat.size <= 1:
        return True
    if flat.size * 16 < total:
        ordered = np.sort(flat, axis=None)
        return bool((ordered[1:] > ordered[:-1]).all())
    return bool(np.bincount(flat.reshape(-1)).max() <= 1)


def _gather(x: Any, *arrays: Any, index: Index) -> Any:
    return x[_native(index, arrays)]


def _gather_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    x, *arrays = types
    return ArrayType(region(x.shape, params["index"], tuple([a.shape for a in arrays])).shape, x.dtype)


def _gather_transpose(ct: Any, x: Any, *arrays: Any, index: Index) -> Any:
    return bind(scatter_add_op, (ct, *arrays), {"index": index, "shape": x.shape})


def _gather_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, *arrays = inputs
    index, flags = params["index"], batched[1:]
    shapes = tuple([shape_of(a)[b:] for a, b in zip(arrays, flags, strict=True)])
    found = region(x.shape[batched[0] :], index, shapes)
    index, arrays, order = _batched_index(size, batched[0], flags, arrays, index, found)
    return np.transpose(bind(gather_op, (x, *arrays), {"index": index}), order)


def _gather_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 2))
    once, twice, column = np.array([2, 0]), np.array([1, -1, 1]), np.array([[0], [-3]])
    for index, arrays in [
        (("array",), [twice]),
        ((":", "array"), [twice]),
        (("array", "array"), [column, twice]),
        (("array", "1:", "array"), [once, np.array([1, 0])]),
        ((None, "1:", "array", 0), [once]),
        ((0, "::-1", "array"), [twice]),
        ((1, None, "array"), [column]),
        ((":", "array", "array"), [np.array(3), column % 2]),
        ((":", 1, "...", "array"), [twice]),
        (("array",), [np.zeros(0, int)]),
        (("array", ":", "array"), [np.array(1), np.array(0)]),
    ]:
        yield Sample((x, *arrays), {"index": index})


def _gather_xla(j: Any, inputs: Sequence[Any], params: Params, out: ArrayType) -> Any:
    """What is out of range is moved into it, as in jax."""
    x, *arrays = inputs
    windows = _windows_of(x.shape, params["index"], arrays)
    block = _cut_xla(j, x, windows.block)
    starts = _starts_xla(j, arrays, windows, x.shape)
    if starts is not None:
        window = j.lax.dynamic_slice(block, starts, windows.sizes, allow_negative_indices=False)
        found = j.lax.squeeze(window, windows.gone)
    else:
        numbers = j.lax.GatherDimensionNumbers(windows.offsets, windows.gone, windows.axes)
        places = index_columns(j, arrays, [x.shape[axis] for axis in windows.axes])
        found = j.lax.gather(block, places, numbers, windows.sizes, mode=j.lax.GatherScatterMode.CLIP)
    return found if found.shape == out.shape else j.lax.reshape(found, out.shape)


gather_op = linear(
    "gather", _gather, _gather_transpose, infer=_gather_type, batch=_gather_batch, linear=[{0}], kinds="biufc",
    samples=_gather_samples, xla=_gather_xla, moves=True, picks=True, fresh=True,
)  # fmt: skip


def _scatter_add(x: Any, *arrays: Any, index: Index, shape: Shape) -> Any:
    if is_added(x.dtype):  # one is added after the other
        return _scatter_add(x.astype(np.float32), *arrays, index=index, shape=shape).astype(x.dtype)
    out = np.zeros(shape, x.dtype)
    found = _region_of(shape, arrays, index)
    sizes = [shape[axis] for axis in found.axes]
    flat = _positions(arrays, sizes)
    if _are_distinct(flat, total := int(np.prod(sizes))):
        out[_native(index, arrays)] = x
        return out
    # np.add.at is fast in one dimension only, so the axes that are indexed go first, as one, and so do those of x.
    count = len(sizes)
    places = [i for i, e in enumerate([e for e in index if type(e) is not int and e != "..."]) if e == "array"]
    target = np.moveaxis(out[tuple([_ALL if e == "array" else e for e in _basic(index)])], places, range(count))
    joint = range(found.first, found.first + found.count)
    rows = np.ascontiguousarray(np.moveaxis(x, joint, range(found.count))).reshape(flat.size, -1)
    width = rows.shape[1]
    flat = (flat.reshape(-1, 1) * width + np.arange(width)).reshape(-1)
    if target.flags.c_contiguous:
        np.add.at(target.reshape(-1), flat, rows.reshape(-1))
    else:
        sums = np.zeros(total * width, x.dtype)
        np.add.at(sums, flat, rows.reshape(-1))
        target[...] = sums.reshape(target.shape)
    return out


def _scatter_add_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(params["shape"], types[0].dtype)


def _scatter_add_transpose(ct: Any, x: Any, *arrays: Any, index: Index, shape: Shape) -> Any:
    return bind(gather_op, (ct, *arrays), {"index": index})


def _scatter_add_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, *arrays = inputs
    index, shape, flags = params["index"], params["shape"], batched[1:]
    shapes = tuple([shape_of(a)[b:] for a, b in zip(arrays, flags, strict=True)])
    found = region(shape, index, shapes)
    index, arrays, order = _batched_index(size, True, flags, arrays, index, found)
    x = np.broadcast_to(_batched_update(x, batched[0], len(found.shape)), (size, *found.shape))
    x = np.transpose(x, _inverse(order))
    return bind(scatter_add_op, (x, *arrays), {"index": index, "shape": (size, *shape)})


def _scatter_add_samples() -> Iterable[Sample]:
    for s in _gather_samples():
        x, *arrays = s.inputs
        yield Sample((np.array(x[_native(s.params["index"], arrays)]) * 2, *arrays), {**s.params, "shape": x.shape})


def _scatter_add_xla(j: Any, inputs: Sequence[Any], params: Params, out: ArrayType) -> Any:
    """What is out of range is left out, as in jax."""
    x, *arrays = inputs
    shape = out.shape
    windows = _windows_of(shape, params["index"], arrays)
    dtype = np.dtype(np.float32) if is_added(out.dtype) else out.dtype
    x = j.cast(x, dtype)
    zeros = j.spread(dtype.type(0), windows.block.shape)
    starts = _starts_xla(j, arrays, windows, shape)
    if starts is not None:
        x = j.lax.reshape(x, windows.sizes)
        total = j.lax.dynamic_update_slice(zeros, x, starts, allow_negative_indices=False)
    else:
        x = x if x.shape == windows.shape else j.lax.reshape(x, windows.shape)
        add = j.lax.scatter_max if number_kind(out.dtype) == "b" else j.lax.scatter_add
        places = index_columns(j, arrays, [shape[axis] for axis in windows.axes])
        total = add(zeros, places, x, _scatter_numbers(j, windows))
    return _paste_xla(j, j.cast(total, out.dtype), windows.block, shape)


scatter_add_op = linear(
    "scatter_add", _scatter_add, _scatter_add_transpose, infer=_scatter_add_type, batch=_scatter_add_batch,
    linear=[{0}], kinds="biufc", samples=_scatter_add_samples, xla=_scatter_add_xla, leaves_zeros=True, fresh=True,
)  # fmt: skip


@implements(np.ndarray.__getitem__)
def getitem(x: Any, expression: Any) -> Any:
    """`x[expression]`, in all of NumPy's forms.

    Masks have a shape that depends on their values, which `jit` and `vmap` do not know.
    """
    if type(expression) is int:  # the loop over elements, short
        shape = x.shape
        if shape:
            n = shape[0]
            if -n <= expression < n:
                return bind(slice_op, (x,), {"index": (expression if expression >= 0 else expression + n,)})
            _out_of_bounds(expression, 0, n, x)
    x, index, arrays = locate(x, expression)
    if arrays:
        return bind(gather_op, (x, *arrays), {"index": index})
    for e in index:
        if e is not None and e != ":":
            found = bind(slice_op, (x,), {"index": index})
            if "..." in index and type(found) is Tracer:
                found.state = None
            return found
    if not index:
        return x
    return np.reshape(x, region(x.shape, index, ()).shape)  # new axes only


# ---------------------------------------------------------------------------------------------------------------------
# scatter: writing. Of several updates to one element the last one counts, and only it has a derivative.


def _last_writes(*arrays: Any, sizes: Shape) -> Any:
    flat = _positions(arrays, sizes)
    order = np.arange(flat.size)
    writer = np.empty(int(np.prod(sizes)), np.intp)
    writer[flat.reshape(-1)] = order
    return (writer[flat.reshape(-1)] == order).reshape(flat.shape)


def _last_writes_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(np.broadcast_shapes(*[t.shape for t in types]), np.dtype(bool))


def _last_writes_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    count = max([len(shape_of(a)) - b for a, b in zip(inputs, batched, strict=True)])
    lined_up = [
        np.reshape(a, (size, *(1,) * (count + 1 - len(a.shape)), *a.shape[1:])) if b else a
        for a, b in zip(inputs, batched, strict=True)
    ]
    examples = np.reshape(np.arange(size), (size, *(1,) * count))
    return bind(last_writes_op, (examples, *lined_up), {"sizes": (size, *params["sizes"])})


def _last_writes_samples() -> Iterable[Sample]:
    yield Sample((np.array([1, -1, 1, 0]),), {"sizes": (3,)})
    yield Sample((np.array([[1], [-2]]), np.array([0, 2, 0])), {"sizes": (3, 4)})
    yield Sample((np.array([[1], [0]]), np.array([0, 2, 0])), {"sizes": (3, 4)})


def _last_writes_xla(j: Any, inputs: Sequence[Any], params: Params, out: ArrayType) -> Any:
    return _lasting_xla(j, index_columns(j, inputs, params["sizes"]), params["sizes"])


def _lasting_xla(j: Any, places: Any, sizes: Sequence[int]) -> Any:
    joint, count = np.shape(places)[:-1], len(sizes)
    order = j.lax.reshape(j.lax.iota(np.int32, math.prod(joint)), joint)
    to = j.lax.ScatterDimensionNumbers((), tuple(range(count)), tuple(range(count)))
    writer = j.lax.scatter_max(j.spread(np.int32(0), tuple(sizes)), places, order, to)
    of = j.lax.GatherDimensionNumbers((), tuple(range(count)), tuple(range(count)))
    return j.lax.eq(j.lax.gather(writer, places, of, (1,) * count, mode=j.lax.GatherScatterMode.CLIP), order)


# Whether each update, of those at the places that the index arrays name, is the last to its place.
last_writes_op = Op(
    "last_writes",
    evaluate=_last_writes,
    infer=_last_writes_type,
    jvp=lambda primals, tangents, out, params: None,
    vjp=lambda wanted, ct, out, primals, params: [None] * len(wanted),
    batch=_last_writes_batch,
    samples=_last_writes_samples,
    kinds="iu",
    xla=_last_writes_xla,
)


def _scatter(x: Any, v: Any, *arrays: Any, index: Index, into: Any = None) -> Any:
    out = np.array(x) if into is None else into
    if arrays:
        # In C order NumPy writes in the order of the indices, so that it is the last of them that counts.
        arrays = tuple([np.asarray(a, order="C") for a in arrays])
        v = np.asarray(v, order="C")
    out[_native(index, arrays) if arrays else _basic(index)] = v
    return out


def _scatter_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    x, v, *arrays = types
    found = region(x.shape, params["index"], tuple([a.shape for a in arrays]))
    extra = len(found.shape) - v.ndim
    if extra < 0 or any([n != m and n != 1 for n, m in zip(v.shape, found.shape[max(extra, 0) :], strict=True)]):
        raise ShapeError(f"cannot write {v} into a region of shape {found.shape} of {x}: shapes do not broadcast")
    return ArrayType(x.shape, x.dtype)


def _scatter_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    x, _, *arrays = primals
    t, tv = tangents[:2]
    if t is None:
        if tv is None:
            return None
        t = np.zeros(shape_of(x), type_of(out).dtype)
    return bind(scatter_op, (t, 0 if tv is None else tv, *arrays), params)


def _scatter_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    _, v, *arrays = primals
    # First what reads the cotangent: then jit may write the zeros into its memory.
    of_v = conform(_written(ct, arrays, params["index"]), v) if 1 in wanted else None
    of_x = bind(scatter_op, (ct, 0, *arrays), params) if 0 in wanted else None
    return [of_x if i == 0 else of_v if i == 1 else None for i in wanted]


def _written(ct: Any, arrays: Sequence[Any], index: Index) -> Any:
    """The region of a cotangent, with zeros for updates that did not last."""
    if not arrays:
        return bind(slice_op, (ct,), {"index": index})
    picked = bind(gather_op, (ct, *arrays), {"index": index})
    found = _region_of(ct.shape, arrays, index)
    if np.prod(found.shape[found.first : found.first + found.count]) <= 1:
        return picked
    lasting = bind(last_writes_op, tuple(arrays), {"sizes": tuple([ct.shape[axis] for axis in found.axes])})
    after = (1,) * (len(found.shape) - found.first - found.count)
    return np.where(np.reshape(lasting, (*shape_of(lasting), *after)), picked, 0)


def _scatter_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, v, *arrays = inputs
    index, flags = params["index"], batched[2:]
    if not batched[0]:
        x = np.broadcast_to(x, (size, *shape_of(x)))
    shapes = tuple([shape_of(a)[b:] for a, b in zip(arrays, flags, strict=True)])
    found = region(x.shape[1:], index, shapes)
    index, arrays, order = _batched_index(size, True, flags, arrays, index, found)
    if batched[1] or found.shape:
        v = np.transpose(_batched_update(v, batched[1], len(found.shape)), _inverse(order))
    return bind(scatter_op, (x, v, *arrays), {"index": index})


def _scatter_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(1)
    for s in (*_slice_samples(), *_gather_samples()):
        x, *arrays = s.inputs
        found = _region_of(x.shape, arrays, s.params["index"])
        yield Sample((x, rng.uniform(-1, 1, found.shape), *arrays), s.params)
        yield Sample((x, rng.uniform(-1, 1, found.shape[-1:]), *arrays), s.params)
    yield Sample((x, 0.5), {"index": (1,)})


def _scatter_xla(j: Any, inputs: Sequence[Any], params: Params, out: ArrayType) -> Any:
    """What is out of range is left out, as in jax."""
    x, v, *arrays = inputs
    index = params["index"]
    found = _region_of(out.shape, arrays, index)
    v = j.spread(j.cast(v, out.dtype), found.shape)
    if not arrays:
        block = _block(out.shape, index)
        return _write_xla(j, x, v if v.shape == block.shape else j.lax.reshape(v, block.shape), block)
    windows = _windows_of(out.shape, index, arrays)
    block = _cut_xla(j, x, windows.block)
    starts = _starts_xla(j, arrays, windows, out.shape)
    if starts is not None:
        v = j.lax.reshape(v, windows.sizes)
        written = j.lax.dynamic_update_slice(block, v, starts, allow_negative_indices=False)
    else:
        sizes = [out.shape[axis] for axis in windows.axes]
        places = index_columns(j, arrays, sizes)
        v = v if v.shape == windows.shape else j.lax.reshape(v, windows.shape)
        written = _scattered_xla(j, block, v, places, sizes, _scatter_numbers(j, windows))
    return _write_xla(j, x, written, windows.block)


def _scattered_xla(j: Any, x: Any, v: Any, places: Any, sizes: Sequence[int], numbers: Any) -> Any:
    """XLA says nothing of the order of writes. On CPUs it is NumPy's; elsewhere only the last ones may be let through."""
    if isinstance(places, np.ndarray):
        flat = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), tuple(sizes), mode="clip")
        if _are_distinct(flat, math.prod(sizes)):
            return j.lax.scatter(x, places, v, numbers, unique_indices=True)
    if j.jax.default_backend() != "cpu":
        last = _lasting_xla(j, places, sizes)
        nowhere = j.spread(places.dtype.type(max(sizes)), places.shape)
        places = j.lax.select(j.lax.broadcast_in_dim(last, places.shape, tuple(range(last.ndim))), places, nowhere)
    return j.lax.scatter(x, places, v, numbers)


def _overwritten(scatter: str, args: Sequence[str], params: Params) -> str:
    """As a statement: `a[1:, 3] = b`, where no arrays are in the index."""
    index: Index = params["index"]
    if "array" in index:
        return f"{scatter}({', '.join(args)}, index={index}, into={args[0]})"
    return f"{args[0]}[{_spelled(index)}] = {args[1]}"


scatter_op = Op(
    "scatter",
    evaluate=_scatter,
    infer=_scatter_type,
    jvp=masking_jvp(_scatter_jvp, (0, 1)),
    vjp=masking_vjp(_scatter_vjp, 0),
    moves=True,
    nonnegative=True,
    linear=[{0, 1}],
    batch=_scatter_batch,
    samples=_scatter_samples,
    kinds="biufc",
    fresh=True,
    strides=lambda inputs, types, params: None if inputs[0] is None else new_strides(types[0].shape, inputs[:1]),
    overwrite=_overwritten,
    xla=_scatter_xla,
)


# ---------------------------------------------------------------------------------------------------------------------
# x.at[index]: what assignment is to arrays that do not change.

_RANK = {"b": 0, "u": 0, "i": 0, "f": 1, "c": 2}


class at:
    """`at(x)[index].set(v)`: a copy of `x` with `v` written at `index`. A traced array has it as `x.at[index].set(v)`.

    The index is any that NumPy takes, with NumPy's errors. `at(x)[index]` has the methods

        get()         x[index]
        set(v)        y = x.copy(); y[index] = v; the last of several updates to one element counts
        add(v)        y[index] += v, except that an element named several times gets all of them, as with np.add.at
        subtract, multiply, divide, power, min, max (v): the same for other functions; divide and power take the product
                      of what an element gets
        apply(f)      y[index] = f(y[index]), several times for an element named several times

    each with the keywords of jax: `mode` ("clip": indices out of range become the nearest place; "drop" or "fill": they
    are left out of updates, and `get` returns `fill_value` for them), `unique_indices` (a promise that saves looking),
    `indices_are_sorted` (without effect here). `v` broadcasts to the shape of x[index] and takes the dtype of x.

    >>> import numpy as np
    >>> at(np.zeros(3))[1:].set(5.0).tolist()
    [0.0, 5.0, 5.0]
    >>> at(np.zeros(3))[np.array([0, 0, 2])].add(1.0).tolist()
    [2.0, 0.0, 1.0]
    """

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = as_array(array)

    def __getitem__(self, index: Any) -> Place:
        return Place(self.array, settled(index))

    def __repr__(self) -> str:
        return f"at({self.array!r})"


FUNCTIONS["at"] = at


class Place:
    """`x.at[index]`, with the methods that `at` lists."""

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: Any) -> None:
        self.array = array
        self.index = index

    def __repr__(self) -> str:
        return f"at({self.array!r})[{self.index!r}]"

    def get(
        self,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
        fill_value: Any = None,
    ) -> Any:
        """`x[index]`."""
        x, index, arrays = located = locate(self.array, self.index, _known_mode(mode))
        if not arrays:
            return getitem(x, self.index) if mode is None else bind(slice_op, (x,), {"index": index})
        if mode not in ("drop", "fill"):
            return bind(gather_op, (x, *arrays), {"index": index})
        found, inside, safe = _inside(located)
        picked = bind(gather_op, (x, *safe), {"index": index})
        if fill_value is None:
            dtype = type_of(x).dtype
            fill_value = {"b": True, "u": -1, "i": 0, "f": np.nan, "c": np.nan}[number_kind(dtype)]
            if number_kind(dtype) in "iu":
                fill_value = np.iinfo(dtype).min if number_kind(dtype) == "i" else np.iinfo(dtype).max
        return np.where(_over_region(inside, found), picked, fill_value)

    def set(self, values: Any, **keywords: Any) -> Any:
        """A copy of `x` with x[index] = values."""
        return self._updated(None, values, **keywords)

    def add(self, values: Any, **keywords: Any) -> Any:
        """A copy of `x` with values added at index, all that are for one element."""
        return self._updated(np.add, values, **keywords)

    def subtract(self, values: Any, **keywords: Any) -> Any:
        """A copy of `x` with values subtracted at index, all that are for one element."""
        return self._updated(np.add, np.negative(as_array(values)), **keywords)

    def multiply(self, values: Any, **keywords: Any) -> Any:
        """A copy of `x` multiplied by values at index, by all that are for one element."""
        return self._updated(np.multiply, values, **keywords)

    mul = multiply

    def divide(self, values: Any, **keywords: Any) -> Any:
        """A copy of `x` divided by values at index, by all that are for one element."""
        return self._updated(np.divide, values, merge=np.multiply, **keywords)

    def power(self, values: Any, **keywords: Any) -> Any:
        """A copy of `x` raised to values at index, to the product of those for one element."""
        return self._updated(np.power, values, merge=np.multiply, **keywords)

    def min(self, values: Any, **keywords: Any) -> Any:
        """A copy of `x` with np.minimum(x[index], values) at index."""
        return self._updated(np.minimum, values, **keywords)

    def max(self, values: Any, **keywords: Any) -> Any:
        """A copy of `x` with np.maximum(x[index], values) at index."""
        return self._updated(np.maximum, values, **keywords)

    def by(self, function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
        """A method that makes a copy of `x` with function(x[index], values) at index, where no element is named twice."""

        def method(values: Any) -> Any:
            located = locate(self.array, self.index)
            if located.arrays and not _known_distinct(located):
                raise unsupported(function, ".at", self.array)
            return self._updated(function, values, unique_indices=True)

        return method

    def apply(self, function: Callable[[Any], Any], **keywords: Any) -> Any:
        """A copy of `x` with function(x[index]) at index."""
        return self._updated(lambda x, _: function(x), None, **keywords)

    def _updated(
        self,
        function: Callable[[Any, Any], Any] | None,
        values: Any,
        *,
        merge: Callable[[Any, Any], Any] | None = None,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Any:
        """The array with `function(x[index], values)` at index, or just `values`. `merge` makes one update of two to
        the same element."""
        x = self.array
        v = None if values is None else _writable(lifted(as_array(values), (x,)), x)
        if is_traced_mask(self.index):
            rest = len(shape_of(x)) - self.index.ndim
            if rest >= 0 and (v is None or len(shape_of(v)) <= rest):
                return masked(x, self.index, function, v)
        located = locate(x, self.index, _known_mode(mode))
        if located.array is x:
            return _update(located, function, v, merge or function, unique_indices, mode)
        return np.reshape(_update(located, function, v, merge or function, unique_indices, mode), shape_of(x))


def _known_mode(mode: str | None) -> str | None:
    """What `locate` is to do with indices out of range."""
    modes = {None: None, "promise_in_bounds": None, "clip": "clip", "drop": "drop", "fill": "drop"}
    if mode not in modes:
        raise ValueError(f"mode must be 'clip', 'drop', 'fill', 'promise_in_bounds' or None, got {mode!r}")
    return modes[mode]


def _writable(v: Any, x: Any) -> Any:
    """What is written into x, or a DtypeError where a part of it would be lost, and its derivative with that."""
    value, array = type_of(v), type_of(x)
    if _RANK[number_kind(value.dtype)] > _RANK[number_kind(array.dtype)]:
        part = "imaginary" if number_kind(value.dtype) == "c" else "fractional"
        raise DtypeError(
            f"cannot write {value} into {array}{placed(user_source())}: its {part} part would be lost; "
            f"write x.astype({value.dtype.name!r}).at[...], or convert the value"
        )
    return v


def is_traced_mask(index: Any) -> bool:
    return type(index) is Tracer and number_kind(index.dtype) == "b" and index.ndim > 0


def masked(x: Any, mask: Any, function: Callable[[Any, Any], Any] | None, v: Any) -> Any:
    """The update where a traced mask holds. No shape depends on the mask, so it works under `jit` and `vmap`."""
    shape, dtype = shape_of(x), type_of(x).dtype
    if mask.shape != shape[: mask.ndim]:
        raise IndexError(
            f"boolean index did not match indexed array: a mask {mask.type} for {type_of(x)}{placed(user_source())}"
        )
    mask = np.reshape(mask, (*mask.shape, *(1,) * (len(shape) - mask.ndim)))
    if function is not None:
        v = function(np.where(mask, x, np.ones((), dtype)), v)  # nothing untoward happens where the mask does not hold
    return np.where(mask, astype(v, dtype), x)


def _update(
    located: Located,
    function: Callable[[Any, Any], Any] | None,
    v: Any,
    merge: Callable[[Any, Any], Any] | None,
    unique: bool,
    mode: str | None,
) -> Any:
    """`_updated` once the place is found."""
    x, index, arrays = located
    shape, dtype = shape_of(x), type_of(x).dtype
    if arrays and mode in ("drop", "fill"):
        # Updates to nowhere go to one place more, which is then cut off.
        found, inside, safe = _inside(located)
        axis = found.axes[0]
        n = shape[axis]
        slab = np.zeros((*shape[:axis], 1, *shape[axis + 1 :]), dtype)
        safe[0] = np.where(inside, safe[0], n)
        larger = _update(Located(np.concatenate([x, slab], axis), index, safe), function, v, merge, unique, None)
        return larger[(_ALL,) * axis + (slice(n),)]
    if function is np.add:
        found = _region_of(shape, arrays, index)
        v = np.broadcast_to(astype(v, dtype), found.shape)
        if arrays:
            return x + bind(scatter_add_op, (v, *arrays), {"index": index, "shape": shape})
        return x + bind(unslice_op, (v,), {"index": index, "shape": shape})
    if function is not None:
        if arrays and not unique and not _known_distinct(located):
            if v is None:
                return _applied(located, function)
            assert merge is not None
            (x, index, arrays), v = _merged(located, v, merge)
        v = _writable(function(_read(x, index, arrays), v), x)
    return bind(scatter_op, (x, v, *arrays), {"index": index})


def _read(x: Any, index: Index, arrays: Sequence[Any]) -> Any:
    return bind(gather_op, (x, *arrays), {"index": index}) if arrays else bind(slice_op, (x,), {"index": index})


def _inside(located: Located) -> tuple[Region, Any, list[Any]]:
    """The region, which of its index tuples are in range, and index arrays counted from the front with 0 where not."""
    x, index, arrays = located
    found = _region_of(shape_of(x), arrays, index)
    sizes = [x.shape[axis] for axis in found.axes]
    inside: Any = True
    arrays = [_from_front(a, n) for a, n in zip(arrays, sizes, strict=True)]
    for a, n in zip(arrays, sizes, strict=True):
        inside = np.logical_and(inside, np.logical_and(np.greater_equal(a, 0), np.less(a, n)))
    return found, inside, [np.where(inside, a, 0) for a in arrays]


def _over_region(per_index: Any, found: Region) -> Any:
    """One value for each index tuple, shaped to broadcast against the region."""
    return np.reshape(per_index, (*shape_of(per_index), *(1,) * (len(found.shape) - found.first - found.count)))


def _known_distinct(located: Located) -> bool:
    """Whether it can be seen that no element is named twice."""
    x, index, arrays = located
    found = _region_of(shape_of(x), arrays, index)
    if np.prod(found.shape[found.first : found.first + found.count]) <= 1:
        return True
    if any([type(a) is Tracer for a in arrays]):
        return False
    for a in arrays:
        depends_on(a)
    sizes = [x.shape[axis] for axis in found.axes]
    return _are_distinct(_positions(arrays, sizes), int(np.prod(sizes)))


def _merged(located: Located, v: Any, merge: Callable[[Any, Any], Any]) -> tuple[Located, Any]:
    """Sort the updates by their element and merge those to the same one, so that the last of each holds them all.

    The merging is a running one over the sorted updates, in log2(n) steps on whole arrays.
    """
    x, index, arrays = located
    found = _region_of(shape_of(x), arrays, index)
    first, joint = found.first, found.shape[found.first : found.first + found.count]
    before, after = found.shape[:first], found.shape[first + found.count :]
    flat: Any = 0
    for a, axis in zip(arrays, found.axes, strict=True):
        flat = np.add(np.multiply(flat, x.shape[axis]), _from_front(wide(a), x.shape[axis]))
    flat = np.reshape(np.broadcast_to(flat, joint), -1)
    order = np.argsort(flat, stable=True)
    flat = take(flat, order)
    arrays = [take(np.reshape(np.broadcast_to(a, joint), -1), order) for a in arrays]
    v = take(np.reshape(np.broadcast_to(v, found.shape), (*before, -1, *after)), order, axis=first)
    count, step = int(np.prod(joint)), 1
    skip = (_ALL,) * first
    while step < count:
        same = np.reshape(np.equal(flat[step:], flat[:-step]), (-1, *(1,) * len(after)))
        later = v[(*skip, slice(step, None))]
        later = np.where(same, merge(later, v[(*skip, slice(None, -step))]), later)
        v = np.concatenate([v[(*skip, slice(None, step))], later], axis=first)
        step *= 2
    return Located(x, index, arrays), v


def _applied(located: Located, function: Callable[[Any, Any], Any]) -> Any:
    """`function` at places of which some are named several times: those of the first time, of the second, and so on."""
    x, index, arrays = located
    found = _region_of(shape_of(x), arrays, index)
    instead = "promise with unique_indices=True that no element is named twice"
    known = [concrete(a, "x.at[i].apply(f)", instead) for a in arrays]
    known = [a.reshape(-1) for a in np.broadcast_arrays(*known)]
    flat = _positions(known, [x.shape[axis] for axis in found.axes])
    order = np.argsort(flat, stable=True)
    ordered = flat[order]
    turn = np.empty_like(flat)
    turn[order] = np.arange(flat.size) - np.searchsorted(ordered, ordered)
    for i in range(int(turn.max()) + 1):
        now = [a[turn == i] for a in known]
        x = bind(scatter_op, (x, _writable(function(_read(x, index, now), None), x), *now), {"index": index})
    return x


# ---------------------------------------------------------------------------------------------------------------------
# NumPy's functions that read.


@implements(np.take)
def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """`a[..., indices, ...]` with the indices at `axis`, or into all elements of `a` if it is None."""
    reject(np.take, out=out)
    a, indices = as_array(a), as_array(indices)
    if axis is None or is_of_a_scalar(axis, len(shape_of(a))):
        a, axis = np.reshape(a, -1), 0
    axis = normalize_axis(axis, len(a.shape), "take")
    if number_kind(type_of(indices).dtype) == "b":
        indices = astype(indices, np.intp)
    if mode == "clip":
        indices = np.clip(wide(indices), 0, a.shape[axis] - 1)
    elif mode == "wrap":
        indices = np.remainder(wide(indices), a.shape[axis])
    elif mode != "raise":
        raise ValueError(f"take: mode must be 'raise', 'wrap' or 'clip', got {mode!r}")
    taken = getitem(a, (_ALL,) * axis + (indices,))
    # Of one index it is a slice, and x[i] a view, which x.take(i) is not.
    return copied(taken) if type(taken) is Tracer and taken.shape and not shape_of(indices) else taken


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """For each place along the other axes, its own elements along `axis`: out[i, j] = arr[i, indices[i, j]]."""
    arr, indices = as_array(arr), as_array(indices)
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    shape = arr.shape
    ndim = len(shape)
    if len(indices.shape) != ndim:
        raise ValueError(
            "take_along_axis: `indices` and `arr` must have the same number of dimensions, "
            f"got {type_of(indices)} and {type_of(arr)}"
        )
    axis = normalize_axis(axis, ndim, "take_along_axis")
    places = [np.reshape(np.arange(n), (-1, *(1,) * (ndim - i - 1))) for i, n in enumerate(shape)]
    return getitem(arr, (*places[:axis], indices, *places[axis + 1 :]))


_MASK = "write `np.where(condition, x, 0)`, whose shape does not depend on values"


@implements(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    """The slices of `a` along `axis` where `condition` holds, whose values must be known."""
    reject(np.compress, out=out)
    return np.take(as_array(a), np.flatnonzero(concrete(as_array(condition), "np.compress", _MASK)), axis)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """The elements of `arr` where `condition` holds, whose values must be known."""
    return np.take(as_array(arr), np.flatnonzero(concrete(as_array(condition), "np.extract", _MASK)))


@implements(np.nonzero)
def nonzero(a: Any) -> tuple[Any, ...]:
    """The indices of the elements that are not zero, whose values must be known."""
    return np.nonzero(concrete(as_array(a), "np.nonzero", _MASK))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> Any:
    """The positions in a.ravel() of the elements that are not zero, whose values must be known."""
    return np.flatnonzero(concrete(as_array(a), "np.flatnonzero", _MASK))


@implements(np.argwhere)
def argwhere(a: Any) -> Any:
    """The indices of the elements that are not zero, one a row. Values must be known."""
    return np.argwhere(concrete(as_array(a), "np.argwhere", _MASK))


# ---------------------------------------------------------------------------------------------------------------------
# Functions of indices.


@implements(np.ix_)
def ix_(*args: Any) -> tuple[Any, ...]:
    """Index arrays that pick a grid: x[np.ix_(rows, columns)] has the shape (len(rows), len(columns))."""
    found = []
    for i, a in enumerate(map(as_array, args)):
        if len(shape_of(a)) != 1:
            raise ValueError(f"ix_: each argument must have one dimension, got {type_of(a)}")
        if number_kind(type_of(a).dtype) == "b":
            (a,) = np.nonzero(a)
        elif a.shape == (0,):
            a = np.zeros(0, np.intp)
        found.append(np.reshape(a, (*(1,) * i, -1, *(1,) * (len(args) - i - 1))))
    return tuple(found)


@implements(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    """Positions in the flat array as one index for each axis of `shape`."""
    sizes = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    indices = wide(as_array(indices))
    found = []
    for n in sizes[::-1] if order == "C" else sizes:
        found.append(np.remainder(indices, n))
        indices = np.floor_divide(indices, n)
    return tuple(found[::-1] if order == "C" else found)


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    """One index for each axis of `dims` as positions in the flat array."""
    sizes = (dims,) if np.ndim(dims) == 0 else tuple(dims)
    modes = (mode,) * len(sizes) if isinstance(mode, str) else tuple(mode)
    parts = list(zip(multi_index, sizes, modes, strict=True))
    flat: Any = 0
    for i, n, how in parts if order == "C" else parts[::-1]:
        i = wide(i)
        if how == "clip":
            i = np.clip(i, 0, n - 1)
        elif how == "wrap":
            i = np.remainder(i, n)
        flat = np.add(np.multiply(flat, n), i)
    return flat


@implements(np.diag_indices_from)
def diag_indices_from(arr: Any) -> tuple[Any, ...]:
    """The indices of the diagonal of `arr`, all of whose axes are of one size."""
    if len(arr.shape) < 2 or len(set(arr.shape)) != 1:
        raise ValueError(f"diag_indices_from needs two or more dimensions, all of one size, got {type_of(arr)}")
    return np.diag_indices(arr.shape[0], len(arr.shape))


@implements(np.tril_indices_from)
def tril_indices_from(arr: Any, k: int = 0) -> tuple[Any, ...]:
    """The indices of the lower triangle of the matrix `arr`."""
    return np.tril_indices(arr.shape[-2], k, arr.shape[-1])


@implements(np.triu_indices_from)
def triu_indices_from(arr: Any, k: int = 0) -> tuple[Any, ...]:
    """The indices of the upper triangle of the matrix `arr`."""
    return np.triu_indices(arr.shape[-2], k, arr.shape[-1])
