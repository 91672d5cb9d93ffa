"""Decompositions: LU, QR, singular values, eigenvalues, and the forms of Schur and Hessenberg."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import type_of
from tracegrad.ops.contract import column
from tracegrad.ops.elementwise import astype
from tracegrad.ops.linalg import banded
from tracegrad.ops.linalg import lu as factors
from tracegrad.ops.linalg import schur as forms
from tracegrad.ops.linalg.hermitian import from_triangle
from tracegrad.ops.linalg.matrices import adjoint, floating, hermitian_part, require_square, row
from tracegrad.ops.linalg.triangular import conjugated_triangle, solve_triangle, triangle
from tracegrad.scipy.calling import of_scipy, refused
from tracegrad.scipy.linalg.systems import as_columns, like
from tracegrad.typing import Array, ArrayLike

linalg = of_scipy("scipy.linalg")


@linalg
def lu(
    a: ArrayLike,
    permute_l: bool = False,
    overwrite_a: bool = False,
    check_finite: bool = True,
    p_indices: bool = False,
) -> tuple[Array, ...]:
    """`(p, l, u)` of matrices (..., m, n), with `a == p @ l @ u`: a permutation, and triangles of (..., m, k) and (..., k, n), k = min(m, n).
    With `permute_l` it is `(p @ l, u)`; with `p_indices` p is integers (..., m), and `a == l[p] @ u`.

    >>> p, l, u = lu(np.array([[1.0, 2.0], [4.0, 4.0]]))
    >>> (p @ l @ u).tolist()
    [[1.0, 2.0], [4.0, 4.0]]
    """
    packed, _, permutation = factors.factored(floating(a))
    m, n = packed.shape[-2:]
    k = min(m, n)
    lower = triangle(packed[..., :k], True, -1) + np.eye(m, k, dtype=packed.dtype)
    upper = triangle(packed[..., :k, :], False)
    places = np.argsort(permutation, -1)
    if permute_l:
        return np.take_along_axis(lower, column(places), -2), upper
    if p_indices:
        return astype(places, np.int32), lower, upper
    return astype(np.equal(column(places), np.arange(m)), packed.real.dtype), lower, upper


@linalg
def lu_factor(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Array, Array]:
    """`(lu, piv)` for `lu_solve`: both triangles of matrices (..., m, n) in one, and the row that each was exchanged with.

    >>> lu_factor(np.array([[1.0, 2.0], [4.0, 4.0]]))[1].tolist()
    [1, 1]
    """
    packed, pivots, _ = factors.factored(floating(a))
    return packed, pivots


@linalg
def lu_solve(
    lu_and_piv: tuple[ArrayLike, ArrayLike],
    b: ArrayLike,
    trans: int = 0,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """The x with `a @ x == b`, of what `lu_factor` makes of a; with `trans` 1 of its transpose, with 2 of its adjoint. b is (m,) or (..., m, k).

    >>> lu_solve(lu_factor(np.array([[1.0, 2.0], [4.0, 4.0]])), np.array([3.0, 8.0])).round(9).tolist()
    [1.0, 1.0]
    """
    if trans not in (0, 1, 2):
        raise ValueError(f"lu_solve: trans must be 0, 1 or 2, got {trans!r}")
    packed = floating(lu_and_piv[0])
    require_square("lu_solve", type_of(packed))
    b, vector = as_columns(b)
    size = packed.shape[-1]
    permutation = bind(factors.permutation_op, (astype(as_array(lu_and_piv[1]), np.int32),), {"size": size})
    batch = np.broadcast_shapes(packed.shape[:-2], b.shape[:-2])
    b = np.broadcast_to(b, (*batch, *b.shape[-2:]))
    if trans == 0:
        b = np.take_along_axis(b, column(permutation), -2)
        x = solve_triangle(packed, solve_triangle(packed, b, unit_diagonal=True), lower=False)
    else:
        how = {"transpose_a": True, "conjugate_a": trans == 2}
        x = solve_triangle(packed, solve_triangle(packed, b, lower=False, **how), unit_diagonal=True, **how)
        x = np.take_along_axis(x, column(np.argsort(permutation, -1)), -2)
    return like(x, vector)


@linalg
def qr(
    a: ArrayLike,
    overwrite_a: bool = False,
    lwork: int | None = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Array, ...]:
    """`(q, r)` of matrices (..., m, n) with `a == q @ r`: orthonormal columns and an upper triangle. `mode` is "full", q of (m, m) and r of (m,
    n); "economic", (m, k) and (k, n) for k = min(m, n); or "r", `(r,)`. With `pivoting` there is an order p of the columns besides, and it is
    `a[:, p]`; the derivative holds that. "raw" is not traced.

    >>> q, r = qr(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> (q @ r).round(9).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if mode not in ("full", "economic", "r"):
        raise refused("linalg.qr", f"with mode={mode!r}", "Modes 'full', 'economic' and 'r' are.")
    a = floating(a)
    order: tuple[Any, ...] = ()
    if pivoting:
        order = (bind(forms.column_order_op, (a,)),)
        a = np.take_along_axis(a, row(order[0]), -1)
    q, r = np.linalg.qr(a, "reduced" if mode == "economic" else "complete")
    return (r, *order) if mode == "r" else (q, r, *order)


@linalg
def qr_multiply(
    a: ArrayLike,
    c: ArrayLike,
    mode: str = "right",
    pivoting: bool = False,
    conjugate: bool = False,
    overwrite_a: bool = False,
    overwrite_c: bool = False,
) -> tuple[Array, ...]:
    """`(c @ q, r)`, or with `mode="left"` `(q @ c, r)`, of the economic `qr` of a matrix (m, n), for matrices or a vector c; q is conjugated
    with `conjugate`. With `pivoting` the order of the columns is there besides.

    >>> qr_multiply(np.array([[2.0], [0.0]]), np.array([3.0, 4.0]))[0].tolist()
    [3.0]
    """
    if mode not in ("left", "right"):
        raise ValueError(f"qr_multiply: mode must be 'left' or 'right', got {mode!r}")
    q, *rest = qr(a, mode="economic", pivoting=pivoting)
    c = floating(c)
    q = np.conjugate(q) if conjugate else q
    left, right = (q, c) if mode == "left" else (c, q)
    return np.matmul(left, right), *rest


@linalg
def rq(
    a: ArrayLike, overwrite_a: bool = False, lwork: int | None = None, mode: str = "full", check_finite: bool = True
) -> Any:
    """`(r, q)` of matrices (..., m, n) with `a == r @ q`: an upper triangle and orthonormal rows. `mode` is "full", r of (m, n) and q of (n,
    n); "economic", (m, k) and (k, n) for k = min(m, n); or "r", r alone.

    >>> r, q = rq(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> (r @ q).round(9).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if mode not in ("full", "economic", "r"):
        raise ValueError(f"rq: mode must be 'full', 'economic' or 'r', got {mode!r}")
    turned = adjoint(np.flip(floating(a), (-2, -1)))  # rows and columns: so signs are as LAPACK's rq has them
    q, r = np.linalg.qr(turned, "reduced" if mode == "economic" else "complete")
    r = np.flip(adjoint(r), (-2, -1))
    return r if mode == "r" else (r, np.flip(adjoint(q), (-2, -1)))


@linalg
def svd(
    a: ArrayLike,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """`(u, s, vh)` of matrices (..., m, n), as `np.linalg.svd`; s alone without `compute_uv`.

    >>> svd(np.diag([3.0, 4.0]), compute_uv=False).round(6).tolist()
    [4.0, 3.0]
    """
    a = floating(a)
    return tuple(np.linalg.svd(a, full_matrices)) if compute_uv else np.linalg.svdvals(a)


@linalg
def svdvals(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The singular values of matrices (..., m, n) in descending order.

    >>> svdvals(np.diag([3.0, 4.0])).round(6).tolist()
    [4.0, 3.0]
    """
    return np.linalg.svdvals(floating(a))


@linalg
def polar(a: ArrayLike, side: str = "right") -> tuple[Array, Array]:
    """`(u, p)` of matrices (..., m, n): `a == u @ p`, or `p @ u` for the `side` "left", with orthonormal columns (or rows) and a Hermitian matrix
    that has no negative eigenvalues.

    >>> u, p = polar(np.diag([-2.0, 3.0]))
    >>> p.round(9).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    if side not in ("right", "left"):
        raise ValueError(f"polar: side must be 'right' or 'left', got {side!r}")
    u, s, vh = np.linalg.svd(floating(a), full_matrices=False)
    if side == "right":
        return u @ vh, (adjoint(vh) * row(s)) @ vh
    return u @ vh, (u * row(s)) @ adjoint(u)


@linalg
def eigh(
    a: ArrayLike,
    b: ArrayLike | None = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    subset_by_value: tuple[float, float] | None = None,
    driver: str | None = None,
) -> Any:
    """`(w, v)`: eigenvalues in ascending order and vectors of Hermitian matrices (..., m, m), w alone if `eigvals_only`.

    With a Hermitian positive definite `b` it is `a @ v == b @ v * w` (of `type` 1), `a @ b @ v == v * w` (2) or `b @ a @ v == v * w` (3), by
    way of b's Cholesky factor. `subset_by_index` are the first and the last that are wanted; `subset_by_value`, of which the number
    of results would depend on the values, is not traced.

    >>> eigh(np.diag([6.0, 4.0]), np.diag([2.0, 1.0]), eigvals_only=True).round(9).tolist()
    [3.0, 4.0]
    """
    if subset_by_value is not None:
        raise refused(
            "linalg.eigh", "with subset_by_value", "Take all, and weight them by np.where(w < limit, ..., 0)."
        )
    if type not in (1, 2, 3):
        raise ValueError(f"eigh: type must be 1, 2 or 3, got {type!r}")
    a = from_triangle("eigh", as_array(a), lower)
    factor = None
    if b is not None:
        factor = np.linalg.cholesky(from_triangle("eigh", as_array(b), lower))
        a = conjugated_triangle(factor, a) if type == 1 else np.matmul(np.matmul(adjoint(factor), a), factor)
        a = hermitian_part(a)
    chosen = slice(None) if subset_by_index is None else slice(int(subset_by_index[0]), int(subset_by_index[1]) + 1)
    if eigvals_only:
        return np.linalg.eigvalsh(a)[..., chosen]
    w, v = np.linalg.eigh(a)
    if factor is not None:
        back = {"transpose_a": True, "conjugate_a": True}
        v = np.matmul(factor, v) if type == 3 else solve_triangle(factor, v, **back)
    return w[..., chosen], v[..., chosen]


@linalg
def eigvalsh(
    a: ArrayLike,
    b: ArrayLike | None = None,
    *,
    lower: bool = True,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    subset_by_value: tuple[float, float] | None = None,
    driver: str | None = None,
) -> Array:
    """The eigenvalues that `eigh` has, in ascending order.

    >>> eigvalsh(np.diag([6.0, 4.0])).tolist()
    [4.0, 6.0]
    """
    return eigh(
        a,
        b,
        lower=lower,
        eigvals_only=True,
        type=type,
        subset_by_index=subset_by_index,
        subset_by_value=subset_by_value,
    )


@linalg
def eigh_tridiagonal(
    d: ArrayLike,
    e: ArrayLike,
    eigvals_only: bool = False,
    select: str = "a",
    select_range: tuple[int, int] | None = None,
    check_finite: bool = True,
    tol: float = 0.0,
    lapack_driver: str = "auto",
) -> Any:
    """`(w, v)` of the symmetric matrix with the diagonal `d`, (..., m), and `e`, (..., m - 1), beside it; w alone if `eigvals_only`. `select`
    is "a" for all, or "i" for those from the first to the last of `select_range`; "v" is not traced. What is traced is computed as a
    full matrix.

    >>> eigh_tridiagonal(np.array([2.0, 2.0]), np.array([1.0]), eigvals_only=True).round(9).tolist()
    [1.0, 3.0]
    """
    if select not in ("a", "i", "all", "index"):
        raise refused("linalg.eigh_tridiagonal", f"with select={select!r}", "Select 'a' or 'i' is.")
    d, e = floating(d), floating(e)
    zero = np.zeros((*e.shape[:-1], 1), e.dtype)
    bands = np.stack([np.concatenate([zero, e], -1), d, np.concatenate([e, zero], -1)], -2)
    subset = select_range if select in ("i", "index") else None
    return eigh(banded.unbanded(bands, 1, 1), eigvals_only=eigvals_only, subset_by_index=subset)


@linalg
def schur(
    a: ArrayLike,
    output: str = "real",
    lwork: int | None = None,
    overwrite_a: bool = False,
    sort: Any = None,
    check_finite: bool = True,
) -> tuple[Array, Array]:
    """`(t, z)` with `a == z @ t @ z^H`: Schur's triangle, or with `output="real"` of a real matrix one with blocks of 2 x 2, and a unitary matrix.
    Values under jit and vmap; there is no derivative, and `sort` is not traced.

    >>> t, z = schur(np.array([[2.0, 1.0], [0.0, 3.0]]))
    >>> t.tolist()
    [[2.0, 1.0], [0.0, 3.0]]
    """
    if sort is not None:
        raise refused("linalg.schur", "with sort", "Leave it out.")
    if output not in ("real", "complex", "r", "c"):
        raise ValueError(f"schur: output must be 'real' or 'complex', got {output!r}")
    a = floating(a)
    t, z = bind(forms.schur_op, (a,), {"output": {"r": "real", "c": "complex"}.get(output, output)})
    return t, z


@linalg
def hessenberg(a: ArrayLike, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The h of `a == q @ h @ q^H`, zero below the diagonal below the main one, or `(h, q)` with `calc_q`. Values under jit and vmap; there
    is no derivative.

    >>> hessenberg(np.array([[2.0, 1.0], [0.0, 3.0]])).tolist()
    [[2.0, 1.0], [0.0, 3.0]]
    """
    h, q = bind(forms.hessenberg_op, (floating(a),))
    return (h, q) if calc_q else h
