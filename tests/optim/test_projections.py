"""Projections give optax's points, and the nearest ones."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from optax import projections as theirs

import tracegrad as tg
from tests.steps import assert_same
from tracegrad import optim

rng = np.random.default_rng(0)
TREE = {"w": rng.normal(size=(2, 3)), "b": rng.normal(size=2)}
A = {"w": rng.normal(size=(2, 3)), "b": rng.normal(size=2)}
HALF = {"w": np.full((2, 3), 0.5), "b": np.full(2, 0.25)}
CASES: dict[str, tuple[Any, ...]] = {
    "projection_non_negative": (), "projection_box": (jax.tree.map(np.negative, HALF), HALF), "projection_hypercube": (HALF,),
    "projection_simplex": (2.0,), "projection_l1_ball": (1.5,), "projection_l1_sphere": (1.5,), "projection_l2_ball": (0.5,),
    "projection_l2_sphere": (2.0,), "projection_linf_ball": (0.5,), "projection_vector": (A,), "projection_hyperplane": (A, 0.7),
    "projection_halfspace": (A, -0.7),
}  # fmt: skip


@pytest.mark.parametrize("jit", [lambda f: f, tg.jit], ids=["eager", "numpy"])
@pytest.mark.parametrize("name", CASES)
def test_follows_optax(name: str, jit: Any) -> None:
    ours, args = getattr(optim, name), CASES[name]
    with jax.enable_x64(True):
        given = (jax.tree.map(np.zeros_like, HALF), HALF) if name == "projection_hypercube" else args
        wanted = getattr(theirs, name.replace("hypercube", "box"))(TREE, *given)  # theirs takes no tree of scales
    found = jit(lambda x: ours(x, *args))(TREE)
    assert_same(found, jax.tree.map(np.asarray, wanted), 1e-12)
    if name != "projection_vector":
        assert_same(ours(found, *args), found, 1e-12)  # what is there stays
    low = [np.float64(x) if isinstance(x, float) else jax.tree.map(np.float32, x) for x in args]
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(ours(jax.tree.map(np.float32, TREE), *low)))


@pytest.mark.parametrize(
    "name", ["projection_simplex", "projection_l1_ball", "projection_l2_ball", "projection_halfspace"]
)
def test_derivatives(name: str) -> None:
    args = CASES[name]
    tg.testing.check_grads(lambda x: getattr(optim, name)(x, *args), (TREE,), order=1)


def test_points_inside_and_ties() -> None:
    assert_same(optim.projection_box(TREE, -0.5, 0.25), jax.tree.map(lambda x: np.clip(x, -0.5, 0.25), TREE), 1e-15)
    assert_same(optim.projection_hypercube(TREE), jax.tree.map(lambda x: np.clip(x, 0, 1), TREE), 1e-15)
    inside = {"w": np.full((2, 3), 0.01), "b": np.full(2, 0.01)}
    for name in ("projection_l1_ball", "projection_l2_ball", "projection_linf_ball"):
        assert_same(getattr(optim, name)(inside, 1.0), inside, 1e-15)
    assert_same(optim.projection_halfspace(inside, A, 100.0), inside, 1e-15)
    np.testing.assert_allclose(optim.projection_simplex(np.ones(4)), np.full(4, 0.25))
    np.testing.assert_allclose(optim.projection_simplex(np.zeros(1), 3.0), [3.0])
    assert isinstance(optim.projection_simplex(jax.numpy.ones(4)), jax.Array)
