"""Norms."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_linalg import general

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("order", [None, 2, 1, 3, 2.5, 0.5, np.inf, -np.inf, 0, -1, -2])
def test_vector_norms_of_zero(order: Any) -> None:
    for x in (np.zeros(3), np.zeros(3, complex)):
        value, g = tg.value_and_grad(lambda x: np.linalg.norm(x, order))(x)
        assert value == 0
        np.testing.assert_array_equal(g, 0)
    g = tg.grad(lambda x: np.sum(np.linalg.norm(x, order, axis=0)))(np.array([[0.0, 2.0], [0.0, 0.0], [0.0, -1.0]]))
    assert np.all(np.isfinite(g)) and np.all(g[:, 0] == 0)


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms_of_zero(order: Any) -> None:
    value, g = tg.value_and_grad(lambda x: np.linalg.norm(x, order))(np.zeros((2, 3)))
    assert value == 0
    np.testing.assert_array_equal(g, 0)


def test_the_norm_of_zero_has_no_second_derivative() -> None:
    np.testing.assert_array_equal(tg.hessian(np.linalg.norm)(np.zeros(2)), np.nan)


def test_norms_of_scalars_and_integers() -> None:
    assert tg.grad(np.linalg.norm)(-3.0) == -1
    out = tg.vjp(lambda x: np.linalg.norm(x, axis=0), np.array([[3, 1], [4, 0]]))[0]
    np.testing.assert_array_equal(out, [5, 1])
    for kwargs in ({"keepdims": True}, {"ord": 1}, {"ord": 3, "axis": 1, "keepdims": True}, {"axis": (1, 0)}):
        x = general(2, 3)
        ours, theirs = tg.vjp(lambda x: np.linalg.norm(x, **kwargs), x)[0], np.linalg.norm(x, **kwargs)
        assert np.shape(ours) == np.shape(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
