"""What finds its learning rate makes optax's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optax import contrib

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "prodigy": ("prodigy", {"estim_lr0": 1e-2, "weight_decay": 1e-2}),
    "prodigy_safeguarded": (
        "prodigy",
        {"estim_lr0": 1e-2, "safeguard_warmup": True, "learning_rate": lambda c: 1 / (1 + c)},
    ),
    "dadapt_adamw": ("dadapt_adamw", {"estim_lr0": 1e-2, "weight_decay": 1e-2}),
    "dog": ("dog", {"weight_decay": 1e-2}),
    "dog_distance": ("dog", {"init_step": ("distance", 0.1), "learning_rate": 0.5}),
    "dog_learning_rate": ("dog", {"init_step": ("learning_rate", 0.1)}),
    "dowg": ("dowg", {"init_estim_sq_dist": 0.1, "weight_decay": 1e-2}),
    "momo": ("momo", {"learning_rate": 0.1, "weight_decay": 1e-2}),
    "momo_bound": ("momo", {"learning_rate": 0.5, "lower_bound": 30.0, "adapt_lower_bound": True}),
    "momo_adam": ("momo_adam", {"learning_rate": 0.05, "weight_decay": 1e-2}),
    "momo_adam_bound": ("momo_adam", {"learning_rate": 0.5, "lower_bound": 30.0, "adapt_lower_bound": True}),
    "cocob": ("cocob", {"weight_decay": 1e-2}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]
    assert_follows(
        getattr(optim, name)(**options),
        getattr(contrib, name)(**options),
        exact=1e-9,
        single=2e-3,
        brief=case not in ("prodigy", "dog", "momo"),
    )


def test_zero_gradients_estimate_nothing() -> None:
    """Where optax divides nothing by nothing."""
    for opt in optim.prodigy(), optim.dadapt_adamw():
        w = np.ones(2)
        updates, state = opt.update(np.zeros(2), opt.init(w), w)
        assert updates.tolist() == [0.0, 0.0] and state.estim_lr == 1e-6


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"init_step=\('far', 1.0\) begins with 'distance', 'heuristic'"):
        optim.dog(init_step=("far", 1.0))
    opt = optim.prodigy()
    with pytest.raises(ValueError, match="prodigy needs the parameters"):
        opt.update(np.ones(2), opt.init(np.ones(2)))
