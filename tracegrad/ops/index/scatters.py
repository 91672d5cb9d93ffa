"""Writing: `scatter` is x with v written at an index. Of several updates to one element the last one counts, and only it has a
derivative."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.memory import new_strides
from tracegrad.core.op import Along, Op, Pairs, Params, Sample, Wanted
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, Shape, type_of
from tracegrad.ops.families import conform, locally_constant, shape_of
from tracegrad.ops.index.expression import (
    Index,
    basic,
    batched_index,
    batched_update,
    behind_examples,
    native,
    region,
    region_of,
)
from tracegrad.ops.index.gathers import gather_op, gather_samples, points_into, positions, read_pairs
from tracegrad.ops.index.slices import slice_op, slice_samples, spelled
from tracegrad.ops.masks import masking_jvp, masking_vjp
from tracegrad.ops.shape import inverse_permutation


def _last_writes(*arrays: Any, sizes: Shape) -> Any:
    flat = positions(arrays, sizes)
    order = np.arange(flat.size)
    writer = np.empty(int(np.prod(sizes)), np.intp)
    writer[flat.reshape(-1)] = order
    return (writer[flat.reshape(-1)] == order).reshape(flat.shape)


def _last_writes_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(broadcast_shapes(*[t.shape for t in types]), np.dtype(bool))


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
    if batched[1] or (found.shape and shape_of(v)):  # a number stays one, which is written everywhere
        v = np.transpose(batched_update(v, batched[1], len(found.shape)), inverse_permutation(order))
    return bind(scatter_op, (x, v, *arrays), {"index": index})


def _scatter_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(1)
    for s in (*slice_samples(), *gather_samples()):
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
    return f"{args[0]}[{spelled(index)}] = {args[1]}"


def _scatter_reach(
    i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]
) -> Along | Pairs:
    if i == 0:
        return Along([(a, a, None) for a in range(len(out.shape))])
    region_places, places = read_pairs(out.shape, params["index"], types[2:], known[2:])
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
    points=lambda types, out, params: points_into(types[0].shape, params["index"], types, 2),
    strides=lambda inputs, types, params: None if inputs[0] is None else new_strides(types[0].shape, inputs[:1]),
    overwrite=_overwritten,
)
