"""jax's primitives of linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad import lax
from tracegrad.core.types import type_of
from tracegrad.ops.families import shape_of
from tracegrad.transforms.vmap import vmap
from tracegrad.xla.primitives.table import EQUATIONS, binds, unknown


@binds("cholesky")
def _(x: Any, **_: Any) -> Any:
    return np.linalg.cholesky(x)


@binds("triangular_solve")
def _(
    a: Any, b: Any, *, left_side: bool, lower: bool, transpose_a: bool, conjugate_a: bool, unit_diagonal: bool
) -> Any:
    a = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        one = np.eye(shape_of(a)[-1], dtype=type_of(a).dtype)
        a = np.where(one == 1, one, a)
    a = np.conjugate(a) if conjugate_a else a
    if left_side:
        return np.linalg.solve(np.swapaxes(a, -1, -2) if transpose_a else a, b)
    turned = np.linalg.solve(a if transpose_a else np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2))
    return np.swapaxes(turned, -1, -2)


@binds("eigh", table=EQUATIONS)
def _(eqn: Any, x: Any) -> Any:
    if eqn.params.get("subset_by_index") is not None:
        raise unknown(eqn, "leave out subset_by_index, and take these of all")
    values, vectors = np.linalg.eigh(x, "L" if eqn.params["lower"] else "U")
    return [vectors, values]


@binds("svd", table=EQUATIONS)
def _(eqn: Any, x: Any) -> Any:
    p = eqn.params
    if p.get("subset_by_index") is not None:
        raise unknown(eqn, "leave out subset_by_index, and take these of all")
    if not p["compute_uv"]:
        return [np.linalg.svdvals(x)]
    u, s, vh = np.linalg.svd(x, full_matrices=p["full_matrices"])
    return [s, u, vh]


@binds("qr", table=EQUATIONS)
def _(eqn: Any, x: Any) -> Any:
    if eqn.params.get("pivoting"):
        raise unknown(eqn, "leave out pivoting")
    q, r = np.linalg.qr(x, "complete" if eqn.params["full_matrices"] else "reduced")
    return [q, r]


@binds("eig", table=EQUATIONS)
def _(eqn: Any, x: Any) -> Any:
    p = eqn.params
    if p["compute_left_eigenvectors"]:
        raise unknown(eqn, "leave out the left eigenvectors: they are those of the transposed matrix")
    if not p["compute_right_eigenvectors"]:
        return [np.linalg.eigvals(x)]
    return list(np.linalg.eig(x))


@binds("lu")
def _(x: Any) -> Any:
    """P A = L U with rows exchanged for the largest pivot: both factors in one matrix, the row that each one was exchanged with,
    and the order of the rows."""
    *batch, rows, columns = shape_of(x)
    one = lambda a: _lu(a, rows, columns)
    for _ in batch:
        one = vmap(one)
    return one(x)


def _lu(a: Any, rows: int, columns: int) -> Any:
    numbers = np.arange(rows)

    def step(k: Any, state: Any) -> Any:
        a, pivots, order = state
        column = np.where(numbers < k, -1.0, np.abs(lax.dynamic_index_in_dim(a, k, 1, False)))
        best = np.argmax(column)
        exchanged = np.where(numbers == k, best, np.where(numbers == best, k, numbers))
        a, order = np.take(a, exchanged, axis=0), np.take(order, exchanged)
        pivots = np.where(np.arange(len(pivots)) == k, best.astype(np.int32), pivots)
        row, column = lax.dynamic_index_in_dim(a, k, 0, False), lax.dynamic_index_in_dim(a, k, 1, False)
        pivot = lax.dynamic_index_in_dim(row, k, 0, False)
        below = numbers > k
        factors = np.where(below, column / np.where(pivot == 0, 1, pivot), 0)
        right = np.where(np.arange(columns) > k, row, 0)
        a = a - np.outer(factors, right)
        at_column = np.logical_and(below[:, None], (np.arange(columns) == k)[None, :])
        return np.where(at_column, factors[:, None], a), pivots, order

    count = min(rows, columns)
    start = a, np.zeros(count, np.int32), np.arange(rows, dtype=np.int32)
    return lax.fori_loop(0, count, step, start)


@binds("lu_pivots_to_permutation")
def _(pivots: Any, *, permutation_size: int) -> Any:
    *batch, count = shape_of(pivots)

    def one(pivots: Any) -> Any:
        numbers = np.arange(permutation_size)

        def step(k: Any, order: Any) -> Any:
            other = lax.dynamic_index_in_dim(pivots, k, 0, False)
            return np.take(order, np.where(numbers == k, other, np.where(numbers == other, k, numbers)))

        return lax.fori_loop(0, count, step, np.arange(permutation_size, dtype=np.int32))

    for _ in batch:
        one = vmap(one)
    return one(pivots)
