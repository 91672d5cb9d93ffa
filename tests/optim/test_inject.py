"""Hyper-parameters in the state make optax's steps, and may be changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.steps import Make, assert_follows
from tracegrad import optim
from tracegrad.testing import expect_traces


def momentum(lib: Any) -> Any:
    def made(learning_rate: Any, decay: Any = 0.9, nesterov: bool = False, steps: int = 3) -> Any:
        return lib.chain(lib.trace(decay, nesterov), lib.apply_every(steps), lib.scale_by_learning_rate(learning_rate))

    return made


CASES: dict[str, Make] = {
    "numbers": lambda lib: lib.inject_hyperparams(momentum(lib), "steps")(0.1, decay=0.5),
    "integers": lambda lib: lib.inject_hyperparams(momentum(lib))(0.1, steps=np.asarray(2, np.int32)),
    "schedules": lambda lib: lib.inject_hyperparams(momentum(lib), ("steps",))(
        lambda n: 0.1 / (1.0 + n), decay=lambda n: 0.5 + 0.001 * n, nesterov=True
    ),
    "float32": lambda lib: lib.inject_hyperparams(lib.scale, hyperparam_dtype=np.float32)(0.1),
    "ema": lambda lib: lib.inject_hyperparams(lib.ema)(0.9),
    "clip": lambda lib: lib.inject_hyperparams(lib.clip_by_global_norm)(max_norm=lambda n: 1.0 + 0.01 * n),
    "decay": lambda lib: lib.inject_hyperparams(lib.add_decayed_weights)(0.01),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(CASES[case])


def test_a_jitted_step_sees_what_is_changed() -> None:
    opt = optim.inject_hyperparams(optim.scale_by_learning_rate)(learning_rate=0.5)
    params = np.ones(2, np.float32)
    state = opt.init(params)
    update = tg.jit(opt.update)
    with expect_traces(update, 1):
        assert update(params, state)[0][0] == -0.5
        state.hyperparams["learning_rate"] = np.asarray(0.25, np.float32)
        updates, state = update(params, state)
    assert updates[0] == -0.25 and updates.dtype == np.float32
    state.hyperparams["learning_rate"] = 0.125  # a Python number, of which a program of its own is made
    updates, state = update(params, state)
    assert updates[0] == -0.125 and state.hyperparams["learning_rate"].dtype == np.float32
    assert optim.hyperparams(opt, state) == {"learning_rate": 0.125}


def test_hyper_parameters_of_the_next_update() -> None:
    opt = optim.inject_hyperparams(optim.scale_by_learning_rate)(learning_rate=lambda n: 0.5 / (1 + n))
    state = opt.init(np.ones(2))
    for n in range(3):
        assert optim.hyperparams(opt, state) == {"learning_rate": 0.5 / (1 + n)}
        updates, state = opt.update(np.ones(2), state)
        assert updates[0] == -0.5 / (1 + n) == -state.hyperparams["learning_rate"]


def test_a_schedule_with_a_state() -> None:
    class Halving:
        """Half as much after each loss above 1."""

        def init(self) -> Any:
            return np.ones(())

        def update(self, state: Any, *, loss: Any, **_: Any) -> Any:
            return np.where(loss > 1, state / 2, state)

        def __call__(self, state: Any, **_: Any) -> Any:
            return state

    opt = optim.inject_hyperparams(optim.scale)(Halving())
    state, seen = opt.init(np.ones(1)), []
    for loss in (0.0, 2.0, 0.0):
        updates, state = opt.update(np.ones(1), state, loss=loss)
        seen.append(float(updates[0]))
    assert seen == [1.0, 1.0, 0.5]


def test_static_arguments() -> None:
    with pytest.raises(
        ValueError, match=r"static_args names 'rate', which .*scale.* does not take; its arguments are step_size"
    ):
        optim.inject_hyperparams(optim.scale, "rate")
    opt = optim.inject_hyperparams(optim.add_decayed_weights, static_args="mask")(
        0.5, mask=lambda path, leaf: leaf.ndim > 1
    )
    params = {"a": np.ones((1, 1)), "b": np.ones(1)}
    updates, state = opt.update(tg.tree.map(np.zeros_like, params), opt.init(params), params)
    assert (updates["a"], updates["b"]) == (0.5, 0.0)
    assert list(state.hyperparams) == ["weight_decay"]


def test_half_floats() -> None:
    opt = optim.inject_hyperparams(optim.scale)(0.1)
    state = opt.init({"a": np.ones(1, np.float16), "n": np.ones(1, np.int64)})
    assert state.hyperparams["step_size"].dtype == np.float16
    assert opt.init({}).hyperparams["step_size"].dtype == np.float64
