"""Singular values."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_linalg import adjoint, general, hermitian
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)


def test_equal_singular_values() -> None:
    np.testing.assert_allclose(tg.grad(lambda a: np.linalg.norm(a, "nuc"))(np.eye(3)), np.eye(3))
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(np.linalg.svd(a)[1] ** 2))(np.eye(3)), 2 * np.eye(3))


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_full_svd(shape: tuple[int, int], kind: str) -> None:
    """The added vectors stay orthonormal to the others, and span what the others leave."""
    a, t = general(*shape, kind=kind), general(*shape, seed=1, kind=kind)

    def projectors(a: Any) -> Any:
        u, _, vh = np.linalg.svd(a)
        return u[:, 2:] @ adjoint(u[:, 2:]), adjoint(vh[2:]) @ vh[2:], u @ adjoint(u), vh @ adjoint(vh)

    for ours, theirs in zip(tg.jvp(projectors, (a,), (t,))[1], five_point(projectors, [a], [t]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_svd_of_hermitian_matrices() -> None:
    a = hermitian(3, 3) - 2.5 * np.eye(3)
    for ours, theirs in zip(
        tg.vjp(lambda a: np.linalg.svd(a, hermitian=True), a)[0], np.linalg.svd(a, hermitian=True), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)
    values = lambda a: np.linalg.svd(a, compute_uv=False, hermitian=True)
    np.testing.assert_allclose(tg.vjp(values, a)[0], values(a), rtol=1e-12)
    product = lambda a: (lambda u, s, vh: (u * s**3) @ vh)(*np.linalg.svd(a, hermitian=True))
    # A Hermitian matrix moves among its like, as in the other functions of Hermitian matrices.
    cube = lambda a: (a + a.T) @ (a + a.T) @ (a + a.T) / 8
    np.testing.assert_allclose(tg.jacrev(product)(a), jax.jacrev(cube)(a), rtol=1e-9, atol=1e-9)
