"""Least squares, norms and general eigenvalues, against SciPy's."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.linalg

import tracegrad as tg
from tests.numpy.test_linalg import general, regular
from tests.scipy.linalg import Case, check_batches, check_on_xla, check_values_and_derivatives
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.scipy import linalg
from tracegrad.testing import check_grads

CASES: dict[str, Case] = {
    "lstsq": (lambda l, a, b: l.lstsq(a, b)[:2], lambda k: [general(5, 3, kind=k), general(5, 2, kind=k)]),
    "lstsq vector": (lambda l, a, b: l.lstsq(a, b)[:2], lambda k: [general(5, 3, kind=k), general(5, kind=k)]),
    "lstsq wide": (lambda l, a, b: l.lstsq(a, b, 1e-9)[0], lambda k: [general(2, 3, kind=k), general(2, kind=k)]),
    "norm": (lambda l, a: (l.norm(a), l.norm(a, 1), l.norm(a, 2, axis=(0, 1)), l.norm(a, "nuc"), l.norm(a, 3, axis=1)), lambda k: [general(3, 2, kind=k)]),
    "pinv": (lambda l, a: l.pinv(a, rtol=1e-9), lambda k: [general(4, 2, kind=k)]),
    "pinvh": (lambda l, a: l.pinvh(a + np.conjugate(a.T)), lambda k: [regular(3, 3, kind=k)]),
    "pinvh upper": (lambda l, a: l.pinvh(a + np.conjugate(a.T), lower=False), lambda k: [regular(3, 3, kind=k)]),
    "eigvals": (lambda l, a: np.sort(np.real(l.eigvals(a))), lambda k: [regular(3, 3, kind=k)]),
    "eigvals generalised": (lambda l, a, b: np.sort(np.real(l.eigvals(a, b))), lambda k: [regular(3, 3, kind=k), general(3, 3, kind=k) / 4 + np.eye(3)]),
    "eigvalsh_tridiagonal": (lambda l, d, e: l.eigvalsh_tridiagonal(np.real(d), np.real(e)), lambda k: [general(4, kind="f"), general(3, kind="f")]),
    "orthogonal_procrustes": (lambda l, a, b: l.orthogonal_procrustes(a, b), lambda k: [general(5, 3, kind="f"), general(5, 3, seed=1, kind="f")]),
    "solve_toeplitz": (lambda l, c, r, b: l.solve_toeplitz((c, r), b), lambda k: [general(4, kind=k) + 3 * np.eye(4)[0], general(4, kind=k), general(4, 2, kind=k)]),
    "matmul_toeplitz": (lambda l, c, b: l.matmul_toeplitz(c, b), lambda k: [general(4, kind="f"), general(4, 2, kind="f")]),
    "solve_circulant": (lambda l, c, b: l.solve_circulant(c, b), lambda k: [general(4, kind="f") + 3 * np.eye(4)[0], general(4, kind="f")]),
}  # fmt: skip
BATCHED = ["norm", "pinv", "solve_toeplitz", "solve_circulant"]


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str, kind: str) -> None:
    check_values_and_derivatives(CASES[name], kind)


@pytest.mark.parametrize("kind", ["f", pytest.param("c", marks=pytest.mark.slow)])
def test_values_on_xla(kind: str) -> None:
    check_on_xla({name: case for name, case in CASES.items() if "eigvals" not in name}, kind)


@pytest.mark.parametrize("name", BATCHED)
def test_batches(name: str) -> None:
    check_batches(CASES[name])


def test_second_derivatives() -> None:
    a, b = general(4, 2), general(4)
    check_grads(lambda a, b: linalg.lstsq(a, b)[0], (a, b), order=2, directions=1, rtol=1e-5, atol=1e-6)
    check_grads(
        lambda a: linalg.orthogonal_procrustes(a, general(4, 2, seed=1)),
        (a,),
        order=2,
        directions=1,
        rtol=1e-5,
        atol=1e-6,
    )


def test_ranks_and_vectors() -> None:
    a = np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]])
    got, wanted = [
        tg.vjp(lambda a, l=l: l.pinv(a, return_rank=True), a)[0] if l is linalg else l.pinv(a, return_rank=True)
        for l in (linalg, scipy.linalg)
    ]
    np.testing.assert_allclose(got[0], wanted[0], atol=1e-14)
    assert got[1] == wanted[1] == 1
    m = regular(3, 3)
    w, v = tg.vjp(linalg.eig, m)[0]
    np.testing.assert_allclose(m @ v, v * w, atol=1e-12)


def test_errors() -> None:
    a = regular(3, 3)
    for function, message in [
        (lambda a: linalg.pinv(a, atol=0.1), "tg.scipy.linalg.pinv with atol=0.1 is not traced"),
        (lambda a: linalg.eig(a, left=True), "tg.scipy.linalg.eig with left=True is not traced"),
        (
            lambda a: linalg.solve_circulant(a[0], a, singular="lstsq"),
            "tg.scipy.linalg.lstsq(tg.scipy.linalg.circulant(c), b)",
        ),
    ]:
        with pytest.raises(UnsupportedFunctionError, match=re.escape(message)):
            tg.vjp(function, a)
