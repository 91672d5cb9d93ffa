"""The pass that makes of a Graph the one that is left where some of its inputs are zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import type_of
from tracegrad.transforms.control.zeros import Nonzero, without

VECTOR = np.array([0.5, -2.0, 3.0])
N = 3


def graph_of(function: Callable[..., Sequence[Any]], *inputs: Any) -> Graph:
    return trace_graph(function, [type_of(x) for x in inputs], transform="test", abstract=True)


def names(graph: Graph) -> list[str]:
    return [e.op.name for e in graph.eqns]


def holds(graph: Graph, zeros: Sequence[int], inputs: Sequence[Any]) -> Nonzero:
    """What is left gives what the whole gives of zeros, and what it leaves out is zero there."""
    rest = without(graph, tuple(zeros))
    check(rest.graph)
    assert not set(zeros) & set(rest.left)
    expected = graph(*[np.zeros_like(x) if i in zeros else x for i, x in enumerate(inputs)])
    got = dict(zip(rest.found, rest.graph(*[inputs[i] for i in rest.left]), strict=True))
    for i, e in enumerate(expected):
        np.testing.assert_allclose(got.get(i, np.zeros_like(e)), e, rtol=1e-13, atol=1e-13)
        assert i not in got or (got[i].shape, got[i].dtype) == (e.shape, e.dtype)
    return rest


def test_a_product_with_zero_and_what_it_alone_read_are_gone() -> None:
    graph = graph_of(lambda r, s, a, b: [np.sin(r) * a + np.cos(s) * b, r * a], *[VECTOR] * 4)
    rest = holds(graph, [2], [VECTOR, 2 * VECTOR, VECTOR, 3 * VECTOR])
    assert (rest.left, rest.found) == ((1, 3), (0,))
    assert names(rest.graph) == ["cos", "multiply"]
    assert without(graph, (2,)) is rest
    rest = holds(graph, [2, 3], [VECTOR] * 4)
    assert (rest.left, rest.found, rest.graph.eqns) == ((), (), ())
    assert without(graph, ()).graph is graph


def test_sums_of_which_a_term_is_zero() -> None:
    graph = graph_of(lambda a, b, c: [a + b - c, c - a, np.stack([a, b]), np.concatenate([b, c])], *[VECTOR] * 3)
    for zeros in ([0], [1], [2], [0, 1], [0, 2], [1, 2]):
        holds(graph, zeros, [VECTOR, 2 * VECTOR, 3 * VECTOR])
    assert names(without(graph_of(lambda a, b: [a + b], VECTOR, VECTOR), (0,)).graph) == []
    assert names(without(graph_of(lambda a, b: [b - a], VECTOR, VECTOR), (1,)).graph) == ["negative"]


def test_a_sum_keeps_its_shape_and_dtype() -> None:
    graph = graph_of(lambda a, b: [a + b], np.float32(1), VECTOR)
    holds(graph, [1], [np.float32(2), VECTOR])
    holds(graph, [0], [np.float32(2), VECTOR])


def test_what_is_not_linear_gets_zeros() -> None:
    graph = graph_of(lambda a, b: [np.cos(a) * b, np.maximum(a, b), np.exp(a), a * b], VECTOR, VECTOR)
    assert holds(graph, [0], [VECTOR, VECTOR]).found == (0, 1, 2)
    assert holds(graph, [1], [VECTOR, VECTOR]).found == (1, 2)


def test_a_constant_beside_a_zero_stays() -> None:
    graph = graph_of(lambda a, r: [a + 1.0, np.where(r > 0, a, 2.0), np.where(r > 0, a, 0.0), a + r], VECTOR, VECTOR)
    assert holds(graph, [0], [VECTOR, VECTOR]).found == (0, 1, 3)


def test_what_a_zero_is_joined_with_is_zero_whatever_it_is_multiplied_by() -> None:
    graph = graph_of(lambda r, a, b: [np.concatenate([a, b]) * r], np.ones(6), VECTOR, VECTOR)
    rest = without(graph, (1,))
    with np.errstate(invalid="ignore"):
        (found,) = rest.graph(np.array([np.inf] * 3 + [2.0] * 3), VECTOR)
    np.testing.assert_array_equal(found, [0, 0, 0, *(2 * VECTOR)])


def test_a_long_chain() -> None:
    def chain(a: Any, b: Any) -> list[Any]:
        for _ in range(5000):
            a, b = a + b, b * 0.5
        return [a, b]

    rest = holds(graph_of(chain, VECTOR, VECTOR), [1], [VECTOR, VECTOR])
    assert rest.graph.eqns == ()


CHOICES: dict[str, Callable[..., Any]] = {
    "add": lambda r, x, y: x + y,
    "subtract": lambda r, x, y: x - y,
    "negative": lambda r, x, y: -x,
    "multiply": lambda r, x, y: r * x,
    "divide": lambda r, x, y: x / (2.5 + np.cos(r)),
    "where": lambda r, x, y: np.where(r > 0.2, x, y),
    "where zero": lambda r, x, y: np.where(r > 0.2, x, 0.0),
    "matmul": lambda r, x, y: np.outer(r, r) @ x,
    "solve": lambda r, x, y: np.linalg.solve(np.outer(r, r) + 9 * np.eye(N), x),
    "join and cut": lambda r, x, y: np.concatenate([x, y])[1::2],
    "stack": lambda r, x, y: np.sum(np.stack([x, y, x]), 0),
    "split": lambda r, x, y: sum(np.split(np.concatenate([x, y]), 2)),
    "broadcast": lambda r, x, y: np.sum(x) + y,
    "einsum": lambda r, x, y: np.einsum("i,j,j->i", r, x, np.ones(N)),
    "cumsum": lambda r, x, y: np.cumsum(x)[::-1],
    "set": lambda r, x, y: tnp.at(x)[1:].set(y[:2]),
    "add at": lambda r, x, y: tnp.at(x)[np.array([0, 0, 2])].add(y),
    "recurrence": lambda r, x, y: tg.lax.scan(lambda c, a: (c * 0.5 + a, c), 0.0, x)[1] + y,
    "loop": lambda r, x, y: tg.lax.scan(lambda c, a: ((c[1] * a, c[0]), c[0]), (x, y), r)[1][1],
    "carries": lambda r, x, y: np.stack(tg.lax.scan(lambda c, a: ((c[0] + c[1] * a, c[1]), None), (x, y), r)[0])[0],
    "while": lambda r, x, y: tg.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[2], c[1] * r), (0, x, y))[1],
    "cond": lambda r, x, y: tg.lax.cond(r[0] > 0, lambda x, y: x + y, lambda x, y: r * y, x, y),
    "cond of one": lambda r, x, y: tg.lax.cond(r[0] > 0, lambda x, y: 2.0 * x, lambda x, y: r * y, x, y),
    "rows": lambda r, x, y: tg.vmap(lambda r, x, y: tg.lax.cond(r > 0, lambda: x + y, lambda: x * r))(r, x, y),
    "call": lambda r, x, y: tg.jit(lambda r, x, y: (x * r, y - x))(r, x, y)[1],
    "checkpoint": lambda r, x, y: tg.checkpoint(lambda r, x, y: np.sin(r) * x + y)(r, x, y),
    "not linear": lambda r, x, y: np.maximum(x, y),
}


@pytest.mark.parametrize("name", CHOICES)
def test_one_op(name: str) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=N) for _ in range(3)]
    graph = graph_of(lambda r, x, y: [CHOICES[name](r, x, y)], *inputs)
    for zeros in ([1], [2], [1, 2]):
        rest = holds(graph, zeros, inputs)
        assert len(rest.graph.eqns) <= len(graph.eqns) + 3
    if name not in ("not linear", "while"):
        assert holds(graph, [1, 2], inputs).found == ()


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = [(str(rng.choice(list(CHOICES))), rng.integers(0, 3), *rng.integers(0, 4 + i, 2)) for i in range(8)]

    def program(*arrays: Any) -> list[Any]:
        rests, flowing = arrays[:3], list(arrays[3:])
        for name, r, i, j in steps:
            flowing.append(CHOICES[name](rests[r], flowing[i], flowing[j]))
        return flowing[-5:]

    inputs = [rng.normal(size=N) for _ in range(7)]
    graph = graph_of(program, *inputs)
    for count in (1, 2, 3):
        zeros = sorted((3 + rng.permutation(4)[:count]).tolist())
        holds(graph, zeros, inputs)
