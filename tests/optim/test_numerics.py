"""Norms that have derivatives at 0."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import tracegrad as tg
from tracegrad import optim

X = np.array([[3.0, 0.0], [4.0, 0.0]], np.float32)


@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": 0, "keepdims": True}, {"axis": 1, "ord": 1}, {"ord": 2}])
def test_safe_norm(options: dict[str, Any]) -> None:
    expected = np.asarray(optax.safe_norm(X, 1e-3, **options))
    for jit in (lambda f: f, tg.jit, tg.jit(backend="xla")):
        found = np.asarray(jit(lambda x: optim.safe_norm(x, 1e-3, **options))(X))
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    if options.get("ord") == 1:  # which has kinks
        return
    slope = jax.grad(lambda x: optax.safe_norm(x, 1e-3, **options).sum())(X)
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(optim.safe_norm(x, 1e-3, **options)))(X), slope, rtol=1e-6)


def test_safe_root_mean_squares() -> None:
    for x in (X, 0 * X, X + 1j * X):
        expected = np.asarray(optax.safe_root_mean_squares(x, 1e-3))
        found = optim.safe_root_mean_squares(x, 1e-3)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not tg.grad(lambda x: optim.safe_root_mean_squares(x, 1e-3))(0 * X).any()
    assert optim.safe_root_mean_squares(np.full(4, 1000, np.float16), 1e-3) == 1000
