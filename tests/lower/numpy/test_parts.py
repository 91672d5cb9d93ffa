"""Long functions compiled as several."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.compare import same_bits
from tests.transforms.jit.test_numpy import FUNCTIONS
from tracegrad.core.generated import Names
from tracegrad.lower.numpy import parts

X = np.array([0.3, -1.2, 2.0])
BIG = np.random.default_rng(0).normal(size=(64, 128))
PARAMS = [{"W": 0.1 * BIG[:3, :4], "b": BIG[0, :4]}, {"W": 0.1 * BIG[:4, :5], "b": BIG[1, :5]}]


@pytest.mark.parametrize("name, f, args", FUNCTIONS, ids=[n for n, _, _ in FUNCTIONS])
@pytest.mark.parametrize("lines", [1, 3])
def test_bits_of_functions_in_parts(name: str, f: Any, args: Any, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", lines)
    jitted = tg.jit(f)
    for _ in range(2):
        same_bits(jitted(*args), f(*args))


def test_parts_of_a_long_function() -> None:
    lines = [
        parts.Line("b = sin(a)", ("b", "a"), "x.py:1"),
        parts.Line("c = cos(b)", ("c", "b"), "x.py:2"),
        parts.Line("d = add(b, c, c); del c", ("d", "b", "c", "c"), "x.py:3"),
        parts.Line("e = add(d, a)", ("e", "d", "a"), "x.py:4"),
        parts.Line("f = add(e, b, k); del b", ("f", "e", "b", "k", "b"), "x.py:5"),
        parts.Line("return [d, f]", ("d", "f")),
    ]
    assert parts.in_parts("g", ["a"], lines, Names({}), {"k"}) == [
        "def g(a):\n    b = sin(a)               # x.py:1\n    c = cos(b)               # x.py:2\n"
        "    d = add(b, c, c); del c  # x.py:3\n    e = add(d, a)            # x.py:4\n"
        "    f = add(e, b, k); del b  # x.py:5\n    return [d, f]\n"
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART", 2)
        bare = [line._replace(comment="") for line in lines]
        sources = parts.in_parts("g", ["a"], bare, Names({"list1": None, "g_part2": None}), {"k"})
    assert sources == [
        "def g_part1(a):\n    b = sin(a)\n    c = cos(b)\n    return [b], [c],\n",
        "def g_part2_2(a, list0, list1_2):\n    [b] = list0\n    [c] = list1_2\n    list1_2.clear()\n"
        "    d = add(b, c, c); del c\n    e = add(d, a)\n    return [d, e],\n",
        "def g_part3(list0, list2):\n    [b] = list0\n    list0.clear()\n    [d, e] = list2\n    list2.clear()\n"
        "    f = add(e, b, k); del b\n    return [d, f]\n",
        "def g(a):\n    list0, list1_2, = g_part1(a)\n    list2, = g_part2_2(a, list0, list1_2)\n"
        "    return g_part3(list0, list2)\n",
    ]


@pytest.mark.parametrize("lines", [7, 2000])
def test_memory_of_a_long_program_stays_small(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", lines)

    def f(x: Any) -> Any:
        for _ in range(100):
            x = np.sin(x) @ x
        return x

    x = np.eye(200)
    jitted = tg.jit(f)
    jitted(x)
    tracemalloc.start()
    jitted(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * x.nbytes
