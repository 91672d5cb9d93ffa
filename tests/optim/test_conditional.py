"""Transformations under a condition make optax's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.steps import Make, assert_follows
from tracegrad import optim


def inner(lib: Any) -> Any:
    return lib.chain(lib.trace(0.8), lib.scale_by_learning_rate(0.1))


CASES: dict[str, tuple[Make, bool]] = {
    "conditionally_transform": (lambda lib: lib.conditionally_transform(inner(lib), lambda step: step % 3 == 1), False),
    "conditionally_mask": (lambda lib: lib.conditionally_mask(inner(lib), lambda step: step < 100), False),
    "apply_if_finite": (lambda lib: lib.chain(lib.apply_if_finite(inner(lib), 10), lib.clip(1.0)), True),
    "apply_if_finite_few": (lambda lib: lib.chain(lib.apply_if_finite(inner(lib), 3), lib.zero_nans()), True),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(*CASES[case])


def test_extra_arguments_of_a_condition() -> None:
    opt = optim.conditionally_mask(optim.scale(2.0), lambda step, loss, **_: loss < 1.0, forward_extra_args=True)
    state = opt.init(np.ones(1))
    update = tg.jit(opt.update)
    assert opt.update(np.ones(1), state, loss=0.5)[0] == update(np.ones(1), state, loss=0.5)[0] == 2.0
    assert opt.update(np.ones(1), state, loss=1.5)[0] == update(np.ones(1), state, loss=1.5)[0] == 0.0


def test_what_is_left_out_is_not_computed() -> None:
    calls = []

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        calls.append(1)
        return updates, state

    opt = optim.apply_if_finite(optim.GradientTransformation(lambda params: (), update), 3)
    updates, state = opt.update(np.array([np.nan]), opt.init(np.ones(1)))
    assert updates == 0 and not calls
    assert (state.notfinite_count, state.last_finite, state.total_notfinite) == (1, False, 1)


def test_vmap() -> None:
    """Some examples with a NaN, others without: each as alone."""
    opt = optim.apply_if_finite(inner(optim), 3)
    grads = np.array([[1.0, 2.0], [np.nan, 1.0], [3.0, 4.0]])
    state = opt.init(np.zeros(2))
    updates, states = tg.vmap(lambda g: opt.update(g, state))(grads)
    for i, g in enumerate(grads):
        alone, own = opt.update(g, state)
        np.testing.assert_array_equal(updates[i], alone)
        np.testing.assert_array_equal(states.total_notfinite[i], own.total_notfinite)
