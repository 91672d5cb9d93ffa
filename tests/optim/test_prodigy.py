"""Learning rates by the distance that gradients tell, against optax's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trajectories import assert_follows_contrib
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "prodigy": ("prodigy", {"estim_lr0": 1e-2, "weight_decay": 1e-2}),
    "prodigy_safeguarded": (
        "prodigy",
        {"estim_lr0": 1e-2, "safeguard_warmup": True, "learning_rate": lambda c: 1 / (1 + c)},
    ),
    "dadapt_adamw": ("dadapt_adamw", {"estim_lr0": 1e-2, "weight_decay": 1e-2}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows_contrib(*CASES[case], brief=case != "prodigy")


def test_zero_gradients_estimate_nothing() -> None:
    """Where optax divides nothing by nothing."""
    for opt in optim.prodigy(), optim.dadapt_adamw():
        w = np.ones(2)
        updates, state = opt.update(np.zeros(2), opt.init(w), w)
        assert updates.tolist() == [0.0, 0.0] and state.estim_lr == 1e-6


def test_errors() -> None:
    opt = optim.prodigy()
    with pytest.raises(ValueError, match="prodigy needs the parameters"):
        opt.update(np.ones(2), opt.init(np.ones(2)))
