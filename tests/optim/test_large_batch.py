"""What goes by the norms of layers makes optax's steps."""

from __future__ import annotations

from typing import Any

import optax
import pytest

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lamb": ("lamb", {"weight_decay": 0.1}),
    "lars": ("lars", {"weight_decay": 0.1, "trust_coefficient": 0.1}),
    "novograd": ("novograd", {"weight_decay": 0.1}),
    "fromage": ("fromage", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]
    assert_follows(getattr(optim, name)(0.02, **options), getattr(optax, name)(0.02, **options))
