"""Systems of which the matrix is zero but for some diagonals. These are the rows of an array, as LAPACK keeps them: of a matrix a
with u diagonals above the main one, `ab[u + i - j, j]` is `a[i, j]`, and what lies outside of the matrix is not read."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.errors import at, user_source
from tracegrad.core.late import imported
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.quiet import isolated
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.contract import transposed
from tracegrad.ops.families import cast, conform, lined_up
from tracegrad.ops.linalg.matrices import (
    each_matrix,
    in_columns,
    in_lapack_floats,
    joint_batch,
    linalg_dtype,
    require_matrices,
    uniform_matrices,
)
from tracegrad.ops.reach import of_columns


def _banded_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    ab, b = types
    below, above = params["below"], params["above"]
    for t in types:
        require_matrices("solve_banded", t)
    if ab.shape[-2] != below + above + 1 or ab.shape[-1] != b.shape[-2]:
        raise LinAlgError(
            f"solve_banded{at(user_source())}: {ab} and {b} do not fit: for {below} diagonals below the main one and {above} "
            f"above, the first must have {below + above + 1} rows, and as many columns as the second has rows"
        )
    batch = joint_batch("solve_banded", ab, b)
    return ArrayType((*batch, *b.shape[-2:]), linalg_dtype("solve_banded", ab, b))


def inside(below: int, above: int, n: int) -> Any:
    """Which places of the bands lie in the matrix."""
    rows = np.arange(-above, below + 1)[:, None] + np.arange(n)
    return (rows >= 0) & (rows < n)


def unbanded(ab: Any, below: int, above: int) -> Any:
    """The matrices with these bands, (..., below + above + 1, n) to (..., n, n)."""
    n = ab.shape[-1]
    number = np.arange(n)
    offset = number[:, None] - number + above
    kept = (offset >= 0) & (offset <= below + above)
    index = np.reshape(np.where(kept, offset, 0), (*(1,) * (len(ab.shape) - 2), n, n))
    rows = np.concatenate([ab, np.zeros((*ab.shape[:-2], max(0, n - ab.shape[-2]), n), ab.dtype)], -2)
    return np.where(kept, np.take_along_axis(rows, np.broadcast_to(index, (*ab.shape[:-2], n, n)), -2), 0)


def bands_of(a: Any, below: int, above: int) -> Any:
    """The bands of matrices, with zeros outside of these."""
    n = a.shape[-1]
    rows = np.arange(-above, below + 1)[:, None] + np.arange(n)
    index = np.broadcast_to(np.clip(rows, 0, n - 1), (*a.shape[:-2], *rows.shape))
    return np.where(inside(below, above, n), np.take_along_axis(a, index, -2), 0)


def _solve_banded(ab: Any, b: Any, below: int, above: int) -> Any:
    ab, b = in_lapack_floats(ab, b)
    ab = np.where(inside(below, above, ab.shape[-1]), ab, 0)
    try:
        solve = imported("scipy.linalg").solve_banded
    except ImportError:
        return isolated(np.linalg.solve, unbanded(ab, below, above), b)
    return each_matrix(functools.partial(solve, (below, above), check_finite=False), ab, b)


def turned(ab: Any, below: int, above: int) -> Any:
    """The bands of the transposed matrix."""
    rows = [np.roll(ab[..., above + k : above + k + 1, :], k, -1) for k in range(below, -above - 1, -1)]
    return np.concatenate(rows, -2)


def _along_bands(ab: Any, x: Any, below: int, above: int) -> Any:
    """The product of a banded matrix and others."""
    ab = np.where(inside(below, above, ab.shape[-1]), ab, 0)
    total = None
    for row in range(below + above + 1):
        scale = np.reshape(ab[..., row, :], (*ab.shape[:-2], ab.shape[-1], 1))
        term = np.roll(scale * x, row - above, -2)
        total = term if total is None else total + term
    return total


def _banded_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    ab, _ = primals
    dab, change = tangents
    if dab is not None:
        moved = _along_bands(dab, out, **params)
        change = -moved if change is None else change - moved
    return cast(bind(solve_banded_op, (ab, change), params), out.dtype)


def _banded_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    ab, b = primals
    below, above = params["below"], params["above"]
    db = bind(solve_banded_op, (turned(ab, below, above), ct), {"below": above, "above": below})
    cotangents = []
    for i in wanted:
        if i == 1:
            cotangents.append(conform(db, b))
            continue
        rows = [np.sum(np.roll(db, -k, -2) * out, -1, keepdims=True) for k in range(-above, below + 1)]
        dab = -transposed(np.concatenate(rows, -1))
        cotangents.append(conform(np.where(inside(below, above, ab.shape[-1]), dab, 0), ab))
    return cotangents


def _banded_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    ab, b = inputs
    if not batched[0] and len(ab.shape) == 2:
        return in_columns(lambda columns: bind(solve_banded_op, (ab, columns), params), b)
    return bind(solve_banded_op, tuple(lined_up(batched, inputs)), params)


def _banded_samples() -> Iterable[Sample]:
    for below, above, left, right in [
        (1, 1, (3, 4), (4, 2)),
        (0, 2, (2, 3, 3), (3, 1)),
        (2, 1, (4, 4), (2, 4, 2)),
        (1, 1, (3, 2), (2, 0)),
    ]:
        bands = uniform_matrices(0, *left)
        bands[..., above, :] += 3
        yield Sample((bands, uniform_matrices(1, *right)), {"below": below, "above": above})


solve_banded_op = Op(
    "solve_banded",
    evaluate=_solve_banded,
    infer=_banded_type,
    jvp=_banded_jvp,
    vjp=_banded_vjp,
    linear=[{1}],
    batch=_banded_batch,
    reach=of_columns,
    samples=_banded_samples,
)


def solve_bands(ab: Any, b: Any, below: int, above: int) -> Any:
    """The x with `a @ x == b` for the matrices a that have these bands."""
    return bind(solve_banded_op, (ab, b), {"below": below, "above": above})
