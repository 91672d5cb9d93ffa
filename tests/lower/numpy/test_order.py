"""Equations come up to those whose results they use up, and only they."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.lower.numpy.order import near_their_inputs

LEAVES = [np.full((64, 64), float(i + 1)) for i in range(12)]


def names(graph: Graph) -> list[str]:
    return [eqn.op.name for eqn in graph.eqns]


def ordered(f: Any, *args: Any) -> Graph:
    graph = near_their_inputs(tg.make_graph(f)(*args))
    check(graph)
    same_bits(graph(*args), tg.make_graph(f)(*args)(*args))
    return graph


def test_what_uses_up_an_update_follows_it() -> None:
    def step(*leaves: Any) -> Any:
        updates = [np.sin(x) for x in leaves]
        return [x + u for x, u in zip(leaves, updates, strict=True)]

    assert names(ordered(step, *LEAVES)) == ["sin", "add"] * 12
    same_bits(tg.jit(step)(*LEAVES), step(*LEAVES))


def test_what_is_needed_later_is_not_hurried() -> None:
    def kept(*leaves: Any) -> Any:
        sines = [np.sin(x) for x in leaves]
        return [s + 1.0 for s in sines], sines  # would need more memory earlier

    assert names(ordered(kept, *LEAVES)) == ["sin"] * 12 + ["add"] * 12

    def larger(*leaves: Any) -> Any:
        sums = [np.sum(x, 0) for x in leaves]
        return [np.outer(s, s) for s in sums]

    assert names(ordered(larger, *LEAVES))[:12] == ["sum"] * 12


def test_the_last_reader_stays_the_last() -> None:
    """Or what it writes over could not be."""

    def written(*leaves: Any) -> Any:
        sines = [np.sin(x) for x in leaves]
        read = [np.sum(s, 0) for s in sines]
        return [s + 1.0 for s in sines], read

    assert names(ordered(written, *LEAVES)) == ["sin"] * 12 + ["sum"] * 12 + ["add"] * 12


def test_small_programs_stay_as_they_are() -> None:
    graph = tg.make_graph(lambda x, y: (np.sin(x), np.cos(y), np.sin(x) + 1.0))(1.0, 2.0)
    assert near_their_inputs(graph) is graph


def test_inputs_come_first_however_groups_lie() -> None:
    def tangled(*leaves: Any) -> Any:
        a = [np.sin(x) for x in leaves]
        b = [np.cos(x) for x in leaves[::-1]]
        c = [x * y for x, y in zip(a, b, strict=True)]
        d = [np.exp(-np.abs(x)) + y for x, y in zip(c, c[1:] + c[:1], strict=True)]
        return [np.sqrt(np.abs(x)) for x in d[::-1]], c[3]

    ordered(tangled, *LEAVES)
    same_bits(tg.jit(tangled)(*LEAVES), tangled(*LEAVES))
    gradient = tg.grad(lambda leaves: sum(np.sum(x) for x in tangled(*leaves)[0]))
    same_bits(tg.jit(gradient)(LEAVES), gradient(LEAVES))
