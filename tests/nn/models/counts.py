"""How many parameters a net has, and a few steps of training a small one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tracegrad as tg


def count(net: Any, *inputs: Any) -> int:
    return sum([int(np.prod(t.shape)) for t in tg.tree.tree_leaves(net.shapes(*inputs))])


def ints(*shape: int) -> Any:
    return tg.ShapeDtypeStruct(shape, "int32")


def descends(
    loss: Callable[[Any, Any], Any],
    params: Any,
    state: Any = None,
    steps: int = 8,
    rate: float = 3e-3,
    below: float = 0.9,
) -> None:
    """`loss(params, state) -> (value, state)` becomes less by Adam's steps, jitted; and so does it after two on XLA, alike."""
    opt = tg.optim.adam(rate)

    def step(params: Any, state: Any, moments: Any) -> Any:
        (value, state), grads = tg.value_and_grad(loss, has_aux=True)(params, state)
        updates, moments = opt.update(grads, moments, params)
        return tg.optim.apply_updates(params, updates), state, moments, value

    state = {} if state is None else state
    run = tg.jit(step)
    values, p, s, m = [], params, state, opt.init(params)
    for _ in range(steps):
        p, s, m, value = run(p, s, m)
        values.append(float(value))
    assert np.isfinite(values).all() and values[-1] < below * values[0], values
    *_, on_xla = tg.jit(step, backend="xla")(params, state, opt.init(params))
    np.testing.assert_allclose(float(on_xla), values[0], rtol=1e-4)
