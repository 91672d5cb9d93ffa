"""Lines that are the same for many small arrays are run for all of them together, to the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.lower.numpy import lanes
from tracegrad.lower.numpy.lanes import FEW, side_by_side

RNG = np.random.default_rng(0)
LEAVES = [RNG.normal(size=(3, 4)) for _ in range(FEW)]


def adam(p: Any, m: Any, v: Any, g: Any) -> Any:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p - 1e-3 * (m / 0.19) / (np.sqrt(v / 0.002) + 1e-8), m, v


def step(*arrays: Any) -> Any:
    lanes = zip(*[arrays[i::4] for i in range(4)], strict=True)
    return [x for lane in lanes for x in adam(*lane)]


def states(shape: Any, dtype: Any = float, lanes: int = FEW) -> list[Any]:
    return [np.abs(RNG.normal(size=shape)).astype(dtype) for _ in range(4 * lanes)]


def laid(f: Callable[..., Any], *args: Any) -> list[str]:
    """The ops of a function whose lanes are side by side, after a look at whether it is still the function."""
    graph = tg.make_graph(f)(*args)
    found, _ = side_by_side(graph)
    check(found)
    same_bits(found(*args), graph(*args))
    return [e.op.name for e in found.eqns]


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 1)])
def test_a_step_of_many_small_arrays_is_one_of_all(shape: Any, dtype: str) -> None:
    args = states(shape, dtype)
    names = laid(step, *args)
    assert names.count("concatenate") == 4 and names.count("sqrt") == 1 and names.count("cut") == 3 * FEW
    f = tg.jit(step)
    results = f(*args)
    same_bits(results, step(*args))
    assert all([x.flags.owndata and x.flags.c_contiguous for x in results])
    for other in ([np.asfortranarray(x) for x in args], [np.repeat(x, 2, -1)[..., ::2] for x in args]):
        same_bits(f(*other), step(*other))
        assert [x.strides for x in f(*other)] == [x.strides for x in step(*other)]


def test_arrays_of_several_shapes_are_laid_beside_their_like() -> None:
    args = [x for _ in range(FEW) for shape in [(3, 4), (7,)] for x in states(shape, lanes=1)]
    assert laid(step, *args).count("sqrt") == 2
    same_bits(tg.jit(step)(*args), step(*args))


def test_many_are_laid_together_in_several_sets() -> None:
    args = states((16, 32), lanes=40)
    assert laid(step, *args).count("sqrt") == 3
    same_bits(tg.jit(step)(*args), step(*args))


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (step, states((3, 4), lanes=FEW - 1)),  # few
        (step, states((32, 32))),  # large
        (step, states(())),  # numbers
        (lambda *xs: [2.0 * x for x in xs], LEAVES),  # little to do
        (lambda *xs: [np.sqrt(np.sqrt(np.sqrt(abs(x) + k) * 2.0)) for k, x in enumerate(xs)], LEAVES),  # not alike
        (lambda *xs: [np.sqrt(np.sqrt(np.sqrt(abs(x) + (0.0 if k % 2 else -0.0)))) for k, x in enumerate(xs)], LEAVES),
    ],
)
def test_what_stays_as_it_is(f: Any, args: Any) -> None:
    assert "concatenate" not in laid(f, *args)


def test_a_lane_that_waits_for_another_is_not_laid_beside_it() -> None:
    def clipped(*xs: Any) -> Any:
        halves = [np.sqrt(abs(x)) * 0.5 for x in xs]
        size = np.sqrt(sum([np.sum(h * h) for h in halves]))
        return [np.sqrt(np.sqrt(h / size + 1.0) * 3.0 - 1.0) for h in halves]

    def in_turn(*xs: Any) -> Any:
        results, total = [], np.float64(1.0)
        for x in xs:
            results.append(np.sqrt(np.sqrt(abs(x * total) + 1.0) * 3.0 - 1.0))
            total = np.sum(results[-1])
        return results

    def behind(*xs: Any) -> Any:
        size = np.sqrt(sum([np.sum(x * x) for x in xs]))
        return [np.sqrt(np.sqrt(abs(x) / size + 1.0) * 3.0 - 1.0) for x in xs]

    assert "concatenate" not in laid(clipped, *LEAVES) + laid(in_turn, *LEAVES)
    assert laid(behind, *LEAVES).count("concatenate") == 1
    for f in (clipped, in_turn, behind):
        same_bits(tg.jit(f)(*LEAVES), f(*LEAVES))


def test_what_lies_in_another_order_stays_as_it_is() -> None:
    def f(*xs: Any) -> Any:
        return [np.sqrt(np.sqrt(np.sqrt(abs(x.T) + 1.0) * 3.0 - 1.0) + 2.0) for x in xs]

    assert "concatenate" not in laid(f, *LEAVES)
    assert [x.strides for x in tg.jit(f)(*LEAVES)] == [x.strides for x in f(*LEAVES)]


def test_arrays_are_written_over_where_they_are_given_away_and_nothing_else_is() -> None:
    args = states((3, 4))
    before = [x.copy() for x in args]
    expected = step(*args)
    same_bits(tg.jit(step)(*args), expected)
    same_bits(args, before)
    same_bits(tg.jit(step, donate_argnums=tuple(range(len(args))))(*args), expected)


def test_warnings_have_the_users_line_and_tools_know_these_programs() -> None:
    def f(*xs: Any) -> Any:
        return [np.sqrt(np.sqrt(np.sqrt(x) + 1.0) * 3.0) for x in xs]

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        tg.jit(f)(*[-abs(x) for x in LEAVES])
    assert found and all([w.filename == __file__ for w in found])
    assert "sqrt" in str(tg.debug.cost(f, *LEAVES))
    assert isinstance(tg.jit(step).lower(*states((5,))).graph, Graph)


def test_a_lane_that_reads_what_is_made_between_lanes_of_another_set() -> None:
    """Sets find their places for themselves: what one makes may reach another by way of what is in no lane."""

    def f(*xs: Any) -> Any:
        first = [np.sqrt(np.sqrt(abs(x) + 1.0) * 3.0 - 1.0) + 0.5 for x in xs]
        return [np.sqrt(np.sqrt(h.sum(0) * 2.0 + 1.0) + 3.0) * 0.5 for h in first]

    def mixed(*xs: Any) -> Any:
        results = []
        for x in xs:
            h = np.sqrt(np.sqrt(abs(x) + 1.0) * 3.0 - 1.0) + 0.5
            results.append(np.sqrt(np.sqrt(h.sum(0) * 2.0 + 1.0) + 3.0) * 0.5)
        return results

    assert laid(f, *LEAVES).count("concatenate") == 2
    assert laid(mixed, *LEAVES).count("concatenate") == 2
    for g in (f, mixed):
        same_bits(tg.jit(g)(*LEAVES), g(*LEAVES))


def test_each_equation_is_looked_at_as_often_however_many_sets_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    for name in ("_fits", "_key", "_begin"):
        plain = getattr(lanes, name)
        monkeypatch.setattr(lanes, name, lambda *args, f=plain, name=name: (looked.append(name), f(*args))[1])
    updates: list[int] = []
    update = lanes.Layouts.update
    monkeypatch.setattr(
        lanes.Layouts, "update", lambda self, eqns: update(self, [(updates.append(1), item)[1] for item in eqns])
    )
    many = 20
    args = [x for n in range(1, many + 1) for x in states((n,))]
    graph = tg.make_graph(step)(*args)
    found, _ = side_by_side(graph)
    assert sum(e.op.name == "sqrt" for e in found.eqns) == many
    size = len(graph.eqns)
    counts = {name: looked.count(name) for name in ("_fits", "_key", "_begin")}
    assert counts == {"_fits": size, "_key": many * FEW, "_begin": many}
    assert len(updates) == size
