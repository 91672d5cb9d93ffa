"""Batching rules: whole arrays, never rows."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.compare import near
from tracegrad import tree
from tracegrad.core.op import OPS
from tracegrad.testing.cases import batch_of, cases, choices

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)


# ---------------------------------------------------------------------------------------------------------------------
# Whole arrays, never rows.


def python_calls(f: Callable[[], Any]) -> int:
    """How many functions are called, of Python's or of C's, while `f` runs."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    f()  # caches filled
    gc.disable()  # a collection calls what it finds
    sys.setprofile(profile)
    try:
        f()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


# SciPy's functions of one matrix, one filter or one number, which go through a batch by themselves; and a series in blocks.
OF_ONE = {
    "betabinom_quantile", "column_order", "expm", "expm_frechet", "iv_slope", "logm", "logm_frechet", "lu", "recursive_filter",
    "solve_banded", "solve_continuous_are", "solve_discrete_are", "solve_sylvester", "sqrtm", "triangular_solve",
    "vonmises_quantile",
}  # fmt: skip


@pytest.mark.parametrize("name", [op.name for op in OPS.values() if list(op.samples()) and op.name not in OF_ONE])
def test_no_batching_rule_loops_over_rows(name: str) -> None:
    """192 rows more would be 192 calls more each time. Once a rule may go another way for more rows."""
    op = OPS[name]
    for dtype in ("float64",) if set(op.kinds) & set("fc") else ("int64",):
        for case in cases(op, dtype):
            rows = batch_of(case)
            for batched in choices(len(case.inputs)):

                def run(size: int) -> Callable[[], Any]:
                    given = tuple(
                        [
                            np.stack([np.asarray(rows[k % 3][i]) for k in range(size)]) if b else case.inputs[i]
                            for i, b in enumerate(batched)
                        ]
                    )
                    return lambda: op.batch(size, list(batched), given, case.params)

                calls = [python_calls(run(size)) for size in (96, 288, 480)]
                assert min(np.diff(calls)) < 96, f"{name}, batched {batched}: {calls} calls for 96, 288 and 480 rows"


def network_loss(params: Any, x: Any, y: Any) -> Any:
    for layer in params[:-1]:
        x = np.tanh(x @ layer["w"] + layer["b"])
    logits = x @ params[-1]["w"] + params[-1]["b"]
    return np.log(np.sum(np.exp(logits))) - np.sum(logits * y)


def test_per_example_gradients() -> None:
    params = [{"w": RNG.normal(size=(5, 4)), "b": np.zeros(4)}, {"w": RNG.normal(size=(4, 3)), "b": np.zeros(3)}]
    xs, ys = RNG.normal(size=(16, 5)), np.eye(3)[RNG.integers(0, 3, 16)]
    gradient = tg.vmap(tg.grad(network_loss), (None, 0, 0))
    loop = [tg.grad(network_loss)(params, x, y) for x, y in zip(xs, ys, strict=True)]
    expected = tree.tree_map(lambda *rows: np.stack(rows), *loop)
    near(gradient(params, xs, ys), expected)
    jitted = tg.jit(gradient)
    near(jitted(params, xs, ys), expected)
    # One equation for an outer product of all rows; as many equations for more rows.
    graph = jitted.lower(params, xs, ys).graph
    assert [e.params["subscripts"] for e in graph.eqns if e.op.name == "einsum"] == ["bi,bj->bij"] * 2
    assert len(graph.eqns) == len(jitted.lower(params, np.tile(xs, (4, 1)), np.tile(ys, (4, 1))).graph.eqns)
