"""A jitted function called while something else is traced: one equation, its derivatives, its batching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.lattice import OURS, TRANSFORMS, Transform
from tracegrad.core import errors
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.transforms.control.call import call
from tracegrad.transforms.control.held import reverse
from tracegrad.transforms.control.zeros import without

X = np.array([0.3, -1.2, 2.0])


def operands(x: Any, y: Any) -> Any:
    return np.sin(x) * y, np.exp(np.cos(x)) + y


def names(graph: Graph) -> list[str]:
    return [e.op.name for e in graph.eqns]


def test_a_call_is_one_equation_and_traced_once() -> None:
    f = tg.jit(operands)
    graph = tg.make_graph(lambda x: f(x, 2.0 * x)[0] + f(x, x)[1])(X)
    assert names(graph) == ["multiply", "call", "call", "add"]
    assert f.trace_log == ["first call"]
    assert graph.eqns[1].params["graph"] is graph.eqns[2].params["graph"]
    check(graph)
    near(*graph(X), operands(X, 2 * X)[0] + operands(X, X)[1])
    text = str(graph)
    assert text.count("call[graph=operands] ") == 2
    assert text.count("graph operands(a:f64[3]=x, b:f64[3]=y) {") == 1


def test_jit_puts_the_equations_in_place_of_the_call() -> None:
    f = tg.jit(operands)
    outer = tg.jit(lambda x: tg.jit(lambda x: f(x, x)[0] * 2.0)(x) + f(x, 3.0)[0])
    assert names(outer.lower(X).graph) == ["sin", "multiply", "multiply", "multiply", "add"]
    near(outer(X), operands(X, X)[0] * 2.0 + operands(X, 3.0)[0])


def test_names_of_graphs_in_a_listing_are_distinct() -> None:
    one, two = [tg.jit(lambda x, k=k: x * k) for k in (2.0, 3.0)]
    text = str(tg.make_graph(lambda x: one(x) + two(x))(X))
    assert "call[graph=<lambda>.2] a" in text and "call[graph=<lambda>.3] a" in text
    assert text.count("\n}") == 3


def test_checking_goes_into_calls() -> None:
    graph = tg.make_graph(lambda x: tg.jit(np.sin)(x))(X)
    inner = graph.eqns[0].params["graph"]
    broken = Graph(inner.inputs, (), inner.outputs, {})
    eqn = graph.eqns[0]
    wrong = Graph(graph.inputs, (type(eqn)(eqn.op, eqn.inputs, {"graph": broken}, eqn.outputs),), graph.outputs, {})
    with pytest.raises(errors.GraphError, match="used before it is defined"):
        check(wrong)


def test_reverse_mode_computes_nothing_again() -> None:
    graph = tg.make_graph(operands)(X, X)
    parts = reverse(graph, (0, 1))
    assert names(parts.forward) == names(graph)
    assert {"sin", "cos", "exp"}.isdisjoint(names(parts.backward))
    check(parts.forward)
    check(parts.backward)
    only_y = reverse(graph, (1,))
    assert names(only_y.backward) == ["multiply", "add"]
    rest = without(only_y.backward, (len(only_y.needs),))  # for no cotangent of the first output
    assert (names(rest.graph), rest.left) == ([], (len(only_y.needs) + 1,))


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)])
def test_gradients_of_some_of_the_outputs(used: tuple[int, ...]) -> None:
    f = tg.jit(operands)

    def loss(g: Any) -> Any:
        def summed(x: Any, y: Any) -> Any:
            results = g(x, y)
            return sum(np.sum(results[i] ** 2) for i in used)

        return summed

    recorded = tg.make_graph(tg.grad(loss(f), (0, 1)))(X, X)
    assert names(recorded).count("call") == 2  # forward and backward, nothing computed again
    near(tg.grad(loss(f), (0, 1))(X, 2 * X), tg.grad(loss(operands), (0, 1))(X, 2 * X))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: t.__name__)
def test_transforms_of_calls(transform: Transform) -> None:
    f, jitted = lambda p: operands(*p), tg.jit(operands)
    called, p = lambda p: jitted(*p), (X, 2.0 * X)
    expected = transform(OURS, f)(p)
    for g in (transform(OURS, called), tg.jit(transform(OURS, called)), tg.jit(transform(OURS, f))):
        near(g(p), expected)


# What shares an operand, holds one fixed, or gives a Python scalar.
OTHERS: dict[str, Any] = {
    "jvp of one": lambda f: lambda x: tg.jvp(lambda y: f(x, y), (x,), (np.cos(x),)),
    "linearize": lambda f: lambda x: tg.linearize(f, x, 2.0)[1](x, 1.0),
    "jacrev": lambda f: tg.jacrev(lambda x: f(x, 3.0 * x)),
    "third": lambda f: tg.jacfwd(tg.hessian(lambda x: np.sum(f(x, x)[0] * f(x, 2.0)[1]))),
    "vmap of grad": lambda f: tg.vmap(tg.grad(lambda x: f(x, x * x)[0])),
    "grad of vmap": lambda f: tg.grad(lambda x: np.sum(tg.vmap(f, (0, None))(x, 2.0)[1] ** 2)),
    "transposed": lambda f: lambda x: tg.linear_transpose(lambda t: tg.linearize(f, x, x)[1](t, t)[0], x)(x),
    "eval_shape": lambda f: lambda x: [np.zeros(s.shape, s.dtype) for s in tg.eval_shape(f, x, 2.0)],
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_transforms_of_calls(name: str) -> None:
    expected = OTHERS[name](operands)(X)
    near(OTHERS[name](tg.jit(operands))(X), expected)
    near(tg.jit(OTHERS[name](tg.jit(operands)))(X), expected)
    near(tg.jit(OTHERS[name](operands))(X), expected)


def test_linear_functions_are_transposed() -> None:
    f = tg.jit(lambda x: x[::-1] * 2.0 + x)
    near(tg.linear_transpose(f, X)(X), tg.linear_transpose(lambda x: x[::-1] * 2.0 + x, X)(X))
    a, x = np.arange(6.0).reshape(2, 3), np.ones((3, 2))
    for f in (lambda t: a @ t.T.T, lambda t: t.T @ a.T, lambda t: a.T @ t.T, lambda t: t.T @ np.ones((3, 1))):
        out = f(x)
        near(tg.linear_transpose(tg.jit(f), x)(out), tg.linear_transpose(f, x)(out))
        near(tg.grad(lambda t, f=f: np.sum(tg.jit(f)(t) ** 2))(x), tg.grad(lambda t, f=f: np.sum(f(t) ** 2))(x))
    with pytest.raises(errors.DifferentiationError, match="needs a linear function, but sin"):
        tg.linear_transpose(tg.jit(np.sin), X)(X)


def test_integers_and_what_does_not_depend_on_the_argument() -> None:
    f = tg.jit(lambda x, n: (x * n, n + 1, X))
    near(tg.grad(lambda x: np.sum(f(x, 2)[0] * f(x, np.arange(3))[1] * f(x, 1)[2]))(X), np.arange(1, 4) * 2 * X)
    assert tg.grad(lambda x: np.sum(f(x, 2)[2]) + 0.0 * x)(1.0) == 0.0


def test_arrays_closed_over_are_read_anew() -> None:
    c = np.array([1.0, 2.0, 3.0])
    f = tg.jit(lambda x: np.sum(x * x * c))
    near(tg.grad(f)(X), 2 * X * c)
    near(tg.vmap(f)(np.stack([X, X])), np.full(2, np.sum(X * X * c)))
    c[:] = 5.0
    near(tg.grad(f)(X), 2 * X * c)
    near(tg.vmap(f)(np.stack([X, X])), np.full(2, np.sum(X * X * c)))


def test_a_tracer_closed_over_gets_its_derivative() -> None:
    near(tg.grad(lambda s: tg.jit(lambda x: np.sum(x * s * s))(X))(2.0), np.float64(4.0 * X.sum()))
    near(tg.hessian(lambda s: tg.jit(lambda x: np.sum(x * s * s))(X))(2.0), np.float64(2.0 * X.sum()))


def test_derivatives_share_no_memory() -> None:
    f = tg.jit(lambda x, y: (x, y + x, x))
    x = X.copy()
    (a, b, c), pull = tg.vjp(f, x, x)
    for g in (a, b, c):
        g[:] = 9.0
    near(pull((X, X, X)), (3 * X, X))
    first, second = pull((X, X, X))
    assert not np.shares_memory(first, second)
    graph = tg.make_graph(lambda x: (x, x))(X)
    one, two = call(graph, [x])
    assert not np.shares_memory(one, two) and not np.shares_memory(one, x)
