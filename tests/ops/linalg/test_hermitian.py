"""Functions of Hermitian matrices, of which one triangle counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_linalg import adjoint, eigh_function, general, hermitian, weighted
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)

HERMITIAN: list[Callable[..., Any]] = [
    np.linalg.cholesky,
    lambda a: np.linalg.cholesky(a, upper=True),
    np.linalg.eigvalsh,
    lambda a: np.linalg.eigvalsh(a, "U"),
    lambda a: eigh_function(np, a),
    lambda a: (lambda w, v: (v * w**2) @ adjoint(v))(*np.linalg.eigh(a, "U")),
    lambda a: np.linalg.pinv(a, hermitian=True),
]


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("function", HERMITIAN)
def test_the_other_triangle_does_not_count(function: Any, kind: str) -> None:
    """A matrix that is not Hermitian is read as NumPy reads it, and its derivative is that of this reading."""
    a = hermitian(3, 3, kind=kind) + np.triu(general(3, 3, seed=7, kind=kind), 1) / 4
    out, pull = tg.vjp(function, a)
    np.testing.assert_allclose(out, function(a), rtol=1e-11, atol=1e-12)
    t = general(3, 3, seed=8, kind=kind)
    tangent = tg.jvp(function, (a,), (t,))[1]
    np.testing.assert_allclose(tangent, *five_point(lambda x: (function(x),), [a], [t]), rtol=1e-7, atol=1e-8)
    ct = tangent.conj()
    np.testing.assert_allclose(np.sum(pull(ct)[0] * t).real, np.sum(ct * tangent).real, rtol=1e-9)


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("function", HERMITIAN)
def test_cotangents_of_hermitian_matrices_are_hermitian(function: Any, kind: str) -> None:
    a = hermitian(3, 3, kind=kind)
    t = hermitian(3, 3, seed=3, kind=kind)
    tangent = tg.jvp(function, (a,), (t,))[1]
    np.testing.assert_allclose(tangent, *five_point(lambda x: (function(x),), [a], [t]), rtol=1e-7, atol=1e-8)
    g = tg.grad(lambda a: weighted(np, function(a)))(a)
    np.testing.assert_allclose(g, adjoint(g), rtol=1e-9, atol=1e-11)


def test_one_hermitian_matrix_of_a_batch() -> None:
    a = np.stack([hermitian(2, 2), np.tril(hermitian(2, 2, seed=1))])
    g = tg.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 3))(a)
    np.testing.assert_allclose(g[0], tg.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 3))(a[0]))
    assert g[0][0, 1] == g[0][1, 0] != 0 and g[1][0, 1] == 0
    np.testing.assert_allclose(tg.vmap(np.linalg.eigvalsh)(a), np.linalg.eigvalsh(a))
