"""A learning rate by betting, against optax's."""

from __future__ import annotations

from typing import Any

import pytest
from optax import contrib

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
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
        brief=True,
    )
