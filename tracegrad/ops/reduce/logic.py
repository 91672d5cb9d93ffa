"""Whether some or all elements along axes are not zero."""

from __future__ import annotations

from functools import partial

import numpy as np

from tracegrad.core.op import Op
from tracegrad.ops.families import along_axis, implements, locally_constant
from tracegrad.ops.reduce.sums import axis_samples, over_axes, prepared, reduced, reduction_type
from tracegrad.typing import Array, ArrayLike, Axis


def _logic(name: str, ufunc: np.ufunc) -> Op:
    return locally_constant(
        name,
        partial(reduced, ufunc),
        infer=reduction_type(lambda dtype: np.dtype(np.bool_)),
        batch=along_axis(name),
        samples=axis_samples,
    )


any_op = _logic("any", np.logical_or)
all_op = _logic("all", np.logical_and)


@implements(np.any)
def any(
    a: ArrayLike, axis: Axis = None, out: Array | None = None, keepdims: bool = False, *, where: ArrayLike = None
) -> Array:
    """Whether some element along the axes is not zero.

    >>> any(np.array([True, False])).item()
    True
    """
    return over_axes(any_op, prepared(np.any, a, None, where, 0), axis, keepdims)


@implements(np.all)
def all(
    a: ArrayLike, axis: Axis = None, out: Array | None = None, keepdims: bool = False, *, where: ArrayLike = None
) -> Array:
    """Whether all elements along the axes are not zero.

    >>> all(np.array([True, False])).item()
    False
    """
    return over_axes(all_op, prepared(np.all, a, None, where, 1), axis, keepdims)
