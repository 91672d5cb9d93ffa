"""Mechanic makes optax's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest
from optax import contrib

from tests.trajectories import assert_follows
from tracegrad import optim


@pytest.mark.parametrize(
    "options", [{}, {"s_init": 1e-2, "weight_decay": 0.0}, {"num_betas": 3, "eps": 1e-6, "s_init": 1e-3}]
)
def test_follows_optax(options: dict[str, Any]) -> None:
    ours = optim.mechanize(optim.adam(0.5), **options)
    assert_follows(ours, contrib.mechanize(optax.adam(0.5), **options), exact=1e-8, single=5e-3, brief=bool(options))


def test_finds_a_learning_rate() -> None:
    """From a scale that is a millionth of what is due."""
    opt = optim.mechanize(optim.sgd(1.0))
    w = np.array([3.0, -2.0])
    state = opt.init(w)
    for _ in range(300):
        updates, state = opt.update(w, state, w)
        w = w + updates
    assert np.linalg.norm(w) < 1e-2


def test_the_first_step_says_where_it_began() -> None:
    opt = optim.mechanize(optim.sgd(1.0), s_init=0.1)
    w = np.array([3.0])
    _, state = opt.update(w, opt.init(np.array([100.0])), w)
    assert state.x0.tolist() == [3.0]
    with pytest.raises(ValueError, match="mechanize needs the parameters"):
        opt.update(w, state)
