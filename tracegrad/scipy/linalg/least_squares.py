"""Least squares, pseudo-inverses and norms, general eigenvalues, and systems whose matrix is a vector's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.families import shape_of
from tracegrad.ops.linalg.hermitian import from_triangle
from tracegrad.ops.linalg.matrices import adjoint, epsilon, floating, require_square
from tracegrad.scipy.calling import of_scipy, refused
from tracegrad.scipy.linalg.decompositions import eigh_tridiagonal, polar
from tracegrad.scipy.linalg.structured import circulant, toeplitz
from tracegrad.scipy.linalg.systems import as_columns, like
from tracegrad.typing import Array, ArrayLike, Axis

linalg = of_scipy("scipy.linalg")


@linalg
def lstsq(
    a: ArrayLike,
    b: ArrayLike,
    cond: float | None = None,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    lapack_driver: str | None = None,
) -> tuple[Array, Array, Array, Array]:
    """`(x, residuals, rank, s)`: the x of least length among those that make |b - a x| least, for a matrix (m, n) and b of (m,) or (m, k); the
    sum of the squares of what is left (none unless m > n and the rank is n; where that is not known while tracing, it is taken to be n);
    the rank, which derivatives hold constant; the singular values, of which those below `cond` times the largest count as zero.

    Raises:
        LinAlgError: the shapes do not fit.

    >>> x, *_ = lstsq(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> x.round(9).tolist()
    [1.0, 2.0]
    """
    a, b = floating(a), floating(b)
    x, residuals, rank, s = np.linalg.lstsq(a, b, epsilon(a) if cond is None else cond)
    if len(shape_of(b)) == 1 and shape_of(residuals) == (1,):
        residuals = residuals[0]
    return x, residuals, rank, s


@linalg
def norm(
    a: ArrayLike, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False, check_finite: bool = True
) -> Array:
    """`np.linalg.norm`: of all elements, of vectors along one axis or of matrices along two, of any order. Its derivative at zero is zero.

    >>> float(norm(np.array([3.0, 4.0])))
    5.0
    """
    return np.linalg.norm(floating(a), ord, axis, keepdims)  # type: ignore[arg-type]


def _cutoff(name: str, a: Any, atol: float | None, rtol: float | None) -> float:
    if atol is not None and atol != 0:
        raise refused(f"linalg.{name}", f"with atol={atol!r}", "`rtol`, relative to the largest singular value, is.")
    return max(shape_of(a)[-2:]) * epsilon(a) if rtol is None else rtol


@linalg
def pinv(
    a: ArrayLike,
    *,
    atol: float | None = None,
    rtol: float | None = None,
    return_rank: bool = False,
    check_finite: bool = True,
) -> Any:
    """The pseudo-inverse, (..., m, n) to (..., n, m), with `return_rank` the rank too. Singular values below `rtol` times the largest, by
    default epsilon times the larger of m and n, count as zero; derivatives hold the rank constant.

    >>> pinv(np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    a = floating(a)
    cutoff = _cutoff("pinv", a, atol, rtol)
    inverse = np.linalg.pinv(a, cutoff)
    return (inverse, np.linalg.matrix_rank(a, rtol=cutoff)) if return_rank else inverse


@linalg
def pinvh(
    a: ArrayLike,
    atol: float | None = None,
    rtol: float | None = None,
    lower: bool = True,
    return_rank: bool = False,
    check_finite: bool = True,
) -> Any:
    """The pseudo-inverse of Hermitian matrices (..., m, m), of which the `lower` or upper half is read; as `pinv`.

    >>> pinvh(np.array([[2.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    a = floating(a)
    require_square("pinvh", type_of(a))
    cutoff = _cutoff("pinvh", a, atol, rtol)
    whole = from_triangle("pinvh", a, lower)
    inverse = np.linalg.pinv(whole, cutoff, hermitian=True)
    return (inverse, np.linalg.matrix_rank(whole, rtol=cutoff, hermitian=True)) if return_rank else inverse


@linalg
def eigvals(
    a: ArrayLike,
    b: ArrayLike | None = None,
    overwrite_a: bool = False,
    check_finite: bool = True,
    homogeneous_eigvals: bool = False,
) -> Array:
    """The eigenvalues of matrices (..., m, m), complex numbers; those of `a @ x == w * b @ x` for a regular `b`.

    >>> sorted(eigvals(np.array([[2.0, 1.0], [0.0, 3.0]])).real.tolist())
    [2.0, 3.0]
    """
    return np.linalg.eigvals(_standard("eigvals", a, b, homogeneous_eigvals))


@linalg
def eig(
    a: ArrayLike,
    b: ArrayLike | None = None,
    left: bool = False,
    right: bool = True,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    homogeneous_eigvals: bool = False,
) -> Any:
    """`(w, v)`: eigenvalues of matrices (..., m, m), and as columns eigenvectors of length 1, of which the phase is as it comes; with `b` those
    of `a @ x == w * b @ x`, for a regular one. Derivatives are of what does not depend on phases.

    >>> w, v = eig(np.diag([2.0, 3.0]))
    >>> w.real.tolist()
    [2.0, 3.0]
    """
    if left:
        raise refused("linalg.eig", "with left=True", "Write `np.linalg.inv(v)`, whose rows are left eigenvectors.")
    standard = _standard("eig", a, b, homogeneous_eigvals)
    if not right:
        return np.linalg.eigvals(standard)
    w, v = np.linalg.eig(standard)
    return w, v


def _standard(name: str, a: Any, b: Any, homogeneous: bool) -> Any:
    if homogeneous:
        raise refused(f"linalg.{name}", "with homogeneous_eigvals=True", "Leave it out, for a regular `b`.")
    a = floating(a)
    require_square(name, type_of(a))
    return a if b is None else np.linalg.solve(floating(b), a)


@linalg
def eigvalsh_tridiagonal(
    d: ArrayLike,
    e: ArrayLike,
    select: str = "a",
    select_range: Any = None,
    check_finite: bool = True,
    tol: float = 0.0,
    lapack_driver: str = "auto",
) -> Array:
    """The eigenvalues of symmetric tridiagonal matrices with the diagonals `d` and `e` beside it; as `eigh_tridiagonal`.

    >>> eigvalsh_tridiagonal(np.array([2.0, 3.0]), np.array([0.0])).tolist()
    [2.0, 3.0]
    """
    return eigh_tridiagonal(d, e, eigvals_only=True, select=select, select_range=select_range)


@linalg
def orthogonal_procrustes(A: ArrayLike, B: ArrayLike, check_finite: bool = True) -> tuple[Array, Array]:
    """`(r, scale)`: the orthogonal matrix for which |A @ r - B| is least, and the sum of the singular values of `A^H @ B`.

    >>> r, scale = orthogonal_procrustes(np.eye(2), np.array([[0.0, 2.0], [-2.0, 0.0]]))
    >>> r.round(9).tolist(), round(float(scale), 9)
    ([[0.0, 1.0], [-1.0, 0.0]], 4.0)
    """
    product = adjoint(floating(A)) @ floating(B)
    return polar(product)[0], np.sum(np.linalg.svdvals(product))


# ---------------------------------------------------------------------------------------------------------------------
# Matrices made of vectors, which are made and solved as any other.


def _toeplitz(c_or_cr: Any) -> Any:
    c, r = c_or_cr if type(c_or_cr) is tuple else (c_or_cr, None)
    return toeplitz(as_array(c), r)


@linalg
def solve_toeplitz(c_or_cr: Any, b: ArrayLike, check_finite: bool = True) -> Array:
    """The x with `toeplitz(c, r) @ x == b`, for `c` or `(c, r)`, and b of (m,) or (..., m, k).

    >>> solve_toeplitz(np.array([2.0, 0.0]), np.array([4.0, 6.0])).tolist()
    [2.0, 3.0]
    """
    b, vector = as_columns(b)
    return like(np.linalg.solve(floating(_toeplitz(c_or_cr)), b), vector)


@linalg
def matmul_toeplitz(c_or_cr: Any, x: ArrayLike, check_finite: bool = False, workers: int | None = None) -> Array:
    """`toeplitz(c, r) @ x`, for `c` or `(c, r)`.

    >>> matmul_toeplitz(np.array([2.0, 1.0]), np.array([4.0, 6.0])).tolist()
    [14.0, 16.0]
    """
    return _toeplitz(c_or_cr) @ as_array(x)


@linalg
def solve_circulant(
    c: ArrayLike,
    b: ArrayLike,
    singular: str = "raise",
    tol: float | None = None,
    caxis: int = -1,
    baxis: int = 0,
    outaxis: int = 0,
) -> Array:
    """The x with `circulant(c) @ x == b`, for c of (..., m) and b of (m,) or (m, k).

    >>> solve_circulant(np.array([2.0, 0.0]), np.array([4.0, 6.0])).tolist()
    [2.0, 3.0]
    """
    if singular != "raise" or (caxis, baxis, outaxis) != (-1, 0, 0):
        raise refused(
            "linalg.solve_circulant", "with singular='lstsq' or axes", "Write `tg.scipy.linalg.lstsq(tg.scipy.linalg.circulant(c), b)`."
        )  # fmt: skip
    b, vector = as_columns(b)
    return like(np.linalg.solve(floating(circulant(c)), b), vector)
