"""Sharpness-aware steps are optax's."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest
from optax import contrib

from tests.trajectories import assert_follows
from tracegrad import optim


@pytest.mark.parametrize("reset_state", [True, False])
def test_follows_optax(reset_state: bool) -> None:
    def sam(lib: Any, contrib: Any) -> Any:
        uphill = lib.chain(contrib.normalize(), lib.sgd(0.1, momentum=0.5))
        return contrib.sam(lib.adam(0.02), uphill, sync_period=3, reset_state=reset_state)

    theirs = sam(optax, contrib)
    # optax's takes no extra arguments, which a loop may give to any optimiser.
    plain = optax.GradientTransformation(theirs.init, lambda u, state, params=None: theirs.update(u, state, params))
    assert_follows(sam(optim, optim), plain, brief=not reset_state)


def test_hidden_steps() -> None:
    def grad(w: Any, i: int = 0) -> Any:
        return 4 * w**3 - w

    w = np.array([0.3, -0.8], np.float32)
    ours = optim.sam(optim.sgd(0.1), optim.chain(optim.normalize(), optim.sgd(0.1)), 3, opaque_mode=True)
    theirs = contrib.sam(optax.sgd(0.1), optax.chain(contrib.normalize(), optax.sgd(0.1)), 3, opaque_mode=True)
    updates, state = ours.update(grad(w), ours.init(w), w, grad_fn=grad)
    expected, _ = theirs.update(grad(w), theirs.init(w), w, grad_fn=grad)
    np.testing.assert_allclose(updates, expected, rtol=1e-5)
    assert state.cache is None
    with pytest.raises(ValueError, match="sam with opaque_mode=True computes gradients itself"):
        ours.update(grad(w), state, w)


def test_errors() -> None:
    with pytest.raises(ValueError, match="sync_period=0, but a step is made every"):
        optim.sam(optim.sgd(0.1), optim.sgd(0.1), sync_period=0)
