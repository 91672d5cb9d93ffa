"""Learning rates by the value of the loss, against optax's."""

from __future__ import annotations

from typing import Any

import pytest
from optax import contrib

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "momo": ("momo", {"learning_rate": 0.1, "weight_decay": 1e-2}),
    "momo_bound": ("momo", {"learning_rate": 0.5, "lower_bound": 30.0, "adapt_lower_bound": True}),
    "momo_adam": ("momo_adam", {"learning_rate": 0.05, "weight_decay": 1e-2}),
    "momo_adam_bound": ("momo_adam", {"learning_rate": 0.5, "lower_bound": 30.0, "adapt_lower_bound": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]
    assert_follows(
        getattr(optim, name)(**options),
        getattr(contrib, name)(**options),
        exact=1e-9,
        single=2e-3,
        brief=case != "momo",
    )
