"""The largest and smallest over axes, and where they are. Equal extremes share the derivative equally, as in JAX."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.errors import ShapeError
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, is_inexact, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import (
    along_axis,
    implements,
    is_of_a_scalar,
    locally_constant,
    normalize_axis,
    require_held,
    shape_of,
)
from tracegrad.ops.reduce.pooled import pooled
from tracegrad.ops.reduce.sums import (
    divided,
    masked,
    reduced,
    reduced_axes,
    reduced_shape,
    reduction,
    reduction_strides,
    reduction_type,
    sum_op,
)
from tracegrad.typing import Array, ArrayLike, Axis


def _extreme(better: np.ufunc, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """What NumPy's reduction gives, which takes 70 ns for each row, short as it may be: of many short rows the columns are compared
    instead. (From nine on, NumPy may take a zero of the other sign.)"""
    width = x.shape[-1] if type(x) is ndarray and axes == (x.ndim - 1,) else 0
    if not 1 < width <= 8 or x.size < 16 * width * width or x.dtype.char not in "fd" or not x.flags.c_contiguous:
        return pooled(better, x, axes, keepdims)
    out = better(x[..., 0], x[..., 1])
    for i in range(2, width):
        better(out, x[..., i], out=out)
    return out[..., None] if keepdims else out


def _extreme_reduction(name: str, better: np.ufunc, loses: np.ufunc, kinds: str) -> Op:
    """The largest or smallest. `loses(x, out)` tells the elements that are not the extreme; if that is NaN, since a
    comparison with NaN is false, all elements share the derivative."""

    def scale(d: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
        lost = loses(x, out)
        shape = shape_of(x)
        winners = math.prod([shape[a] for a in axes]) - bind(sum_op, (lost,), {"axes": axes, "keepdims": True})
        # None wins where `loses` is "differs" and the extreme is NaN.
        return np.where(lost, 0, divided(d, np.maximum(winners, 1)))

    return reduction(
        name,
        partial(_extreme if better in (np.maximum, np.minimum) else reduced, better),
        scale,
        strides=reduction_strides,
        infer=reduction_type(lambda dtype: dtype),
        taken=lambda out, x: np.logical_not(loses(x, out)),
        kinds=kinds,
    )


max_op = _extreme_reduction("max", np.maximum, np.less, "biufc")
min_op = _extreme_reduction("min", np.minimum, np.greater, "biufc")
nanmax_op = _extreme_reduction("nanmax", np.fmax, np.not_equal, "fc")
nanmin_op = _extreme_reduction("nanmin", np.fmin, np.not_equal, "fc")


def _extreme_of(
    op: Op, ufunc: np.ufunc, function: Any, a: Any, axis: Any, keepdims: Any, initial: Any, where: Any
) -> Any:
    a = as_array(a)
    t = type_of(a)
    if initial is not None:
        require_held(initial, t.dtype, f"np.{function.__name__}(x, initial=v)")
        initial = astype(as_array(initial), t.dtype)
    elif where is not None and where is not True:
        raise ValueError(f"{function.__name__} with where= needs initial=, the value where nothing is left; give both")
    a = masked(function.__name__, a, where, initial)
    axes = reduced_axes(axis, len(t.shape), op.name)
    empty = 0 in [t.shape[i] for i in axes]
    if empty and initial is None:
        raise ShapeError(
            f"{op.name} of {t} over axes {axes}: there is no largest or smallest of nothing; give initial="
        )
    if empty:
        return np.broadcast_to(initial, reduced_shape(t.shape, axes, bool(keepdims)))
    value = bind(op, (a,), {"axes": axes, "keepdims": bool(keepdims)})
    return value if initial is None else ufunc(value, initial)


@implements(np.max, np.amax)
def max(
    a: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """The largest over the axes, or `initial` if that is larger. Equal largest share the derivative, as in JAX.

    >>> import tracegrad as tg
    >>> tg.grad(np.max)(np.array([1.0, 3.0, 3.0])).tolist()
    [0.0, 0.5, 0.5]

    Raises:
        ShapeError: of nothing, without `initial`.
        ValueError: with `where` and without `initial`.
    """
    return _extreme_of(max_op, np.maximum, np.max, a, axis, keepdims, initial, where)


@implements(np.min, np.amin)
def min(
    a: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """The smallest over the axes, or `initial` if that is smaller. Equal smallest share the derivative, as in JAX.

    >>> min(np.array([3.0, 1.0, 2.0])).item()
    1.0
    """
    return _extreme_of(min_op, np.minimum, np.min, a, axis, keepdims, initial, where)


amax = max
amin = min


@implements(np.nanmax, np.fmax.reduce)
def nanmax(
    a: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """`max` that passes over NaN; NaN where there is nothing else.

    >>> nanmax(np.array([1.0, np.nan, 3.0])).item()
    3.0
    """
    op = nanmax_op if is_inexact(type_of(as_array(a)).dtype) else max_op
    return _extreme_of(op, np.fmax, np.nanmax, a, axis, keepdims, initial, where)


@implements(np.nanmin, np.fmin.reduce)
def nanmin(
    a: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """`min` that passes over NaN; NaN where there is nothing else.

    >>> nanmin(np.array([1.0, np.nan, 3.0])).item()
    1.0
    """
    op = nanmin_op if is_inexact(type_of(as_array(a)).dtype) else min_op
    return _extreme_of(op, np.fmin, np.nanmin, a, axis, keepdims, initial, where)


def _position_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(reduced_shape(types[0].shape, (params["axis"],), False), np.dtype(np.intp))


def _position_samples() -> Iterable[Sample]:
    x = np.random.default_rng(3).uniform(-1, 1, (2, 3, 2))
    for axis in range(3):
        yield Sample((x,), {"axis": axis})


def _position(function: Any) -> Op:
    """The op of a function that finds where along an axis an extreme is: the first of equals."""

    name = function.__name__
    return locally_constant(
        name,
        function,
        infer=_position_type,
        batch=along_axis(name),
        samples=_position_samples,
    )


argmax_op, argmin_op, nanargmax_op, nanargmin_op = [
    _position(f) for f in (np.argmax, np.argmin, np.nanargmax, np.nanargmin)
]


def _position_of(op: Op, a: Any, axis: int | None, keepdims: Any) -> Any:
    a = as_array(a)
    shape = shape_of(a)
    if axis is None or is_of_a_scalar(axis, len(shape)):
        place = bind(op, (np.reshape(a, -1),), {"axis": 0})
        return np.reshape(place, (1,) * len(shape)) if keepdims else place
    axis = normalize_axis(axis, len(shape), op.name)
    if shape[axis] == 0:
        raise ShapeError(f"{op.name} of {type_of(a)} over axis {axis}: there is nothing to find a place in")
    place = bind(op, (a,), {"axis": axis})
    return np.expand_dims(place, axis) if keepdims else place


@implements(np.argmax)
def argmax(a: ArrayLike, axis: int | None = None, out: Array | None = None, *, keepdims: bool = False) -> Array:
    """The place of the largest along the axis (None: in the flattened array), the first of equals or of NaN. int64,
    without a derivative; ShapeError of nothing.

    >>> argmax(np.array([[1, 5, 5], [2, 0, 1]]), 1).tolist()
    [1, 0]
    """
    return _position_of(argmax_op, a, axis, keepdims)


@implements(np.argmin)
def argmin(a: ArrayLike, axis: int | None = None, out: Array | None = None, *, keepdims: bool = False) -> Array:
    """The place of the smallest along the axis (None: in the flattened array), the first of equals.

    >>> argmin(np.array([3.0, 1.0, 2.0])).item()
    1
    """
    return _position_of(argmin_op, a, axis, keepdims)


@implements(np.nanargmax)
def nanargmax(a: ArrayLike, axis: int | None = None, out: Array | None = None, *, keepdims: bool = False) -> Array:
    """`argmax` that passes over NaN; ValueError where there is nothing else.

    >>> nanargmax(np.array([1.0, np.nan, 3.0])).item()
    2
    """
    return _position_of(nanargmax_op, a, axis, keepdims)


@implements(np.nanargmin)
def nanargmin(a: ArrayLike, axis: int | None = None, out: Array | None = None, *, keepdims: bool = False) -> Array:
    """`argmin` that passes over NaN; ValueError where there is nothing else.

    >>> nanargmin(np.array([1.0, np.nan, 3.0])).item()
    0
    """
    return _position_of(nanargmin_op, a, axis, keepdims)
