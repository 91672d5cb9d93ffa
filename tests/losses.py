"""How losses are held against optax's: values and gradients, in float32 and float64, eager, jitted for both backends, over a
batch by vmap; and in half floats against their own values in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

import tracegrad as tg
from tests.compare import near, same_bits
from tests.jaxprs import run_with_numpy
from tracegrad import tree

TOLERANCES = {np.float32: 2e-5, np.float64: 1e-12}


def agree_with_optax(
    ours: Callable[..., Any], theirs: Callable[..., Any], *args: Any, batched: bool = True, xla: bool = True
) -> None:
    """For arguments of which the floats are differentiated by; `batched` where the first axis of all is of examples, and losses
    are of each; `xla` for a float32 run there."""
    for dtype, tolerance in TOLERANCES.items():
        xs = [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype == float else x for x in args]
        floats = tuple(i for i, x in enumerate(xs) if isinstance(x, np.ndarray) and x.dtype == dtype)

        def gradient_and_value(lib: Any, xp: Any, f: Callable[..., Any]) -> Callable[..., Any]:
            def weighted(*xs: Any) -> Any:
                out = f(*xs)
                weights = np.cos(np.arange(out.size, dtype=dtype)).reshape(out.shape)
                return xp.sum(weights * out), out

            return lib.grad(weighted, floats, has_aux=True)

        with jax.enable_x64(dtype is np.float64):
            expected = run_with_numpy(gradient_and_value(jax, jnp, theirs), *xs)
        mine = gradient_and_value(tg, np, ours)
        eager = mine(*xs)
        near(eager, expected, tolerance)
        near(ours(*xs), expected[1], tolerance)
        same_bits(tg.jit(ours)(*xs), ours(*xs))
        near(tg.jit(mine)(*xs), eager, tolerance)
        if xla and dtype is np.float32:
            near(tree.tree_map(np.asarray, tg.jit(mine, backend="xla")(*xs)), expected, tolerance)
        if batched:
            near(tg.vmap(lambda *xs: ours(*[x[None] for x in xs])[0])(*xs), expected[1], tolerance)


def safe_in_half_floats(loss: Callable[..., Any], *args: Any) -> None:
    """What float16 and bfloat16 give is the right value, rounded, and gradients are finite."""
    for dtype in (np.float16, ml_dtypes.bfloat16):
        xs = [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype == float else x for x in args]
        wide = [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == dtype else x for x in xs]
        out = loss(*xs)
        assert out.dtype == dtype and np.isfinite(out.astype(float)).all(), out
        near(out.astype(float), np.asarray(loss(*wide)), 2e-3 if dtype is np.float16 else 1e-2)
        gradient = tg.grad(lambda *xs: np.sum(loss(*xs).astype(np.float32)))(*xs)
        assert gradient.dtype == dtype and np.isfinite(gradient.astype(float)).all(), gradient
