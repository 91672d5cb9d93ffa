"""Triangular factors of any matrix, by rows in the order of their pivots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.late import imported
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.families import locally_constant
from tracegrad.ops.linalg.matrices import (
    dominant_matrices,
    in_lapack_floats,
    leading_batch,
    linalg_dtype,
    require_matrices,
    uniform_matrices,
)
from tracegrad.ops.linalg.triangular import solve_triangle, triangle


def _lu_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    require_matrices("lu", t)
    *batch, m, n = t.shape
    pivots, rows = (*batch, min(m, n)), (*batch, m)
    return (
        ArrayType(t.shape, linalg_dtype("lu", t)),
        ArrayType(pivots, np.dtype(np.int32)),
        ArrayType(rows, np.dtype(np.int32)),
    )


def _eliminated(a: Any) -> tuple[Any, Any]:
    """The factors of a matrix in its place, and the row with which each was exchanged: where SciPy is missing."""
    a = a.copy()
    pivots = np.zeros(min(a.shape), np.int32)
    for k in range(len(pivots)):
        size = np.abs(a[k:, k].real) + np.abs(a[k:, k].imag)
        p = pivots[k] = k + np.argmax(size)
        a[[k, p]] = a[[p, k]]
        if a[k, k] != 0:
            a[k + 1 :, k] /= a[k, k]
            a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return a, pivots


def _permutation(pivots: Any, size: int) -> Any:
    """Where the rows come from that are exchanged with these one after another."""
    out = np.broadcast_to(np.arange(size, dtype=np.int32), (*pivots.shape[:-1], size)).copy()
    for k in range(pivots.shape[-1]):
        p = pivots[..., k : k + 1].astype(np.int64)
        other = np.take_along_axis(out, p, -1)
        np.put_along_axis(out, p, out[..., k : k + 1], -1)
        out[..., k : k + 1] = other
    return out


def _lu(a: Any) -> tuple[Any, ...]:
    (a,) = in_lapack_floats(a)
    *batch, m, n = a.shape
    out = np.empty(a.shape, a.dtype)
    pivots = np.empty((*batch, min(m, n)), np.int32)
    try:
        lapack = imported("scipy.linalg.lapack")
        factor = {"f": lapack.sgetrf, "d": lapack.dgetrf, "F": lapack.cgetrf, "D": lapack.zgetrf}[a.dtype.char]
    except ImportError:
        factor = _eliminated
    if out.size:
        for i in np.ndindex(*batch):
            out[i], pivots[i], *_ = factor(a[i])
    return out, pivots, _permutation(pivots, m)


def _factors(lu: Any) -> tuple[Any, Any]:
    """Square matrices L and U of which the first columns and rows are those that stand in `lu`; the others are those of the
    identity."""
    m, n = lu.shape[-2:]
    lower = triangle(lu, True, -1)
    if m > n:
        lower = np.concatenate([lower, np.zeros((*lu.shape[:-1], m - n), lu.dtype)], -1)
    upper = triangle(lu, False)
    if n > m:
        upper = np.concatenate([upper, np.zeros((*lu.shape[:-2], n - m, n), lu.dtype)], -2)
    rest = np.diag((np.arange(n) >= m).astype(lu.dtype))
    return lower[..., :m] + np.eye(m, dtype=lu.dtype), upper[..., :n, :] + rest


def _lu_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    lu, _, permutation = out
    lower, upper = _factors(lu)
    moved = np.take_along_axis(tangents[0], np.reshape(permutation, (*permutation.shape, 1)), -2)
    middle = solve_triangle(lower, moved, unit_diagonal=True)
    middle = solve_triangle(upper, middle, left_side=False, lower=False)
    change = np.matmul(lower, triangle(middle, True, -1)) + np.matmul(triangle(middle, False), upper)
    return change, None, None


def _lu_samples() -> Iterable[Sample]:
    yield Sample((dominant_matrices(0, 3, 3)[::-1].copy(),))
    yield Sample((dominant_matrices(1, 2, 2, 2),))
    yield Sample((dominant_matrices(0, 4, 4)[:, :2],))
    yield Sample((dominant_matrices(0, 3, 3)[:2] + uniform_matrices(3, 2, 3) / 4,))
    yield Sample((np.zeros((0, 0)),))


# L and U in one matrix, the diagonal of L, which is ones, left out; the pivots, and the permutation that these make.
lu_op = Op(
    "lu",
    evaluate=_lu,
    infer=_lu_type,
    jvp=_lu_jvp,
    batch=leading_batch("lu"),
    multiple_results=True,
    samples=_lu_samples,
)


def factored(a: Any) -> Any:
    """The op's outputs: L and U in one matrix, pivots and permutation."""
    return bind(lu_op, (a,))


# The order of rows that exchanges them one after another as pivots say.
permutation_op = locally_constant(
    "lu_pivots_to_permutation",
    _permutation,
    infer=lambda types, params: ArrayType((*types[0].shape[:-1], params["size"]), np.dtype(np.int32)),
    batch=lambda size, batched, inputs, params: bind(permutation_op, tuple(inputs), params),
    kinds="i",
    samples=lambda: [
        Sample((np.array([2, 1, 2], np.int32),), {"size": 4}),
        Sample((np.array([[2, 1], [0, 3]], np.int32),), {"size": 4}),
    ],
)
