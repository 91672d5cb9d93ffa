"""`numpy.linalg`'s names, for arrays and for what is being traced alike: what `ops/linalg/` defines, and here those functions that
consist of others."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.boxes import accept_jax
from tracegrad.core.errors import user_source
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import concrete, plain_value
from tracegrad.core.types import number_kind, type_of
from tracegrad.numpy.products import linalg_cross as cross
from tracegrad.numpy.products import linalg_outer as outer
from tracegrad.numpy.products import multi_dot, tensordot, vecdot
from tracegrad.numpy.shaping import matrix_transpose
from tracegrad.ops.contract import conjugate_of_complex, matmul
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axes, normalize_axis, shape_of
from tracegrad.ops.linalg.determinants import det, slogdet
from tracegrad.ops.linalg.eigen import eig, eigh, eigvals, eigvalsh
from tracegrad.ops.linalg.equal_values import Line, among_equals_op, tolerance
from tracegrad.ops.linalg.hermitian import cholesky
from tracegrad.ops.linalg.matrices import (
    epsilon,
    floating,
    linalg_dtype,
    real_dtype,
    require_matrices,
    require_square,
    static_number,
)
from tracegrad.ops.linalg.norms import norm_op, root_op
from tracegrad.ops.linalg.qr import qr
from tracegrad.ops.linalg.singular import svd, svdvals, svdvals_op
from tracegrad.ops.linalg.solving import inv, pinv, pinv_op, solve
from tracegrad.transforms.spectral import funm
from tracegrad.typing import Array, ArrayLike, Axis, DType

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "funm", "inv",
    "lstsq", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer",
    "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot",
    "vector_norm",
]  # fmt: skip


@implements(np.linalg.tensorsolve)
def tensorsolve(a: ArrayLike, b: ArrayLike, axes: Sequence[int] | None = None) -> Array:
    """The x with `np.tensordot(a, x, x.ndim) == b`; `axes` of `a` are moved to its end first.

    >>> tensorsolve(np.eye(6).reshape(2, 3, 6), np.ones((2, 3))).shape
    (6,)
    """
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
    return np.reshape(solve(np.reshape(a, (size, size)), np.reshape(b, (size,))), sizes)


@implements(np.linalg.tensorinv)
def tensorinv(a: ArrayLike, ind: int = 2) -> Array:
    """The inverse of `np.tensordot(a, ., a.ndim - ind)`: axes from `ind` on come first.

    >>> tensorinv(np.eye(6).reshape(6, 2, 3), ind=1).shape
    (2, 3, 6)
    """
    a = as_array(a)
    if ind <= 0:
        raise ValueError("tensorinv: ind is the number of axes that belong to the result's end, 1 or more")
    shape = a.shape[ind:] + a.shape[:ind]
    size = math.prod(a.shape[ind:])
    return np.reshape(inv(np.reshape(a, (size, math.prod(a.shape[:ind])))), shape)


@implements(np.linalg.matrix_power)
def matrix_power(a: ArrayLike, n: int) -> Array:
    """`a @ a @ ... @ a`, n times, of square matrices (..., m, m), by repeated squaring; the inverse's power for negative n.

    >>> matrix_power(np.array([[1, 1], [0, 1]]), 5).tolist()
    [[1, 5], [0, 1]]
    """
    a = as_array(a)
    require_square("matrix_power", type_of(a))
    n = operator.index(n)
    if n == 0:
        return np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape).copy()
    square = inv(a) if n < 0 else a
    result = None
    for k, bit in enumerate(reversed(bin(abs(n))[2:])):
        if k:
            square = np.matmul(square, square)
        if bit == "1":
            result = square if result is None else np.matmul(result, square)
    return result


@implements(np.linalg.lstsq)
def lstsq(a: ArrayLike, b: ArrayLike, rcond: float | None = None) -> tuple[Array, Array, Array, Array]:
    """What `a @ x` comes closest to `b` with.

    Args:
        a: a matrix, (m, n).
        b: a vector (m,) or a matrix (m, k), each column a problem of its own.
        rcond: singular values below this times the largest count as zero; by default epsilon times the larger of m and n.

    Returns:
        `(x, residuals, rank, s)`: the x of least length among those that make |b - a x| least; the squares of what is left,
        one for each column of b (none unless m > n and the rank is n; where the rank is not known while tracing, it is taken
        to be n); the rank of `a`; its singular values.

    Raises:
        LinAlgError: the shapes do not fit.

    By way of `pinv`, which gives the derivative (the rank held constant).

    >>> lstsq(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0, 5.0]))[0].round(9).tolist()
    [1.0, 2.0]
    """
    a, b = as_array(a), as_array(b)
    if len(shape_of(a)) != 2 or len(shape_of(b)) not in (1, 2) or a.shape[0] != b.shape[0]:
        raise LinAlgError(
            f"lstsq takes matrices (m, n) and (m, k), or a vector (m,), got {type_of(a)} and {type_of(b)}"
        )
    m, n = a.shape
    rcond = max(m, n) * epsilon(a) if rcond is None else static_number(rcond, "lstsq's rcond")
    s = bind(svdvals_op, (a,))
    rank = astype(np.sum(s > rcond * s[0]), np.int32) if min(m, n) else np.int32(0)
    x = np.matmul(bind(pinv_op, (a,), {"rcond": rcond}), b)
    left = b - np.matmul(a, x)
    full = plain_value(rank, "the rank") is None or int(concrete(rank, "the rank")) == n
    size = np.sum(np.real(conjugate_of_complex(left) * left), 0, keepdims=len(b.shape) == 1)
    residuals = size if full and m > n else np.zeros(0, size.dtype)
    return x, residuals, rank, s


@implements(np.linalg.matrix_rank)
def matrix_rank(A: ArrayLike, tol: ArrayLike = None, hermitian: bool = False, *, rtol: ArrayLike = None) -> Array:
    """How many singular values of matrices (..., m, n) exceed `tol`, or `rtol` (by default the rounding error) times the largest:
    integers (...), without a derivative. Of a vector or scalar, whether there is an element that is not zero.

    >>> matrix_rank(np.ones((3, 3))).item()
    1
    """
    A = as_array(A)
    if len(shape_of(A)) < 2:
        return astype(np.any(np.not_equal(A, 0)), np.int64)
    if tol is not None and rtol is not None:
        raise ValueError("matrix_rank: give one of tol and rtol")
    s = svd(A, compute_uv=False, hermitian=hermitian)
    if tol is None:
        rtol = max(A.shape[-2:]) * epsilon(A) if rtol is None else np.expand_dims(as_array(rtol), -1)
        tol = np.max(s, -1, keepdims=True) * rtol
    else:
        tol = np.expand_dims(as_array(tol), -1)
    return np.sum(s > tol, -1)


@implements(np.linalg.cond)
def cond(x: ArrayLike, p: float | str | None = None) -> Array:
    """The condition number of matrices (..., m, n), (...): the norm of order `p` times that of the inverse; for None, 2 and -2, for
    which they need not be square, the quotient of the extreme singular values. Infinite for singular matrices.

    >>> float(cond(np.diag([4.0, 2.0])))
    2.0
    """
    x = as_array(x)
    require_matrices("cond", type_of(x))
    if math.prod(x.shape) == 0:
        raise LinAlgError(f"cond is not defined on empty arrays, got {type_of(x)}")
    if p is None or p in (2, -2):
        s = svdvals(x)
        over, under = (s[..., -1], s[..., 0]) if p == -2 else (s[..., 0], s[..., -1])
        singular = np.equal(under, 0)
        # Infinite where it is singular, and so is the derivative.
        scale = np.where(singular, np.inf, 1).astype(s.dtype)
        return (over + np.equal(over, 0)) / np.where(singular, 1, under) * scale
    try:
        inverse = inv(x)
    except LinAlgError:
        if len(x.shape) > 2 or x.shape[0] != x.shape[1]:
            raise
        return np.asarray(np.inf, real_dtype(linalg_dtype("cond", type_of(x))))[()]
    return norm(x, p, (-2, -1)) * norm(inverse, p, (-2, -1))


# ---------------------------------------------------------------------------------------------------------------------
# Norms. Every one is continuous, with a kink at zero: there the derivative is taken to be zero.


def _sizes(x: Any) -> Any:
    """|x| with derivative zero at x = 0, where that of np.abs is 1, as in jax."""
    return np.abs(x) if number_kind(x.dtype) == "c" else x * np.sign(x)


def _power(x: Any, p: float) -> Any:
    """x**p of numbers that are not negative, with derivative zero at x = 0."""
    return x**p if p > 1 else bind(root_op, (x,), {"p": p})


def _largest(sizes: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The largest of sizes; 0 of none, as NumPy has it since 2.3."""
    none = any([shape_of(sizes)[axis] == 0 for axis in axes])
    return np.max(sizes, axes, keepdims=keepdims, initial=0) if none else np.max(sizes, axes, keepdims=keepdims)


def _norm_of_vectors(x: Any, order: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The norm of the elements along all these axes."""
    if order is None or order == 2:
        return bind(norm_op, (x,), {"axes": axes, "keepdims": keepdims})
    if isinstance(order, str):
        raise ValueError(f"Invalid norm order {order!r} for vectors")
    if order == 0:
        return np.sum(astype(np.not_equal(x, 0), real_dtype(x.dtype)), axes, keepdims=keepdims)
    sizes = _sizes(x)
    if order == np.inf:
        return _largest(sizes, axes, keepdims)
    if order == -np.inf:
        return np.min(sizes, axes, keepdims=keepdims)
    if order == 1:
        return np.sum(sizes, axes, keepdims=keepdims)
    order = static_number(order, "the order of a norm")
    return _power(np.sum(_power(sizes, order), axes, keepdims=keepdims), 1 / order)


def _norm_of_matrices(x: Any, order: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    """The norm of the matrices that lie along a pair of axes, rows along the first."""
    if order in (None, "fro", "f"):
        return bind(norm_op, (x,), {"axes": tuple(sorted(axes)), "keepdims": keepdims})
    extreme: Any = _largest if order in (1, 2, np.inf) else np.min
    if order in (2, -2, "nuc"):
        s = svdvals(np.moveaxis(x, axes, (-2, -1)))
        s = np.where(s <= tolerance(s), 0, s)
        if order != "nuc":  # the largest, or the smallest, of equal ones is all of them
            how = {"check": False, "zero": False, "kind": "svd", "line": Line(user_source())}
            s = bind(among_equals_op, (s, s), how)
        norms = np.sum(s, -1) if order == "nuc" else extreme(s, (-1,), keepdims=False)
        return np.expand_dims(norms, tuple(sorted(axes))) if keepdims else norms
    if order in (1, -1, np.inf, -np.inf):
        summed, other = axes if abs(order) == 1 else axes[::-1]
        norms = extreme(np.sum(_sizes(x), summed, keepdims=True), (other,), keepdims=True)
        return norms if keepdims else np.squeeze(norms, axes)
    raise ValueError(f"Invalid norm order {order!r} for matrices.")


@implements(np.linalg.norm)
def norm(x: ArrayLike, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """The norm of all elements, of vectors along one axis or of matrices along two, of any of NumPy's orders. Its
    derivative at zero is zero.

    Args:
        x: an array; integers are taken in float64.
        ord: for vectors any number p (the p-th root of the sum of p-th powers; 0 counts, +-inf is an extreme); for matrices
            "fro", "nuc", +-1, +-2, +-inf. None is the root of the sum of squares.
        axis: one axis or two; None for all elements, which are then a vector if `ord` is None, else one or two axes.
        keepdims: whether the axes stay, with size 1.

    Returns:
        A real array without these axes.

    Raises:
        ValueError: an order that vectors, or matrices, do not have; other than one axis or two.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(np.linalg.norm)(np.array([3.0, 4.0])), tg.grad(np.linalg.norm)(np.zeros(2))
    (array([0.6, 0.8]), array([0., 0.]))
    """
    x = floating(x)
    ndim = len(x.shape)
    if axis is None:
        axes = tuple(range(ndim))
        if ord is None or (ord in ("f", "fro") and ndim == 2) or (ndim == 1 and not isinstance(ord, str)):
            return _norm_of_vectors(x, None if isinstance(ord, str) else ord, axes, bool(keepdims))
    else:
        axes = tuple([normalize_axis(a, ndim, "norm") for a in (axis if isinstance(axis, tuple) else (axis,))])
    if len(axes) == 1:
        return _norm_of_vectors(x, ord, axes, bool(keepdims))
    if len(axes) != 2:
        raise ValueError(
            f"Improper number of dimensions to norm: order {ord!r} takes one axis or two, got {type_of(x)}"
        )
    if axes[0] == axes[1]:
        raise ValueError("Duplicate axes given.")
    return _norm_of_matrices(x, ord, (axes[0], axes[1]), bool(keepdims))


@implements(np.linalg.matrix_norm)
def matrix_norm(x: ArrayLike, /, *, keepdims: bool = False, ord: float | str | None = "fro") -> Array:
    """The norm of each matrix, (..., m, n) to (...), of the orders that `norm` has for matrices.

    >>> matrix_norm(np.array([[1.0, 2.0], [3.0, 4.0]])).round(4).item()
    5.4772
    """
    require_matrices("matrix_norm", type_of(as_array(x)))
    return norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.vector_norm)
def vector_norm(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False, ord: float | None = 2) -> Array:
    """The norm of all elements along one axis, several or all, as one vector, of the orders that `norm` has for vectors.

    >>> vector_norm(np.array([3.0, 4.0])).item()
    5.0
    """
    x = floating(x)
    return _norm_of_vectors(x, ord, normalize_axes(axis, len(x.shape), "vector_norm"), bool(keepdims))


# ---------------------------------------------------------------------------------------------------------------------
# Parts of matrices.


@implements(np.linalg.diagonal)
def diagonal(x: ArrayLike, /, *, offset: int = 0) -> Array:
    """The diagonal of each matrix, (..., m, n) to (..., k); `offset` places above the main one.

    >>> diagonal(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [1.0, 4.0]
    """
    return np.diagonal(as_array(x), offset, -2, -1)


@implements(np.linalg.trace)
def trace(x: ArrayLike, /, *, offset: int = 0, dtype: DType = None) -> Array:
    """The sum of the diagonal of each matrix, (..., m, n) to (...).

    >>> trace(np.array([[1.0, 2.0], [3.0, 4.0]])).item()
    5.0
    """
    return np.trace(as_array(x), offset, -2, -1, dtype)


accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
