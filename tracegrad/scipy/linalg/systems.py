"""Systems of equations, by factors, triangles and bands, and the matrix equations of Sylvester, Lyapunov and Riccati."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.op import Op
from tracegrad.core.trace import bind
from tracegrad.core.types import type_of
from tracegrad.ops.contract import column
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.linalg import banded, equations
from tracegrad.ops.linalg.hermitian import from_triangle
from tracegrad.ops.linalg.matrices import adjoint, diagonals, floating, hermitian_part, require_square
from tracegrad.ops.linalg.triangular import solve_by_cholesky, solve_triangle, triangle
from tracegrad.scipy.calling import of_scipy, refused
from tracegrad.typing import Array, ArrayLike

linalg = of_scipy("scipy.linalg")


def as_columns(b: Any) -> tuple[Any, bool]:
    """Right-hand sides as columns of matrices, and whether it is one vector."""
    b = floating(b)
    vector = len(shape_of(b)) == 1
    return (column(b) if vector else b), vector


def like(x: Any, vector: bool) -> Any:
    return x[..., 0] if vector else x


@linalg
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
    b, vector = as_columns(b)
    how = {"transpose_a": trans not in (0, "N"), "conjugate_a": trans in (2, "C")}
    return like(solve_triangle(floating(a), b, lower=lower, unit_diagonal=unit_diagonal, **how), vector)


@linalg
def cholesky(a: ArrayLike, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The upper triangular U with `U^H @ U == a` of Hermitian positive definite matrices (..., m, m), or the `lower` L with `L @ L^H`.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 1.0], [0.0, 2.0]]
    """
    return np.linalg.cholesky(floating(a), upper=not lower)


@linalg
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


@linalg
def cho_solve(
    c_and_lower: tuple[ArrayLike, bool], b: ArrayLike, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """The x with `a @ x == b`, of what `cho_factor` makes of a, and b of (m,) or (..., m, k).

    >>> cho_solve(cho_factor(np.array([[4.0, 0.0], [0.0, 5.0]])), np.array([4.0, 10.0])).tolist()
    [1.0, 2.0]
    """
    c, lower = c_and_lower
    b, vector = as_columns(b)
    return like(solve_by_cholesky(floating(c), b, bool(lower)), vector)


@linalg
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
    b, vector = as_columns(b)
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
    return like(x, vector)


_KINDS: dict[str | None, str] = {
    None: "gen", "gen": "gen", "general": "gen", "banded": "gen", "tridiagonal": "gen", "diagonal": "diagonal", "sym": "sym",
    "symmetric": "sym", "her": "her", "hermitian": "her", "pos": "pos", "positive definite": "pos",
    "upper triangular": "upper triangular", "lower triangular": "lower triangular",
}  # fmt: skip


@linalg
def inv(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The inverse of each matrix (..., m, m).

    >>> inv(np.diag([2.0, 4.0])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return np.linalg.inv(floating(a))


@linalg
def det(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The determinant of each matrix, (..., m, m) to (...).

    >>> float(det(np.diag([2.0, 4.0])))
    8.0
    """
    return np.linalg.det(floating(a))


@linalg
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
    b, vector = as_columns(b)
    return like(banded.solve_bands(floating(ab), b, int(below), int(above)), vector)


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


@linalg
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
    b, vector = as_columns(b)
    return like(banded.solve_bands(whole, b, count, count), vector)


@linalg
def cholesky_banded(ab: ArrayLike, overwrite_ab: bool = False, lower: bool = False, check_finite: bool = True) -> Array:
    """The Cholesky factor of a Hermitian positive definite matrix, as bands like those of `solveh_banded`. What is traced is computed
    as a full matrix.

    >>> cholesky_banded(np.array([[0.0, 2.0], [4.0, 5.0]])).tolist()
    [[0.0, 1.0], [2.0, 2.0]]
    """
    whole, count = _whole_bands(ab, lower)
    factor = np.linalg.cholesky(hermitian_part(banded.unbanded(whole, count, count)), upper=not lower)
    return banded.bands_of(factor, *((count, 0) if lower else (0, count)))


@linalg
def cho_solve_banded(
    cb_and_lower: tuple[ArrayLike, bool], b: ArrayLike, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """The x with `a @ x == b`, of what `cholesky_banded` makes of a, with whether it is `lower`.

    >>> cb = cholesky_banded(np.array([[0.0, 1.0, 1.0], [4.0, 4.0, 4.0]]))
    >>> cho_solve_banded((cb, False), np.array([5.0, 6.0, 5.0])).round(9).tolist()
    [1.0, 1.0, 1.0]
    """
    cb, lower = floating(cb_and_lower[0]), cb_and_lower[1]
    b, vector = as_columns(b)
    count = cb.shape[-2] - 1
    bands = (count, 0) if lower else (0, count)
    steps = [(cb, bands), (np.conjugate(banded.turned(cb, *bands)), bands[::-1])]
    for factor, (below, above) in steps if lower else steps[::-1]:
        b = banded.solve_bands(factor, b, below, above)
    return like(b, vector)


@linalg
def solve_sylvester(a: ArrayLike, b: ArrayLike, q: ArrayLike) -> Array:
    """The x with `a @ x + x @ b == q`, for a of (..., m, m), b of (..., n, n) and q of (..., m, n).

    >>> solve_sylvester(np.eye(2), np.eye(2), np.ones((2, 2))).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    return equations.sylvester(floating(a), floating(b), floating(q))


@linalg
def solve_continuous_lyapunov(a: ArrayLike, q: ArrayLike) -> Array:
    """The x with `a @ x + x @ a^H == q`, all of (..., m, m).

    >>> solve_continuous_lyapunov(np.diag([1.0, 2.0]), np.eye(2)).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    a = floating(a)
    return equations.sylvester(a, adjoint(a), floating(q))


@linalg
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


@linalg
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
    return _riccati(equations.riccati_op, a, b, q, r, e, s)


@linalg
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
    return _riccati(equations.continuous_riccati_op, a, b, q, r, e, s)


def _riccati(op: Op, a: Any, b: Any, q: Any, r: Any, e: Any, s: Any) -> Any:
    if e is not None or s is not None:
        instead = "Write a and b of the problem without them: np.linalg.solve(e, a), say."
        raise refused(f"linalg.{op.name}", "with e or s", instead)
    return bind(op, (floating(a), floating(b), floating(q), floating(r)))
