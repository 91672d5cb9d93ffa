"""Values and gradients in a drawing, against evaluation and an independent way to the derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import tracegrad as tg
from tests.show.drawn import blocks, blocks_args, graph_of, mlp, mlp_args, scanned
from tracegrad.core.graph import Eqn, Graph, Var, evaluate, interpret
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import bind
from tracegrad.show.boxes import Instance
from tracegrad.show.model import Model, model
from tracegrad.show.values import Values, side, summary
from tracegrad.testing.programs import SHAPES, Program, programs


def branch(x: Any, y: Any) -> Any:
    with tg.named_scope("both"):
        z = np.where(x > 0.5, np.sqrt(np.abs(x)), x * y)
    low, high = np.split(z, 2)
    return np.sum(np.maximum(low, high) * y[:2]) + np.max(z)


def through_calls(x: Any, y: Any) -> Any:
    return tg.jit(lambda x: np.sum(np.tanh(x) * tg.checkpoint(np.sin)(y)))(x) * 2.0


WEIGHTS, MASK = np.array([1.5, -2.0, 0.5]), np.array([True, False, True])


def with_constants(x: Any) -> Any:
    y = np.where(MASK, x * WEIGHTS, np.exp(WEIGHTS))
    return np.sum(tg.jit(lambda y: np.tanh(y * WEIGHTS[::-1]))(y) @ np.outer(WEIGHTS, WEIGHTS)) + np.sum(
        WEIGHTS[[2, 0]] * x[:2]
    )


CASES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (mlp, mlp_args()),
    (blocks, blocks_args(2)),
    (branch, (np.array([0.3, 0.9, -0.2, 2.0]), np.array([1.5, -1.0, 0.5, 2.0]))),
    (through_calls, (np.array([0.3, -1.0]), np.array([2.0, 0.1]))),
    (scanned, (np.ones(3), np.linspace(0.5, 1.5, 12).reshape(4, 3))),
    (lambda w: np.sum(np.abs(np.exp(1j * w)) ** 2 * w), (np.array([0.1, 0.7]),)),
    (with_constants, (np.array([0.3, 0.9, -0.2]),)),
    (lambda x: x, (0.5,)),
    (lambda x: np.sum(x) * 0 + 3.0, (np.ones(2),)),
]


def drawn_values(f: Any, args: Any, gradients: bool) -> tuple[Model, Values, list[Any]]:
    graph = graph_of(f, *args)
    leaves = tg.tree.leaves(args)
    drawn = model(graph)
    return drawn, Values(drawn, leaves, gradients), leaves


def evaluated(graph: Graph, leaves: list[Any], of: dict[Var, Any]) -> dict[Var, Any]:
    """Every variable of a Graph, with these in place of what would be computed of them."""
    found: dict[Var, Any] = dict(zip(graph.inputs, leaves, strict=True)) | dict(graph.consts)
    found.update({v: x for v, x in of.items() if v in found})
    for eqn in graph.eqns:
        out = bind(eqn.op, tuple([found[a] if isinstance(a, Var) else a.value for a in eqn.inputs]), eqn.params)
        found.update(zip(eqn.outputs, out if eqn.op.multiple_results else (out,), strict=True))
        found.update({v: x for v, x in of.items() if v in eqn.outputs})
    return found


@pytest.mark.parametrize("f, args", CASES)
@pytest.mark.parametrize("gradients", [False, True])
def test_values_are_those_of_evaluation(f: Any, args: Any, gradients: bool) -> None:
    drawn, values, leaves = drawn_values(f, args, gradients)
    graph = drawn.whole.graph
    for v, x in evaluated(graph, leaves, {}).items():
        np.testing.assert_array_equal(values.values[drawn.whole.variables[v]], x)
    outputs = [values.values[drawn.whole.variables[v]] for v in graph.outputs if isinstance(v, Var)]
    for got, wanted in zip(outputs, evaluate(graph, leaves), strict=False):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("f, args", CASES)
def test_gradients_are_those_of_grad_at_what_is_between(f: Any, args: Any) -> None:
    """`tg.grad` of the rest of the Graph as a function of that one variable."""
    drawn, values, leaves = drawn_values(f, args, True)
    graph = drawn.whole.graph
    known = evaluated(graph, leaves, {})
    tried = 0
    for v, x in known.items():
        got = values.gradients[drawn.whole.variables[v]]
        if v.type.dtype.kind not in "fc":
            assert got is None
            continue

        def rest(x: Any, v: Var = v) -> Any:
            out = evaluated(graph, leaves, {v: x})
            (result,) = graph.outputs
            return out[result] if isinstance(result, Var) else result.value

        np.testing.assert_allclose(got, tg.grad(rest)(x), rtol=1e-12, atol=1e-14)
        tried += 1
    assert tried


def instances(of: Instance) -> Iterator[Instance]:
    for inner in of.held.values():
        for instance in inner:
            yield instance
            yield from instances(instance)


def test_what_jitted_functions_hold_has_values_and_gradients() -> None:
    """The same as where the equations stand in the Graph itself."""
    args = mlp_args()
    plain, values, _ = drawn_values(mlp, args, True)
    drawn, inner_values, _ = drawn_values(tg.jit(mlp), args, True)
    (inner,) = instances(drawn.whole)
    ours = [inner.variables[v] for eqn in inner.graph.eqns for v in eqn.outputs]
    theirs = [plain.whole.variables[v] for eqn in plain.whole.graph.eqns for v in eqn.outputs]
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(inner_values.values[a], values.values[b])
        np.testing.assert_allclose(inner_values.gradients[a], values.gradients[b], rtol=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(programs(registry=False))
def test_of_random_programs(program: Program) -> None:
    """With loops, branches, checkpoints and jitted parts."""
    args = [np.linspace(-0.9, 0.8, math.prod(shape)).reshape(shape) for shape in SHAPES]
    drawn, values, _ = quietly(("all",), drawn_values, program, args, True)
    wanted = quietly(("all",), tg.grad(program, (0, 1)), *args)
    for got, gradient in zip(values.gradients, wanted, strict=False):
        np.testing.assert_allclose(got, gradient, rtol=1e-9, atol=1e-12)
    (result,) = drawn.whole.graph.outputs
    if isinstance(result, Var):
        found = values.values[drawn.whole.variables[result]]
        np.testing.assert_allclose(found, quietly(("all",), program, *args), rtol=1e-12)


def test_of_a_loop_they_are_the_last_step_s() -> None:
    args = np.ones(3), np.linspace(0.5, 1.5, 12).reshape(4, 3)
    drawn, values, _ = drawn_values(scanned, args, True)
    (body,) = instances(drawn.whole)
    carry = args[0]
    for w in args[1]:
        before, carry = carry, np.tanh(carry * w)
    tanh = next(eqn for eqn in body.graph.eqns if eqn.op.name == "tanh")
    np.testing.assert_allclose(values.values[body.variables[tanh.outputs[0]]], carry)
    np.testing.assert_allclose(values.values[body.variables[body.graph.inputs[0]]], before)
    assert all(values.gradients[i] is None for i in body.variables.values())


def test_a_branch_that_is_not_taken_has_none() -> None:
    types = tg.ShapeDtypeStruct((), "int32"), tg.ShapeDtypeStruct((2,), "float64")
    graph = tg.make_graph(lambda i, x: tg.lax.switch(i, [np.sin, np.cos], x))(*types)
    drawn = model(graph)
    values = Values(drawn, [np.int32(1), np.array([0.1, 0.2])], False)
    sin, cos = instances(drawn.whole)
    assert values.values[sin.variables[sin.graph.eqns[0].outputs[0]]] is None
    np.testing.assert_array_equal(values.values[cos.variables[cos.graph.eqns[0].outputs[0]]], np.cos([0.1, 0.2]))


def test_nothing_warns_and_infinities_are_shown() -> None:
    found = tg.draw(lambda x: np.sum(np.log(x) * 0.0), np.array([0.0, 1.0, -1.0, 2.0, 3.0])).data["vars"]
    assert [found[1][2][name] for name in ("nan", "inf")] == [1, 1] and found[-1][2]["nan"] == 1
    assert found[0][3]["nan"] == 1  # 0 / 0


def test_arrays_of_jax_s() -> None:
    x = jnp.arange(3.0)
    drawing = tg.draw(lambda x: np.sum(np.sin(x)), x)
    assert drawing.data["vars"][0][2]["s"] == [0, 1, 2]
    np.testing.assert_allclose(drawing.data["vars"][0][3]["s"], np.cos(np.arange(3.0)), rtol=1e-6)


def test_of_each_op_once() -> None:
    """A drawing's way through a Graph is that of `interpret`."""
    graph = graph_of(blocks, *blocks_args(1))
    drawn = model(graph)
    seen: list[Eqn] = []
    leaves = [np.ones(v.type.shape) for v in graph.inputs]
    interpret(graph, leaves, lambda eqn, x: (seen.append(eqn), bind(eqn.op, x, eqn.params))[1])
    assert len(seen) == sum(node.eqn is not None for node in drawn.nodes)


@pytest.mark.parametrize(
    "x, wanted",
    [
        (0.25, {"s": [0.25]}),
        (True, {"s": [1]}),
        (np.array([[1, 0], [3, -4]]), {"s": [1, 0, 3, -4], "zero": 1}),
        (np.array([np.nan, np.inf, -np.inf]), {"s": [None, "inf", "-inf"], "nan": 1, "inf": 2}),
        (3 - 4j, {"s": ["3-4j"]}),
        (np.zeros((0, 3)), {"s": []}),
        (2**70, {"s": [float(2**70)]}),
        (np.arange(5), {"cells": [[0, 1, 2, 3, 4]], "min": 0, "mean": 2, "max": 4, "zero": 1}),
        (np.full(5, np.nan), {"cells": [[None] * 5], "min": None, "mean": None, "max": None, "nan": 5}),
        (np.array([np.inf, 1, 2, 3, -4j]), {"cells": [["inf", 1, 2, 3, 4]], "min": 1, "mean": 2.5, "max": 4, "inf": 1}),
    ],
)  # fmt: skip
def test_summaries(x: Any, wanted: dict[str, Any]) -> None:
    assert summary(x, 16) == wanted


def test_cells_show_what_is_largest_in_their_place() -> None:
    x = np.zeros((40, 3, 50))
    x[7, 1, 30], x[20, 2, 0], x[39, 2, 49] = -5.0, 2.0, np.nan
    found = summary(x, 16)
    assert found is not None
    cells = found["cells"]
    assert len(cells) == 16 and {len(row) for row in cells} == {16}
    flat = [v for row in cells for v in row]
    assert sorted(v for v in flat if v) == [-5, 2] and flat.count(None) == 1 and cells[-1][-1] is None
    assert found["zero"] == x.size - 3 and found["nan"] == 1
    assert summary(np.arange(6.0), 16)["cells"] == [[0, 1, 2, 3, 4, 5]]  # type: ignore[index]
    assert summary(np.full((2, 3), 1 / 3), 16)["cells"] == [[0.33] * 3] * 2  # type: ignore[index]
    assert "cells" not in summary(np.ones(9), 0)  # type: ignore[operator]


def test_fewer_cells_where_there_are_many_arrays() -> None:
    assert side([np.ones(3)] * 100) == 16
    assert side([np.ones(30)] * 15) == 16
    assert side([np.ones(30), None] * 200) == 4
    assert side([np.ones(30), None] * 300) == 0
    assert side([np.ones(30), None] * 100) == 6
