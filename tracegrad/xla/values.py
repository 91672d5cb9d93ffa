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
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, is_inexact, is_numpy_scalar, number_kind


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


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, of signed integers by unsigned ones. XLA takes a square and an absolute value for no less than zero, also
    where they wrap around as NumPy's do: it would divide them by shifts, and have x * x < 0 nowhere. (A product by a scalar of
    NumPy's is no square.)"""

    def wrapping(*inputs: Any) -> Any:
        dtype = inputs[0].dtype
        if dtype.char not in "bhilq" or any(map(is_numpy_scalar, inputs)):
            return function(*inputs)
        unsigned = np.dtype(f"u{dtype.name}")
        return lax.convert_element_type(function(*[lax.convert_element_type(x, unsigned) for x in inputs]), dtype)

    return wrapping


def strong(x: Any, type: ArrayType) -> Any:
    """An array of exactly this type, as what a loop carries has to be."""
    return lax.convert_element_type(x, type.dtype)


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Broadcast to a shape, as NumPy does it."""
    here = np.shape(x)
    if here == shape:
        return x
    return lax.broadcast_in_dim(x, shape, tuple(range(len(shape) - len(here), len(shape))))


def log1p(x: Any) -> Any:
    """XLA's, which on CPUs has two digits less in doubles from -0.42 to -0.3: there 1 + x takes none."""
    if x.dtype != np.float64:
        return lax.log1p(x)
    return jnp.where(x < -0.3, lax.log(1.0 + x), lax.log1p(x))


def is_split(x: Any) -> bool:
    """Whether a value is split over a mesh of explicit axes, as its type says."""
    return any(jax.typeof(x).sharding.spec)


def alike(values: Sequence[Any]) -> Sequence[Any]:
    """Values for a function of jax's that wants all of them split alike over a mesh of explicit axes: where one is split, so are
    those that were whole on every device."""
    split = next((v for v in values if is_split(v)), None)
    if split is None:
        return values
    sharding = jax.typeof(split).sharding
    return [v if not np.shape(v) or is_split(v) else jax.sharding.reshard(v, sharding) for v in values]


def split_along(x: Any, y: Any, axes: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
    """Two values split alike along pairs of their axes, where one of them is."""
    specs = [list(jax.typeof(v).sharding.spec) for v in (x, y)]
    for i, j in axes:
        specs[0][i] = specs[1][j] = specs[0][i] or specs[1][j]
    mesh = next((jax.typeof(v).sharding.mesh for v in (x, y) if is_split(v)), None)
    if mesh is None:
        return x, y
    made = [jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec)) for spec in specs]
    return jax.sharding.reshard(x, made[0]), jax.sharding.reshard(y, made[1])


def select(which: Any, x: Any, y: Any) -> Any:
    """`x` where `which` holds, else `y`."""
    return lax.select(*alike((which, x, y)))


def together(inputs: Sequence[Any], out: ArrayType) -> list[Any]:
    """Inputs of an elementwise op in the dtype and the shape of its output."""
    return [broadcast_to(cast(x, out.dtype), out.shape) for x in inputs]


def in_numpy(function: Callable[..., Any], inputs: Sequence[Any], params: Params) -> Any:
    """What a function written in NumPy calls makes of jax's values, by the rules of the ops that it calls. It must not
    branch on values."""
    return unboxed(with_boxes(function, *[boxed(jnp.asarray(x)) for x in inputs], **params))
