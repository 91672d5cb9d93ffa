"""From a function to a Graph."""

from __future__ import annotations

import numpy as np

import tracegrad as tg


def test_dead_equations_are_left_out() -> None:
    def f(x):
        np.exp(x)
        return np.sin(x)

    assert [e.op.name for e in tg.make_graph(f)(np.ones(2)).eqns] == ["sin"]
