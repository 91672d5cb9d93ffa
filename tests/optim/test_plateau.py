"""Steps shrink on plateaus as optax's do."""

from __future__ import annotations

from typing import Any

import optax
import pytest
from optax import contrib

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, dict[str, Any]] = {
    "default": {"patience": 3},
    "waiting": {"factor": 0.5, "patience": 2, "cooldown": 4, "accumulation_size": 3, "min_scale": 0.05, "atol": 1e-3},
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    def slowing(lib: Any, contrib: Any) -> Any:
        return lib.chain(lib.sgd(0.05), contrib.reduce_on_plateau(**CASES[case]))

    assert_follows(slowing(optim, optim), slowing(optax, contrib), brief=case == "default")


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"factor=1.5, but steps get smaller"):
        optim.reduce_on_plateau(factor=1.5)
    with pytest.raises(ValueError, match=r"rtol=0.0 and atol=0.0, but progress is measured"):
        optim.reduce_on_plateau(rtol=0.0)
