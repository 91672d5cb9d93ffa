"""Reading and writing at an index without arrays, each linear, and each the transpose of the other: `slice` is x[index], `unslice` is
zeros with x written at index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.memory import Strides, in_c_order
from tracegrad.core.op import OPS, Params, Sample, View
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer, depends_on
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, Shape
from tracegrad.ops.families import linear, shape_in_params
from tracegrad.ops.index.expression import Index, basic, region, slice_entry, slice_of


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


def slice_samples() -> Iterable[Sample]:
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


def spelled(index: Index) -> str:
    """A basic index as the user would write it."""
    return ", ".join([str(e) for e in index]) or "..."


def _spelled_slice(
    args: Sequence[str], types: Sequence[ArrayType], is_block: Callable[[int], bool], params: Params
) -> str | None:
    return f"{args[0]}[{spelled(params['index'])}]" if types[0].shape else None


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
    infer=_slice_type, batch=_slice_batch, kinds="biufc", samples=slice_samples, moves=True, picks=True,
    strides=_slice_strides, code=_spelled_slice,
    view=View(lambda x, v, index: bind(OPS["scatter"], (x, v), {"index": index}), _slice_layout, within=_within_slice),
)  # fmt: skip


def _unslice(x: Any, index: Index, shape: Shape) -> Any:
    out = np.zeros(shape, PYTHON_SCALARS.get(type(x)) or x.dtype)
    out[basic(index)] = x
    return out


def _unslice_transpose(ct: Any, x: Any, index: Index, shape: Shape) -> Any:
    return bind(slice_op, (ct,), {"index": index})


def _unslice_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(unslice_op, tuple(inputs), {"index": (":", *params["index"]), "shape": (size, *params["shape"])})


def _unslice_samples() -> Iterable[Sample]:
    for s in slice_samples():
        (x,), index = s.inputs, s.params["index"]
        yield Sample((np.array(x[basic(index)]) * 2,), {"index": index, "shape": x.shape})


unslice_op = linear(
    "unslice", _unslice, _unslice_transpose,
    infer=shape_in_params, batch=_unslice_batch, kinds="biufc", samples=_unslice_samples,
    moves=True, leaves_zeros=True, never_aliases=True, strides=lambda inputs, types, params: in_c_order(params["shape"]),
)  # fmt: skip


def unslice(x: Any, index: Index, shape: Shape) -> Any:
    """Zeros of this shape, with `x` written at the basic `index` (in the form of this module)."""
    return bind(unslice_op, (x,), {"index": index, "shape": shape})
