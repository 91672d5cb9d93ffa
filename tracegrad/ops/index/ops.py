"""The ops that read and write parts of arrays, each linear, and in pairs of which one is the transpose of the other:

slice    x[index] without arrays        unslice        zeros, with x written at index
gather   x[index] with arrays           scatter_add    zeros, with x added at index
scatter  x with v written at index; where an element is written twice, the last write counts
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.memory import Strides, in_c_order, new_strides
from tracegrad.core.op import Along, Op, Pairs, Params, Sample, View, Wanted
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer, depends_on
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, Shape, is_added, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import (
    conform,
    implements,
    is_of_a_scalar,
    linear,
    locally_constant,
    normalize_axis,
    shape_of,
)
from tracegrad.ops.index.expression import (
    ALL,
    Index,
    basic,
    batched_index,
    batched_update,
    behind_examples,
    locate,
    native,
    out_of_bounds,
    region,
    region_of,
    slice_entry,
    slice_of,
    wide,
)
from tracegrad.ops.index.ordered import ORDERED as ORDERED  # which fills it
from tracegrad.ops.index.selected import selected, unknown_mask
from tracegrad.ops.masks import masking_jvp, masking_vjp
from tracegrad.ops.shape import copied, inverse_permutation
from tracegrad.typing import Array, ArrayLike

# ---------------------------------------------------------------------------------------------------------------------
# slice and unslice.


def _slice(x: Any, index: Index) -> Any:
    return x[basic(index)]


def _slice_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(region(types[0].shape, params["index"], ()).shape, types[0].dtype)


def _slice_transpose(ct: Any, x: Any, index: Index) -> Any:
    if all([e == ":" or e == "::-1" for e in index]):
        return ct[basic(index)]  # a permutation, its own inverse
    return bind(unslice_op, (ct,), {"index": index, "shape": x.shape})


def _slice_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(slice_op, tuple(inputs), {"index": (":", *params["index"])})


def _slice_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 2))
    for index in [(1,), (":", 3), (2, 0, 1), ("1:", None, "::2"), ("::-1",), (0, "2::-1", ":", None), ("0:0",)]:
        yield Sample((x,), {"index": index})


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
                found.append(strides[axis] * slice_of(e).indices(shape[axis])[2])
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
    view = x[basic(index)]
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
        places = range(*slice_of(e).indices(n))
        i = next(inner)
        if type(i) is int:
            entries.append(places[i])
        elif i == "array":
            entries.append(i)
            a = next(rest)
            depends_on(a)
            found.append(np.asarray(places)[a])
        else:
            chosen = places[slice_of(i)]
            stop = chosen.stop if chosen.stop >= 0 else None
            entries.append(slice_entry(chosen.start, stop, chosen.step, n) if len(chosen) else "0:0")
    while entries and entries[-1] == ":":
        entries.pop()
    return tuple(entries), found


slice_op = linear(
    "slice", _slice, _slice_transpose,
    infer=_slice_type, batch=_slice_batch, kinds="biufc", samples=_slice_samples, moves=True, picks=True,
    strides=_slice_strides, code=_spelled_slice,
    view=View(lambda x, v, index: bind(scatter_op, (x, v), {"index": index}), _slice_layout, within=_within_slice),
)  # fmt: skip


def _unslice(x: Any, index: Index, shape: Shape) -> Any:
    out = np.zeros(shape, PYTHON_SCALARS.get(type(x)) or x.dtype)
    out[basic(index)] = x
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
        yield Sample((np.array(x[basic(index)]) * 2,), {"index": index, "shape": x.shape})


unslice_op = linear(
    "unslice", _unslice, _unslice_transpose,
    infer=_unslice_type, batch=_unslice_batch, kinds="biufc", samples=_unslice_samples,
    moves=True, leaves_zeros=True, never_aliases=True, strides=lambda inputs, types, params: in_c_order(params["shape"]),
)  # fmt: skip


def unslice(x: Any, index: Index, shape: Shape) -> Any:
    """Zeros of this shape, with `x` written at the basic `index` (in the form of this module)."""
    return bind(unslice_op, (x,), {"index": index, "shape": shape})


# ---------------------------------------------------------------------------------------------------------------------
# gather and scatter_add.


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


def _read(shape: Shape, index: Index, types: Sequence[ArrayType], known: Sequence[Any]) -> tuple[Any, Any]:
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
    return Pairs(*_read(types[0].shape, params["index"], types[1:], known[1:]))


def _points_into(shape: Shape, index: Index, types: Sequence[ArrayType], first: int) -> Sequence[tuple[int, range]]:
    """What the index arrays of an op may hold, of which the first is this input, for an index into an array of this shape."""
    axes = region(shape, index, tuple([t.shape for t in types[first:]])).axes
    return [(first + i, range(-shape[axis], shape[axis])) for i, axis in enumerate(axes)]


gather_op = linear(
    "gather", _gather, _gather_transpose, infer=_gather_type, batch=_gather_batch, linear=[{0}], kinds="biufc",
    samples=_gather_samples, moves=True, picks=True, never_aliases=True, reach=_gather_reach,
    points=lambda types, out, params: _points_into(types[0].shape, params["index"], types, 1),
)  # fmt: skip


def _summing(arrays: Sequence[Any], index: Index, shape: Shape) -> Callable[[Any], Any]:
    """The op for these arrays, as a function of x: what it has to know of them alone is found once."""
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
    count = len(sizes)
    places = [i for i, e in enumerate([e for e in index if type(e) is not int and e != "..."]) if e == "array"]
    part = tuple([ALL if e == "array" else e for e in basic(index)])
    joint = [*range(found.first, found.first + found.count)]
    width = math.prod(found.shape) // flat.size
    if width != 1 and total <= 2 * flat.size:  # rows are copied in a third of the time that it takes to count in them
        flat = np.arange(total * width).reshape(total, width).take(flat.reshape(-1), 0).reshape(-1)
    elif width != 1:
        flat = (flat.reshape(-1, 1) * width + np.arange(width)).reshape(-1)
    else:
        flat = flat.reshape(-1)

    def added(x: Any) -> Any:
        out = np.zeros(shape, x.dtype)
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
    return _summing(arrays, index, shape)(x)


def _known_scatter_add(types: Sequence[ArrayType], values: Sequence[Any], params: Params) -> Callable[..., Any] | None:
    """Where the program has the index arrays for constants. (For each element of x there is a number then, to be held.)"""
    if is_added(types[0].dtype) or math.prod(types[0].shape) > 1 << 22 or any([a is None for a in values[1:]]):
        return None
    summing = _summing(values[1:], **params)
    return summing if values[0] is None else partial(summing, values[0])


def _scatter_add_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(params["shape"], types[0].dtype)


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
    for s in _gather_samples():
        x, *arrays = s.inputs
        yield Sample((np.array(x[native(s.params["index"], arrays)]) * 2, *arrays), {**s.params, "shape": x.shape})


def _scatter_add_reach(
    i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]
) -> Pairs:
    region_places, places = _read(out.shape, params["index"], types[1:], known[1:])
    return Pairs(places, region_places)


scatter_add_op = linear(
    "scatter_add", _scatter_add, _scatter_add_transpose, reach=_scatter_add_reach, infer=_scatter_add_type, batch=_scatter_add_batch,
    linear=[{0}], kinds="biufc", samples=_scatter_add_samples, leaves_zeros=True, never_aliases=True,
    with_constants=_known_scatter_add,
    points=lambda types, out, params: _points_into(params["shape"], params["index"], types, 1),
)  # fmt: skip


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


# ---------------------------------------------------------------------------------------------------------------------
# scatter: writing. Of several updates to one element the last one counts, and only it has a derivative.


def _last_writes(*arrays: Any, sizes: Shape) -> Any:
    flat = positions(arrays, sizes)
    order = np.arange(flat.size)
    writer = np.empty(int(np.prod(sizes)), np.intp)
    writer[flat.reshape(-1)] = order
    return (writer[flat.reshape(-1)] == order).reshape(flat.shape)


def _last_writes_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(np.broadcast_shapes(*[t.shape for t in types]), np.dtype(bool))


def _last_writes_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    arrays = behind_examples(size, batched, inputs)
    return bind(last_writes_op, tuple(arrays), {"sizes": (size, *params["sizes"])})


def _last_writes_samples() -> Iterable[Sample]:
    yield Sample((np.array([1, -1, 1, 0]),), {"sizes": (3,)})
    yield Sample((np.array([[1], [-2]]), np.array([0, 2, 0])), {"sizes": (3, 4)})
    yield Sample((np.array([[1], [0]]), np.array([0, 2, 0])), {"sizes": (3, 4)})


# Whether each update, of those at the places that the index arrays name, is the last to its place.
last_writes_op = locally_constant(
    "last_writes",
    _last_writes,
    infer=_last_writes_type,
    batch=_last_writes_batch,
    samples=_last_writes_samples,
    kinds="iu",
    points=lambda types, out, params: [(i, range(-n, n)) for i, n in enumerate(params["sizes"])],
)


def _scatter(x: Any, v: Any, *arrays: Any, index: Index, into: Any = None) -> Any:
    out = np.array(x) if into is None else into
    if arrays:
        # In C order NumPy writes in the order of the indices, so that it is the last of them that counts.
        arrays = tuple([np.asarray(a, order="C") for a in arrays])
        v = np.asarray(v, order="C")
    out[native(index, arrays) if arrays else basic(index)] = v
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
    found = region_of(ct.shape, arrays, index)
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
    index, arrays, order = batched_index(size, True, flags, arrays, index, found)
    if batched[1] or found.shape:
        v = np.transpose(batched_update(v, batched[1], len(found.shape)), inverse_permutation(order))
    return bind(scatter_op, (x, v, *arrays), {"index": index})


def _scatter_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(1)
    for s in (*_slice_samples(), *_gather_samples()):
        x, *arrays = s.inputs
        found = region_of(x.shape, arrays, s.params["index"])
        yield Sample((x, rng.uniform(-1, 1, found.shape), *arrays), s.params)
        yield Sample((x, rng.uniform(-1, 1, found.shape[-1:]), *arrays), s.params)
    yield Sample((x, 0.5), {"index": (1,)})


def _overwritten(scatter: str, args: Sequence[str], params: Params) -> str:
    """As a statement: `a[1:, 3] = b`, where no arrays are in the index."""
    index: Index = params["index"]
    if "array" in index:
        return f"{scatter}({', '.join(args)}, index={index}, into={args[0]})"
    return f"{args[0]}[{_spelled(index)}] = {args[1]}"


def _scatter_reach(
    i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]
) -> Along | Pairs:
    if i == 0:
        return Along([(a, a, None) for a in range(len(out.shape))])
    region_places, places = _read(out.shape, params["index"], types[2:], known[2:])
    found = region(out.shape, params["index"], tuple([t.shape for t in types[2:]]))
    written = np.broadcast_to(np.arange(types[1].size).reshape(types[1].shape), found.shape).reshape(-1)
    return Pairs(places, written[region_places])


scatter_op = Op(
    "scatter",
    reach=_scatter_reach,
    evaluate=_scatter,
    infer=_scatter_type,
    jvp=masking_jvp(_scatter_jvp, (0, 1)),
    vjp=masking_vjp(_scatter_vjp, 0),
    moves=True,
    linear=[{0, 1}],
    batch=_scatter_batch,
    samples=_scatter_samples,
    kinds="biufc",
    never_aliases=True,
    points=lambda types, out, params: _points_into(types[0].shape, params["index"], types, 2),
    strides=lambda inputs, types, params: None if inputs[0] is None else new_strides(types[0].shape, inputs[:1]),
    overwrite=_overwritten,
)


# ---------------------------------------------------------------------------------------------------------------------
# NumPy's functions that read.


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
