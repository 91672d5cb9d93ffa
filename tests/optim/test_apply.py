"""What is done with updates and parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.notes import Notes
from tests.steps import assert_same
from tracegrad import optim

PARAMS = {"w": np.ones(3, np.float32), "s": np.ones((), np.float16), "b": np.ones(2, ml_dtypes.bfloat16), "none": None}
UPDATES = {"w": np.full(3, 0.1), "s": np.float64(0.1), "b": np.full(2, 0.1, np.float32), "none": None}


@pytest.mark.parametrize("jit", [lambda f: f, tg.jit, tg.jit(backend="xla")], ids=["eager", "numpy", "xla"])
def test_apply_updates(jit: Any) -> None:
    found = (jit(optim.apply_updates) if callable(jit) else jit)(PARAMS, UPDATES)
    with jax.enable_x64(True):
        expected = jax.tree.map(np.asarray, optax.apply_updates(PARAMS, UPDATES))
    for name in ("w", "s", "b"):
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(np.asarray(found[name], np.float32), expected[name].astype(np.float32))
    assert found["none"] is None


def test_step() -> None:
    opt = optim.chain(optim.clip(0.5), optim.scale_by_learning_rate(lambda n: 1.0 / (n + 1)))
    params = {"w": np.array([1.0, -3.0])}
    found = optim.step(opt, params, opt.init(params), params)
    updates, state = opt.update(params, opt.init(params), params)
    assert_same(found, (optim.apply_updates(params, updates), state), 0)
    theirs = optax.adam(0.1)
    params, _ = optim.step(theirs, params, theirs.init(params), params)
    np.testing.assert_allclose(params["w"], [0.9, -2.9], rtol=1e-6)


def test_incremental_and_periodic_update() -> None:
    new, old = {"w": np.array([1.0, 2.0], np.float32), "none": None}, {"w": np.zeros(2, np.float32), "none": None}
    assert_same(optim.incremental_update(new, old, np.float64(0.25)), {"w": new["w"] / 4, "none": None}, 0)
    for steps in range(5):
        expected = optax.periodic_update(new, old, jnp.array(steps), 2)
        for jit in (lambda f: f, tg.jit):
            assert_same(jit(optim.periodic_update)(new, old, np.int32(steps), 2), jax.tree.map(np.asarray, expected), 0)


def test_value_and_grad_from_state() -> None:
    calls = Notes()

    def loss(params: Any, scale: Any = 1.0) -> Any:
        calls.append(1)
        return scale * np.sum(params**2)

    value_and_grad = optim.value_and_grad_from_state(loss)
    x = np.array([1.0, 2.0])
    unknown = {"value": np.array(np.inf), "grad": np.zeros(2)}
    known = {"value": np.array(7.0), "grad": np.array([5.0, 6.0])}
    for f in (value_and_grad, tg.jit(value_and_grad)):
        value, grad = f(x, state=unknown)
        assert value == 5 and grad.tolist() == [2, 4]
        value, grad = f(x, 2.0, state=unknown)
        assert value == 10 and grad.tolist() == [4, 8]
    calls.clear()
    value, grad = value_and_grad(x, state=known)
    assert value == 7 and grad.tolist() == [5, 6] and not calls
    found = jax.jit(lambda x, state: value_and_grad(x, state=state))(jnp.asarray(x), jax.tree.map(jnp.asarray, unknown))
    assert found[0] == 5 and found[1].tolist() == [2, 4]
    with pytest.raises(ValueError, match="no value and grad in the state; it is for optimisers with a line search"):
        value_and_grad(x, state=())
