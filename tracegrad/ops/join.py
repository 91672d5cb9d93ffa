"""Joining and cutting arrays: concatenate and split, stack and unstack, each the transpose of the other."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.memory import in_c_order
from tracegrad.core.op import EVERY, Op, Params, Sample, View, Wanted
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import (
    cast,
    conform,
    implements,
    normalize_axis,
    reject,
    shape_of,
)
from tracegrad.ops.index import slice_entry, slice_op
from tracegrad.ops.masks import Masked, image, masking_jvp
from tracegrad.typing import Array, ArrayLike, DType

# ---------------------------------------------------------------------------------------------------------------------
# Concatenate and split, stack and unstack. The several outputs of split and unstack make loops over the parts of an
# array cheap to differentiate: their cotangents are joined once, not each padded to the whole and added.


def _zeros(x: Any) -> Any:
    found = type_of(x)
    return np.zeros(found.shape, found.dtype)


def _filled(parts: Sequence[Any], likes: Sequence[Any]) -> tuple[Any, ...]:
    """Tangents or cotangents with zeros in place of None."""
    return tuple([_zeros(x) if p is None else p for p, x in zip(parts, likes, strict=True)])


def _joining_jvp(op: Callable[[], Op]) -> Callable[..., Any]:
    """The tangent of a join is the join of the tangents."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        if all([t is None for t in tangents]):
            return None
        return cast(bind(op(), _filled(tangents, primals), params), out.dtype)

    return masking_jvp(jvp)


def _cutting_vjp(op: Callable[[], Op], cut: Callable[[], Op]) -> Callable[..., Any]:
    """The cotangent of what is cut is the join of the cotangents."""

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        # Not from `out`: a linear map that is transposed by its types has no values.
        types = cut().infer([type_of(primals[0])], params)

        def joined(cts: Sequence[Any]) -> Any:
            whole = [np.zeros(t.shape, t.dtype) if c is None else c for c, t in zip(cts, types, strict=True)]
            return bind(op(), tuple(whole), {"axis": params["axis"]})

        found = joined(ct)
        return (Masked(found, image(joined, ct), True) if any([c is None for c in ct]) else found,)

    return vjp


def _cutting_jvp(op: Callable[[], Op]) -> Callable[..., Any]:
    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        (t,) = tangents
        return (None,) * len(out) if t is None else bind(op(), (t,), params)

    return jvp


def _axis_batch(op: Callable[[], Op]) -> Callable[..., Any]:
    """For ops with an axis, whose inputs are all alike."""

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        rows = [x if b else np.broadcast_to(x, (size, *shape_of(x))) for x, b in zip(inputs, batched, strict=True)]
        return bind(op(), tuple(rows), {**params, "axis": params["axis"] + 1})

    return batch


def _concatenate(*arrays: Any, axis: int) -> Any:
    return np.concatenate(arrays, axis)


def _concatenate_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    axis = params["axis"]
    rests = {(*t.shape[:axis], *t.shape[axis + 1 :]) if axis < t.ndim else None for t in types}
    if len(rests) != 1 or len({t.ndim for t in types}) != 1:
        listing = ", ".join(map(str, types))
        raise ShapeError(f"concatenate: {listing} differ in more than axis {axis}; the other sizes must be equal")
    shape = types[0].shape
    total = sum([t.shape[axis] for t in types])
    return ArrayType((*shape[:axis], total, *shape[axis + 1 :]), np.result_type(*[t.dtype for t in types]))


def _concatenate_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    axis = params["axis"]
    sizes = [x.shape[axis] for x in primals]
    if len(wanted) == 1:
        (i,) = wanted
        start = sum(sizes[:i])
        entry = slice_entry(start, start + sizes[i], 1, sum(sizes))
        return (conform(bind(slice_op, (ct,), {"index": (":",) * axis + (entry,)}), primals[i]),)
    parts = bind(split_op, (ct,), {"axis": axis, "sizes": tuple(sizes)})
    return [conform(parts[i], primals[i]) for i in wanted]


def _concatenate_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 6))
    yield Sample((x[:, :2], x[:, 2:3], x[:, 3:]), {"axis": 1})
    yield Sample((x, x[:1] * 2), {"axis": 0})
    yield Sample((x[0], x[1, :0]), {"axis": 0})
    yield Sample((x[:, :2], np.array([[1, 2], [3, 4]])), {"axis": 0})
    yield Sample((x,), {"axis": 1})


def _strides(op: Op, inputs: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
    """What is put together of arrays in C order is in C order."""
    is_ordered = all([x == in_c_order(t.shape) for x, t in zip(inputs, types, strict=True)])
    return in_c_order(op.infer(types, params).shape) if is_ordered else None  # type: ignore[union-attr]


concatenate_op = Op(
    "concatenate",
    moves=True,
    nonnegative=True,
    evaluate=_concatenate,
    infer=_concatenate_type,
    jvp=_joining_jvp(lambda: concatenate_op),
    vjp=_concatenate_vjp,
    linear=(EVERY,),
    batch=_axis_batch(lambda: concatenate_op),
    samples=_concatenate_samples,
    kinds="biufc",
    strides=lambda inputs, types, params: _strides(concatenate_op, inputs, types, params),
)


def _split(x: Any, axis: int, sizes: tuple[int, ...]) -> tuple[Any, ...]:
    parts = []
    start = 0
    before = (slice(None),) * axis
    for n in sizes:
        parts.append(x[(*before, slice(start, start + n))])
        start += n
    return tuple(parts)


def _split_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,), axis = types, params["axis"]
    return tuple([ArrayType((*t.shape[:axis], n, *t.shape[axis + 1 :]), t.dtype) for n in params["sizes"]])


def _split_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 6))
    yield Sample((x,), {"axis": 1, "sizes": (1, 3, 0, 2)})
    yield Sample((x,), {"axis": 0, "sizes": (2,)})


def _slices(index_of: Callable[[Params, int, int], Any]) -> View:
    """Each part is a view, the same as a slice."""

    def step(op: Op, params: Params, number: int, shape: tuple[int, ...]) -> tuple[Op, Params]:
        axis = params["axis"]
        return slice_op, {"index": (":",) * axis + (index_of(params, number, shape[axis]),)}

    return View(None, lambda x, **params: None, step)


def _entry_of_part(params: Params, number: int, size: int) -> str:
    start = sum(params["sizes"][:number])
    return slice_entry(start, start + params["sizes"][number], 1, size)


split_op = Op(
    "split",
    moves=True,
    nonnegative=True,
    evaluate=_split,
    infer=_split_type,
    jvp=_cutting_jvp(lambda: split_op),
    vjp=_cutting_vjp(lambda: concatenate_op, lambda: split_op),
    linear=(EVERY,),
    batch=_axis_batch(lambda: split_op),
    several=True,
    samples=_split_samples,
    kinds="biufc",
    view=_slices(_entry_of_part),
)


def _stack(*arrays: Any, axis: int) -> Any:
    """np.stack, without the half of its time that goes into checking."""
    shape = np.shape(arrays[0])
    for x in arrays:
        if type(x) is not np.ndarray or x.shape != shape:
            return np.array(arrays) if all([np.ndim(x) == 0 for x in arrays]) else np.stack(arrays, axis)
    shape = (*shape[:axis], 1, *shape[axis:])
    return np.concatenate([x.reshape(shape) for x in arrays], axis)


def _stack_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    axis = params["axis"]
    shape = types[0].shape
    if any([t.shape != shape for t in types]):
        raise ShapeError(f"stack: all arrays must have the same shape, got {', '.join(map(str, types))}")
    return ArrayType((*shape[:axis], len(types), *shape[axis:]), np.result_type(*[t.dtype for t in types]))


def _stack_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    axis = params["axis"]
    if len(wanted) == 1:
        (i,) = wanted
        return (conform(bind(slice_op, (ct,), {"index": (":",) * axis + (i,)}), primals[i]),)
    parts = bind(unstack_op, (ct,), params)
    return [conform(parts[i], primals[i]) for i in wanted]


def _stack_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 2, 4))
    for axis in range(3):
        yield Sample(tuple(x), {"axis": axis})
    yield Sample((x[0], np.arange(8).reshape(2, 4)), {"axis": 0})
    yield Sample((x[0, 0, 0], 0.5, np.array(2.0)), {"axis": 0})
    yield Sample((np.zeros((0, 2)),), {"axis": 1})


stack_op = Op(
    "stack",
    moves=True,
    nonnegative=True,
    evaluate=_stack,
    infer=_stack_type,
    jvp=_joining_jvp(lambda: stack_op),
    vjp=_stack_vjp,
    linear=(EVERY,),
    batch=_axis_batch(lambda: stack_op),
    samples=_stack_samples,
    kinds="biufc",
    strides=lambda inputs, types, params: _strides(stack_op, inputs, types, params),
)


def _unstack(x: Any, axis: int) -> tuple[Any, ...]:
    return tuple(np.moveaxis(x, axis, 0) if axis else x)


def _unstack_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,), axis = types, params["axis"]
    return (ArrayType((*t.shape[:axis], *t.shape[axis + 1 :]), t.dtype),) * t.shape[axis]


def _unstack_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2))
    for axis in range(3):
        yield Sample((x,), {"axis": axis})
    yield Sample((x[0, 0],), {"axis": 0})
    yield Sample((np.zeros((0, 2)),), {"axis": 1})


unstack_op = Op(
    "unstack",
    moves=True,
    nonnegative=True,
    evaluate=_unstack,
    infer=_unstack_type,
    jvp=_cutting_jvp(lambda: unstack_op),
    vjp=_cutting_vjp(lambda: stack_op, lambda: unstack_op),
    linear=(EVERY,),
    batch=_axis_batch(lambda: unstack_op),
    several=True,
    view=_slices(lambda params, number, size: number),
    samples=_unstack_samples,
    kinds="biufc",
)


def list_of(arrays: Any, name: str) -> list[Any]:
    """The arrays to join, of which there must be one at least."""
    found = [as_array(x) for x in arrays]
    if not found:
        raise ValueError(f"{name}: need at least one array")
    return found


def _typed(out: Any, dtype: Any) -> Any:
    return out if dtype is None else astype(out, dtype)


@implements(np.concatenate)
def concatenate(
    arrays: Sequence[ArrayLike],
    /,
    axis: int | None = 0,
    out: Array | None = None,
    *,
    dtype: DType = None,
    casting: Any = None,
) -> Array:
    """The arrays one after the other along `axis`; flattened first if that is None."""
    reject(np.concatenate, out=out)
    found = list_of(arrays, "concatenate")
    if axis is None:
        found, axis = [np.reshape(x, -1) for x in found], 0
    ndim = len(shape_of(found[0]))
    if ndim == 0:
        raise ShapeError("concatenate: scalars cannot be concatenated; write np.stack")
    return _typed(bind(concatenate_op, tuple(found), {"axis": normalize_axis(axis, ndim, "concatenate")}), dtype)


concat = concatenate


@implements(np.stack)
def stack(
    arrays: Sequence[ArrayLike], axis: int = 0, out: Array | None = None, *, dtype: DType = None, casting: Any = None
) -> Array:
    """The arrays, all of one shape, along a new axis, which is `axis` of the result."""
    reject(np.stack, out=out)
    found = list_of(arrays, "stack")
    axis = normalize_axis(axis, len(shape_of(found[0])) + 1, "stack")
    return _typed(bind(stack_op, tuple(found), {"axis": axis}), dtype)


@implements(np.unstack, np.ndarray.__iter__)
def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The arrays that lie along `axis`, without it."""
    if not x.shape:
        raise ValueError(f"unstack needs an array of at least one dimension, got {type_of(x)}")
    axis = normalize_axis(axis, len(x.shape), "unstack")
    return bind(unstack_op, (x,), {"axis": axis}) if x.shape[axis] else ()


@implements(np.array_split)
def array_split(ary: ArrayLike, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Cut `ary` along `axis`: into so many parts, of nearly equal size, or before each of the indices."""
    axis = normalize_axis(axis, len(ary.shape), "array_split")
    size = ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        count = operator.index(indices_or_sections)
        if count <= 0:
            raise ValueError(f"array_split: the number of parts must be larger than 0, got {count}")
        each, extra = divmod(size, count)
        sizes = [each + 1] * extra + [each] * (count - extra)
    else:
        bounds = [0, *[operator.index(i) for i in indices_or_sections], size]
        sizes = [b - a for a, b in pairwise(bounds)]
        if min(bounds) < 0 or min(sizes) < 0:  # NumPy takes these as slices take them
            return [
                ary[(slice(None),) * axis + (slice(a, b),)]
                for a, b in zip(bounds[:-1], [*bounds[1:-1], None], strict=True)
            ]
    return list(bind(split_op, (ary,), {"axis": axis, "sizes": tuple(sizes)}))
