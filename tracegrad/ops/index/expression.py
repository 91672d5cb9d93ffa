"""Index expressions as data, and where they point.

An index expression becomes a tuple with one entry for each place in it:

    3           an int, counted from the front
    "1:4:2"     a slice, clipped to the axis; ":" takes all of it
    None        a new axis
    "array"     the next of the op's integer inputs
    "..."       no axis, but NumPy takes what it stands between for apart

so `x[-1, :, i, ..., 2:]` of a five-dimensional x is `gather[index=(4, ':', 'array', ':', '2:')] x i`. NumPy itself
then does the indexing, which settles where the axes of several arrays go. Ellipses, masks, lists and negative ints are
gone by then; negative elements of arrays are not.
"""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.plain import require_plain_items
from tracegrad.core.symbols import (
    Symbol,
    as_index,
    broadcast_shapes,
    number_in,
    numbers_up_to,
    range_length,
    slice_indices,
    text_of,
)
from tracegrad.core.trace import as_array, contains_tracer
from tracegrad.core.tracer import Tracer, concrete, depends_on, plain_value
from tracegrad.core.types import Shape, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.index.selected import INSTEAD

Index = tuple[Any, ...]
ALL: Any = slice(None)
BEHIND_OTHERS = (
    "put the axis of the mask first, as `np.moveaxis(x, axis, 0)[mask]`, of which sums and the like need no number of elements, or say "
    "how many there are at most: `x[:, tnp.flatnonzero(mask, size=n)]`"
)


# ---------------------------------------------------------------------------------------------------------------------
# The entries of an index.


@lru_cache(maxsize=4096)
def slice_entry(start: int | None, stop: int | None, step: int | None, size: int) -> str:
    """A slice of an axis of this size, clipped to it."""
    first, last, stride = slice_indices(start, stop, step, size)
    length = range_length(first, last, stride)
    if length == size and (stride == 1 or size == 1):
        return ":"
    if length == 0:
        return "0:0"
    if stride > 0:
        return f"{text_of(first or '')}:{text_of(last if last < size else '')}" + (f":{stride}" if stride > 1 else "")
    return f"{text_of(first if first < size - 1 else '')}:{text_of(last if last >= 0 else '')}:{stride}"


@lru_cache(maxsize=4096)
def slice_of(entry: str) -> slice:
    return slice(*[number_in(part) if part else None for part in entry.split(":")])


def count_of(places: slice, size: int) -> int:
    """How many elements a slice takes of an axis of this size."""
    return range_length(*slice_indices(places.start, places.stop, places.step, size))


@lru_cache(maxsize=4096)
def basic(index: Index) -> Index:
    """What NumPy takes for an index; "array" stays where an array is to go."""
    native: dict[Any, Any] = {"array": "array", "...": Ellipsis}
    return tuple([(native.get(e) or slice_of(e)) if type(e) is str else e for e in index])


def native(index: Index, arrays: Sequence[Any]) -> Index:
    """What NumPy takes for an index with these arrays in it."""
    if len(index) == 1:
        return (arrays[0],)
    rest = iter(arrays)
    return tuple([next(rest) if type(e) is str and e == "array" else e for e in basic(index)])


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
            dims.append(count_of(slice_of(e), shape[axis]))
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
        joint = broadcast_shapes(*arrays)
    except ValueError:
        listing = " ".join(map(str, arrays))
        raise IndexError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {listing}"
        ) from None
    apart = advanced[-1] - advanced[0] >= len(advanced)
    if apart:
        first = 0
    return Region((*dims[:first], *joint, *dims[first:]), first, len(joint), tuple(axes), apart)


def region_of(shape: Shape, arrays: Sequence[Any], index: Index) -> Region:
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
    items = list(expression) if isinstance(expression, tuple) else [expression]
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
            item = items[place] = _array_item(item, x, BEHIND_OTHERS if place else INSTEAD)
            taken += item.ndim if type(item) is np.ndarray and item.dtype == bool else 1
    if taken > len(shape):
        raise IndexError(
            f"too many indices for array: array is {len(shape)}-dimensional, but {taken} were indexed: "
            f"{type_of(x)}{at(user_source())}"
        )
    if ellipsis is not None:
        items[ellipsis : ellipsis + 1] = [ALL] * (len(shape) - taken) or [Ellipsis]

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
                if n != m and m:  # no elements are as many as any
                    raise IndexError(
                        f"boolean index did not match indexed array along axis {i}; "
                        f"size of axis is {n} but size of corresponding boolean axis is {m}: "
                        f"a mask of shape {item.shape} for {type_of(x)}{at(user_source())}"
                    )
            entries += ["array"] * (item.ndim or 1)
            arrays += item.nonzero() if item.ndim else [np.zeros(int(item), np.intp)]
            sizes += shape[axis : axis + item.ndim] if item.ndim else [1]
            axis += item.ndim
            continue
        n = shape[axis]
        if kind is int or kind is Symbol:
            if mode == "clip":
                item = max(min(item, n - 1), -n)
            if -n <= item < n:
                entries.append(item + n if item < 0 else item)
            elif mode == "drop":
                entries.append("array")
                arrays.append(np.array(item))
            else:
                out_of_bounds(item, axis, n, x)
        elif kind is slice:
            try:
                entries.append(slice_entry(item.start, item.stop, item.step, n))
            except TypeError:  # a tracer, which has no hash
                parts = [p if p is None else as_index(p) for p in (item.start, item.stop, item.step)]
                entries.append(slice_entry(*parts, n))
        else:
            entries.append("array")
            if mode is not None:  # where we compute with it
                depends_on(item)
            arrays.append(np.clip(from_front(item, n), 0, n - 1) if mode == "clip" else item)
        sizes.append(n)
        axis += 1
    if "..." in entries:
        place = entries.index("...")
        apart = arrays and any(map(is_joined, entries[:place])) and any(map(is_joined, entries[place:]))
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


def is_joined(entry: Any) -> bool:
    """Whether an entry is one of those that NumPy broadcasts together, if there is an array among them."""
    return type(entry) is int or entry == "array"


def _array_item(item: Any, x: Any, instead: str) -> Any:
    """An item of an index that is neither int, slice, None nor Ellipsis: as an int, a mask or an array of integers. `instead` says what
    to write in place of a mask whose values are not known."""
    if type(item) is not Tracer and type(item) is not np.ndarray:
        if isinstance(item, bool | np.bool_):
            return np.asarray(item)
        if hasattr(item, "__index__") and not isinstance(item, np.ndarray):
            return as_index(item)
        given = item
        if isinstance(item, deque | UserList):
            item = list(item)  # which may hold tracers
        if contains_tracer(item) or (hasattr(item, "__array__") and not isinstance(item, np.generic)):
            item = as_array(item)
        else:  # a list, a range, a memoryview: whatever NumPy makes numbers of
            if isinstance(item, list | tuple):
                require_plain_items(item)
            item = np.asarray(item)
            if number_kind(item.dtype) not in ("biu" if item.ndim == 0 else "biufc"):
                raise IndexError(
                    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays "
                    f"are valid indices, got {clip(repr(given))} for {type_of(x)}{at(user_source())}"
                )
        if type(item) is np.ndarray and item.size == 0 and item.dtype == np.float64:
            item = item.astype(np.intp)  # x[[]]
    kind = number_kind(item.dtype)
    if kind == "b":
        return np.asarray(concrete(item, "indexing with a mask", instead))
    if kind not in "iu":
        raise IndexError(
            f"arrays used as indices must be of integer (or boolean) type, got {type_of(item)} as an index of "
            f"{type_of(x)}{at(user_source())}; write i.astype(int)"
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


def from_front(a: Any, size: int) -> Any:
    """Indices counted from the front, in a signed dtype that holds the size."""
    dtype = type_of(a).dtype
    if number_kind(dtype) == "u":
        return wide(a)
    a = a if np.iinfo(dtype).max >= size else wide(a)
    return np.where(np.less(a, 0), np.add(a, size), a)


def out_of_bounds(i: int, axis: int, size: int, x: Any) -> NoReturn:
    raise IndexError(f"index {i} is out of bounds for axis {axis} with size {size}: {type_of(x)}{at(user_source())}")


def _is_abstract(x: Any) -> bool:
    """Whether there is no value to be found under a tracer, so that NumPy will not see this index before it runs."""
    return plain_value(x, "an index") is None


def _check_bounds(located: Located) -> None:
    """Raise for known indices that are out of range, where evaluation, which would tell, comes later or elsewhere."""
    x, index, arrays = located
    shape = shape_of(x)
    for a, axis in zip(arrays, region_of(shape, arrays, index).axes, strict=True):
        if type(a) is not Tracer and a.size:
            for i in (int(a.min()), int(a.max())):
                if not -shape[axis] <= i < shape[axis]:
                    out_of_bounds(i, axis, shape[axis], x)


# ---------------------------------------------------------------------------------------------------------------------
# Batches. A batch goes in front of the index as ":" where nothing but the indexed array has one, and else as an array
# that counts the examples.


class BatchedIndex(NamedTuple):
    """An index into batched arrays, and the permutation that brings its region into order: batch first, then as it is
    for one example."""

    index: Index
    arrays: list[Any]
    order: tuple[int, ...]


def batched_index(
    size: int, whole: bool, flags: Sequence[bool], arrays: Sequence[Any], index: Index, found: Region
) -> BatchedIndex:
    """`whole`: the indexed array has a batch axis. `flags`: which index arrays have. `found`: one example's region."""
    first, count, ndim = found.first, found.count, len(found.shape)
    arrays = _with_batch_in_front(flags, arrays, count)
    order = list(range(ndim + 1))
    if not any(flags):
        index = (":", *index)
        if found.apart:  # (arrays, batch, rest)
            order = [count, *range(count), *range(count + 1, ndim + 1)]
    elif whole:  # (batch, arrays, rest)
        index = ("array", *index)
        arrays.insert(0, _examples(size, count))
        order = [0, *range(1 + count, 1 + count + first), *range(1, 1 + count), *range(1 + count + first, ndim + 1)]
    else:  # (before, batch, arrays, after)
        order = [first, *range(first), *range(first + 1, ndim + 1)]
    return BatchedIndex(index, arrays, tuple(order))


def _with_batch_in_front(flags: Sequence[bool], arrays: Sequence[Any], count: int) -> list[Any]:
    """Index arrays, those that have a batch axis with this in front of `count` others."""
    return [
        np.reshape(a, (a.shape[0], *(1,) * (count + 1 - len(a.shape)), *a.shape[1:])) if b else a
        for a, b in zip(arrays, flags, strict=True)
    ]


def _examples(size: int, count: int) -> Any:
    """The numbers of the examples, to broadcast against index arrays with `count` axes behind that of the batch."""
    return np.reshape(numbers_up_to(size), (size, *(1,) * count))


def behind_examples(size: int, flags: Sequence[bool], arrays: Sequence[Any]) -> list[Any]:
    """Index arrays for the first axes of arrays that all have a batch axis: one that counts the examples, then these."""
    count = max([len(shape_of(a)) - b for a, b in zip(arrays, flags, strict=True)])
    return [_examples(size, count), *_with_batch_in_front(flags, arrays, count)]


def batched_update(v: Any, batched: bool, ndim: int) -> Any:
    """What is written into a region of `ndim` dimensions, with all of these and a batch axis (if need be of size 1)."""
    s = shape_of(v)
    return np.reshape(v, (s[0] if batched else 1, *(1,) * (ndim + batched - len(s)), *s[batched:]))
