"""jax's primitives of named axes, which our `vmap` binds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracegrad import lax
from tracegrad.xla.primitives.table import PRIMITIVES, binds


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *, axes, axis_index_groups=None: function(x, tuple(axes), axis_index_groups=axis_index_groups)


PRIMITIVES.update({name: _reduced(getattr(lax, name)) for name in ("pmax", "pmin", "psum")})


@binds("axis_index")
def _(*, axis_name: Any) -> Any:
    return lax.axis_index(axis_name)


@binds("all_gather")
def _(x: Any, *, axis_name: Any, all_gather_dimension: int, axis_index_groups: Any, tiled: bool, **_: Any) -> Any:
    return lax.all_gather(x, axis_name, axis=all_gather_dimension, axis_index_groups=axis_index_groups, tiled=tiled)


@binds("reduce_scatter")
def _(x: Any, *, axis_name: Any, scatter_dimension: int, axis_index_groups: Any, tiled: bool, **_: Any) -> Any:
    return lax.psum_scatter(
        x, axis_name, scatter_dimension=scatter_dimension, axis_index_groups=axis_index_groups, tiled=tiled
    )


@binds("all_to_all")
def _(
    x: Any, *, axis_name: Any, split_axis: int, concat_axis: int, axis_index_groups: Any, tiled: bool, **_: Any
) -> Any:
    return lax.all_to_all(x, axis_name, split_axis, concat_axis, axis_index_groups=axis_index_groups, tiled=tiled)


@binds("ppermute")
def _(x: Any, *, axis_name: Any, perm: Any, **_: Any) -> Any:
    return lax.ppermute(x, axis_name, perm)
