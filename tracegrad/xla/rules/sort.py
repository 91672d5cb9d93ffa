"""Sorting, searching, counting."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.xla.values import broadcast_to, cast, select


def _keys(x: Any) -> list[Any]:
    """What says of two elements which comes first. Of complex ones those with a NaN come last, as in NumPy: real parts that
    are numbers before those that are not, and so with imaginary parts."""
    if number_kind(x.dtype) != "c":
        return [x]
    parts = lax.real(x), lax.imag(x)
    of_real, of_imag = [lax.convert_element_type(lax.ne(part, part), np.int8) for part in parts]
    return [lax.add(lax.add(of_real, of_real), of_imag), *parts]


@lowers("sort")
def _sort(out: ArrayType, x: Any, *, axis: int) -> Any:
    keys = _keys(x)
    found = lax.sort(keys, dimension=axis, is_stable=False, num_keys=len(keys))
    return found[0] if len(keys) == 1 else lax.complex(*found[1:])


@lowers("argsort", "argpartition")  # a partition at every place
def _argsort(out: ArrayType, x: Any, *, axis: int, kth: tuple[int, ...] = ()) -> Any:
    keys = _keys(x)
    return lax.sort((*keys, lax.broadcasted_iota(np.int32, out.shape, axis)), dimension=axis, num_keys=len(keys))[-1]


@lowers("top_places")
def _top_indices(out: ArrayType, x: Any, *, axis: int, k: int) -> Any:
    if number_kind(x.dtype) == "f":
        # XLA tells zeros and NaNs of different signs apart.
        zeros, nans = [broadcast_to(x.dtype.type(value), x.shape) for value in (0, np.nan)]
        x = select(lax.ne(x, x), nans, select(lax.eq(x, zeros), zeros, x))
    return lax.top_k(x, k, axis=axis)[1]


@lowers("searchsorted")
def _searchsorted(out: ArrayType, a: Any, v: Any, *, side: str) -> Any:
    dtype = np.promote_types(a.dtype, v.dtype)  # jax's would be a float of integers of either kind, or as narrow as `a`
    return jnp.searchsorted(cast(a, dtype), cast(v, dtype), side=side)


@lowers("bincount")
def _bincount(out: ArrayType, weights: Any, x: Any, *, length: int) -> Any:
    """Numbers out of range are left out, as in jax."""
    places = lax.reshape(cast(x, np.int32), (*np.shape(x), 1))
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    return lax.scatter_add(broadcast_to(np.float64(0), out.shape), places, cast(weights, np.float64), numbers)
