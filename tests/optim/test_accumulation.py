"""Momentum, moving averages and sums of several steps make optax's steps."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from tests.steps import Make, assert_follows
from tracegrad import optim


def inner(lib: Any) -> Any:
    return lib.chain(lib.trace(0.8), lib.scale_by_learning_rate(lambda count: 0.1 / (1.0 + count)))


def skipping(lib: Any, skip: Any) -> Any:
    return lib.MultiSteps(inner(lib), 3, should_skip_update_fn=skip).gradient_transformation()


CASES: dict[str, tuple[Make, bool]] = {
    "trace": (lambda lib: lib.trace(0.9), False),
    "trace_nesterov": (lambda lib: lib.trace(0.9, nesterov=True), False),
    "trace_float32": (lambda lib: lib.trace(0.9, accumulator_dtype=np.float32), False),
    "ema": (lambda lib: lib.ema(0.9), False),
    "ema_float32": (lambda lib: lib.ema(0.9, debias=False, accumulator_dtype=np.float32), False),
    "apply_every": (lambda lib: lib.chain(lib.apply_every(3), lib.scale(0.1)), False),
    "multi_steps": (lambda lib: lib.MultiSteps(inner(lib), 3).gradient_transformation(), False),
    "multi_steps_sum": (
        lambda lib: lib.MultiSteps(
            inner(lib), lambda step: 1 + step % 4, use_grad_mean=False
        ).gradient_transformation(),
        False,
    ),
    "multi_steps_finite": (lambda lib: skipping(lib, lib.skip_not_finite), True),
    "multi_steps_small": (
        lambda lib: skipping(lib, functools.partial(lib.skip_large_updates, max_squared_norm=30.0)),
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(*CASES[case])


def test_has_updated() -> None:
    opt = optim.MultiSteps(optim.scale(-1.0), 2)
    state = opt.init(np.zeros(1))
    seen = []
    for _ in range(4):
        _, state = opt.update(np.ones(1), state)
        seen.append(bool(opt.has_updated(state)))
    assert seen == [False, True, False, True]
    assert opt.inner_opt.update is not None


def test_what_says_to_skip_must_say_it_by_a_bool() -> None:
    opt = optim.MultiSteps(optim.scale(-1.0), 2, should_skip_update_fn=lambda u, step, params: (np.zeros(2), ()))
    with pytest.raises(TypeError, match=r"by one bool whether to skip, it returned f64\[2\]"):
        opt.init(np.zeros(2))
