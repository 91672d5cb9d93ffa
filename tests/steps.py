"""The same 200 gradients through a transformation of ours and the one of optax's that has its name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

import tracegrad as tg
from tracegrad import tree
from tracegrad.testing import expect_traces

STEPS = 200
SHAPES: Any = {"a": {"bias": [3], "kernel": [4, 3]}, "b": ([], [0, 2]), "c": None, "conv": [2, 1, 3, 2]}

# `lib` is tg.optim or optax.
Make = Callable[[Any], Any]
Around = Callable[[Any, Any], Any]


def _arrays(seed: int, dtype: str, lead: tuple[int, ...] = ()) -> Any:
    draw = np.random.default_rng(seed).normal
    return tree.map(
        lambda shape: np.asarray(draw(size=(*lead, *shape)), dtype), SHAPES, is_leaf=lambda x: isinstance(x, list)
    )


@functools.cache
def parameters(dtype: str) -> Any:
    return _arrays(0, dtype)


@functools.cache
def gradients(dtype: str, spoilt: bool) -> Any:
    """Stacked; in some steps, if they are to be spoilt, with a NaN or an infinity."""
    found = _arrays(1, dtype, (STEPS,))
    if spoilt:
        found["a"]["bias"][[3, 4, 50, 51, 52, 53, 54, 55, 56]] = np.nan
        found["b"][0][[7, 120]] = np.inf
    return found


def _step(opt: Any, apply_updates: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = opt.update(grads, state, params)
        return apply_updates(params, updates), state

    return step


def of_optax(opt: Any, spoilt: bool, around: Around, is_lasting: bool) -> dict[str, Any]:
    """Parameters after each step, stacked, and the last state: in float64, and rounded to what they are for float32. A state that is not
    lasting has another structure after the first step."""
    step = _step(opt, optax.apply_updates)

    def over(carry: Any, grads: Any) -> Any:
        params, state = step(*carry, grads)
        return (params, state), params

    def run(params: Any, grads: Any) -> Any:
        carry, before = (params, opt.init(params)), []
        if not is_lasting:
            carry, first = over(carry, jax.tree.map(lambda g: g[0], grads))
            before, grads = [jax.tree.map(lambda p: p[None], first)], jax.tree.map(lambda g: g[1:], grads)
        (_, state), path = jax.lax.scan(over, carry, grads)
        return jax.tree.map(lambda *parts: jax.numpy.concatenate(parts), *before, path), state

    def given(dtype: str) -> Any:
        return around(optax, parameters(dtype)), gradients(dtype, spoilt)

    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, jax.jit(run)(*given("float64")))
        types = jax.eval_shape(run, *given("float32"))
    return {"float64": found, "float32": jax.tree.map(lambda x, t: x.astype(t.dtype), found, types)}


def of_ours(opt: Any, dtype: str, spoilt: bool, params: Any, backend: str | None, traces: int = 1) -> tuple[Any, Any]:
    step: Any = _step(opt, tg.optim.apply_updates)
    jitted = step if backend is None else tg.jit(step, backend=backend)
    state, path, grads = opt.init(params), [], gradients(dtype, spoilt)
    each = [tree.map(lambda g, i=i: g[i], grads) for i in range(STEPS)]

    def run() -> None:
        nonlocal params, state
        for g in each:
            params, state = jitted(params, state, g)
            path.append(params)

    if backend is None:
        run()
    else:
        with expect_traces(jitted, traces):
            run()
    return tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *path), state


def assert_same(ours: Any, theirs: Any, rtol: float, at: str = "") -> None:
    """Classes of the same names, fields and entries in the same order, leaves of the same types and values."""
    if isinstance(theirs, tuple) and hasattr(theirs, "_fields"):
        assert type(ours).__name__ == type(theirs).__name__ and ours._fields == theirs._fields, (at, ours, theirs)
        theirs, ours = theirs._asdict(), ours._asdict()
    if isinstance(theirs, dict):
        assert sorted(ours) == sorted(theirs), (at, list(ours), list(theirs))
        for key in theirs:
            assert_same(ours[key], theirs[key], rtol, f"{at}.{key}")
    elif isinstance(theirs, tuple | list):
        assert type(ours) is type(theirs) and len(ours) == len(theirs), (at, ours, theirs)
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, rtol, f"{at}[{i}]")
    elif theirs is None:
        assert ours is None, at
    else:
        mine, other = np.asarray(ours), np.asarray(theirs)
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype), (at, mine, other)
        if rtol == 0 or other.dtype.kind in "biu":
            np.testing.assert_array_equal(mine, other, err_msg=at)
        else:
            finite = np.abs(other[np.isfinite(other)]).max(initial=1.0)
            np.testing.assert_allclose(mine, other, rtol, rtol * finite, err_msg=at)


def assert_follows(
    make: Make, spoilt: bool = False, around: Around = lambda lib, params: params, traces: int = 1
) -> None:
    """That ours makes optax's steps and states: in float64 and float32, eagerly, and, of the same bits and with one trace, jitted for
    NumPy; jitted for XLA. `around(lib, params)` makes the parameters to start from."""
    ours, theirs = make(tg.optim), of_optax(make(optax), spoilt, around, traces == 1)
    for dtype, rtol in ("float64", 1e-12), ("float32", 2e-5):
        params = around(tg.optim, parameters(dtype))
        with np.errstate(invalid="ignore" if spoilt else "warn"):
            eager = of_ours(ours, dtype, spoilt, params, None)
            assert_same(eager, theirs[dtype], rtol, dtype)
            assert_same(of_ours(ours, dtype, spoilt, params, "numpy", traces), eager, 0, f"{dtype} jitted")
    assert_same(of_ours(ours, dtype, spoilt, params, "xla", traces), eager, rtol, f"{dtype} on XLA")
