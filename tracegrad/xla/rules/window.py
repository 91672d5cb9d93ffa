"""Reductions over windows that slide over an array."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.ops.window import Windows, highest, lowest, places_in_windows
from tracegrad.xla.values import select

_Start = Callable[[Any], Any]


def _reduction(combine: Callable[..., Any], start: _Start) -> Callable[..., Any]:
    def rule(out: ArrayType, x: Any, **params: Any) -> Any:
        return lax.reduce_window(x, out.dtype.type(start(out.dtype)), combine, *Windows(**params))

    return rule


lowers("reduce_window_sum")(_reduction(lax.add, lambda dtype: 0))
lowers("reduce_window_max")(_reduction(lax.max, lowest))
lowers("reduce_window_min")(_reduction(lax.min, highest))


def _winners(win: Callable[..., Any], worst: _Start) -> Callable[..., Any]:
    """Where the winner of each window lies."""

    def combine(one: Any, other: Any) -> Any:
        # In no order, so the first of equals is what wins. A hole has no place, and loses.
        (v, p), (w, q) = one, other
        v_is_nan, w_is_nan = lax.ne(v, v), lax.ne(w, w)
        nan_wins = lax.bitwise_and(w_is_nan, lax.bitwise_not(v_is_nan))
        better = lax.bitwise_or(nan_wins, lax.bitwise_and(win(w, v), lax.bitwise_not(v_is_nan)))
        equal = lax.bitwise_or(lax.eq(v, w), lax.bitwise_and(v_is_nan, w_is_nan))
        wins = lax.bitwise_or(better, lax.bitwise_and(equal, lax.lt(q, p)))
        hole = q.dtype.type(-1)
        wins = lax.bitwise_and(lax.ne(q, hole), lax.bitwise_or(lax.eq(p, hole), wins))
        return select(wins, w, v), select(wins, q, p)

    def rule(out: ArrayType, x: Any, **params: Any) -> Any:
        dtype = np.dtype(np.int32 if math.prod(x.shape) < 2**31 else np.int64)
        numbers = lax.reshape(lax.iota(dtype, math.prod(x.shape)), x.shape)
        start = x.dtype.type(worst(x.dtype)), dtype.type(-1)
        return lax.reduce_window((x, numbers), start, combine, *Windows(**params))[1]

    return rule


lowers("window_argmax")(_winners(lax.gt, lowest))
lowers("window_argmin")(_winners(lax.lt, highest))


@lowers("sliding_windows")
def _sliding_windows(out: ArrayType, x: Any, *, axis: int, size: int) -> Any:
    return jnp.moveaxis(jnp.take(x, places_in_windows(x.shape[axis], size), axis, mode="clip"), axis + 1, -1)
