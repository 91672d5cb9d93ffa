"""Running sums and products under their names in the array API, and without NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.op import Op
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.cumulative import accumulate, along_shape, cumprod_op, cumsum_op, without_nan
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.typing import Array, ArrayLike, DType


def _array_api_accumulate(
    op: Op, function: Any, x: Any, axis: int | None, dtype: Any, include_initial: bool, initial: int
) -> Any:
    x = as_array(x)
    if axis is None:
        if len(shape_of(x)) > 1:
            raise ShapeError(f"{function.__name__} of {type_of(x)} needs an axis; write axis=0, or np.ravel(x)")
        axis = 0
    y = accumulate(op, function, x, axis, dtype)
    if not include_initial:
        return y
    axis = normalize_axis(axis, len(y.shape), function.__name__)
    return np.concatenate([np.full(along_shape(y.shape, axis, 1), initial, y.dtype), y], axis)


@implements(getattr(np, "cumulative_sum", None))
def cumulative_sum(
    x: ArrayLike,
    /,
    *,
    axis: int | None = None,
    dtype: DType = None,
    out: Array | None = None,
    include_initial: bool = False,
) -> Array:
    """`cumsum` under its name in the array API, with a zero in front if `include_initial`. Only a vector may do without an axis.

    >>> cumulative_sum(np.array([1, 2, 3]), include_initial=True).tolist()
    [0, 1, 3, 6]

    Raises:
        ShapeError: without an axis for an array of more than one dimension.
    """
    return _array_api_accumulate(cumsum_op, cumulative_sum, x, axis, dtype, include_initial, 0)


@implements(getattr(np, "cumulative_prod", None))
def cumulative_prod(
    x: ArrayLike,
    /,
    *,
    axis: int | None = None,
    dtype: DType = None,
    out: Array | None = None,
    include_initial: bool = False,
) -> Array:
    """`cumprod` under its name in the array API, with a one in front if `include_initial`.

    >>> cumulative_prod(np.array([3.0, 1.0, 2.0])).tolist()
    [3.0, 3.0, 6.0]
    """
    return _array_api_accumulate(cumprod_op, cumulative_prod, x, axis, dtype, include_initial, 1)


@implements(np.nancumsum)
def nancumsum(a: ArrayLike, axis: int | None = None, dtype: DType = None, out: Array | None = None) -> Array:
    """`cumsum` with NaN taken for 0.

    >>> nancumsum(np.array([1.0, np.nan, 3.0])).tolist()
    [1.0, 1.0, 4.0]
    """
    return accumulate(cumsum_op, np.nancumsum, without_nan(a, 0), axis, dtype)


@implements(np.nancumprod)
def nancumprod(a: ArrayLike, axis: int | None = None, dtype: DType = None, out: Array | None = None) -> Array:
    """`cumprod` with NaN taken for 1.

    >>> nancumprod(np.array([1.0, np.nan, 3.0])).tolist()
    [1.0, 1.0, 3.0]
    """
    return accumulate(cumprod_op, np.nancumprod, without_nan(a, 1), axis, dtype)
