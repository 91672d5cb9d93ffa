"""Learning rates by the value of the loss, against optax's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trajectories import assert_follows_contrib

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "momo": ("momo", {"learning_rate": 0.1, "weight_decay": 1e-2}),
    "momo_bound": ("momo", {"learning_rate": 0.5, "lower_bound": 30.0, "adapt_lower_bound": True}),
    "momo_adam": ("momo_adam", {"learning_rate": 0.05, "weight_decay": 1e-2}),
    "momo_adam_bound": ("momo_adam", {"learning_rate": 0.5, "lower_bound": 30.0, "adapt_lower_bound": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows_contrib(*CASES[case], brief=case != "momo")
