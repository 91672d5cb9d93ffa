"""Arrays put together and taken apart: concatenate and its kin, split, flip, roll."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.errors import ShapeError
from tracegrad.op import EVERY, Op, Params, Sample, Wanted
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import conform, implements, normalize_axes, normalize_axis, reject, shape_of, spread
from tracegrad.trace import as_array, bind
from tracegrad.types import ArrayType, type_of


def _concatenate(*arrays: Any, axis: int) -> Any:
    return np.concatenate(arrays, axis=axis)


def _type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    axis = params["axis"]
    first = types[0]
    if any(t.ndim != first.ndim for t in types) or len({t.shape[:axis] + t.shape[axis + 1 :] for t in types}) > 1:
        raise ShapeError(
            f"concatenate: {', '.join([str(t) for t in types])} must agree in all axes but {axis}; reshape or "
            "np.expand_dims them first, or use np.stack for a new axis"
        )
    shape = (*first.shape[:axis], sum([t.shape[axis] for t in types]), *first.shape[axis + 1 :])
    return ArrayType(shape, np.result_type(*[t.dtype for t in types]))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    filled = [np.zeros(x.shape, out.dtype) if t is None else t for x, t in zip(primals, tangents, strict=True)]
    return spread(bind(concatenate_op, tuple(filled), params), out)


def _vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    axis = params["axis"]
    ends = np.cumsum([x.shape[axis] for x in primals]).tolist()
    before = (slice(None),) * axis
    return [conform(ct[(*before, slice(ends[i] - primals[i].shape[axis], ends[i]))], primals[i]) for i in wanted]


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    full = [x if b else np.broadcast_to(x, (size, *x.shape)) for x, b in zip(inputs, batched, strict=True)]
    return bind(concatenate_op, tuple(full), {"axis": params["axis"] + 1})


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    yield Sample((rng.normal(size=(2, 3)), rng.normal(size=(1, 3))), {"axis": 0})
    yield Sample((rng.normal(size=(2, 1)), rng.normal(size=(2, 0)), rng.normal(size=(2, 2))), {"axis": 1})
    yield Sample((rng.normal(size=3),), {"axis": 0})


concatenate_op = Op(
    "concatenate", evaluate=_concatenate, infer=_type, jvp=_jvp, vjp=_vjp, linear=(EVERY,), batch=_batch,
    kinds="biufc", samples=_samples,
)  # fmt: skip


@implements(np.concatenate)
def concatenate(arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    """The arrays one after the other along an axis they already have (None: all flattened)."""
    reject(np.concatenate, out=out)
    parts = [as_array(x) for x in arrays]
    if not parts:
        raise ShapeError("concatenate: needs at least one array")
    if axis is None:
        parts, axis = [np.reshape(x, (-1,)) for x in parts], 0
    axis = normalize_axis(axis, len(shape_of(parts[0])), "concatenate")
    if dtype is not None:
        parts = [astype(x, dtype) for x in parts]
    return bind(concatenate_op, tuple(parts), {"axis": axis})


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    """Arrays of one shape along a new axis."""
    reject(np.stack, out=out)
    parts = [as_array(x) for x in arrays]
    if len({shape_of(x) for x in parts}) != 1:
        raise ShapeError(f"stack: all arrays must have one shape, got {', '.join([str(type_of(x)) for x in parts])}")
    axis = normalize_axis(axis, len(shape_of(parts[0])) + 1, "stack")
    return np.concatenate([np.expand_dims(x, axis) for x in parts], axis, dtype=dtype)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    """Rows on top of each other."""
    return np.concatenate([np.atleast_2d(as_array(x)) for x in tup], 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    """Arrays side by side: along axis 1, vectors along axis 0."""
    parts = [np.atleast_1d(as_array(x)) for x in tup]
    return np.concatenate(parts, 0 if len(parts[0].shape) == 1 else 1, dtype=dtype)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Vectors as the columns of a matrix; matrices side by side."""
    parts = [as_array(x) for x in tup]
    return np.concatenate([np.reshape(x, (-1, 1)) if len(shape_of(x)) < 2 else x for x in parts], 1)


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts of equal size, or between given indices, along an axis."""
    axis = normalize_axis(axis, len(ary.shape), "split")
    size = ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        sections = int(indices_or_sections)
        if size % sections:
            raise ShapeError(f"split: axis {axis} of {type_of(ary)} does not divide into {sections} equal parts")
        ends = [size // sections * i for i in range(1, sections + 1)]
    else:
        ends = [*[int(i) for i in indices_or_sections], size]
    before = (slice(None),) * axis
    return [ary[(*before, slice(start, end))] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """The elements in reverse order along the axes (None: all)."""
    axes = normalize_axes(axis, len(m.shape), "flip")
    return m[tuple([slice(None, None, -1) if i in axes else slice(None) for i in range(len(m.shape))])]


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """The elements moved along, those that fall off the end coming in at the front."""
    if axis is None:
        return np.reshape(roll(np.reshape(a, (-1,)), shift, 0), a.shape)
    shifts, axes = [v if isinstance(v, tuple | list) else (v,) for v in (shift, axis)]
    if len(shifts) == 1:
        shifts = tuple(shifts) * len(axes)
    for n, i in zip(shifts, axes, strict=True):
        i = normalize_axis(i, len(a.shape), "roll")
        size = a.shape[i]
        n = int(n) % size if size else 0
        if n:
            first, second = np.split(a, [size - n], i)
            a = np.concatenate([second, first], i)
    return a
