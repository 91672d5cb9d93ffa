"""The op that stands for a probe, in all orders of derivative."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
from tracegrad.extend import bind
from tracegrad.ops.probes import probe_op

X = np.array([0.5, -1.0, 2.0])


def test_a_probe_is_the_value_as_it_is() -> None:
    through = lambda x: np.sum(np.sin(bind(probe_op, (x,), {"name": "x", "what": "primal"})) * x)
    plain = lambda x: np.sum(np.sin(x) * x)
    for transform in (tg.grad, tg.hessian, tg.jacfwd, lambda f: tg.jit(tg.grad(f))):
        np.testing.assert_array_equal(transform(through)(X), transform(plain)(X))
    rows = np.stack([X, 2 * X])
    np.testing.assert_array_equal(tg.vmap(tg.grad(through))(rows), tg.vmap(tg.grad(plain))(rows))


def test_derivatives_of_what_it_stands_for_are_noted_once() -> None:
    graph = tg.make_graph(tg.grad(tg.grad(lambda x: bind(probe_op, (x,), {"name": "x", "what": "primal"}) ** 3)))(2.0)
    assert [e.params["what"] for e in graph.eqns if e.op is probe_op].count("cotangent") >= 1
    assert graph(2.0)[0] == 12.0
