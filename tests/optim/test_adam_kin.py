"""Adam's kin makes optax's steps."""

from __future__ import annotations

from typing import Any

import optax
import pytest

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "radam": ("radam", {"b2": 0.95}),
    "radam_nesterov": ("radam", {"b2": 0.95, "nesterov": True, "threshold": 6.0}),
    "adabelief": ("adabelief", {}),
    "adabelief_nesterov": ("adabelief", {"nesterov": True, "eps": 1e-8}),
    "yogi": ("yogi", {}),
    "adan": ("adan", {"weight_decay": 0.1}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]
    assert_follows(getattr(optim, name)(0.02, **options), getattr(optax, name)(0.02, **options), brief="_" in case)
