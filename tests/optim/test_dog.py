"""Learning rates by how far one has come, against optax's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trajectories import assert_follows_contrib
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dog": ("dog", {"weight_decay": 1e-2}),
    "dog_distance": ("dog", {"init_step": ("distance", 0.1), "learning_rate": 0.5}),
    "dog_learning_rate": ("dog", {"init_step": ("learning_rate", 0.1)}),
    "dowg": ("dowg", {"init_estim_sq_dist": 0.1, "weight_decay": 1e-2}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows_contrib(*CASES[case], brief=case != "dog")


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"init_step=\('far', 1.0\) begins with 'distance', 'heuristic'"):
        optim.dog(init_step=("far", 1.0))
