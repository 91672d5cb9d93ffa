"""Linear systems and inverses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.memory import Strides, in_c_order
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.quiet import isolated
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.contract import column, transposed
from tracegrad.ops.families import cast, conform, implements, lined_up
from tracegrad.ops.linalg import two_by_two
from tracegrad.ops.linalg.hermitian import from_triangle
from tracegrad.ops.linalg.matrices import (
    adjoint,
    dominant_matrices,
    epsilon,
    given_batch,
    hermitian_part,
    in_columns,
    leading_batch,
    linalg_dtype,
    require_matrices,
    require_square,
    row,
    square,
    square_samples,
    uniform_matrices,
)
from tracegrad.ops.reach import of_columns
from tracegrad.typing import Array, ArrayLike

_NOT_GIVEN: Any = object()


def _solve_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, b = types
    require_square("solve", a)
    dtype = linalg_dtype("solve", a, b)
    if b.ndim == 0 or b.shape[-1 if b.ndim == 1 else -2] != a.shape[-1]:
        raise LinAlgError(
            f"solve: {b} does not fit {a}, whose right-hand sides are vectors of {a.shape[-1]}, or the columns of "
            f"matrices (..., {a.shape[-1]}, k); a batch of vectors is written b[..., None]"
        )
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2]) if _fits(a.shape[:-2], b.shape[:-2]) else None
    if batch is None:
        raise LinAlgError(f"solve: the leading axes of {a} and {b} do not broadcast together")
    return ArrayType((*batch, *b.shape[-2:]), dtype)


def _fits(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(left), reversed(right), strict=False))


def _solve_by_numpy(a: Any, b: Any) -> Any:
    return isolated(np.linalg.solve, a, b)


_solve = two_by_two.first(two_by_two.solve, _solve_by_numpy)  # in rules, too


def _solve_columns(a: Any, b: Any, vectors: bool) -> Any:
    """a^-1 b, where b is a batch of vectors or of matrices."""
    return np.reshape(_solve(a, column(b)), b.shape) if vectors else _solve(a, b)


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    a, b = primals
    da, db = tangents
    vectors = len(b.shape) == 1
    if da is None:
        return bind(solve_op, (a, db))
    x = column(out) if vectors else out
    change = -np.matmul(da, x)
    if db is not None:
        change = (column(db) if vectors else db) + change
    return cast(np.reshape(_solve(a, change), out.shape), out.dtype)


def _solve_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, b = primals
    vectors = len(b.shape) == 1
    db = _solve_columns(transposed(a), ct, vectors)
    if wanted == (1,):
        return (conform(db, b),)
    da = -(column(db) * row(out) if vectors else np.matmul(db, transposed(out)))
    return [conform(db, b) if i else conform(da, a) for i in wanted]


def _solve_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    a, b = inputs
    vectors = len(b.shape) - batched[1] == 1
    if batched == [True, False] and (vectors or len(b.shape) == 2):
        return bind(solve_op, (a, b))
    if vectors:
        b = column(b) if batched[1] else np.reshape(b, (*b.shape, 1))
    if not batched[0] and len(a.shape) == 2:
        out = in_columns(lambda columns: _solve(a, columns), b)  # with one factorisation
    else:
        out = _solve(*lined_up(batched, (a, b)))
    return np.reshape(out, out.shape[:-1]) if vectors else out


def _solve_samples() -> Iterable[Sample]:
    for left, right in [
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((2, 3, 3), (3,)),
        ((2, 3, 3), (3, 2)),
        ((3, 3), (2, 3, 2)),
        ((2, 1, 2, 2), (3, 2, 1)),
        ((3, 3), (3, 0)),
    ]:
        yield Sample((dominant_matrices(0, *left), uniform_matrices(1, *right)))


def _core_strides(inputs: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Strides | None:
    """NumPy makes the matrix of one system in C order, however the operands lie; of a batch, its axes as theirs."""
    return in_c_order(types[-1].shape) if all([t.ndim <= 2 for t in types]) else None


solve_op = Op(
    "solve",
    evaluate=_solve,
    infer=_solve_type,
    jvp=_solve_jvp,
    vjp=_solve_vjp,
    linear=[{1}],
    batch=_solve_batch,
    reach=of_columns,
    strides=_core_strides,
    samples=_solve_samples,
)


@implements(np.linalg.solve)
def solve(a: ArrayLike, b: ArrayLike) -> Array:
    """The x with `a @ x == b`: (..., m, m) and (m,) or (..., m, k). Only a 1-d b is a vector, as in NumPy 2. Raises LinAlgError for
    singular matrices and for shapes that do not fit.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda b: np.sum(np.linalg.solve(np.diag([1.0, 4.0]), b)))(np.ones(2)).tolist()
    [1.0, 0.25]

    Source: Giles, section 2.3.1.
    """
    return bind(solve_op, (a, b))


def _inv(a: Any) -> Any:
    return isolated(np.linalg.inv, a)


def _inv_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return -np.matmul(np.matmul(out, tangents[0]), out)


def _inv_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    t = transposed(out)
    return (conform(-np.matmul(np.matmul(t, ct), t), primals[0]),)


inv_op = Op(
    "inv",
    evaluate=two_by_two.first(two_by_two.inv, _inv),
    infer=square("inv"),
    jvp=_inv_jvp,
    vjp=_inv_vjp,
    batch=leading_batch("inv"),
    strides=_core_strides,
    samples=square_samples,
)


@implements(np.linalg.inv)
def inv(a: ArrayLike) -> Array:
    """The inverse of each square matrix (..., m, m). `solve` is faster and more accurate where the inverse is to be multiplied.
    Raises LinAlgError for singular matrices.

    Source: Giles, section 2.2.3.

    >>> inv(np.diag([2.0, 4.0])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return bind(inv_op, (a,))


def _pinv_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    t, *_ = types
    require_matrices("pinv", t)
    return ArrayType((*t.shape[:-2], t.shape[-1], t.shape[-2]), linalg_dtype("pinv", t))


def _pinv_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    (a, *_), (t, *_), p = primals, tangents, out
    if t is None:  # the tolerance says which singular values count, and no more
        return np.zeros(p.shape, p.dtype)
    th, ph = adjoint(t), adjoint(p)
    left = np.matmul(np.matmul(p, ph), th)
    right = np.matmul(th, np.matmul(ph, p))
    outside_columns = left - np.matmul(np.matmul(left, a), p)
    outside_rows = right - np.matmul(p, np.matmul(a, right))
    return outside_columns + outside_rows - np.matmul(np.matmul(p, t), p)


def _pinv(a: Any, *tolerances: Any, rcond: float) -> Any:
    """By a tolerance for each matrix, where there are any, or one for all."""
    if a.size:
        return isolated(np.linalg.pinv, a, *tolerances or (rcond,))
    return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), _inv(np.zeros((0, 0), a.dtype)).dtype)


def _pinv_samples() -> Iterable[Sample]:
    for a in (
        dominant_matrices(0, 3, 3),
        dominant_matrices(0, 3, 3)[:, :2],
        dominant_matrices(0, 2, 3, 3)[:, :2],
        np.zeros((0, 2)),
    ):
        yield Sample((a,), {"rcond": 1e-15})
    yield Sample((dominant_matrices(0, 2, 3, 3)[:, :2], np.array([1e-9, 0.5])), {"rcond": 0.0})


pinv_op = Op(
    "pinv",
    evaluate=_pinv,
    infer=_pinv_type,
    jvp=_pinv_jvp,
    batch=given_batch("pinv"),
    samples=_pinv_samples,
)


@implements(np.linalg.pinv)
def pinv(
    a: ArrayLike, rcond: ArrayLike | None = None, hermitian: bool = False, *, rtol: ArrayLike | None = _NOT_GIVEN
) -> Array:
    """The pseudo-inverse, (..., m, n) to (..., n, m). Singular values below `rcond` (or `rtol`), one number or (...), times the
    largest count as zero. The derivative takes the rank as constant: across a change of rank the pseudo-inverse is not
    continuous. A `hermitian` matrix is read as in `eigh`.

    >>> np.linalg.pinv([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]

    Source: Golub, equation 4.12.
    """
    a = as_array(a)
    require_matrices("pinv", type_of(a))
    if rcond is not None and rtol is not _NOT_GIVEN:
        raise ValueError("pinv: rtol and rcond are two names of one argument; give one of them")
    if rcond is None:
        rcond = 1e-15 if rtol is _NOT_GIVEN else rtol
    if rcond is None:
        rcond = max(a.shape[-2:]) * epsilon(a)
    if hermitian:
        a = hermitian_part(from_triangle("pinv", a, True))  # so that the cotangent is Hermitian too
    if type(rcond) in (int, float):
        return bind(pinv_op, (a,), {"rcond": rcond})
    return bind(pinv_op, (a, np.broadcast_to(as_array(rcond), a.shape[:-2])), {"rcond": 0.0})
