"""Lookahead makes optax's steps; averages of parameters are what they are."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.steps import Make, assert_follows
from tracegrad import optim
from tracegrad.testing import expect_traces

CASES: dict[str, Make] = {
    "lookahead": lambda lib: lib.lookahead(lib.chain(lib.ema(0.8), lib.scale(-0.1)), 5, 0.3),
    "reset": lambda lib: lib.lookahead(lib.chain(lib.ema(0.8), lib.scale(-0.1)), 5, 0.3, reset_state=True),
    "always": lambda lib: lib.lookahead(lib.scale(-0.1), 1, 0.5),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(CASES[case], around=lambda lib, params: lib.LookaheadParams.init_synced(params))


def test_what_lookahead_takes() -> None:
    opt = optim.lookahead(optim.scale(-1.0), 2, 0.5)
    assert opt.init(np.ones(2)) == opt.init(optim.LookaheadParams.init_synced(np.ones(2)))
    with pytest.raises(TypeError, match=r"parameters of type dict; it optimises LookaheadParams.init_synced\(params\)"):
        opt.update({"w": np.ones(2)}, opt.init({"w": np.ones(2)}), {"w": np.ones(2)})
    with pytest.raises(ValueError, match="lookahead needs the parameters"):
        opt.update(np.ones(2), opt.init(np.ones(2)))
    with pytest.raises(ValueError, match="sync_period is a whole number from 1 on, got 0"):
        optim.lookahead(optim.scale(-1.0), 0, 0.5)


def test_lookahead_of_optax_on_jax() -> None:
    def run(lib: Any) -> Any:
        opt = lib.lookahead(optax.adam(0.1), 2, 0.5)
        params = lib.LookaheadParams.init_synced(jnp.ones(2))
        state, update = opt.init(params), jax.jit(opt.update)
        for _ in range(5):
            updates, state = update(params.fast, state, params)
            params = lib.apply_updates(params, updates)
        return np.asarray(params.slow)

    np.testing.assert_allclose(run(optim), run(optax), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_ema_params(dtype: str) -> None:
    opt = optim.chain(optim.scale(-0.25), optim.ema_params(0.75, accumulator_dtype=np.float64))
    params = {"w": np.ones(3, np.dtype(dtype)), "n": np.ones((), np.int64)}
    state = opt.init(params)
    average = np.ones(3)

    @tg.jit
    def step(params: Any, state: Any) -> Any:
        grads = {"w": params["w"], "n": 0 * params["n"]}
        return optim.step(opt, grads, state, params)

    with expect_traces(step, 1):
        for _ in range(5):
            params, state = step(params, state)
            average = 0.75 * average + 0.25 * params["w"].astype(np.float64)
    found = optim.tree.get(state, "ema")
    np.testing.assert_allclose(found["w"], average, rtol=1e-12)
    assert found["n"].dtype == np.int64 and params["w"].dtype == np.dtype(dtype)
    assert opt.init({"w": np.ones(1, ml_dtypes.bfloat16)})[1].ema["w"].dtype == np.float64
    with pytest.raises(ValueError, match="ema_params needs the parameters"):
        opt.update(params, state)
