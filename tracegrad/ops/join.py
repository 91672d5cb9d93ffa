"""Joining and cutting arrays: concatenate and split, stack and unstack, each the transpose of the other.

The several outputs of split and unstack make loops over the parts of an array cheap to differentiate: their cotangents are joined
once, not each padded to the whole and added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tracegrad.core.context import sizing
from tracegrad.core.errors import ShapeError
from tracegrad.core.memory import in_c_order
from tracegrad.core.op import EVERY, OPS, Op, Params, Sample, TypeRule, View, Wanted
from tracegrad.core.sizes import let_out
from tracegrad.core.symbols import as_index
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import along_axis, cast, conform, implements, normalize_axis, shape_of
from tracegrad.ops.index import slice_entry, slice_op
from tracegrad.ops.masks import Masked, image, masking_jvp
from tracegrad.typing import Array, ArrayLike, DType


def _without_none(parts: Sequence[Any], types: Iterable[ArrayType]) -> tuple[Any, ...]:
    """Tangents or cotangents with zeros in place of None."""
    return tuple([np.zeros(t.shape, t.dtype) if p is None else p for p, t in zip(parts, types, strict=True)])


def _joins(
    name: str,
    evaluate: Callable[..., Any],
    infer: Callable[[Sequence[ArrayType], Params], ArrayType],
    cutting: Callable[[Sequence[Any], Params], tuple[Op, Params]],
    samples: Callable[[], Iterable[Sample]],
) -> Op:
    """Declare an op that puts its inputs side by side. `cutting(inputs, params)` is the op that takes them apart again, and
    its params."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        if all([t is None for t in tangents]):
            return None
        return cast(bind(OPS[name], _without_none(tangents, map(type_of, primals)), params), out.dtype)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        cut, how = cutting(primals, params)
        if len(wanted) == 1:
            (i,) = wanted
            assert cut.view is not None
            one, where = cut.view.step(cut, how, i, ct.shape)
            return (conform(bind(one, (ct,), where), primals[i]),)
        parts = bind(cut, (ct,), how)
        return [conform(parts[i], primals[i]) for i in wanted]

    def strides(inputs: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        """What is put together of arrays in C order is in C order."""
        is_ordered = all([x == in_c_order(t.shape) for x, t in zip(inputs, types, strict=True)])
        return in_c_order(infer(types, params).shape) if is_ordered else None

    return Op(
        name, evaluate=evaluate, infer=infer, jvp=masking_jvp(jvp), vjp=vjp, linear=(EVERY,), batch=along_axis(name),
        samples=samples, kinds="biufc", strides=strides, moves=True, never_aliases=True,
    )  # fmt: skip


def _cuts(
    name: str,
    evaluate: Callable[..., Any],
    infer: TypeRule,
    joining: Callable[[], Op],
    entry: Callable[[Params, int, int], Any],
    samples: Callable[[], Iterable[Sample]],
) -> Op:
    """Declare an op that takes an array apart, of which `joining` makes the whole again. `entry(params, number, size)` is
    where a part lies along an axis of this size, as an entry of an index."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        (t,) = tangents
        return (None,) * len(out) if t is None else bind(OPS[name], (t,), params)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        # Not from `out`: a linear map that is transposed by its types has no values.
        types: Any = infer([type_of(primals[0])], params)

        def joined(cts: Sequence[Any]) -> Any:
            return bind(joining(), _without_none(cts, types), {"axis": params["axis"]})

        found = joined(ct)
        return (Masked(found, image(joined, ct), True) if any([c is None for c in ct]) else found,)

    def step(op: Op, params: Params, number: int, shape: tuple[int, ...]) -> tuple[Op, Params]:
        """Each part is a view, the same as a slice."""
        axis = params["axis"]
        return slice_op, {"index": (":",) * axis + (entry(params, number, shape[axis]),)}

    return Op(
        name, evaluate=evaluate, infer=infer, jvp=jvp, vjp=vjp, linear=(EVERY,), batch=along_axis(name), multiple_results=True,
        samples=samples, kinds="biufc", view=View(None, lambda x, **params: None, step), moves=True,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Concatenate and split.


def _concatenate(*arrays: Any, axis: int) -> Any:
    return np.concatenate(arrays, axis)


def _concatenate_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    axis = params["axis"]
    shape = types[0].shape
    for t in types:
        if t.ndim != len(shape):
            raise ShapeError(f"concatenate: {', '.join(map(str, types))} differ in how many axes they have")
        if (*t.shape[:axis], *t.shape[axis + 1 :]) != (*shape[:axis], *shape[axis + 1 :]):
            raise ShapeError(
                f"concatenate: {', '.join(map(str, types))} differ in more than axis {axis}; the other sizes must be equal"
            )
    total = sum([t.shape[axis] for t in types])
    return ArrayType((*shape[:axis], total, *shape[axis + 1 :]), np.result_type(*[t.dtype for t in types]))


def _concatenate_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 6))
    yield Sample((x[:, :2], x[:, 2:3], x[:, 3:]), {"axis": 1})
    yield Sample((x, x[:1] * 2), {"axis": 0})
    yield Sample((x[0], x[1, :0]), {"axis": 0})
    yield Sample((x[:, :2], np.array([[1, 2], [3, 4]])), {"axis": 0})
    yield Sample((x,), {"axis": 1})


def _splitting(inputs: Sequence[Any], params: Params) -> tuple[Op, Params]:
    return split_op, {**params, "sizes": tuple([x.shape[params["axis"]] for x in inputs])}


concatenate_op = _joins("concatenate", _concatenate, _concatenate_type, _splitting, _concatenate_samples)


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


def _split_entry(params: Params, number: int, size: int) -> str:
    start = sum(params["sizes"][:number])
    return slice_entry(start, start + params["sizes"][number], 1, size)


split_op = _cuts("split", _split, _split_type, lambda: concatenate_op, _split_entry, _split_samples)


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
    """The arrays one after the other along `axis`; flattened first if that is None. ShapeError if other sizes differ.

    >>> concatenate([[[1, 2]], [[3, 4], [5, 6]]]).tolist()
    [[1, 2], [3, 4], [5, 6]]
    """
    found = list_of(arrays, "concatenate")
    if axis is None:
        # Python's numbers take the dtype of the arrays beside them.
        common = np.result_type(*[x if type(x) in PYTHON_SCALARS else type_of(x).dtype for x in found])
        found = [np.full(1, x, common) if type(x) in PYTHON_SCALARS else np.reshape(x, -1) for x in found]
        axis = 0
    ndim = len(shape_of(found[0]))
    if ndim == 0:
        raise ShapeError("concatenate: scalars cannot be concatenated; write np.stack")
    return _typed(bind(concatenate_op, tuple(found), {"axis": normalize_axis(axis, ndim, "concatenate")}), dtype)


concat = concatenate


@implements(np.array_split)
def array_split(ary: ArrayLike, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Cut `ary` along `axis`: into so many parts, of nearly equal size, or before each of the indices.

    >>> [part.tolist() for part in array_split(np.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    axis = normalize_axis(axis, len(ary.shape), "array_split")
    size = ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        count = as_index(indices_or_sections)
        if count <= 0:
            raise ValueError(f"array_split: the number of parts must be larger than 0, got {count}")
        each, extra = divmod(size, count)
        sizes = [each + 1] * extra + [each] * (count - extra)
    else:
        bounds = [0, *[as_index(i) for i in indices_or_sections], size]
        sizes = [b - a for a, b in pairwise(bounds)]
        if min(bounds) < 0 or min(sizes) < 0:  # NumPy takes these as slices take them
            return [
                ary[(slice(None),) * axis + (slice(a, b),)]
                for a, b in zip(bounds[:-1], [*bounds[1:-1], None], strict=True)
            ]
    if sizing:
        let_out([(len(sizes),)])
    return list(bind(split_op, (ary,), {"axis": axis, "sizes": tuple(sizes)}))


# ---------------------------------------------------------------------------------------------------------------------
# Stack and unstack.


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


def _stack_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 2, 4))
    for axis in range(3):
        yield Sample(tuple(x), {"axis": axis})
    yield Sample((x[0], np.arange(8).reshape(2, 4)), {"axis": 0})
    yield Sample((x[0, 0, 0], 0.5, np.array(2.0)), {"axis": 0})
    yield Sample((np.zeros((0, 2)),), {"axis": 1})


stack_op = _joins("stack", _stack, _stack_type, lambda inputs, params: (unstack_op, params), _stack_samples)


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


unstack_op = _cuts("unstack", _unstack, _unstack_type, lambda: stack_op, lambda params, i, size: i, _unstack_samples)


@implements(np.stack)
def stack(
    arrays: Sequence[ArrayLike], axis: int = 0, out: Array | None = None, *, dtype: DType = None, casting: Any = None
) -> Array:
    """The arrays, all of one shape, along a new axis, which is `axis` of the result.

    >>> stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    found = list_of(arrays, "stack")
    axis = normalize_axis(axis, len(shape_of(found[0])) + 1, "stack")
    return _typed(bind(stack_op, tuple(found), {"axis": axis}), dtype)


@implements(getattr(np, "unstack", None), np.ndarray.__iter__)
def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The arrays that lie along `axis`, without it.

    >>> [x.tolist() for x in unstack(np.array([[1.0, 2.0], [3.0, 4.0]]))]
    [[1.0, 2.0], [3.0, 4.0]]
    """
    x = as_array(x)
    if not x.shape:
        raise ValueError(f"unstack needs an array of at least one dimension, got {type_of(x)}")
    axis = normalize_axis(axis, len(x.shape), "unstack")
    if sizing:
        let_out([(x.shape[axis],)])
    return bind(unstack_op, (x,), {"axis": axis}) if x.shape[axis] else ()
