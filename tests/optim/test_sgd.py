"""Gradient descent makes optax's steps."""

from __future__ import annotations

from typing import Any

import optax
import pytest

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {"learning_rate": 0.02}),
    "momentum": ("sgd", {"learning_rate": 0.02, "momentum": 0.9}),
    "nesterov": ("sgd", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
    "polyak_sgd": ("polyak_sgd", {"max_learning_rate": 0.1}),
    "polyak_sgd_plus": ("polyak_sgd", {"scaling": 0.1, "f_min": 20.0, "variant": "sps+", "eps": 1e-3}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]
    assert_follows(
        getattr(optim, name)(**options), getattr(optax, name)(**options), brief=case in ("nesterov", "polyak_sgd_plus")
    )


def test_unknown_variant() -> None:
    with pytest.raises(ValueError, match=r"variant='adam', but there are 'sps' and 'sps\+'"):
        optim.polyak_sgd(variant="adam")
