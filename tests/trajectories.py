"""Trajectories of optimisers over many steps, ours and optax's: the gradients are those of a noisy quadratic, the same for all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from optax import contrib

import tracegrad as tg
from tracegrad import optim, tree
from tracegrad.testing import expect_traces

STEPS = 200
SHAPES: Any = {"conv": (2, 1, 3, 2), "dense": ({"bias": (3,), "kernel": (4, 3)}, ()), "tall": [(5, 2)]}


def _tree_of(f: Callable[[tuple[int, ...]], Any]) -> Any:
    def is_shape(x: Any) -> bool:
        return isinstance(x, tuple) and all(isinstance(n, int) for n in x)

    return tree.map(f, SHAPES, is_leaf=is_shape)


@functools.cache
def parameters(dtype: str) -> Any:
    draw = np.random.default_rng(0).normal
    return _tree_of(lambda shape: np.asarray(draw(size=shape), dtype))


@functools.cache
def noise(dtype: str) -> Any:
    draw = np.random.default_rng(1).normal
    return _tree_of(lambda shape: np.asarray(draw(size=(STEPS, *shape)), dtype))


def _loss(params: Any, shift: Any) -> Any:
    """(w + shift)² / 2, which is never below zero."""
    return sum([((p + s) ** 2).sum() for p, s in zip(tree.leaves(params), tree.leaves(shift), strict=True)]) / 2


def step_of(opt: Any, apply_updates: Any) -> Callable[[Any, Any, Any], Any]:
    def step(params: Any, state: Any, shift: Any) -> Any:
        grads = tree.map(lambda p, s: p + s, params, shift)
        updates, state = opt.update(grads, state, params, value=_loss(params, shift))
        return apply_updates(params, updates), state

    return step


def optax_trajectory(opt: Any, dtype: str, x64: bool) -> tuple[Any, Any]:
    """Parameters after each step, stacked, and the last state."""
    step = step_of(optax.with_extra_args_support(opt), optax.apply_updates)

    def over(carry: Any, shift: Any) -> Any:
        params, state = step(*carry, shift)
        return (params, state), params

    def run(params: Any, shifts: Any) -> Any:
        (_, state), path = jax.lax.scan(over, (params, opt.init(params)), shifts)
        return path, state

    with jax.enable_x64(x64):
        return jax.tree.map(np.asarray, jax.jit(run)(parameters(dtype), noise(dtype)))


def our_trajectory(opt: Any, dtype: str, backend: str | None = None) -> tuple[Any, Any]:
    opt = tg.optim.with_extra_args_support(opt)
    step = step_of(opt, tg.optim.apply_updates)
    if backend is not None:
        step = tg.jit(step, backend=backend)
    params = parameters(dtype)
    state = opt.init(params)
    shifts = noise(dtype)
    path = []

    def run() -> None:
        nonlocal params, state
        for i in range(STEPS):
            params, state = step(params, state, tree.map(lambda x, i=i: x[i], shifts))
            path.append(params)

    if backend is None:
        run()
    else:
        with expect_traces(step, 1):
            run()
    return tree.map(lambda *leaves: np.stack(leaves), *path), state


def assert_same(ours: Any, theirs: Any, rtol: float, dtypes: bool = True, at: str = "") -> None:
    """That two states have the same classes by name, fields in the same order, and leaves of the same types and values."""
    if isinstance(theirs, tuple) and hasattr(theirs, "_fields"):
        assert type(ours).__name__ == type(theirs).__name__, at
        assert ours._fields == theirs._fields, at
        for name in theirs._fields:
            assert_same(getattr(ours, name), getattr(theirs, name), rtol, dtypes, f"{at}.{name}")
    elif isinstance(theirs, dict):
        assert sorted(ours) == sorted(theirs), at
        for key in theirs:
            assert_same(ours[key], theirs[key], rtol, dtypes, f"{at}[{key!r}]")
    elif isinstance(theirs, tuple | list):
        assert type(ours) is type(theirs) and len(ours) == len(theirs), (at, ours, theirs)
        for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, rtol, dtypes, f"{at}[{i}]")
    elif theirs is None:
        assert ours is None, at
    else:
        mine, other = np.asarray(ours), np.asarray(theirs)
        assert mine.shape == other.shape, at
        assert not dtypes or mine.dtype == other.dtype, (at, mine.dtype, other.dtype)
        # Entries are measured by the largest of their leaf: what is near zero has come of larger ones.
        finite = np.abs(other[np.isfinite(other)]) if other.dtype.kind not in "bV" else np.ones(1)
        np.testing.assert_allclose(
            mine.astype(np.float64), other.astype(np.float64), rtol, rtol * max(finite, default=1.0), err_msg=at
        )


def assert_follows(ours: Any, theirs: Any, exact: float = 1e-11, single: float = 5e-5, brief: bool = False) -> None:
    """That two optimisers make the same steps: in float64 to `exact`, in float32 to `single`, since optax computes its numbers
    in float32 then too. Ours makes the same bits jitted, with one trace, and nearly those on XLA. In `brief` in float64 alone,
    and not on XLA, which is enough for options of what has been tried in full."""
    for dtype, tolerance in [("float64", exact), ("float32", single)][: 1 if brief else 2]:
        path, state = our_trajectory(ours, dtype)
        expected_path, expected_state = optax_trajectory(theirs, dtype, x64=dtype == "float64")
        assert_same(path, expected_path, tolerance, at=f"{dtype} params")
        assert_same(state, expected_state, 10 * tolerance, dtypes=dtype == "float64", at=f"{dtype} state")
        jitted_path, jitted_state = our_trajectory(ours, dtype, "numpy")
        assert_same(jitted_path, path, 0.0, at=f"{dtype} params, jitted")
        assert_same(jitted_state, state, 0.0, at=f"{dtype} state, jitted")
    if not brief:
        on_xla, state_on_xla = our_trajectory(ours, "float32", "xla")
        assert_same(on_xla, path, single, at="params on XLA")
        assert_same(state_on_xla, state, 10 * single, at="state on XLA")


def schedule(count: Any) -> Any:
    """A learning rate for both, 1/16 and from step 64 on 1/32: float32, in which jax computes with the count, holds these exactly."""
    return (1 + (count < 64)) / 32


def assert_follows_contrib(name: str, options: dict[str, Any], brief: bool) -> None:
    """An optimiser of optax.contrib's that finds its own learning rate, which makes much of rounding."""
    ours, theirs = [getattr(home, name)(**options) for home in (optim, contrib)]
    assert_follows(ours, theirs, exact=1e-9, single=2e-3, brief=brief)
