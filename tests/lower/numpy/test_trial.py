"""What operations are seen to take when they are tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.graph import Eqn
from tracegrad.lower.numpy.trial import WHOLE, tried

X = np.random.default_rng(0).normal(size=(200, 200))


def _equation(f: Any, *args: Any, op: str) -> Eqn:
    *_, found = [e for e in tg.make_graph(f)(*args).eqns if e.op.name == op]
    return found


def test_what_is_taken_besides_the_results() -> None:
    found = tried(_equation(np.sort, X, op="sort"))
    assert (found.extra, found.held, found.shares, found.is_view) == (0, (X.nbytes,), (-1,), (False,))
    summed = tried(_equation(lambda x: tg.nn.logsumexp(x, axis=1), X, op="logsumexp"))
    assert summed.held == (200 * 8,) and summed.extra > X.nbytes / 2


def test_results_in_the_memory_of_an_argument_and_views_of_memory_of_their_own() -> None:
    same = tried(_equation(np.linalg.cholesky, X @ X.T + np.eye(200), op="from_triangle"))
    assert same.held == (0,) and same.shares == (0,)
    back = tried(_equation(tg.grad(lambda x: np.sum(np.cumsum(x, 0) ** 2)), X, op="cumsum"))
    assert back.held == (X.nbytes,) and back.shares == (-1,)


def test_large_arrays_are_known_from_small_ones() -> None:
    large = tg.ShapeDtypeStruct((10**5, 10**4), "float64")
    eqn = _equation(lambda x: np.sort(x, axis=1), large, op="sort")
    assert WHOLE < 2 * 8 * 10**9 and tried(eqn).held == (8 * 10**9,)
    indexed = _equation(lambda x, i: x[:, i], large, tg.ShapeDtypeStruct((10,), "int64"), op="gather")
    assert tried(indexed).held == (8 * 10**6,)


def test_what_cannot_be_tried_takes_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arrays: Any, **params: Any) -> Any:
        raise ValueError("no")

    eqn = _equation(np.sort, X, op="sort")
    monkeypatch.setattr(eqn.op, "evaluate", fails)
    found = tried(eqn)
    assert (found.extra, found.held) == (0, (X.nbytes,))


@pytest.mark.parametrize("strides", [(200, 1), (1, 200), (0, 1)])
def test_arguments_lie_as_they_are_said_to(strides: tuple[int, int]) -> None:
    eqn = _equation(lambda x: tg.nn.softmax(x, axis=1), X, op="softmax")
    assert tried(eqn, [strides]).held == (X.nbytes,)
