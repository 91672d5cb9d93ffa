"""Convolutions along one axis."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.xla.values import broadcast_to, cast


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
        return lax.reduce_sum(
            lax.mul(broadcast_to(windows, whole), broadcast_to(v[..., None, :], whole)), (len(lead) + 1,)
        )
    # Leading axes are examples where the window has none, else channels, each with a window of its own.
    batch = (math.prod(a.shape[:-1]), 1) if v.size == m else (1, math.prod(lead))
    if v.size != m:
        a, v = broadcast_to(a, (*lead, a.shape[-1])), broadcast_to(v, (*lead, m))
    found = lax.conv_general_dilated(
        lax.reshape(a, (*batch, a.shape[-1])), lax.reshape(v, (batch[1], 1, m)), (1,), ((extra, extra),),
        feature_group_count=batch[1],
    )  # fmt: skip
    return lax.reshape(found, out.shape)


@lowers("convolve")
def _convolve(out: ArrayType, a: Any, v: Any) -> Any:
    return _slide(out, a, lax.rev(v, (v.ndim - 1,)), v.shape[-1] - 1)


@lowers("recursive_filter")
def _recursive_filter(out: ArrayType, a: Any, x: Any) -> Any:
    """Step by step, with the state of the transposed direct form."""
    dtype = np.result_type(out.dtype, np.float32)  # also for float16 and its like
    a, x = cast(a, dtype), cast(x, dtype)
    lead, order = out.shape[:-1], a.shape[-1] - 1
    x = broadcast_to(x, out.shape)
    if order == 0 or 0 in out.shape:
        return cast(x, out.dtype)
    later = broadcast_to(a[..., 1:], (*lead, order))

    def step(state: Any, now: Any) -> Any:
        found = now + state[..., 0]
        moved = jnp.concatenate([state[..., 1:], jnp.zeros_like(state[..., :1])], -1)
        return moved - later * found[..., None], found

    found = lax.scan(step, jnp.zeros((*lead, order), dtype), jnp.moveaxis(x, -1, 0))[1]
    return cast(jnp.moveaxis(found, 0, -1), out.dtype)
