"""Means over axes, and the root of a variance: a standard deviation of zero has derivative zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.op import Params, Sample, Wanted
from tracegrad.core.symbols import Symbol
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, is_inexact, is_numpy_scalar, type_of
from tracegrad.ops.elementwise import astype, share
from tracegrad.ops.families import elementwise, implements, normalize_axes, shape_of, ufunc_type
from tracegrad.ops.reduce.sums import (
    additive,
    axis_params,
    check_mask,
    cotangent_of_sum,
    divided,
    evaluate_sum,
    masked,
    over_axes,
    reduced_size,
    reduction_type,
    spelled_sum,
    sum_op,
)
from tracegrad.typing import Array, ArrayLike, Axis, DType


def _sqrt(x: Any) -> Any:
    return np.sqrt(x)


safe_sqrt_op = elementwise(
    "safe_sqrt",
    _sqrt,
    lambda d, out, x: d * (0.5 * share(out, x)),
    neutral=1,
    infer=ufunc_type(np.sqrt),
    samples=lambda: [Sample((np.array([[0.3, 1.0, 2.5]]),)), Sample((0.7,))],
)


def safe_sqrt(x: Any) -> Any:
    """`sqrt(x)` with derivative zero at zero: the smallest of the subgradients of a norm at its kink."""
    return bind(safe_sqrt_op, (x,))


def mean_dtype(a: Any, dtype: Any) -> np.dtype[Any]:
    """The dtype in which a mean is taken: the one asked for, else float64 for integers."""
    if dtype is not None:
        return np.dtype(dtype)
    own = type_of(a).dtype
    return own if is_inexact(own) else np.dtype(np.float64)


def count_of(name: str, a: Any, axes: tuple[int, ...], keepdims: Any, where: Any) -> Any:
    """How many elements each mean is over: a number, or an array where a mask decides."""
    shape = shape_of(a)
    if where is None or where is True:
        count = math.prod([shape[i] for i in axes])
        return count if type(count) is Symbol else np.int64(count)
    check_mask(name, a, where)
    return np.sum(np.broadcast_to(where, shape), axes, keepdims=bool(keepdims))


def over(total: Any, count: Any) -> Any:
    """The total divided by a count, in the total's own precision."""
    dtype = type_of(total).dtype
    if type(count) is Symbol:
        if dtype != np.float16:
            return total / count
        count = np.int64(count)
    if is_numpy_scalar(count) and dtype != np.float16:
        return total / count.item()
    return astype(total / count, dtype)


def _spelled_mean(
    args: Sequence[str], types: Sequence[ArrayType], is_block: Callable[[int], bool], params: Params
) -> str | None:
    total = None if types[0].dtype.char == "e" else spelled_sum(args, types, is_block, params)
    return None if total is None else f"{total} / {math.prod([types[0].shape[i] for i in params['axes']])}"


def _mean(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if type(x) is ndarray and x.dtype.char == "e":
        return np.mean(x, axes, keepdims=keepdims)  # which adds up in float32
    return evaluate_sum(x, axes, keepdims) / (reduced_size(x.shape, axes) if axes else 1)


def _mean_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (x,) = primals
    return (cotangent_of_sum(divided(ct, reduced_size(shape_of(x), params["axes"])), x, params),)


mean_op = additive(
    "mean",
    _mean,
    _mean_vjp,
    infer=reduction_type(lambda dtype: dtype),
    kinds="fc",
    code=_spelled_mean,
)


@implements(np.mean)
def mean(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    keepdims: bool = False,
    *,
    where: ArrayLike = None,
) -> Array:
    """The mean over the axes, of the elements where `where` holds. Integers have a float64 mean; float16 is summed in
    float32, as in NumPy.

    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0).tolist()
    [2.0, 3.0]
    """
    if dtype is where is None and type(a) is Tracer and (axis is None or type(axis) is int):
        if not is_inexact(a.dtype):
            a = astype(a, np.float64)
        return bind(mean_op, (a,), axis_params("mean", axis, len(a.shape), keepdims))
    a = as_array(a)
    axes = normalize_axes(axis, len(shape_of(a)), "mean")
    result = mean_dtype(a, dtype)
    if dtype is where is None:
        return bind(mean_op, (astype(a, result),), {"axes": axes, "keepdims": bool(keepdims)})
    a = astype(a, np.float32 if dtype is None and result == np.float16 else result)
    total = over_axes(sum_op, masked("mean", a, where, 0), axes, keepdims)
    if type_of(total).dtype != type_of(a).dtype:
        total = astype(total, type_of(a).dtype)  # the op promoted small integers
    return astype(over(total, count_of("mean", a, axes, keepdims, where)), result)
