"""Equations of which the unknown is a matrix: Sylvester's, and with it Lyapunov's and Stein's, and Riccati's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.errors import at, user_source
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.contract import transposed
from tracegrad.ops.families import cast, conform, elementwise_batch
from tracegrad.ops.linalg.matrices import (
    adjoint,
    dominant_matrices,
    each_matrix,
    hermitian_part,
    in_lapack_floats,
    joint_batch,
    linalg_dtype,
    require_matrices,
    require_square,
    scipy_linalg,
    solved,
    uniform_matrices,
)
from tracegrad.ops.reach import batch_of


def _sylvester_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, b, q = types
    require_square("solve_sylvester", a)
    require_square("solve_sylvester", b)
    require_matrices("solve_sylvester", q)
    if q.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise LinAlgError(
            f"solve_sylvester{at(user_source())}: {a}, {b} and {q} do not fit: for a of (m, m) and b of (n, n) q is (m, n)"
        )
    return ArrayType(
        (*joint_batch("solve_sylvester", a, b, q), *q.shape[-2:]), linalg_dtype("solve_sylvester", a, b, q)
    )


def _sylvester(a: Any, b: Any, q: Any) -> Any:
    return each_matrix(scipy_linalg().solve_sylvester, *in_lapack_floats(a, b, q))


def _sylvester_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    a, b, _ = primals
    da, db, change = tangents
    for moved in (None if da is None else np.matmul(da, out), None if db is None else np.matmul(out, db)):
        if moved is not None:
            change = -moved if change is None else change - moved
    return cast(bind(sylvester_op, (a, b, change)), out.dtype)


def _sylvester_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, b, _ = primals
    dq = bind(sylvester_op, (transposed(a), transposed(b), ct))
    cotangents = []
    for i in wanted:
        d = dq if i == 2 else -(np.matmul(dq, transposed(out)) if i == 0 else np.matmul(transposed(out), dq))
        cotangents.append(conform(d, primals[i]))
    return cotangents


def _sylvester_samples() -> Iterable[Sample]:
    yield Sample((dominant_matrices(0, 3, 3), dominant_matrices(1, 2, 2), uniform_matrices(2, 3, 2)))
    yield Sample((dominant_matrices(0, 2, 2), dominant_matrices(1, 3, 2, 2), uniform_matrices(2, 2, 2)))


# The x with a @ x + x @ b == q.
sylvester_op = Op(
    "solve_sylvester",
    evaluate=_sylvester,
    infer=_sylvester_type,
    jvp=_sylvester_jvp,
    vjp=_sylvester_vjp,
    linear=[{2}],
    batch=elementwise_batch("solve_sylvester"),  # leading axes broadcast
    reach=batch_of(2),
    samples=_sylvester_samples,
)


def sylvester(a: Any, b: Any, q: Any) -> Any:
    """The x with `a @ x + x @ b == q`."""
    return bind(sylvester_op, (a, b, q))


def stein(a: Any, q: Any) -> Any:
    """The x with `a @ x @ a^H - x + q == 0`, by Sylvester's equation of the bilinear transforms of `a`."""
    plus = a + np.eye(a.shape[-1], dtype=a.dtype)
    minus = a - np.eye(a.shape[-1], dtype=a.dtype)
    inverse = solved("solve_discrete_lyapunov", plus)
    turned = np.matmul(inverse, minus)
    right = np.matmul(np.matmul(inverse, q), adjoint(inverse))
    return sylvester(turned, adjoint(turned), -2 * right)


def _riccati_type(name: str) -> Callable[[Sequence[ArrayType], Params], ArrayType]:
    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        a, b, q, r = types
        for t in (a, q, r):
            require_square(name, t)
        require_matrices(name, b)
        n, m = a.shape[-1], b.shape[-1]
        if (b.shape[-2], q.shape[-1], r.shape[-1]) != (n, n, m):
            raise LinAlgError(
                f"{name}{at(user_source())}: {a}, {b}, {q} and {r} do not fit: they are (n, n), (n, m), (n, n) and (m, m)"
            )
        return ArrayType((*joint_batch(name, *types), n, n), linalg_dtype(name, *types))

    return infer


def _riccati(name: str, left: Callable[..., tuple[Any, Any]], a: Any, b: Any, q: Any, r: Any) -> Any:
    solve = getattr(scipy_linalg(), name)
    a, b, q, r = in_lapack_floats(a, b, q, r)

    def refined(a: Any, b: Any, r: Any, q: Any) -> Any:
        return _refined(functools.partial(left, a, b, q, r), solve(a, b, q, r))

    return each_matrix(refined, a, b, hermitian_part(r), hermitian_part(q))


def _refined(left: Callable[[Any], tuple[Any, Any]], x: Any) -> Any:
    """By Newton's steps, with what is left of the equation at x in more digits, where the platform has such: where the feedback is near the
    border of what stabilises, SciPy loses a thousand times what the problem does, and its derivative a thousand times that."""
    wide, before = x.astype(np.result_type(x.dtype, np.longdouble)), np.inf
    for _ in range(_REFINEMENTS):
        rest, step = left(wide)
        change = hermitian_part(step(rest.astype(x.dtype)))
        size = np.abs(change).max(initial=0)
        if not size < min(before / 2, 0.01 * np.abs(x).max(initial=0)):
            break
        wide, before = wide + change, size
    return wide.astype(x.dtype)


_REFINEMENTS = 4


def _left_of_discrete(a: Any, b: Any, q: Any, r: Any, x: Any) -> tuple[Any, Any]:
    """What the equation's left side is at x, in its digits, and how to solve for the step that takes it away. As f^H x f - x + q + k^H r k with
    f = a - b k, of which an error in k changes nothing to first order: k and f have the digits of a."""
    xb = (x @ b.astype(x.dtype)).astype(a.dtype)
    k = np.linalg.solve(r + adjoint(b) @ xb, adjoint(xb) @ a)
    f = a.astype(x.dtype) - b.astype(x.dtype) @ k
    rest = adjoint(f) @ x @ f - x + q + adjoint(k.astype(x.dtype)) @ r @ k
    return rest, functools.partial(scipy_linalg().solve_discrete_lyapunov, adjoint(f.astype(a.dtype)))


def _left_of_continuous(a: Any, b: Any, q: Any, r: Any, x: Any) -> tuple[Any, Any]:
    """Likewise as f^H x + x f + q + k^H r k."""
    k = np.linalg.solve(r, adjoint((x @ b.astype(x.dtype)).astype(a.dtype)))
    f = a.astype(x.dtype) - b.astype(x.dtype) @ k
    rest = adjoint(f) @ x + x @ f + q + adjoint(k.astype(x.dtype)) @ r @ k
    narrow = f.astype(a.dtype)
    return rest, lambda rest: scipy_linalg().solve_sylvester(adjoint(narrow), narrow, -rest)


def _with_adjoint(x: Any) -> Any:
    return x + adjoint(x)


def _moved(k: Any, tangents: Sequence[Any], by_loop: Callable[[Any], Any]) -> Any:
    """What the tangents add to the equation at a given x and feedback k: through a - b k, by `by_loop`, and through q and r."""
    da, db, dq, dr = tangents
    moved = da
    if db is not None:
        by_b = np.matmul(db, k)
        moved = -by_b if moved is None else moved - by_b
    terms = [] if moved is None else [_with_adjoint(by_loop(moved))]
    if dq is not None:
        terms.append(hermitian_part(dq))
    if dr is not None:
        terms.append(np.matmul(np.matmul(adjoint(k), hermitian_part(dr)), k))
    return sum(terms[1:], terms[0])


def _discrete_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    """With the feedback K = (R + B^H X B)^-1 B^H X A and F = A - B K, the equation's own derivative is one of Stein's:
    dX - F^H dX F = F^H X (dA - dB K) + its adjoint + dQ + K^H dR K."""
    a, b, _, r = primals
    xb = np.matmul(out, b)
    k = solved("solve_discrete_are", hermitian_part(r) + np.matmul(adjoint(b), xb), np.matmul(adjoint(xb), a))
    f = a - np.matmul(b, k)
    moved = _moved(k, tangents, lambda change: np.matmul(np.matmul(adjoint(f), out), change))
    return cast(stein(adjoint(f), moved), out.dtype)


def _continuous_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    """With the feedback K = R^-1 B^H X and F = A - B K it is one of Lyapunov's:
    F^H dX + dX F + X (dA - dB K) + its adjoint + dQ + K^H dR K = 0."""
    a, b, _, r = primals
    k = solved("solve_continuous_are", hermitian_part(r), adjoint(np.matmul(out, b)))
    f = a - np.matmul(b, k)
    moved = _moved(k, tangents, lambda change: np.matmul(out, change))
    return cast(sylvester(adjoint(f), f, -moved), out.dtype)


def _riccati_samples() -> Iterable[Sample]:
    a, b = uniform_matrices(0, 2, 2, 2) * 0.8, uniform_matrices(1, 2, 1)
    yield Sample((a, b, np.diag([1.0, 2.0]), np.array([[1.5]])))


# The x with a^H x a - x - a^H x b (r + b^H x b)^-1 b^H x a + q == 0 by which the feedback is stable.
riccati_op = Op(
    "solve_discrete_are",
    evaluate=functools.partial(_riccati, "solve_discrete_are", _left_of_discrete),
    infer=_riccati_type("solve_discrete_are"),
    jvp=_discrete_jvp,
    batch=elementwise_batch("solve_discrete_are"),  # leading axes broadcast
    samples=_riccati_samples,
)

# The x with a^H x + x a - x b r^-1 b^H x + q == 0 by which the feedback is stable.
continuous_riccati_op = Op(
    "solve_continuous_are",
    evaluate=functools.partial(_riccati, "solve_continuous_are", _left_of_continuous),
    infer=_riccati_type("solve_continuous_are"),
    jvp=_continuous_jvp,
    batch=elementwise_batch("solve_continuous_are"),  # leading axes broadcast
    samples=_riccati_samples,
)
