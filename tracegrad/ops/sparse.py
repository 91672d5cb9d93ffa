"""Products with a sparse matrix, and systems of equations with one. A matrix (m, n) comes as its numbers, their columns and where
each row begins among them, as SciPy's csr_array keeps it, which computes the values. Only the numbers have a derivative: at the
places where there are any."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.late import imported
from tracegrad.core.op import OPS, Along, BatchRule, Op, Pairs, Params, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.ops.families import all_batched, cast, conform
from tracegrad.ops.index import take
from tracegrad.ops.linalg.matrices import in_columns, linalg_dtype


def scipy_sparse(name: str = "scipy.sparse") -> Any:
    try:
        return imported(name)
    except ImportError:
        raise ImportError(
            "sparse matrices are SciPy's, which is not installed; write: pip install 'tracegrad[scipy]'"
        ) from None


def _require_fit(name: str, types: Sequence[ArrayType], params: Params, rows: bool) -> None:
    """That a right operand has as many rows as the matrix has columns, or rows."""
    data, indices, indptr, x = types
    m, n = params["shape"][::-1] if params["transposed"] else params["shape"]
    if len(x.shape) not in (1, 2) or x.shape[0] != (m if rows else n):
        raise ShapeError(
            f"{name}{at(user_source())}: the sparse matrix is ({m}, {n}), and what stands to its right {x}; it must be a "
            f"vector or a matrix of {m if rows else n} rows"
        )
    if len(data.shape) != 1 or data.shape != indices.shape or indptr.shape != (params["shape"][0] + 1,):
        raise ShapeError(
            f"{name}{at(user_source())}: {data}, {indices} and {indptr} are no numbers, columns and beginnings of the rows of "
            f"a sparse matrix of shape {params['shape']}"
        )


def coordinates(indices: Any, indptr: Any, transposed: bool) -> tuple[Any, Any]:
    """The row and the column of each of the numbers of a matrix, or of the transposed one."""
    rows = np.searchsorted(indptr, np.arange(indices.shape[0]), side="right") - 1
    return (indices, rows) if transposed else (rows, indices)


def _along(y: Any, x: Any, data: Any, indices: Any, indptr: Any, transposed: bool) -> Any:
    """The cotangent of the numbers of a matrix, of that of the product y with x."""
    rows, columns = coordinates(indices, indptr, transposed)
    products = take(y, rows, axis=0) * take(x, columns, axis=0)
    return conform(products if len(products.shape) == 1 else np.sum(products, axis=-1), data)


# ---------------------------------------------------------------------------------------------------------------------
# Products.


def _matmul_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    _require_fit("@", types, params, False)
    dtype = np.result_type(types[0].dtype, types[3].dtype)
    return ArrayType((params["shape"][params["transposed"]], *types[3].shape[1:]), dtype)


def _matmul(data: Any, indices: Any, indptr: Any, x: Any, shape: Any, transposed: bool) -> Any:
    dtype = np.result_type(data, x)
    whole = scipy_sparse().csr_array((data, indices, indptr), shape=shape)
    return np.asarray((whole.T if transposed else whole) @ x).astype(dtype, copy=False)


def _matmul_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    data, indices, indptr, x = primals
    terms = []
    if tangents[0] is not None:
        terms.append(bind(sparse_matmul_op, (tangents[0], indices, indptr, x), params))
    if tangents[3] is not None:
        terms.append(bind(sparse_matmul_op, (data, indices, indptr, tangents[3]), params))
    return cast(terms[0] if len(terms) == 1 else terms[0] + terms[1], out.dtype)


def _matmul_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    data, indices, indptr, x = primals
    found: dict[int, Any] = {}
    if 0 in wanted:
        found[0] = _along(ct, x, data, indices, indptr, params["transposed"])
    if 3 in wanted and is_inexact(x.dtype):
        other = {**params, "transposed": not params["transposed"]}
        found[3] = conform(bind(sparse_matmul_op, (data, indices, indptr, ct), other), x)
    return [found.get(i) for i in wanted]


def _batch(name: str) -> BatchRule:
    """A batch of what stands to the right of one matrix is more columns of it. Matrices with numbers of their own are the
    blocks on the diagonal of one."""

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        if any(batched[:3]):
            return _by_blocks(OPS[name], size, all_batched(size, batched, inputs), params)
        *matrix, x = inputs
        return in_columns(lambda columns: bind(OPS[name], (*matrix, columns), params), x, 1)

    return batch


def _by_blocks(op: Op, size: int, inputs: Sequence[Any], params: Params) -> Any:
    data, indices, indptr, x = inputs
    m, n = params["shape"]
    number, count = np.arange(size)[:, None], data.shape[1]
    begins = np.concatenate([np.ravel(indptr[:, :-1] + count * number), np.array([size * count])])
    rows = np.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
    whole = np.ravel(data), np.ravel(indices + n * number), begins, rows
    out = bind(op, whole, {**params, "shape": (size * m, size * n)})
    return np.reshape(out, (size, out.shape[0] // size, *out.shape[1:]))


def _matmul_reach(
    i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]
) -> Along | Pairs | None:
    if known[1] is None or known[2] is None:
        return None
    rows, columns = coordinates(np.asarray(known[1]), np.asarray(known[2]), params["transposed"])
    if i == 3:
        return Along([(0, 0, (rows, columns)), *[(a, a, None) for a in range(1, len(out.shape))]])
    width = math.prod(out.shape[1:])
    return Pairs(np.ravel(rows[:, None] * width + np.arange(width)), np.repeat(np.arange(len(rows)), width))


sparse_matmul_op = Op(
    "sparse_matmul",
    evaluate=_matmul,
    infer=_matmul_type,
    jvp=_matmul_jvp,
    vjp=_matmul_vjp,
    linear=[{0}, {3}],
    batch=_batch("sparse_matmul"),
    reach=_matmul_reach,
    kinds="",
)


# ---------------------------------------------------------------------------------------------------------------------
# Systems of equations.


def _solve_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    _require_fit(params["method"], types, params, True)
    m, n = params["shape"]
    if m != n:
        raise ShapeError(
            f"{params['method']}{at(user_source())}: the sparse matrix must be square, got {params['shape']}"
        )
    return ArrayType(types[3].shape, linalg_dtype(params["method"], types[0], types[3]))


def _solve(
    data: Any, indices: Any, indptr: Any, b: Any, shape: Any, transposed: bool, method: str, options: tuple[Any, ...]
) -> Any:
    dtype = np.result_type(data, b)
    whole = scipy_sparse().csr_array((data.astype(dtype, copy=False), indices, indptr), shape=shape)
    whole = whole.T if transposed else whole
    solve = functools.partial(getattr(scipy_sparse("scipy.sparse.linalg"), method), whole)
    if method == "spsolve":
        found = solve(b, **dict(options))
    else:
        how = {name: x.T if transposed and name == "M" and x is not None else x for name, x in options}
        found = np.empty(b.shape, dtype)
        for column in np.ndindex(*b.shape[1:]):
            found[:, *column], info = solve(b[:, *column], **how)
            if info:
                raise LinAlgError(
                    f"{method} has not converged in {info if info > 0 else 'its'} iterations, of a system of {shape[0]} equations; "
                    "give it a larger rtol, maxiter or a preconditioner M"
                )
    return np.reshape(found, b.shape).astype(dtype, copy=False)


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    data, indices, indptr, _ = primals
    change = tangents[3]
    if tangents[0] is not None:
        how = {"shape": params["shape"], "transposed": params["transposed"]}
        moved = bind(sparse_matmul_op, (tangents[0], indices, indptr, out), how)
        change = -moved if change is None else change - moved
    return cast(bind(sparse_solve_op, (data, indices, indptr, change), params), out.dtype)


def _solve_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    data, indices, indptr, b = primals
    other = {**params, "transposed": not params["transposed"]}
    db = bind(sparse_solve_op, (data, indices, indptr, ct), other)
    found: dict[int, Any] = {3: conform(db, b)}
    if 0 in wanted:
        found[0] = -_along(db, out, data, indices, indptr, params["transposed"])
    return [found.get(i) for i in wanted]


sparse_solve_op = Op(
    "sparse_solve",
    evaluate=_solve,
    infer=_solve_type,
    jvp=_solve_jvp,
    vjp=_solve_vjp,
    linear=[{3}],
    batch=_batch("sparse_solve"),
    reach=lambda i, types, out, params, known: Along([(1, 1, None)]) if i == 3 and len(out.shape) == 2 else None,
    kinds="",
)
