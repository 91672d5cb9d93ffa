"""What no program would do again is named where a function does it while it is traced."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import FrozenRandomError, ImpureTraceError

X = np.array([0.5, -1.5, 2.0])
history: list[Any] = []
seen: dict[int, Any] = {}
names: set[int] = set()


def helper(x: Any) -> Any:
    return x * time.monotonic()


CLOCKS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "time": (lambda x: x + time.time(), r"time\.time\(\)"),
    "by name": (lambda x: x + perf_counter(), r"time\.perf_counter\(\)"),
    "nanoseconds": (lambda x: x + time.time_ns(), r"time\.time_ns\(\)"),
    "date": (lambda x: x + datetime.datetime.now().second, r"datetime\.now\(\)"),
    "day": (lambda x: x + datetime.date.today().day, r"date\.today\(\)"),
    "helper": (lambda x: helper(x), r"time\.monotonic\(\)"),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_clocks(clock: str) -> None:
    f, name = CLOCKS[clock]
    with pytest.raises(
        ImpureTraceError, match=rf"(?s)^{name} was called at \S*test_impure\.py:\d+ .*while jit traced .*outside"
    ):
        tg.jit(f)(1.0)
    assert sys.getprofile() is None


def test_a_clock_that_is_not_read_is_none() -> None:
    def f(x: Any, talk: bool = False) -> Any:
        if talk:
            print(time.time())
        return 2 * x

    assert tg.jit(f)(1.0) == 2.0 and tg.jit(lambda x: x.time if x.ndim > 9 else x)(X)[0] == X[0]


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "append": (lambda x: (history.append(1), x)[1], "the list 'history'"),
    "tracer": (lambda x: (history.append(x), x)[1], "the list 'history'"),
    "item": (lambda x: (seen.update({len(seen): x.shape}), x)[1], "the dict 'seen'"),
    "set": (lambda x: (names.add(len(names)), x)[1], "the set 'names'"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("transform", [tg.jit, lambda f: tg.jit(tg.vmap(f))], ids=["jit", "within"])
def test_containers_from_outside(change: str, transform: Any) -> None:
    f, what = CHANGES[change]
    try:
        with pytest.raises(
            ImpureTraceError, match=rf"^{what} was changed at \S*test_impure\.py:\d+ .*while jit traced"
        ):
            transform(f)(X)
    finally:
        history.clear(), seen.clear(), names.clear()


def test_closures() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        total = np.sum(x)
        kept.append(total)
        return total

    with pytest.raises(ImpureTraceError, match=rf"the list 'kept' was changed at \S+:{f.__code__.co_firstlineno + 2} "):
        tg.jit(f)(X)


ARGUMENTS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "item": (lambda p: p.__setitem__("a", p["a"] + 1), {"a": 1.0}),
    "new item": (lambda p: p.update(b=1.0), {"a": 1.0}),
    "pop": (lambda p: p.pop(), [X, X]),
    "inside": (lambda p: p["layers"].append(1.0), {"layers": [X]}),
    "order": (lambda p: p.reverse(), [X, 2 * X]),
}


def test_the_line_that_writes_into_a_slice_or_by_a_local_name() -> None:
    kept: list[Any] = [0]

    def sliced(x: Any) -> Any:
        kept[:] = [x.shape, *kept]
        return x

    def named(held: Any) -> Any:
        key = "b"
        held[key] = key
        return held["a"]

    for f, x, line in ((sliced, X, 1), (named, {"a": X}, 2)):
        with pytest.raises(ImpureTraceError, match=rf"\S*test_impure\.py:{f.__code__.co_firstlineno + line} "):
            tg.jit(f)(x)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_containers_that_are_arguments(name: str) -> None:
    change, argument = ARGUMENTS[name]

    def f(p: Any) -> Any:
        change(p)
        return p

    with pytest.raises(ImpureTraceError, match="a list or dict that is an argument was changed"):
        tg.jit(f)(argument)


def test_the_line_where_an_argument_is_changed() -> None:
    def f(state: Any) -> Any:
        step = state["step"]
        state["step"] = step + 1
        return state

    with pytest.raises(
        ImpureTraceError, match=rf"changed at \S+:{f.__code__.co_firstlineno + 2} \(in f\)(?s:.*)dict\(d\)"
    ):
        tg.jit(f)({"step": 1})


def test_what_is_pure() -> None:
    """Copies, arrays that are arguments, and what a function makes itself."""

    def f(p: Any, *rest: Any, **more: Any) -> Any:
        p = dict(p)
        p["a"] *= 2
        p["x"] += 1
        parts = [p["a"]]
        parts.append(more.pop("b"))
        more["c"] = 1.0
        return p, parts, list(rest)

    given = {"a": 1.0, "x": X.copy()}
    out, parts, rest = tg.jit(f)(given, 1.0, b=2.0)
    assert out["a"] == 2.0 and parts == [2.0, 2.0] and rest == [1.0] and given["x"][0] == X[0]


def test_what_is_filled_once() -> None:
    """Tables of what has been computed, and parameters that are made at the first call."""
    table: dict[int, Any] = {}

    def f(x: Any) -> Any:
        if x.size not in table:
            table[x.size] = np.arange(x.size) + 1.0
        return x * table[x.size]

    jitted = tg.jit(f)
    for x in (X, X[:2], X):
        assert np.array_equal(jitted(x), x * (np.arange(x.size) + 1.0))
    assert len(jitted.trace_log) == 2


def test_drawing_is_of_the_same_kind() -> None:
    assert issubclass(FrozenRandomError, ImpureTraceError)
