"""What is added to updates makes optax's steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.steps import Make, assert_follows, assert_same
from tracegrad import optim

CASES: dict[str, Make] = {
    "add_decayed_weights": lambda lib: lib.chain(lib.add_decayed_weights(0.1), lib.scale(-0.1)),
    "nothing": lambda lib: lib.chain(lib.add_decayed_weights(), lib.scale(-0.1)),
    "schedule": lambda lib: lib.chain(lib.add_decayed_weights(lambda n: 0.1 / (1.0 + n)), lib.scale(-0.1)),
    "masked": lambda lib: lib.chain(
        lib.add_decayed_weights(lambda n: 0.1, {"a": True, "b": (True, False), "c": None, "conv": False}),
        lib.scale(-0.1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(CASES[case])


@pytest.mark.parametrize("name, args", [("add_noise", (0.1, 0.55)), ("noisy_sgd", (0.1,))])
def test_noise(name: str, args: tuple[float, ...]) -> None:
    """The numbers of optax, whose key is of a dtype of its own."""
    params = {"a": np.ones((2, 3), np.float32), "b": np.ones((), np.float32)}
    ours, theirs = getattr(optim, name)(*args, key=3), getattr(optax, name)(*args, key=3)
    state, their_state = ours.init(params), theirs.init(jax.tree.map(jnp.asarray, params))
    update, jitted, on_xla = theirs.update, tg.jit(ours.update), tg.jit(ours.update, backend="xla")
    for _ in range(4):
        expected, their_state = update(params, their_state)
        again = on_xla(params, state)
        with_jit = jitted(params, state)
        found, state = ours.update(params, state)
        assert_same(with_jit, (found, state), 0)
        for other in (expected, again[0]):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, other)
    own = state if name == "add_noise" else state[0]
    their_own = their_state if name == "add_noise" else their_state[0]
    assert type(own).__name__ == type(their_own).__name__ and own._fields == their_own._fields
    assert own.rng_key.tolist() == jax.random.key_data(their_own.rng_key).tolist() and own.count == 4
    assert jitted.trace_log == ["first call"]


def test_keys_of_noise() -> None:
    x = np.zeros(3)
    found = [
        optim.add_noise(0.1, 0.5, **options).update(x, optim.add_noise(0.1, 0.5, **options).init(x))[0].tolist()
        for options in ({}, {"key": 0}, {"seed": 0}, {"key": tg.random.key(0)}, {"key": jax.random.key(0)})
    ]
    assert all(f == found[0] for f in found)
    with pytest.raises(ValueError, match=r"both a key and a seed, 5; write add_noise\(eta, gamma, key=5\)"):
        optim.add_noise(0.1, 0.5, 3, seed=5)
    opt = optax.chain(optim.add_noise(0.1, 0.5, 3), optax.scale(1.0))
    params = jnp.zeros(3)
    expected, _ = optax.add_noise(0.1, 0.5, 3).update(params, optax.add_noise(0.1, 0.5, 3).init(params))
    np.testing.assert_allclose(jax.jit(opt.update)(params, opt.init(params))[0], expected, rtol=1e-5)


def test_parameters_are_needed() -> None:
    opt = optim.add_decayed_weights(0.1)
    with pytest.raises(
        ValueError, match=r"add_decayed_weights needs the parameters; write update\(grads, state, params\)"
    ):
        opt.update(np.ones(2), opt.init(np.ones(2)))


def test_none_stays() -> None:
    params = {"a": np.ones(1), "b": None}
    ours, theirs = optim.add_decayed_weights(0.5), optax.add_decayed_weights(0.5)
    found, _ = ours.update(params, ours.init(params), params)
    expected, _ = theirs.update(params, theirs.init(params), params)
    assert found["b"] is expected["b"] is None and found["a"] == expected["a"] == 1.5


def test_what_it_will_use() -> None:
    opt = optim.add_decayed_weights(lambda n: 0.5 / (n + 1))
    _, state = opt.update(np.ones(1), opt.init(None), np.ones(1))
    assert optim.hyperparams(opt, state) == {"weight_decay": 0.25}
