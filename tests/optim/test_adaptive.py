"""adagrad, adadelta and rmsprop make optax's steps."""

from __future__ import annotations

from typing import Any

import optax
import pytest

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "adagrad": ("adagrad", {}),
    "adadelta": ("adadelta", {"weight_decay": 0.1}),
    "rmsprop": ("rmsprop", {"bias_correction": True, "momentum": 0.9}),
    "rmsprop_eps_outside": ("rmsprop", {"eps_in_sqrt": False, "initial_scale": 1.0}),
    "rmsprop_centered": ("rmsprop", {"centered": True, "momentum": 0.9, "nesterov": True}),
    "rmsprop_centered_corrected": ("rmsprop", {"centered": True, "bias_correction": True, "eps": 1e-2}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]
    assert_follows(getattr(optim, name)(0.02, **options), getattr(optax, name)(0.02, **options), brief="_" in case)
