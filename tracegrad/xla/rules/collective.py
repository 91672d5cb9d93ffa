"""Collectives over an axis of jax's own (`jax.shard_map`, `jax.vmap`), on whose tracers a function of ours is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import lax

from tracegrad.core.axes import Axis
from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.xla.values import cast


@lowers("axis_index")
def _axis_index(out: ArrayType, *, axis_name: Axis) -> Any:
    return cast(lax.axis_index(axis_name.name), out.dtype)


def _collective(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    def rule(out: ArrayType, x: Any, index: Any, *, axis_name: Axis, **params: Any) -> Any:
        return function(x, axis_name.name, **options, **params)

    return rule


for _name in ("psum", "pmax", "pmin", "all_gather", "psum_scatter", "ppermute"):
    lowers(_name)(_collective(getattr(lax, _name)))
lowers("all_to_all")(_collective(lax.all_to_all, split_axis=0, concat_axis=0))
