"""Values of a running trace go where nobody but its equations has the tracer, and leave a stand-in that says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import UnexpectedTracerError
from tracegrad.core.op import OPS
from tracegrad.core.trace import Trace
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import type_of
from tracegrad.transforms.values import Values, has_gone, stand_in


def test_a_stand_in_has_a_type_alone() -> None:
    x = stand_in(type_of(np.ones((2, 3))))
    assert has_gone(x) and x.shape == (2, 3) and x.dtype == np.float64
    for use in (np.sin, lambda x: x + 1.0, lambda x: 2.0 * np.ones(3) + x, np.sum, float, lambda x: x[0]):
        with pytest.raises((UnexpectedTracerError, TypeError)):
            use(x)
    assert not has_gone(np.ones(3)) and not has_gone(None)


def test_who_else_has_a_tracer() -> None:
    trace, values = Trace("jvp", np.sin), Values()
    x = Tracer(trace, np.ones(3), 0)

    def recorded(*inputs: Any, op: str = "sin") -> Tracer:
        out = Tracer(trace, np.ones(3), None)
        eqn = values.own((OPS[op], inputs, (), {}, out, (0,), None), (), None)
        trace.eqns.append(eqn)
        values.note(eqn[0], eqn[1], (out,))
        return out

    a, b = recorded(x), recorded(x)
    pair = (a, b)
    recorded(*pair)
    recorded(a, a)
    base = recorded(b)
    view = recorded(base, op="transpose")
    key = id(base)
    del b, base
    values.let_go()
    assert not has_gone(a.value) and not has_gone(pair[1].value) and not has_gone(view.value)
    assert key in values.held  # the view is of its memory
    del pair, view
    values.let_go()
    assert list(values.held) == [id(a)] and not has_gone(a.value)
    trace.end()


def test_a_number_that_is_logged_is_still_there() -> None:
    seen = []

    def f(x: Any) -> Any:
        made = [x]
        for _ in range(30):
            made.append(made[-1] + 1.0)
        seen.append([tg.stop_gradient(y)[0] for y in made])
        return np.sum(made[-1])

    tg.grad(f)(np.zeros(10_000))
    assert seen == [[float(i) for i in range(31)]]
