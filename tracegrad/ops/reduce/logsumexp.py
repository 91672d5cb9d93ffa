"""The logarithm of a sum of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import is_added, number_kind, type_of
from tracegrad.ops.elementwise import astype, widened
from tracegrad.ops.elementwise.products import times_exp
from tracegrad.ops.families import normalize_axes
from tracegrad.ops.reduce.sums import accumulator, masked, over_axes, reduced_shape, reduction, reduction_type
from tracegrad.ops.softmax import shares_op
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.typing import Array, ArrayLike, Axis


def _logsumexp(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if is_added(np.asarray(x).dtype):
        return _logsumexp(x.astype(np.float32), axes, keepdims).astype(x.dtype)
    largest = np.maximum.reduce(x, axes, keepdims=True, initial=-np.inf)
    level = np.where(np.isfinite(largest), largest, 0)
    terms = np.exp(x - level)
    total = np.add.reduce(terms, axes, accumulator(terms.dtype), keepdims=True)
    out = quietly(("divide",), np.log, total).astype(terms.dtype) + level
    return out if keepdims else np.reshape(out, reduced_shape(np.shape(x), axes, False))[()]


def _scale_logsumexp(d: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return d * bind(shares_op, (x,), {"axes": axes})


logsumexp_op = reduction(
    "logsumexp",
    _logsumexp,
    _scale_logsumexp,
    infer=reduction_type(lambda dtype: dtype),
    kinds="f",
)


def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: ArrayLike = None,
) -> Array:
    """`log(sum(b * exp(a)))` over the axes without overflow, as `jax.nn.logsumexp` and `scipy.special.logsumexp`.

    Args:
        a: array of real numbers.
        axis: the axes to sum over; None for all.
        b: factors of the terms, of a shape that broadcasts to that of `a`; 1 where not given. A factor of zero takes its
            term out, however large, and has a derivative like any other.
        keepdims: keep the axes that are summed over, with size 1.
        return_sign: return `(log(|sum|), sign(sum))`; without it a negative sum gives NaN.
        where: mask of the entries to include.

    Where all of `a` is -inf so is the result, with derivative zero.

    >>> bool(logsumexp(np.array([1000.0, 1000.0])) == 1000 + np.log(2))
    True
    """
    a = as_array(a)
    dtype = type_of(a).dtype
    if number_kind(dtype) == "c":
        raise DtypeError(f"logsumexp of {type_of(a)}: complex numbers are not taken; write np.log(np.sum(np.exp(a)))")
    if number_kind(dtype) != "f":
        a = astype(a, np.float64)
    a = masked("logsumexp", a, where, -np.inf)
    if b is None:
        value = over_axes(logsumexp_op, a, axis, keepdims)
        return (value, np.where(np.isneginf(value), 0, np.ones((), value.dtype))) if return_sign else value
    a, b = np.broadcast_arrays(a, as_array(b))
    axes = normalize_axes(axis, len(a.shape), "logsumexp")
    largest = np.max(np.where(np.equal(b, 0), -np.inf, a), axes, keepdims=True, initial=-np.inf)
    level = bind(stop_gradient_op, (np.where(np.isfinite(largest), largest, 0),))
    # A term without weight may be larger than all that count: it must not overflow.
    total = np.sum(widened(times_exp(b, a - level)), axes, keepdims=True)
    value = astype(quietly(("divide", "invalid"), np.log, np.abs(total) if return_sign else total), level.dtype) + level
    sign = np.sign(astype(total, level.dtype))
    if not keepdims:
        value, sign = [np.reshape(v, reduced_shape(a.shape, axes, False)) for v in (value, sign)]
    return (value, sign) if return_sign else value
