"""A window whose size is known and whose place is computed: reading it, writing it, and zeros with it written.

The ops, in pairs of which one is the transpose of the other:

    dynamic_slice          x[start : start + size] along each axis
    dynamic_unslice        zeros, with x written there
    dynamic_update_slice   x with v written there

A start is an integer scalar for each axis, which a tracer may be. A negative one counts from the end; then it is moved
until the window lies within the array. That is what these functions mean, so nothing is ever out of range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, user_source
from tracegrad.core.errors import at as at_line
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.symbols import as_index
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, Shape, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import cast, conform, is_tracer, linear, same_type, shape_in_params, shape_of
from tracegrad.ops.gather import GatherDimensionNumbers, ScatterDimensionNumbers, gather, scatter
from tracegrad.ops.index import at, wide
from tracegrad.ops.masks import masking_jvp, masking_vjp
from tracegrad.typing import Array, ArrayLike


def _window(shape: Shape, sizes: Shape, starts: Sequence[Any]) -> tuple[slice, ...]:
    """The slices of the window in an array of this shape."""
    found = []
    for n, w, s in zip(shape, sizes, starts, strict=True):
        s = int(s)
        first = min(max(s + n if s < 0 else s, 0), n - w)
        found.append(slice(first, first + w))
    return tuple(found)


def _corners(size: int, batched: Sequence[bool], starts: Sequence[Any], shape: Shape) -> Any:
    """The starts of a batch of windows in arrays of this shape as rows of indices, counted from the front."""
    columns = []
    for s, b, n in zip(starts, batched, shape, strict=True):
        s = wide(s)
        s = np.where(s < 0, s + n, s)
        columns.append(s if b else np.broadcast_to(s, (size,)))
    return np.stack(columns, 1)


def _rows(x: Any, batched: bool, size: int) -> Any:
    return x if batched else np.broadcast_to(x, (size, *shape_of(x)))


# ---------------------------------------------------------------------------------------------------------------------
# dynamic_slice and dynamic_unslice.


def _slice(x: Any, *starts: Any, slice_sizes: Shape) -> Any:
    return x[_window(x.shape, slice_sizes, starts)]


def _slice_transpose(ct: Any, x: Any, *starts: Any, slice_sizes: Shape) -> Any:
    return bind(dynamic_unslice_op, (ct, *starts), {"shape": shape_of(x)})


def _slice_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, *starts = inputs
    sizes = params["slice_sizes"]
    ndim = len(sizes)
    if not any(batched[1:]):
        return bind(dynamic_slice_op, (x, 0, *starts), {"slice_sizes": (size, *sizes)})
    lead = int(batched[0])
    numbers = GatherDimensionNumbers(
        offset_dims=tuple(range(1, ndim + 1)),
        collapsed_slice_dims=(),
        start_index_map=tuple(range(lead, ndim + lead)),
        operand_batching_dims=(0,) * lead,
        start_indices_batching_dims=(0,) * lead,
    )
    corners = _corners(size, batched[1:], starts, shape_of(x)[lead:])
    return gather(x, corners, numbers, (*(1,) * lead, *sizes), mode="clip")


def _slice_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4))
    for starts, sizes in [((1, 2), (2, 1)), ((-1, -3), (1, 3)), ((7, -9), (2, 2)), ((0, 1), (3, 0))]:
        yield Sample((x, *map(np.int64, starts)), {"slice_sizes": sizes})
    yield Sample((x[0], np.array(2, np.uint8)), {"slice_sizes": (2,)})


dynamic_slice_op = linear(
    "dynamic_slice",
    _slice,
    _slice_transpose,
    infer=lambda types, params: ArrayType(params["slice_sizes"], types[0].dtype),
    batch=_slice_batch,
    linear=[{0}],
    kinds="biufc",
    samples=_slice_samples,
    moves=True,
    picks=True,
)


def _unslice(x: Any, *starts: Any, shape: Shape) -> Any:
    out = np.zeros(shape, x.dtype)
    out[_window(shape, x.shape, starts)] = x
    return out


def _unslice_transpose(ct: Any, x: Any, *starts: Any, shape: Shape) -> Any:
    return bind(dynamic_slice_op, (ct, *starts), {"slice_sizes": shape_of(x)})


def _unslice_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, *starts = inputs
    shape = params["shape"]
    x = _rows(x, batched[0], size)
    if not any(batched[1:]):
        return bind(dynamic_unslice_op, (x, 0, *starts), {"shape": (size, *shape)})
    return _written(np.zeros((size, *shape), type_of(x).dtype), x, _corners(size, batched[1:], starts, shape))


def _unslice_samples() -> Iterable[Sample]:
    for s in _slice_samples():
        x, *starts = s.inputs
        sizes = s.params["slice_sizes"]
        yield Sample((np.array(x[_window(x.shape, sizes, starts)]) * 2, *starts), {"shape": x.shape})


dynamic_unslice_op = linear(
    "dynamic_unslice",
    _unslice,
    _unslice_transpose,
    infer=shape_in_params,
    batch=_unslice_batch,
    linear=[{0}],
    kinds="biufc",
    samples=_unslice_samples,
    moves=True,
    leaves_zeros=True,
)


# ---------------------------------------------------------------------------------------------------------------------
# dynamic_update_slice.


def _update(x: Any, v: Any, *starts: Any) -> Any:
    out = np.array(x)
    out[_window(out.shape, v.shape, starts)] = v
    return out


def _update_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    (_, v, *starts), (tx, tv, *_) = primals, tangents
    if tx is None:
        if tv is None:
            return None
        return bind(dynamic_unslice_op, (cast(tv, type_of(out).dtype), *starts), {"shape": shape_of(out)})
    if tv is None:
        tv = np.zeros(shape_of(v), type_of(v).dtype)
    return bind(dynamic_update_slice_op, (tx, tv, *starts))


def _update_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    _, v, *starts = primals
    found = {
        0: lambda: bind(dynamic_update_slice_op, (ct, np.zeros(shape_of(v), type_of(ct).dtype), *starts)),
        1: lambda: conform(bind(dynamic_slice_op, (ct, *starts), {"slice_sizes": shape_of(v)}), v),
    }
    return [found[i]() if i in found else None for i in wanted]


def _written(x: Any, v: Any, corners: Any) -> Any:
    """A batch of arrays, each with its window written."""
    axes = tuple(range(1, len(shape_of(x))))
    numbers = ScatterDimensionNumbers(
        update_window_dims=axes,
        inserted_window_dims=(),
        scatter_dims_to_operand_dims=axes,
        operand_batching_dims=(0,),
        scatter_indices_batching_dims=(0,),
    )
    return scatter(x, corners, v, numbers, unique_indices=True, mode="clip")


def _update_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, v, *starts = inputs
    x, v = _rows(x, batched[0], size), _rows(v, batched[1], size)
    if not any(batched[2:]):
        return bind(dynamic_update_slice_op, (x, v, 0, *starts))
    return _written(x, v, _corners(size, batched[2:], starts, shape_of(x)[1:]))


def _update_samples() -> Iterable[Sample]:
    for s in _slice_samples():
        x, *starts = s.inputs
        yield Sample(
            (x, np.cos(1.0 + np.arange(np.prod(s.params["slice_sizes"]))).reshape(s.params["slice_sizes"]), *starts)
        )


dynamic_update_slice_op: Op = Op(
    "dynamic_update_slice",
    evaluate=_update,
    infer=same_type,
    jvp=masking_jvp(_update_jvp, (0, 1)),
    vjp=masking_vjp(_update_vjp, 0),
    moves=True,
    linear=[{0, 1}],
    batch=_update_batch,
    kinds="biufc",
    samples=_update_samples,
    never_aliases=True,
)


# ---------------------------------------------------------------------------------------------------------------------
# The functions.


def _starts(name: str, x: Any, sizes: Shape, start_indices: Any, negative: bool | Sequence[bool]) -> list[Any]:
    """The starts as a list, after every check."""
    shape = shape_of(x)
    if isinstance(start_indices, list | tuple):
        starts = [as_array(s) for s in start_indices]
    else:
        vector = as_array(start_indices)
        if len(shape_of(vector)) != 1:
            raise ShapeError(
                f"{name}: start_indices must be a sequence, one for each axis, got {type_of(vector)}{_here()}"
            )
        starts = list(vector)
    if len(starts) != len(shape) or len(sizes) != len(shape):
        raise ShapeError(
            f"{name} of {type_of(x)} needs a start and a size for each of its {len(shape)} axes, got {len(starts)} starts "
            f"and sizes {sizes}{_here()}"
        )
    for axis, (n, w) in enumerate(zip(shape, sizes, strict=True)):
        if not 0 <= w <= n:
            raise ShapeError(f"{name}: a window of {w} does not fit axis {axis} of {type_of(x)}, of size {n}{_here()}")
    flags = [negative] * len(starts) if isinstance(negative, bool) else list(negative)
    for i, s in enumerate(starts):
        found = type_of(s)
        if number_kind(found.dtype) not in "iu" or found.shape:
            raise DtypeError(f"{name}: a start must be an integer scalar, got {found} for axis {i}{_here()}")
        if not flags[i]:
            starts[i] = np.maximum(s, 0)
    return starts


def _here() -> str:
    return at_line(user_source())


def dynamic_slice(
    operand: ArrayLike,
    start_indices: ArrayLike,
    slice_sizes: Sequence[int],
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Array:
    """The window of `slice_sizes` that begins at `start_indices`: a sequence of integer scalars, or a vector of them.

    Starts may be traced. A negative start counts from the end (with `allow_negative_indices=False`, for all axes or each,
    it counts as 0); then the window is moved until it lies within the operand.

    >>> import numpy as np
    >>> dynamic_slice(np.arange(5), (3,), (3,)).tolist()
    [2, 3, 4]
    """
    x, sizes = as_array(operand), tuple([as_index(n) for n in slice_sizes])
    starts = _starts("dynamic_slice", x, sizes, start_indices, allow_negative_indices)
    if not is_tracer(*starts):
        return x[_window(shape_of(x), sizes, starts)]
    return bind(dynamic_slice_op, (x, *starts), {"slice_sizes": sizes})


def dynamic_update_slice(
    operand: ArrayLike,
    update: ArrayLike,
    start_indices: ArrayLike,
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Array:
    """A copy of `operand` with `update`, of as many axes, written where `start_indices` say, as in `dynamic_slice`.

    >>> import numpy as np
    >>> dynamic_update_slice(np.zeros(4), np.ones(2), (3,)).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    x, v = as_array(operand), as_array(update)
    starts = _starts("dynamic_update_slice", x, shape_of(v), start_indices, allow_negative_indices)
    if not np.can_cast(type_of(v).dtype, type_of(x).dtype, "same_kind"):
        raise DtypeError(
            f"dynamic_update_slice: {type_of(v)} cannot be written into {type_of(x)} without loss{_here()}; write "
            f"operand.astype({type_of(v).dtype.name!r})"
        )
    v = astype(v, type_of(x).dtype)
    if not is_tracer(*starts):
        return at(x)[_window(shape_of(x), shape_of(v), starts)].set(v)
    return bind(dynamic_update_slice_op, (x, v, *starts))
