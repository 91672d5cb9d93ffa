"""Adam's family makes optax's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.trajectories import assert_follows, schedule
from tracegrad import optim
from tracegrad.testing import expect_traces

MASK = {"conv": True, "dense": ({"bias": False, "kernel": True}, False), "tall": [True]}

CASES: dict[str, dict[str, Any]] = {
    "adam": {},
    "adamw": {"weight_decay": 0.1},
    "nadam": {},
    "nadamw": {"mask": MASK},
    "amsgrad": {},
    "adamax": {},
    "adamaxw": {"weight_decay": 0.1, "mask": MASK},
}


@pytest.mark.parametrize("name", CASES)
def test_follows_optax(name: str) -> None:
    ours, theirs = getattr(optim, name), getattr(optax, name)
    assert_follows(ours(0.02, **CASES[name]), theirs(0.02, **CASES[name]))


def test_reaches_the_minimum_of_rosenbrock() -> None:
    """In each row, from three starts, by thousands of steps of one trace."""

    def rosenbrock(w: Any) -> Any:
        x, y = w[:, 0], w[:, 1]
        return np.sum((1 - x) ** 2 + 100 * (y - x**2) ** 2)

    opt = optim.adam(optim.cosine_decay_schedule(0.2, 4000))

    def step(w: Any, state: Any) -> Any:
        updates, state = opt.update(tg.grad(rosenbrock)(w), state, w)
        return optim.apply_updates(w, updates), state

    step = tg.jit(step)
    w = np.array([[-1.2, 1.0], [0.0, 0.5], [0.5, 2.0]])
    state = opt.init(w)
    with expect_traces(step, 1):
        for _ in range(4000):
            w, state = step(w, state)
    np.testing.assert_allclose(w, 1.0, rtol=1e-4)


def test_schedules_and_hyperparameters_are_followed() -> None:
    assert_follows(optim.adamw(schedule, weight_decay=schedule), optax.adamw(schedule, weight_decay=schedule))
    state = optim.adamw(schedule).init(np.ones(2))
    assert optim.hyperparams(optim.adamw(schedule), state)["learning_rate"] == 0.0625
