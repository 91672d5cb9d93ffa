"""Jacobians between pytrees, products with Hessians."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad import tree

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_jacobians_between_pytrees() -> None:
    f = lambda p, y: {"u": p["a"] * y[0] + p["b"][0], "v": np.sin(p["b"][1]) * np.sum(p["a"])}
    jax_f = lambda p, y: {"u": p["a"] * y[0] + p["b"][0], "v": jnp.sin(p["b"][1]) * jnp.sum(p["a"])}
    args = ({"a": X, "b": (1.5, np.array([[0.5, 2.0]]))}, np.array([2.0, 1.0]))
    for argnums in (0, 1, (0, 1), (1, 0)):
        for ours, theirs in ((tg.jacfwd, jax.jacfwd), (tg.jacrev, jax.jacrev), (tg.hessian, jax.hessian)):
            got, want = ours(f, argnums)(*args), run_with_numpy(theirs(jax_f, argnums), *args)
            assert repr(tree.tree_structure(got)) == repr(jax.tree.structure(want))
            for a, b in zip(tree.tree_leaves(got), jax.tree.leaves(want), strict=True):
                near(a, np.asarray(b))


def test_hvp() -> None:
    f = lambda x: np.sum(np.sin(x) * x[::-1])
    jax_f = lambda x: jnp.sum(jnp.sin(x) * x[::-1])
    v = np.array([1.0, 2.0, -1.0])
    near(tg.hvp(f, (X,), (v,)), np.asarray(jax.hessian(jax_f)(X) @ v))
    g = lambda x, p: np.sum(x**2 * p["a"]) + p["a"] ** 3
    got = tg.hvp(g, (X, {"a": 2.0}), (v, {"a": 1.0}))
    near(got, (2 * 2.0 * v + 2 * X, {"a": np.float64(np.sum(2 * X * v) + 12.0)}))
    near(tg.grad(lambda s: np.sum(tg.hvp(lambda x: np.sum(s * x**3), (X,), (v,))))(2.0), np.sum(6 * X * v))


def test_jacobian_goes_the_shorter_way() -> None:
    tall, wide = lambda x: np.concatenate([np.sin(x), x**2]), lambda x: np.stack([np.sum(x), x[0] * x[1]])
    for f in (tall, wide):
        near(tg.jacobian(f)(X), tg.jacfwd(f)(X))
        near(tg.jit(tg.vmap(tg.jacobian(f)))(X[None]), tg.jacfwd(f)(X)[None])
        near(tg.jacfwd(tg.jacobian(f))(X), tg.jacfwd(tg.jacfwd(f))(X))
    ops = [eqn.op.name for eqn in tg.make_graph(tg.jacobian(tall))(X).eqns]
    assert ops == [eqn.op.name for eqn in tg.make_graph(tg.jacfwd(tall))(X).eqns]
    out, aux = tg.jacobian(lambda x: (np.sum(x), x), has_aux=True)(X)
    near(out, np.ones(3))
    near(aux, X)
