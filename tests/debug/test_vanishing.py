"""Cotangents of all that a run computed."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad.debug.replay import Level, graph_of_call
from tracegrad.debug.vanishing import ancestors, pulled_through, where_lost

X = np.array([0.5, 1.5, 2.5])


def _f(x: Any, y: Any) -> Any:
    parts = np.split(np.sin(x) * y, 3)
    return np.sum(parts[0] * x[1]) + np.exp(y[2])


def test_cotangents_of_arguments_are_the_gradient() -> None:
    call = graph_of_call("test", _f, (X, X + 1), {})
    level = Level(call.graph, call.inputs)
    (loss,) = level.graph.outputs
    found = pulled_through(level, {loss: np.ones(())}, ancestors(level.graph, loss))
    for v, g in zip(level.graph.inputs, tg.grad(_f, argnums=(0, 1))(X, X + 1), strict=True):
        assert np.array_equal(found[v], g)


def test_what_makes_zeros_is_nearest_to_the_variable() -> None:
    call = graph_of_call("test", lambda x: np.sum(np.exp(np.tanh(x * 1e4) * 0.0)), (X,), {})
    level = Level(call.graph, call.inputs)
    (loss,) = level.graph.outputs
    needed = ancestors(level.graph, loss)
    lost = where_lost(level, level.graph.inputs[0], pulled_through(level, {loss: np.ones(())}, needed), needed)
    assert (lost.op, lost.share) == ("multiply", None) and "multiplied by zeros" in lost.why
