"""What is measured is what optax measures."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.steps import Make, assert_follows
from tracegrad import optim

CASES: dict[str, tuple[Make, int]] = {
    "snapshot": (lambda lib: lib.chain(lib.scale(-0.1), lib.snapshot("norm", lib.tree.norm), lib.trace(0.5)), 1),
    # No measurements at the beginning: another state.
    "monitor": (
        lambda lib: lib.chain(
            lib.monitor({"norm": lib.tree.norm, "average": lib.measure_with_ema(lib.tree.norm, 0.9)}), lib.scale(-0.1)
        ),
        2,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    make, traces = CASES[case]
    assert_follows(make, traces=traces)


@pytest.mark.parametrize("lib", [optim, optax])
def test_measured_in_a_chain_of_optax(lib: Any) -> None:
    """By a function of NumPy's, of optax or of jax."""
    measure = (lambda u: np.max(np.abs(u))) if lib is optim else (lambda u: jnp.max(jnp.abs(u)))
    opt = optax.chain(lib.snapshot("max", measure), lib.monitor({"norm": optax.tree.norm}), optax.scale(0.5))
    params = jnp.array([3.0, -4.0])
    updates, state = jax.jit(opt.update)(params, opt.init(params))
    assert state[0].measurement == {"max": 4.0} and state[1].measurements == {"norm": 5.0}
    assert updates.tolist() == [1.5, -2.0]
