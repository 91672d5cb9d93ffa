"""Singular values and vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import user_source
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.quiet import isolated
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.contract import conjugate_of_complex
from tracegrad.ops.families import conform, implements
from tracegrad.ops.linalg.eigen import eigh, eigvalsh
from tracegrad.ops.linalg.equal_values import Line, among_equals_op
from tracegrad.ops.linalg.matrices import (
    adjoint,
    dominant_matrices,
    given_batch,
    leading_batch,
    linalg_dtype,
    real_dtype,
    require_matrices,
    row,
    with_complex_number,
)
from tracegrad.ops.linalg.vectors import (
    RECOGNISED,
    expected_op,
    first_columns,
    recomposed,
    singular_vector_tangent,
)
from tracegrad.typing import Array, ArrayLike

SVDResult: Any = type(np.linalg.svd(np.eye(1)))


def _singular_value_tangent(s: Any, u: Any, vh: Any, t: Any, line: Line | None) -> Any:
    k = s.shape[-1]
    tangent = bind(expected_op, (first_columns(u, k), t, first_columns(adjoint(vh), k)))
    return bind(among_equals_op, (s, tangent), {"check": False, "zero": True, "kind": "svd", "line": line})


def _singular_value_cotangent(a: Any, s: Any, u: Any, vh: Any, ct: Any, line: Line | None) -> Any:
    """U diag(ct) V^H, conjugated: written as the spectral function that it is."""
    ct = bind(among_equals_op, (s, ct), {"check": True, "zero": True, "kind": "svd", "line": line})
    return conjugate_of_complex(recomposed(a, (s, u, vh), ct, line))


def _given_singular_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    _, s, u, vh = primals
    return None if tangents[0] is None else _singular_value_tangent(s, u, vh, tangents[0], params["line"])


def _given_singular_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, _, u, vh = primals
    cotangent = _singular_value_cotangent(a, out, u, vh, ct, params["line"])
    return [conform(cotangent, a) if i == 0 else None for i in wanted]


def _given_values(a: Any, s: Any, u: Any, vh: Any, line: Line | None) -> Any:
    return s


# The singular values of a matrix, given with its decomposition; see `eigenvalues`.
singular_values_op = Op(
    "singular_values",
    evaluate=_given_values,
    data=lambda params: (1, 2, 3),
    infer=lambda types, params: types[1],
    jvp=_given_singular_jvp,
    vjp=_given_singular_vjp,
    batch=given_batch("singular_values"),
    kinds="",
)


def _svd_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    require_matrices("svd", t)
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
    return tuple(isolated(np.linalg.svd, a, full_matrices))


def _svd_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    u, s, vh = out
    line = Line(user_source())
    ds = _singular_value_tangent(s, u, vh, tangents[0], line)
    du = singular_vector_tangent(s, u, vh, tangents[0], "u", line)
    dv = singular_vector_tangent(s, u, vh, tangents[0], "v", line)
    return du, ds, adjoint(dv)


def _svd_samples() -> Iterable[Sample]:
    for full_matrices in (False, True):
        yield Sample((dominant_matrices(0, 3, 3),), {"full_matrices": full_matrices})
    yield Sample((dominant_matrices(0, 2, 4, 4)[..., :2],), {"full_matrices": False})
    yield Sample((dominant_matrices(0, 3, 3)[:2],), {"full_matrices": False})
    yield Sample((np.zeros((0, 2)),), {"full_matrices": False})


svd_op = Op(
    "svd",
    evaluate=_svd,
    infer=_svd_type,
    jvp=_svd_jvp,
    batch=leading_batch("svd"),
    held=RECOGNISED,
    multiple_results=True,
    samples=with_complex_number(_svd_samples, full_matrices=False),
)


@implements(np.linalg.svd)
def svd(a: ArrayLike, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Array:
    """`(U, S, Vh)` of matrices (..., m, n) with `a == (U * S) @ Vh`, the singular values S (..., k) in descending order, k = min(m,
    n); S alone without `compute_uv`. U and Vh are square, or, without `full_matrices`, (..., m, k) and (..., k, n).

    Of the vectors that `full_matrices` adds, only what does not depend on how they were chosen, such as the space
    that they span, has a derivative. Vectors of equal singular values have none, but products such as `(u * g(s)) @ vh`
    and `u @ vh` do; see `eigh`. Where a singular value is zero, g must be odd, such as s**3.

    Source: Townsend; for complex matrices the phases are divided as in jax.

    >>> u, s, vh = svd(np.diag([3.0, 4.0]))
    >>> s.round(6).tolist()
    [4.0, 3.0]
    """
    a = as_array(a)
    if not hermitian:
        if not compute_uv:
            return bind(svdvals_op, (a,))
        return SVDResult(*bind(svd_op, (a,), {"full_matrices": bool(full_matrices)}))
    if not compute_uv:
        return -np.sort(-np.abs(eigvalsh(a)), -1)
    w, v = eigh(a)
    order = np.argsort(-np.abs(w), -1)
    w, v = np.take_along_axis(w, order, -1), np.take_along_axis(v, row(order), -1)
    return SVDResult(v, np.abs(w), adjoint(v * row(np.sign(w))))


def _svdvals_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    require_matrices("svd", t)
    return ArrayType((*t.shape[:-2], min(t.shape[-2:])), real_dtype(linalg_dtype("svd", t)))


def _svdvals(a: Any) -> Any:
    return isolated(np.linalg.svdvals, a)


def _svdvals_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    u, s, vh = bind(svd_op, (primals[0],), {"full_matrices": False})
    return _singular_value_tangent(s, u, vh, tangents[0], Line(user_source()))


def _svdvals_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (a,) = primals
    u, _, vh = bind(svd_op, (a,), {"full_matrices": False})
    return (conform(_singular_value_cotangent(a, out, u, vh, ct, Line(user_source())), a),)


def _svdvals_samples() -> Iterable[Sample]:
    for sample in _svd_samples():
        if not sample.params["full_matrices"]:
            yield Sample(sample.inputs)


svdvals_op = Op(
    "svdvals",
    evaluate=_svdvals,
    infer=_svdvals_type,
    jvp=_svdvals_jvp,
    vjp=_svdvals_vjp,
    batch=leading_batch("svdvals"),
    held=RECOGNISED,
    samples=_svdvals_samples,
)


@implements(np.linalg.svdvals)
def svdvals(x: ArrayLike, /) -> Array:
    """The singular values of matrices (..., m, n), in descending order: (..., min(m, n)).

    >>> svdvals(np.diag([3.0, 4.0])).round(6).tolist()
    [4.0, 3.0]
    """
    return bind(svdvals_op, (as_array(x),))
