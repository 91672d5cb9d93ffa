"""Sizes that note what they are compared with."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracegrad.core.errors import ConcretizationTypeError, resolve
from tracegrad.core.graph import Graph
from tracegrad.core.sizes import Comparison, Size
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import ArrayType


def test_comparisons_of_the_users_are_noted() -> None:
    noted: list[Comparison] = []
    n = Size(7, noted)
    assert n + 1 == 8
    assert 2 * n - 1 > 5
    assert (n, 3) != (8, 3)
    assert [(c.compare, c.left, c.right, c.holds) for c in noted] == [
        (operator.eq, 8, 8, True), (operator.gt, 13, 5, True), (operator.eq, 7, 8, False),
    ]  # fmt: skip
    assert str(resolve(noted[0].source)).startswith(__file__)


def test_they_are_numbers() -> None:
    n = Size(7, [])
    assert isinstance(n, int)
    assert type(n * n) is type(3 - n) is Size
    assert type(n // 2) is int
    assert np.zeros(n).shape == (7,)
    assert list(range(n)) == list(range(7))
    assert {7: "seven"}[n] == "seven"
    assert type(pickle.loads(pickle.dumps(n))) is int
    with pytest.raises(TypeError):
        n + "1"


def traced(f: Callable[[Any], Any], *shape: int) -> Graph:
    return trace_graph(lambda x: [f(x)], [ArrayType(shape, np.dtype(float))], transform="test")


def test_the_library_compares_unseen() -> None:
    noted: list[Comparison] = []
    traced(lambda x: np.sum(x.reshape(-1)) + np.mean(np.concatenate([x, x]), 0), Size(7, noted), 3)
    assert not noted
    traced(lambda x: x if x.shape[0] > 3 else -x, Size(7, noted), 3)
    assert len(noted) == 1


def test_len() -> None:
    with pytest.raises(ConcretizationTypeError, match=r"len\(\) at .*test_sizes.py:\d+ .* write x.shape\[0\]"):
        traced(lambda x: x * len(x), Size(7, []))


def test_as_an_operand() -> None:
    literals = [traced(lambda x, n=n: x / n, 2).eqns[0].inputs[1] for n in (Size(3, []), 3)]
    assert [type(a.value) for a in literals] == [int, int]
