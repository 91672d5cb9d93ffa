"""Sums, products, extremes and where they are, logic, means, log-sum-exp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, is_inexact, number_kind
from tracegrad.ops.reduce.sums import accumulator, reduced_size
from tracegrad.xla.values import broadcast_to, cast, select, wrapping


def _reduced(function: Callable[..., Any], x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """What a reduction of jax.lax makes of the axes, kept with size 1 if asked for."""
    if not axes:
        return x
    out = function(x, axes)
    return lax.expand_dims(out, axes) if keepdims else out


@lowers("sum")
def _sum(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    return _reduced(lax.reduce_sum, cast(x, accumulator(out.dtype)), axes, keepdims)


@lowers("mean")
def _mean(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    total = _sum(out, x, axes=axes, keepdims=keepdims)
    return lax.div(total, total.dtype.type(reduced_size(np.shape(x), axes)))


@lowers("prod")
def _prod(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    return _reduced(
        lambda x, axes: wrapping(lambda x: lax.reduce_prod(x, axes))(x), cast(x, accumulator(out.dtype)), axes, keepdims
    )


@lowers("any")
def _any(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    return _reduced(lax.reduce_or, cast(x, np.bool_), axes, keepdims)


@lowers("all")
def _all(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    return _reduced(lax.reduce_and, cast(x, np.bool_), axes, keepdims)


@lowers("logsumexp")
def _logsumexp(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    x = cast(x, out.dtype)
    largest = _reduced(lax.reduce_max, x, axes, True)
    level = select(lax.is_finite(largest), largest, broadcast_to(out.dtype.type(0), largest.shape))
    terms = lax.exp(lax.sub(x, broadcast_to(level, x.shape)))
    total = _reduced(lax.reduce_sum, cast(terms, accumulator(out.dtype)), axes, True)
    value = lax.add(cast(lax.log(total), out.dtype), level)
    return value if keepdims else lax.squeeze(value, axes)


# ---------------------------------------------------------------------------------------------------------------------
# Extremes: of each kind jax.lax's reduction, its search for a place, and the number that loses against all others.

_EXTREMES = {"max": (lax.reduce_max, lax.argmax, -np.inf), "min": (lax.reduce_min, lax.argmin, np.inf)}


def _of_nan(x: Any, worst: float) -> Any:
    """`x` with NaN replaced by what loses against all others."""
    value = x.dtype.type(complex(worst, worst) if number_kind(x.dtype) == "c" else worst)
    return select(lax.ne(x, x), broadcast_to(value, np.shape(x)), x)


def _extreme(word: str) -> None:
    reduce, search, worst = _EXTREMES[word]

    @lowers(word)
    def _(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
        value = _reduced(reduce, x, axes, keepdims)
        if number_kind(out.dtype) != "c":
            return value
        # XLA compares complex numbers as NumPy does, but passes over NaN.
        nans = broadcast_to(out.dtype.type(complex(np.nan, np.nan)), out.shape)
        return select(_reduced(lax.reduce_or, lax.ne(x, x), axes, keepdims), nans, value)

    @lowers("nan" + word)
    def _(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
        x = cast(x, out.dtype)
        value = _reduced(reduce, _of_nan(x, worst), axes, keepdims)
        nans = broadcast_to(out.dtype.type(np.nan), out.shape)
        return select(_reduced(lax.reduce_and, lax.ne(x, x), axes, keepdims), nans, value)

    @lowers("arg" + word)
    def place(out: ArrayType, x: Any, *, axis: int) -> Any:
        if number_kind(x.dtype) != "c":
            return search(x, axis, np.int32)
        # By the real parts, then the imaginary parts; the first NaN before all.
        extreme = lax.expand_dims(reduce(x, (axis,)), (axis,))
        hit = lax.eq(x, broadcast_to(extreme, x.shape))
        return lax.argmax(lax.add(cast(hit, np.int32), 2 * cast(lax.ne(x, x), np.int32)), axis, np.int32)

    @lowers("nanarg" + word)
    def _(out: ArrayType, x: Any, *, axis: int) -> Any:
        if not is_inexact(x.dtype):
            return place(out, x, axis=axis)
        # NumPy raises where there is nothing but NaN.
        nowhere = broadcast_to(np.int32(-1), out.shape)
        return select(lax.reduce_and(lax.ne(x, x), (axis,)), nowhere, place(out, _of_nan(x, worst), axis=axis))


for _word in _EXTREMES:
    _extreme(_word)


@lowers("safe_sqrt")
def _safe_sqrt(out: ArrayType, x: Any) -> Any:
    return lax.sqrt(cast(x, out.dtype))
