"""Determinants and their three derivatives, at singular matrices too."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import general, regular
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)


def of_rank(n: int, rank: int, kind: str = "f") -> Any:
    return general(n, rank, kind=kind) @ general(rank, n, seed=1, kind=kind)


def cofactors(a: Any) -> Any:
    """From their definition, by minors."""
    n = a.shape[0]
    minor = lambda i, j: np.linalg.det(np.delete(np.delete(a, i, 0), j, 1))
    return np.array([[(-1) ** (i + j) * minor(i, j) for j in range(n)] for i in range(n)])


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("n, rank", [(1, 0), (2, 1), (2, 0), (4, 3), (4, 2), (5, 5)])
def test_derivative_of_det_is_the_cofactors(n: int, rank: int, kind: str) -> None:
    a = of_rank(n, rank, kind)
    g = tg.vjp(np.linalg.det, a)[1](a.dtype.type(1))[0]
    np.testing.assert_allclose(g, cofactors(a) if n > 1 else np.ones((1, 1)), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("rank", [4, 3, 2, 1])
def test_second_derivative_of_det(rank: int) -> None:
    """Exact at every rank: entries are signed minors without two rows and columns."""
    a = of_rank(4, rank)
    rows = tg.hessian(np.linalg.det)(a)
    assert np.all(np.isfinite(rows))
    directions = [general(4, 4, seed=s) for s in (5, 6)]
    second = np.einsum("ij,ijkl,kl->", directions[0], rows, directions[1])
    (expected,) = five_point(lambda x: (np.sum(cofactors(x) * directions[1]),), [a], [directions[0]])
    np.testing.assert_allclose(second, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(tg.jacrev(tg.grad(np.linalg.det))(a), rows, rtol=1e-9, atol=1e-11)


def test_third_derivative_of_det() -> None:
    a = regular(3, 3)
    third = tg.jacrev(tg.hessian(np.linalg.det))(a)
    signs = np.zeros((3, 3, 3))
    for i, j, k in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]:
        signs[i, j, k], signs[k, j, i] = 1, -1
    np.testing.assert_allclose(third, np.einsum("ikm,jln->ijklmn", signs, signs), rtol=1e-9, atol=1e-9)
    with pytest.raises(LinAlgError, match="has no derivative here"):
        tg.jacrev(tg.hessian(np.linalg.det))(np.zeros((3, 3)))


def test_det_of_a_batch_with_a_singular_matrix() -> None:
    stack = np.stack([np.eye(3), of_rank(3, 2), of_rank(3, 1)])
    g = tg.grad(lambda a: np.sum(np.linalg.det(a)))(stack)
    np.testing.assert_allclose(g, [cofactors(a) for a in stack], rtol=1e-9, atol=1e-13)
