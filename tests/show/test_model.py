"""A drawing as a whole: every equation is in it once, at every state of folding."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.show.drawn import blocks, blocks_args, chain, graph_of, mlp, mlp_args, scanned
from tracegrad.core.graph import Graph
from tracegrad.show.boxes import (
    EQUATION,
    INPUT,
    OUTPUT,
)
from tracegrad.show.groups import BOXES, SHOWN
from tracegrad.show.model import Model, model

SCAN = (np.ones(3), np.full((4, 3), 0.5))


def number_of_equations(graph: Graph) -> int:
    found = len(graph.eqns)
    for eqn in graph.eqns:
        for value in eqn.params.values():
            found += sum(
                [number_of_equations(g) for g in (value if type(value) is tuple else (value,)) if type(g) is Graph]
            )
    return found


def drawn_graphs() -> Iterator[Any]:
    yield pytest.param(graph_of(mlp, *mlp_args()), id="mlp")
    yield pytest.param(graph_of(tg.value_and_grad(mlp), *mlp_args()), id="gradient of mlp")
    yield pytest.param(tg.make_graph(tg.value_and_grad(mlp))(*mlp_args()), id="without frames")
    yield pytest.param(graph_of(tg.value_and_grad(tg.jit(mlp)), *mlp_args()), id="jitted")
    yield pytest.param(graph_of(tg.value_and_grad(blocks), *blocks_args(5)), id="gradient of blocks")
    yield pytest.param(graph_of(tg.grad(scanned), *SCAN), id="gradient of scan")
    yield pytest.param(
        graph_of(tg.grad(lambda x: tg.grad(lambda x: np.sum(np.tanh(x) ** 3))(x)[0]), np.ones(3)), id="second"
    )
    yield pytest.param(graph_of(lambda x: chain(x, 3000), 0.5), id="chain")
    types = tg.ShapeDtypeStruct((), "int32"), tg.ShapeDtypeStruct((3,), "float64")
    yield pytest.param(
        graph_of(lambda i, x: tg.lax.switch(i, [np.sin, lambda x: np.cos(x) * 2.0], x), *types), id="switch"
    )
    yield pytest.param(graph_of(lambda x: x, np.ones(3)), id="no equation")
    yield pytest.param(graph_of(lambda x: (x, np.ones(2) * 2, 3.0), np.ones(3)), id="outputs that are not computed")


GRAPHS = list(drawn_graphs())


def hidden_and_shown(drawn: Model) -> tuple[int, int]:
    """How many equations have a box of their own, and how many are in groups that are closed."""
    shown = hidden = 0
    for node in drawn.nodes:
        if node.kind == EQUATION:
            g, closed = node.group, False
            while g >= 0:
                closed = closed or not drawn.groups[g].open
                g = drawn.groups[g].parent
            hidden += closed
            shown += not closed
    return hidden, shown


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_equation_is_one_node(graph: Graph) -> None:
    drawn = model(graph)
    kinds = Counter(node.kind for node in drawn.nodes)
    assert kinds[EQUATION] == number_of_equations(graph)
    assert [node.kind for node in drawn.nodes if node.kind != EQUATION] == sorted(
        node.kind for node in drawn.nodes if node.kind != EQUATION
    )
    assert kinds[INPUT] >= len(graph.inputs) and kinds[OUTPUT] >= len(graph.outputs)
    for a, b, v in drawn.edges:
        assert a < b or drawn.nodes[b].kind == OUTPUT
        assert v in drawn.nodes[a].outs
    assert len(set(drawn.edges)) == len(drawn.edges)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("depth", [0, 1, 3, 99, "auto"])
def test_groups_are_a_tree_of_few_boxes(graph: Graph, depth: Any) -> None:
    drawn = model(graph, depth)
    assert drawn.groups[0].parent == -1 and drawn.groups[0].open
    assert all(0 <= group.parent < g for g, group in enumerate(drawn.groups) if g)
    boxes: Counter[int] = Counter(node.group for node in drawn.nodes if node.kind != OUTPUT)
    boxes.update(group.parent for group in drawn.groups[1:])
    assert max(boxes.values(), default=0) <= 3 * BOXES
    hidden, shown = hidden_and_shown(drawn)
    assert hidden + shown == number_of_equations(graph)
    if depth == 99 and not any(group.kind == "backward" for group in drawn.groups):
        assert not hidden
    if depth == "auto":
        closed = [g for g in drawn.groups[1:] if not g.open and drawn.groups[g.parent].open and g.node < 0]
        assert shown + len(closed) <= max(SHOWN, boxes[0])


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_forward_equation_of_a_rule(graph: Graph) -> None:
    """It has the op and the line that the derivative knows of, and is one phase before."""
    drawn = model(graph)
    for node in drawn.nodes:
        if node.kind == EQUATION:
            assert node.eqn is not None and node.phase == node.eqn.phase
            if node.of >= 0:
                forward = drawn.nodes[node.of].eqn
                assert forward is not None
                assert (forward.op, forward.source, forward.phase) == (node.eqn.of, node.eqn.source, node.eqn.phase - 1)
    if graph.name == "value_and_grad(mlp)":  # in which all that is computed is used
        assert all(node.of >= 0 for node in drawn.nodes if node.kind == EQUATION and node.phase)


def test_nothing_recurs_over_a_graph() -> None:
    drawn = model(graph_of(lambda x: chain(x, 20_000), 0.5))
    assert sum(node.kind == EQUATION for node in drawn.nodes) == 20_000


def test_random_states_of_folding() -> None:
    graph = graph_of(tg.value_and_grad(blocks), *blocks_args(4))
    drawn = model(graph)
    total = number_of_equations(graph)
    draws = random.Random(0)
    for _ in range(30):
        for group in drawn.groups[1:]:
            group.open = draws.random() < 0.6
        assert sum(hidden_and_shown(drawn)) == total
