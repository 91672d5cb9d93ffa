"""L-BFGS makes optax's steps, and reaches minima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.trajectories import assert_same
from tracegrad import optim, tree
from tracegrad.testing import expect_traces

STEPS = 15
START = {"x": np.full((2, 2), -1.2), "y": {"z": np.ones((2, 2))}, "s": np.array(0.5)}


def valley(params: Any) -> Any:
    """Rosenbrock's function in each entry, and a number that follows their sum."""
    x, y, s = params["x"], params["y"]["z"], params["s"]
    return ((1 - x) ** 2).sum() + (100 * (y - x**2) ** 2).sum() + 0.1 * (s - x.sum()) ** 2


def step_of(opt: Any, value_and_grad: Any, apply_updates: Any) -> Callable[[Any, Any], Any]:
    def step(params: Any, state: Any) -> Any:
        value, grads = value_and_grad(valley)(params)
        updates, state = opt.update(grads, state, params, value=value, grad=grads, value_fn=valley)
        return apply_updates(params, updates), state

    return step


def assert_follows(make: Callable[[Any], Any], steps: int = STEPS, xla: bool = False) -> None:
    theirs, ours = make(optax), make(optim)
    step = step_of(theirs, jax.value_and_grad, optax.apply_updates)

    def over(carry: Any, _: None) -> Any:
        after = step(*carry)
        return after, after

    with jax.enable_x64(True):
        run = jax.jit(lambda params: jax.lax.scan(over, (params, theirs.init(params)), None, length=steps)[1])
        path = jax.tree.map(np.asarray, run(START))
    ours_step = step_of(ours, tg.value_and_grad, optim.apply_updates)
    for backend in [None, "numpy", *["xla"] * xla]:
        jitted = ours_step if backend is None else tg.jit(ours_step, backend=backend)
        params, state = START, ours.init(START)
        before = len(getattr(jitted, "trace_log", ()))
        for i in range(steps):
            params, state = jitted(params, state)
            expected = tree.map(lambda x, i=i: x[i], path)
            assert_same((params, state), expected, 1e-7, at=f"{backend}, step {i}")
        assert backend is None or len(jitted.trace_log) - before == 1


def test_follows_optax() -> None:
    assert_follows(lambda lib: lib.lbfgs(), xla=True)


def test_follows_optax_with_backtracking() -> None:
    assert_follows(
        lambda lib: lib.lbfgs(memory_size=3, linesearch=lib.scale_by_backtracking_linesearch(10, store_grad=True))
    )


def test_follows_optax_without_linesearch() -> None:
    assert_follows(lambda lib: lib.lbfgs(lambda count: 1e-3, linesearch=None, scale_init_precond=False))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_reaches_the_minimum_of_rosenbrock(dtype: str, backend: str) -> None:
    def rosenbrock(x: Any) -> Any:
        return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2

    opt = optim.lbfgs()

    def step(x: Any, state: Any) -> Any:
        value, g = tg.value_and_grad(rosenbrock)(x)
        updates, state = opt.update(g, state, x, value=value, grad=g, value_fn=rosenbrock)
        return optim.apply_updates(x, updates), state

    step = tg.jit(step, backend=backend)
    x = np.array([-1.2, 1.0], dtype)
    state = opt.init(x)
    with expect_traces(step, 1):
        for _ in range(60):
            x, state = step(x, state)
    np.testing.assert_allclose(x, 1.0, rtol=1e-3 if dtype == "float32" else 1e-12)
    assert x.dtype == dtype


def test_errors() -> None:
    with pytest.raises(ValueError, match="memory_size is a whole number from 1 on, got 0"):
        optim.lbfgs(memory_size=0)
    opt = optim.scale_by_lbfgs()
    with pytest.raises(ValueError, match=r"scale_by_lbfgs needs the parameters; write update\(grads, state, params\)"):
        opt.update(np.ones(2), opt.init(np.ones(2)))
