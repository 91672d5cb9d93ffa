"""Running sums, products and extremes, recurrences, and convolutions along one axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.xla.values import cast, spread


def _accumulation(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule by a function of jax.lax, which takes no booleans."""

    def rule(out: ArrayType, x: Any, *, axis: int, reverse: bool) -> Any:
        dtype = np.dtype(np.uint8) if number_kind(out.dtype) == "b" else out.dtype
        return function(cast(x, dtype), axis, reverse)

    return rule


for _name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"):
    lowers(_name)(_accumulation(getattr(lax, _name)))


@lowers("linear_recurrence")
def _linear_recurrence(out: ArrayType, *inputs: Any, axis: int, reverse: bool) -> Any:
    def composed(before: Any, after: Any) -> Any:
        (a, b), (factor, term) = before, after
        # A product of factors may overflow where nothing is carried: that must not make inf * 0.
        nothing = lax.eq(b, out.dtype.type(0))
        return lax.mul(a, factor), lax.add(lax.select(nothing, b, lax.mul(factor, b)), term)

    pair = tuple([jnp.asarray(cast(x, out.dtype)) for x in inputs])
    return lax.associative_scan(composed, pair, reverse=reverse, axis=axis)[1]


@lowers("slide")
def _slide(out: ArrayType, a: Any, v: Any, extra: int = 0) -> Any:
    """With `extra` zeros at both ends of the first."""
    dtype = np.dtype(np.int32) if number_kind(out.dtype) == "b" else out.dtype
    a, v = cast(a, dtype), cast(v, dtype)
    m, places, lead = v.shape[-1], out.shape[-1], out.shape[:-1]
    if number_kind(dtype) in "iu":  # of which GPUs have no convolutions
        pads = [(0, 0, 0)] * (a.ndim - 1) + [(extra, extra, 0)]
        places_within = np.arange(places)[:, None] + np.arange(m)
        windows = jnp.take(lax.pad(a, dtype.type(0), pads), places_within, axis=-1, mode="clip")
        whole = (*lead, places, m)
        return lax.reduce_sum(lax.mul(spread(windows, whole), spread(v[..., None, :], whole)), (len(lead) + 1,))
    # Leading axes are examples where the window has none, else channels, each with a window of its own.
    batch = (math.prod(a.shape[:-1]), 1) if v.size == m else (1, math.prod(lead))
    if v.size != m:
        a, v = spread(a, (*lead, a.shape[-1])), spread(v, (*lead, m))
    found = lax.conv_general_dilated(
        lax.reshape(a, (*batch, a.shape[-1])), lax.reshape(v, (batch[1], 1, m)), (1,), ((extra, extra),),
        feature_group_count=batch[1],
    )  # fmt: skip
    return lax.reshape(found, out.shape)


@lowers("convolve")
def _convolve(out: ArrayType, a: Any, v: Any) -> Any:
    return _slide(out, a, lax.rev(v, (v.ndim - 1,)), v.shape[-1] - 1)
