"""Whose memory the variables of a Graph lie in, when it is read last, and what may be written over it; and so what a program gives
away."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from benchmarks.jitted import deep_by_hand, network_step
from benchmarks.workloads import LIBRARIES, network_data
from tests import ROOT
from tests.compare import same_bits
from tracegrad.core.graph import Graph, Var
from tracegrad.lower.numpy.layouts import Layouts
from tracegrad.lower.numpy.memory import ANYWHERE, MANY, Memory, size_of
from tracegrad.lower.numpy.writer import lower

X = np.arange(400.0).reshape(20, 20)


def memory_of(f: Callable[..., Any], *args: Any) -> tuple[Graph, Memory]:
    graph = tg.make_graph(f)(*args)
    return graph, Memory(graph, Layouts(graph))


def test_a_view_lies_in_what_it_is_a_view_of() -> None:
    graph, memory = memory_of(lambda x: np.sin(x)[1:].T + 1.0, X)
    (x,), (y, rows, turned, out) = graph.inputs, [e.outputs[0] for e in graph.eqns]
    assert memory.roots[rows] == {y, rows} and memory.roots[turned] == {y, rows, turned}
    assert memory.roots[y] == {y} and memory.roots[out] == {out}
    assert memory.pinned == {x, out, ANYWHERE}


def test_an_array_dies_when_it_is_read_last_and_lies_in_nothing_else() -> None:
    graph, memory = memory_of(lambda x: (y := np.sin(x), z := np.cos(y), z * y)[2], X)
    (x,), (y, z, out) = graph.inputs, [e.outputs[0] for e in graph.eqns]
    assert [memory.dies(v, 2) for v in (x, y, z, out)] == [False, True, True, False]
    assert not memory.dies(y, 1)
    assert set(memory.dead(graph.eqns[2], 2)) == {(y, True), (z, True)}
    assert memory.lie_alike(y, out)
    assert memory.layouts is not None and memory.layouts.is_block(y)
    memory.lives_on(y)
    assert not memory.dies(y, 2)


def test_what_is_read_through_a_view_lives_as_long_as_that() -> None:
    graph, memory = memory_of(lambda x: (y := np.sin(x), v := y[::2], y * 2.0, v * 3.0), X)
    y, v, *_ = [e.outputs[0] for e in graph.eqns]
    assert not memory.dies(y, 3)  # it is returned
    graph, memory = memory_of(lambda x: (y := np.sin(x), v := y[::2], z := np.sum(y), np.sum(v) + z)[3], X)
    y, v, *_ = [e.outputs[0] for e in graph.eqns]
    reads = [i for i, e in enumerate(graph.eqns) if v in e.inputs]
    assert [i for i in range(len(graph.eqns)) if memory.dies(y, i)] == reads
    assert list(memory.dead(graph.eqns[reads[0]], reads[0])) == [(v, False), (y, True)]


def test_what_is_made_of_many_arrays_pins_none() -> None:
    """A stack lies in none of them, and each is let go when it has been read; a chain of views of many could lie anywhere."""
    count = MANY + 4

    def f(x: Any) -> Any:
        return np.tanh(np.concatenate([np.sin(x) * float(i) for i in range(count)]))

    graph, memory = memory_of(f, X)
    parts = graph.eqns[-2].inputs
    assert len(parts) == count and memory.pinned.isdisjoint(parts)
    assert {v for v, owns in memory.dead(graph.eqns[-2], len(graph.eqns) - 2) if owns} == set(parts)
    np.testing.assert_array_equal(tg.jit(f)(X), f(X))
    source = lower(graph).source
    assert source.count("del ") >= 1 and "ANYWHERE" not in source


@pytest.mark.parametrize(
    "f, may",
    [
        (lambda x: (y := np.sin(x), tg.numpy.at(y)[3].set(1.0))[1], True),
        (lambda x: tg.numpy.at(x)[3].set(1.0), False),  # an argument
        (lambda x: (y := np.sin(x), z := tg.numpy.at(y)[3].set(1.0), y + z)[2], False),  # which is read later
        (lambda x: (y := np.sin(x), v := y[5], z := tg.numpy.at(y)[3].set(1.0), v + z)[3], False),  # through a view
        (lambda x: (y := np.sin(x), tg.numpy.at(y)[3].set(y[5]))[1], True),  # NumPy minds what overlaps
        (lambda x: (y := np.sin(x), tg.numpy.at(y)[np.array([3])].set(y[5:6]))[1], False),  # but for arrays of indices
    ],
)
def test_what_may_be_written_into(f: Callable[[Any], Any], may: bool) -> None:
    graph, memory = memory_of(f, X)
    (i,) = [i for i, e in enumerate(graph.eqns) if e.op.overwrite is not None]
    assert memory.may_overwrite(graph.eqns[i], i, in_spare=False) is may
    np.testing.assert_array_equal(tg.jit(f)(X), f(X))


def test_neighbours_are_what_the_caller_sees_in_the_same_memory() -> None:
    graph, memory = memory_of(lambda x, y: (x, z := x * y, z[1:], z, 2.0), X, X)
    (x, _), z = graph.inputs, graph.eqns[0].outputs[0]
    rows = graph.eqns[1].outputs[0]
    assert list(memory.neighbours(graph.outputs)) == [[x], [], [z], [z, rows], []]


def test_size() -> None:
    assert size_of(Var(graph_type((3, 2))).type) == 48 and size_of(graph_type(())) == 0


def graph_type(shape: tuple[int, ...]) -> Any:
    return tg.make_graph(lambda: np.zeros(shape))().out_types[0]


# ---------------------------------------------------------------------------------------------------------------------
# What programs give away.

Y = np.array([0.3, -1.2, 2.0])


@pytest.mark.parametrize("size", [3, 5000])
def test_results_share_memory_with_nothing(size: int) -> None:
    x = np.linspace(-1.0, 1.0, size)
    held = np.linspace(0.0, 1.0, size)

    @tg.jit
    def f(x: Any) -> Any:
        y = x * 2.0
        z = np.sin(y)
        return [x, x, y, y, y[::-1], y.reshape(1, -1), z + y, held, held.T, np.broadcast_to(z, (2, size)), -z]

    old, kept = x.copy(), held.copy()
    first = f(x)
    copies = [r.copy() for r in first]
    for r in first:
        assert r.flags.writeable
        assert not np.shares_memory(r, x)
        assert not np.shares_memory(r, held)
    for i, a in enumerate(first):
        for b in first[i + 1 :]:
            assert not np.shares_memory(a, b)
    same_bits(f(x), copies)  # and a later call leaves the results of this one alone
    same_bits(first, copies)
    for r in first:
        r[...] = 7.0
    same_bits(f(x), copies)
    same_bits([x, held], [old, kept])


def test_arrays_that_are_closed_over_are_read_anew() -> None:
    c = np.array([1.0, 2.0, 3.0])
    f = tg.jit(lambda x: x * c)
    same_bits(f(Y), Y * c)
    c[0] = 100.0
    same_bits(f(Y), Y * c)


def peak(f: Callable[[], Any]) -> int:
    f()
    tracemalloc.start()
    f()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_a_training_step_needs_no_more_memory_than_one_by_hand() -> None:
    sizes, points = (784, 512, 512, 10), 128
    args = network_data(sizes, points, "float32")
    step = tg.jit(network_step(LIBRARIES["tracegrad"][1]()))
    assert peak(lambda: step(*args)) <= peak(lambda: deep_by_hand(*args))


def test_arrays_without_axes_are_the_callers_own_too() -> None:
    x = np.array(0.5)
    for f in (
        lambda x: x, lambda x: (x, x), lambda x: x.reshape(1, 1), lambda x: np.broadcast_to(x, (2,)), lambda x: (x * 2.0, x),
        lambda x: np.reshape(np.reshape(x, (1,)), ()),
    ):  # fmt: skip
        results = tg.tree.leaves([tg.jit(f)(x), tg.jit(f)(x)])
        arrays = [r for r in results if isinstance(r, np.ndarray)]
        assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in [x, *arrays[i + 1 :]])
    assert (tg.jit(lambda x: x)(2.0), type(tg.jit(lambda x: x)(np.float64(2.0)))) == (2.0, np.float64)


CALLS = """
import resource
import numpy as np, tracegrad as tg

f = tg.jit(lambda x: np.sin(x)[::-1] + np.cos(x)[1] * np.exp(x)[:, ::-1])
x = np.ones((500, 500))
for _ in range(5):
    f(x)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    f(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_memory_that_a_call_frees_is_kept_for_the_next() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    found = subprocess.run(
        [sys.executable, "-c", CALLS], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    assert int(found.stdout) < 20 * 50  # pages; one result alone has 489
