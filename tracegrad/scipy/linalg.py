"""`scipy.linalg`'s names, with its arguments in its order. Plain arrays go to SciPy's own function, whatever it is asked; what is
traced is computed by ops that have derivatives, batches over leading axes and run on both backends. There `overwrite_a` and its
like, `check_finite`, `lwork` and drivers have no effect, and only a 1-d right-hand side is a vector.

SciPy itself does not hand these to what is traced: `scipy.linalg.solve(a, t)` is `tg.scipy.linalg.solve(a, t)` here. It is loaded
when it is first needed. Without it the functions of NumPy's LAPACK work, and those that are solved by triangles or bands; the
exponential, logarithm and square root, Schur's form and Sylvester's and Riccati's equations say what to install.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.boxes import accept_jax
from tracegrad.core.errors import UnsupportedFunctionError, at, user_source
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.contract import column, transposed
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.index import take
from tracegrad.ops.linalg import banded, equations
from tracegrad.ops.linalg import lu as factors
from tracegrad.ops.linalg import matrix_functions as functions
from tracegrad.ops.linalg import schur as forms
from tracegrad.ops.linalg.hermitian import from_triangle
from tracegrad.ops.linalg.matrices import adjoint, diagonals, floating, hermitian_part, require_square, row
from tracegrad.ops.linalg.triangular import conjugated_triangle, solve_by_cholesky, solve_triangle, triangle
from tracegrad.scipy.calling import of_scipy as of_module
from tracegrad.typing import Array, ArrayLike

__all__ = [
    "LinAlgError", "block_diag", "cho_factor", "cho_solve", "cho_solve_banded", "cholesky", "cholesky_banded", "circulant",
    "companion", "coshm", "cosm", "det", "dft", "eigh", "eigh_tridiagonal", "eigvalsh", "expm", "expm_frechet", "funm", "hankel", "hessenberg",
    "hilbert", "inv", "kron", "logm", "lu", "lu_factor", "lu_solve", "polar", "qr", "rq", "schur", "sinhm", "sinm", "solve", "solve_banded",
    "solve_continuous_are", "solve_continuous_lyapunov", "solve_discrete_are", "solve_discrete_lyapunov", "solve_sylvester", "solve_triangular",
    "solveh_banded", "sqrtm", "svd", "svdvals", "tanhm", "tanm", "toeplitz",
]  # fmt: skip

of_scipy = of_module("scipy.linalg")


def _refused(name: str, what: str, instead: str) -> UnsupportedFunctionError:
    return UnsupportedFunctionError(
        f"tg.scipy.linalg.{name} with {what} is not traced{at(user_source())}.\n  {instead}"
    )


def _columns(b: Any) -> tuple[Any, bool]:
    """Right-hand sides as columns of matrices, and whether it is one vector."""
    b = floating(b)
    vector = len(shape_of(b)) == 1
    return (column(b) if vector else b), vector


def _like(x: Any, vector: bool) -> Any:
    return x[..., 0] if vector else x


# ---------------------------------------------------------------------------------------------------------------------
# Systems of equations.


@of_scipy
def solve_triangular(
    a: ArrayLike,
    b: ArrayLike,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """The x with `a @ x == b` for triangular matrices (..., m, m), of which one half is read, and b of (m,) or (..., m, k).

    Args:
        trans: 0 or "N" for `a`, 1 or "T" for its transpose, 2 or "C" for its adjoint.
        lower: whether the lower half counts, not the upper one.
        unit_diagonal: whether the diagonal is taken to be ones, and not read.

    Raises:
        LinAlgError: there is a zero on the diagonal; the shapes do not fit.

    >>> import numpy as np, tracegrad as tg
    >>> a = np.array([[2.0, 0.0], [1.0, 4.0]])
    >>> tg.grad(lambda b: np.sum(tg.scipy.linalg.solve_triangular(a, b, lower=True)))(np.ones(2)).tolist()
    [0.375, 0.25]
    """
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ValueError(f"solve_triangular: trans must be 0, 1, 2, 'N', 'T' or 'C', got {trans!r}")
    b, vector = _columns(b)
    how = {"transpose_a": trans not in (0, "N"), "conjugate_a": trans in (2, "C")}
    return _like(solve_triangle(floating(a), b, lower=lower, unit_diagonal=unit_diagonal, **how), vector)


@of_scipy
def cholesky(a: ArrayLike, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The upper triangular U with `U^H @ U == a` of Hermitian positive definite matrices (..., m, m), or the `lower` L with `L @ L^H`.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 1.0], [0.0, 2.0]]
    """
    return np.linalg.cholesky(floating(a), upper=not lower)


@of_scipy
def cho_factor(
    a: ArrayLike, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Array, bool]:
    """`(c, lower)` for `cho_solve`: a Cholesky factor, and which one. Where SciPy leaves what was there in the other half, what is
    traced has zeros.

    >>> c, lower = cho_factor(np.array([[4.0, 2.0], [2.0, 5.0]]))
    >>> np.triu(c).tolist(), lower
    ([[2.0, 1.0], [0.0, 2.0]], False)
    """
    return np.linalg.cholesky(floating(a), upper=not lower), lower


@of_scipy
def cho_solve(
    c_and_lower: tuple[ArrayLike, bool], b: ArrayLike, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """The x with `a @ x == b`, of what `cho_factor` makes of a, and b of (m,) or (..., m, k).

    >>> cho_solve(cho_factor(np.array([[4.0, 0.0], [0.0, 5.0]])), np.array([4.0, 10.0])).tolist()
    [1.0, 2.0]
    """
    c, lower = c_and_lower
    b, vector = _columns(b)
    return _like(solve_by_cholesky(floating(c), b, bool(lower)), vector)


@of_scipy
def solve(
    a: ArrayLike,
    b: ArrayLike,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Array:
    """The x with `a @ x == b`, or `a.T @ x == b` if `transposed`, for a of (..., m, m) and b of (m,) or (..., m, k).

    `assume_a` says what is known of `a`: "pos" solves by Cholesky, "upper triangular" and "lower triangular" by substitution,
    "diagonal" by a quotient; "sym" and "her" read the half that `lower` says, "gen", "banded" and "tridiagonal" all of it. None,
    where SciPy would look at the numbers, is "gen".

    >>> solve(np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([5.0, 4.0]), assume_a="pos").round(9).tolist()
    [1.0, 1.0]
    """
    a = floating(a)
    require_square("solve", type_of(a))
    b, vector = _columns(b)
    kind = _KINDS.get(assume_a, assume_a)
    if transposed:
        a = np.swapaxes(a, -1, -2)
        lower = not lower
        kind = {"upper triangular": "lower triangular", "lower triangular": "upper triangular"}.get(str(kind), kind)
    if kind == "diagonal":
        x = b / column(diagonals(a))
    elif kind in ("upper triangular", "lower triangular"):
        x = solve_triangle(a, b, lower=kind == "lower triangular")
    elif kind == "pos":
        x = solve_by_cholesky(np.linalg.cholesky(a, upper=not lower), b, bool(lower))
    elif kind == "sym":
        part = triangle(a, lower)
        x = np.linalg.solve(part + np.swapaxes(triangle(part, lower, -1 if lower else 1), -1, -2), b)
    elif kind == "her":
        x = np.linalg.solve(from_triangle("solve", a, lower), b)
    elif kind == "gen":
        x = np.linalg.solve(a, b)
    else:
        raise ValueError(
            f"solve: {assume_a!r} is not a recognized matrix structure, but {', '.join(map(repr, _KINDS))} are"
        )
    return _like(x, vector)


_KINDS: dict[str | None, str] = {
    None: "gen", "gen": "gen", "general": "gen", "banded": "gen", "tridiagonal": "gen", "diagonal": "diagonal", "sym": "sym",
    "symmetric": "sym", "her": "her", "hermitian": "her", "pos": "pos", "positive definite": "pos",
    "upper triangular": "upper triangular", "lower triangular": "lower triangular",
}  # fmt: skip


@of_scipy
def inv(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The inverse of each matrix (..., m, m).

    >>> inv(np.diag([2.0, 4.0])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return np.linalg.inv(floating(a))


@of_scipy
def det(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The determinant of each matrix, (..., m, m) to (...).

    >>> float(det(np.diag([2.0, 4.0])))
    8.0
    """
    return np.linalg.det(floating(a))


@of_scipy
def solve_banded(
    l_and_u: tuple[int, int],
    ab: ArrayLike,
    b: ArrayLike,
    overwrite_ab: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """The x with `a @ x == b` for the matrix with `l` diagonals below the main one and `u` above, which are the rows of `ab`, (..., l + u
    + 1, m): `ab[u + i - j, j]` is `a[i, j]`. b is (m,) or (..., m, k). On XLA three diagonals of real numbers are solved as such, others as
    a full matrix.

    >>> ab = np.array([[0.0, 1.0, 1.0], [4.0, 4.0, 4.0], [1.0, 1.0, 0.0]])
    >>> solve_banded((1, 1), ab, np.array([5.0, 6.0, 5.0])).round(9).tolist()
    [1.0, 1.0, 1.0]
    """
    below, above = l_and_u
    b, vector = _columns(b)
    return _like(banded.solve_bands(floating(ab), b, int(below), int(above)), vector)


def _whole_bands(ab: Any, lower: bool) -> tuple[Any, int]:
    """All bands of a Hermitian matrix, of those of one half, and how many there are below the main one."""
    ab = floating(ab)
    count = ab.shape[-2] - 1
    rows = [ab[..., k : k + 1, :] for k in range(count + 1)]
    main = 0 if lower else count
    rows[main] = astype(np.real(rows[main]), ab.dtype)
    if lower:
        others = [np.roll(np.conjugate(rows[k]), k, -1) for k in range(count, 0, -1)]
        return np.concatenate([*others, *rows], -2), count
    others = [np.roll(np.conjugate(rows[count - k]), -k, -1) for k in range(1, count + 1)]
    return np.concatenate([*rows, *others], -2), count


@of_scipy
def solveh_banded(
    ab: ArrayLike,
    b: ArrayLike,
    overwrite_ab: bool = False,
    overwrite_b: bool = False,
    lower: bool = False,
    check_finite: bool = True,
) -> Array:
    """The x with `a @ x == b` for the Hermitian matrix with the main diagonal and those above it (or below, if `lower`) in the rows of
    `ab`: `ab[u + i - j, j]` is `a[i, j]`, or `ab[i - j, j]`.

    >>> solveh_banded(np.array([[0.0, 1.0, 1.0], [4.0, 4.0, 4.0]]), np.array([5.0, 6.0, 5.0])).round(9).tolist()
    [1.0, 1.0, 1.0]
    """
    whole, count = _whole_bands(ab, lower)
    b, vector = _columns(b)
    return _like(banded.solve_bands(whole, b, count, count), vector)


@of_scipy
def cholesky_banded(ab: ArrayLike, overwrite_ab: bool = False, lower: bool = False, check_finite: bool = True) -> Array:
    """The Cholesky factor of a Hermitian positive definite matrix, as bands like those of `solveh_banded`. What is traced is computed
    as a full matrix.

    >>> cholesky_banded(np.array([[0.0, 2.0], [4.0, 5.0]])).tolist()
    [[0.0, 1.0], [2.0, 2.0]]
    """
    whole, count = _whole_bands(ab, lower)
    factor = np.linalg.cholesky(hermitian_part(banded.unbanded(whole, count, count)), upper=not lower)
    return banded.bands_of(factor, *((count, 0) if lower else (0, count)))


@of_scipy
def cho_solve_banded(
    cb_and_lower: tuple[ArrayLike, bool], b: ArrayLike, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """The x with `a @ x == b`, of what `cholesky_banded` makes of a, with whether it is `lower`.

    >>> cb = cholesky_banded(np.array([[0.0, 1.0, 1.0], [4.0, 4.0, 4.0]]))
    >>> cho_solve_banded((cb, False), np.array([5.0, 6.0, 5.0])).round(9).tolist()
    [1.0, 1.0, 1.0]
    """
    cb, lower = floating(cb_and_lower[0]), cb_and_lower[1]
    b, vector = _columns(b)
    count = cb.shape[-2] - 1
    bands = (count, 0) if lower else (0, count)
    steps = [(cb, bands), (np.conjugate(banded.turned(cb, *bands)), bands[::-1])]
    for factor, (below, above) in steps if lower else steps[::-1]:
        b = banded.solve_bands(factor, b, below, above)
    return _like(b, vector)


@of_scipy
def solve_sylvester(a: ArrayLike, b: ArrayLike, q: ArrayLike) -> Array:
    """The x with `a @ x + x @ b == q`, for a of (..., m, m), b of (..., n, n) and q of (..., m, n).

    >>> solve_sylvester(np.eye(2), np.eye(2), np.ones((2, 2))).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    return equations.sylvester(floating(a), floating(b), floating(q))


@of_scipy
def solve_continuous_lyapunov(a: ArrayLike, q: ArrayLike) -> Array:
    """The x with `a @ x + x @ a^H == q`, all of (..., m, m).

    >>> solve_continuous_lyapunov(np.diag([1.0, 2.0]), np.eye(2)).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    a = floating(a)
    return equations.sylvester(a, adjoint(a), floating(q))


@of_scipy
def solve_discrete_lyapunov(a: ArrayLike, q: ArrayLike, method: str | None = None) -> Array:
    """The x with `a @ x @ a^H - x + q == 0`, all of (..., m, m). The `method` is "direct", m * m equations at once and what None means up to
    m = 9, or "bilinear", by Sylvester's equation.

    >>> solve_discrete_lyapunov(np.diag([0.5, 0.0]), np.eye(2)).round(6).tolist()
    [[1.333333, 0.0], [0.0, 1.0]]
    """
    a, q = floating(a), floating(q)
    require_square("solve_discrete_lyapunov", type_of(a))
    n = a.shape[-1]
    if method not in (None, "direct", "bilinear"):
        raise ValueError(f"solve_discrete_lyapunov: method must be 'direct' or 'bilinear', got {method!r}")
    if method == "bilinear" or (method is None and n >= 10):
        return equations.stein(a, q)
    batch = np.broadcast_shapes(a.shape[:-2], q.shape[:-2])
    products = np.reshape(np.einsum("...ij,...kl->...ikjl", a, np.conjugate(a)), (*a.shape[:-2], n * n, n * n))
    x = np.linalg.solve(np.eye(n * n, dtype=a.dtype) - products, np.reshape(q, (*q.shape[:-2], n * n, 1)))
    return np.reshape(x, (*batch, n, n))


@of_scipy
def solve_discrete_are(
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    r: ArrayLike,
    e: ArrayLike | None = None,
    s: ArrayLike | None = None,
    balanced: bool = True,
) -> Array:
    """The x with `a^H x a - x - a^H x b (r + b^H x b)^-1 b^H x a + q == 0` by which the feedback is stable, for a and q of (..., n, n), b of
    (..., n, m) and r of (..., m, m). Of q and r the Hermitian part counts. `e` and `s` are not traced. On XLA by doubling, which
    converges where the feedback is not at the border of stability.

    >>> x = solve_discrete_are(np.eye(1), np.eye(1), np.eye(1), np.eye(1))
    >>> x.round(6).tolist()
    [[1.618034]]
    """
    if e is not None or s is not None:
        raise _refused(
            "solve_discrete_are", "e or s", "Write a and b of the problem without them: np.linalg.solve(e, a), say."
        )
    return bind(equations.riccati_op, (floating(a), floating(b), floating(q), floating(r)))


@of_scipy
def solve_continuous_are(
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    r: ArrayLike,
    e: ArrayLike | None = None,
    s: ArrayLike | None = None,
    balanced: bool = True,
) -> Array:
    """The x with `a^H x + x a - x b r^-1 b^H x + q == 0` by which the feedback is stable, for matrices as in `solve_discrete_are`. `e` and `s`
    are not traced. On XLA by doubling.

    >>> solve_continuous_are(np.eye(1), np.eye(1), np.eye(1), np.eye(1)).round(6).tolist()
    [[2.414214]]
    """
    if e is not None or s is not None:
        raise _refused(
            "solve_continuous_are", "e or s", "Write a and b of the problem without them: np.linalg.solve(e, a), say."
        )
    return bind(equations.continuous_riccati_op, (floating(a), floating(b), floating(q), floating(r)))


# ---------------------------------------------------------------------------------------------------------------------
# Decompositions.


@of_scipy
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


@of_scipy
def lu_factor(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Array, Array]:
    """`(lu, piv)` for `lu_solve`: both triangles of matrices (..., m, n) in one, and the row that each was exchanged with.

    >>> lu_factor(np.array([[1.0, 2.0], [4.0, 4.0]]))[1].tolist()
    [1, 1]
    """
    packed, pivots, _ = factors.factored(floating(a))
    return packed, pivots


@of_scipy
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
    b, vector = _columns(b)
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
    return _like(x, vector)


@of_scipy
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
        raise _refused("qr", f"mode={mode!r}", "Modes 'full', 'economic' and 'r' are.")
    a = floating(a)
    order: tuple[Any, ...] = ()
    if pivoting:
        order = (bind(forms.column_order_op, (a,)),)
        a = np.take_along_axis(a, row(order[0]), -1)
    q, r = np.linalg.qr(a, "reduced" if mode == "economic" else "complete")
    return (r, *order) if mode == "r" else (q, r, *order)


@of_scipy
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
    turned = adjoint(np.flip(floating(a), -2))
    q, r = np.linalg.qr(turned, "reduced" if mode == "economic" else "complete")
    r = np.flip(adjoint(r), (-2, -1))
    return r if mode == "r" else (r, np.flip(adjoint(q), -2))


@of_scipy
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


@of_scipy
def svdvals(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The singular values of matrices (..., m, n) in descending order.

    >>> svdvals(np.diag([3.0, 4.0])).round(6).tolist()
    [4.0, 3.0]
    """
    return np.linalg.svdvals(floating(a))


@of_scipy
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


@of_scipy
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
        raise _refused("eigh", "subset_by_value", "Take all, and weight them by np.where(w < limit, ..., 0).")
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


@of_scipy
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


@of_scipy
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
        raise _refused("eigh_tridiagonal", f"select={select!r}", "Select 'a' or 'i' is.")
    d, e = floating(d), floating(e)
    zero = np.zeros((*e.shape[:-1], 1), e.dtype)
    bands = np.stack([np.concatenate([zero, e], -1), d, np.concatenate([e, zero], -1)], -2)
    subset = select_range if select in ("i", "index") else None
    return eigh(banded.unbanded(bands, 1, 1), eigvals_only=eigvals_only, subset_by_index=subset)


@of_scipy
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
        raise _refused("schur", "sort", "Leave it out.")
    if output not in ("real", "complex", "r", "c"):
        raise ValueError(f"schur: output must be 'real' or 'complex', got {output!r}")
    a = floating(a)
    t, z = bind(forms.schur_op, (a,), {"output": {"r": "real", "c": "complex"}.get(output, output)})
    return t, z


@of_scipy
def hessenberg(a: ArrayLike, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The h of `a == q @ h @ q^H`, zero below the diagonal below the main one, or `(h, q)` with `calc_q`. Values under jit and vmap; there
    is no derivative.

    >>> hessenberg(np.array([[2.0, 1.0], [0.0, 3.0]])).tolist()
    [[2.0, 1.0], [0.0, 3.0]]
    """
    h, q = bind(forms.hessenberg_op, (floating(a),))
    return (h, q) if calc_q else h


# ---------------------------------------------------------------------------------------------------------------------
# Functions of matrices.


@of_scipy
def expm(A: ArrayLike) -> Array:
    """The exponential of each matrix (..., m, m).

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda t: tg.scipy.linalg.expm(np.array([[0.0, 1.0], [0.0, 0.0]]) * t)[0, 1])(2.0).round(9).item()
    1.0

    Source: Higham, Functions of Matrices, chapter 10; the derivative is Frechet's, exact to rounding.
    """
    return bind(functions.expm_op, (floating(A),))


@of_scipy
def expm_frechet(
    A: ArrayLike, E: ArrayLike, method: str | None = None, compute_expm: bool = True, check_finite: bool = True
) -> Any:
    """`(expm(A), L)` with the derivative L of the exponential at A along E; L alone without `compute_expm`. All are (..., m, m).

    >>> expm_frechet(np.zeros((2, 2)), np.eye(2), compute_expm=False).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    A = floating(A)
    along = bind(functions.expm_frechet_op, (A, floating(E)))
    return (expm(A), along) if compute_expm else along


@of_scipy
def logm(A: ArrayLike) -> Array:
    """The principal logarithm of each matrix (..., m, m). Of a real matrix it is real, and one that has negative eigenvalues raises (is NaN
    on XLA): its logarithm is that of `A.astype(complex)`.

    >>> logm(np.eye(2)).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return bind(functions.logm_op, (floating(A),))


@of_scipy
def sqrtm(A: ArrayLike) -> Array:
    """The principal square root of each matrix (..., m, m). Of a real matrix it is real, and one that has negative eigenvalues raises (is
    NaN on XLA): its root is that of `A.astype(complex)`.

    >>> sqrtm(np.diag([4.0, 9.0])).tolist()
    [[2.0, 0.0], [0.0, 3.0]]

    Source: of the derivative, a Sylvester equation: Higham, Functions of Matrices, section 6.1.
    """
    return bind(functions.sqrtm_op, (floating(A),))


@of_scipy
def cosm(A: ArrayLike) -> Array:
    """The cosine of each matrix (..., m, m), by the exponential.

    >>> cosm(np.zeros((2, 2))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    A = floating(A)
    if number_kind(A.dtype) != "c":
        return np.real(expm(1j * A))
    return (expm(1j * A) + expm(-1j * A)) / 2


@of_scipy
def sinm(A: ArrayLike) -> Array:
    """The sine of each matrix (..., m, m), by the exponential.

    >>> sinm(np.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    A = floating(A)
    if number_kind(A.dtype) != "c":
        return np.imag(expm(1j * A))
    return (expm(1j * A) - expm(-1j * A)) / 2j


@of_scipy
def tanm(A: ArrayLike) -> Array:
    """The tangent of each matrix (..., m, m): of `sinm` and `cosm`.

    >>> tanm(np.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return np.linalg.solve(cosm(A), sinm(A))


@of_scipy
def coshm(A: ArrayLike) -> Array:
    """The hyperbolic cosine of each matrix (..., m, m).

    >>> coshm(np.zeros((2, 2))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    A = floating(A)
    return (expm(A) + expm(-A)) / 2


@of_scipy
def sinhm(A: ArrayLike) -> Array:
    """The hyperbolic sine of each matrix (..., m, m).

    >>> sinhm(np.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    A = floating(A)
    return (expm(A) - expm(-A)) / 2


@of_scipy
def tanhm(A: ArrayLike) -> Array:
    """The hyperbolic tangent of each matrix (..., m, m).

    >>> tanhm(np.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return np.linalg.solve(coshm(A), sinhm(A))


@of_scipy
def funm(A: ArrayLike, func: Callable[[Array], Array], disp: bool = True) -> Array:
    """`func` of each matrix (..., m, m), a function of numbers given for arrays of them: what is traced is computed by eigenvalues and
    vectors, which must be independent, and different for a derivative. Of a real matrix it is real, or raises. Hermitian matrices
    have `tg.numpy.linalg.funm`, which asks for neither.

    >>> funm(np.array([[4.0, 1.0], [0.0, 9.0]]), np.sqrt).round(6).tolist()
    [[2.0, 0.2], [0.0, 3.0]]
    """
    A = floating(A)
    w, v = np.linalg.eig(A)
    value = transposed(np.linalg.solve(transposed(v), transposed(v * row(func(w)))))
    if number_kind(A.dtype) == "c" or number_kind(value.dtype) != "c":
        return value
    return bind(functions.only_real_op, (value,))


# ---------------------------------------------------------------------------------------------------------------------
# Matrices of a form.


@of_scipy
def block_diag(*arrs: ArrayLike) -> Array:
    """A matrix with these, matrices, vectors or numbers, one after another on its diagonal.

    >>> block_diag(np.array([[1.0, 2.0]]), 3.0).tolist()
    [[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]
    """
    blocks = [np.atleast_2d(as_array(x)) for x in arrs or ([],)]
    for x in blocks:
        if len(x.shape) > 2:
            raise ValueError(f"block_diag{at(user_source())} takes matrices, vectors and numbers, got {type_of(x)}")
    width, left, rows = sum([x.shape[1] for x in blocks]), 0, []
    for x in blocks:
        m, n = x.shape
        sides = [np.zeros((m, left), x.dtype), x, np.zeros((m, width - left - n), x.dtype)]
        rows.append(np.concatenate(sides, 1))
        left += n
    return np.concatenate(rows, 0)


def _placed(values: Any, places: Any) -> Any:
    """The values along the last axis, at each of these places."""
    return take(values, places, -1)


@of_scipy
def toeplitz(c: ArrayLike, r: ArrayLike | None = None) -> Array:
    """Matrices (..., m, n) with the first columns `c`, (..., m), and the first rows `r`, (..., n), of which the first element is not read; by
    default the conjugate of c. Each diagonal is one number.

    >>> toeplitz(np.array([1.0, 2.0]), np.array([1.0, 5.0])).tolist()
    [[1.0, 5.0], [2.0, 1.0]]
    """
    c = np.atleast_1d(as_array(c))
    r = np.conjugate(c) if r is None else np.atleast_1d(as_array(r))
    m, n = c.shape[-1], r.shape[-1]
    values = np.concatenate([np.flip(c, -1), r[..., 1:]], -1)
    return _placed(values, m - 1 - np.arange(m)[:, None] + np.arange(n))


@of_scipy
def hankel(c: ArrayLike, r: ArrayLike | None = None) -> Array:
    """Matrices (..., m, n) with the first columns `c`, (..., m), and the last rows `r`, (..., n), of which the first element is not read; by
    default zeros. What lies across is one number.

    >>> hankel(np.array([1.0, 2.0])).tolist()
    [[1.0, 2.0], [2.0, 0.0]]
    """
    c = np.atleast_1d(as_array(c))
    r = np.zeros(c.shape, c.dtype) if r is None else np.atleast_1d(as_array(r))
    values = np.concatenate([c, r[..., 1:]], -1)
    return _placed(values, np.arange(c.shape[-1])[:, None] + np.arange(r.shape[-1]))


@of_scipy
def circulant(c: ArrayLike) -> Array:
    """Matrices (..., m, m) with the first columns `c`, (..., m), each column the one before it moved down by one.

    >>> circulant(np.array([1.0, 2.0, 3.0])).tolist()
    [[1.0, 3.0, 2.0], [2.0, 1.0, 3.0], [3.0, 2.0, 1.0]]
    """
    c = np.atleast_1d(as_array(c))
    n = c.shape[-1]
    return _placed(c, (np.arange(n)[:, None] - np.arange(n)) % max(1, n))


@of_scipy
def companion(a: ArrayLike) -> Array:
    """Matrices (..., m, m) of which the eigenvalues are the roots of the polynomials with the coefficients `a`, (..., m + 1), the highest first.

    >>> companion(np.array([2.0, -6.0, 4.0])).tolist()
    [[3.0, -2.0], [1.0, 0.0]]
    """
    a = floating(a)
    n = a.shape[-1] - 1
    if n < 1:
        raise ValueError(f"companion{at(user_source())}: there must be two coefficients at least, got {type_of(a)}")
    first = -a[..., 1:] / a[..., :1]
    rest = np.broadcast_to(np.eye(n - 1, n, dtype=a.dtype), (*a.shape[:-1], n - 1, n))
    return np.concatenate([row(first), rest], -2)


def kron(a: ArrayLike, b: ArrayLike) -> Array:
    """Kronecker's product of matrices (m, n) and (p, q), (m * p, n * q).

    >>> kron(np.eye(2), np.array([[1.0, 2.0]])).tolist()
    [[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0]]
    """
    return np.kron(a, b)


@of_scipy
def dft(n: int, scale: str | None = None) -> Array:
    """The matrix (n, n) of the discrete Fourier transform, over sqrt(n) or n for the `scale` "sqrtn" or "n".

    >>> dft(2).real.round(9).tolist()
    [[1.0, 1.0], [1.0, -1.0]]
    """
    if scale not in (None, "sqrtn", "n"):
        raise ValueError(f"dft: scale must be None, 'sqrtn' or 'n', got {scale!r}")
    number = np.arange(n)
    return np.exp(-2j * np.pi / n * (number[:, None] * number % n)) / {None: 1, "sqrtn": math.sqrt(n), "n": n}[scale]


@of_scipy
def hilbert(n: int) -> Array:
    """Hilbert's matrix (n, n), 1 / (i + j + 1).

    >>> hilbert(2).round(6).tolist()
    [[1.0, 0.5], [0.5, 0.333333]]
    """
    return 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)


accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
