"""A learning rate by betting, against optax's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trajectories import assert_follows_contrib

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cocob": ("cocob", {"weight_decay": 1e-2}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows_contrib(*CASES[case], brief=True)
