"""Optimistic steps are optax's, and converge in a game."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, dict[str, Any]] = {
    "optimistic_gradient_descent": {"alpha": 0.8, "beta": 0.5},
    "optimistic_adam_v2": {"beta": 0.5},
}


@pytest.mark.parametrize("name", CASES)
def test_follows_optax(name: str) -> None:
    assert_follows(getattr(optim, name)(0.02, **CASES[name]), getattr(optax, name)(0.02, **CASES[name]))


def test_converges_in_a_game() -> None:
    """Of one who wants x y small and one who wants it large, gradient descent leads both away from the balance at 0."""

    def distance_after(opt: Any) -> float:
        w = np.array([1.0, 1.0])
        state = opt.init(w)
        for _ in range(200):
            updates, state = opt.update(np.array([w[1], -w[0]]), state)
            w = w + updates
        return float(np.hypot(*w))

    assert distance_after(optim.optimistic_gradient_descent(0.3)) < 1e-3
    assert distance_after(optim.sgd(0.3)) > 1e3
