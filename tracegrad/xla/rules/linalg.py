"""Linear algebra, by jax's LAPACK. XLA cannot raise: where a derivative does not exist, it is NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.linalg.banded import unbanded
from tracegrad.ops.linalg.determinants import (
    adjugate_by_inverse,
    adjugate_by_singular_values,
    adjugate_tangent,
    is_accurate,
)
from tracegrad.ops.linalg.eigen import is_independent
from tracegrad.ops.linalg.equal_values import averaged, touching, unlike, vanishing
from tracegrad.ops.linalg.hermitian import completed_unless, is_hermitian
from tracegrad.ops.linalg.matrices import linalg_dtype
from tracegrad.ops.linalg.matrix_functions import corner
from tracegrad.ops.linalg.vectors import expectations, recomposition
from tracegrad.xla.values import cast, in_numpy


def _in_lapack(compute: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a function of matrices, computed in the dtype in which LAPACK would work."""

    def rule(out: Any, a: Any, *others: Any, **params: Any) -> Any:
        return compute(jnp.asarray(cast(a, linalg_dtype("linalg", type_of(a)))), *others, **params)

    return rule


_OF_MATRICES: dict[str, Callable[..., Any]] = {
    "inv": jnp.linalg.inv,
    "pinv": lambda a, *tolerances, rcond: jnp.linalg.pinv(a, rtol=tolerances[0] if tolerances else rcond),
    "det": jnp.linalg.det,
    "slogdet": jnp.linalg.slogdet,
    "cholesky": lax.linalg.cholesky,
    "qr": lambda a, complete: lax.linalg.qr(a, full_matrices=complete),
    "eigh": lambda a: lax.linalg.eigh(a)[::-1],
    "eigvalsh": lambda a: lax.linalg.eigh(a)[1],
    "eig": lambda a: lax.linalg.eig(a, compute_left_eigenvectors=False),
    "eigvals": jnp.linalg.eigvals,
    "svd": lambda a, full_matrices: lax.linalg.svd(a, full_matrices=full_matrices),
    "svdvals": lambda a: lax.linalg.svd(a, compute_uv=False),
}
for _name, _compute in _OF_MATRICES.items():
    lowers(_name)(_in_lapack(_compute))


@lowers("solve")
def _solve(out: ArrayType, a: Any, b: Any) -> Any:
    return jnp.linalg.solve(cast(a, out.dtype), cast(b, out.dtype))


@lowers("triangular_solve")
def _triangular_solve(out: ArrayType, a: Any, b: Any, **how: Any) -> Any:
    a, b = [jnp.broadcast_to(cast(x, out.dtype), (*out.shape[:-2], *x.shape[-2:])) for x in (a, b)]
    if 0 in out.shape:
        return b
    return lax.linalg.triangular_solve(a, b, **how)


@lowers("lu")
def _lu(out: Any, a: Any) -> Any:
    return lax.linalg.lu(jnp.asarray(cast(a, out[0].dtype)))


@lowers("lu_pivots_to_permutation")
def _permutation(out: ArrayType, pivots: Any, *, size: int) -> Any:
    return lax.linalg.lu_pivots_to_permutation(lax.convert_element_type(pivots, np.int32), size)


@lowers("solve_banded")
def _solve_banded(out: ArrayType, ab: Any, b: Any, *, below: int, above: int) -> Any:
    """Three diagonals of real numbers by LAPACK, others as a full matrix."""
    ab, b = [jnp.broadcast_to(cast(x, out.dtype), (*out.shape[:-2], *x.shape[-2:])) for x in (ab, b)]
    if 0 in out.shape:
        return b
    if below == above == 1 and number_kind(out.dtype) == "f" and out.shape[-2] > 2:
        lower, upper = jnp.roll(ab[..., 2, :], 1, -1), jnp.roll(ab[..., 0, :], -1, -1)
        return lax.linalg.tridiagonal_solve(lower.at[..., 0].set(0), ab[..., 1, :], upper.at[..., -1].set(0), b)
    return jnp.linalg.solve(in_numpy(unbanded, (ab,), {"below": below, "above": above}), b)


def _over_leading(function: Callable[..., Any], *matrices: Any) -> Any:
    """`function` of matrices, over leading axes that broadcast together."""
    batch = np.broadcast_shapes(*[x.shape[:-2] for x in matrices])
    matrices = tuple([jnp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in matrices])
    for _ in batch:
        function = jax.vmap(function)
    return function(*matrices)


def _of_matrices(compute: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a function of several matrices, in the dtype of its result, of which jax makes a complex one at times."""

    def rule(out: ArrayType, *inputs: Any, **params: Any) -> Any:
        matrices = [jnp.asarray(cast(x, out.dtype)) for x in inputs]
        if 0 in out.shape:
            return jnp.zeros(out.shape, out.dtype)
        found = _over_leading(compute, *matrices, **params)
        return found if found.dtype == out.dtype else _as_real(found)

    return rule


def _as_real(x: Any) -> Any:
    """NaN where it is not: jax cannot raise."""
    size = jnp.max(jnp.abs(x), (-2, -1), keepdims=True)
    small = jnp.abs(x.imag) <= 100 * x.shape[-1] * jnp.finfo(x.dtype).eps * size
    return jnp.where(jnp.all(small, (-2, -1), keepdims=True), x.real, np.nan)


_GAUSS_POINTS, _GAUSS_WEIGHTS = [x for x in np.polynomial.legendre.leggauss(8)]


def _logm(a: Any) -> Any:
    """Of Schur's triangle, by square roots until it is near one, and there by the Pade approximant, in partial fractions. On the diagonal, and
    in what is left of it when one is taken away, are the eigenvalues' own logarithms: the difference has no digits of theirs.

    Source: A. Al-Mohy and N. Higham, "Improved inverse scaling and squaring algorithms for the matrix logarithm", SIAM J.
    Sci. Comput. 34 (2012)."""
    one = jnp.eye(a.shape[-1], dtype=a.dtype)
    x = a if number_kind(a.dtype) == "c" else a.astype(np.result_type(a.dtype, np.complex64))
    triangle, vectors = jax.scipy.linalg.schur(x, output="complex")
    logs = jnp.log(jnp.diagonal(triangle))
    far = lambda state: jnp.linalg.norm(state[0] - one, 1) > 0.25
    roots: Any
    x, roots = lax.while_loop(
        lambda state: far(state) & (state[1] < 60),
        lambda state: (jax.scipy.linalg.sqrtm(state[0]), state[1] + 1),
        (triangle, 0),
    )
    scale = 2.0 ** roots.astype(x.real.dtype)
    rest = jnp.triu(x, 1) + jnp.diag(jnp.expm1(logs / scale))
    points, weights = (_GAUSS_POINTS + 1) / 2, _GAUSS_WEIGHTS / 2
    terms = [float(w) * jnp.linalg.solve(one + float(p) * rest, rest) for p, w in zip(points, weights, strict=True)]
    found = jnp.triu(sum(terms[1:], terms[0]) * scale, 1) + jnp.diag(logs)
    return vectors @ found @ _adjoint(vectors)


def _adjoint(x: Any) -> Any:
    return x.conj().T


def _hermitian(x: Any) -> Any:
    return (x + _adjoint(x)) / 2


def _doubled(a: Any, g: Any, h: Any) -> Any:
    """The x with x == a^H x (1 + g x)^-1 a + h by doubling, each step of which squares what is left of the error.

    Source: E. Chu, H. Fan, W. Lin, C. Wang, "Structure-preserving algorithms for periodic discrete-time algebraic Riccati
    equations", Int. J. Control 77 (2004)."""
    one, n = jnp.eye(a.shape[-1], dtype=a.dtype), a.shape[-1]

    def doubled(_: Any, state: Any) -> Any:
        a, g, h = state
        found = jnp.linalg.solve(one + g @ h, jnp.concatenate([a, g], -1))
        wa, wg = found[:, :n], found[:, n:]
        return a @ wa, _hermitian(g + a @ wg @ _adjoint(a)), _hermitian(h + _adjoint(a) @ h @ wa)

    return lax.fori_loop(0, _DOUBLINGS, doubled, (a, _hermitian(g), _hermitian(h)))[2]


def _riccati(a: Any, b: Any, q: Any, r: Any) -> Any:
    return _doubled(a, b @ jnp.linalg.solve(_hermitian(r), _adjoint(b)), q)


def _continuous_riccati(a: Any, b: Any, q: Any, r: Any) -> Any:
    """By Cayley's transform, which makes a discrete equation of it that has the same solution.

    Source: E. Chu, H. Fan, W. Lin, "A structure-preserving doubling algorithm for continuous-time algebraic Riccati
    equations", Linear Algebra Appl. 396 (2005)."""
    g, h = b @ jnp.linalg.solve(_hermitian(r), _adjoint(b)), _hermitian(q)
    one = jnp.eye(a.shape[-1], dtype=a.dtype)
    size = jnp.linalg.norm(a) + jnp.sqrt(jnp.linalg.norm(g) * jnp.linalg.norm(h))
    moved = a - size * one
    by_g, by_h = jnp.linalg.solve(moved, g), jnp.linalg.solve(_adjoint(moved), h)
    w = _adjoint(moved) + h @ by_g
    inverse = jnp.linalg.inv(w)
    return _doubled(one + 2 * size * _adjoint(inverse), 2 * size * by_g @ inverse, 2 * size * inverse @ _adjoint(by_h))


_DOUBLINGS = 24  # a feedback within 1e-6 of the border of stability has converged

_SMALL = (
    3.9  # to which norm jax's approximation has all digits; its own scaling leaves twice that and more, and 8 digits
)


def _squarings(a: Any) -> Any:
    """How often a matrix is to be halved to be small."""
    size = jnp.max(jnp.sum(jnp.abs(a), -2))
    return jnp.where(jnp.isfinite(size), jnp.ceil(jnp.log2(jnp.maximum(size / _SMALL, 1))), 0).astype(np.int32)


def _expm(a: Any) -> Any:
    count = _squarings(a)
    return lax.fori_loop(
        0, count, lambda _, x: _product(x, x), jax.scipy.linalg.expm(a / jnp.exp2(count).astype(a.dtype))
    )


def _expm_frechet(a: Any, e: Any) -> Any:
    count = _squarings(a)
    doubled = lambda _, pair: (_product(pair[0], pair[0]), _product(pair[0], pair[1]) + _product(pair[1], pair[0]))
    return lax.fori_loop(
        0,
        count,
        doubled,
        jax.scipy.linalg.expm_frechet(a / jnp.exp2(count).astype(a.dtype), e / jnp.exp2(count).astype(a.dtype)),
    )[1]


def _product(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


_FROM_JAX: dict[str, Callable[..., Any]] = {
    "expm": _expm,
    "expm_frechet": _expm_frechet,
    "logm": _logm,
    "logm_frechet": lambda a, e: corner(_logm(jnp.block([[a, e], [jnp.zeros_like(e), a]]))),
    "sqrtm": jax.scipy.linalg.sqrtm,
    "solve_sylvester": jax.scipy.linalg.solve_sylvester,
    "solve_discrete_are": _riccati,
    "solve_continuous_are": _continuous_riccati,
}
for _name, _compute in _FROM_JAX.items():
    lowers(_name)(_of_matrices(_compute))


@lowers("only_real")
def _only_real(out: ArrayType, a: Any) -> Any:
    return _as_real(a)


@lowers("schur")
def _schur(out: Any, a: Any, *, output: str) -> Any:
    return jax.scipy.linalg.schur(jnp.asarray(cast(a, out[0].dtype)), output="real" if output == "real" else "complex")


@lowers("hessenberg")
def _hessenberg(out: Any, a: Any) -> Any:
    return jax.scipy.linalg.hessenberg(jnp.asarray(cast(a, out[0].dtype)), calc_q=True)


@lowers("column_order")
def _column_order(out: ArrayType, a: Any) -> Any:
    a = jnp.asarray(cast(a, linalg_dtype("qr", type_of(a))))
    return lax.linalg.qr(a, pivoting=True, full_matrices=False)[2].astype(np.int32)


def _adjugate(a: Any) -> Any:
    """Up to 3 x 3 by jax's gradient of the determinant, a polynomial there; beyond, that is wrong at some singular
    matrices (those with a zero among the first pivots)."""
    if 0 in a.shape:
        return a
    if a.shape[-1] <= 3:
        det, gradient = jax.vjp(jnp.linalg.det, a)
        return jnp.matrix_transpose(gradient(lax.full_like(det, 1))[0])
    inverse = jnp.linalg.inv(a)
    return lax.cond(
        in_numpy(is_accurate, (a, inverse), {}),
        lambda: in_numpy(adjugate_by_inverse, (a, inverse), {}),
        lambda: in_numpy(adjugate_by_singular_values, (a,), {}),
    )


lowers("adjugate")(_in_lapack(_adjugate))


def _by_evaluation(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of an op whose evaluation is written in NumPy calls and does not branch on values."""
    return lambda out, *inputs, **params: in_numpy(function, inputs, params)


lowers("adjugate_tangent")(_by_evaluation(adjugate_tangent))
lowers("recomposed")(_by_evaluation(recomposition))
lowers("expected")(_by_evaluation(expectations))


@lowers("eigenvalues", "singular_values")
def _given_values(out: Any, a: Any, values: Any, *vectors: Any, **params: Any) -> Any:
    return values


@lowers("columns")
def _columns(out: Any, *inputs: Any, **params: Any) -> Any:
    return inputs[-1]


def _apart(values: Any, low: int, high: int | None, zero: bool, **_: Any) -> Any:
    return np.where(np.any(touching(values, low, high, zero), (-2, -1))[..., None], np.nan, values)


def _nonzero(x: Any, low: int, high: int, **_: Any) -> Any:
    return np.where(vanishing(x, low, high), np.nan, x)


def _independent(v: Any, **_: Any) -> Any:
    return np.where(is_independent(v), v, np.nan)


def _among_equals(values: Any, x: Any, check: bool, zero: bool, **_: Any) -> Any:
    wrong = check and np.any(unlike(values, x, zero), (-2, -1))[..., None]
    return np.where(wrong, np.nan, averaged(values, x, zero))


def _from_triangle(a: Any, t: Any, lower: bool, transpose: bool) -> Any:
    return completed_unless(is_hermitian(a), t, lower, transpose)


lowers("apart")(_by_evaluation(_apart))
lowers("nonzero_values")(_by_evaluation(_nonzero))
lowers("independent")(_by_evaluation(_independent))
lowers("among_equals")(_by_evaluation(_among_equals))
lowers("from_triangle")(_by_evaluation(_from_triangle))


@lowers("norm")
def _norm(out: ArrayType, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    squares = lax.square(x)
    if number_kind(x.dtype) == "c":
        squares = lax.add(*[lax.square(part(x)) for part in (lax.real, lax.imag)])
    return lax.sqrt(lax.reshape(lax.reduce_sum(squares, axes), out.shape))


@lowers("root")
def _root(out: ArrayType, x: Any, *, p: float) -> Any:
    return lax.pow(x, out.dtype.type(p))
