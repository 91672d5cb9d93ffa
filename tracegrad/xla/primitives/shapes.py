"""jax's primitives that make, shape, join, cut, pad and index arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracegrad import lax
from tracegrad.xla.primitives.table import PRIMITIVES, binds, dtype_here


@binds("iota")
def _(*, dtype: Any, shape: Any, dimension: int, **_: Any) -> Any:
    return lax.broadcasted_iota(dtype, shape, dimension)


@binds("empty", "empty2")
def _(*, shape: Any, dtype: Any, **_: Any) -> Any:
    return lax.empty(shape, dtype_here(dtype))


@binds("broadcast_in_dim")
def _(x: Any, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    return lax.broadcast_in_dim(x, shape, broadcast_dimensions)


@binds("reshape")
def _(x: Any, *, new_sizes: Any, dimensions: Any = None, **_: Any) -> Any:
    return lax.reshape(x, new_sizes, dimensions)


@binds("squeeze")
def _(x: Any, *, dimensions: Any) -> Any:
    return lax.squeeze(x, dimensions)


@binds("transpose")
def _(x: Any, *, permutation: Any) -> Any:
    return lax.transpose(x, permutation)


@binds("rev")
def _(x: Any, *, dimensions: Any) -> Any:
    return lax.rev(x, dimensions)


@binds("concatenate")
def _(*arrays: Any, dimension: int) -> Any:
    return lax.concatenate(arrays, dimension)


@binds("stack")
def _(*arrays: Any, axis: int) -> Any:
    return lax.stack(arrays, axis)


@binds("unstack")
def _(x: Any, *, axis: int) -> Any:
    return lax.unstack(x, axis)


@binds("split")
def _(x: Any, *, sizes: Any, axis: int) -> Any:
    return lax.split(x, sizes, axis)


@binds("tile")
def _(x: Any, *, reps: Any) -> Any:
    return lax.tile(x, reps)


@binds("pad")
def _(x: Any, value: Any, *, padding_config: Any) -> Any:
    return lax.pad(x, value, padding_config)


@binds("slice")
def _(x: Any, *, start_indices: Any, limit_indices: Any, strides: Any) -> Any:
    return lax.slice(x, start_indices, limit_indices, strides)


# jax has put negative starts right before it binds these two.
@binds("dynamic_slice")
def _(x: Any, *starts: Any, slice_sizes: Any) -> Any:
    return lax.dynamic_slice(x, starts, slice_sizes, allow_negative_indices=False)


@binds("dynamic_update_slice")
def _(x: Any, update: Any, *starts: Any) -> Any:
    return lax.dynamic_update_slice(x, update, starts, allow_negative_indices=False)


_MODES = {"CLIP": "clip", "FILL_OR_DROP": "fill", "PROMISE_IN_BOUNDS": "promise_in_bounds", "ONE_HOT": "fill"}


@binds("gather")
def _(
    x: Any,
    indices: Any,
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    mode: Any,
    fill_value: Any,
    unique_indices: bool,
    **_: Any,
) -> Any:
    """Where jax was promised indices in range, XLA moves others there, and what reads them may be discarded: so does this."""
    d = dimension_numbers
    numbers = lax.GatherDimensionNumbers(
        tuple(d.offset_dims),
        tuple(d.collapsed_slice_dims),
        tuple(d.start_index_map),
        tuple(d.operand_batching_dims),
        tuple(d.start_indices_batching_dims),
    )
    word = _MODES[mode.name].replace("promise_in_bounds", "clip")
    return lax.gather(x, indices, numbers, slice_sizes, unique_indices=unique_indices, mode=word, fill_value=fill_value)


def _scatter(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(
        x: Any, indices: Any, updates: Any, *, dimension_numbers: Any, mode: Any, unique_indices: bool, **_: Any
    ) -> Any:
        d = dimension_numbers
        numbers = lax.ScatterDimensionNumbers(
            tuple(d.update_window_dims),
            tuple(d.inserted_window_dims),
            tuple(d.scatter_dims_to_operand_dims),
            tuple(d.operand_batching_dims),
            tuple(d.scatter_indices_batching_dims),
        )
        return function(x, indices, updates, numbers, unique_indices=unique_indices, mode=_MODES[mode.name])

    return rule


PRIMITIVES.update(
    {
        "scatter": _scatter(lax.scatter),
        "scatter-add": _scatter(lax.scatter_add),
        "scatter-sub": _scatter(lax.scatter_sub),
        "scatter-mul": _scatter(lax.scatter_mul),
        "scatter-max": _scatter(lax.scatter_max),
        "scatter-min": _scatter(lax.scatter_min),
    }
)
