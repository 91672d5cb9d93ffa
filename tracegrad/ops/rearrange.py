"""Rolling arrays, and the diagonals of matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.op import Params, Sample, View
from tracegrad.core.symbols import as_index, broadcast_shapes
from tracegrad.core.trace import as_array, bind, contains_tracer
from tracegrad.core.types import ArrayType, Shape
from tracegrad.ops.families import implements, linear, normalize_axis, same_type, shape_of
from tracegrad.ops.index import region, slice_entry, take, unslice, wide
from tracegrad.ops.shape import copied
from tracegrad.typing import Array, ArrayLike, Axis

# ---------------------------------------------------------------------------------------------------------------------
# Roll.


def _roll(x: Any, shift: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    for s, a in zip(shift, axis, strict=True):
        before = (slice(None),) * a
        n = x.shape[a] - s
        x = np.concatenate((x[(*before, slice(n, None))], x[(*before, slice(None, n))]), a)
    return x


def _roll_transpose(ct: Any, x: Any, shift: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    back = tuple([x.shape[a] - s for s, a in zip(shift, axis, strict=True)])
    return bind(roll_op, (ct,), {"shift": back, "axis": axis})


def _roll_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(roll_op, tuple(inputs), {**params, "axis": tuple([a + 1 for a in params["axis"]])})


def _roll_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4))
    yield Sample((x,), {"shift": (1,), "axis": (0,)})
    yield Sample((x,), {"shift": (2, 3), "axis": (0, 1)})


# Shifts between 0 and the axis' size, each of another axis.
roll_op = linear(
    "roll", _roll, _roll_transpose,
    infer=same_type, batch=_roll_batch, kinds="biufc", samples=_roll_samples, moves=True,
)  # fmt: skip


@implements(np.roll)
def roll(a: ArrayLike, shift: ArrayLike, axis: Axis = None) -> Array:
    """The elements moved on by `shift` places along `axis`, those pushed out at the end coming in at the beginning. Several
    axes have a shift each; without any the array is rolled as if flat. Shifts may be traced.

    >>> roll([1, 2, 3, 4], 1).tolist()
    [4, 1, 2, 3]
    """
    a = as_array(a)
    if axis is None:
        return np.reshape(roll(np.reshape(a, -1), shift, 0), shape_of(a))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    if contains_tracer(shift):
        each = list(shift) if isinstance(shift, list | tuple) or shape_of(shift) else [shift]
        (count,) = broadcast_shapes((len(each),), (len(axes),))
        for k in range(count):
            i = normalize_axis(axes[k % len(axes)], len(a.shape), "roll")
            places = np.arange(a.shape[i]) - wide(as_array(each[k % len(each)]))
            a = take(a, np.remainder(places, max(a.shape[i], 1)), i)
        return a
    shifts, places = np.broadcast_arrays(shift, axes)
    if shifts.size and shifts.dtype.kind not in "biu":
        raise DtypeError(
            f"roll: shifts must be integers, got {shifts.dtype}{at(user_source())}; write shift.astype(int)"
        )
    total: dict[int, int] = {}
    for s, i in zip(shifts.ravel().tolist(), places.ravel().tolist(), strict=True):
        i = normalize_axis(i, len(a.shape), "roll")
        total[i] = (total.get(i, 0) + s) % max(a.shape[i], 1)
    moved = {i: s for i, s in sorted(total.items()) if s}
    return bind(roll_op, (a,), {"shift": tuple(moved.values()), "axis": tuple(moved)}) if moved else copied(a)


# ---------------------------------------------------------------------------------------------------------------------
# Diagonals.


def _of_last_axes(x: Any, k: int) -> Any:
    return np.diagonal(x, k, -2, -1)


def diagonal_index(shape: Shape, k: int) -> tuple[str, ...]:
    """Of the k-th diagonals in an array of matrices whose elements lie along one axis."""
    *rest, rows, columns = shape
    row, column = max(-k, 0), max(k, 0)
    count = min(rows - row, columns - column)
    start = row * columns + column
    stop = start + (count - 1) * (columns + 1) + 1 if count > 0 else start
    return (*[":"] * len(rest), slice_entry(start, stop, columns + 1, rows * columns))


def _diagonal_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    *rest, n, m = t.shape
    return ArrayType(region((*rest, n * m), diagonal_index(t.shape, params["k"]), ()).shape, t.dtype)


def _diagonal_transpose(ct: Any, x: Any, k: int) -> Any:
    *rest, n, m = x.shape
    return np.reshape(unslice(ct, diagonal_index(x.shape, k), (*rest, n * m)), x.shape)


def _diagonal_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4))
    for k in (0, 2, -1, 7):
        yield Sample((x,), {"k": k})
    yield Sample((x[0, :, :3],), {"k": 1})


diagonal_op = linear(
    "diagonal", _of_last_axes, _diagonal_transpose, infer=_diagonal_type,
    batch=lambda size, batched, inputs, params: bind(diagonal_op, tuple(inputs), params),
    kinds="biufc", samples=_diagonal_samples, moves=True, picks=True, view=View(None, _of_last_axes),
)  # fmt: skip


@implements(np.diagonal)
def diagonal(a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The `offset`-th diagonal of the matrices in two axes of `a`; it becomes the last axis of the result.

    >>> diagonal([[1, 2, 3], [4, 5, 6]], 1).tolist()
    [2, 6]
    """
    a = np.moveaxis(as_array(a), (axis1, axis2), (-2, -1))
    return bind(diagonal_op, (a,), {"k": as_index(offset)})
