"""The vectors of decompositions: how they turn, columns of them, products of them with functions of the values; and what has
`transforms/recognise.py` look at what a program makes of a decomposition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.late import LOADERS
from tracegrad.core.op import Held, Op, Params, Sample, Wanted
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import Trace, bind
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.ops.contract import column, conjugate_of_complex, transposed
from tracegrad.ops.families import add_tangents, cast, conform, elementwise_batch
from tracegrad.ops.linalg.equal_values import Line, gap_quotients, nonzero
from tracegrad.ops.linalg.matrices import (
    adjoint,
    given_batch,
    hermitian_part,
    real_dtype,
    row,
    uniform_matrices,
)


def _recognising(trace: Trace, elsewhere: tuple[str, Sequence[Any]] | None = None) -> None:
    """Have a trace that is about to record a decomposition recognise what is made of it, or of one of `elsewhere`, its kind
    and the inputs of `recomposed`; see transforms/recognise.py."""
    if not (trace.executes or trace.ended):
        LOADERS["recognise"]()(trace, elsewhere)


RECOGNISED = Held(expand=lambda trace, inputs, params: _recognising(trace))


def eigenvector_tangent(w: Any, v: Any, t: Any, line: Line | None, low: int = 0, high: int | None = None) -> Any:
    """The tangent of the vectors `low` to `high`, zero for the others."""
    rotated = np.matmul(np.matmul(adjoint(v), hermitian_part(t)), v)
    return np.matmul(v, gap_quotients(w, "eigh", line, low, high) * rotated)


def singular_vector_tangent(
    s: Any, u: Any, vh: Any, t: Any, side: str, line: Line | None, low: int = 0, high: int | None = None
) -> Any:
    """The tangent of the columns `low` to `high` of U or of V, zero for the others. U and V turn in phase against each
    other: all of it is given to U."""
    v = adjoint(vh)
    if side == "v":
        u, v, t = v, u, adjoint(t)
    k = s.shape[-1]
    high = u.shape[-1] if high is None else high
    u1, v1 = first_columns(u, k), first_columns(v, k)
    seen = np.matmul(np.matmul(adjoint(u1), t), v1)
    by_column = seen * row(s)
    is_outside, turns_phase = u.shape[-2] > k, side == "u" and number_kind(seen.dtype) == "c"
    divides = (is_outside or turns_phase) and k > 0
    # The columns that were added are orthogonal to all others, and so depend on what of these lies outside.
    firsts = (low, min(high, k)) if high <= k else (low, k)
    turn = gap_quotients(s, "svd", line, *firsts, zero=divides) * (by_column + adjoint(by_column))
    outside = None
    if divides:
        start, stop = 0 if high > k else low, min(high, k)
        chosen = (np.arange(k) >= start) & (np.arange(k) < stop)
        inverse = np.where(chosen, 1 / np.where(chosen, nonzero(s, start, stop, "svd", line), 1), 0)
        if turns_phase:
            turn = turn + np.where(np.eye(k, dtype=bool), row(inverse) * (1j * np.imag(seen)), 0)
        if is_outside:
            outside = _outside(u1, np.matmul(t, v1)) * row(inverse)
    du = np.matmul(u1, turn)
    if outside is not None:
        du = du + outside
    if u.shape[-1] > k:
        beyond = -np.matmul(u1, np.matmul(adjoint(outside), u[..., k:])) if outside is not None else 0 * u[..., k:]
        du = np.concatenate([du, beyond], -1)
    return du


def _outside(basis: Any, x: Any) -> Any:
    """What of the columns of x is not in the space of an orthonormal basis."""
    return x - np.matmul(basis, np.matmul(adjoint(basis), x))


def _columns_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    if tangents[0] is None:
        return None
    low, high, line = params["low"], params["high"], params["line"]
    if params["kind"] == "eigh":
        _, w, v, _ = primals
        t = eigenvector_tangent(w, v, tangents[0], line, low, high)
    else:
        _, s, u, vh, _ = primals
        t = singular_vector_tangent(s, u, vh, tangents[0], params["side"], line, low, high)
    t = t[..., low:high]
    if params["conjugated"]:
        t = conjugate_of_complex(t)
    if params["turned"]:
        t = transposed(t)
    return np.reshape(t, out.shape) if params["squeezed"] else t


def _last(*inputs: Any, **params: Any) -> Any:
    return inputs[-1]


# Some of the eigenvectors, as they were cut out, given with the decomposition and last. Their derivative needs that their
# values differ from all others, but not that the others differ.
columns_op = Op(
    "columns",
    evaluate=_last,
    data=lambda params: range(1, 4 if params["kind"] == "eigh" else 5),
    infer=lambda types, params: types[-1],
    jvp=_columns_jvp,
    batch=given_batch("columns"),
    kinds="",
)


def expectations(left: Any, a: Any, right: Any) -> Any:
    return np.real(np.sum(conjugate_of_complex(left) * np.matmul(a, right), -2))


def _expected_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    batch = broadcast_shapes(*[t.shape[:-2] for t in types])
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
    cotangents: list[Any] = []
    for i in wanted:
        if i == 0:
            d = conjugate_of_complex(np.matmul(a, right)) * row(ct)
        elif i == 1:
            d = conjugate_of_complex(np.matmul(left * row(ct), adjoint(right)))
        else:
            d = np.matmul(transposed(a), conjugate_of_complex(left)) * row(ct)
        cotangents.append(conform(d, primals[i]))
    return cotangents


def _expected_samples() -> Iterable[Sample]:
    for shapes in [((3, 2), (3, 4), (4, 2)), ((2, 2), (3, 2, 2), (2, 2))]:
        yield Sample(tuple([uniform_matrices(i, *shape) for i, shape in enumerate(shapes)]))


# The real part of u^H A v for each column of U and V: what eigenvalues and singular values move by.
expected_op = Op(
    "expected",
    evaluate=expectations,
    infer=_expected_type,
    jvp=_expected_jvp,
    vjp=_expected_vjp,
    linear=[{0}, {1}, {2}],
    batch=elementwise_batch("expected"),  # leading axes broadcast
    samples=_expected_samples,
)


def first_columns(x: Any, k: int) -> Any:
    return x if x.shape[-1] == k else x[..., :k]


def _sides(decomposition: Sequence[Any]) -> tuple[Any, Any]:
    """U and V^H, of as many columns and rows as there are values."""
    k = decomposition[0].shape[-1]
    if len(decomposition) == 2:
        return decomposition[1], adjoint(decomposition[1])
    _, u, vh = decomposition
    return first_columns(u, k), vh if vh.shape[-2] == k else vh[..., :k, :]


def recomposition(a: Any, *rest: Any, kind: str, line: Line | None) -> Any:
    left, right = _sides(rest[:-1])
    return np.matmul(left * row(rest[-1]), right)


def _recomposed_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, *decomposition, x = types
    batch = broadcast_shapes(a.shape[:-2], x.shape[:-1], decomposition[0].shape[:-1])
    return ArrayType((*batch, *a.shape[-2:]), np.result_type(x.dtype, decomposition[1].dtype))


def _turned(decomposition: Sequence[Any], x: Any, t: Any, line: Line | None) -> Any:
    """What U diag(x) V^H moves by where the vectors turn along t. It is its own transpose, up to conjugation."""
    if len(decomposition) == 2:
        w, v = decomposition
        rotated = np.matmul(np.matmul(adjoint(v), t), v)
        gaps = gap_quotients(w, "eigh", line) * (row(x) - column(x))
        return np.matmul(np.matmul(v, gaps * rotated), adjoint(v))
    s, u, vh = decomposition
    k = s.shape[-1]
    left, right = _sides(decomposition)
    du = first_columns(singular_vector_tangent(s, u, vh, t, "u", line, 0, k), k)
    dv = first_columns(singular_vector_tangent(s, u, vh, t, "v", line, 0, k), k)
    return np.matmul(du * row(x), right) + np.matmul(left * row(x), adjoint(dv))


def _recomposed_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    a, *decomposition, x = primals
    terms = []
    if tangents[0] is not None:
        t = hermitian_part(tangents[0]) if len(decomposition) == 2 else tangents[0]
        terms.append(_turned(decomposition, x, t, params["line"]))
    if tangents[-1] is not None:
        terms.append(recomposed(a, decomposition, tangents[-1], params["line"]))
    return add_tangents([cast(t, out.dtype) for t in terms])


def _recomposed_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    _, *decomposition, x = primals
    is_hermitian = len(decomposition) == 2
    # Of a Hermitian matrix the derivative is linear, and here transposed; of others it is a gradient's, and conjugated.
    back = transposed if is_hermitian else conjugate_of_complex
    cotangents: list[Any] = []
    for i in wanted:
        d = None
        if i == 0:
            d = back(_turned(decomposition, x, back(ct), params["line"]))
            d = hermitian_part(d) if is_hermitian else d
        elif i == len(primals) - 1:
            left, right = _sides(decomposition)
            d = bind(expected_op, (left, back(ct), left if is_hermitian else adjoint(right)))
        cotangents.append(conform(d, primals[i]))
    return cotangents


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


def recomposed(a: Any, decomposition: Sequence[Any], x: Any, line: Line | None) -> Any:
    kind = "eigh" if len(decomposition) == 2 else "svd"
    return bind(recomposed_op, (a, *decomposition, x), {"kind": kind, "line": line})
