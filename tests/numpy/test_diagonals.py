"""Triangles and diagonals, their derivatives and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same

X = np.arange(12.0).reshape(3, 4) - 3.3


@pytest.mark.parametrize("k", [-1, 0, 2])
def test_triangles_and_diagonals(k: int) -> None:
    for f in (np.tril, np.triu, np.diag, np.trace):
        g = lambda x, f=f: f(x, k) * 2.0
        same(tg.jit(g)(X), g(X))
    same(tg.grad(lambda x: np.sum(np.tril(x, k) ** 2))(X), 2 * np.tril(X, k))
    same(tg.grad(lambda x: np.trace(x, k))(X), np.eye(3, 4, k))
    same(tg.grad(lambda v: np.sum(np.diag(v, k) * np.ones(())))(X[0]), np.ones(4))


def test_powers_in_columns() -> None:
    x = np.array([0.0, 2.0, -1.5])
    same(tg.jit(lambda x: np.vander(x, 3))(x), np.vander(x, 3))
    same(tg.grad(lambda x: np.sum(np.vander(x, 4, increasing=True)))(x), 1 + 2 * x + 3 * x**2, 1e-14)


def test_a_diagonal_of_three_axes() -> None:
    with pytest.raises(ValueError, match="diag"):
        tg.jit(np.diag)(np.ones((2, 2, 2)))


@pytest.mark.parametrize("f", [np.tril, np.triu])
def test_triangles_of_vectors_have_them_for_rows(f: Any) -> None:
    x = np.arange(1.0, 4.0)
    for k in (-1, 0, 1):
        np.testing.assert_array_equal(tg.jit(lambda x, k=k: f(x, k))(x), f(x, k))
        np.testing.assert_array_equal(tg.vjp(lambda x, k=k: f(x, k), x)[0], f(x, k))
    with pytest.raises(ValueError, match=r"a triangle of a number at .*test_diagonals.py:\d+.*: it needs an axis"):
        tg.jit(f)(1.0)
