"""Keys that are used twice in one Graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import random
from tracegrad.core.errors import KeyReuseWarning

noise = tg.jit(lambda key: random.normal(key))
scaled = tg.checkpoint(lambda w, key: w * random.normal(key) * 2.0)


def drawn(key: Any) -> Any:
    return random.normal(key)


def loss(w: Any, key: Any) -> Any:
    return w * w * random.normal(key)


def loop(key: Any) -> Any:
    x = 0.0
    for _ in range(3):
        x = x + random.normal(key)
    return x


def folded(key: Any) -> Any:
    return sum(random.normal(random.fold_in(key, i)) for i in range(3))


def chain(key: Any) -> Any:
    x = 0.0
    for _ in range(3):
        key, mine = random.split(key)
        x = x + random.normal(mine)
    return x


def split_and_used(key: Any) -> Any:
    random.split(key)
    return random.uniform(key)


def indexed(key: Any, i: int) -> Any:
    keys = random.split(key)
    return random.normal(keys[0]) + random.uniform(keys[i])


TWICE: dict[str, Callable[[Any], Any]] = {
    "two samplers": lambda key: random.normal(key) + random.uniform(key),
    "one in a loop": loop,
    "one of the user's functions": lambda key: drawn(key) + drawn(key),
    "after it was split": split_and_used,
    "the same part of a split": lambda key: indexed(key, 0),
    "a jitted function": lambda key: noise(key) + noise(key),
    "a jitted function and a sampler": lambda key: noise(key) + random.normal(key),
    "in the derivative": lambda key: tg.grad(lambda w: w * random.normal(key) * random.uniform(key))(1.0),
    "in a batch": lambda key: tg.vmap(lambda x: x * random.normal(key) + random.uniform(key))(np.ones(2)),
}  # fmt: skip
ONCE: dict[str, Callable[[Any], Any]] = {
    "one sampler of several parts": lambda key: random.normal(key, (), np.complex128).real,
    "rejection": lambda key: random.gamma(key, 2.0),
    "choice": lambda key: random.choice(key, np.arange(4.0), p=np.full(4, 0.25)),
    "folded": folded,
    "split": chain,
    "other parts of a split": lambda key: indexed(key, 1),
    "a derivative beside the value": lambda key: loss(2.0, key) + tg.grad(loss)(2.0, key),
    "a second derivative": lambda key: tg.hessian(loss)(2.0, key),
    "forward": lambda key: tg.jvp(lambda w: loss(w, key), (1.0,), (1.0,))[1],
    "a checkpoint": lambda key: tg.grad(scaled)(1.0, key),
    "the derivative of a jitted function": lambda key: noise(key) + tg.grad(lambda w: w * noise(key))(1.0),
    "branches": lambda key: tg.lax.cond(
        random.uniform(random.fold_in(key, 1)) > 0.5, lambda: random.normal(key), lambda: random.uniform(key)
    ),
    "steps": lambda key: tg.lax.scan(lambda c, i: (c + random.normal(random.fold_in(key, i)), None), 0.0, np.arange(3))[0],
    "on purpose": lambda key: random.normal(key) + random.uniform(random.clone(key)),
}  # fmt: skip


@pytest.mark.parametrize("make", [random.key, random.PRNGKey])
@pytest.mark.parametrize("name", TWICE)
def test_a_key_that_is_used_twice(name: str, make: Any) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tg.jit(TWICE[name])(make(0))
    assert [w.category for w in told] == [KeyReuseWarning]
    said = str(told[0].message)
    assert " is used a second time at " in said
    assert said.count(__file__) == (1 if "on the same line" in said else 2)
    assert "tg.random.split(key)" in said
    assert told[0].filename == __file__


@pytest.mark.parametrize("make", [random.key, random.PRNGKey])
@pytest.mark.parametrize("name", ONCE)
def test_what_is_no_second_use(name: str, make: Any) -> None:
    tg.jit(ONCE[name])(make(0))  # warnings are errors here


def test_both_lines_are_named() -> None:
    def function(x: Any, key: Any) -> Any:
        x = x + random.normal(key)
        return x * random.uniform(key)

    line = function.__code__.co_firstlineno
    with pytest.warns(
        KeyReuseWarning,
        match=rf"the key key is used a second time at .*:{line + 2} \(in function\), by random\.uniform: random\.normal drew from it "
        rf"at .*:{line + 1} \(in function\)",
    ):
        tg.jit(function)(1.0, random.key(0))


def test_a_key_that_is_closed_over() -> None:
    key = random.key(0)
    with pytest.warns(KeyReuseWarning, match="a key is used a second time"):
        tg.jit(lambda x: x * random.normal(key) + random.uniform(key))(1.0)
    # Where there is no Graph nobody looks.
    assert tg.grad(lambda x: x * random.normal(key) + random.uniform(key))(1.0) == random.normal(key)
