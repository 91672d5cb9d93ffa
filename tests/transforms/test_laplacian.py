"""Laplacians and diagonals, against whole Hessians, and functions of which they are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import tree
from tracegrad.core.errors import DifferentiationError, DtypeError

jax.config.update("jax_enable_x64", True)

X = np.random.default_rng(0).normal(size=5)
W = np.random.default_rng(1).normal(size=(5, 5))

# Functions of X to a number. Python branches need a value.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: np.sum(2 * x),
    "powers": lambda x: np.sum(x**3 + 0.5 * x**2),
    "neighbours": lambda x: np.sum(np.sin(x[1:]) * x[:-1]),
    "norm": lambda x: np.log(np.linalg.norm(x)),
    "net": lambda x: np.sum(np.tanh(W @ np.tanh(W @ x))),
    "bilinear": lambda x: np.sum(np.outer(x, np.sin(x)) @ x),
    "determinant": lambda x: np.linalg.slogdet(np.eye(5) * 4 + np.outer(x, x))[1],
    "product": tg.jit(lambda x: np.prod(np.cos(x))),
    "checkpoint": tg.checkpoint(lambda x: np.sum(np.exp(x) * x[0])),
    "scan": lambda x: tg.lax.scan(lambda c, u: (np.sin(c * u), c), x[0], x)[0],
    "while": lambda x: np.sum(tg.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, np.sin(c[1]) * c[1]), (0, x))[1]),
    "cond": lambda x: tg.lax.cond(x[0] > 0, lambda x: np.sum(x**4), lambda x: np.sum(x**2), x),
    "choices": lambda x: np.sum(np.where(x > 0, x**3, x**2)) + np.max(x) ** 2 + np.sum(np.floor(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_hessians(name: str) -> None:
    f = FUNCTIONS[name]
    hessian = tg.hessian(f)(X)
    near(tg.laplacian(f)(X), np.trace(hessian))
    near(tg.hessian_diag(f)(X), np.diag(hessian))
    near(tg.jit(tg.laplacian(f))(X), np.trace(hessian))
    near(tg.jit(tg.hessian_diag(f))(X), np.diag(hessian))


@pytest.mark.parametrize("name", ["neighbours", "net", "scan"])
def test_compositions(name: str) -> None:
    f = FUNCTIONS[name]
    batch = np.stack([X, 0.5 * X])
    near(tg.vmap(tg.laplacian(f))(batch), np.stack([np.trace(tg.hessian(f)(x)) for x in batch]))
    near(tg.vmap(tg.hessian_diag(f))(batch), np.stack([np.diag(tg.hessian(f)(x)) for x in batch]))
    near(tg.grad(tg.laplacian(f))(X), tg.grad(lambda x: np.trace(tg.hessian(f)(x)))(X))
    near(tg.jacfwd(tg.hessian_diag(f))(X), tg.jacfwd(lambda x: np.diagonal(tg.hessian(f)(x)))(X))
    near(tg.laplacian(tg.laplacian(f))(X), np.einsum("iijj", tg.hessian(tg.hessian(f))(X)), 1e-8)
    near(tg.laplacian(lambda x: tg.grad(f)(x))(X), np.einsum("ijkk->i", tg.hessian(tg.grad(f))(X)[:, None]))


def test_a_python_branch_is_taken_by_value() -> None:
    f = lambda x: np.sum(x**4) if x[0] > 0 else np.sum(x**2)
    near(tg.laplacian(f)(np.ones(3)), np.float64(36.0))
    near(tg.hessian_diag(f)(-np.ones(3)), np.full(3, 2.0))


def test_harmonic_functions() -> None:
    x = np.array([0.5, -1.0, 2.0])
    assert abs(tg.laplacian(lambda x: 1 / np.sqrt(np.sum(x**2)))(x)) < 1e-14
    assert abs(tg.laplacian(lambda x: np.exp(x[0]) * np.sin(x[1]))(x)) < 1e-14
    near(tg.laplacian(lambda x: np.exp(-np.sum(x**2) / 2))(x), (np.sum(x**2) - 3) * np.exp(-np.sum(x**2) / 2))


def test_trees_and_other_data() -> None:
    f = lambda p, s: {"a": p["u"] ** 2 * p["v"] * s, "b": (np.floor(p["u"]), np.sum(p["v"] * s**3))}
    args = ({"u": X, "v": 2.0}, 3.0)
    near(tg.laplacian(f)(*args), {"a": np.full(5, 12.0), "b": (np.zeros(5), np.float64(0.0))})
    near(tg.laplacian(f, (0, 1))(*args)["b"][1], np.float64(36.0))
    found, aux = tg.laplacian(lambda x: (np.sum(x**2), {"twice": 2 * x, "text": "t", "none": None}), has_aux=True)(X)
    near(found, np.float64(10.0))
    near(aux["twice"], 2 * X)
    assert aux["text"] == "t"
    g = lambda p, q: (np.sum(p["a"] ** 2 * q**3), p["a"])
    found, aux = tg.hessian_diag(g, (0, 1), has_aux=True)({"a": X}, 2.0)
    near(found, ({"a": np.full(5, 16.0)}, 12 * np.sum(X**2)))
    near(aux, X)
    assert tree.tree_structure(tg.hessian_diag(g, has_aux=True)({"a": X}, 2.0)[0]) == tree.tree_structure({"a": 0})


def test_jax_arrays_and_narrow_floats() -> None:
    f = FUNCTIONS["neighbours"]
    for transform in (tg.laplacian, tg.hessian_diag):
        found = transform(f)(jnp.asarray(X))
        assert isinstance(found, jax.Array)
        near(np.asarray(found), transform(f)(X))
        assert transform(f)(X.astype(np.float32)).dtype == np.float32
    near(np.asarray(tg.jit(tg.laplacian(f), backend="xla")(X)), tg.laplacian(f)(X))


def test_few_products_and_few_operations() -> None:
    """Of a function whose variables meet their neighbours alone, two products; nothing is summed twice on the way to a Laplacian."""
    n = 1000
    x = np.linspace(-1, 1, n)
    f = lambda x: np.sum(x[1:] ** 2 * x[:-1] ** 2)
    square = np.concatenate([[0.0], x**2, [0.0]])
    near(tg.hessian_diag(f)(x), 2 * (square[:-2] + square[2:]))
    shapes = {v.type.shape for eqn in tg.make_graph(tg.hessian_diag(f))(x).eqns for v in eqn.outputs}
    assert max([s[0] for s in shapes if len(s) == 2]) == 2
    graph = tg.make_graph(tg.laplacian(lambda x: np.sum(np.exp(W @ x))))(X)
    assert sum([eqn.op.name == "exp" for eqn in graph.eqns]) == 1


def test_errors() -> None:
    with pytest.raises(DtypeError, match="laplacian needs inputs of a floating dtype, but x is i64"):
        tg.laplacian(lambda x: np.sum(x))(np.arange(3))
    with pytest.raises(DtypeError, match="hessian_diag needs inputs of a floating dtype, but x is"):
        tg.hessian_diag(lambda x: np.sum(x))(np.arange(3))
    with pytest.raises(
        DifferentiationError, match=r"hessian_diag at .*test_laplacian.py:\d+ .*returned f64\[5\]; return np.sum"
    ):
        tg.hessian_diag(np.sin)(X)
