"""Ops that do nothing to values."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from tracegrad.core.backends import lowers


@lowers("stop_gradient")
def _stop_gradient(out: Any, x: Any) -> Any:
    return jnp.asarray(lax.stop_gradient(x))  # of a float under jax.grad it gives no array


@lowers("to_xla", "checkpoint_name")
def _unchanged(out: Any, x: Any, **params: Any) -> Any:
    return x
