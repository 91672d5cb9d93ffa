"""Functions run once more, with all values kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.core.op import OPS
from tracegrad.debug.replay import Level, graph_of_call, is_number

X = np.array([0.5, 1.5, 2.5])


def run(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Level:
    call = graph_of_call("test", f, args, kwargs)
    return Level(call.graph, call.inputs)


def test_arguments_are_inputs_by_key_path() -> None:
    call = graph_of_call(
        "test", lambda p, n, *, scale, mode: p["w"] * n * scale, ({"w": X}, 2), {"scale": X, "mode": "a"}
    )
    assert [v.name for v in call.graph.inputs] == ["p['w']", "n", "scale"]
    assert np.array_equal(Level(call.graph, call.inputs).outputs[0], X * 2 * X)


def _collatz(x: Any) -> Any:
    return lax.while_loop(lambda c: np.less(c, 100.0), lambda c: c * 2.0 + x, x)


@tg.custom_jvp
def _own(x: Any) -> Any:
    return np.sin(x)


_own.defjvps(lambda t, out, x: t * np.cos(x))

HOLDING: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "call": (tg.jit(np.sin), X),
    "checkpoint": (tg.checkpoint(np.sin), X),
    "scan": (lambda x: lax.scan(lambda c, a: (c * a, c + a), 1.0, x), X),
    "scan in reverse": (lambda x: lax.scan(lambda c, a: (c * a, c + a), 1.0, x, reverse=True), X),
    "while_loop": (_collatz, 1.5),
    "while_loop_vjp": (tg.grad(_collatz), 1.5),
    "switch": (tg.jit(lambda x: lax.switch(np.argmin(x), [np.sin, np.cos], x)), X),
    "switch_rows": (tg.vmap(lambda x: lax.cond(np.greater(x, 1.0), np.sin, np.cos, x)), X),
    "custom_call": (_own, X),
    "linear_solve": (lambda x: lax.custom_linear_solve(lambda v: v * x, np.ones(3), lambda f, b: b / f(np.ones(3))), X),
}


@pytest.mark.parametrize("name", HOLDING)
def test_held_graphs_are_run_as_the_op_runs_them(name: str) -> None:
    """`Held.replay` gives what evaluating the op gives."""
    f, x = HOLDING[name]
    graph = tg.make_graph(f)(x)
    level = Level(graph, [x])  # in which calls are inlined
    is_inlined = name in ("call", "linear_solve")
    eqn = next(e for e in (graph if is_inlined else level.graph).eqns if e.op.name == name.split()[0])
    known = {graph.inputs[0]: x, **graph.consts} if is_inlined else level
    values = [known[a] for a in eqn.inputs]
    assert eqn.op.held is not None and eqn.op.held.replay is not None
    ran: list[str] = []

    def one(which: str, graph: Any, inputs: Any) -> Any:
        ran.append(which)
        return Level(graph, inputs).outputs

    found = eqn.op.held.replay(one, values, eqn.params)
    expected = eqn.op.evaluate(*values, **eqn.params)
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a, b)
    assert ran
    if name == "scan in reverse":
        assert ran == [f"step {i} of scan" for i in (2, 1, 0)]


def test_which_ops_are_looked_into() -> None:
    looked_into = {name for name, op in OPS.items() if op.held is not None and op.held.replay is not None}
    assert looked_into == {name.split()[0] for name in HOLDING}


def test_the_values_of_a_jitted_function_for_jax_are_arrays_of_numpy() -> None:
    level = run(tg.jit(lambda x: np.sin(x) * 2.0, backend="xla"), X)
    assert all(type(x) in (np.ndarray, np.float64) or np.ndim(x) == 0 for x in level.values.values())
    assert np.allclose(level.outputs[0], np.sin(X) * 2.0)
    assert is_number(X) and is_number(1.0) and not is_number(np.arange(3)) and not is_number(True)
