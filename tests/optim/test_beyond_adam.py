"""Newer relatives of Adam make optax's steps."""

from __future__ import annotations

from typing import Any

import pytest
from optax import contrib

from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "adopt": ("adopt", {}),
    "adopt_nesterov": ("adopt", {"nesterov": True, "use_clipping": False, "b2": 0.9}),
    "ademamix": ("ademamix", {"weight_decay": 1e-2, "b3": 0.99, "alpha": lambda c: 0.1 * c}),
    "simplified_ademamix": ("simplified_ademamix", {"alpha": 2.0, "b1": 0.9}),
    "madgrad": ("madgrad", {"weight_decay": 1e-2}),
    "acprop": ("acprop", {"weight_decay": 1e-2}),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    name, options = CASES[case]
    exact = 1e-6 if name == "madgrad" else 1e-11  # of which optax computes the root of the count in float32
    assert_follows(getattr(optim, name)(0.02, **options), getattr(contrib, name)(0.02, **options), exact, single=2e-4)
