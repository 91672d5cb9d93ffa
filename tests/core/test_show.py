"""Listings of Graphs."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np

import tracegrad as tg
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.core.show import all_letters, listed

HERE = Path(__file__).name


def loss(params: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.sum(np.tanh(x * params["w"]) + params["b"])


def lines_of(graph: Graph) -> list[str]:
    """The listing, with this file's line numbers as `#`."""
    return re.sub(rf"{HERE}:\d+", f"{HERE}:#", str(graph)).splitlines()


def test_listing() -> None:
    graph = tg.make_graph(loss)({"w": np.ones(3), "b": 2.0}, np.ones((2, 3), np.float32))
    assert lines_of(graph) == [
        "graph loss(a:f64~[]=params['b'], b:f64[3]=params['w'], c:f32[2,3]=x) {",
        f"  d:f64[2,3] = multiply c b                     # {HERE}:#",
        f"  e:f64[2,3] = tanh d                           # {HERE}:#",
        f"  f:f64[2,3] = add e a                          # {HERE}:#",
        f"  g:f64[] = sum[axes=(0, 1), keepdims=False] f  # {HERE}:#",
        "  return g",
        "}",
    ]


def test_sources_are_the_users_lines() -> None:
    graph = tg.make_graph(tg.grad(loss))({"w": np.ones(3), "b": 2.0}, np.ones(3))
    first = loss.__code__.co_firstlineno
    assert {e.source.line for e in graph.eqns} == {first + 1}
    assert {Path(e.source.file).name for e in graph.eqns} == {HERE}


def test_letters() -> None:
    found = list(itertools.islice(all_letters(), 703))
    assert [found[i] for i in (0, 25, 26, 51, 52, 701, 702)] == ["a", "z", "aa", "az", "ba", "zz", "aaa"]


def test_a_long_chain_evaluates_and_prints() -> None:
    def chain(x):
        for _ in range(20_000):
            x = x * 1.0001
        return x

    graph = tg.make_graph(chain)(1.0)
    assert len(graph.eqns) == 20_000
    np.testing.assert_allclose(graph(1.0)[0], 1.0001**20_000)
    check(graph)
    assert str(graph).count("\n") == 20_002


def test_parts_of_a_listing() -> None:
    """What a picture of the Graph calls things by."""
    graph = tg.make_graph(tg.jit(loss))({"w": np.ones(3), "b": 2.0}, np.ones(3))
    outer, inner = listed(graph)
    assert (outer.graph, outer.called, inner.called) == (graph, "loss", "loss.2")
    for part in (outer, inner):
        assert all(f"  {text}" in str(graph) for text in part.eqns) and len(part.eqns) == len(part.graph.eqns)
        assert [part.name(v) for v in part.graph.inputs] == ["a", "b", "c"]
