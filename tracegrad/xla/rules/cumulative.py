"""Running sums, products and extremes, and recurrences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.xla.values import cast, select, wrapping


def _accumulation(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule by a function of jax.lax, which takes no booleans."""

    def rule(out: ArrayType, x: Any, *, axis: int, reverse: bool) -> Any:
        dtype = np.dtype(np.uint8) if number_kind(out.dtype) == "b" else out.dtype
        return function(cast(x, dtype), axis, reverse)

    return rule


for _name in ("cumsum", "cummax", "cummin", "cumlogsumexp"):
    lowers(_name)(_accumulation(getattr(lax, _name)))
lowers("cumprod")(_accumulation(lambda x, axis, reverse: wrapping(lambda x: lax.cumprod(x, axis, reverse))(x)))


@lowers("linear_recurrence")
def _linear_recurrence(out: ArrayType, *inputs: Any, axis: int, reverse: bool) -> Any:
    def composed(before: Any, after: Any) -> Any:
        (a, b), (factor, term) = before, after
        # A product of factors may overflow where nothing is carried: that must not make inf * 0.
        nothing = lax.eq(b, out.dtype.type(0))
        return lax.mul(a, factor), lax.add(select(nothing, b, lax.mul(factor, b)), term)

    pair = tuple([jnp.asarray(cast(x, out.dtype)) for x in inputs])
    return lax.associative_scan(composed, pair, reverse=reverse, axis=axis)[1]
