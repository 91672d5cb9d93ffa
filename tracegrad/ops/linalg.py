"""Linear algebra: `numpy.linalg`, with derivatives.

Values come from NumPy's LAPACK; leading axes are batches throughout, which is how vmap runs them. Derivatives are
written in matrix products and these same functions, so they can be differentiated again. Where a decomposition is not
unique in signs or phases, its derivative is that of the choice which moves least, and a function that depends on the
choice has no derivative to be had. Vectors of equal eigenvalues or singular values have no derivative at all, and what
depends on them raises, but for spectral functions: see "Equal eigenvalues and singular values" below.

Sources, named by the functions below:
    Giles: M. Giles, "Collected Matrix Derivative Results for Forward and Reverse Mode Algorithmic Differentiation",
        2008
    Walter: S. Walter, L. Lehmann, "Algorithmic Differentiation of Linear Algebra Functions with Application in Optimum
        Experimental Design", 2010, arXiv:1001.1654
    Townsend: J. Townsend, "Differentiating the Singular Value Decomposition", 2016
    Murray: I. Murray, "Differentiation of the Cholesky decomposition", 2016, arXiv:1602.07527
    Golub: G. Golub, V. Pereyra, "The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems Whose
        Variables Separate", SIAM J. Numer. Anal. 10 (1973)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.context import context
from tracegrad.core.errors import ConcretizationTypeError, DtypeError, RawSource, at, resolve, user_source
from tracegrad.core.op import OPS, BatchRule, Held, Op, Params, Sample, TypeRule, Wanted
from tracegrad.core.trace import Trace, as_array, bind, concrete
from tracegrad.core.types import ArrayType, float_limits, is_added, is_inexact, number_kind, type_of
from tracegrad.ops.contract import (
    column,
    conjugate_of_complex,
    linalg_cross,
    linalg_outer,
    matmul,
    matrix_transpose,
    multi_dot,
    tensordot,
    transposed,
    vecdot,
)
from tracegrad.ops.elementwise import astype, by_convention
from tracegrad.ops.families import (
    add_tangents,
    broadcast_shapes,
    cast,
    conform,
    elementwise,
    elementwise_batch,
    implements,
    normalize_axes,
    normalize_axis,
    shape_of,
)
from tracegrad.ops.reduce import expand_reduced, reduced_shape

cross, outer = linalg_cross, linalg_outer
__all__ = [
    "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]  # fmt: skip

# What NumPy's namedtuples are made of is private to NumPy; the tuples themselves are not.
EigResult: Any = type(np.linalg.eig(np.eye(1)))
EighResult: Any = type(np.linalg.eigh(np.eye(1)))
QRResult: Any = type(np.linalg.qr(np.eye(1)))
SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))
SVDResult: Any = type(np.linalg.svd(np.eye(1)))

_NOT_GIVEN: Any = object()


# ---------------------------------------------------------------------------------------------------------------------
# Tools. A matrix is the last two axes of an array.


def adjoint(x: Any) -> Any:
    """Each matrix transposed and conjugated."""
    return transposed(conjugate_of_complex(x))


def diagonals(x: Any) -> Any:
    """The main diagonal of each matrix, (..., m, m) to (..., m)."""
    return np.einsum("...ii->...i", x)


def row(x: Any) -> Any:
    """Vectors as matrices of one row."""
    return np.reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


def hermitian_part(x: Any) -> Any:
    """The Hermitian part of each matrix."""
    return 0.5 * (x + adjoint(x))


class Place:
    """The user's line that an error will name, as a param of an op; None where it is not known."""

    __slots__ = ("source",)

    def __init__(self, source: RawSource | int | None) -> None:
        self.source = None if isinstance(source, int) else source

    def __eq__(self, other: object) -> bool:
        return type(other) is Place and (self.source == other.source or resolve(self.source) == resolve(other.source))

    def __hash__(self) -> int:
        return hash(resolve(self.source))

    def __reduce__(self) -> Any:
        return Place, (resolve(self.source),)  # code objects stay in the process that has them

    def __repr__(self) -> str:
        found = resolve(self.source)
        return "unknown" if found is None else f"line {found.line}"


def _there(place: Place | None) -> str:
    return "" if place is None else at(place.source)


def floating(x: Any) -> Any:
    """An array or tracer of floats: integers become float64."""
    x = as_array(x)
    found = type_of(x)
    return astype(x, found.dtype if is_inexact(found.dtype) and not is_added(found.dtype) else np.float64)


def linalg_dtype(name: str, *types: ArrayType) -> np.dtype[Any]:
    """The dtype in which LAPACK works on these: float32, float64 or their complex kin. np.linalg takes bfloat16 and its like
    for integers, so float64 of them."""
    for t in types:
        if is_inexact(t.dtype) and not is_added(t.dtype) and t.dtype.char not in "fdFD":
            raise DtypeError(f"{name}: {t} is unsupported in linalg; write x.astype(np.float32) or np.float64")
    single = all(t.dtype in (np.float32, np.complex64) for t in types)
    if any(number_kind(t.dtype) == "c" for t in types):
        return np.dtype(np.complex64 if single else np.complex128)
    return np.dtype(np.float32 if single else np.float64)


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of real and imaginary parts."""
    return np.zeros((), dtype).real.dtype


def _require_matrices(name: str, t: ArrayType) -> None:
    if t.ndim < 2:
        raise LinAlgError(f"{name} takes a matrix or a batch of them, (..., m, n), got {t}")


def _require_square(name: str, t: ArrayType) -> None:
    _require_matrices(name, t)
    if t.shape[-1] != t.shape[-2]:
        raise LinAlgError(f"{name} takes a square matrix or a batch of them, (..., m, m), got {t}")


def _solved(name: str, a: Any, b: Any = None) -> Any:
    """a^-1 b, or a^-1, in the derivative of the named function, with an error that says so where it does not exist."""
    try:
        return np.linalg.inv(a) if b is None else np.linalg.solve(a, b)
    except LinAlgError as error:
        raise LinAlgError(f"{name}{at(context.source)} has no derivative here: {error}") from None


# What is told of each trace that is about to record a decomposition; or one of elsewhere, its kind and the inputs of
# `recomposed`. Filled by transforms/recognise.py.
recognise_in: list[Callable[[Trace, tuple[str, Sequence[Any]] | None], None]] = []


def _recognising(trace: Trace, elsewhere: tuple[str, Sequence[Any]] | None = None) -> None:
    """Have a trace recognise what is made of a decomposition."""
    if not (trace.executes or trace.ended):
        for recognise in recognise_in:
            recognise(trace, elsewhere)


RECOGNISED = Held(expand=lambda trace, inputs, params: _recognising(trace))


def _leading_batch(name: str) -> BatchRule:
    """The batching rule of a function of one array of matrices: NumPy maps over leading axes itself."""

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        return bind(OPS[name], tuple(inputs), params)

    return batch


def _matrices(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def _dominant(seed: int, *shape: int) -> Any:
    """Matrices far from singular, with eigenvalues far apart."""
    return _matrices(seed, *shape) + np.diag(np.arange(1.0, shape[-1] + 1) * 1.5)


def _square_samples() -> Iterable[Sample]:
    yield Sample((_dominant(0, 3, 3),))
    yield Sample((_dominant(1, 2, 2, 2),))
    yield Sample((np.zeros((0, 0)),))


def _symmetric_samples() -> Iterable[Sample]:
    yield Sample((hermitian_part(_dominant(0, 3, 3)) + np.eye(3),))
    yield Sample((hermitian_part(_dominant(1, 2, 2, 2)) + np.eye(2),))
    yield Sample((np.zeros((0, 0)),))


# ---------------------------------------------------------------------------------------------------------------------
# Linear systems and inverses.


def _solve_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, b = types
    _require_square("solve", a)
    dtype = linalg_dtype("solve", a, b)
    if b.ndim == 0 or b.shape[-1 if b.ndim == 1 else -2] != a.shape[-1]:
        raise LinAlgError(
            f"solve: {b} does not fit {a}, whose right-hand sides are vectors of {a.shape[-1]}, or the columns of "
            f"matrices (..., {a.shape[-1]}, k); a batch of vectors is written b[..., None]"
        )
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) if _fits(a.shape[:-2], b.shape[:-2]) else None
    if batch is None:
        raise LinAlgError(f"solve: the leading axes of {a} and {b} do not broadcast together")
    return ArrayType((*batch, *b.shape[-2:]), dtype)


def _fits(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(left), reversed(right), strict=False))


def _solve_columns(a: Any, b: Any, vectors: bool) -> Any:
    """a^-1 b, where b is a batch of vectors or of matrices."""
    return np.reshape(np.linalg.solve(a, column(b)), b.shape) if vectors else np.linalg.solve(a, b)


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
    return cast(np.reshape(np.linalg.solve(a, change), out.shape), out.dtype)


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
        # One factorisation for all right-hand sides, as columns of one matrix.
        columns = np.moveaxis(b, -2, 0)
        found = np.linalg.solve(a, np.reshape(columns, (columns.shape[0], math.prod(columns.shape[1:]))))
        out = np.moveaxis(np.reshape(found, columns.shape), 0, -2)
    else:
        ndim = max(len(a.shape) - batched[0], len(b.shape) - batched[1]) + 1
        a, b = [
            np.reshape(x, (x.shape[0], *(1,) * (ndim - len(x.shape)), *x.shape[1:]))
            if yes and len(x.shape) < ndim
            else x
            for x, yes in zip((a, b), batched, strict=True)
        ]
        out = np.linalg.solve(a, b)
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
        yield Sample((_dominant(0, *left), _matrices(1, *right)))


solve_op = Op(
    "solve",
    evaluate=np.linalg.solve,
    infer=_solve_type,
    jvp=_solve_jvp,
    vjp=_solve_vjp,
    linear=[{1}],
    batch=_solve_batch,
    samples=_solve_samples,
)


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """The x with `a @ x == b`: (..., m, m) and (m,) or (..., m, k). Only a 1-d b is a vector, as in NumPy 2.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda b: np.sum(np.linalg.solve(np.diag([1.0, 4.0]), b)))(np.ones(2)).tolist()
    [1.0, 0.25]

    Source: Giles, section 2.3.1.
    """
    return bind(solve_op, (a, b))


def _inv_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    _require_square("inv", t)
    return ArrayType(t.shape, linalg_dtype("inv", t))


def _inv_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return -np.matmul(np.matmul(out, tangents[0]), out)


def _inv_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    t = transposed(out)
    return (conform(-np.matmul(np.matmul(t, ct), t), primals[0]),)


inv_op = Op(
    "inv",
    evaluate=np.linalg.inv,
    infer=_inv_type,
    jvp=_inv_jvp,
    vjp=_inv_vjp,
    batch=_leading_batch("inv"),
    samples=_square_samples,
)


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    """The inverse of each square matrix. `solve` is faster and more accurate where the inverse is to be multiplied.

    Source: Giles, section 2.2.3.
    """
    return bind(inv_op, (a,))


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """The x with `np.tensordot(a, x, x.ndim) == b`; `axes` of `a` are moved to its end first."""
    a, b = as_array(a), as_array(b)
    if axes is not None:
        order = [i for i in range(len(a.shape)) if i not in axes]
        a = np.transpose(a, (*order, *axes))
    sizes = a.shape[len(shape_of(b)) :]
    size = math.prod(sizes)
    if math.prod(a.shape) != size**2:
        raise LinAlgError(
            f"tensorsolve: the axes of {type_of(a)} beyond those of {type_of(b)} have {size} elements, so it should "
            f"have {size**2}"
        )
    return np.reshape(np.linalg.solve(np.reshape(a, (size, size)), np.reshape(b, (size,))), sizes)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of `np.tensordot(a, ., ind)`: axes from `ind` on come first."""
    a = as_array(a)
    if ind <= 0:
        raise ValueError("tensorinv: ind is the number of axes that belong to the result's end, 1 or more")
    shape = a.shape[ind:] + a.shape[:ind]
    size = math.prod(a.shape[ind:])
    return np.reshape(np.linalg.inv(np.reshape(a, (size, math.prod(a.shape[:ind])))), shape)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """`a @ a @ ... @ a`, n times, by repeated squaring; the inverse's power for negative n."""
    a = as_array(a)
    _require_square("matrix_power", type_of(a))
    n = operator.index(n)
    if n == 0:
        return np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape).copy()
    square = np.linalg.inv(a) if n < 0 else a
    result = None
    for k, bit in enumerate(reversed(bin(abs(n))[2:])):
        if k:
            square = np.matmul(square, square)
        if bit == "1":
            result = square if result is None else np.matmul(result, square)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Determinants. The derivative of the determinant is the transposed adjugate, which exists for singular matrices too.


def _products_of_others(s: Any) -> Any:
    """For each entry along the last axis the product of all others, without a division."""
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    return before * after if s.shape[-1] else s


def _adjugate(a: Any) -> Any:
    """det(a) inv(a) where that loses no accuracy, else from the singular values."""
    try:
        inverse = np.linalg.inv(a)
        if a.size == 0 or is_accurate(a, inverse):
            return adjugate_by_inverse(a, inverse)
    except LinAlgError:
        pass
    return adjugate_by_singular_values(a)


def is_accurate(a: Any, inverse: Any) -> Any:
    return np.all(np.linalg.norm(a, 1, (-2, -1)) * np.linalg.norm(inverse, 1, (-2, -1)) < 1e3)


def adjugate_by_inverse(a: Any, inverse: Any) -> Any:
    return np.linalg.det(a)[..., None, None] * inverse


def adjugate_by_singular_values(a: Any) -> Any:
    """These need not differ from zero: adj(U S V^H) = det(U V^H) V adj(S) U^H."""
    u, s, vh = np.linalg.svd(a)
    phase = np.linalg.det(u @ vh)[..., None, None]
    return phase * adjoint(vh) @ (_products_of_others(s)[..., None] * adjoint(u))


def adjugate_tangent(a: Any, t: Any) -> Any:
    """The derivative of adj(a) along t. With a = U S V^H and F = U^H t V it is det(U V^H) V G U^H, where G_ii = sum
    over k != i of F_kk p_ik, G_ij = -F_ij p_ij, and p_ij is the product of the singular values but i and j."""
    u, s, vh = np.linalg.svd(a)
    n = s.shape[-1]
    p = _products_of_others(np.where(np.eye(n, dtype=bool), 1, s[..., None, :]))
    p = np.where(np.eye(n, dtype=bool), 0, p)
    f = adjoint(u) @ t @ adjoint(vh)
    on_diagonal = np.einsum("...ik,...kk->...i", p, f)
    g = np.where(np.eye(n, dtype=bool), on_diagonal[..., None], -f * p)
    return np.linalg.det(u @ vh)[..., None, None] * (adjoint(vh) @ g @ adjoint(u))


def _adjugate_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    _require_square("adjugate", t)
    return ArrayType(t.shape, linalg_dtype("adjugate", t))


def _adjugate_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return bind(adjugate_tangent_op, (primals[0], tangents[0]))


def _adjugate_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    return (conform(transposed(bind(adjugate_tangent_op, (a, transposed(ct)))), a),)


adjugate_op = Op(
    "adjugate",
    evaluate=_adjugate,
    infer=_adjugate_type,
    jvp=_adjugate_jvp,
    vjp=_adjugate_vjp,
    batch=_leading_batch("adjugate"),
    samples=_square_samples,
)


def _adjugate_tangent_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, t = types
    _require_square("adjugate", a)
    return ArrayType(broadcast_shapes("adjugate", types), linalg_dtype("adjugate", a, t))


def _adjugate_tangent_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    """The derivative by t is the op again: the second derivative of the determinant is symmetric. That by a is its
    third, here by way of the inverse, so for regular matrices only."""
    a, f = primals
    g = transposed(ct)
    found: list[Any] = []
    for i in wanted:
        if i == 1:
            d = bind(adjugate_tangent_op, (a, g))
        else:
            b = _solved("the second derivative of det", a)
            bf, bg = np.matmul(b, f), np.matmul(b, g)
            tf, tg, tfg = [_as_scalar_matrix(np.einsum("...ii->...", x)) for x in (bf, bg, np.matmul(bf, bg))]
            inner = (tf * tg - tfg) * b + np.matmul(np.matmul(bf, bg) + np.matmul(bg, bf) - tf * bg - tg * bf, b)
            d = _as_scalar_matrix(np.linalg.det(a)) * inner
        found.append(conform(transposed(d), primals[i]))
    return found


def _as_scalar_matrix(x: Any) -> Any:
    """Numbers as matrices of one element, which broadcast against matrices."""
    return np.reshape(x, (*x.shape, 1, 1))


def _adjugate_tangent_samples() -> Iterable[Sample]:
    yield Sample((_dominant(0, 3, 3), _matrices(1, 3, 3)))
    yield Sample((_dominant(0, 2, 2, 2), _matrices(1, 2, 2, 2)))


adjugate_tangent_op = Op(
    "adjugate_tangent",
    evaluate=adjugate_tangent,
    infer=_adjugate_tangent_type,
    vjp=_adjugate_tangent_vjp,
    linear=[{1}],
    batch=elementwise_batch(lambda: adjugate_tangent_op),  # leading axes broadcast
    samples=_adjugate_tangent_samples,
)


def _det_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    _require_square("det", t)
    return ArrayType(t.shape[:-2], linalg_dtype("det", t))


def _det_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    return (conform(_as_scalar_matrix(ct) * transposed(bind(adjugate_op, (a,))), a),)


det_op = Op(
    "det",
    evaluate=np.linalg.det,
    infer=_det_type,
    vjp=_det_vjp,
    batch=_leading_batch("det"),
    samples=_square_samples,
)


@implements(np.linalg.det)
def det(a: Any) -> Any:
    """The determinant of each square matrix. First and second derivatives are exact for singular matrices as well; from
    the third on they need the inverse.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(np.linalg.det)(np.array([[1.0, 2.0], [2.0, 4.0]])).round(9).tolist()
    [[4.0, -2.0], [-2.0, 1.0]]

    Source: Jacobi's formula; Magnus and Neudecker, Matrix Differential Calculus, section 8.3.
    """
    return bind(det_op, (a,))


def _slogdet_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    _require_square("slogdet", t)
    dtype = linalg_dtype("slogdet", t)
    return ArrayType(t.shape[:-2], dtype), ArrayType(t.shape[:-2], real_dtype(dtype))


def _slogdet_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    t = np.einsum("...ij,...ji->...", _solved("slogdet", primals[0]), tangents[0])
    if number_kind(t.dtype) != "c":
        return None, t
    return out[0] * (1j * np.imag(t)), np.real(t)


slogdet_op = Op(
    "slogdet",
    evaluate=lambda a: tuple(np.linalg.slogdet(a)),
    infer=_slogdet_type,
    jvp=_slogdet_jvp,
    batch=_leading_batch("slogdet"),
    several=True,
    samples=_square_samples,
)


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """`(sign, logabsdet)`: the determinant's sign (phase, if complex) and the logarithm of its size.

    Source: Giles, section 2.2.4.
    """
    return SlogdetResult(*bind(slogdet_op, (a,)))


# ---------------------------------------------------------------------------------------------------------------------
# Equal eigenvalues and singular values. Eigenvectors of equal eigenvalues are any basis of the space that belongs to them,
# and have no derivative. That of the eigenvalues themselves is one of their sum: a function that treats them alike has
# its derivative at equal ones, any other has a kink there. Functions of the vectors that do not depend on the choice are
# found and differentiated by transforms/spectral.py; all else raises (and on XLA, which cannot, is NaN).

_EQUAL = 10  # values are equal if they differ by less than this times n epsilon times the largest


def tolerance(values: Any) -> Any:
    """How far eigenvalues or singular values (..., n) may be apart and still be equal to rounding, (..., 1)."""
    scale = _EQUAL * values.shape[-1] * float(np.finfo(type_of(values).dtype).eps)
    return scale * np.max(np.abs(values), -1, keepdims=True, initial=0)


def _equal_pairs(values: Any) -> Any:
    """Which of them equal which others, (..., n, n)."""
    equal = np.abs(values[..., :, None] - values[..., None, :]) <= tolerance(values)[..., None]
    return equal & ~np.eye(values.shape[-1], dtype=bool)


_NAMES = {"eigh": "eigenvalues", "eig": "eigenvalues", "svd": "singular values"}


def equal_error(values: Any, wrong: Any, kind: str, place: Place | None) -> LinAlgError:
    """The error for a derivative that the pairs marked as `wrong` do not have."""
    values, wrong = np.broadcast_arrays(values[..., None, :], wrong)
    *batch, i, j = [int(k) for k in np.argwhere(wrong)[0]]
    of = f" of matrix {tuple(batch)}" if batch else ""
    here = values[(*batch, 0)]
    numbers = [k for k in range(here.shape[-1]) if k in (i, j) or wrong[(*batch, i, k)] or wrong[(*batch, k, i)]]
    listed = ", ".join([f"{here[k]:.6g}" for k in numbers])
    what = (
        f"the {_NAMES[kind]} {', '.join(map(str, numbers))}{of} are equal ({listed}), and their vectors are not determined"
        if len(numbers) > 1
        else f"the singular value {i}{of} is zero ({listed}), and its vectors are not determined"
    )
    product = "(u * g(s)) @ vh" if kind == "svd" else "(v * g(w)) @ v.conj().T"
    return LinAlgError(
        f"{kind}{_there(place)} has no derivative here: {what}. A function that does not depend on their choice has one "
        f"where it is written so that this shows: as tnp.linalg.funm(a, g), or {product} with g a function of each value "
        "by itself"
    )


def touching(values: Any, low: int, high: int | None, zero: bool) -> Any:
    """The pairs of equal values of which one at least is among those from `low` to `high`. `zero`: a value that is zero
    counts as equal to itself."""
    n = values.shape[-1]
    numbers = np.arange(n)
    chosen = (numbers >= low) & (numbers < (n if high is None else high))
    found = _equal_pairs(values) & (chosen[:, None] | chosen[None, :])
    if zero:
        vanish = (np.abs(values) <= tolerance(values)) & chosen
        found = found | (vanish[..., None] & np.eye(n, dtype=bool))
    return found


def _apart(values: Any, low: int, high: int | None, zero: bool, kind: str, place: Place | None) -> Any:
    wrong = touching(values, low, high, zero)
    if wrong.any():
        raise equal_error(values, wrong, kind, place)
    return values


def _apart_samples() -> Iterable[Sample]:
    how = {"low": 0, "high": None, "zero": True, "kind": "eigh", "place": None}
    yield Sample((np.array([0.5, 1.0, 3.0]),), how)
    yield Sample((np.array([[0.5, 1.0, 1.0], [2.0, 0.5, 3.0]]),), {**how, "high": 1})
    yield Sample((np.zeros((2, 0)),), how)


def _require(
    name: str,
    evaluate: Callable[..., Any],
    samples: Callable[[], Iterable[Sample]],
    infer: TypeRule = lambda types, params: types[0],
) -> Op:
    """Declare an op that leaves its input as it is, or raises where a derivative that goes through it does not exist. On
    XLA, which cannot raise, it has NaN there."""
    return Op(
        name,
        evaluate=evaluate,
        infer=infer,
        jvp=lambda primals, tangents, out, params: tangents[0],
        vjp=lambda wanted, ct, out, primals, params: [ct],
        batch=_leading_batch(name),
        samples=samples,
    )


# The values as they are, if those from `low` to `high` each differ from all others.
apart_op = _require("apart", _apart, _apart_samples)


def unlike(values: Any, x: Any, zero: bool) -> Any:
    """The pairs of equal values that do not have the same x, up to rounding."""
    epsilon = float(np.finfo(type_of(x).dtype).eps)
    size = np.max(np.where(np.isfinite(x), np.abs(x), 0), -1, keepdims=True, initial=0)[..., None]
    least = 10 * tolerance(values)[..., None] + 100 * values.shape[-1] * epsilon
    far = np.maximum(math.sqrt(epsilon) * size, least)
    found = _equal_pairs(values) & (np.abs(x[..., :, None] - x[..., None, :]) > far)
    if zero:
        vanish = (np.abs(values) <= tolerance(values)) & (np.abs(x) > far[..., 0])
        found = found | (vanish[..., None] & np.eye(values.shape[-1], dtype=bool))
    return found


def averaged(values: Any, x: Any, zero: bool) -> Any:
    equal = _equal_pairs(values) | np.eye(values.shape[-1], dtype=bool)
    found = np.sum(np.where(equal, x[..., None, :], 0), -1) / np.sum(equal, -1)
    return np.where(np.abs(values) <= tolerance(values), 0, found) if zero else found


def _among_equals(values: Any, x: Any, check: bool, zero: bool, kind: str, place: Place | None) -> Any:
    with np.errstate(invalid="ignore"):
        wrong = unlike(values, x, zero) if check else np.False_
    if wrong.any():
        raise equal_error(values, wrong, kind, place)
    if _equal_pairs(values).any() or (zero and (values <= tolerance(values)).any()):
        return averaged(values, x, zero).astype(x.dtype, copy=False)
    return x if x.ndim >= values.ndim else np.broadcast_to(x, np.broadcast_shapes(x.shape, values.shape))


def _among_equals_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(broadcast_shapes("among_equals", types), types[1].dtype)


def _among_equals_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return None if tangents[1] is None else bind(among_equals_op, (primals[0], tangents[1]), {**params, "check": False})


def _among_equals_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    found = bind(among_equals_op, (primals[0], ct), {**params, "check": True})
    return [conform(found, primals[1]) if i else None for i in wanted]


def _among_equals_samples() -> Iterable[Sample]:
    how = {"check": False, "zero": False, "kind": "eigh", "place": None}
    yield Sample((np.array([0.5, 1.0, 3.0]), _matrices(0, 3)), how)
    yield Sample((np.array([[0.5, 1.0, 3.0], [1.0, 2.0, 3.0]]), _matrices(0, 2, 3)), how)


# x for eigenvalues: what it is on the mean for those that are equal. With `check` it must be alike for them: a cotangent
# that is not belongs to a function of their order, which has a kink here. `zero` are singular values: there is one more of
# opposite sign for each, to which belongs -x.
among_equals_op = Op(
    "among_equals",
    evaluate=_among_equals,
    infer=_among_equals_type,
    jvp=_among_equals_jvp,
    vjp=_among_equals_vjp,
    linear=[{1}],
    batch=elementwise_batch(lambda: among_equals_op),  # leading axes broadcast
    samples=_among_equals_samples,
)


def _gap_quotients(
    values: Any, kind: str, place: Place | None, low: int = 0, high: int | None = None, zero: bool = False
) -> Any:
    """1 / (w_j - w_i) for j from `low` to `high`, else 0, (..., n, n): which way the vectors j turn. Of singular values,
    1 / (s_j**2 - s_i**2), which needs no values apart from zero; `zero` says that something else does."""
    n = values.shape[-1]
    how = {"low": low, "high": high, "zero": zero, "kind": kind, "place": place}
    values = bind(apart_op, (values,), how)
    numbers = np.arange(n)
    chosen = (numbers[:, None] != numbers) & (numbers >= low) & (numbers < (n if high is None else high))
    gaps = row(values) - column(values)
    if kind == "svd":
        gaps = gaps * (row(values) + column(values))
    return np.where(chosen, 1 / np.where(chosen, gaps, 1), 0)


def _sides(decomposition: Sequence[Any]) -> tuple[Any, Any]:
    """U and V^H, of as many columns and rows as there are values."""
    k = decomposition[0].shape[-1]
    if len(decomposition) == 2:
        return decomposition[1], adjoint(decomposition[1])
    _, u, vh = decomposition
    return _first(u, k), vh if vh.shape[-2] == k else vh[..., :k, :]


def recomposition(a: Any, *rest: Any, kind: str, place: Place | None) -> Any:
    left, right = _sides(rest[:-1])
    return np.matmul(left * row(rest[-1]), right)


def _recomposed_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, *decomposition, x = types
    batch = np.broadcast_shapes(a.shape[:-2], x.shape[:-1], decomposition[0].shape[:-1])
    return ArrayType((*batch, *a.shape[-2:]), np.result_type(x.dtype, decomposition[1].dtype))


def _turned(decomposition: Sequence[Any], x: Any, t: Any, place: Place | None) -> Any:
    """What U diag(x) V^H moves by where the vectors turn along t. It is its own transpose, up to conjugation."""
    if len(decomposition) == 2:
        w, v = decomposition
        rotated = np.matmul(np.matmul(adjoint(v), t), v)
        gaps = _gap_quotients(w, "eigh", place) * (row(x) - column(x))
        return np.matmul(np.matmul(v, gaps * rotated), adjoint(v))
    s, u, vh = decomposition
    k = s.shape[-1]
    left, right = _sides(decomposition)
    du = _first(_singular_vector_tangent(s, u, vh, t, "u", place, 0, k), k)
    dv = _first(_singular_vector_tangent(s, u, vh, t, "v", place, 0, k), k)
    return np.matmul(du * row(x), right) + np.matmul(left * row(x), adjoint(dv))


def _recomposed_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    a, *decomposition, x = primals
    terms = []
    if tangents[0] is not None:
        t = hermitian_part(tangents[0]) if len(decomposition) == 2 else tangents[0]
        terms.append(_turned(decomposition, x, t, params["place"]))
    if tangents[-1] is not None:
        terms.append(recomposed(a, decomposition, tangents[-1], params["place"]))
    return add_tangents([cast(t, out.dtype) for t in terms])


def _recomposed_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    _, *decomposition, x = primals
    is_hermitian = len(decomposition) == 2
    # Of a Hermitian matrix the derivative is linear, and here transposed; of others it is a gradient's, and conjugated.
    back = transposed if is_hermitian else conjugate_of_complex
    found: list[Any] = []
    for i in wanted:
        d = None
        if i == 0:
            d = back(_turned(decomposition, x, back(ct), params["place"]))
            d = hermitian_part(d) if is_hermitian else d
        elif i == len(primals) - 1:
            left, right = _sides(decomposition)
            d = bind(expected_op, (left, back(ct), left if is_hermitian else adjoint(right)))
        found.append(conform(d, primals[i]))
    return found


def _recomposed_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    """Leading axes broadcast, lined up behind the batch."""
    own = [2, 1, *[2] * (len(inputs) - 3), 1]
    extra = max([len(x.shape) - b - n for x, b, n in zip(inputs, batched, own, strict=True)])
    lined_up = [
        np.reshape(x, (x.shape[0], *(1,) * (extra + n + 1 - len(x.shape)), *x.shape[1:])) if b else x
        for x, b, n in zip(inputs, batched, own, strict=True)
    ]
    return bind(recomposed_op, tuple(lined_up), params)


# U diag(x) V^H of a matrix, its decomposition, of which the derivative is the matrix's alone, and x, as the rules of
# eigenvalues write it. The derivative is that for any x; where it shows that x is a function of each eigenvalue by itself,
# transforms/recognise.py has a better one.
recomposed_op = Op(
    "recomposed",
    evaluate=recomposition,
    infer=_recomposed_type,
    jvp=_recomposed_jvp,
    vjp=_recomposed_vjp,
    batch=_recomposed_batch,
    held=Held(expand=lambda trace, inputs, params: _recognising(trace, (params["kind"], inputs))),
    data=lambda params: (1, 2) if params["kind"] == "eigh" else (1, 2, 3),
    linear_if=lambda positions, params: tuple(positions) == (3 if params["kind"] == "eigh" else 4,),
    kinds="",
)


def recomposed(a: Any, decomposition: Sequence[Any], x: Any, place: Place | None) -> Any:
    kind = "eigh" if len(decomposition) == 2 else "svd"
    return bind(recomposed_op, (a, *decomposition, x), {"kind": kind, "place": place})


def expectations(left: Any, a: Any, right: Any) -> Any:
    return np.real(np.sum(conjugate_of_complex(left) * np.matmul(a, right), -2))


def _expected_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    batch = np.broadcast_shapes(*[t.shape[:-2] for t in types])
    return ArrayType((*batch, types[2].shape[-1]), real_dtype(np.result_type(*[t.dtype for t in types])))


def _expected_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    terms = [
        cast(bind(expected_op, (*primals[:i], t, *primals[i + 1 :])), out.dtype)
        for i, t in enumerate(tangents)
        if t is not None
    ]
    return add_tangents(terms)


def _expected_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    left, a, right = primals
    found: list[Any] = []
    for i in wanted:
        if i == 0:
            d = conjugate_of_complex(np.matmul(a, right)) * row(ct)
        elif i == 1:
            d = conjugate_of_complex(np.matmul(left * row(ct), adjoint(right)))
        else:
            d = np.matmul(transposed(a), conjugate_of_complex(left)) * row(ct)
        found.append(conform(d, primals[i]))
    return found


def _expected_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    extra = max([len(x.shape) - b for x, b in zip(inputs, batched, strict=True)])
    lined_up = [
        np.reshape(x, (x.shape[0], *(1,) * (extra + 1 - len(x.shape)), *x.shape[1:])) if b else x
        for x, b in zip(inputs, batched, strict=True)
    ]
    return bind(expected_op, tuple(lined_up), params)


def _expected_samples() -> Iterable[Sample]:
    for shapes in [((3, 2), (3, 4), (4, 2)), ((2, 2), (3, 2, 2), (2, 2))]:
        yield Sample(tuple([_matrices(i, *shape) for i, shape in enumerate(shapes)]))


# The real part of u^H A v for each column of U and V: what eigenvalues and singular values move by.
expected_op = Op(
    "expected",
    evaluate=expectations,
    infer=_expected_type,
    jvp=_expected_jvp,
    vjp=_expected_vjp,
    linear=[{0}, {1}, {2}],
    batch=_expected_batch,
    samples=_expected_samples,
)


# ---------------------------------------------------------------------------------------------------------------------
# Hermitian matrices. LAPACK reads one triangle only. A matrix that is Hermitian is taken as a whole, so that its
# cotangent is Hermitian too (as in jax); of one that is not, NumPy's documented meaning holds: the other triangle does
# not count, neither for the value nor for the derivative.


def _triangle_completed(t: Any, lower: bool) -> Any:
    """The Hermitian matrices that have this triangle."""
    strict = np.tril(t, -1) if lower else np.triu(t, 1)
    return strict + adjoint(strict) + np.where(np.eye(t.shape[-1], dtype=bool), t.real, 0)


def _triangle_completed_transpose(ct: Any, lower: bool) -> Any:
    both = ct + adjoint(ct)
    strict = np.tril(both, -1) if lower else np.triu(both, 1)
    return strict + np.where(np.eye(ct.shape[-1], dtype=bool), ct.real, 0)


def is_hermitian(a: Any) -> Any:
    differ = np.abs(a - adjoint(a)).max((-2, -1), keepdims=True, initial=0)
    scale = np.abs(a).max((-2, -1), keepdims=True, initial=0)
    return differ <= 100 * float(float_limits(a.dtype).eps) * scale if is_inexact(a.dtype) else differ == 0


def completed_unless(whole: Any, t: Any, lower: bool, transpose: bool) -> Any:
    return np.where(whole, t, (_triangle_completed_transpose if transpose else _triangle_completed)(t, lower))


def _from_triangle(a: Any, t: Any, lower: bool, transpose: bool) -> Any:
    whole, dtype = is_hermitian(a), np.result_type(a, t)
    if whole.all():
        return np.broadcast_to(t, np.broadcast_shapes(a.shape, t.shape)).astype(dtype)
    return completed_unless(whole, t, lower, transpose).astype(dtype, copy=False)


def _from_triangle_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    for t in types:
        _require_square("a function of Hermitian matrices", t)
    return ArrayType(broadcast_shapes("from_triangle", types), np.result_type(*[t.dtype for t in types]))


def _from_triangle_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return None if tangents[1] is None else cast(bind(from_triangle_op, (primals[0], tangents[1]), params), out.dtype)


def _from_triangle_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    flipped = {**params, "transpose": not params["transpose"]}
    return [conform(bind(from_triangle_op, (primals[0], ct), flipped), primals[1]) if i else None for i in wanted]


def _from_triangle_samples() -> Iterable[Sample]:
    a = np.array([[2.0, 9.0], [0.5, 3.0]])
    for lower in (True, False):
        for transpose in (False, True):
            yield Sample((a, _matrices(0, 2, 2)), {"lower": lower, "transpose": transpose})
    yield Sample((np.stack([a, a.T]), _matrices(0, 2, 2, 2)), {"lower": True, "transpose": False})


# from_triangle(a, t) is t where a is Hermitian, else t completed from one triangle; from_triangle(a, a) is what LAPACK
# sees. The decision is a's alone, so that the op is linear in t.
from_triangle_op = Op(
    "from_triangle",
    evaluate=_from_triangle,
    infer=_from_triangle_type,
    jvp=_from_triangle_jvp,
    vjp=_from_triangle_vjp,
    linear=[{1}],
    batch=elementwise_batch(lambda: from_triangle_op),  # leading axes broadcast
    samples=_from_triangle_samples,
)


def from_triangle(a: Any, lower: bool) -> Any:
    """Matrices as LAPACK reads them: as they are, if Hermitian, else completed from the lower or upper triangle."""
    a = floating(a)
    return bind(from_triangle_op, (a, a), {"lower": lower, "transpose": False})


def _cholesky_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    _require_square("cholesky", t)
    return ArrayType(t.shape, linalg_dtype("cholesky", t))


def _cholesky_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    n = out.shape[-1]
    inverse = np.linalg.inv(out)
    middle = np.matmul(np.matmul(inverse, hermitian_part(tangents[0])), adjoint(inverse))
    halved = (np.tri(n) - 0.5 * np.eye(n)).astype(real_dtype(out.dtype))
    return np.matmul(out, middle * halved)


cholesky_op = Op(
    "cholesky",
    evaluate=lambda a: np.linalg.cholesky(hermitian_part(floating(a))),
    infer=_cholesky_type,
    jvp=_cholesky_jvp,
    batch=_leading_batch("cholesky"),
    samples=_symmetric_samples,
)


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The lower triangular L with `L @ L^H == a` of Hermitian positive definite matrices, or with `upper` its L^H.

    Source: Murray, section 3.1 (the forward rule).
    """
    a = from_triangle(a, not upper)
    found = bind(cholesky_op, (a,))
    return adjoint(found) if upper else found


def _eigh_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    _require_square("eigh", t)
    dtype = linalg_dtype("eigh", t)
    return ArrayType(t.shape[:-1], real_dtype(dtype)), ArrayType(t.shape, dtype)


def _eigenvector_tangent(w: Any, v: Any, t: Any, place: Place | None, low: int = 0, high: int | None = None) -> Any:
    """The tangent of the vectors `low` to `high`, zero for the others."""
    rotated = np.matmul(np.matmul(adjoint(v), hermitian_part(t)), v)
    return np.matmul(v, _gap_quotients(w, "eigh", place, low, high) * rotated)


def _eigh_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    w, v = out
    place = Place(user_source())
    return _eigenvalue_tangent(w, v, tangents[0], "eigh", place), _eigenvector_tangent(w, v, tangents[0], place)


def _eigenvalue_tangent(w: Any, v: Any, t: Any, kind: str, place: Place | None) -> Any:
    if kind == "eigh":
        found = bind(expected_op, (v, hermitian_part(t), v))
    else:
        found = np.sum(transposed(_solved("eigvals", _independent(v, place))) * np.matmul(t, v), -2)
    return bind(among_equals_op, (w, found), {"check": False, "zero": False, "kind": kind, "place": place})


def _eigenvalue_cotangent(a: Any, w: Any, v: Any, ct: Any, kind: str, place: Place | None) -> Any:
    """For Hermitian matrices V diag(ct) V^H, transposed: written as the spectral function that it is."""
    ct = bind(among_equals_op, (w, ct), {"check": True, "zero": False, "kind": kind, "place": place})
    if kind == "eigh":
        return hermitian_part(transposed(recomposed(a, (w, v), ct, place)))
    return transposed(np.matmul(v * row(ct), _solved("eigvals", _independent(v, place))))


def is_independent(v: Any) -> Any:
    """Whether eigenvectors are, to half of all digits: (..., 1, 1). Those of a defective matrix are not."""
    s = np.linalg.svd(v, compute_uv=False)
    return (s[..., -1:, None] > math.sqrt(np.finfo(v.dtype).eps) * s[..., :1, None]) if v.shape[-1] else np.True_


def _independent_vectors(v: Any, place: Place | None) -> Any:
    if not np.all(is_independent(v)):
        raise LinAlgError(
            f"eig{_there(place)} has no derivative here: the eigenvectors of a defective matrix (or one that is nearly so) "
            "are not independent, and its eigenvalues have no derivative; np.linalg.trace, det and slogdet do without them"
        )
    return v


def _independent(v: Any, place: Place | None) -> Any:
    return bind(independent_op, (v,), {"place": place})


def _independent_samples() -> Iterable[Sample]:
    yield Sample((_dominant(0, 3, 3),), {"place": None})
    yield Sample((_dominant(0, 2, 2, 2),), {"place": None})


# Matrices of eigenvectors as they are, if these are independent.
independent_op = _require(
    "independent",
    _independent_vectors,
    _independent_samples,
    infer=lambda types, params: ArrayType(types[0].shape, linalg_dtype("eig", *types)),
)


def _given_values_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    _, w, v = primals
    return None if tangents[0] is None else _eigenvalue_tangent(w, v, tangents[0], **params)


def _given_values_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, _, v = primals
    return [conform(_eigenvalue_cotangent(a, out, v, ct, **params), a) if i == 0 else None for i in wanted]


def _given_batch(name: str) -> BatchRule:
    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        whole = [x if b else np.broadcast_to(x, (size, *x.shape)) for x, b in zip(inputs, batched, strict=True)]
        return bind(OPS[name], tuple(whole), params)

    return batch


# The eigenvalues of a matrix, given with its decomposition, of which the derivative is the matrix's alone. So it does not
# need that of the vectors.
eigenvalues_op = Op(
    "eigenvalues",
    evaluate=lambda a, w, v, kind, place: w,
    data=lambda params: (1, 2),
    infer=lambda types, params: types[1],
    jvp=_given_values_jvp,
    vjp=_given_values_vjp,
    batch=_given_batch("eigenvalues"),
    kinds="",
)


def _complex_number(samples: Callable[[], Iterable[Sample]], **params: Any) -> Callable[[], Iterable[Sample]]:
    """Complex samples of one element, for decompositions of which the phases are arbitrary: LAPACK's and the
    derivative's differ, so that larger ones cannot be held against differences of values. Tests of functions that do
    not depend on the phase are in tests/ops/test_linalg.py."""

    def both() -> Iterable[Sample]:
        yield from samples()
        yield Sample((np.array([[2.0 + 0j]]),), params)

    return both


eigh_op = Op(
    "eigh",
    evaluate=lambda a: tuple(np.linalg.eigh(hermitian_part(floating(a)))),
    infer=_eigh_type,
    jvp=_eigh_jvp,
    batch=_leading_batch("eigh"),
    held=RECOGNISED,
    several=True,
    samples=_complex_number(_symmetric_samples),
)


def _eigvalsh_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    _require_square("eigvalsh", t)
    return ArrayType(t.shape[:-1], real_dtype(linalg_dtype("eigvalsh", t)))


def _eigvalsh_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    w, v = bind(eigh_op, (primals[0],))
    return _eigenvalue_tangent(w, v, tangents[0], "eigh", Place(user_source()))


def _eigvalsh_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    _, v = bind(eigh_op, (a,))
    return (conform(_eigenvalue_cotangent(a, out, v, ct, "eigh", Place(user_source())), a),)


eigvalsh_op = Op(
    "eigvalsh",
    evaluate=lambda a: np.linalg.eigvalsh(hermitian_part(floating(a))),
    infer=_eigvalsh_type,
    jvp=_eigvalsh_jvp,
    vjp=_eigvalsh_vjp,
    batch=_leading_batch("eigvalsh"),
    held=RECOGNISED,
    samples=_symmetric_samples,
)


def _is_lower(uplo: str, name: str) -> bool:
    if str(uplo).upper() not in ("L", "U"):
        raise ValueError(f"{name}: UPLO must be 'L' or 'U', got {uplo!r}")
    return str(uplo).upper() == "L"


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """`(eigenvalues, eigenvectors)` of Hermitian matrices, in ascending order, the vectors as columns.

    Vectors of equal eigenvalues (to 10 n epsilon times the largest) have no derivative: one that depends on them raises
    LinAlgError, with their indices; on XLA it is NaN. Products such as `(v * g(w)) @ v.conj().T`, for any g that works
    element by element, have theirs all the same, to every order, and so have functions that treat all eigenvalues alike.

    >>> import numpy as np, tracegrad as tg
    >>> def cube(a):
    ...     w, v = np.linalg.eigh(a)
    ...     return (v * w**3) @ v.T
    >>> tg.grad(lambda a: cube(a)[0, 1])(np.eye(2)).tolist()
    [[0.0, 1.5], [1.5, 0.0]]

    Source: Giles, section 3.1; for complex matrices the phases stay as they are, as in jax.
    """
    return EighResult(*bind(eigh_op, (from_triangle(a, _is_lower(UPLO, "eigh")),)))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of Hermitian matrices in ascending order. Of equal ones, the derivative is that of their mean, in
    forward mode; in reverse mode a function that does not treat them alike has a kink, and raises LinAlgError.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda a: np.linalg.eigvalsh(a)[-1])(np.diag([1.0, 2.0])).tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    return bind(eigvalsh_op, (from_triangle(a, _is_lower(UPLO, "eigvalsh")),))


# ---------------------------------------------------------------------------------------------------------------------
# General square matrices.


def _to_complex(x: Any) -> Any:
    return x.astype(np.result_type(x.dtype, np.complex64), copy=False)


def _eig_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    _require_square("eig", t)
    dtype = np.result_type(linalg_dtype("eig", t), np.complex64)
    return ArrayType(t.shape[:-1], dtype), ArrayType(t.shape, dtype)


def _eig_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    w, v = out
    place = Place(user_source())
    rotated = _solved("eig", _independent(v, place), np.matmul(tangents[0], v))
    dw = bind(among_equals_op, (w, diagonals(rotated)), {"check": False, "zero": False, "kind": "eig", "place": place})
    u = np.matmul(v, rotated * _gap_quotients(w, "eig", place))
    # LAPACK makes each vector of unit length, its largest component real: u moves along v to keep it so.
    n = v.shape[-1]
    if n == 0:
        return dw, u
    largest = np.equal(np.arange(n)[:, None], row(np.argmax(np.abs(v), -2)))
    at_largest = np.sum(np.where(largest, u, 0), -2), np.sum(np.where(largest, v, 0), -2)
    length = np.real(np.sum(np.conjugate(v) * u, -2))
    phase = np.imag(at_largest[0]) / np.real(at_largest[1])
    return dw, u - v * row(length + 1j * phase)


def _eig_samples() -> Iterable[Sample]:
    yield Sample((_dominant(0, 3, 3),))
    yield Sample((np.array([[1.0, -2.0, 0.3], [1.5, 1.0, 0.1], [0.2, 0.4, 4.0]]),))
    yield Sample((_dominant(1, 2, 2, 2),))
    yield Sample((np.zeros((0, 0)),))


eig_op = Op(
    "eig",
    evaluate=lambda a: tuple([_to_complex(x) for x in np.linalg.eig(a)]),
    infer=_eig_type,
    jvp=_eig_jvp,
    batch=_leading_batch("eig"),
    held=RECOGNISED,
    several=True,
    samples=_eig_samples,
)


def _eigvals_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return _eig_type(types, params)[0]


def _eigvals_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    w, v = bind(eig_op, (primals[0],))
    return _eigenvalue_tangent(w, v, tangents[0], "eig", Place(user_source()))


def _eigvals_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    w, v = bind(eig_op, (a,))
    return (conform(_eigenvalue_cotangent(a, w, v, ct, "eig", Place(user_source())), a),)


eigvals_op = Op(
    "eigvals",
    evaluate=lambda a: _to_complex(np.linalg.eigvals(a)),
    infer=_eigvals_type,
    jvp=_eigvals_jvp,
    vjp=_eigvals_vjp,
    batch=_leading_batch("eigvals"),
    samples=_eig_samples,
)


@implements(np.linalg.eig)
def eig(a: Any) -> Any:
    """`(eigenvalues, eigenvectors)` of square matrices, always complex (NumPy's are real where they happen to be). The
    vectors' derivative needs distinct eigenvalues, and keeps LAPACK's choice: unit length, the largest component real.

    Source: Giles, section 3.1; Magnus, "On Differentiating Eigenvalues and Eigenvectors", 1985.
    """
    return EigResult(*bind(eig_op, (as_array(a),)))


@implements(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    """The eigenvalues of square matrices, always complex (NumPy's are real where they happen to be)."""
    return bind(eigvals_op, (a,))


# ---------------------------------------------------------------------------------------------------------------------
# QR.


def _qr_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    _require_matrices("qr", t)
    m, n = t.shape[-2:]
    k = m if params["complete"] else min(m, n)
    dtype = linalg_dtype("qr", t)
    return ArrayType((*t.shape[:-1], k), dtype), ArrayType((*t.shape[:-2], k, n), dtype)


def _qr(a: Any, complete: bool) -> tuple[Any, ...]:
    return tuple(np.linalg.qr(a, "complete" if complete else "reduced"))


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
    ends = np.where(np.eye(k, dtype=bool), column(_nonzero(diagonals(r1), 0, k, "qr", Place(user_source()))), r1)
    t1 = t if n == k else t[..., :k]
    moved = transposed(_solved("qr", transposed(ends), transposed(t1)))  # t1 r1^-1
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
        yield Sample((_dominant(0, 3, 3),), {"complete": complete})
        yield Sample((_dominant(0, 2, 2)[:, [0, 1, 0]] + _matrices(3, 2, 2, 3) / 4,), {"complete": complete})
    yield Sample((_dominant(0, 4, 4)[:, :2],), {"complete": False})
    yield Sample((np.zeros((3, 0)),), {"complete": False})


qr_op = Op(
    "qr",
    evaluate=_qr,
    infer=_qr_type,
    jvp=_qr_jvp,
    batch=_leading_batch("qr"),
    several=True,
    samples=_qr_samples,
)


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """`(Q, R)` with Q's columns orthonormal and R upper triangular; only R for mode "r". The first min(m, n) columns of
    `a` must be independent for a derivative. Of the columns that mode "complete" adds to a tall matrix's Q, only what
    does not depend on how they were chosen, such as the space that they span, has a derivative.

    Source: Walter, section 3.3; for wide matrices from the derivative of the leading columns.
    """
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode {mode!r} is not traced; modes 'reduced', 'complete' and 'r' are")
    q, r = bind(qr_op, (a,), {"complete": mode == "complete"})
    return r if mode == "r" else QRResult(q, r)


# ---------------------------------------------------------------------------------------------------------------------
# Singular values.


def _svd_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    _require_matrices("svd", t)
    dtype = linalg_dtype("svd", t)
    batch, (m, n) = t.shape[:-2], t.shape[-2:]
    k = min(m, n)
    columns, rows = (m, n) if params["full_matrices"] else (k, k)
    return (
        ArrayType((*batch, m, columns), dtype),
        ArrayType((*batch, k), real_dtype(dtype)),
        ArrayType((*batch, rows, n), dtype),
    )


def _svd(a: Any, full_matrices: bool) -> tuple[Any, ...]:
    return tuple(np.linalg.svd(a, full_matrices))


def _svd_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    u, s, vh = out
    place = Place(user_source())
    ds = _singular_value_tangent(s, u, vh, tangents[0], place)
    du = _singular_vector_tangent(s, u, vh, tangents[0], "u", place)
    dv = _singular_vector_tangent(s, u, vh, tangents[0], "v", place)
    return du, ds, adjoint(dv)


def _first(x: Any, k: int) -> Any:
    return x if x.shape[-1] == k else x[..., :k]


def _singular_vector_tangent(
    s: Any, u: Any, vh: Any, t: Any, side: str, place: Place | None, low: int = 0, high: int | None = None
) -> Any:
    """The tangent of the columns `low` to `high` of U or of V, zero for the others. U and V turn in phase against each
    other: all of it is given to U."""
    v = adjoint(vh)
    if side == "v":
        u, v, t = v, u, adjoint(t)
    k = s.shape[-1]
    high = u.shape[-1] if high is None else high
    u1, v1 = _first(u, k), _first(v, k)
    seen = np.matmul(np.matmul(adjoint(u1), t), v1)
    by_column = seen * row(s)
    is_outside, turns_phase = u.shape[-2] > k, side == "u" and number_kind(seen.dtype) == "c"
    divides = (is_outside or turns_phase) and k > 0
    # The columns that were added are orthogonal to all others, and so depend on what of these lies outside.
    firsts = (low, min(high, k)) if high <= k else (low, k)
    turn = _gap_quotients(s, "svd", place, *firsts, zero=divides) * (by_column + adjoint(by_column))
    found = None
    if divides:
        start, stop = 0 if high > k else low, min(high, k)
        chosen = (np.arange(k) >= start) & (np.arange(k) < stop)
        inverse = np.where(chosen, 1 / np.where(chosen, _nonzero(s, start, stop, "svd", place), 1), 0)
        if turns_phase:
            turn = turn + np.where(np.eye(k, dtype=bool), row(inverse) * (1j * np.imag(seen)), 0)
        if is_outside:
            found = _outside(u1, np.matmul(t, v1)) * row(inverse)
    du = np.matmul(u1, turn)
    if found is not None:
        du = du + found
    if u.shape[-1] > k:
        beyond = -np.matmul(u1, np.matmul(adjoint(found), u[..., k:])) if found is not None else 0 * u[..., k:]
        du = np.concatenate([du, beyond], -1)
    return du


def _nonzero(x: Any, low: int, high: int, kind: str, place: Place | None) -> Any:
    """Singular values, or what is on the diagonal of R, if those chosen are not zero."""
    return bind(nonzero_op, (x,), {"low": low, "high": high, "kind": kind, "place": place})


def vanishing(x: Any, low: int, high: int) -> Any:
    numbers = np.arange(x.shape[-1])
    return (np.abs(x) <= tolerance(x)) & (numbers >= low) & (numbers < high)


def _nonzero_values(x: Any, low: int, high: int, kind: str, place: Place | None) -> Any:
    wrong = vanishing(x, low, high)
    if wrong.any() and kind == "svd":
        raise equal_error(x, wrong[..., None] & np.eye(x.shape[-1], dtype=bool), kind, place)
    if wrong.any():
        *batch, i = [int(k) for k in np.argwhere(wrong)[0]]
        raise LinAlgError(
            f"qr{_there(place)} has no derivative here: column {i}{f' of matrix {tuple(batch)}' if batch else ''} depends on "
            f"those before it (R has {x[(*batch, i)]:.6g} on its diagonal), and that of Q is not determined"
        )
    return x


def _nonzero_samples() -> Iterable[Sample]:
    yield Sample((np.array([3.0, 1.0, 0.0]),), {"low": 0, "high": 2, "kind": "svd", "place": None})


nonzero_op = _require(
    "nonzero_values",
    _nonzero_values,
    _nonzero_samples,
)


def _outside(basis: Any, x: Any) -> Any:
    """What of the columns of x is not in the space of an orthonormal basis."""
    return x - np.matmul(basis, np.matmul(adjoint(basis), x))


def _singular_value_tangent(s: Any, u: Any, vh: Any, t: Any, place: Place | None) -> Any:
    k = s.shape[-1]
    found = bind(expected_op, (_first(u, k), t, _first(adjoint(vh), k)))
    return bind(among_equals_op, (s, found), {"check": False, "zero": True, "kind": "svd", "place": place})


def _singular_value_cotangent(a: Any, s: Any, u: Any, vh: Any, ct: Any, place: Place | None) -> Any:
    """U diag(ct) V^H, conjugated: written as the spectral function that it is."""
    ct = bind(among_equals_op, (s, ct), {"check": True, "zero": True, "kind": "svd", "place": place})
    return conjugate_of_complex(recomposed(a, (s, u, vh), ct, place))


def _given_singular_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    _, s, u, vh = primals
    return None if tangents[0] is None else _singular_value_tangent(s, u, vh, tangents[0], params["place"])


def _given_singular_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, _, u, vh = primals
    found = _singular_value_cotangent(a, out, u, vh, ct, params["place"])
    return [conform(found, a) if i == 0 else None for i in wanted]


# The singular values of a matrix, given with its decomposition; see `eigenvalues`.
singular_values_op = Op(
    "singular_values",
    evaluate=lambda a, s, u, vh, place: s,
    data=lambda params: (1, 2, 3),
    infer=lambda types, params: types[1],
    jvp=_given_singular_jvp,
    vjp=_given_singular_vjp,
    batch=_given_batch("singular_values"),
    kinds="",
)


def _columns_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    if tangents[0] is None:
        return None
    low, high, place = params["low"], params["high"], params["place"]
    if params["kind"] == "eigh":
        _, w, v, _ = primals
        t = _eigenvector_tangent(w, v, tangents[0], place, low, high)
    else:
        _, s, u, vh, _ = primals
        t = _singular_vector_tangent(s, u, vh, tangents[0], params["side"], place, low, high)
    t = t[..., low:high]
    if params["conjugated"]:
        t = conjugate_of_complex(t)
    if params["turned"]:
        t = transposed(t)
    return np.reshape(t, out.shape) if params["squeezed"] else t


# Some of the eigenvectors, as they were cut out, given with the decomposition and last. Their derivative needs that their
# values differ from all others, but not that the others differ.
columns_op = Op(
    "columns",
    evaluate=lambda *inputs, **params: inputs[-1],
    data=lambda params: range(1, 4 if params["kind"] == "eigh" else 5),
    infer=lambda types, params: types[-1],
    jvp=_columns_jvp,
    batch=_given_batch("columns"),
    kinds="",
)


def _svd_samples() -> Iterable[Sample]:
    for full_matrices in (False, True):
        yield Sample((_dominant(0, 3, 3),), {"full_matrices": full_matrices})
    yield Sample((_dominant(0, 2, 4, 4)[..., :2],), {"full_matrices": False})
    yield Sample((_dominant(0, 3, 3)[:2],), {"full_matrices": False})
    yield Sample((np.zeros((0, 2)),), {"full_matrices": False})


svd_op = Op(
    "svd",
    evaluate=_svd,
    infer=_svd_type,
    jvp=_svd_jvp,
    batch=_leading_batch("svd"),
    held=RECOGNISED,
    several=True,
    samples=_complex_number(_svd_samples, full_matrices=False),
)


def _svdvals_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    _require_matrices("svd", t)
    return ArrayType((*t.shape[:-2], min(t.shape[-2:])), real_dtype(linalg_dtype("svd", t)))


def _svdvals_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    u, s, vh = bind(svd_op, (primals[0],), {"full_matrices": False})
    return _singular_value_tangent(s, u, vh, tangents[0], Place(user_source()))


def _svdvals_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    u, _, vh = bind(svd_op, (a,), {"full_matrices": False})
    return (conform(_singular_value_cotangent(a, out, u, vh, ct, Place(user_source())), a),)


def _svdvals_samples() -> Iterable[Sample]:
    for sample in _svd_samples():
        if not sample.params["full_matrices"]:
            yield Sample(sample.inputs)


svdvals_op = Op(
    "svdvals",
    evaluate=lambda a: np.linalg.svd(a, compute_uv=False),
    infer=_svdvals_type,
    jvp=_svdvals_jvp,
    vjp=_svdvals_vjp,
    batch=_leading_batch("svdvals"),
    held=RECOGNISED,
    samples=_svdvals_samples,
)


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """`(U, S, Vh)` with `a == U * S @ Vh`, the singular values S in descending order; S alone without `compute_uv`.
    Of the vectors that `full_matrices` adds, only what does not depend on how they were chosen, such as the space
    that they span, has a derivative. Vectors of equal singular values have none, but products such as `(u * g(s)) @ vh`
    and `u @ vh` do; see `eigh`. Where a singular value is zero, g must be odd, such as s**3.

    Source: Townsend; for complex matrices the phases are divided as in jax.
    """
    a = as_array(a)
    if not hermitian:
        if not compute_uv:
            return bind(svdvals_op, (a,))
        return SVDResult(*bind(svd_op, (a,), {"full_matrices": bool(full_matrices)}))
    if not compute_uv:
        return -np.sort(-np.abs(np.linalg.eigvalsh(a)), -1)
    w, v = np.linalg.eigh(a)
    order = np.argsort(-np.abs(w), -1)
    w, v = np.take_along_axis(w, order, -1), np.take_along_axis(v, row(order), -1)
    return SVDResult(v, np.abs(w), adjoint(v * row(np.sign(w))))


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    """The singular values in descending order."""
    return bind(svdvals_op, (as_array(x),))


def _pinv_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    _require_matrices("pinv", t)
    return ArrayType((*t.shape[:-2], t.shape[-1], t.shape[-2]), linalg_dtype("pinv", t))


def _pinv_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    (a,), (t,), p = primals, tangents, out
    th, ph = adjoint(t), adjoint(p)
    left = np.matmul(np.matmul(p, ph), th)
    right = np.matmul(th, np.matmul(ph, p))
    outside_columns = left - np.matmul(np.matmul(left, a), p)
    outside_rows = right - np.matmul(p, np.matmul(a, right))
    return outside_columns + outside_rows - np.matmul(np.matmul(p, t), p)


def _pinv(a: Any, rcond: float) -> Any:
    if a.size:
        return np.linalg.pinv(a, rcond)
    found = _pinv_type((type_of(a),), {})
    return np.zeros(found.shape, found.dtype)


def _pinv_samples() -> Iterable[Sample]:
    for a in (_dominant(0, 3, 3), _dominant(0, 3, 3)[:, :2], _dominant(0, 2, 3, 3)[:, :2], np.zeros((0, 2))):
        yield Sample((a,), {"rcond": 1e-15})


pinv_op = Op(
    "pinv",
    evaluate=_pinv,
    infer=_pinv_type,
    jvp=_pinv_jvp,
    batch=_leading_batch("pinv"),
    samples=_pinv_samples,
)


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = _NOT_GIVEN) -> Any:
    """The pseudo-inverse, (..., m, n) to (..., n, m). Singular values below `rcond` (or `rtol`) times the largest
    count as zero. The derivative takes the rank as constant: across a change of rank the pseudo-inverse is not
    continuous.

    Source: Golub, equation 4.12.
    """
    a = as_array(a)
    _require_matrices("pinv", type_of(a))
    if rcond is not None and rtol is not _NOT_GIVEN:
        raise ValueError("pinv: rtol and rcond are two names of one argument; give one of them")
    if rcond is None:
        rcond = 1e-15 if rtol is _NOT_GIVEN else rtol
    if rcond is None:
        rcond = max(a.shape[-2:]) * _epsilon(a)
    if hermitian:
        a = hermitian_part(from_triangle(a, True))  # so that the cotangent is Hermitian too
    return bind(pinv_op, (a,), {"rcond": _static_number(rcond, "pinv's rcond")})


def _static_number(x: Any, what: str) -> float:
    return float(concrete(x, what, "give it as a Python number"))


def _epsilon(x: Any) -> float:
    return float(np.finfo(linalg_dtype("finfo", type_of(x))).eps)


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Any, Any, Any, Any]:
    """`(x, residuals, rank, s)`: the x of least length among those that make |b - a x| least, (m, n) and (m,) or (m,
    k); the squares of what is left, one for each column of b (none unless m > n and the rank is n; where the rank is
    not known while tracing, it is taken to be n); the rank of `a` and its singular values.

    By way of `pinv`, which gives the derivative (the rank held constant).
    """
    a, b = as_array(a), as_array(b)
    if len(shape_of(a)) != 2 or len(shape_of(b)) not in (1, 2) or a.shape[0] != b.shape[0]:
        raise LinAlgError(
            f"lstsq takes matrices (m, n) and (m, k), or a vector (m,), got {type_of(a)} and {type_of(b)}"
        )
    m, n = a.shape
    rcond = max(m, n) * _epsilon(a) if rcond is None else _static_number(rcond, "lstsq's rcond")
    s = bind(svdvals_op, (a,))
    rank = astype(np.sum(s > rcond * s[0]), np.int32) if min(m, n) else np.int32(0)
    x = np.matmul(bind(pinv_op, (a,), {"rcond": rcond}), b)
    left = b - np.matmul(a, x)
    try:
        full = int(concrete(rank, "the rank")) == n
    except ConcretizationTypeError:
        full = True
    size = np.sum(np.real(conjugate_of_complex(left) * left), 0, keepdims=len(b.shape) == 1)
    residuals = size if full and m > n else np.zeros(0, size.dtype)
    return x, residuals, rank, s


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """How many singular values exceed `tol`, or `rtol` (by default the rounding error) times the largest."""
    A = as_array(A)
    if len(shape_of(A)) < 2:
        return astype(np.any(np.not_equal(A, 0)), np.int64)
    if tol is not None and rtol is not None:
        raise ValueError("matrix_rank: give one of tol and rtol")
    s = np.linalg.svd(A, compute_uv=False, hermitian=hermitian)
    if tol is None:
        rtol = max(A.shape[-2:]) * _epsilon(A) if rtol is None else np.expand_dims(as_array(rtol), -1)
        tol = np.max(s, -1, keepdims=True) * rtol
    else:
        tol = np.expand_dims(as_array(tol), -1)
    return np.sum(s > tol, -1)


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition number: the norm of `x` times that of its inverse, or the quotient of its extreme singular
    values."""
    x = as_array(x)
    _require_matrices("cond", type_of(x))
    if math.prod(x.shape) == 0:
        raise LinAlgError(f"cond is not defined on empty arrays, got {type_of(x)}")
    if p is None or p in (2, -2):
        s = np.linalg.svd(x, compute_uv=False)
        over, under = (s[..., -1], s[..., 0]) if p == -2 else (s[..., 0], s[..., -1])
        singular = np.equal(under, 0)
        # Infinite where it is singular, and so is the derivative.
        scale = np.where(singular, np.inf, 1).astype(s.dtype)
        return (over + np.equal(over, 0)) / np.where(singular, 1, under) * scale
    try:
        inverse = np.linalg.inv(x)
    except LinAlgError:
        if len(x.shape) > 2 or x.shape[0] != x.shape[1]:
            raise
        return np.asarray(np.inf, real_dtype(linalg_dtype("cond", type_of(x))))[()]
    return norm(x, p, (-2, -1)) * norm(inverse, p, (-2, -1))


# ---------------------------------------------------------------------------------------------------------------------
# Norms. Every one is continuous, with a kink at zero: there the derivative is taken to be zero.


def _square_root_of_sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    squares = x.real * x.real + x.imag * x.imag if number_kind(x.dtype) == "c" else x * x
    return np.sqrt(np.sum(squares, axes, keepdims=keepdims))


def _euclidean_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    return ArrayType(reduced_shape(t.shape, params["axes"], params["keepdims"]), real_dtype(t.dtype))


def _euclidean_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (x,) = primals
    ct, size = [expand_reduced(d, x.shape, params["axes"], params["keepdims"]) for d in (ct, out)]
    zero = np.equal(size, 0)
    return (ct * by_convention(conjugate_of_complex(x) * (1 / np.where(zero, 1, size)), zero),)


def _euclidean_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(norm_op, tuple(inputs), {**params, "axes": tuple([a + 1 for a in params["axes"]])})


def _norm_samples() -> Iterable[Sample]:
    x = _matrices(0, 2, 3, 2)
    for axes in ((0, 1, 2), (1,), (0, 2)):
        for keepdims in (False, True):
            yield Sample((x,), {"axes": axes, "keepdims": keepdims})
    yield Sample((np.zeros((0, 2)),), {"axes": (1,), "keepdims": False})


norm_op = Op(
    "norm",
    evaluate=_square_root_of_sum,
    infer=_euclidean_type,
    vjp=_euclidean_vjp,
    batch=_euclidean_batch,
    samples=_norm_samples,
)


def _sizes(x: Any) -> Any:
    """|x| with derivative zero at x = 0, where that of np.abs is 1, as in jax."""
    return np.abs(x) if number_kind(x.dtype) == "c" else x * np.sign(x)


def _vector_norm(x: Any, order: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The norm of the elements along all these axes."""
    if order is None or order == 2:
        return bind(norm_op, (x,), {"axes": axes, "keepdims": keepdims})
    if isinstance(order, str):
        raise ValueError(f"Invalid norm order {order!r} for vectors")
    if order == 0:
        return np.sum(astype(np.not_equal(x, 0), real_dtype(x.dtype)), axes, keepdims=keepdims)
    sizes = _sizes(x)
    if order == np.inf:
        return np.max(sizes, axes, keepdims=keepdims)
    if order == -np.inf:
        return np.min(sizes, axes, keepdims=keepdims)
    if order == 1:
        return np.sum(sizes, axes, keepdims=keepdims)
    order = _static_number(order, "the order of a norm")
    return _power(np.sum(_power(sizes, order), axes, keepdims=keepdims), 1 / order)


def _root(x: Any, p: float) -> Any:
    zero = np.equal(x, 0)
    return np.where(zero, 0.0 if p > 0 else np.inf, np.where(zero, 1, x) ** p).astype(np.asarray(x).dtype)


def _root_partial(d: Any, out: Any, x: Any, p: float) -> Any:
    zero = np.equal(x, 0)
    return d * by_convention(np.where(zero, x, p * np.where(zero, 1, x) ** (p - 1)), zero)


# x**p of numbers that are not negative, for p < 1, with derivative zero at zero.
root_op = elementwise(
    "root", _root, _root_partial, neutral=1, infer=lambda types, params: ArrayType(types[0].shape, types[0].dtype), kinds="f",
    samples=lambda: [Sample((np.array([0.5, 2.0]),), {"p": 1 / 3}), Sample((np.array([0.5, 2.0]),), {"p": -0.5})],
)  # fmt: skip


def _power(x: Any, p: float) -> Any:
    """x**p of numbers that are not negative, with derivative zero at x = 0."""
    return x**p if p > 1 else bind(root_op, (x,), {"p": p})


def _matrix_norm(x: Any, order: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    """The norm of the matrices that lie along a pair of axes, rows along the first."""
    if order in (None, "fro", "f"):
        return bind(norm_op, (x,), {"axes": tuple(sorted(axes)), "keepdims": keepdims})
    extreme: Any = np.max if order in (1, 2, np.inf) else np.min
    if order in (2, -2, "nuc"):
        s = np.linalg.svd(np.moveaxis(x, axes, (-2, -1)), compute_uv=False)
        s = np.where(s <= tolerance(s), 0, s)
        if order != "nuc":  # the largest, or the smallest, of equal ones is all of them
            how = {"check": False, "zero": False, "kind": "svd", "place": Place(user_source())}
            s = bind(among_equals_op, (s, s), how)
        found = np.sum(s, -1) if order == "nuc" else extreme(s, -1)
        return np.expand_dims(found, tuple(sorted(axes))) if keepdims else found
    if order in (1, -1, np.inf, -np.inf):
        summed, other = axes if abs(order) == 1 else axes[::-1]
        found = extreme(np.sum(_sizes(x), summed, keepdims=True), other, keepdims=True)
        return found if keepdims else np.squeeze(found, axes)
    raise ValueError(f"Invalid norm order {order!r} for matrices.")


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of all elements, of vectors along one axis or of matrices along two, of any of NumPy's orders. Its
    derivative at zero is zero.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(np.linalg.norm)(np.array([3.0, 4.0])), tg.grad(np.linalg.norm)(np.zeros(2))
    (array([0.6, 0.8]), array([0., 0.]))
    """
    x = floating(x)
    ndim = len(x.shape)
    if axis is None:
        axes = tuple(range(ndim))
        if ord is None or (ord in ("f", "fro") and ndim == 2) or (ndim == 1 and not isinstance(ord, str)):
            return _vector_norm(x, None if isinstance(ord, str) else ord, axes, bool(keepdims))
    else:
        axes = tuple([normalize_axis(a, ndim, "norm") for a in (axis if isinstance(axis, tuple) else (axis,))])
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, bool(keepdims))
    if len(axes) != 2:
        raise ValueError(
            f"Improper number of dimensions to norm: order {ord!r} takes one axis or two, got {type_of(x)}"
        )
    if axes[0] == axes[1]:
        raise ValueError("Duplicate axes given.")
    return _matrix_norm(x, ord, (axes[0], axes[1]), bool(keepdims))


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of each matrix, (..., m, n) to (...)."""
    _require_matrices("matrix_norm", type_of(as_array(x)))
    return norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of all elements along one axis, several or all, as one vector."""
    x = floating(x)
    return _vector_norm(x, ord, normalize_axes(axis, len(x.shape), "vector_norm"), bool(keepdims))


# ---------------------------------------------------------------------------------------------------------------------
# Parts of matrices.


@implements(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonal of each matrix."""
    return np.diagonal(as_array(x), offset, -2, -1)


@implements(np.linalg.trace)
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum of the diagonal of each matrix."""
    return np.trace(as_array(x), offset, -2, -1, dtype)
