"""Matrices of a form, against SciPy's."""

from __future__ import annotations

import pytest

import tracegrad as tg
from tests.numpy.test_linalg import general, regular
from tests.scipy.linalg import Case, check_batches, check_on_xla, check_values_and_derivatives
from tracegrad.scipy import linalg

CASES: dict[str, Case] = {
    "block_diag": (lambda l, a, b: l.block_diag(a, b, a[0, 0], b[0]), lambda k: [general(2, 3, kind=k), general(1, 2, kind=k)]),
    "toeplitz": (lambda l, c, r: (l.toeplitz(c), l.toeplitz(c, r)), lambda k: [general(3, kind=k), general(4, kind=k)]),
    "hankel": (lambda l, c, r: (l.hankel(c), l.hankel(c, r)), lambda k: [general(3, kind=k), general(4, kind=k)]),
    "circulant": (lambda l, c: l.circulant(c), lambda k: [general(4, kind=k)]),
    "companion": (lambda l, a: l.companion(a), lambda k: [general(4, kind=k) + 1]),
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


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"block_diag at .*test_structured.py:\d+.* takes matrices"):
        tg.jit(lambda a: linalg.block_diag(a[None]))(regular(3, 3))
