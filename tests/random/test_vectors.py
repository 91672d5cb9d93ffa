"""Vectors and matrices: jax's, their distributions, and derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.random.parity import KEY, Draw, assert_as_jax, assert_drawn_from
from tracegrad.core.errors import DtypeError, ShapeError

jax = pytest.importorskip("jax")
stats = pytest.importorskip("scipy.stats")

MEAN = np.array([1.0, -2.0])
COV = np.array([[2.0, 0.3], [0.3, 1.0]])

DRAWS: dict[str, Draw] = {
    "multivariate_normal": lambda r, key: r.multivariate_normal(key, MEAN, COV, (20,)),
    "multivariate_normal of float32": lambda r, key: r.multivariate_normal(
        key, MEAN.astype(np.float32), COV.astype(np.float32)
    ),
    "multivariate_normal in batches": lambda r, key: r.multivariate_normal(key, MEAN, np.stack([COV, 2 * COV])),
    "multivariate_normal by svd": lambda r, key: r.multivariate_normal(key, MEAN, COV, (20,), method="svd"),
    "multivariate_normal by eigh": lambda r, key: r.multivariate_normal(key, MEAN, COV, (20,), method="eigh"),
    "orthogonal": lambda r, key: r.orthogonal(key, 4, (3,)),
    "orthogonal columns": lambda r, key: r.orthogonal(key, 4, m=2),
    "orthogonal rows": lambda r, key: r.orthogonal(key, 2, (), np.float32, 4),
    "unitary": lambda r, key: r.orthogonal(key, 3, (2,), np.complex128),
    "unitary rows": lambda r, key: r.orthogonal(key, 2, (), np.complex64, 3),
}


def test_the_numbers_of_jax() -> None:
    single = {name: 1e-5 for name in ("multivariate_normal of float32", "orthogonal rows", "unitary rows")}
    assert_as_jax(DRAWS, dict.fromkeys(DRAWS, 1e-13) | single, on_xla=["multivariate_normal", "orthogonal rows"])


def test_distributions() -> None:
    half = np.linalg.inv(np.linalg.cholesky(COV))
    assert_drawn_from(
        lambda key: (tg.random.multivariate_normal(key, MEAN, COV, (2000,)) - MEAN).dot(half.T).ravel(), stats.norm()
    )
    matrices = tg.random.orthogonal(KEY, 3, (4000,))
    np.testing.assert_allclose(
        matrices @ np.swapaxes(matrices, -1, -2), np.broadcast_to(np.eye(3), (4000, 3, 3)), atol=1e-14
    )
    assert_drawn_from(lambda key: tg.random.orthogonal(key, 3, (4000,))[:, 2, 1], stats.uniform(-1, 2))  # on a sphere


def test_derivatives() -> None:
    def loss(random: Any, key: Any, mean: Any, cov: Any) -> Any:
        return (random.multivariate_normal(key, mean, cov, (3,)) ** 2).sum()

    with jax.enable_x64(True):
        expected = jax.grad(loss, (2, 3))(jax.random, jax.numpy.asarray(KEY), MEAN, COV)
    for got in (
        tg.grad(lambda m, c: loss(tg.random, KEY, m, c), (0, 1))(MEAN, COV),
        tg.jit(tg.grad(lambda m, c: loss(tg.random, KEY, m, c), (0, 1)))(MEAN, COV),
    ):
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-12)
        np.testing.assert_allclose(got[1] + got[1].T, expected[1] + expected[1].T, rtol=1e-12)


def test_errors() -> None:
    here = r"test_vectors\.py:\d+ \(in test_errors\)"
    for mean, cov in ((0.0, COV), (MEAN, MEAN), (np.zeros(3), COV)):
        with pytest.raises(ShapeError, match=rf"multivariate_normal at .*{here}: mean has shape \(..., n\) and cov"):
            tg.random.multivariate_normal(KEY, mean, cov)
    with pytest.raises(
        ValueError, match=rf'multivariate_normal at .*{here}: method is "cholesky", "eigh" or "svd", got \'qr\''
    ):
        tg.random.multivariate_normal(KEY, MEAN, COV, method="qr")
    with pytest.raises(
        ShapeError, match=rf"multivariate_normal at .*{here}: mean without its last axis, of shape \(3,\)"
    ):
        tg.random.multivariate_normal(KEY, np.zeros((3, 2)), COV, (2,))
    with pytest.raises(DtypeError, match=rf"orthogonal at .*{here}: numbers come as float16, .* got int64"):
        tg.random.orthogonal(KEY, 3, dtype=np.int64)
