"""Products at zeros, against closed forms and jax."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.ops.reduce import X, agrees


def closed_form_prod(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian of the product of a vector, from the definition."""
    n = len(x)
    gradient = np.array([np.prod(np.delete(x, i)) for i in range(n)])
    hessian = np.zeros((n, n))
    for i, j in itertools.permutations(range(n), 2):
        hessian[i, j] = np.prod(np.delete(x, [i, j]))
    return gradient, hessian


@pytest.mark.parametrize("zeros", [[], [0], [3], [1, 2], [0, 4], [0, 2, 3]])
def test_prod_at_zeros(zeros: list[int]) -> None:
    x = np.array([0.5, -1.5, 2.0, 1.25, -0.75])
    x[zeros] = 0.0
    gradient, hessian = closed_form_prod(x)
    np.testing.assert_allclose(tg.grad(np.prod)(x), gradient, rtol=1e-14)
    np.testing.assert_allclose(tg.hessian(np.prod)(x), hessian, rtol=1e-14)
    np.testing.assert_allclose(tg.jacfwd(tg.jacfwd(np.prod))(x), hessian, rtol=1e-14)
    np.testing.assert_allclose(tg.jacrev(tg.jacrev(np.prod))(x), hessian, rtol=1e-14)
    third = tg.jacfwd(tg.hessian(np.prod))(x)
    for i, j, k in itertools.permutations(range(5), 3):
        np.testing.assert_allclose(third[i, j, k], np.prod(np.delete(x, [i, j, k])), rtol=1e-14)
    assert third[0, 0, 1] == third[1, 1, 1] == 0


@pytest.mark.parametrize("axis", [None, (0, 2), (1, 2), (0, 1), 1])
def test_prod_at_zeros_over_several_axes(axis: Any) -> None:
    x = X.copy()
    x[0, 1, 2] = x[1, 0, 0] = x[1, 2, 0] = x[1, 2, 3] = 0.0
    agrees(lambda xp, x: xp.prod(x, axis=axis), x)
