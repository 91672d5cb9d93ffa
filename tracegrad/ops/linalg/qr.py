"""QR decomposition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import user_source
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.quiet import isolated
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.ops.contract import column, transposed
from tracegrad.ops.families import implements
from tracegrad.ops.linalg.equal_values import Line, nonzero
from tracegrad.ops.linalg.matrices import (
    adjoint,
    diagonals,
    dominant_matrices,
    leading_batch,
    linalg_dtype,
    require_matrices,
    solved,
    uniform_matrices,
)
from tracegrad.typing import Array, ArrayLike

QRResult: Any = type(np.linalg.qr(np.eye(1)))


def _qr_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    require_matrices("qr", t)
    m, n = t.shape[-2:]
    k = m if params["complete"] else min(m, n)
    dtype = linalg_dtype("qr", t)
    return ArrayType((*t.shape[:-1], k), dtype), ArrayType((*t.shape[:-2], k, n), dtype)


def _qr(a: Any, complete: bool) -> tuple[Any, ...]:
    return tuple(isolated(np.linalg.qr, a, "complete" if complete else "reduced"))


def _qr_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    """Q and R of the first k = min(m, n) columns, then what follows from them: the other columns of R, and in a
    complete Q the others, which are there to be orthogonal."""
    (a,), (t,) = primals, tangents
    q, r = out
    m, n = a.shape[-2:]
    k = min(m, n)
    q1 = q if q.shape[-1] == k else q[..., :k]
    r1 = r if r.shape[-2:] == (k, k) else r[..., :k, :k]
    # A column that depends on those before it: its entry on the diagonal is zero, to rounding.
    ends = np.where(np.eye(k, dtype=bool), column(nonzero(diagonals(r1), 0, k, "qr", Line(user_source()))), r1)
    t1 = t if n == k else t[..., :k]
    moved = transposed(solved("qr", transposed(ends), transposed(t1)))  # t1 r1^-1
    inside = np.matmul(adjoint(q1), moved)
    lower = np.where(np.tri(k, k=-1, dtype=bool), inside, 0)
    turn = lower - adjoint(lower)
    if number_kind(turn.dtype) == "c":  # the diagonal of R is real
        turn = turn + np.where(np.eye(k, dtype=bool), 1j * np.imag(inside), 0)
    dq = np.matmul(q1, turn - inside) + moved
    if n == k:
        dr = np.matmul(inside - turn, r1)
    else:
        dr = np.where(np.tri(k, n, -1, dtype=bool), 0, np.matmul(adjoint(dq), a) + np.matmul(adjoint(q1), t))
    if q.shape[-1] > k:
        q2 = q[..., k:]
        dq = np.concatenate([dq, -np.matmul(q1, np.matmul(adjoint(dq), q2))], -1)
        dr = np.concatenate([dr, np.zeros((*dr.shape[:-2], m - k, n), dr.dtype)], -2)
    return dq, dr


def _qr_samples() -> Iterable[Sample]:
    for complete in (False, True):
        yield Sample((dominant_matrices(0, 3, 3),), {"complete": complete})
        yield Sample(
            (dominant_matrices(0, 2, 2)[:, [0, 1, 0]] + uniform_matrices(3, 2, 2, 3) / 4,), {"complete": complete}
        )
    yield Sample((dominant_matrices(0, 4, 4)[:, :2],), {"complete": False})
    yield Sample((np.zeros((3, 0)),), {"complete": False})


qr_op = Op(
    "qr",
    evaluate=_qr,
    infer=_qr_type,
    jvp=_qr_jvp,
    batch=leading_batch("qr"),
    multiple_results=True,
    samples=_qr_samples,
)


@implements(np.linalg.qr)
def qr(a: ArrayLike, mode: str = "reduced") -> Array:
    """`(Q, R)` of matrices (..., m, n), with `a == Q @ R`, Q's columns orthonormal and R upper triangular.

    Modes: "reduced" with Q of (..., m, k) and R of (..., k, n) for k = min(m, n), "complete" with (..., m, m) and (..., m, n),
    and "r" for R alone, as a plain array. The first k columns of `a` must be independent for a derivative, else it raises
    LinAlgError. Of the columns that mode "complete" adds to a tall matrix's Q, only what
    does not depend on how they were chosen, such as the space that they span, has a derivative.

    Source: Walter, section 3.3; for wide matrices from the derivative of the leading columns.

    >>> q, r = qr(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> np.allclose(q @ r, np.array([[1.0, 2.0], [3.0, 4.0]]))
    True
    """
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode {mode!r} is not traced; modes 'reduced', 'complete' and 'r' are")
    q, r = bind(qr_op, (a,), {"complete": mode == "complete"})
    return r if mode == "r" else QRResult(q, r)
