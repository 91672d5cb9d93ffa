"""eval_shape and make_graph."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import tree
from tracegrad.core.check import check

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_eval_shape() -> None:
    f = lambda x, p: {"a": x @ p["w"], "b": np.sum(x > 0), "c": (x.T, None)}
    struct = tg.ShapeDtypeStruct
    got = tg.eval_shape(f, struct((2, 3), "float32"), {"w": np.ones((3, 4), np.float32)})
    assert got == {
        "a": struct((2, 4), np.float32),
        "b": struct((), np.int64),
        "c": (struct((3, 2), np.float32), None),
    }
    assert tg.eval_shape(lambda x: x * 2.0, 1.0) == struct((), float)
    assert tg.eval_shape(tg.grad(lambda x: np.sum(x**2)), struct((5,), "float32")) == struct((5,), "float32")
    assert tg.eval_shape(lambda x, k=1: x + k, struct((5,), "int32"), k=np.ones(5)) == struct((5,), float)
    assert tg.eval_shape(tg.vmap(np.sin), struct((5, 2), float)) == struct((5, 2), float)
    huge = struct((10**6, 10**6), float)
    assert tg.eval_shape(lambda x: np.sin(x) @ x, huge) == huge


def test_make_graph() -> None:
    def f(x: Any, p: Any) -> Any:
        return np.sin(x) * p["s"] + (x if p["s"] > 0 else -x)

    graph = tg.make_graph(f)(X, {"s": 2.0})
    check(graph)
    assert [e.op.name for e in graph.eqns] == ["sin", "multiply", "add"]
    assert [v.name for v in graph.inputs] == ["x", "p['s']"]
    near(graph(X, 2.0)[0], f(X, {"s": 2.0}))
    near(tg.grad(lambda x: np.sum(graph(x, 2.0)[0]))(X), 2 * np.cos(X) + 1)
    derivative = tg.make_graph(tg.grad(lambda x: np.sum(np.sin(x) * X)))(X)
    check(derivative)
    near(derivative(2 * X)[0], np.cos(2 * X) * X)
    second = tg.make_graph(tg.hessian(lambda x: np.sum(np.sin(x) * X)))(X)
    check(second)
    near(second(2 * X)[0], np.diag(-np.sin(2 * X) * X))
    source = graph.eqns[0].source
    assert source is not None
    assert source.file == __file__
    assert source.function == "f"


@pytest.mark.parametrize(
    "transformed",
    [
        tg.grad(lambda x: np.sum(np.tanh(x) ** 2)), tg.jacfwd(np.sin), tg.jacrev(np.tanh), tg.vmap(np.exp),
        lambda x: tg.jvp(np.sin, (x,), (x,)), lambda x: tg.vjp(np.sin, x)[1](x), lambda x: tg.linearize(np.sin, x)[1](x),
        tg.hessian(lambda x: np.sum(x**3)), tg.vmap(tg.grad(np.sin)), lambda x: tg.hvp(lambda x: np.sum(x**3), (x,), (x,)),
    ],
)  # fmt: skip
def test_graphs_of_transforms_are_well_typed_and_compute_the_same(transformed: Any) -> None:
    for x in (X, X.astype(np.float32)):
        graph = tg.make_graph(transformed)(x)
        check(graph)
        got, expected = graph(x), tree.tree_leaves(transformed(x))
        for a, b in zip(got, expected, strict=True):
            near(a, b)
        abstract = tg.make_graph(transformed)(tg.ShapeDtypeStruct(x.shape, x.dtype))
        check(abstract)
        for a, b in zip(abstract(x), expected, strict=True):
            near(a, b)
