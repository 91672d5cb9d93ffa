"""Reading and adding at an index with arrays, each linear, and each the transpose of the other: `gather` is x[index], `scatter_add` is
zeros with x added at index. And what reads in all of NumPy's forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracegrad.core.op import Pairs, Params, Sample
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, Shape, is_added, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, is_of_a_scalar, linear, normalize_axis, shape_in_params, shape_of
from tracegrad.ops.index.expression import (
    ALL,
    Index,
    basic,
    batched_index,
    batched_update,
    locate,
    native,
    out_of_bounds,
    region,
    region_of,
    wide,
)
from tracegrad.ops.index.ordered import ORDERED as ORDERED  # which fills it
from tracegrad.ops.index.rounds import LEAST, LONGEST, rounds, seen_before
from tracegrad.ops.index.selected import selected, unknown_mask
from tracegrad.ops.index.slices import slice_op
from tracegrad.ops.shape import copied, inverse_permutation
from tracegrad.typing import Array, ArrayLike


def positions(arrays: Sequence[Any], sizes: Sequence[int]) -> Any:
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


def are_distinct(flat: Any, total: int) -> bool:
    """Whether no position in range(total) comes twice."""
    if flat.size <= 1 or flat.size > total:
        return flat.size <= 1
    if flat.size * 16 < total:
        ordered = np.sort(flat, axis=None)
        return bool((ordered[1:] > ordered[:-1]).all())
    return bool(np.bincount(flat.reshape(-1)).max() <= 1)


def _gather(x: Any, *arrays: Any, index: Index) -> Any:
    if index == ("array",) and x.ndim > 1 and x.flags.c_contiguous:
        return x.take(arrays[0], 0)  # the same, four times as fast for short rows
    return x[native(index, arrays)]


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
    index, arrays, order = batched_index(size, batched[0], flags, arrays, index, found)
    return np.transpose(bind(gather_op, (x, *arrays), {"index": index}), order)


def gather_samples() -> Iterable[Sample]:
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


def read_pairs(shape: Shape, index: Index, types: Sequence[ArrayType], known: Sequence[Any]) -> tuple[Any, Any]:
    """Which elements of the region at the index stand for which elements of an array of this shape, as pairs of places. Of index
    arrays that are not known (None) any element of their axis."""
    found = region(shape, index, tuple([t.shape for t in types]))
    unknown = [k for k, a in enumerate(known) if a is None]
    arrays = []
    for k, (t, a) in enumerate(zip(types, known, strict=True)):
        if a is None:  # all of the axis, along an axis of its own
            n = shape[found.axes[k]]
            arrays.append(np.arange(n).reshape([n if j == k else 1 for j in unknown]))
        else:
            arrays.append(np.reshape(a, (*t.shape, *[1] * len(unknown))))
    count = max([len(t.shape) for t in types], default=0)
    arrays = [np.reshape(a, (*[1] * (count + len(unknown) - a.ndim), *a.shape)) for a in arrays]
    places = np.arange(math.prod(shape)).reshape(shape)[native(index, arrays)]
    own = [found.first + found.count + j for j in range(len(unknown))]
    places = np.moveaxis(places, own, range(-len(unknown), 0)) if unknown else places
    sizes = [shape[found.axes[k]] for k in unknown]
    places = np.broadcast_to(places, (*found.shape, *sizes)).reshape(-1)
    return np.repeat(np.arange(math.prod(found.shape)), math.prod(sizes)), places


def _gather_reach(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Pairs:
    return Pairs(*read_pairs(types[0].shape, params["index"], types[1:], known[1:]))


def points_into(shape: Shape, index: Index, types: Sequence[ArrayType], first: int) -> Sequence[tuple[int, range]]:
    """What the index arrays of an op may hold, of which the first is this input, for an index into an array of this shape."""
    axes = region(shape, index, tuple([t.shape for t in types[first:]])).axes
    return [(first + i, range(-shape[axis], shape[axis])) for i, axis in enumerate(axes)]


gather_op = linear(
    "gather", _gather, _gather_transpose, infer=_gather_type, batch=_gather_batch, linear=[{0}], kinds="biufc",
    samples=gather_samples, moves=True, picks=True, never_aliases=True, reach=_gather_reach,
    points=lambda types, out, params: points_into(types[0].shape, params["index"], types, 1),
)  # fmt: skip


FEW = 1 << 16  # numbers of which the places are kept for index arrays that come again,
MANY = 1 << 22  # and for those that a program has for constants


def _summing(
    arrays: Sequence[Any], index: Index, shape: Shape, often: bool = False, kept: int = MANY
) -> Callable[[Any], Any]:
    """The op for these arrays, as a function of x: what it has to know of them alone is found once, the places of up to so many
    numbers that are `kept` among that. What takes longer than a sum is found for a function that is to be called `often`."""
    found = region_of(shape, arrays, index)
    sizes = [shape[axis] for axis in found.axes]
    flat = positions(arrays, sizes)
    total = int(np.prod(sizes))
    if are_distinct(flat, total):
        there = native(index, arrays)

        def written(x: Any) -> Any:
            out = np.zeros(shape, x.dtype)
            out[there] = x
            return out

        return written
    # np.add.at is fast in one dimension only, so the axes that are indexed go first, as one, and so do those of x.
    size = math.prod(found.shape)
    if often and size >= LEAST and _is_of_rows(arrays, index) and (by_rounds := rounds(flat, total)).pay(size):
        return by_rounds.sums
    count = len(sizes)
    places = [i for i, e in enumerate([e for e in index if type(e) is not int and e != "..."]) if e == "array"]
    part = tuple([ALL if e == "array" else e for e in basic(index)])
    joint = [*range(found.first, found.first + found.count)]
    width = size // flat.size

    def all_places() -> Any:
        if (
            width != 1 and total <= 2 * flat.size
        ):  # rows are copied in a third of the time that it takes to count in them
            return np.arange(total * width).reshape(total, width).take(flat.reshape(-1), 0).reshape(-1)
        return (flat.reshape(-1, 1) * width + np.arange(width)).reshape(-1) if width != 1 else flat.reshape(-1)

    known = all_places() if size <= kept else None
    is_plain = places == [0] == joint  # whole rows along the first axis

    def added(x: Any) -> Any:
        flat = all_places() if known is None else known
        out = np.zeros(shape, x.dtype)
        if is_plain:
            np.add.at(out.reshape(-1), flat, x.reshape(-1))
            return out
        rows = x if joint[0] == 0 else np.moveaxis(x, joint, range(len(joint)))
        target = out[part] if places[-1] < count else np.moveaxis(out[part], places, range(count))
        if target.flags.c_contiguous:
            np.add.at(target.reshape(-1), flat, rows.reshape(-1))
        else:
            sums = np.zeros(total * width, x.dtype)
            np.add.at(sums, flat, rows.reshape(-1))
            target[...] = sums.reshape(target.shape)
        return out

    return added


def _scatter_add(x: Any, *arrays: Any, index: Index, shape: Shape) -> Any:
    if is_added(x.dtype):  # one is added after the other
        return _scatter_add(x.astype(np.float32), *arrays, index=index, shape=shape).astype(x.dtype)
    if _is_of_rows(arrays, index) and arrays[0].size <= LONGEST:
        known = seen_before(arrays[0], shape, lambda: _summing([arrays[0].copy()], index, shape, True, FEW))
        if known is not None:
            return known(x)
    return _summing(arrays, index, shape)(x)


def _is_of_rows(arrays: Sequence[Any], index: Index) -> bool:
    return index == ("array",) and type(arrays[0]) is np.ndarray and arrays[0].ndim == 1


def _known_scatter_add(types: Sequence[ArrayType], values: Sequence[Any], params: Params) -> Callable[..., Any] | None:
    """Where the program has the index arrays for constants. (For each element of x there is a number then, to be held.)"""
    if is_added(types[0].dtype) or math.prod(types[0].shape) > MANY or any([a is None for a in values[1:]]):
        return None
    summing = _summing(values[1:], **params, often=True)
    return summing if values[0] is None else partial(summing, values[0])


def _scatter_add_transpose(ct: Any, x: Any, *arrays: Any, index: Index, shape: Shape) -> Any:
    return bind(gather_op, (ct, *arrays), {"index": index})


def _scatter_add_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, *arrays = inputs
    index, shape, flags = params["index"], params["shape"], batched[1:]
    shapes = tuple([shape_of(a)[b:] for a, b in zip(arrays, flags, strict=True)])
    found = region(shape, index, shapes)
    index, arrays, order = batched_index(size, True, flags, arrays, index, found)
    x = np.broadcast_to(batched_update(x, batched[0], len(found.shape)), (size, *found.shape))
    x = np.transpose(x, inverse_permutation(order))
    return bind(scatter_add_op, (x, *arrays), {"index": index, "shape": (size, *shape)})


def _scatter_add_samples() -> Iterable[Sample]:
    for s in gather_samples():
        x, *arrays = s.inputs
        yield Sample((np.array(x[native(s.params["index"], arrays)]) * 2, *arrays), {**s.params, "shape": x.shape})


def _scatter_add_reach(
    i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]
) -> Pairs:
    region_places, places = read_pairs(out.shape, params["index"], types[1:], known[1:])
    return Pairs(places, region_places)


scatter_add_op = linear(
    "scatter_add", _scatter_add, _scatter_add_transpose, reach=_scatter_add_reach, infer=shape_in_params, batch=_scatter_add_batch,
    linear=[{0}], kinds="biufc", samples=_scatter_add_samples, leaves_zeros=True, never_aliases=True,
    with_constants=_known_scatter_add,
    points=lambda types, out, params: points_into(params["shape"], params["index"], types, 1),
)  # fmt: skip


_ROWS: Params = {"index": ("array",)}


@implements(np.ndarray.__getitem__)
def getitem(x: ArrayLike, expression: Any) -> Array:
    """`x[expression]`, in all of NumPy's forms.

    Masks have a shape that depends on their values, which `jit` and `vmap` do not know: there it is a `Selected`.
    """
    if type(expression) is int:  # the loop over elements, short
        shape = x.shape
        if shape:
            n = shape[0]
            if -n <= expression < n:
                return bind(slice_op, (x,), {"index": (expression if expression >= 0 else expression + n,)})
            out_of_bounds(expression, 0, n, x)
    if (
        type(expression) is np.ndarray
        and expression.dtype == np.intp
        and type(x) is Tracer
        and type(x.value) is np.ndarray
        and x.value.ndim
        and expression.ndim
        and not x.origin.abstract
    ):
        return bind(
            gather_op, (x, expression), _ROWS
        )  # nothing is to be found out, and NumPy says what is out of range
    if (mask := unknown_mask(expression)) is not None:
        found = selected(x, mask)
        return found[(slice(None), *expression[1:])] if type(expression) is tuple and len(expression) > 1 else found
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


def filled(there: Any, taken: Any, fill_value: Any, behind: int) -> Any:
    """What was taken, with `fill_value` where there was nothing; it has so many axes more behind."""
    dtype = type_of(taken).dtype
    if fill_value is None:
        kind = number_kind(dtype)
        fill_value = (
            np.nan
            if kind in "fc"
            else True
            if kind == "b"
            else getattr(np.iinfo(dtype), "max" if kind == "u" else "min")
        )
    there = np.reshape(there, (*shape_of(there), *(1,) * behind))
    return np.where(there, taken, astype(as_array(fill_value), dtype))


@implements(np.take, further=["mode=fill", "fill_value"])
def take(
    a: ArrayLike,
    indices: ArrayLike,
    axis: int | None = None,
    out: Array | None = None,
    mode: str = "raise",
    *,
    fill_value: ArrayLike | None = None,
) -> Array:
    """`a[..., indices, ...]` with the indices at `axis`, or into all elements of `a` if it is None. What is out of range raises
    IndexError, or is moved to the nearest place by mode "clip", or counted round and round by "wrap", or gives `fill_value` by "fill":
    NaN by default, of integers the least, of unsigned ones the largest, of booleans True.

    >>> take([10, 20, 30], [[0, 2], [5, -1]], mode="wrap").tolist()
    [[10, 30], [30, 30]]
    """
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
    elif mode == "fill":
        n = a.shape[axis]
        there = (indices >= -n) & (indices < n)
        taken = getitem(a, (ALL,) * axis + (np.where(there, indices, 0),))
        return filled(there, taken, fill_value, len(a.shape) - axis - 1)
    elif mode != "raise":
        raise ValueError(f"take: mode must be 'raise', 'wrap', 'clip' or 'fill', got {mode!r}")
    taken = getitem(a, (ALL,) * axis + (indices,))
    # Of one index it is a slice, and x[i] a view, which x.take(i) is not.
    return copied(taken) if type(taken) is Tracer and taken.shape and not shape_of(indices) else taken
