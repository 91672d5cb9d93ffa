"""Systems of equations and matrix equations, against SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import general, hermitian, regular
from tests.scipy.linalg import Case, check_batches, check_on_xla, check_values_and_derivatives, upper
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.scipy import linalg
from tracegrad.testing import check_grads


def bands(rows: int, n: int, main: int, kind: str) -> Any:
    ab = general(rows, n, kind=kind)
    ab[main] = np.abs(ab[main]) + 4
    return ab


def stable(n: int, kind: str) -> Any:
    return general(n, n, kind=kind) / 2


CASES: dict[str, Case] = {
    "solve": (lambda l, a, b: l.solve(a, b), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "solve transposed": (lambda l, a, b: l.solve(a, b, transposed=True, assume_a="gen"), lambda k: [regular(3, 3), general(3, 2)]),
    "solve pos": (lambda l, a, b: l.solve(a + np.conjugate(a.T), b, assume_a="pos"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve pos lower": (lambda l, a, b: l.solve(a + np.conjugate(a.T), b, lower=True, assume_a="pos"), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "solve sym": (lambda l, a, b: l.solve(a, b, assume_a="sym"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve sym lower": (lambda l, a, b: l.solve(a, b, lower=True, assume_a="sym"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve her": (lambda l, a, b: l.solve(a + np.conjugate(a.T), b, assume_a="her"), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "solve upper": (lambda l, a, b: l.solve(a, b, assume_a="upper triangular"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve lower transposed": (lambda l, a, b: l.solve(a, b, assume_a="lower triangular", transposed=True), lambda k: [np.tril(regular(3, 3, kind="f")), general(3, 2, kind="f")]),
    "solve diagonal": (lambda l, d, b: l.solve(np.diag(d), b, assume_a="diagonal"), lambda k: [general(3, kind=k) + 2, general(3, kind=k)]),
    **{
        f"solve_triangular {trans} {lower} {unit}": (
            lambda l, a, b, t=trans, lo=lower, u=unit: l.solve_triangular(a, b, trans=t, lower=lo, unit_diagonal=u),
            lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)],
        )
        for trans, lower, unit in [(0, False, False), (1, True, False), ("C", True, True), (2, False, False)]
    },
    "cho_solve": (lambda l, a, b: l.cho_solve(l.cho_factor(a + np.conjugate(a.T)), b), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "cho_solve lower": (lambda l, a, b: l.cho_solve(l.cho_factor(a + np.conjugate(a.T), lower=True), b), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "cho_factor": (lambda l, a: upper(l.cho_factor(a + np.conjugate(a.T))[0]), lambda k: [regular(3, 3, kind=k)]),
    "cholesky": (lambda l, a: (l.cholesky(a + np.conjugate(a.T)), l.cholesky(a + np.conjugate(a.T), lower=True)), lambda k: [regular(3, 3, kind=k)]),
    "inv, det": (lambda l, a: (l.inv(a), l.det(a)), lambda k: [regular(3, 3, kind=k)]),
    "solve_banded": (lambda l, ab, b: l.solve_banded((1, 2), ab, b), lambda k: [bands(4, 5, 2, k), general(5, kind=k)]),
    "solve_banded 1 1": (lambda l, ab, b: l.solve_banded((1, 1), ab, b), lambda k: [bands(3, 4, 1, k), general(4, 2, kind=k)]),
    "solveh_banded": (lambda l, ab, b: l.solveh_banded(ab, b), lambda k: [np.vstack([general(2, 4, kind=k) / 2, np.full(4, 4.0)]), general(4, kind=k)]),
    "solveh_banded lower": (lambda l, ab, b: l.solveh_banded(ab, b, lower=True), lambda k: [np.vstack([np.full(4, 4.0), general(2, 4, kind=k) / 2]), general(4, 2, kind=k)]),
    "cholesky_banded": (lambda l, ab: np.where(np.arange(4) >= 2 - np.arange(3)[:, None], l.cholesky_banded(ab), 0), lambda k: [np.vstack([general(2, 4, kind=k) / 2, np.full(4, 4.0)])]),
    "cho_solve_banded": (lambda l, ab, b: l.cho_solve_banded((l.cholesky_banded(ab), False), b), lambda k: [np.vstack([general(2, 4, kind=k) / 2, np.full(4, 4.0)]), general(4, kind=k)]),
    "cho_solve_banded lower": (lambda l, ab, b: l.cho_solve_banded((l.cholesky_banded(ab, lower=True), True), b), lambda k: [np.vstack([np.full(4, 4.0), general(2, 4, kind=k) / 2]), general(4, kind=k)]),
    "solve_sylvester": (lambda l, a, b, q: l.solve_sylvester(a, b, q), lambda k: [regular(3, 3, kind=k), regular(2, 2, kind=k), general(3, 2, kind=k)]),
    "solve_continuous_lyapunov": (lambda l, a, q: l.solve_continuous_lyapunov(a, q), lambda k: [regular(3, 3, kind=k), general(3, 3, kind=k)]),
    "solve_discrete_lyapunov": (lambda l, a, q: l.solve_discrete_lyapunov(a, q), lambda k: [stable(3, k), general(3, 3, seed=1, kind=k)]),
    "solve_discrete_lyapunov bilinear": (lambda l, a, q: l.solve_discrete_lyapunov(a, q, method="bilinear"), lambda k: [stable(3, k), general(3, 3, seed=1, kind=k)]),
    "solve_continuous_are": (
        lambda l, a, b, q, r: l.solve_continuous_are(a, b, q + np.conjugate(q.T), r + np.conjugate(r.T)),
        lambda k: [stable(3, k) * 2, general(3, 2, kind=k), regular(3, 3, kind=k), regular(2, 2, kind=k)],
    ),
    "solve_discrete_are": (
        lambda l, a, b, q, r: l.solve_discrete_are(a, b, q + np.conjugate(q.T), r + np.conjugate(r.T)),
        lambda k: [stable(3, k) * 2, general(3, 2, kind=k), regular(3, 3, kind=k), regular(2, 2, kind=k)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str, kind: str) -> None:
    check_values_and_derivatives(CASES[name], kind)


@pytest.mark.parametrize("kind", ["f", "c"])
def test_values_on_xla(kind: str) -> None:
    check_on_xla(CASES, kind)


@pytest.mark.parametrize("name", CASES)
def test_batches(name: str) -> None:
    check_batches(CASES[name])


def test_second_derivatives() -> None:
    a, b = regular(2, 2), general(2)
    for f, args in [
        (lambda a, b: linalg.cho_solve(linalg.cho_factor(a @ a.T, lower=True), b), [a, b]),
        (lambda a: linalg.solve_discrete_are(a, np.eye(2), np.eye(2), np.eye(2)), [a / 3]),
    ]:
        check_grads(f, args, order=2, directions=1, rtol=1e-5, atol=1e-6)


def test_the_other_half_does_not_count() -> None:
    """Of a factor that SciPy made, and left something in."""
    a, b = hermitian(3, 3), general(3)
    c, lower = scipy.linalg.cho_factor(a)
    assert c[2, 0] != 0
    np.testing.assert_allclose(tg.jit(lambda b: linalg.cho_solve((c, lower), b))(b), np.linalg.solve(a, b), rtol=1e-12)


def test_errors() -> None:
    a = regular(3, 3)
    for function, message in [
        (lambda a: linalg.solve(a, a, assume_a="odd"), "'odd' is not a recognized matrix structure"),
        (lambda a: linalg.solve_triangular(a, a, trans=3), "trans must be 0, 1, 2, 'N', 'T' or 'C', got 3"),
        (lambda a: linalg.solve_discrete_lyapunov(a, a, method="x"), "method must be 'direct' or 'bilinear'"),
    ]:
        with pytest.raises(ValueError, match=message):
            tg.jit(function)(a)
    for function, message in [
        (lambda a: linalg.solve_discrete_are(a, a, a, a, s=a), r"solve_discrete_are with e or s is not traced"),
    ]:
        with pytest.raises(UnsupportedFunctionError, match=message):
            tg.jit(function)(a)
    with pytest.raises(LinAlgError, match=r"the leading axes of .* do not broadcast"):
        tg.jit(linalg.solve_sylvester)(np.ones((2, 3, 3)), np.ones((3, 3)), np.ones((3, 3, 3)))
