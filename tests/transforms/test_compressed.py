"""Sparse Jacobians and Hessians: the numbers of dense ones, by few products, as SciPy's solvers take them."""

from __future__ import annotations

import pickle
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse.linalg

import tracegrad as tg
from tests.compare import near
from tracegrad import tree
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.transforms import compressed

X = np.random.default_rng(0).normal(size=7)


def heat(u: Any) -> Any:
    padded = np.concatenate([[0.0], u, [1.0]])
    return padded[:-2] - 2 * u + padded[2:] - np.exp(u) / u.size**2


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def poisson(u: Any) -> Any:
    p = np.pad(np.reshape(u, (12, 12)), 1)
    return np.ravel(p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4 * p[1:-1, 1:-1] + 1.0)


def test_a_tridiagonal_system_takes_three_products() -> None:
    n = 10_000
    u = np.linspace(0, 1, n)
    found = tg.jacobian(heat, sparse=True)(u)
    assert isinstance(found, scipy.sparse.csr_array)
    assert found.shape == (n, n)
    assert found.nnz == 3 * n - 2
    assert found.n_products == 3
    near(found.diagonal(), -2 - np.exp(u) / n**2)
    near(found.diagonal(1), np.ones(n - 1))
    before = np.max(np.abs(heat(u)))
    for _ in range(2):
        u -= scipy.sparse.linalg.spsolve(tg.jacobian(heat, sparse=True)(u).tocsc(), heat(u))
    assert np.max(np.abs(heat(u))) < 1e-4 * before


def test_rosenbrocks_hessian_takes_three_products() -> None:
    x = np.random.default_rng(1).normal(size=1000)
    found = tg.hessian(rosenbrock, sparse=True)(x)
    assert found.n_products <= 3
    assert found.nnz == 2998
    near(found.toarray(), scipy.optimize.rosen_hess(x))
    near(tg.hessian(rosenbrock, sparse=True)(X).toarray(), tg.hessian(rosenbrock)(X))


def test_the_way_with_fewer_products() -> None:
    tall = tg.jacobian(lambda x: np.concatenate([np.sin(x), np.cos(x), x[:1] * x[1:]]), sparse=True)(X)
    wide = tg.jacobian(lambda x: np.stack([np.sum(x**2), x[0]]), sparse=True)(X)
    assert (tall.n_products, wide.n_products) == (2, 2)
    near(wide.toarray(), np.stack([2 * X, np.eye(7)[0]]))
    assert tg.jacobian(lambda x: np.sum(x**3), sparse=True)(X).n_products == 1
    assert tg.jacobian(lambda x: np.ones(3), sparse=True)(X).n_products == 0
    assert tg.jacobian(lambda x: (), sparse=True)(X) == ()
    arrow = lambda x: np.sum(x[0] * np.sin(x)) + np.sum(x**4)
    found = tg.hessian(arrow, sparse=True)(X)
    assert found.n_products == 2
    near(found.toarray(), tg.hessian(arrow)(X))
    assert tg.hessian(lambda x: np.sum(3 * x), sparse=True)(X).n_products == 0


def test_trees() -> None:
    f = lambda p, s: {"u": p["a"][:, None] * p["b"], "v": (np.sin(p["b"]) * s, p["a"][0])}
    args = ({"a": X[:3], "b": X[3:]}, np.float64(0.5))
    for argnums in (0, 1, (0, 1), (1, 0), -1):
        dense, sparse = tg.jacobian(f, argnums)(*args), tg.jacobian(f, argnums, sparse=True)(*args)
        assert tree.tree_structure(dense) == tree.tree_structure(sparse)
        for want, got in zip(tree.tree_leaves(dense), tree.tree_leaves(sparse), strict=True):
            near(got.toarray(), np.reshape(want, got.shape))
    g = lambda p, s: (np.sum(p["a"] * p["b"][:3] ** 2) * s, {"aux": p["a"] * 2})
    for argnums in (0, (0, 1), (1, 0)):
        dense, aux = tg.hessian(g, argnums, has_aux=True)(*args)
        sparse, aux_too = tg.hessian(g, argnums, has_aux=True, sparse=True)(*args)
        near(aux_too, aux)
        assert tree.tree_structure(dense) == tree.tree_structure(sparse)
        for want, got in zip(tree.tree_leaves(dense), tree.tree_leaves(sparse), strict=True):
            near(got.toarray(), np.reshape(want, got.shape))


def test_kinds_of_numbers() -> None:
    narrow = X.astype(np.float32)
    assert tg.jacobian(np.sin, sparse=True)(narrow).dtype == np.float32
    assert tg.jacobian(np.sin, sparse=True)(jnp.asarray(narrow)).dtype == np.float32
    assert tg.hessian(rosenbrock, sparse=True)(narrow).dtype == np.float32
    z = X + 1j
    near(tg.jacobian(np.exp, holomorphic=True, sparse=True)(z).toarray(), np.diag(np.exp(z)))
    found = tg.hessian(lambda z: np.sum(z[1:] * z[:-1] ** 2), holomorphic=True, sparse=True)(z)
    near(found.toarray(), tg.hessian(lambda z: np.sum(z[1:] * z[:-1] ** 2), holomorphic=True)(z))
    near(tg.jacobian(lambda x: 2.0 * x, sparse=True)(1.5).toarray(), np.array([[2.0]]))


def test_values_follow_the_path_taken() -> None:
    f = tg.jacobian(lambda x: x if x[0] > 0 else x[::-1] * 2, sparse=True)
    near(f(np.ones(3)).toarray(), np.eye(3))
    near(f(-np.ones(3)).toarray(), 2 * np.eye(3)[::-1])
    assert f(np.ones(3)).nnz == 3


def test_patterns_are_coloured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = []
    plain = compressed.column_colouring
    monkeypatch.setattr(compressed, "column_colouring", lambda *args: (coloured.append(1), plain(*args))[1])
    f, g = tg.jacobian(heat, sparse=True), tg.hessian(rosenbrock, sparse=True)
    for x in (X, X + 1, X * 2):
        near(f(x).toarray(), tg.jacfwd(heat)(x))
        near(g(x).toarray(), tg.hessian(rosenbrock)(x))
    assert len(coloured) == 3  # columns and rows of the one, columns of the other
    assert f(X[:4]).shape == (4, 4)


def test_functions_with_rules_of_their_own() -> None:
    @tg.custom_vjp
    def f(x: Any) -> Any:
        return x**2

    f.defvjp(lambda x: (x**2, x), lambda x, ct: (3 * x * ct,))
    near(tg.jacobian(f, sparse=True)(X).toarray(), np.diag(3 * X))
    assert tg.jacobian(f, sparse=True)(X).n_products == 1


def test_scipys_solvers_take_them() -> None:
    residual = lambda u: np.concatenate([np.sin(u[1:]) - u[:-1] ** 2, u - 1])
    found = scipy.optimize.least_squares(residual, np.ones(50), jac=tg.jacobian(residual, sparse=True))
    near(found.x, scipy.optimize.least_squares(residual, np.ones(50), jac=tg.jacobian(residual)).x, 1e-6)
    hessian = tg.hessian(rosenbrock, sparse=True)
    found = scipy.optimize.minimize(
        rosenbrock, np.zeros(20), jac=tg.grad(rosenbrock), hess=hessian, method="trust-constr"
    )
    near(found.x, np.ones(20), 1e-5)
    u = np.zeros(144)
    found = tg.jacobian(poisson, sparse=True)(u)
    assert found.n_products == 5
    u -= scipy.sparse.linalg.spsolve(found.tocsc(), poisson(u))
    assert np.max(np.abs(poisson(u))) < 1e-10


def test_pickles() -> None:
    f = pickle.loads(pickle.dumps(tg.hessian(rosenbrock, sparse=True)))
    assert f(X).n_products <= 3


def test_errors() -> None:
    wrong = [
        (lambda: tg.jit(tg.jacobian(heat, sparse=True))(X), TypeError, r"test_compressed.py:\d+ .* makes an array of SciPy's, "
         r"which holds numbers, but u is a traced f64\[7\], .*; call it outside"),
        (lambda: tg.hessian(np.sin, sparse=True)(X), ShapeError, r"needs one output of one element, but 'sin' returns f64\[7\]"),
        (lambda: tg.jacobian(heat, sparse=True)(np.arange(3)), DtypeError, "jacobian needs inputs of a floating dtype, but u is"),
        (lambda: tg.jacobian(lambda x: x > 0, sparse=True)(X), DtypeError, "jacobian.* needs outputs of a real floating"),
    ]  # fmt: skip
    for call, kind, text in wrong:
        with pytest.raises(kind, match=re.compile(text)):
            call()
