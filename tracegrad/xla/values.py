"""What rules for XLA are made of: jax's values cast and broadcast as NumPy does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.boxes import boxed, unboxed, with_boxes
from tracegrad.core.op import Params
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, is_inexact, number_kind


def cast(x: Any, dtype: Any) -> Any:
    """To another dtype, as NumPy does it."""
    if type(x) in PYTHON_SCALARS or isinstance(x, np.ndarray | np.generic):
        return np.asarray(x).astype(dtype, copy=False)  # jax takes twice as long over a NumPy scalar
    if x.dtype == dtype:
        return x
    if number_kind(x.dtype) == "c" and number_kind(np.dtype(dtype)) != "c":
        x = x != 0 if number_kind(np.dtype(dtype)) == "b" else lax.real(x)
    if x.dtype == bool and is_inexact(np.dtype(dtype)):
        x = lax.convert_element_type(x, np.int8)  # or XLA takes False times infinity for zero
    return lax.convert_element_type(x, dtype)


def strong(x: Any, type: ArrayType) -> Any:
    """An array of exactly this type, as what a loop carries has to be."""
    return lax.convert_element_type(x, type.dtype)


def spread(x: Any, shape: tuple[int, ...]) -> Any:
    """Broadcast to a shape, as NumPy does it."""
    here = np.shape(x)
    if here == shape:
        return x
    return lax.broadcast_in_dim(x, shape, tuple(range(len(shape) - len(here), len(shape))))


def select(which: Any, x: Any, y: Any) -> Any:
    """`x` where `which` holds, else `y`, of which each may be whole on every device where another is split over a mesh of
    explicit axes: jax's own function wants all three alike."""
    operands = (which, x, y)
    shardings = [jax.typeof(v).sharding for v in operands]
    split = next((s for s in shardings if any(s.spec)), None)
    if split is not None:
        operands = tuple(
            v if any(s.spec) or not np.shape(v) else jax.sharding.reshard(v, split)
            for v, s in zip(operands, shardings, strict=True)
        )
    return lax.select(*operands)


def together(inputs: Sequence[Any], out: ArrayType) -> list[Any]:
    """Inputs of an elementwise op in the dtype and the shape of its output."""
    return [spread(cast(x, out.dtype), out.shape) for x in inputs]


def in_numpy(function: Callable[..., Any], inputs: Sequence[Any], params: Params) -> Any:
    """What a function written in NumPy calls makes of jax's values, by the rules of the ops that it calls. It must not
    branch on values."""
    return unboxed(with_boxes(function, *[boxed(jnp.asarray(x)) for x in inputs], **params))
