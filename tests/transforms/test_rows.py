"""Which rows of batches equations are for."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
from tracegrad.core.graph import Graph
from tracegrad.transforms.rows import in_rows, rows_of, without_rows


def _graph() -> Graph:
    return tg.make_graph(lambda x, y: np.sin(x) * np.cos(y) + np.sum(x))(np.ones(2), np.ones(2))


def test_what_depends_on_batched_inputs_is_noted() -> None:
    graph = in_rows(_graph(), 3, [True, False])
    found = {eqn.op.name: rows_of(eqn, (1, 0), (3, 2)) for eqn in graph.eqns}
    assert found == {"sin": (1,), "cos": (), "multiply": (1,), "sum": (1,), "add": (1,)}
    assert all([without_rows(eqn.scope) == () for eqn in graph.eqns])
    assert [eqn.op for eqn in graph.eqns] == [eqn.op for eqn in _graph().eqns]


def test_the_outermost_batch_comes_first() -> None:
    graph = in_rows(in_rows(_graph(), 2, [True, True]), 3, [True, True])
    assert rows_of(graph.eqns[0], (2, 1, 0), (3, 2, 2)) == (2, 1)
    assert rows_of(graph.eqns[0], (2, 1), (5, 2)) == ()  # an array that is not these rows'


def test_nothing_is_noted_but_for_explanations() -> None:
    graph = tg.make_graph(tg.vmap(lambda x: np.sin(x) * 2.0))(np.ones(3))
    assert [eqn.scope for eqn in graph.eqns] == [(), ()]
