"""The checker of Graphs finds what is wrong with one, and shows where."""

from __future__ import annotations

import numpy as np
import pytest

from tracegrad.core.check import check
from tracegrad.core.errors import GraphError
from tracegrad.core.graph import Eqn, Graph, Literal, Var
from tracegrad.core.op import OPS
from tracegrad.core.types import ArrayType


def bad_graphs() -> dict[str, Graph]:
    f64 = ArrayType((3,), np.dtype(float))
    x, y, z = Var(f64), Var(f64), Var(f64)
    sin, add = OPS["sin"], OPS["add"]
    return {
        "used before it is defined": Graph((x,), (Eqn(sin, (z,), {}, (y,)),), (y,), {}),
        "defined twice": Graph((x,), (Eqn(sin, (x,), {}, (y,)), Eqn(sin, (x,), {}, (y,))), (y,), {}),
        r"add gives \(f64\[3\],\), but its outputs are \[f64\[4\]\]": Graph(
            (x,), (Eqn(add, (x, Literal(1.0)), {}, (Var(ArrayType((4,), np.dtype(float))),)),), (x,), {}
        ),
        r"a constant of type f64\[4\] stands under the type f64\[3\]": Graph((x,), (), (x,), {y: np.zeros(4)}),
        "a constant is a list": Graph((x,), (), (x,), {y: [1.0]}),
    }


@pytest.mark.parametrize("text", bad_graphs())
def test_checker_finds(text: str) -> None:
    with pytest.raises(GraphError, match=text) as caught:
        check(bad_graphs()[text])
    assert "equation 0" in str(caught.value) or "equation 1" in str(caught.value)


def test_checker_shows_the_neighbours() -> None:
    f64 = ArrayType((3,), np.dtype(float))
    x, y, z = Var(f64), Var(f64), Var(ArrayType((2,), np.dtype(float)))
    eqns = (Eqn(OPS["sin"], (x,), {}, (y,)), Eqn(OPS["cos"], (y,), {}, (z,)))
    with pytest.raises(GraphError) as caught:
        check(Graph((x,), eqns, (z,), {}))
    assert "   b:f64[3] = sin a\n-> c:f64[2] = cos b" in str(caught.value)
