"""Triangular systems: one half of a matrix is read, and one step of substitution for each row solves it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.errors import at, user_source
from tracegrad.core.late import imported
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.quiet import isolated
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.contract import conjugate_of_complex, transposed
from tracegrad.ops.families import cast, conform, lined_up
from tracegrad.ops.linalg.matrices import (
    dominant_matrices,
    in_columns,
    in_lapack_floats,
    joint_batch,
    linalg_dtype,
    require_matrices,
    require_square,
    uniform_matrices,
)
from tracegrad.ops.reach import of_columns


def _triangular_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, b = types
    require_square("triangular_solve", a)
    require_matrices("triangular_solve", b)
    left = params["left_side"]
    if b.shape[-2 if left else -1] != a.shape[-1]:
        raise LinAlgError(
            f"triangular_solve{at(user_source())}: {b} does not fit {a}: it must have {a.shape[-1]} "
            f"{'rows' if left else 'columns'}, as left_side={left}"
        )
    batch = joint_batch("triangular_solve", a, b)
    return ArrayType((*batch, *b.shape[-2:]), linalg_dtype("triangular_solve", a, b))


def _triangular_solve(
    a: Any, b: Any, left_side: bool, lower: bool, transpose_a: bool, conjugate_a: bool, unit_diagonal: bool
) -> Any:
    a, b = in_lapack_floats(a, b)
    dtype = a.dtype
    if not unit_diagonal:
        zeros = np.diagonal(a, 0, -2, -1) == 0
        if zeros.any():
            number = int(np.argwhere(zeros)[0][-1])
            raise LinAlgError(f"singular matrix: resolution failed at diagonal {number}")
    if conjugate_a and not transpose_a and dtype.kind == "c":
        a = a.conj()
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*batch, *b.shape[-2:])
    if 0 in shape:
        return np.zeros(shape, dtype)
    conjugated = transpose_a and conjugate_a and dtype.kind == "c"
    try:
        blas = imported("scipy.linalg.blas")
    except ImportError:
        whole = np.tril(a) if lower else np.triu(a)
        if unit_diagonal:
            whole = np.where(np.eye(a.shape[-1], dtype=bool), 1, whole)
        if transpose_a:
            whole = np.swapaxes(whole.conj() if conjugated else whole, -1, -2)
        if left_side:
            return isolated(np.linalg.solve, whole, b)
        return np.swapaxes(isolated(np.linalg.solve, np.swapaxes(whole, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)
    solve = {"f": blas.strsm, "d": blas.dtrsm, "F": blas.ctrsm, "D": blas.ztrsm}[dtype.char]
    if not batch and _FROM <= a.shape[-1] < _BEFORE and b.shape[-1 if left_side else -2] >= _ROWS:
        return _by_blocks(solve, a.conj() if conjugated else a, b, left_side, lower, transpose_a, unit_diagonal)
    # BLAS counts rows first where NumPy counts columns: what it is given are transposes, X^T op(A)^T = B^T, of which
    # none has to be copied but what is solved for, in place.
    how = {
        "side": int(left_side),
        "lower": int(not lower),
        "trans_a": 2 if conjugated else int(transpose_a),
        "diag": int(unit_diagonal),
        "overwrite_b": 1,
    }
    if not batch:
        return solve(1.0, np.ascontiguousarray(a).T, np.array(b, order="C").T, **how).T
    out = np.array(np.broadcast_to(b, shape), order="C")
    matrices = np.broadcast_to(a, (*batch, *a.shape[-2:]))
    for i in np.ndindex(batch):
        out[i] = solve(1.0, np.ascontiguousarray(matrices[i]).T, out[i].T, **how).T
    return out


# Rows that BLAS substitutes at a time, and for how many equations: it multiplies matrices four times as fast. For 200 equations with 200
# right-hand sides 0.23 ms in place of 0.39, or of 0.51 where they stand on the right; from 800 on as long.
_ROWS, _FROM, _BEFORE = 32, 128, 600


def _by_blocks(solve: Any, a: Any, b: Any, left_side: bool, lower: bool, transpose_a: bool, unit_diagonal: bool) -> Any:
    """Substitution by blocks of rows: from those that are left, the product with those that are solved is taken."""
    x = np.array(b if left_side else b.T, order="C")  # X op(A) = B is op(A)^T X^T = B^T
    turned = transpose_a == left_side
    rows_of = a.T if turned else a
    downwards = lower != turned
    starts = range(0, len(a), _ROWS)
    with np.errstate(all="ignore"):  # BLAS warns of nothing
        for i in starts if downwards else reversed(starts):
            block, done = slice(i, i + _ROWS), slice(0, i) if downwards else slice(i + _ROWS, None)
            rows = x[block]
            if len(x[done]):
                rows -= rows_of[block, done] @ x[done]
            corner = np.ascontiguousarray(a[block, block]).T
            rows[...] = solve(
                1.0,
                corner,
                rows.T,
                side=1,
                lower=int(not lower),
                trans_a=int(turned),
                diag=int(unit_diagonal),
                overwrite_b=1,
            ).T
    return x if left_side else x.T


def triangle(x: Any, lower: bool, k: int = 0) -> Any:
    """One triangle of each matrix, from the k-th diagonal on: zeros elsewhere."""
    m, n = x.shape[-2:]
    kept = np.tri(m, n, k, dtype=bool) if lower else ~np.tri(m, n, k - 1, dtype=bool)
    return np.where(kept, x, 0)


def _read(a: Any, lower: bool, transpose_a: bool, conjugate_a: bool, unit_diagonal: bool) -> Any:
    """The part of a matrix, or of its tangent, that counts, where it stands in the equations."""
    part = triangle(a, lower, (-1 if lower else 1) if unit_diagonal else 0)
    if conjugate_a:
        part = conjugate_of_complex(part)
    return transposed(part) if transpose_a else part


def _without_side(params: Params) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != "left_side"}


def _triangular_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    a, _ = primals
    da, change = tangents
    left = params["left_side"]
    if da is not None:
        da = _read(da, **_without_side(params))
        moved = np.matmul(da, out) if left else np.matmul(out, da)
        change = -moved if change is None else change - moved
    return cast(bind(triangular_solve_op, (a, change), params), out.dtype)


def _triangular_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, b = primals
    left, how = params["left_side"], {**_without_side(params), "transpose_a": False}
    db = bind(triangular_solve_op, (a, ct), {**params, "transpose_a": not params["transpose_a"]})
    cotangents = []
    for i in wanted:
        if i == 1:
            cotangents.append(conform(db, b))
            continue
        da = np.matmul(-db, transposed(out)) if left else np.matmul(transposed(out), -db)
        da = transposed(da) if params["transpose_a"] else da
        cotangents.append(conform(_read(da, **how), a))
    return cotangents


def _triangular_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    a, b = inputs
    if not batched[0] and len(a.shape) == 2:
        if params["left_side"]:
            return in_columns(lambda columns: bind(triangular_solve_op, (a, columns), params), b)
        return in_columns(lambda rows: transposed(bind(triangular_solve_op, (a, transposed(rows)), params)), b, -1)
    return bind(triangular_solve_op, tuple(lined_up(batched, inputs)), params)


def how_to_solve(
    left_side: bool = True,
    lower: bool = True,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> dict[str, bool]:
    """The params of `triangular_solve`, in the order in which its rules take them."""
    return {
        "left_side": bool(left_side),
        "lower": bool(lower),
        "transpose_a": bool(transpose_a),
        "conjugate_a": bool(conjugate_a),
        "unit_diagonal": bool(unit_diagonal),
    }


def _triangular_samples() -> Iterable[Sample]:
    for left, right, how in [
        ((3, 3), (3, 2), how_to_solve()),
        ((3, 3), (3, 1), how_to_solve(lower=False, transpose_a=True, conjugate_a=True)),
        ((3, 3), (2, 3), how_to_solve(left_side=False, unit_diagonal=True)),
        ((2, 2), (1, 2), how_to_solve(left_side=False, lower=False, transpose_a=True)),
        ((2, 1, 2, 2), (3, 2, 1), how_to_solve(conjugate_a=True)),
        ((3, 3), (3, 0), how_to_solve()),
    ]:
        yield Sample((dominant_matrices(0, *left), uniform_matrices(1, *right)), how)


triangular_solve_op = Op(
    "triangular_solve",
    evaluate=_triangular_solve,
    infer=_triangular_type,
    jvp=_triangular_jvp,
    vjp=_triangular_vjp,
    linear=[{1}],
    batch=_triangular_batch,
    reach=of_columns,
    samples=_triangular_samples,
)


def solve_triangle(a: Any, b: Any, **how: bool) -> Any:
    """What solves `op(a) @ x == b`, or with `left_side=False` `x @ op(a) == b`, for matrices a and b that broadcast over
    leading axes."""
    return bind(triangular_solve_op, (a, b), how_to_solve(**how))


def solve_by_cholesky(factor: Any, b: Any, lower: bool) -> Any:
    """The x with `L @ L^H @ x == b`, or, where the factor is the upper one, `U^H @ U @ x == b`."""
    back = {"lower": lower, "transpose_a": True, "conjugate_a": True}
    if lower:
        return solve_triangle(factor, solve_triangle(factor, b), **back)
    return solve_triangle(factor, solve_triangle(factor, b, **back), lower=False)


def conjugated_triangle(factor: Any, x: Any) -> Any:
    """L^-1 x L^-H, of a lower triangular L."""
    half = solve_triangle(factor, x)
    return solve_triangle(factor, half, left_side=False, transpose_a=True, conjugate_a=True)
