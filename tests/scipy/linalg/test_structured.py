"""Matrices of a form, against SciPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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
    "fiedler": (lambda l, a: l.fiedler(a), lambda k: [general(4, kind=k)]),
    "fiedler_companion": (
        lambda l, a: [l.fiedler_companion(a[:n]) for n in (2, 3, 4, 5, 6)], lambda k: [general(6, kind=k) + 1]
    ),
    "leslie": (lambda l, f, s: l.leslie(f, s), lambda k: [general(4, kind=k), general(3, kind=k)]),
    "convolution_matrix": (
        lambda l, a: [l.convolution_matrix(a[:m], n, mode) for m in (1, 2, 5) for n in (1, 4) for mode in ("full", "same", "valid")],
        lambda k: [general(5, kind=k)],
    ),
    "khatri_rao": (lambda l, a, b: l.khatri_rao(a, b), lambda k: [general(2, 3, kind=k), general(4, 3, kind=k)]),
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


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda a: linalg.leslie(a, a),
            r"leslie at .*: s must have one element less than f, got f64\[3\] and f64\[3\]",
        ),
        (lambda a: linalg.convolution_matrix(a, 0), r"convolution_matrix at .* got f64\[3\], n=0 and mode='full'"),
        (lambda a: linalg.khatri_rao(a, a), r"khatri_rao at .* takes two matrices of as many columns, got f64\[3\]"),
        (lambda a: linalg.fiedler_companion(a[None]), r"fiedler_companion at .* one polynomial, got f64\[1,3\]"),
    ],
)
def test_errors_of_shapes(call: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tg.jit(call)(np.ones(3))
