"""Parts of a state, by name, as optax finds and replaces them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.steps import assert_same
from tracegrad import optim


class Inner(NamedTuple):
    mu: Any
    count: Any


class Outer(NamedTuple):
    inner: Any
    count: Any


STATE = (
    Outer(Inner({"mu": 1.0, "w": 2.0}, 3), 4),
    [{"count": 5, "other": (Inner(6.0, 7), None)}],
    {"lone": Inner(8.0, 9)},
)


@pytest.mark.parametrize("key", ["mu", "count", "Inner", "inner", "w", "lone", "nothing"])
def test_get(key: str) -> None:
    ours, theirs = optim.tree.get_all_with_path(STATE, key), optax.tree.get_all_with_path(STATE, key)
    as_text = sorted((tg.tree.keystr(path), str(value)) for path, value in ours)
    assert as_text == sorted((jax.tree_util.keystr(path), str(value)) for path, value in theirs)
    if len(theirs) < 2:
        assert optim.tree.get(STATE, key, "none") == optax.tree.get(STATE, key, "none")
    else:
        with pytest.raises(KeyError, match=f"'{key}' stands for several values, at"):
            optim.tree.get(STATE, key)


def test_get_of_a_class() -> None:
    def within(path: Any, value: Any) -> bool:
        return any(getattr(step, "tuple_name", None) == "Outer" for step in path)

    assert optim.tree.get(STATE, "w", filtering=within) == 2.0
    assert [v for _, v in optim.tree.get_all_with_path(STATE, "count", within)] == [3, 4]


def test_set() -> None:
    for given in ({"mu": 0.5, "other": 1}, {"Inner": "new"}, {"w": 1, "lone": 2}):
        assert optim.tree.set(STATE, **given) == optax.tree.set(STATE, **given)
    found = optim.tree.set(
        STATE, count=0
    )  # all of them; optax leaves alone what stands in a tuple beside another of the name
    assert [value for _, value in optim.tree.get_all_with_path(found, "count")] == [0] * 5
    kept = optim.tree.set(STATE, lambda path, value: value == 4, count=0)
    assert kept == optax.tree.set(STATE, lambda path, value: value == 4, count=0)
    with pytest.raises(KeyError, match="nothing in the tree is called 'nothing'"):
        optim.tree.set(STATE, nothing=1)
    with pytest.raises(KeyError, match="'count' that the filter lets through"):
        optim.tree.set(STATE, lambda path, value: False, count=1)


def test_map_params() -> None:
    def make(lib: Any) -> Any:
        return lib.chain(
            lib.masked(lib.ema(0.5), {"a": True, "b": False}),
            lib.partition({"x": lib.trace(0.5), "y": lib.scale(1.0)}, {"a": "x", "b": "y"}),
            lib.add_decayed_weights(lambda n: 0.1),
        )

    params = {"a": np.ones(2), "b": np.ones(1)}
    ours, theirs = make(optim), make(optax)
    for f, other in ((lambda x: x + 1, None), (lambda x: 0 * x, lambda x: x - 1)):
        with jax.enable_x64(True):
            expected = optax.tree_map_params(theirs, f, theirs.init(params), transform_non_params=other)
        found = optim.tree_map_params(ours, f, ours.init(params), transform_non_params=other)
        assert_same(found, jax.tree.map(np.asarray, expected), 0)
    assert optax.tree_map_params(ours, lambda x: "p", ours.init(params))[0].inner_state.ema["a"] == "p"
