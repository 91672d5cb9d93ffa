"""Sorting, searching, counting."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.xla.values import cast, spread


@lowers("sort")
def _sort(out: ArrayType, x: Any, *, axis: int) -> Any:
    return lax.sort(x, dimension=axis, is_stable=False)


@lowers("argsort", "argpartition")  # a partition at every place
def _argsort(out: ArrayType, x: Any, *, axis: int, kth: tuple[int, ...] = ()) -> Any:
    return lax.sort((x, lax.broadcasted_iota(np.int32, out.shape, axis)), dimension=axis, num_keys=1)[1]


@lowers("top_places")
def _top_places(out: ArrayType, x: Any, *, axis: int, k: int) -> Any:
    if number_kind(x.dtype) == "f":
        # XLA tells zeros and NaNs of different signs apart.
        zeros, nans = [spread(x.dtype.type(value), x.shape) for value in (0, np.nan)]
        x = lax.select(lax.ne(x, x), nans, lax.select(lax.eq(x, zeros), zeros, x))
    return lax.top_k(x, k, axis=axis)[1]


@lowers("searchsorted")
def _searchsorted(out: ArrayType, a: Any, v: Any, *, side: str) -> Any:
    return jnp.searchsorted(a, v, side=side)


@lowers("bincount")
def _bincount(out: ArrayType, weights: Any, x: Any, *, length: int) -> Any:
    """Numbers out of range are left out, as in jax."""
    places = lax.reshape(cast(x, np.int32), (*np.shape(x), 1))
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    return lax.scatter_add(spread(np.float64(0), out.shape), places, cast(weights, np.float64), numbers)
