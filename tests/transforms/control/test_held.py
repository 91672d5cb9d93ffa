"""What all ops that hold Graphs have in common: residuals are kept, in derivatives of every order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.graph import Graph, graphs_in

X = np.array([0.3, -1.2, 2.0])


def body(x: Any) -> Any:
    return np.sin(x) * np.exp(np.cos(x))


def over(x: Any) -> Any:
    return tg.lax.scan(lambda c, a: (np.exp(c) + body(a), np.arctan(c) * a), np.zeros(3), np.stack([x, 2.0 * x]))[1]


def either(x: Any) -> Any:
    return tg.lax.cond(x[0] > 0, body, lambda x: np.exp(x) * np.arctan(x), x)


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "call": (body, tg.jit(body)),
    "call in a call": (body, tg.jit(lambda x: tg.jit(body)(x))),
    "checkpoint": (body, tg.checkpoint(body, policy=tg.checkpoint_policies.everything_saveable)),
    "checkpoint in a call": (body, tg.jit(tg.checkpoint(body, policy=tg.checkpoint_policies.everything_saveable))),
    "scan": (over, over),
    "scan in a call": (over, tg.jit(over)),
    "switch": (either, either),
    "switch in a call": (either, tg.jit(either)),
    "both": (lambda x: over(either(x)), tg.jit(lambda x: over(either(x)))),
}
DEAR = {"sin", "cos", "exp", "arctan"}


def nth(f: Callable[..., Any], order: int) -> Callable[..., Any]:
    """Reverse derivatives, one of the other."""
    loss = lambda x: np.sum(f(x) ** 2)
    for _ in range(order):
        loss = lambda x, inner=loss: np.sum(tg.grad(inner)(x) ** 2)  # type: ignore[misc]
    return loss


def computed(graph: Graph) -> Counter[str]:
    """How often each of the dear ops stands in a Graph and in those that it holds, one of many that it holds once."""
    graphs = {id(g): g for g in [graph, *graphs_in(graph)]}.values()
    return Counter([e.op.name for g in graphs for e in g.eqns if e.op.name in DEAR])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_order_of_derivative_computes_anything_again(name: str) -> None:
    plain, held = FUNCTIONS[name]
    expected = computed(tg.make_graph(plain)(tg.ShapeDtypeStruct((3,), "float64")))
    for order in (1, 2, 3):
        graph = tg.make_graph(nth(held, order))(tg.ShapeDtypeStruct((3,), "float64"))
        assert computed(graph) <= expected + Counter(), (order, computed(graph))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name: str) -> None:
    plain, held = FUNCTIONS[name]
    for order in (1, 2, 3):
        expected = nth(plain, order)(X)
        np.testing.assert_allclose(nth(held, order)(X), expected, rtol=1e-12)
        np.testing.assert_allclose(tg.jit(nth(held, order))(X), expected, rtol=1e-12)


def test_a_second_derivative_outside_of_jit_runs_each_op_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that runs is one program each for the parts of the derivatives; none of them has what another has."""
    ran: list[Graph] = []
    from_graph = tg.transforms.control.held.compiled

    def noted(graph: Graph) -> Callable[..., Any]:
        ran.append(graph)
        return from_graph(graph)

    monkeypatch.setattr("tracegrad.transforms.control.held.compiled", noted)
    held = tg.jit(body)
    value = tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(held(y)))(x) ** 2))(X)
    np.testing.assert_allclose(value, tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(body(y)))(x) ** 2))(X))
    counts = Counter([e.op.name for g in ran for e in g.eqns])
    assert [counts[name] for name in ("sin", "cos", "exp")] == [1, 1, 1]


def test_cotangents_of_some_of_the_outputs_need_some_of_the_residuals() -> None:
    def two(x: Any, y: Any) -> Any:
        return np.sin(x) * y, np.exp(x)

    def loss(f: Callable[..., Any], used: int) -> Callable[..., Any]:
        return lambda x, y: np.sum(f(x, y)[used])

    for used, kept in ((0, 3), (1, 1)):
        graph = tg.make_graph(tg.grad(loss(tg.jit(two), used), (0, 1)))(X, X)
        backward = graph.eqns[-1]
        assert len(backward.inputs) == kept + 1, str(graph)
        got, expected = tg.grad(loss(tg.jit(two), used), (0, 1))(X, X), tg.grad(loss(two, used), (0, 1))(X, X)
        np.testing.assert_array_equal(got, expected)


def test_what_a_vjp_keeps_does_not_change() -> None:
    c = np.array([1.0, 2.0, 3.0])
    f = tg.jit(lambda x, c: np.sin(x) * c)
    _, pull = tg.vjp(lambda x: f(x, c), X)
    expected = pull(np.ones(3))[0]
    c[:] = 9.0
    np.testing.assert_array_equal(pull(np.ones(3))[0], expected)


def halves(x: Any) -> Any:
    return tuple(np.split(np.sqrt(x), 2))


def stacked(x: Any) -> Any:
    return tg.lax.scan(lambda c, a: (c + np.sqrt(a), (a, np.sqrt(a))), 0.0, x)[1]


def chosen(x: Any) -> Any:
    return tg.lax.cond(x[0] > 0, lambda x: (x, np.sqrt(x)), lambda x: (x, x), x)


WRAPPED: dict[str, Callable[..., Any]] = {
    "a call": lambda f: tg.grad(first(tg.jit(f))),
    "a program": lambda f: tg.jit(tg.grad(first(f))),
    "a call in a program": lambda f: tg.jit(tg.grad(first(tg.jit(f)))),
    "a checkpoint": lambda f: tg.grad(first(tg.checkpoint(f))),
    "a checkpoint in a call": lambda f: tg.grad(first(tg.jit(tg.checkpoint(f)))),
    "rows": lambda f: lambda x: tg.vmap(tg.grad(first(tg.jit(f))))(np.stack([x, x]))[0],
}


def first(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: np.sum(f(x)[0])


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("f, expected", [(halves, [0.5, 0.25, 0, 0]), (stacked, [1] * 4), (chosen, [1] * 4)])
def test_a_cotangent_that_is_zero_adds_nothing_even_to_an_infinite_derivative(
    f: Callable[..., Any], expected: list[float], wrapped: str
) -> None:
    x = np.array([1.0, 4.0, 0.0, 0.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(WRAPPED[wrapped](f)(x), expected)


def test_a_loop_in_a_graph_keeps_what_its_steps_made() -> None:
    """And is not run once more in the backward part, as it was when what it keeps was cut off before it was read."""
    kept = tg.debug.residuals(tg.jit(over), tg.ShapeDtypeStruct((3,), "float64"))
    assert "scan" in [r.made_by for r in kept]
    graph = tg.make_graph(tg.grad(lambda x: np.sum(tg.jit(over)(x))))(X)
    bodies = [e.params["body"] for g in graphs_in(graph) for e in g.eqns if e.op.name == "scan"]
    assert sum("sin" in [e.op.name for e in b.eqns] for b in bodies) == 1
