"""Hermitian matrices. LAPACK reads one triangle only. A matrix that is Hermitian is taken as a whole, so that its cotangent is
Hermitian too (as in jax); of one that is not, NumPy's documented meaning holds: the other triangle does not count, neither for
the value nor for the derivative."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.quiet import isolated
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.families import broadcast_shapes, cast, conform, elementwise_batch, implements
from tracegrad.ops.linalg.matrices import (
    adjoint,
    floating,
    hermitian_part,
    in_floats,
    leading_batch,
    real_dtype,
    require_square,
    square,
    symmetric_samples,
    uniform_matrices,
)
from tracegrad.ops.linalg.triangular import conjugated_triangle
from tracegrad.ops.reach import batch_of
from tracegrad.typing import Array, ArrayLike


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
    return differ <= 100 * float(np.finfo(a.dtype).eps) * scale if a.dtype.kind in "fc" else differ == 0


def equals_adjoint(a: Any) -> bool:
    """Whether matrices are Hermitian to the last bit, as most are that should be; it takes a quarter of the time."""
    return bool((a == adjoint(a)).all())


def completed_unless(whole: Any, t: Any, lower: bool, transpose: bool) -> Any:
    return np.where(whole, t, (_triangle_completed_transpose if transpose else _triangle_completed)(t, lower))


def _from_triangle(a: Any, t: Any, lower: bool, transpose: bool) -> Any:
    dtype = np.result_type(a, t)
    whole: Any = np.True_ if equals_adjoint(a) else is_hermitian(a)
    if whole.all():
        shape = np.broadcast_shapes(a.shape, t.shape)
        return t.astype(dtype, copy=False) if t.shape == shape else np.broadcast_to(t, shape).astype(dtype)
    return completed_unless(whole, t, lower, transpose).astype(dtype, copy=False)


def _from_triangle_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
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
            yield Sample((a, uniform_matrices(0, 2, 2)), {"lower": lower, "transpose": transpose})
    yield Sample((np.stack([a, a.T]), uniform_matrices(0, 2, 2, 2)), {"lower": True, "transpose": False})


# from_triangle(a, t) is t where a is Hermitian, else t completed from one triangle; from_triangle(a, a) is what LAPACK
# sees. The decision is a's alone, so that the op is linear in t.
from_triangle_op = Op(
    "from_triangle",
    evaluate=_from_triangle,
    infer=_from_triangle_type,
    jvp=_from_triangle_jvp,
    vjp=_from_triangle_vjp,
    linear=[{1}],
    batch=elementwise_batch("from_triangle"),  # leading axes broadcast
    reach=batch_of(2),
    samples=_from_triangle_samples,
)


def from_triangle(name: str, a: ArrayLike, lower: bool) -> Array:
    """Matrices as LAPACK reads them: as they are, if Hermitian, else completed from the lower or upper triangle. `name` is the
    function that takes them."""
    a = floating(a)
    require_square(name, type_of(a))
    return bind(from_triangle_op, (a, a), {"lower": lower, "transpose": False})


def _cholesky_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    n = out.shape[-1]
    middle = conjugated_triangle(out, hermitian_part(tangents[0]))
    halved = (np.tri(n) - 0.5 * np.eye(n)).astype(real_dtype(out.dtype))
    return np.matmul(out, middle * halved)


def _cholesky(a: Any) -> Any:
    a = in_floats(a)
    return isolated(np.linalg.cholesky, a if equals_adjoint(a) else hermitian_part(a))


cholesky_op = Op(
    "cholesky",
    evaluate=_cholesky,
    infer=square("cholesky"),
    jvp=_cholesky_jvp,
    batch=leading_batch("cholesky"),
    samples=symmetric_samples,
)


@implements(np.linalg.cholesky)
def cholesky(a: ArrayLike, /, *, upper: bool = False) -> Array:
    """The lower triangular L with `L @ L^H == a` of Hermitian positive definite matrices (..., m, m), or with `upper` its L^H.
    Raises LinAlgError for matrices that are not positive definite.

    >>> np.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]]).tolist()
    [[2.0, 0.0], [1.0, 2.0]]

    Source: Murray, section 3.1 (the forward rule).
    """
    a = from_triangle("cholesky", a, not upper)
    lower = bind(cholesky_op, (a,))
    return adjoint(lower) if upper else lower
