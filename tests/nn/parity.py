"""Layers held against flax.linen's: the parameters' and the state's structure, outputs, gradients by parameters and inputs, and
running statistics, in float32 and float64, eager, jitted for both backends, over a batch by vmap.

A row of a table is (our layer, what makes flax's of param_dtype=, inputs), and `agree_with_flax(*row)` the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

import tracegrad as tg
from tests.compare import near, same_bits
from tests.jaxprs import run_with_numpy
from tracegrad import tree
from tracegrad.nn import Layer

TOLERANCES = {np.float32: 1e-5, np.float64: 1e-11}


def agree_with_flax(
    ours: Layer,
    theirs: Callable[..., Any],
    *inputs: Any,
    train: bool = False,
    call: Mapping[str, Any] | None = None,
    batched: bool = True,
    dtypes: Sequence[Any] = (np.float32, np.float64),
    tolerance: float = 1.0,
    xla: bool = True,
) -> None:
    """One layer.

    Args:
        ours: the layer.
        theirs: (param_dtype=...) -> flax's module.
        *inputs: arrays, of which the float64 ones are taken in each dtype, and differentiated by.
        train: how ours is called.
        call: keywords that theirs is called with.
        batched: whether the first axis is of examples, with which nothing is done but each alone.
        dtypes: of the parameters.
        tolerance: a factor of 1e-5 in float32, and of 1e-11 in float64.
        xla: whether to run on XLA too (in float32).
    """
    for dtype in dtypes:
        near_enough = TOLERANCES[dtype] * tolerance
        xs = tuple(x.astype(dtype) if x.dtype == float else x for x in inputs)
        floats = [i for i, x in enumerate(xs) if x.dtype == dtype]
        module, options = theirs(param_dtype=dtype), dict(call or {})
        with jax.enable_x64(dtype is np.float64):
            variables = jax.eval_shape(lambda *xs: module.init(jax.random.PRNGKey(0), *xs, **options), *xs)
        given = drawn(variables.get("params", {}))
        statistics = drawn(variables.get("batch_stats", {}))

        def theirs_of(params: Any, given_state: Any, *xs: Any) -> Any:
            variables = {"params": params, "batch_stats": given_state}
            return module.apply(variables, *xs, mutable=["batch_stats"], **options)

        def ours_of(params: Any, given_state: Any, *xs: Any) -> Any:
            return ours.apply(params, *xs, state=given_state, train=train)

        def everything(lib: Any, xp: Any, f: Callable[..., Any]) -> Callable[..., Any]:
            def run(params: Any, given_state: Any, *xs: Any) -> Any:
                def loss(params: Any, *of: Any) -> Any:
                    full = list(xs)
                    for i, x in zip(floats, of, strict=True):
                        full[i] = x
                    out, after = f(params, given_state, *full)
                    weights = np.cos(np.arange(out.size, dtype=dtype)).reshape(out.shape)
                    return xp.sum(weights * out), (out, after)

                by = tuple(range(1 + len(floats)))
                return lib.grad(loss, by, has_aux=True)(params, *[xs[i] for i in floats])

            return run

        def expected_of(*args: Any) -> Any:
            gradient, (out, after) = everything(jax, jnp, theirs_of)(*args)
            return gradient, (out, dict(after).get("batch_stats", {}))

        with jax.enable_x64(dtype is np.float64):
            expected = run_with_numpy(expected_of, given, statistics, *xs)
        # What is asked for, by types alone: the parameters are flax's by name, shape and dtype, and so is the state.
        shown = tree.tree_map(lambda t: (t.shape, t.dtype), ours.shapes(*xs, dtype=dtype))
        assert shown == tree.tree_map(lambda a: (a.shape, a.dtype), given), (shown, given)
        shown = tree.tree_map(np.shape, ours.init_state(*xs, dtype=dtype))
        assert shown == tree.tree_map(np.shape, statistics), (shown, statistics)
        mine = everything(tg, np, ours_of)
        eager = mine(given, statistics, *xs)
        near(eager, expected, near_enough)
        same_bits(tg.jit(ours_of)(given, statistics, *xs), ours_of(given, statistics, *xs))
        near(tg.jit(mine)(given, statistics, *xs), eager, near_enough)
        if xla and dtype is np.float32:
            compiled = tg.jit(mine, backend="xla")(given, statistics, *xs)
            near(tree.tree_map(np.asarray, compiled), expected, near_enough)
        if batched and not train:
            each = tg.vmap(lambda *xs: ours_of(given, statistics, *[x[None] for x in xs])[0][0])(*xs)
            near(each, expected[1][0], near_enough)


def safe_in_half_floats(
    layer: Layer,
    *inputs: Any,
    train: bool = False,
    tolerance: float = 2e-2,
    dtypes: Sequence[Any] = (np.float16, ml_dtypes.bfloat16),
) -> None:
    """In float16 and bfloat16 a layer of such parameters gives what it gives in float32, rounded, and gradients are finite."""
    for dtype in dtypes:
        xs = [x.astype(dtype) if x.dtype == float else x for x in inputs]
        wide = [x.astype(np.float32) if x.dtype == dtype else x for x in xs]
        params = layer.init(0, *wide)
        narrow = tree.tree_map(lambda x: x.astype(dtype), params)
        state = layer.init_state(*xs, dtype=dtype)
        assert all(s.dtype == np.float32 for s in tree.tree_leaves(state))
        out, _ = layer.apply(narrow, *xs, state=state, train=train)
        expected, _ = layer.apply(params, *wide, state=state, train=train)
        assert out.dtype == dtype
        near(out.astype(np.float32), expected, tolerance)
        gradient = tg.grad(
            lambda p: np.sum(np.square(layer.apply(p, *xs, state=state, train=train)[0].astype(np.float32)))
        )(narrow)
        for leaf in tree.tree_leaves(gradient):
            assert leaf.dtype == dtype and np.isfinite(leaf.astype(float)).all()


def drawn(types: Any) -> Any:
    """Arrays of these types (or of arrays' types) with numbers of their own, since scales of 1 and biases of 0 hide what is done
    with them: vectors are positive, as variances are, and kernels keep the size of what flows through them."""
    leaves, structure = tree.tree_flatten(types)
    rng = np.random.default_rng(7)

    def draw(shape: tuple[int, ...]) -> Any:
        if len(shape) < 2:
            return rng.uniform(0.5, 1.5, shape)
        return rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))

    return structure.unflatten([np.asarray(draw(np.shape(x)), x.dtype) for x in leaves])
