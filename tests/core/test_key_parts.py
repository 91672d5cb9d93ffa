"""Which keys arrays of keys are made of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core import tracing
from tracegrad.core.errors import KeyReuseWarning
from tracegrad.core.key_parts import Owners, Parts, overlap, ranges


def parts_of(monkeypatch: pytest.MonkeyPatch, *functions: Any) -> list[Any]:
    """What is known of the arrays that functions make of one array of four keys and a number, in the order given."""
    seen: list[Any] = []
    draws_in = tracing.draws_in

    def noted(eqns: Any, uses: Any) -> Any:
        seen.append((eqns, [*uses]))
        return draws_in(eqns, uses)

    monkeypatch.setattr(tracing, "draws_in", noted)

    def function(keys: Any, i: Any) -> Any:
        return [tg.vmap(tg.random.normal)(f(keys, i)) for f in functions]

    with warnings.catch_warnings(action="ignore", category=KeyReuseWarning):
        tg.make_graph(function)(np.zeros((4, 2), np.uint32), 1)
    eqns, uses = seen[-1]
    parts = Parts(eqns)
    return [parts.of(use.key) for use in uses]


def test_what_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, part, flipped, twice, one, joined = parts_of(
        monkeypatch,
        lambda keys, i: keys,
        lambda keys, i: keys[1:3],
        lambda keys, i: np.reshape(keys, (2, 2, 2))[::-1, 0],
        lambda keys, i: keys[np.array([3, 3])],
        lambda keys, i: keys[i][None],
        lambda keys, i: np.concatenate([keys[i][None], keys[:1]]),
    )
    assert whole.words.tolist() == [[1, 5], [2, 6], [3, 7], [4, 8]]  # of all keys the first words, and then the second
    np.testing.assert_array_equal(part.words, whole.words[1:3])
    np.testing.assert_array_equal(flipped.words, whole.words[[2, 0]])
    np.testing.assert_array_equal(twice.words, whole.words[[3, 3]])
    assert not any([found.within for found in (whole, part, flipped, twice)])
    assert np.min(one.words) > 8 and [x.tolist() for x in one.within] == [whole.words.tolist()]
    np.testing.assert_array_equal(joined.words, [one.words[0], whole.words[0]])  # the same unknown one
    assert [x.tolist() for x in joined.within] == [whole.words.tolist()]


def test_a_long_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    def long(keys: Any, i: Any) -> Any:
        for _ in range(3001):
            keys = np.flip(keys, 0)
        return keys

    (found,) = parts_of(monkeypatch, long)
    assert found.words.tolist() == [[4, 8], [3, 7], [2, 6], [1, 5]]


def test_ranges() -> None:
    words = np.array([[1, 5], [2, 6], [4, 8], [9, 10], [3, 8]])
    assert ranges(words) == ([(1, 9, 10), (4, 1, 3), (4, 4, 5), (5, 3, 4)], False)
    assert ranges(np.array([[1, 5], [2, 6], [1, 5]])) == ([(4, 1, 3)], True)
    assert ranges(np.zeros((0, 2), int)) == ([], False) and ranges(np.array([0, 0])) == ([], False)
    assert overlap([(1, 3, 5)], [(1, 4, 9)]) and not overlap([(1, 3, 5)], [(1, 5, 9), (2, 3, 5)])


def test_owners() -> None:
    owners: Owners[str] = Owners()
    for name, start, stop in (("a", 1, 5), ("b", 3, 8), ("c", 4, 5)):
        for piece in owners.pieces([(1, start, stop)]):
            piece.append(name)
    assert owners.pieces([(1, 1, 10)]) == [["a"], ["a", "b"], ["a", "b", "c"], ["b"], []]
    assert owners.pieces([(2, 1, 10)]) == [[]]
