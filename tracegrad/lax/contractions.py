"""Contractions by dimension numbers, as jax.lax says them: `dot_general`, `dot`, `batch_matmul`.

Nothing here is an op: transposes and reshapes bring both sides into the form of a batch of matrices, and `matmul`, which is
BLAS, does the rest. Transposes of matrices cost nothing, BLAS reads them as they lie.
"""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.typing import Array, ArrayLike, DType

DotDimensionNumbers = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]


class Precision(enum.Enum):
    """How exactly an accelerator multiplies. NumPy always does so to the precision of the dtype."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


_PRECISIONS = {None, "default", "high", "highest", "fastest", "float32", "bfloat16", "tensorfloat32", *Precision}


def _check_precision(name: str, precision: Any) -> None:
    for p in precision if isinstance(precision, tuple) else (precision,):
        if p not in _PRECISIONS:
            raise ValueError(
                f"{name}: precision must be None, 'default', 'high', 'highest' or a Precision, got {p!r}; it has no "
                "effect on NumPy, which computes to the precision of the dtype"
            )


def _different_axes(axes: Sequence[int], ndim: int, what: str, t: Any) -> tuple[int, ...]:
    numbers = tuple([operator.index(a) for a in axes])
    if any([not 0 <= a < ndim for a in numbers]) or len(set(numbers)) != len(numbers):
        raise ShapeError(
            f"dot_general: {what} {numbers} must name different axes of {t}, from 0 to {ndim - 1}{at(user_source())}"
        )
    return numbers


def dot_general(
    lhs: ArrayLike,
    rhs: ArrayLike,
    dimension_numbers: DotDimensionNumbers,
    precision: Any = None,
    preferred_element_type: DType = None,
) -> Array:
    """Products of `lhs` and `rhs` summed over some axes, for each place along others.

    `dimension_numbers` is ((lhs axes, rhs axes) to sum over, (lhs axes, rhs axes) to go along together), of equal sizes
    pairwise. The result has the batch axes, then what is left of `lhs`, then what is left of `rhs`. Its dtype is
    `preferred_element_type`, in which the products are also summed if it is the wider one; else what NumPy promotes both
    to. `precision` has no effect. Equal to an einsum that names each axis; runs on BLAS.

    >>> import numpy as np
    >>> x, y = np.ones((5, 2, 3)), np.ones((5, 3, 4))
    >>> dot_general(x, y, (((2,), (1,)), ((0,), (0,)))).shape
    (5, 2, 4)

    Raises:
        ShapeError: for axes that do not match, or are not different ones from 0 on.
    """
    x, y = as_array(lhs), as_array(rhs)
    _check_precision("dot_general", precision)
    (x_sum, y_sum), (x_batch, y_batch) = dimension_numbers
    x_shape, y_shape = shape_of(x), shape_of(y)
    types = (type_of(x), type_of(y))
    x_sum, x_batch = [_different_axes(a, len(x_shape), "axes of lhs", types[0]) for a in (x_sum, x_batch)]
    y_sum, y_batch = [_different_axes(a, len(y_shape), "axes of rhs", types[1]) for a in (y_sum, y_batch)]
    for what, own, other in (("contracting", x_sum, y_sum), ("batch", x_batch, y_batch)):
        if [x_shape[a] for a in own] != [y_shape[a] for a in other]:
            raise ShapeError(
                f"dot_general: the {what} axes {own} of {types[0]} and {other} of {types[1]} must be of equal sizes"
                f"{at(user_source())}"
            )
    if set(x_sum) & set(x_batch) or set(y_sum) & set(y_batch):
        raise ShapeError(
            f"dot_general: an axis is both contracting and batch in {dimension_numbers}{at(user_source())}"
        )
    x_free = tuple([a for a in range(len(x_shape)) if a not in x_sum and a not in x_batch])
    y_free = tuple([a for a in range(len(y_shape)) if a not in y_sum and a not in y_batch])
    batch = tuple([x_shape[a] for a in x_batch])
    rows, columns = tuple([x_shape[a] for a in x_free]), tuple([y_shape[a] for a in y_free])
    dtype = np.result_type(types[0].dtype, types[1].dtype)
    if preferred_element_type is not None:
        dtype = np.dtype(preferred_element_type)
        wider = np.result_type(dtype, types[0].dtype, types[1].dtype)
        x, y = astype(x, wider), astype(y, wider)
    if not x_sum:
        left = np.reshape(np.transpose(x, (*x_batch, *x_free)), (*batch, *rows, *(1,) * len(columns)))
        right = np.reshape(np.transpose(y, (*y_batch, *y_free)), (*batch, *(1,) * len(rows), *columns))
        return astype(np.multiply(left, right), dtype)
    depth = math.prod([x_shape[a] for a in x_sum])
    # A vector stays one where there is no batch: BLAS has its own products for these.
    row = (math.prod(rows),) if rows or batch else ()
    column = (math.prod(columns),) if columns or batch else ()
    left = np.reshape(np.transpose(x, (*x_batch, *x_free, *x_sum)), (*batch, *row, depth))
    right = np.reshape(np.transpose(y, (*y_batch, *y_sum, *y_free)), (*batch, depth, *column))
    return astype(np.reshape(np.matmul(left, right), (*batch, *rows, *columns)), dtype)


def dot(
    lhs: ArrayLike,
    rhs: ArrayLike,
    *,
    dimension_numbers: DotDimensionNumbers | None = None,
    precision: Any = None,
    preferred_element_type: DType = None,
) -> Array:
    """The product of two matrices or vectors, summed over the last axis of `lhs` and the first of `rhs`; of other arrays
    by `dimension_numbers`, as `dot_general`.

    >>> import numpy as np
    >>> float(dot(np.arange(3.0), np.arange(3.0)))
    5.0
    """
    if dimension_numbers is None:
        x, y = type_of(as_array(lhs)), type_of(as_array(rhs))
        if not (1 <= x.ndim <= 2 and 1 <= y.ndim <= 2 and x.shape[-1] == y.shape[0]):
            raise ShapeError(
                f"dot of {x} and {y}{at(user_source())}: these are not two matrices or vectors that agree in the last axis "
                "of the one and the first of the other; give dimension_numbers="
            )
        dimension_numbers = (((x.ndim - 1,), (0,)), ((), ()))
    return dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type)


def batch_matmul(lhs: ArrayLike, rhs: ArrayLike, precision: Any = None) -> Array:
    """Matrix products of two batches, (..., m, k) by (..., k, n), whose leading axes are the same; ShapeError of others.

    >>> batch_matmul(np.ones((5, 2, 3)), np.ones((5, 3, 4))).shape
    (5, 2, 4)
    """
    x, y = type_of(as_array(lhs)), type_of(as_array(rhs))
    if x.ndim < 2 or x.ndim != y.ndim or x.shape[:-2] != y.shape[:-2]:
        raise ShapeError(
            f"batch_matmul takes matrices with the same leading axes, got {x} and {y}{at(user_source())}; write np.matmul, "
            "which broadcasts these"
        )
    _check_precision("batch_matmul", precision)
    return np.matmul(as_array(lhs), as_array(rhs))
