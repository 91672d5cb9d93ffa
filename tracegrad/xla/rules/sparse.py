"""Sparse matrices: products by sums over segments; systems of equations are SciPy's, which jax calls on the host."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.xla.rules.solvers import called_back
from tracegrad.xla.values import cast


@lowers("sparse_matmul")
def _matmul(
    out: ArrayType, data: Any, indices: Any, indptr: Any, x: Any, *, shape: tuple[int, int], transposed: bool
) -> Any:
    data, x = cast(data, out.dtype), cast(x, out.dtype)
    indices, indptr = jnp.asarray(indices), jnp.asarray(indptr)
    number = jnp.arange(indices.shape[0], dtype=indptr.dtype)
    rows = jnp.searchsorted(indptr, number, side="right") - 1
    rows, columns = (indices, rows) if transposed else (rows, indices)
    products = jnp.reshape(data, (-1, *(1,) * (x.ndim - 1))) * jnp.asarray(x)[columns]
    return jax.ops.segment_sum(products, rows, shape[transposed], indices_are_sorted=not transposed)


lowers("sparse_solve")(functools.partial(called_back, "sparse_solve"))
