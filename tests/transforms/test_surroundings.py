"""Names that a jitted function reads from around it: what they are bound to at each call counts."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.transforms.surroundings import functions_around

X = np.array([0.5, -1.5, 2.0])


def module(name: str, source: str, **others: Any) -> dict[str, Any]:
    """The globals of code of the user's, with others in them."""
    namespace: dict[str, Any] = {"np": np, "tg": tg, "__name__": name, **others}
    exec(compile(source, f"/home/user/{name}.py", "exec"), namespace)
    return namespace


def log_of(before: Any, after: Any, use: str = "x * g") -> tuple[list[Any], list[str]]:
    here = module("model", f"f = tg.jit(lambda x: {use})", g=before)
    found = [here["f"](2.0)]
    here["g"] = after
    return [*found, here["f"](2.0), here["f"](2.0)], here["f"].trace_log


def test_a_number() -> None:
    assert log_of(3.0, 4.0) == ([6.0, 8.0, 8.0], ["first call", "global 'g' changed: 4.0, before 3.0"])
    assert log_of(3.0, float("3.0"))[1] == ["first call"]
    assert log_of(1.0, 1)[1][1:] == ["global 'g' changed: 1, before 1.0"]
    assert log_of(0.0, -0.0, "np.copysign(x, g)")[0] == [2.0, -2.0, -2.0]
    assert len(log_of(True, np.bool_(True))[1]) == 2


def test_other_values() -> None:
    assert log_of("sin", "cos", "getattr(np, g)(x)")[0][1] == np.cos(2.0)
    assert log_of((1, (2.0, "a")), (1, (3.0, "a")), "x * g[1][0]") == (
        [4.0, 6.0, 6.0],
        ["first call", "global 'g' changed: (1, (3.0, 'a')), before (1, (2.0, 'a'))"],
    )
    assert log_of((1, "a"), (1, "".join(["a"])), "x * g[0]")[1] == ["first call"]
    assert log_of(np.sin, np.cos, "g(x)")[0][2] == np.cos(2.0)
    assert log_of([1.0], [3.0], "x * g[0]") == ([2.0, 6.0, 6.0], ["first call", "global 'g' changed"])
    results, log = log_of(X, -X)
    same_bits(results, [2 * X, -2 * X, -2 * X])
    assert log == ["first call", "global 'g' changed"]


def test_a_name_that_is_gone() -> None:
    here = module("model", "f = tg.jit(lambda x: x * g if 'g' in globals() else x)", g=3.0)
    assert here["f"](2.0) == 6.0
    del here["g"]
    assert here["f"](2.0) == 2.0 and here["f"].trace_log[1] == "global 'g' is gone"


def test_what_it_calls_reads_too() -> None:
    source = "def inner(x): return x * g\ndef middle(x): return inner(x) + 1\nf = tg.jit(lambda x: middle(x))"
    here = module("model", source, g=2.0)
    f = here["f"]
    assert f(1.0) == 3.0
    here["g"] = 5.0
    assert f(1.0) == 6.0
    exec("def inner(x): return -x", here)
    assert f(1.0) == 0.0
    assert f.trace_log[1:] == ["global 'g' changed: 5.0, before 2.0", "global 'inner' changed"]


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "grad": lambda f: tg.grad(f),
    "jit in jit": lambda f: tg.jit(lambda x: tg.jit(f)(x)),
    "partial": lambda f: functools.partial(f),
    "wraps": lambda f: functools.wraps(f)(lambda x: f(x)),
    "vmap": lambda f: lambda x: tg.vmap(f)(x + np.zeros(1)),
    "custom": lambda f: tg.checkpoint(f),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_through_wrappers(how: str) -> None:
    here = module("model", "def f(x): return x * x * g", g=2.0)
    wrapped = WRAPPED[how](here["f"])
    jitted = tg.jit(wrapped)
    for g in (2.0, 3.0, 2.0):
        here["g"] = g
        same_bits(jitted(1.5), wrapped(1.5))
    assert len(jitted.trace_log) == 3


def test_a_jitted_function_within_another() -> None:
    """The outer program has the inner one in it, and does not ask it."""
    here = module("model", "inner = tg.jit(lambda x: x * g)\nouter = tg.jit(lambda x: inner(x) + 1)", g=2.0)
    assert here["outer"](1.0) == 3.0
    here["g"] = 3.0
    assert here["outer"](1.0) == 4.0 and tg.grad(here["outer"])(1.0) == 3.0


def test_modules_of_the_users() -> None:
    config = ModuleType("config")
    config.__file__ = "/home/user/config.py"
    exec(compile("rate = 0.5\ndef scaled(x): return x * rate", config.__file__, "exec"), vars(config))
    f = module("model", "f = tg.jit(lambda x: config.scaled(x) + config.rate)", config=config)["f"]
    assert f(2.0) == 1.5
    config.rate = 1.0  # type: ignore[attr-defined]
    assert f(2.0) == 3.0 and f.trace_log[1] == "global 'rate' changed: 1.0, before 0.5"


def test_closures() -> None:
    c = 1.0
    f = tg.jit(lambda x: x * c)
    assert f(2.0) == 2.0
    c = 5.0
    assert f(2.0) == 10.0 and f.trace_log[1] == "closure variable 'c' changed: 5.0, before 1.0"
    jitted = []
    for rate in (0.1, 0.2):
        jitted.append(tg.jit(lambda x: x * rate))
    assert jitted[0](1.0) == jitted[1](1.0) == 0.2  # as in Python


def test_what_it_binds_itself_is_not_asked() -> None:
    """It would be traced at each call."""
    count = 0

    @tg.jit
    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        return x

    assert [f(1.0), f(2.0), count] == [1.0, 2.0, 1] and f.trace_log == ["first call"]


def test_other_ways_of_calling() -> None:
    """By keyword, with static arguments, with trees that have no quick test, and along paths."""
    here = module("model", "def f(x, n=1): return x * g * n if x > 0 else -x", g=2.0)
    by_keyword, static = tg.jit(here["f"]), tg.jit(here["f"], static_argnums=1)
    for g in (2.0, 3.0):
        here["g"] = g
        for x in (1.0, -1.0):
            assert by_keyword(x=x) == static(x, 1) == by_keyword(x) == here["f"](x)
    assert sum("global 'g'" in line for line in static.trace_log) == 1


def test_names_that_are_read() -> None:
    here = module(
        "model",
        "import math\nclass K: pass\ndef f(x, y=z): return np.sin(x.real) + one + K.z + h(2)\ndef h(x): return x",
        z=1,
        one=2,
    )

    def names_around(function: Any) -> list[str]:
        return sorted([name.name for _, names in functions_around(function) for name in names])

    assert names_around(here["f"]) == ["K", "h", "one", "z"]
    # One that is an attribute's too is asked for once too often. Libraries and modules are not.
    assert names_around(np.sin) == [] and names_around(sys) == []
    assert names_around(tg.grad(here["h"])) == []
