"""Sizes that note what is done with them."""

from __future__ import annotations

import math
import operator
import pickle
import statistics
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.context import sizing
from tracegrad.core.errors import resolve
from tracegrad.core.graph import Graph
from tracegrad.core.sizes import Notes, Size
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import ArrayType


def test_comparisons_are_noted() -> None:
    notes = Notes()
    n = Size(7, notes)
    assert n + 1 == 8
    assert 2 * n - 1 > 5
    assert (n, 3) != (8, 3)
    assert -n < 0.5
    assert not (n - 7)
    assert [(c.compare, c.left, c.right, c.holds) for c in notes.used] == [
        (operator.eq, 8, 8, True), (operator.gt, 13, 5, True), (operator.eq, 7, 8, False), (operator.lt, -7, 0.5, True),
        (operator.ne, 0, 0, False),
    ]  # fmt: skip
    assert str(resolve(notes.used[0].source)).startswith(__file__)
    assert not notes.plain


def test_quotients_are_noted() -> None:
    notes = Notes()
    n = Size(7, notes)
    assert type(n // 2) is type(-n % 8) is type(divmod(100, n)[1]) is Size
    assert [(use[0], *use[1:4]) for use in notes.used] == [
        (operator.floordiv, 7, 2, 3), (operator.mod, -7, 8, 1), (operator.floordiv, 100, 7, 14), (operator.mod, 100, 7, 2),
    ]  # fmt: skip


MADE_PLAIN: list[Callable[[Any], Any]] = [
    int, float, complex, str, hash, np.asarray, np.zeros, np.arange, np.sqrt, math.sqrt, math.isqrt, "{}".format, "%d".__mod__,
    lambda n: n / 2, lambda n: 2**n, lambda n: n & 1, lambda n: n << 1, lambda n: n * 0.5, lambda n: list(range(n)),
    lambda n: [0] * n, lambda n: {7: "seven"}[n], lambda n: [*range(9)][n], lambda n: n.bit_length(), lambda n: np.equal(n, 7),
    lambda n: np.ones(2) * n, lambda n: np.array([n, 2]), lambda n: np.linspace(0, 1, n), lambda n: n in {7},
    lambda n: np.eye(n), lambda n: tnp.zeros(n), lambda n: tnp.arange(n), lambda n: tg.random.normal(tg.random.key(0), (n,)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MADE_PLAIN)))
def test_what_makes_a_plain_number_is_noted(number: int) -> None:
    notes = Notes()
    found, expected = MADE_PLAIN[number](Size(7, notes)), MADE_PLAIN[number](7)
    assert np.array_equal(found, expected)
    assert {n for n, _ in notes.plain} == {7}
    assert str(resolve(notes.plain[0][1])).startswith(__file__)


def test_they_are_numbers() -> None:
    n = Size(7, Notes())
    assert isinstance(n, int)
    assert type(n * n) is type(3 - n) is type(n**2) is type(abs(-n)) is type(round(n)) is type(math.floor(n)) is Size
    assert (n * n, 3 - n, n**2, abs(-n), ~n, math.prod((n, 3)), sum([n, n])) == (49, -4, 49, 7, -8, 21, 14)
    assert type(pickle.loads(pickle.dumps(n))) is int
    assert np.int64(3) * n == 21
    assert n != "7"
    assert statistics.mean([n, 9]) == 8
    with pytest.raises(TypeError):
        n + "1"
    with pytest.raises(ZeroDivisionError):
        n // 0


def noted(f: Callable[[Any], Any], *shape: int) -> tuple[Graph, Notes]:
    thread = threading.get_ident()
    sizing[thread] = Notes()
    try:
        return trace_graph(lambda x: [f(x)], [ArrayType(shape, np.dtype(float))], transform="test"), sizing[thread]
    finally:
        del sizing[thread]


IN_GRAPHS: list[Callable[[Any], Any]] = [
    lambda x: np.sum(x.reshape(-1)) + np.mean(np.concatenate([x, x]), 0), lambda x: x.reshape(3, x.shape[0])[:, : x.shape[0] - 1],
    lambda x: x * x.shape[0] / x.size, lambda x: np.broadcast_to(x[0], (x.shape[0], 3)), lambda x: np.minimum(x, x.shape[0]),
    lambda x: np.multiply(x.shape[0], x), lambda x: np.roll(x, x.shape[0] - 1), lambda x: np.zeros_like(x),
    lambda x: tg.lax.fori_loop(0, x.shape[0], lambda i, c: c * x, x), lambda x: tg.grad(lambda y: np.mean(y**2))(x),
    lambda x: np.pad(x, (0, x.shape[0])), lambda x: tg.nn.softmax(x), lambda x: x.shape[0] * x, lambda x: x[x.shape[0] - 1],
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(IN_GRAPHS)))
def test_what_a_graph_shows_is_not_noted(number: int) -> None:
    _, notes = noted(IN_GRAPHS[number], 7, 3)
    assert not notes.used
    assert not notes.plain


ASKED: list[Callable[[Any], Any]] = [
    lambda x: x.shape[0], lambda x: x.size, lambda x: x.nbytes, lambda x: np.shape(x)[0], lambda x: tnp.shape(x)[0],
    lambda x: np.size(x), lambda x: np.size(x, 0), lambda x: x[1:].shape[0], lambda x: np.concatenate([x, x]).shape[0],
    lambda x: np.zeros_like(x).shape[0],
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ASKED)))
def test_whoever_asks_for_a_size_is_told_one(number: int) -> None:
    def f(x: Any) -> Any:
        assert type(ASKED[number](x)) is Size
        return x

    noted(f, 7)


def test_counting_is_noted() -> None:
    counts: list[Callable[[Any], Any]] = [
        len, list, lambda x: [row for row in x], lambda x: tg.eval_shape(np.sin, x).shape,
        lambda x: x.tolist(), lambda x: np.split(x, x.shape[0]), repr, lambda x: tg.make_graph(np.sin)(x),
        lambda x: tg.vmap(lambda y: y * tg.lax.axis_size("i"), axis_name="i")(x), tnp.unstack,
        lambda x: tg.vmap(lambda y: y * tg.lax.psum(1, "i"), axis_name="i")(x),
    ]  # fmt: skip
    for count in counts:
        _, notes = noted(lambda x, count=count: (count(x), x)[1], 7)
        assert {n for n, _ in notes.plain} == {7}


def test_as_an_operand() -> None:
    literals = [
        noted(lambda x: x / x.shape[0], 3)[0],
        trace_graph(lambda x: [x / 3], [ArrayType((3,), np.dtype(float))], transform="test"),
    ]
    assert [type(g.eqns[0].inputs[1].value) for g in literals] == [int, int]  # type: ignore[union-attr]
