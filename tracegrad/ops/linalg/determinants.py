"""Determinants. The derivative of the determinant is the transposed adjugate, which exists for singular matrices too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.quiet import isolated
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.ops.contract import transposed
from tracegrad.ops.families import broadcast_shapes, conform, elementwise_batch, implements, shape_of
from tracegrad.ops.linalg import two_by_two
from tracegrad.ops.linalg.matrices import (
    adjoint,
    dominant_matrices,
    leading_batch,
    linalg_dtype,
    real_dtype,
    require_square,
    solved,
    square,
    square_samples,
    uniform_matrices,
)
from tracegrad.ops.reach import batch_of
from tracegrad.typing import Array, ArrayLike

# What NumPy's namedtuples are made of is private to NumPy; the tuples themselves are not.
SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


def _products_of_others(s: Any) -> Any:
    """For each entry along the last axis the product of all others, without a division."""
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    return before * after if s.shape[-1] else s


def _adjugate(a: Any) -> Any:
    """det(a) inv(a) where that loses no accuracy, else from the singular values."""
    try:
        inverse = isolated(np.linalg.inv, a)
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
    u, s, vh = isolated(np.linalg.svd, a)
    phase = np.linalg.det(u @ vh)[..., None, None]
    return phase * adjoint(vh) @ (_products_of_others(s)[..., None] * adjoint(u))


def adjugate_tangent(a: Any, t: Any) -> Any:
    """The derivative of adj(a) along t. With a = U S V^H and F = U^H t V it is det(U V^H) V G U^H, where G_ii = sum
    over k != i of F_kk p_ik, G_ij = -F_ij p_ij, and p_ij is the product of the singular values but i and j."""
    u, s, vh = isolated(np.linalg.svd, a)
    n = s.shape[-1]
    p = _products_of_others(np.where(np.eye(n, dtype=bool), 1, s[..., None, :]))
    p = np.where(np.eye(n, dtype=bool), 0, p)
    f = adjoint(u) @ t @ adjoint(vh)
    on_diagonal = np.einsum("...ik,...kk->...i", p, f)
    g = np.where(np.eye(n, dtype=bool), on_diagonal[..., None], -f * p)
    return np.linalg.det(u @ vh)[..., None, None] * (adjoint(vh) @ g @ adjoint(u))


def _adjugate_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return bind(adjugate_tangent_op, (primals[0], tangents[0]))


def _adjugate_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    return (conform(transposed(bind(adjugate_tangent_op, (a, transposed(ct)))), a),)


adjugate_op = Op(
    "adjugate",
    evaluate=_adjugate,
    infer=square("adjugate"),
    jvp=_adjugate_jvp,
    vjp=_adjugate_vjp,
    batch=leading_batch("adjugate"),
    samples=square_samples,
)


def _adjugate_tangent_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, t = types
    require_square("adjugate", a)
    return ArrayType(broadcast_shapes("adjugate", types), linalg_dtype("adjugate", a, t))


def _adjugate_tangent_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    """The derivative by t is the op again: the second derivative of the determinant is symmetric. That by a is its
    third, here by way of the inverse, so for regular matrices only."""
    a, f = primals
    g = transposed(ct)
    cotangents: list[Any] = []
    for i in wanted:
        if i == 1:
            d = bind(adjugate_tangent_op, (a, g))
        else:
            b = solved("the second derivative of det", a)
            bf, bg = np.matmul(b, f), np.matmul(b, g)
            tf, tg, tfg = [_as_scalar_matrix(np.einsum("...ii->...", x)) for x in (bf, bg, np.matmul(bf, bg))]
            inner = (tf * tg - tfg) * b + np.matmul(np.matmul(bf, bg) + np.matmul(bg, bf) - tf * bg - tg * bf, b)
            d = _as_scalar_matrix(np.linalg.det(a)) * inner
        cotangents.append(conform(transposed(d), primals[i]))
    return cotangents


def _as_scalar_matrix(x: Any) -> Any:
    """Numbers as matrices of one element, which broadcast against matrices."""
    return np.reshape(x, (*shape_of(x), 1, 1))


def _adjugate_tangent_samples() -> Iterable[Sample]:
    yield Sample((dominant_matrices(0, 3, 3), uniform_matrices(1, 3, 3)))
    yield Sample((dominant_matrices(0, 2, 2, 2), uniform_matrices(1, 2, 2, 2)))


adjugate_tangent_op = Op(
    "adjugate_tangent",
    evaluate=adjugate_tangent,
    infer=_adjugate_tangent_type,
    vjp=_adjugate_tangent_vjp,
    linear=[{1}],
    batch=elementwise_batch("adjugate_tangent"),  # leading axes broadcast
    reach=batch_of(2),
    samples=_adjugate_tangent_samples,
)


def _det_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    require_square("det", t)
    return ArrayType(t.shape[:-2], linalg_dtype("det", t))


def _det_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    return (conform(_as_scalar_matrix(ct) * transposed(bind(adjugate_op, (a,))), a),)


det_op = Op(
    "det",
    evaluate=np.linalg.det,
    infer=_det_type,
    vjp=_det_vjp,
    batch=leading_batch("det"),
    samples=square_samples,
)


@implements(np.linalg.det)
def det(a: ArrayLike) -> Array:
    """The determinant of each square matrix, (..., m, m) to (...). First and second derivatives are exact for singular matrices as well; from
    the third on they need the inverse.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(np.linalg.det)(np.array([[1.0, 2.0], [2.0, 4.0]])).round(9).tolist()
    [[4.0, -2.0], [-2.0, 1.0]]

    Source: Jacobi's formula; Magnus and Neudecker, Matrix Differential Calculus, section 8.3.
    """
    return bind(det_op, (a,))


def _slogdet_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    require_square("slogdet", t)
    dtype = linalg_dtype("slogdet", t)
    return ArrayType(t.shape[:-2], dtype), ArrayType(t.shape[:-2], real_dtype(dtype))


def _slogdet_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    t = np.einsum("...ij,...ji->...", solved("slogdet", primals[0]), tangents[0])
    if number_kind(t.dtype) != "c":
        return None, t
    return out[0] * (1j * np.imag(t)), np.real(t)


def _slogdet_vjp(wanted: Wanted, cts: Sequence[Any], out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    of_sign, ct = cts
    if number_kind(a.dtype) != "c":
        of_sign = None
    if of_sign is not None:
        of_angle = -1j * np.real(of_sign * (1j * out[0]))
        ct = of_angle if ct is None else ct + of_angle
    if ct is None:
        return [None]
    return [conform(_as_scalar_matrix(ct) * transposed(solved("slogdet", a)), a)]


def _slogdet(a: Any) -> tuple[Any, ...]:
    return tuple(np.linalg.slogdet(a))


slogdet_op = Op(
    "slogdet",
    evaluate=two_by_two.first(two_by_two.slogdet, _slogdet),
    infer=_slogdet_type,
    jvp=_slogdet_jvp,
    vjp=_slogdet_vjp,
    batch=leading_batch("slogdet"),
    multiple_results=True,
    samples=square_samples,
)


@implements(np.linalg.slogdet)
def slogdet(a: ArrayLike) -> tuple[Array, Array]:
    """`(sign, logabsdet)`: the sign (phase, if complex) of the determinant of each square matrix, and the logarithm of its size.
    A singular matrix has sign 0 and -inf, and no derivative: it raises LinAlgError.

    >>> sign, size = np.linalg.slogdet([[0.0, 2.0], [1.0, 0.0]])
    >>> float(sign * np.exp(size))
    -2.0

    Source: Giles, section 2.2.4.
    """
    return SlogdetResult(*bind(slogdet_op, (a,)))
