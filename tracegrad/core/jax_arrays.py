"""What is known of jax without importing it: whether a value is one of its arrays."""

from __future__ import annotations

import sys
from typing import Any


def is_jax_array(value: Any) -> bool:
    """Whether a value is a jax.Array, or a tracer of jax's. Who has one has imported jax; this does not."""
    jax = sys.modules.get("jax")
    if jax is None:
        return False
    array = getattr(jax, "Array", None)  # which is not there yet where another thread is importing jax
    return array is not None and isinstance(value, array)


def is_jax_tracer(value: Any) -> bool:
    """Whether a jax array is one that jax traces, without a value."""
    return isinstance(value, sys.modules["jax"].core.Tracer)


def jax_axis_size(name: Any) -> int | None:
    """The size of an axis of this name that jax binds around the call (`jax.shard_map`, `jax.vmap`), None if there is none."""
    lax = getattr(sys.modules.get("jax"), "lax", None)  # not there yet, either
    if lax is None:
        return None
    try:
        return int(lax.axis_size(name))
    except NameError:
        return None
