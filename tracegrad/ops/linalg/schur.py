"""Orthogonal forms of a matrix of which only the values are traced: Schur's, Hessenberg's, and the order of columns by pivots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import UnsupportedFunctionError, at, user_source
from tracegrad.core.op import JvpRule, Op, Params, Sample
from tracegrad.core.types import ArrayType
from tracegrad.ops.families import locally_constant
from tracegrad.ops.linalg.matrices import (
    dominant_matrices,
    in_lapack_floats,
    leading_batch,
    linalg_dtype,
    require_matrices,
    require_square,
    scipy_linalg,
)


def _no_derivative(name: str, instead: str) -> JvpRule:
    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        raise UnsupportedFunctionError(f"{name}{at(user_source())} has values here, and no derivative.\n  {instead}")

    return jvp


def _pairs(function: Callable[..., Any], a: Any, dtype: Any, **how: Any) -> tuple[Any, ...]:
    """The two matrices that a function makes of each of a batch."""
    first, second = np.empty(a.shape, dtype), np.empty(a.shape, dtype)
    if a.size:
        for i in np.ndindex(*a.shape[:-2]):
            first[i], second[i] = function(a[i], **how)
    return first, second


def _schur_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    require_square("schur", t)
    dtype = linalg_dtype("schur", t)
    if params["output"] == "complex":
        dtype = np.result_type(dtype, np.complex64)
    return ArrayType(t.shape, dtype), ArrayType(t.shape, dtype)


def _schur(a: Any, output: str) -> tuple[Any, ...]:
    (a,) = in_lapack_floats(a)
    dtype = np.result_type(a.dtype, np.complex64) if output == "complex" else a.dtype
    return _pairs(scipy_linalg().schur, a, dtype, output=output)


schur_op = Op(
    "schur",
    evaluate=_schur,
    infer=_schur_type,
    jvp=_no_derivative(
        "schur",
        "Functions of the matrix have one by themselves: tg.scipy.linalg.expm, logm, sqrtm and funm, and np.linalg.eigvals for "
        "what stands on the diagonal.",
    ),
    batch=leading_batch("schur"),
    multiple_results=True,
    kinds="",
)


def _hessenberg_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    require_square("hessenberg", t)
    out = ArrayType(t.shape, linalg_dtype("hessenberg", t))
    return out, out


def _hessenberg(a: Any) -> tuple[Any, ...]:
    (a,) = in_lapack_floats(a)
    return _pairs(scipy_linalg().hessenberg, a, a.dtype, calc_q=True)


hessenberg_op = Op(
    "hessenberg",
    evaluate=_hessenberg,
    infer=_hessenberg_type,
    jvp=_no_derivative(
        "hessenberg", "What does not depend on the form, np.linalg.eigvals say, has one of the matrix itself."
    ),
    batch=leading_batch("hessenberg"),
    multiple_results=True,
    kinds="",
)


def _column_order_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    require_matrices("qr", t)
    linalg_dtype("qr", t)
    return ArrayType((*t.shape[:-2], t.shape[-1]), np.dtype(np.int32))


def _column_order(a: Any) -> Any:
    (a,) = in_lapack_floats(a)
    out = np.broadcast_to(np.arange(a.shape[-1], dtype=np.int32), (*a.shape[:-2], a.shape[-1])).copy()
    if a.size:
        for i in np.ndindex(*a.shape[:-2]):
            out[i] = scipy_linalg().qr(a[i], mode="r", pivoting=True, check_finite=False)[-1]
    return out


# The order in which a QR decomposition with pivots takes the columns.
column_order_op = locally_constant(
    "column_order",
    _column_order,
    infer=_column_order_type,
    batch=leading_batch("column_order"),
    kinds="fc",
    samples=lambda: [Sample((dominant_matrices(0, 3, 3),)), Sample((dominant_matrices(1, 2, 3, 3)[:, :2],))],
)
