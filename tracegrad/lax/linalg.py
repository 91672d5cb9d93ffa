"""jax.lax.linalg's names, with its arguments in its order: factorisations and triangular systems of batches of matrices. What
speaks of devices and algorithms (`implementation`, `algorithm`, `use_magma`) is not there."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.boxes import accept_jax
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.contract import conjugate_of_complex, transposed
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.linalg import banded
from tracegrad.ops.linalg import schur as forms
from tracegrad.ops.linalg.hermitian import cholesky_op, from_triangle
from tracegrad.ops.linalg.lu import factored, permutation_op
from tracegrad.ops.linalg.matrices import adjoint, floating, hermitian_part, row
from tracegrad.ops.linalg.triangular import solve_triangle
from tracegrad.typing import Array, ArrayLike

__all__ = [
    "cholesky", "cholesky_update", "eig", "eigh", "householder_product", "lu", "lu_pivots_to_permutation", "ormqr", "qr", "schur",
    "svd", "symmetric_product", "triangular_solve", "tridiagonal_solve",
]  # fmt: skip


def triangular_solve(
    a: ArrayLike,
    b: ArrayLike,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Array:
    """The x with `x @ op(a) == b`, or with `left_side` `op(a) @ x == b`, for triangular matrices (..., m, m), of which the `lower` half is
    read or the upper one: op transposes with `transpose_a`, conjugates with `conjugate_a`. With `unit_diagonal` the diagonal is taken to
    be ones. b has m rows (columns without `left_side`), and leading axes like a, with which it broadcasts; with one axis less than
    a it is vectors.

    Raises:
        LinAlgError: there is a zero on the diagonal (on XLA what follows from a division by it); the shapes do not fit.

    >>> a = np.array([[2.0, 0.0], [1.0, 4.0]])
    >>> triangular_solve(a, np.array([2.0, 5.0]), left_side=True, lower=True).tolist()
    [1.0, 1.0]
    """
    a, b = floating(a), floating(b)
    vectors = len(shape_of(b)) == len(shape_of(a)) - 1
    if vectors:
        b = np.expand_dims(b, -1 if left_side else -2)
    how = {"lower": lower, "transpose_a": transpose_a, "conjugate_a": conjugate_a, "unit_diagonal": unit_diagonal}
    x = solve_triangle(a, b, left_side=left_side, **how)
    return np.squeeze(x, -1 if left_side else -2) if vectors else x


def tridiagonal_solve(dl: ArrayLike, d: ArrayLike, du: ArrayLike, b: ArrayLike) -> Array:
    """The x with `a @ x == b` for matrices of three diagonals, all of (..., m): `dl` below the main one, of which the first element is not
    read, `d`, and `du` above it, of which the last is not. b is (..., m, k).

    >>> dl, d, du = np.array([0.0, 1.0]), np.array([2.0, 2.0]), np.array([1.0, 0.0])
    >>> tridiagonal_solve(dl, d, du, np.array([[3.0], [3.0]])).tolist()
    [[1.0], [1.0]]
    """
    dl, d, du = floating(dl), floating(d), floating(du)
    if not shape_of(dl) == shape_of(d) == shape_of(du):
        raise ShapeError(
            f"tridiagonal_solve{at(user_source())}: the diagonals must have one shape, got {type_of(dl)}, {type_of(d)}, {type_of(du)}"
        )
    bands = np.stack([np.roll(du, 1, -1), d, np.roll(dl, -1, -1)], -2)
    return banded.solve_bands(bands, floating(b), 1, 1)


def cholesky(x: ArrayLike, *, symmetrize_input: bool = True) -> Array:
    """The lower triangular L with `L @ L^H == x` of Hermitian positive definite matrices (..., m, m), of which the Hermitian part counts,
    or without `symmetrize_input` the lower half.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    return bind(cholesky_op, (floating(x) if symmetrize_input else from_triangle("cholesky", x, True),))


def cholesky_update(r_matrix: ArrayLike, w_vector: ArrayLike) -> Array:
    """The upper triangular R with `R^T @ R == r^T @ r + w w^T`, for r of (..., m, m) and w of (..., m).

    >>> cholesky_update(np.diag([3.0, 1.0]), np.array([4.0, 0.0])).round(9)[0, 0].item()
    5.0
    """
    r, w = floating(r_matrix), row(floating(w_vector))
    # R of the QR decomposition of both, with a diagonal that is not negative.
    found = np.linalg.qr(np.concatenate([r, w], -2), "r")
    signs = np.where(np.diagonal(found, 0, -2, -1) < 0, -1, 1)
    return found * np.reshape(signs, (*signs.shape, 1))


def symmetric_product(
    a_matrix: ArrayLike, c_matrix: ArrayLike, *, alpha: float = 1.0, beta: float = 0.0, symmetrize_output: bool = False
) -> Array:
    """`alpha * a @ a^T + beta * c`, for a of (..., m, k) and c of (..., m, m). All of it is computed, whether `symmetrize_output` or not.

    >>> symmetric_product(np.ones((2, 1)), np.eye(2), beta=3.0).tolist()
    [[4.0, 1.0], [1.0, 4.0]]
    """
    a, c = floating(a_matrix), floating(c_matrix)
    return alpha * np.matmul(a, transposed(a)) + beta * c


def eigh(
    x: ArrayLike,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    sort_eigenvalues: bool = True,
    subset_by_index: tuple[int, int] | None = None,
) -> tuple[Array, Array]:
    """`(v, w)` of Hermitian matrices (..., m, m): vectors, and eigenvalues in ascending order. The Hermitian part counts, or without
    `symmetrize_input` one half. `subset_by_index` are the first, and the one after the last, that are wanted.

    >>> eigh(np.diag([3.0, 2.0]))[1].tolist()
    [2.0, 3.0]
    """
    x = floating(x)
    w, v = np.linalg.eigh(hermitian_part(x) if symmetrize_input else x, "L" if lower else "U")
    chosen = slice(None) if subset_by_index is None else slice(*subset_by_index)
    return v[..., chosen], w[..., chosen]


def eig(
    x: ArrayLike, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True
) -> tuple[Array, ...]:
    """`(w, vl, vr)` of matrices (..., m, m): eigenvalues, and the left and right eigenvectors that are wanted, all complex and of length one.

    >>> eig(np.diag([3.0, 2.0]))[0].tolist()
    [(3+0j), (2+0j)]
    """
    x = floating(x)
    if number_kind(x.dtype) != "c":
        x = astype(x, np.result_type(x.dtype, np.complex64))
    w, right = np.linalg.eig(x)
    found = [w]
    if compute_left_eigenvectors:
        left = adjoint(np.linalg.inv(right))
        size = np.sqrt(np.sum(np.real(conjugate_of_complex(left) * left), -2, keepdims=True))
        found.append(left / size)
    return (*found, right) if compute_right_eigenvectors else tuple(found)


def lu(x: ArrayLike) -> tuple[Array, Array, Array]:
    """`(lu, pivots, permutation)` of matrices (..., m, n): L and U in one matrix, of L what is below its diagonal of ones; the row that each was
    exchanged with, int32 (..., k), k = min(m, n); and the order of rows that this makes, (..., m), with `x[permutation] == L @ U`.

    >>> lu(np.array([[1.0, 2.0], [4.0, 4.0]]))[0].tolist()
    [[4.0, 4.0], [0.25, 1.0]]
    """
    packed, pivots, permutation = factored(floating(x))
    return packed, pivots, permutation


def lu_pivots_to_permutation(pivots: ArrayLike, permutation_size: int) -> Array:
    """The order of `permutation_size` rows that exchanges each of the first, one after another, with what its pivot says.

    >>> lu_pivots_to_permutation(np.array([2, 1, 2], np.int32), 3).tolist()
    [2, 1, 0]
    """
    return bind(permutation_op, (astype(as_array(pivots), np.int32),), {"size": int(permutation_size)})


def qr(x: ArrayLike, *, pivoting: bool = False, full_matrices: bool = True) -> tuple[Array, ...]:
    """`(q, r)` of matrices (..., m, n) with `x == q @ r`: q of (m, m) and r of (m, n), or without `full_matrices` (m, k) and (k, n), k = min(m, n).
    With `pivoting` there is an order p of the columns besides, and it is `x[:, p]`.

    >>> q, r = qr(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> (q @ r).round(9).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    x = floating(x)
    order: tuple[Any, ...] = ()
    if pivoting:
        order = (bind(forms.column_order_op, (x,)),)
        x = np.take_along_axis(x, row(order[0]), -1)
    q, r = np.linalg.qr(x, "complete" if full_matrices else "reduced")
    return q, r, *order


def _reflecting(a: Any, taus: Any) -> tuple[Any, Any]:
    """v of (..., m, k) and t of (..., k, k) of the k reflections whose product is `1 - v @ t @ v^H`. Source: R. Schreiber, C. Van Loan, SIAM
    J. Sci. Stat. Comput. 10 (1989) 53; t solves `t^-1 = diag(1 / taus) + the strict upper triangle of v^H v`."""
    m, k = a.shape[-2], taus.shape[-1]
    if not k <= min(m, a.shape[-1]):
        raise ShapeError(
            f"at most {min(m, a.shape[-1])} reflections{at(user_source())} of {type_of(a)}, got taus {type_of(taus)}"
        )
    v = np.tril(a[..., :k], -1) + np.eye(m, k, dtype=a.dtype)
    scale = np.expand_dims(taus, -1)
    strict = np.triu(np.matmul(adjoint(v), v), 1)
    t = solve_triangle(np.eye(k, dtype=a.dtype) + scale * strict, scale * np.eye(k, dtype=a.dtype), lower=False)
    return v, t


def householder_product(a: ArrayLike, taus: ArrayLike) -> Array:
    """The first n columns, (..., m, n), of the product of reflections `1 - tau v v^H`, as LAPACK's factors have them: of each v what is below
    its first element, a one, stands below the diagonal of `a`, (..., m, n); `taus` are (..., k), k <= n <= m.

    Raises:
        ShapeError: there are more reflections than columns or rows.

    >>> householder_product(np.array([[5.0], [1.0]]), np.array([1.0])).tolist()
    [[0.0], [-1.0]]
    """
    a, taus = floating(a), floating(taus)
    v, t = _reflecting(a, taus)
    return np.eye(*a.shape[-2:], dtype=a.dtype) - np.matmul(v, np.matmul(t, adjoint(v[..., : a.shape[-1], :])))


def ormqr(a: ArrayLike, taus: ArrayLike, c: ArrayLike, *, left: bool = True, transpose: bool = False) -> Array:
    """`q @ c`, or without `left` `c @ q`, where q of (..., m, m) is the product of reflections that `householder_product` takes of `a` and `taus`,
    or with `transpose` its adjoint.

    Raises:
        ShapeError: there are more reflections than columns or rows.

    >>> ormqr(np.array([[5.0], [1.0]]), np.array([1.0]), np.eye(2)).tolist()
    [[0.0, -1.0], [-1.0, 0.0]]
    """
    c = floating(c)
    v, t = _reflecting(floating(a), floating(taus))
    t = adjoint(t) if transpose else t
    if left:
        return c - np.matmul(v, np.matmul(t, np.matmul(adjoint(v), c)))
    return c - np.matmul(np.matmul(np.matmul(c, v), t), adjoint(v))


def svd(x: ArrayLike, *, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """`(u, s, vh)` of matrices (..., m, n), as `np.linalg.svd`; s alone without `compute_uv`.

    >>> svd(np.diag([3.0, 4.0]), compute_uv=False).round(6).tolist()
    [4.0, 3.0]
    """
    x = floating(x)
    return tuple(np.linalg.svd(x, full_matrices)) if compute_uv else np.linalg.svdvals(x)


def schur(x: ArrayLike, *, compute_schur_vectors: bool = True) -> tuple[Array, ...]:
    """`(t, z)` with `x == z @ t @ z^H` of matrices (..., m, m), of real ones with blocks of 2 x 2; t alone, in a tuple, without the vectors. There is
    no derivative.

    >>> schur(np.array([[2.0, 1.0], [0.0, 3.0]]))[0].tolist()
    [[2.0, 1.0], [0.0, 3.0]]
    """
    t, z = bind(forms.schur_op, (floating(x),), {"output": "real"})
    return (t, z) if compute_schur_vectors else (t,)


accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
