"""What steps by signs makes optax's steps."""

from __future__ import annotations

from typing import Any

import optax
import pytest

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sign_sgd": ("sign_sgd", {}),
    "signum": ("signum", {}),
    "lion": ("lion", {"weight_decay": 0.1}),
    "rprop": ("rprop", {"max_step_size": 0.5}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]
    assert_follows(getattr(optim, name)(0.02, **options), getattr(optax, name)(0.02, **options))
