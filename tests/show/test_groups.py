"""Groups: what is alike, what is one after the other, and what is too many."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.show.drawn import blocks, blocks_args, chain, graph_of, names_of
from tracegrad.show.boxes import CONSTANT, EQUATION, INPUT
from tracegrad.show.groups import BOXES
from tracegrad.show.model import model


def test_a_group_knows_its_derivative() -> None:
    graph = graph_of(tg.grad(blocks), *blocks_args(3))
    drawn = model(graph)
    assert all(
        drawn.groups[node.group].kind != "backward" for node in drawn.nodes if node.kind == EQUATION and not node.phase
    )
    within = [False] * len(drawn.groups)
    for g, group in enumerate(drawn.groups[1:], 1):
        within[g] = group.kind == "backward" or within[group.parent]
    lone = [node for node in drawn.nodes if node.kind == EQUATION and node.phase and not within[node.group]]
    assert len(lone) <= 6  # single ones need no group
    paths = names_of(drawn, "backward")
    assert sum("attention/attention/backward" in path for path in paths) == 3
    assert not any(group.open for group in drawn.groups if group.kind == "backward")


def test_blocks_that_are_alike_are_one() -> None:
    drawn = model(graph_of(tg.value_and_grad(blocks), *blocks_args(6)))
    (repeat,) = [g for g, group in enumerate(drawn.groups) if group.kind == "repeat"]
    assert drawn.groups[repeat].name == "block × 6"
    parts = [g for g, group in enumerate(drawn.groups) if group.parent == repeat]
    assert [drawn.groups[g].name for g in parts] == [f"block_{i}" for i in range(6)]
    assert [drawn.groups[g].like for g in parts] == [-1] + [parts[0]] * 5
    # One stands for all, and may be open.
    assert not any(drawn.groups[g].open for g in parts[1:])


def test_blocks_that_differ_are_not() -> None:
    def f(params: Any, x: Any) -> Any:
        for i in range(30):
            with tg.named_scope(f"block_{i}"):
                x = np.tanh(x) * 2.0 if i % 2 else np.sin(x) * 2.0
                x = x + params
        return x

    assert not names_of(model(graph_of(f, 1.0, np.ones(2))), "repeat")


def test_chains_of_elementwise_equations() -> None:
    def f(x: Any) -> Any:
        for _ in range(20):
            x = np.sum(np.tanh(x * 2.0 + 1.0)) + x
        return x

    drawn = model(graph_of(f, np.ones(2)))
    chains = [g for g, group in enumerate(drawn.groups) if group.kind == "chain"]
    assert [drawn.groups[g].name for g in chains] == ["multiply·add·tanh"] * 20
    for g in chains:
        members = [node for node in drawn.nodes if node.group == g and node.kind == EQUATION]
        assert [node.name for node in members] == ["multiply", "add", "tanh"]
        assert members[1].ins[0] in members[0].outs and members[2].ins[0] in members[1].outs


def test_long_chains_have_short_names() -> None:
    drawn = model(
        graph_of(
            lambda x: np.sum(functools.reduce(lambda x, f: f(x), [np.tanh, *[np.sin] * 70, np.cos], x)), np.ones(2)
        )
    )
    assert names_of(drawn, "chain") == ["tanh·sin·…·cos (72)"]


def test_a_small_graph_needs_no_chains() -> None:
    drawn = model(graph_of(lambda x: chain(x, 59), 0.5))
    assert len(drawn.groups) == 1
    assert len(model(graph_of(lambda x: chain(x, 61), 0.5)).groups) > 1


@pytest.mark.parametrize("length", [100, 3000])
def test_what_many_boxes_leave(length: int) -> None:
    drawn = model(graph_of(lambda x: chain(x, length), 0.5))
    within = [0] * len(drawn.groups)
    for node in drawn.nodes:
        within[node.group] += node.kind == EQUATION
    for g in range(len(drawn.groups) - 1, 0, -1):
        within[drawn.groups[g].parent] += within[g]
    rest = [g for g, group in enumerate(drawn.groups) if group.kind == "rest"]
    assert drawn.groups[rest[0]].name == f"{length - BOXES + 1} more"  # one of the boxes is the input
    assert all(drawn.groups[g].name == f"{within[g]} more" for g in rest)
    # Each begins where the one before has ended.
    first: dict[int, int] = {}
    for i, node in enumerate(drawn.nodes):
        first.setdefault(node.group, i)
    leaves = [g for g in rest if g in first]
    assert [first[g] for g in leaves] == sorted(first[g] for g in leaves)


def dense(x: Any) -> Any:
    with tg.named_scope("dense"):
        return np.sin(x) * 2.0


def test_a_function_that_is_one_scope_is_one_group() -> None:
    drawn = model(graph_of(lambda x: dense(x) + dense(x + 1.0), np.ones(2)))
    assert [(group.name, group.kind) for group in drawn.groups[1:]] == [("dense", "scope")] * 2


def test_inputs_stand_where_they_are_used() -> None:
    """In a large drawing, in which parameters would be a row of their own. In a small one they stand first."""
    drawn = model(graph_of(blocks, *blocks_args(4)))
    homes = {node.name: drawn.groups[node.group].name for node in drawn.nodes if node.kind == INPUT}
    assert homes["params[2]['q']"] == "attention" and homes["params[2]['w']"] == "mlp" and homes["x"] == "blocks"
    small = model(graph_of(blocks, *blocks_args(1)))
    assert {node.group for node in small.nodes if node.kind == INPUT} == {0}


def test_a_constant_has_a_box_in_each_group() -> None:
    mask = np.array([1.0, 0.0])

    def f(x: Any) -> Any:
        for i in range(3):
            with tg.named_scope(f"part_{i}"):
                x = np.sin(x * mask) + mask
        return x

    drawn = model(graph_of(f, np.ones(2)))
    constants = [i for i, node in enumerate(drawn.nodes) if node.kind == CONSTANT]
    assert [drawn.groups[drawn.nodes[i].group].name for i in constants] == ["part_0", "part_1", "part_2"]
    assert [sum(a == i for a, _, _ in drawn.edges) for i in constants] == [2, 2, 2]


def test_depth() -> None:
    graph = graph_of(blocks, *blocks_args(2))
    drawn = model(graph, 1)
    assert {group.name for group in drawn.groups if group.open} == {"blocks", "block_0", "block_1"}
    assert [group.open for group in model(graph, 0).groups].count(True) == 1


def test_signatures_tell_wiring_apart() -> None:
    def f(x: Any, y: Any) -> Any:
        for i in range(25):
            with tg.named_scope(f"block_{i}"):
                a, b = np.sin(x), np.cos(y)
                x, y = (a - b, b) if i < 12 else (b - a, a)
        return x + y

    drawn = model(graph_of(f, 1.0, 2.0))
    assert names_of(drawn, "repeat") == ["block × 12", "block × 13"]
