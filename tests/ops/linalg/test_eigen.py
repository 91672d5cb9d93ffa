"""Eigenvalues."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_linalg import general, hermitian, regular
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)


def test_equal_eigenvalues() -> None:
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(np.linalg.eigvalsh(a)))(np.eye(3)), np.eye(3))
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(np.linalg.eigh(a)[0] ** 2))(np.eye(3)), 2 * np.eye(3))
    np.testing.assert_allclose(tg.hessian(lambda a: np.sum(np.linalg.eigvalsh(a)))(np.eye(2)), 0, atol=1e-14)
    a = np.diag([1.0, 1.0, 3.0])  # the projector onto the plane of the first two moves against the third only
    plane = lambda a: (lambda v: v @ v.T)(np.linalg.eigh(a)[1][:, :2])
    t = hermitian(3, 3)
    np.testing.assert_allclose(
        tg.jvp(plane, (a,), (t,))[1], *five_point(lambda x: (plane(x),), [a], [t]), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize(
    "a", [regular(3, 3), np.array([[1.0, -2, 0.3], [1.5, 1, 0.1], [0.2, 0.4, 4]]), regular(3, 3, kind="c")]
)
def test_eig_follows_lapacks_choice(a: Any) -> None:
    t = general(3, 3, seed=5, kind="c" if a.dtype.kind == "c" else "f")
    function = lambda a: tuple(np.linalg.eig(a))
    w, v = tg.vjp(function, a)[0]
    np.testing.assert_allclose(a @ v, v * w, atol=1e-12)
    for ours, theirs in zip(tg.jvp(function, (a,), (t,))[1], five_point(function, [a], [t]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)


def test_sum_of_eigenvalues_is_the_trace() -> None:
    np.testing.assert_allclose(
        tg.grad(lambda a: np.sum(np.linalg.eigvals(a)).real)(regular(4, 4)), np.eye(4), atol=1e-12
    )
