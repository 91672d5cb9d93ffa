"""Ops that do nothing to values."""

from __future__ import annotations

from typing import Any

from jax import lax

from tracegrad.core.backends import lowers


@lowers("stop_gradient")
def _stop_gradient(out: Any, x: Any) -> Any:
    return lax.stop_gradient(x)


@lowers("to_xla", "checkpoint_name")
def _unchanged(out: Any, x: Any, **params: Any) -> Any:
    return x
