"""Boxes and arrows: what is of what, and in which function and scope."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.show.drawn import graph_of, names_of, scanned
from tracegrad.core.graph import Eqn, Graph, Var
from tracegrad.core.op import OPS
from tracegrad.show.boxes import _FAMILIES as FAMILIES
from tracegrad.show.boxes import (
    CONSTANT,
    CONTRACT,
    CONTROL,
    ELEMENTWISE,
    INDEX,
    OTHER,
    RANDOM,
    REDUCE,
    SHAPE,
    family,
)
from tracegrad.show.model import model

SCAN = (np.ones(3), np.full((4, 3), 0.5))


def looped(w: Any, x: Any) -> Any:
    for _ in range(3):
        x = np.tanh(w @ x)
    return np.sum(x)


@pytest.mark.parametrize("make", [tg.value_and_grad, tg.grad])
def test_which_turn_of_a_loop_a_derivative_is_of(make: Any) -> None:
    """The line and the op are the same in each turn. The slope of tanh is that of what this tanh was taken of."""
    drawn = model(tg.make_graph(make(looped))(np.eye(2) / 2, np.ones(2)))
    assert sum(node.name == "tanh" for node in drawn.nodes) == (
        3 if make is tg.value_and_grad else 2
    )  # the last is not needed
    slopes = [node for node in drawn.nodes if node.name == "sech_squared"]
    assert len(slopes) == 3
    for node in slopes:
        if node.of < 0:
            assert make is tg.grad and node is slopes[0]
        else:
            assert drawn.nodes[node.of].name == "tanh" and drawn.nodes[node.of].ins == node.ins


def test_of_a_pickled_graph_it_is_found_too() -> None:
    graph = tg.make_graph(tg.value_and_grad(looped))(np.eye(2) / 2, np.ones(2))
    drawn = model(pickle.loads(pickle.dumps(graph)))
    for node in drawn.nodes:
        if node.name == "sech_squared":
            assert drawn.nodes[node.of].name == "tanh" and drawn.nodes[node.of].ins == node.ins


def inner(x: Any) -> Any:
    return np.sin(x) * 2.0


def outer(x: Any) -> Any:
    with tg.named_scope("first"):
        x = inner(x) + inner(x * 2.0)
    return inner(x)


class Stack:
    def __call__(self, x: Any) -> Any:
        for i in range(2):
            with tg.named_scope(f"part_{i}"):
                x = self.part(x)
        return x

    @tg.named_scope("decorated")
    def part(self, x: Any) -> Any:
        return np.cos(inner(x)) + 1.0


def test_scopes_and_functions_are_groups_as_they_were_entered() -> None:
    drawn = model(graph_of(lambda x: np.sum(outer(x)), 1.0))
    assert names_of(drawn, "scope function") == [
        "outer",
        "outer/first",
        "outer/inner",
        "outer/first/inner",
        "outer/first/inner",
    ]
    drawn = model(graph_of(lambda x: np.sum(Stack()(x)) * 2.0, 1.0))
    assert sorted(names_of(drawn, "scope function")) == sorted(
        ["__call__"] + [f"__call__/part_{i}{rest}" for i in (0, 1) for rest in ("", "/decorated", "/decorated/inner")]
    )


def test_without_frames_a_function_is_what_stands_together() -> None:
    drawn = model(tg.make_graph(lambda x: np.sum(inner(x)) + inner(x * 2.0))(np.ones(2)))
    assert names_of(drawn, "function") == ["inner", "inner"]


def test_calls_of_one_line_are_told_apart() -> None:
    def f(x: Any) -> Any:
        for _ in range(4):
            x = inner(x)
        return np.sum(x)

    drawn = model(graph_of(f, 1.0))
    assert names_of(drawn, "function") == ["inner"] * 4


def test_inputs_of_held_graphs_are_those_outside() -> None:
    drawn = model(graph_of(scanned, *SCAN))
    names = {node.name: i for i, node in enumerate(drawn.nodes)}
    within = {drawn.nodes[b].name for a, b, _ in drawn.edges if a == names["ws"]}
    assert within == {"multiply", "scan"}
    (group,) = [g for g in drawn.groups if g.node >= 0]
    assert drawn.nodes[group.node].name == "scan" and group.name == "scan step"


def test_a_graph_held_often_is_drawn_so_often_and_no_more() -> None:
    """Calls of calls of calls, two to the power of 18 in all."""
    graph = tg.make_graph(np.sin)(np.ones(2))
    for _ in range(18):
        a, b, c = [Var(graph.in_types[0]) for _ in range(3)]
        calls = Eqn(OPS["call"], (a,), {"graph": graph}, (b,)), Eqn(OPS["call"], (b,), {"graph": graph}, (c,))
        graph = Graph((a,), calls, (c,), {}, "twice")
    drawn = model(graph)
    assert 5_000 < len(drawn.nodes) < 20_000


def test_scalars_are_in_the_box() -> None:
    c = np.array(0.25)
    drawn = model(tg.make_graph(lambda x: np.sum(x * c) + 2.0)(np.ones(3)))
    assert [node.ins for node in drawn.nodes if node.name == "multiply"] == [[0, "0.25"]]
    assert not [node for node in drawn.nodes if node.kind == CONSTANT]


def test_families() -> None:
    of = {name: family(op) for name, op in OPS.items()}
    assert {of[name] for name in ("tanh", "add", "where", "astype")} == {ELEMENTWISE}
    assert {of[name] for name in ("sum", "logsumexp", "softmax")} == {REDUCE}
    assert {of[name] for name in ("matmul", "einsum", "conv_general_dilated")} == {CONTRACT}
    assert {of[name] for name in ("reshape", "transpose", "broadcast_to", "concatenate")} == {SHAPE}
    assert {of[name] for name in ("slice", "gather", "scatter_add", "sort")} == {INDEX}
    assert of["random_bits"] == RANDOM and of["cholesky"] == OTHER
    assert {of[name] for name in ("scan", "while_loop", "switch", "call", "checkpoint", "custom_call")} == {CONTROL}
    assert not FAMILIES.keys() - OPS.keys(), "there are no such ops"
