"""Private gradients: optax's sums and noise, and what clipping means."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from optax import contrib

import tracegrad as tg
from tracegrad import optim
from tracegrad.core.errors import ShapeError

rng = np.random.default_rng(0)
PARAMS = {"b": np.zeros(3), "w": np.zeros((2, 3))}
GRADIENTS = [tg.tree.map(lambda p: rng.normal(size=(7, *p.shape)) * 2, PARAMS) for _ in range(5)]


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
@pytest.mark.parametrize("backend", [None, "numpy", "xla"])
def test_follows_optax(options: dict[str, Any], backend: str | None) -> None:
    arguments = {"learning_rate": 0.1, "l2_norm_clip": 1.5, "noise_multiplier": 0.3, "seed": 4, **options}
    ours = optim.dpsgd(**arguments)
    with jax.enable_x64(True):
        with pytest.warns(DeprecationWarning, match="seed"):
            theirs = contrib.dpsgd(**arguments)
        expected, other = [], theirs.init(PARAMS)
        for g in GRADIENTS:
            updates, other = theirs.update(g, other)
            expected.append(updates)
    state = ours.init(PARAMS)
    update = ours.update if backend is None else tg.jit(ours.update, backend=backend)
    for g, wanted in zip(GRADIENTS, expected, strict=True):
        updates, state = update(g, state)
        for name in PARAMS:
            np.testing.assert_allclose(updates[name], wanted[name], rtol=1e-6, atol=1e-7)


def test_each_example_is_cut_to_the_norm() -> None:
    opt = optim.differentially_private_aggregate(1.0, 0.0, key=0)
    g = {"w": np.array([[3.0, 0.0], [0.0, 0.0], [0.1, 0.0]]), "b": np.array([[4.0], [0.0], [0.0]])}
    updates, _ = opt.update(g, opt.init(None))
    np.testing.assert_allclose(updates["w"], [(0.6 + 0.1) / 3, 0])
    np.testing.assert_allclose(updates["b"], [0.8 / 3])


def test_a_private_step_of_per_example_gradients() -> None:
    x, y = rng.normal(size=(32, 2)), rng.normal(size=(32, 3))
    loss = lambda params, example: np.sum((example[0] @ params["w"] + params["b"] - example[1]) ** 2)
    opt = optim.dpsgd(0.05, 1.0, 0.1, seed=0)
    step = tg.jit(lambda p, s: opt.update(tg.vmap(tg.grad(loss), (None, 0))(p, (x, y)), s, p))
    params, state = PARAMS, opt.init(PARAMS)
    total = lambda p: sum(loss(p, e) for e in zip(x, y, strict=True))
    before = total(params)
    for _ in range(50):
        updates, state = step(params, state)
        params = optim.apply_updates(params, updates)
    assert total(params) < before


def test_errors() -> None:
    opt = optim.differentially_private_aggregate(1.0, 0.0, key=0)
    for g in ({"w": np.ones((3, 2)), "b": np.ones(2)}, {"w": np.ones(())}):
        with pytest.raises(
            ShapeError, match=r"test_private\.py.*along the first axis of each leaf, got .*tg\.vmap\(tg\.grad"
        ):
            opt.update(g, opt.init(None))
    with pytest.raises(ValueError, match="both a key and a seed, 1; write key=1"):
        optim.differentially_private_aggregate(1.0, 0.0, key=0, seed=1)
