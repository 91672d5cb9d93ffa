"""Decompositions, against SciPy's; those that have no derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import tracegrad as tg
from tests.numpy.test_linalg import adjoint, general, regular
from tests.scipy.linalg import Case, check_batches, check_on_xla, check_values_and_derivatives
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.scipy import linalg
from tracegrad.testing import check_grads


def projector(v: Any) -> Any:
    return v @ np.conjugate(np.swapaxes(v, -1, -2))


CASES: dict[str, Case] = {
    "lu": (lambda l, a: l.lu(a)[1:], lambda k: [regular(3, 3, kind=k)[::-1].copy()]),
    "lu tall": (lambda l, a: l.lu(a, permute_l=True), lambda k: [regular(4, 4, kind=k)[[2, 0, 1, 3], :2]]),
    "lu wide": (lambda l, a: l.lu(a)[1:], lambda k: [regular(4, 4, kind=k)[[1, 0]]]),
    **{
        f"lu_solve {trans}": (lambda l, a, b, t=trans: l.lu_solve(l.lu_factor(a), b, trans=t), lambda k: [regular(3, 3, kind=k)[::-1].copy(), general(3, 2, kind=k)])
        for trans in (0, 1, 2)
    },
    "qr": (lambda l, a: l.qr(a), lambda k: [regular(3, 3, kind=k)]),
    "qr economic": (lambda l, a: l.qr(a, mode="economic"), lambda k: [regular(4, 4, kind=k)[:, :2]]),
    "qr r": (lambda l, a: l.qr(a, mode="r"), lambda k: [regular(3, 3, kind=k)]),
    "qr pivoting": (lambda l, a: l.qr(a, pivoting=True)[:2], lambda k: [regular(3, 3, kind=k)]),
    "qr_multiply": (lambda l, a, c: l.qr_multiply(a, c), lambda k: [regular(4, 4, kind=k)[:, :2], general(3, 4, kind=k)]),
    "qr_multiply left": (lambda l, a, c: l.qr_multiply(a, c, "left"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "qr_multiply of a vector": (
        lambda l, a, c: [l.qr_multiply(a, c, m, conjugate=h) for m in ("left", "right") for h in (True, False)],
        lambda k: [regular(3, 3, kind=k), general(3, kind=k)],
    ),
    "qr_multiply pivoting": (
        lambda l, a, c: l.qr_multiply(a, c, pivoting=True)[:2], lambda k: [regular(4, 4, kind=k)[:, :2], general(3, 4, kind=k)]
    ),
    "rq": (lambda l, a: l.rq(a), lambda k: [regular(3, 3, kind=k)]),
    "rq economic": (lambda l, a: l.rq(a, mode="economic"), lambda k: [regular(4, 4, kind=k)[:2]]),
    "rq r": (lambda l, a: l.rq(a, mode="r"), lambda k: [regular(3, 3, kind=k)]),
    "polar": (lambda l, a: l.polar(a), lambda k: [regular(3, 3, kind=k)]),
    "polar left": (lambda l, a: l.polar(a, side="left"), lambda k: [regular(4, 4, kind=k)[:2]]),
    "svd": (lambda l, a: (lambda u, s, vh: (u * s**2) @ vh)(*l.svd(a, full_matrices=False)), lambda k: [regular(3, 3, kind=k)]),
    "svdvals": (lambda l, a: (l.svdvals(a), l.svd(a, compute_uv=False)), lambda k: [regular(3, 3, kind=k)]),
    "eigh": (lambda l, a: projector(l.eigh(a + np.conjugate(a.T), subset_by_index=(0, 1))[1]), lambda k: [regular(3, 3, kind=k)]),
    **{
        f"eigh {kind}": (
            lambda l, a, b, t=kind: (lambda w, v: (w, projector(v[:, :1])))(*l.eigh(a + np.conjugate(a.T), b + np.conjugate(b.T), type=t)),
            lambda k: [regular(3, 3, kind=k), np.eye(3) + regular(3, 3, seed=1, kind=k) / 3],
        )
        for kind in (1, 2, 3)
    },
    "eigvalsh": (lambda l, a: l.eigvalsh(a + np.conjugate(a.T), subset_by_index=[1, 2]), lambda k: [regular(3, 3, kind=k)]),
    "eigh_tridiagonal": (lambda l, d, e: (lambda w, v: (w, projector(v[:, :1])))(*l.eigh_tridiagonal(d, e)), lambda k: [np.arange(4.0), general(3) + 1]),
    "eigh_tridiagonal i": (lambda l, d, e: l.eigh_tridiagonal(d, e, eigvals_only=True, select="i", select_range=(1, 2)), lambda k: [np.arange(4.0), general(3) + 1]),
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
        (lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b), [a, b]),
    ]:
        check_grads(f, args, order=2, directions=1, rtol=1e-5, atol=1e-6)


def test_permutations() -> None:
    a = regular(4, 4)[[2, 0, 3, 1]]
    for out in (linalg.lu(a), tg.jit(linalg.lu)(a)):
        for got, expected in zip(out, scipy.linalg.lu(a), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12)
    p, l, u = tg.jit(lambda a: linalg.lu(a, p_indices=True))(a)
    np.testing.assert_array_equal(p, scipy.linalg.lu(a, p_indices=True)[0])
    np.testing.assert_allclose(l[p] @ u, a, rtol=1e-12)
    np.testing.assert_array_equal(tg.jit(lambda a: linalg.lu_factor(a)[1])(a), scipy.linalg.lu_factor(a)[1])
    np.testing.assert_array_equal(
        tg.jit(lambda a: linalg.qr(a, pivoting=True)[2])(a), scipy.linalg.qr(a, pivoting=True)[2]
    )


def test_values_without_derivatives() -> None:
    a = regular(3, 3)
    for backend in ("numpy", "xla"):
        t, z = tg.jit(linalg.schur, backend=backend)(a)
        np.testing.assert_allclose(z @ t @ z.T, a, atol=1e-12)
        t, z = tg.jit(lambda a: linalg.schur(a, output="complex"), backend=backend)(a)
        np.testing.assert_allclose(z @ t @ adjoint(z), a, atol=1e-12)
        h, q = tg.jit(lambda a: linalg.hessenberg(a, calc_q=True), backend=backend)(a)
        np.testing.assert_allclose(q @ h @ q.T, a, atol=1e-12)
        assert abs(h[2, 0]) < 1e-12
    for function in (linalg.schur, linalg.hessenberg):
        with pytest.raises(
            UnsupportedFunctionError, match=r"(schur|hessenberg) at .*test_decompositions\.py:\d+.* no derivative"
        ):
            tg.grad(lambda a: np.sum(function(a)[0]))(a)


def test_errors() -> None:
    a = regular(3, 3)
    for function, message in [
        (lambda a: linalg.lu_solve(linalg.lu_factor(a), a, trans=3), "trans must be 0, 1 or 2, got 3"),
        (lambda a: linalg.polar(a, side="up"), "side must be 'right' or 'left', got 'up'"),
        (lambda a: linalg.rq(a, mode="raw"), "mode must be 'full', 'economic' or 'r', got 'raw'"),
    ]:
        with pytest.raises(ValueError, match=message):
            tg.jit(function)(a)
    for function, message in [
        (
            lambda a: linalg.eigh(a, subset_by_value=(0, 1)),
            r"eigh with subset_by_value is not traced at .*test_decompositions",
        ),
        (lambda a: linalg.qr(a, mode="raw"), r"qr with mode='raw' is not traced"),
        (lambda a: linalg.schur(a, sort="lhp"), r"schur with sort is not traced"),
        (lambda a: linalg.eigh_tridiagonal(a[0], a[0, 1:], select="v"), r"select='v' is not traced"),
    ]:
        with pytest.raises(UnsupportedFunctionError, match=message):
            tg.jit(function)(a)
