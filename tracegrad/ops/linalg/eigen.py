"""Eigenvalues and eigenvectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.errors import user_source
from tracegrad.core.op import OPS, Op, Params, Sample, Wanted
from tracegrad.core.quiet import isolated
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.contract import transposed
from tracegrad.ops.families import conform, implements
from tracegrad.ops.linalg.equal_values import Line, among_equals_op, gap_quotients, guard
from tracegrad.ops.linalg.hermitian import from_triangle
from tracegrad.ops.linalg.matrices import (
    diagonals,
    dominant_matrices,
    given_batch,
    hermitian_part,
    in_floats,
    leading_batch,
    linalg_dtype,
    real_dtype,
    require_square,
    row,
    solved,
    symmetric_samples,
    with_complex_number,
)
from tracegrad.ops.linalg.vectors import (
    RECOGNISED,
    eigenvector_tangent,
    expected_op,
    recomposed,
)
from tracegrad.typing import Array, ArrayLike

EigResult: Any = type(np.linalg.eig(np.eye(1)))
EighResult: Any = type(np.linalg.eigh(np.eye(1)))


def is_independent(v: Any) -> Any:
    """Whether eigenvectors are, to half of all digits: (..., 1, 1). Those of a defective matrix are not."""
    s = isolated(np.linalg.svdvals, v)
    return (s[..., -1:, None] > np.sqrt(np.finfo(v.dtype).eps) * s[..., :1, None]) if v.shape[-1] else np.True_


def _independent_vectors(v: Any, line: Line | None) -> Any:
    if not np.all(is_independent(v)):
        raise LinAlgError(
            f"eig{line or ''} has no derivative here: the eigenvectors of a defective matrix (or one that is nearly so) "
            "are not independent, and its eigenvalues have no derivative; np.linalg.trace, det and slogdet do without them"
        )
    return v


def _independent_samples() -> Iterable[Sample]:
    yield Sample((dominant_matrices(0, 3, 3),), {"line": None})
    yield Sample((dominant_matrices(0, 2, 2, 2),), {"line": None})


# Matrices of eigenvectors as they are, if these are independent.
independent_op = guard(
    "independent",
    _independent_vectors,
    _independent_samples,
    infer=lambda types, params: ArrayType(types[0].shape, linalg_dtype("eig", *types)),
)


def _independent(v: Any, line: Line | None) -> Any:
    return bind(independent_op, (v,), {"line": line})


def _eigenvalue_tangent(w: Any, v: Any, t: Any, kind: str, line: Line | None) -> Any:
    if kind == "eigh":
        tangent = bind(expected_op, (v, hermitian_part(t), v))
    else:
        tangent = np.sum(transposed(solved("eigvals", _independent(v, line))) * np.matmul(t, v), -2)
    return bind(among_equals_op, (w, tangent), {"check": False, "zero": False, "kind": kind, "line": line})


def _eigenvalue_cotangent(a: Any, w: Any, v: Any, ct: Any, kind: str, line: Line | None) -> Any:
    """For Hermitian matrices V diag(ct) V^H, transposed: written as the spectral function that it is."""
    ct = bind(among_equals_op, (w, ct), {"check": True, "zero": False, "kind": kind, "line": line})
    if kind == "eigh":
        return hermitian_part(transposed(recomposed(a, (w, v), ct, line)))
    return transposed(np.matmul(v * row(ct), solved("eigvals", _independent(v, line))))


def _values_rules(kind: str) -> dict[str, Any]:
    """The derivative rules of eigenvalues without their vectors, which `kind` gives with both."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        w, v = bind(OPS[kind], (primals[0],))
        return _eigenvalue_tangent(w, v, tangents[0], kind, Line(user_source()))

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        (a,) = primals
        w, v = bind(OPS[kind], (a,))
        return (conform(_eigenvalue_cotangent(a, w, v, ct, kind, Line(user_source())), a),)

    return {"jvp": jvp, "vjp": vjp}


def _given_values_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    _, w, v = primals
    return None if tangents[0] is None else _eigenvalue_tangent(w, v, tangents[0], **params)


def _given_values_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, _, v = primals
    return [conform(_eigenvalue_cotangent(a, out, v, ct, **params), a) if i == 0 else None for i in wanted]


def _given_values(a: Any, w: Any, v: Any, kind: str, line: Line | None) -> Any:
    return w


# The eigenvalues of a matrix, given with its decomposition, of which the derivative is the matrix's alone. So it does not
# need that of the vectors.
eigenvalues_op = Op(
    "eigenvalues",
    evaluate=_given_values,
    data=lambda params: (1, 2),
    infer=lambda types, params: types[1],
    jvp=_given_values_jvp,
    vjp=_given_values_vjp,
    batch=given_batch("eigenvalues"),
    kinds="",
)


# ---------------------------------------------------------------------------------------------------------------------
# Hermitian matrices.


def _eigh_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    require_square("eigh", t)
    dtype = linalg_dtype("eigh", t)
    return ArrayType(t.shape[:-1], real_dtype(dtype)), ArrayType(t.shape, dtype)


def _eigh_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    w, v = out
    line = Line(user_source())
    return _eigenvalue_tangent(w, v, tangents[0], "eigh", line), eigenvector_tangent(w, v, tangents[0], line)


def _eigh(a: Any) -> tuple[Any, ...]:
    return tuple(isolated(np.linalg.eigh, hermitian_part(in_floats(a))))


eigh_op = Op(
    "eigh",
    evaluate=_eigh,
    infer=_eigh_type,
    jvp=_eigh_jvp,
    batch=leading_batch("eigh"),
    held=RECOGNISED,
    multiple_results=True,
    samples=with_complex_number(symmetric_samples),
)


def _is_lower(uplo: str, name: str) -> bool:
    if str(uplo).upper() not in ("L", "U"):
        raise ValueError(f"{name}: UPLO must be 'L' or 'U', got {uplo!r}")
    return str(uplo).upper() == "L"


@implements(np.linalg.eigh)
def eigh(a: ArrayLike, UPLO: str = "L") -> tuple[Array, Array]:
    """`(eigenvalues, eigenvectors)` of Hermitian matrices (..., m, m): real numbers (..., m) in ascending order, and matrices
    with the vectors as columns. Of a matrix that is not Hermitian, the lower triangle is read, or the upper one with UPLO "U".

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
    return EighResult(*bind(eigh_op, (from_triangle("eigh", a, _is_lower(UPLO, "eigh")),)))


def _eigvalsh_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    require_square("eigvalsh", t)
    return ArrayType(t.shape[:-1], real_dtype(linalg_dtype("eigvalsh", t)))


def _eigvalsh(a: Any) -> Any:
    return isolated(np.linalg.eigvalsh, hermitian_part(in_floats(a)))


eigvalsh_op = Op(
    "eigvalsh",
    evaluate=_eigvalsh,
    infer=_eigvalsh_type,
    **_values_rules("eigh"),
    batch=leading_batch("eigvalsh"),
    held=RECOGNISED,
    samples=symmetric_samples,
)


@implements(np.linalg.eigvalsh)
def eigvalsh(a: ArrayLike, UPLO: str = "L") -> Array:
    """The eigenvalues (..., m) of Hermitian matrices (..., m, m), in ascending order; see `eigh`. Of equal ones, the derivative is that of their mean, in
    forward mode; in reverse mode a function that does not treat them alike has a kink, and raises LinAlgError.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda a: np.linalg.eigvalsh(a)[-1])(np.diag([1.0, 2.0])).tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    return bind(eigvalsh_op, (from_triangle("eigvalsh", a, _is_lower(UPLO, "eigvalsh")),))


# ---------------------------------------------------------------------------------------------------------------------
# General square matrices.


def _to_complex(x: Any) -> Any:
    return x.astype(np.result_type(x.dtype, np.complex64), copy=False)


def _eig_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    (t,) = types
    require_square("eig", t)
    dtype = np.result_type(linalg_dtype("eig", t), np.complex64)
    return ArrayType(t.shape[:-1], dtype), ArrayType(t.shape, dtype)


def _eig_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> tuple[Any, ...]:
    w, v = out
    line = Line(user_source())
    rotated = solved("eig", _independent(v, line), np.matmul(tangents[0], v))
    dw = bind(among_equals_op, (w, diagonals(rotated)), {"check": False, "zero": False, "kind": "eig", "line": line})
    u = np.matmul(v, rotated * gap_quotients(w, "eig", line))
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
    yield Sample((dominant_matrices(0, 3, 3),))
    yield Sample((np.array([[1.0, -2.0, 0.3], [1.5, 1.0, 0.1], [0.2, 0.4, 4.0]]),))
    yield Sample((dominant_matrices(1, 2, 2, 2),))
    yield Sample((np.zeros((0, 0)),))


def _eig(a: Any) -> tuple[Any, Any]:
    w, v = isolated(np.linalg.eig, a)
    return _to_complex(w), _to_complex(v)


eig_op = Op(
    "eig",
    evaluate=_eig,
    infer=_eig_type,
    jvp=_eig_jvp,
    batch=leading_batch("eig"),
    held=RECOGNISED,
    multiple_results=True,
    samples=_eig_samples,
)


@implements(np.linalg.eig)
def eig(a: ArrayLike) -> tuple[Array, Array]:
    """`(eigenvalues, eigenvectors)` of square matrices (..., m, m), (..., m) and (..., m, m) with the vectors as columns: always
    complex (NumPy's are real where they happen to be). The vectors' derivative needs distinct eigenvalues, and keeps LAPACK's
    choice: unit length, the largest component real. Of a defective matrix neither has a derivative: it raises LinAlgError.

    Source: Giles, section 3.1; Magnus, "On Differentiating Eigenvalues and Eigenvectors", 1985.

    >>> w, v = eig(np.diag([1.0, 2.0]))
    >>> w.tolist(), v.tolist()
    ([1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]])
    """
    return EigResult(*bind(eig_op, (as_array(a),)))


def _eigvals_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return _eig_type(types, params)[0]


def _eigvals(a: Any) -> Any:
    return _to_complex(isolated(np.linalg.eigvals, a))


eigvals_op = Op(
    "eigvals",
    evaluate=_eigvals,
    infer=_eigvals_type,
    **_values_rules("eig"),
    batch=leading_batch("eigvals"),
    samples=_eig_samples,
)


@implements(np.linalg.eigvals)
def eigvals(a: ArrayLike) -> Array:
    """The eigenvalues (..., m) of square matrices (..., m, m), always complex (NumPy's are real where they happen to be).

    >>> eigvals(np.diag([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """
    return bind(eigvals_op, (a,))
