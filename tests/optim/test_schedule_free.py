"""Schedule-free optimisers make optax's steps, and average what optax averages."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest
from optax import contrib

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("schedule_free_sgd", {"learning_rate": 0.1, "warmup_steps": 10, "weight_decay": 1e-2}),
    "adamw": ("schedule_free_adamw", {"learning_rate": 0.05, "weight_decay": 1e-2}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]  # optax computes warm-ups in float32
    assert_follows(getattr(optim, name)(**options), getattr(contrib, name)(**options), exact=1e-6, single=1e-4)


def test_of_any_optimiser() -> None:
    def rate(count: Any) -> Any:
        return 0.1 / (1 + count)

    def of(lib: Any, contrib: Any) -> Any:
        return contrib.schedule_free(lib.rmsprop(0.02), rate, b1=0.8, weight_lr_power=1.0)

    assert_follows(of(optim, optim), of(optax, contrib), single=1e-4, brief=True)


def test_average() -> None:
    w = np.array([1.0, -2.0])
    opt, theirs = optim.schedule_free_sgd(0.1), contrib.schedule_free_sgd(0.1)
    state, other = opt.init(w), theirs.init(w)
    for _ in range(3):
        updates, state = opt.update(2 * w, state, w)
        _, other = theirs.update(2 * w, other, w)
        w = w + updates
    averaged = optim.schedule_free_eval_params(state, w)
    np.testing.assert_allclose(averaged, contrib.schedule_free_eval_params(other, w), rtol=1e-5)
    with pytest.raises(ValueError, match="takes the state of schedule_free, got a tuple"):
        optim.schedule_free_eval_params((state,), w)
