"""The function that goes through the programs of a tree of paths: it knows those that there are, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.transforms import path_tree
from tracegrad.transforms.path_tree import UNKNOWN, Tree
from tracegrad.transforms.paths import Paths


def known(jitted: Any) -> Tree:
    """The tree of a jitted function's one signature."""
    return jitted._recent.paths.tree


def nested(x: Any) -> Any:
    n = int(x[0])
    y = np.sin(x) * n
    if y.sum() > 0:
        y = y + 1.0 if x[1] > 0 else y - 1.0
    return y * float(x[2])


def test_paths_that_have_been_taken_are_not_walked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    jitted = tg.jit(nested, max_paths=100)
    # Among them many answers to one question, both zeros, a NaN, and an int of more than 64 bits.
    inputs = [np.array([n, b, f]) for n in (*range(-3, 9), 1e30) for b in (1.0, -1.0) for f in (0.0, -0.0, np.nan)]
    for x in inputs:
        same_bits(jitted(x), nested(x))
    for x in inputs:
        jitted(x)
    monkeypatch.delattr(Paths, "walk")
    for x in inputs:
        same_bits(jitted(x), nested(x))
    assert known(jitted).count > len(inputs) / 2


def test_an_answer_that_is_new() -> None:
    jitted = tg.jit(nested)
    x = np.array([2.0, 1.0, 0.5])
    for _ in range(2):
        jitted(x)
    run = known(jitted).run
    same_bits(run(x), nested(x))
    for other in ([3.0, 1.0, 0.5], [2.0, -1.0, 0.5], [2.0, 1.0, -0.5]):
        assert run(np.array(other)) is UNKNOWN
        same_bits(jitted(np.array(other)), nested(np.array(other)))
    same_bits(run(x), nested(x))  # what was there before stays as it is


def test_one_path_is_straight_and_many_are_not_deep() -> None:
    @tg.jit
    def count(x: Any) -> Any:
        n = 0
        while x > 0:
            x, n = x - 1.0, n + 1
        return n

    for start in (150.0, 130.0, 120.0, 150.0, 130.0, 120.0):
        assert count(start) == start
    assert [known(count).run(x) for x in (150.0, 130.0, 120.0)] == [150, 130, 120]


def test_many_nodes_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_tree, "_MOST_NODES", 20)

    @tg.jit
    def count(x: Any) -> Any:
        while x > 0:
            x = x - 1.0
        return x

    for _ in range(2):
        assert count(21.0) == 0
    assert known(count).run(21.0) is UNKNOWN


def test_what_a_segment_gives_is_none_of_the_callers() -> None:
    def f(x: Any) -> Any:
        first, rest = x[:2], x[2:]
        return (first, rest) if first.sum() > 0 else (rest, first)

    jitted = tg.jit(f)
    for x in (np.arange(4.0), -np.arange(4.0)) * 3:
        before = x.copy()
        for part in jitted(x):
            part[...] = 7.0
        same_bits(x, before)


def test_constants_that_a_segment_knows() -> None:
    places = np.array([0, 2, 2])
    f = lambda x: x * 2 if tg.grad(lambda y: np.sum(y[places] * y[places]))(x).sum() > 0 else x
    jitted = tg.jit(f)
    for x in (np.arange(3.0), -np.arange(3.0), np.arange(3.0), -np.arange(3.0)):
        same_bits(jitted(x), f(x))
