"""Adam's family makes optax's steps."""

from __future__ import annotations

import optax
import pytest

from tests.trajectories import assert_follows
from tracegrad import optim

MASK = {"conv": True, "dense": ({"bias": False, "kernel": True}, False), "tall": [True]}

CASES = {
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
