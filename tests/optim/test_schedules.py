"""Schedules against optax's, at counts of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tracegrad as tg
from tracegrad.testing import expect_traces

COSINES = [
    {"init_value": 0.1, "peak_value": 1.0, "warmup_steps": 3, "decay_steps": 20, "end_value": 0.05},
    {"init_value": 0.0, "peak_value": 0.5, "warmup_steps": 0, "decay_steps": 40, "exponent": 2.0},
    {"init_value": 0.2, "peak_value": 0.3, "warmup_steps": 5, "decay_steps": 30},
]
CASES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "constant": ("constant_schedule", (0.3,), {}),
    "linear": ("linear_schedule", (1.0, 0.1, 50), {}),
    "linear_later": ("linear_schedule", (0.1, 1.0, 50, 20), {}),
    "linear_never": ("linear_schedule", (0.1, 1.0, 0), {}),
    "linear_from_before": ("linear_schedule", (0.1, 1.0, 10, -5), {}),
    "polynomial": ("polynomial_schedule", (1.0, 0.1, 2.5, 60), {"transition_begin": 7}),
    "exponential": ("exponential_decay", (1.0, 30, 0.5), {}),
    "exponential_stairs": ("exponential_decay", (1.0, 30, 0.5, 11, True), {}),
    "exponential_end": ("exponential_decay", (1.0, 20, 0.5), {"end_value": 0.1}),
    "exponential_growth": ("exponential_decay", (1.0, 20, 1.5, 5), {"end_value": 3.0}),
    "exponential_zero": ("exponential_decay", (1.0, 20, 0), {}),
    "exponential_never": ("exponential_decay", (1.0, 0, 0.5), {}),
    "cosine": ("cosine_decay_schedule", (0.7, 90), {}),
    "cosine_alpha": ("cosine_decay_schedule", (0.7, 90, 0.1, 1.5), {}),
    "warmup_constant": ("warmup_constant_schedule", (0.0, 0.7, 30), {}),
    "warmup_cosine": ("warmup_cosine_decay_schedule", (0.1, 0.7, 30, 90), {"end_value": 0.01}),
    "warmup_cosine_zero": ("warmup_cosine_decay_schedule", (0.0, 0.0, 30, 90), {}),
    "warmup_exponential": ("warmup_exponential_decay_schedule", (0.1, 0.7, 30, 20, 0.5), {"transition_begin": 4}),
    "warmup_exponential_end": (
        "warmup_exponential_decay_schedule",
        (0.1, 0.7, 30, 20, 0.5),
        {"staircase": True, "end_value": 0.2},
    ),
    "piecewise_constant": ("piecewise_constant_schedule", (1.0, {50: 0.2, 20: 0.5}), {}),
    "piecewise_nothing": ("piecewise_constant_schedule", (1.0,), {}),
    "piecewise_linear": ("piecewise_interpolate_schedule", ("linear", 1.0, {20: 0.5, 50: 3.0, 51: 0.1}), {}),
    "piecewise_cosine": ("piecewise_interpolate_schedule", ("cosine", 1.0, {50: 3.0, 20: 0.5}), {}),
    "piecewise_at_zero": ("piecewise_interpolate_schedule", ("linear", 1.0, {0: 2.0, 50: 3.0}), {}),
    "piecewise_interpolate_nothing": ("piecewise_interpolate_schedule", ("linear", 1.0), {}),
    "linear_onecycle": ("linear_onecycle_schedule", (120, 0.6), {}),
    "cosine_onecycle": ("cosine_onecycle_schedule", (120, 0.6, 0.4, 10.0, 100.0), {}),
    "sgdr": ("sgdr_schedule", (COSINES,), {}),
}
STEPS = 130


def pair(case: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    name, args, kwargs = CASES[case]
    return getattr(tg.optim, name)(*args, **kwargs), getattr(optax, name)(*args, **kwargs)


@pytest.mark.parametrize("case", CASES)
def test_against_optax(case: str) -> None:
    ours, theirs = pair(case)
    with jax.enable_x64(True):
        expected = np.asarray(jax.vmap(lambda step: jnp.asarray(theirs(step), float))(jnp.arange(STEPS)))
    for steps in (range(STEPS), np.arange(STEPS, dtype=np.int32), np.arange(STEPS)):
        found = [ours(step) for step in steps]
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-16)
        assert {np.result_type(x) for x in found} == {np.dtype(float)}
    np.testing.assert_allclose(
        tg.vmap(lambda step: ours(step) * 1.0)(np.arange(STEPS)), expected, rtol=1e-14, atol=1e-16
    )


@pytest.mark.parametrize("case", CASES)
def test_traced(case: str) -> None:
    """The same bits from the program for NumPy, the same number from XLA; one trace for all steps; jax arrays outside of jit."""
    ours, _ = pair(case)

    def value(step: Any) -> Any:
        return np.multiply(ours(step), 1.0).astype(np.float32)

    jitted, on_xla = tg.jit(value), tg.jit(value, backend="xla")
    with expect_traces(jitted, 1), expect_traces(on_xla, 1):
        for step in (0, 1, 19, 20, 50, 129):
            count = np.int32(step)
            assert jitted(count) == value(count)
            np.testing.assert_allclose(on_xla(count), value(count), rtol=3e-7)
    np.testing.assert_allclose(ours(jnp.int32(20)), ours(20), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(ours)(jnp.int32(20)), ours(20), rtol=1e-6)


def test_errors() -> None:
    with pytest.raises(ValueError, match="decay_steps > warmup_steps, since it counts these too; got decay_steps 10"):
        tg.optim.warmup_cosine_decay_schedule(0.0, 1.0, 10, 10)
    with pytest.raises(ValueError, match="decay_steps > 0, got 0"):
        tg.optim.cosine_decay_schedule(1.0, 0)
    with pytest.raises(ValueError, match=r"scales that are not negative, got \{3: -1\}"):
        tg.optim.piecewise_constant_schedule(1.0, {3: -1, 2: 1.0})
    with pytest.raises(ValueError, match='"linear" or "cosine", got \'cubic\''):
        tg.optim.piecewise_interpolate_schedule("cubic", 1.0)
    with pytest.raises(ValueError, match="transition_steps > 0, got 0"):
        tg.optim.cosine_onecycle_schedule(0, 1.0)
    with pytest.raises(ValueError, match=r"2 schedules and 2 boundaries, \[3, 4\]"):
        tg.optim.join_schedules([tg.optim.constant_schedule(1.0)] * 2, [3, 4])


def test_derivative() -> None:
    """Schedules of traced hyper-parameters."""
    slope = tg.grad(lambda peak: tg.optim.warmup_cosine_decay_schedule(0.0, peak, 4, 10)(2))(0.3)
    assert slope == 0.5
