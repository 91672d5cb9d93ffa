"""What the steps of a loop only add up or give out is computed behind the loop, to the same bits."""

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
from tracegrad.lower.passes import ahead_of_loops, simplify
from tracegrad.transforms.control import behind

RNG = np.random.default_rng(0)
STEPS = behind.FEW
ROWS = RNG.normal(size=(STEPS, 3)) * 10.0 ** RNG.integers(-8, 8, (STEPS, 3))
START = RNG.normal(size=3)


def in_two(f: Callable[..., Any], *args: Any) -> tuple[list[str], list[str]]:
    """The ops that a function has in the steps of its loop and those behind it, after a look at whether it is still the function."""
    before = simplify(tg.make_graph(f)(*args))
    graph = ahead_of_loops(before)
    check(graph)
    assert ahead_of_loops(graph) is graph  # there is nothing left to be moved
    same_bits(graph(*args), before(*args))
    same_bits(tg.jit(f)(*args), f(*args))
    place = [e.op.name for e in graph.eqns].index("scan")
    body: Graph = graph.eqns[place].params["body"]
    return [e.op.name for e in body.eqns], [e.op.name for e in graph.eqns[place + 1 :]]


def scanned(step: Callable[[Any, Any], Any], start: Any, reverse: bool = False) -> Callable[..., Any]:
    return lambda xs: tg.lax.scan(step, start, xs, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_steps_add_up_is_added_up_behind_them(reverse: bool) -> None:
    def step(c: Any, x: Any) -> Any:
        state, total = c
        state = np.tanh(state * 0.5 + x)
        return (state, total + np.exp(state) * x), None

    inner, after = in_two(scanned(step, (START, START), reverse), ROWS)
    assert inner == ["multiply", "add", "tanh"]
    assert after == ["exp", "multiply", "in_c_order", "sum_of_steps"]


@pytest.mark.parametrize("reverse", [False, True])
def test_what_steps_give_out_and_nobody_in_them_reads_is_computed_behind_them(reverse: bool) -> None:
    def step(c: Any, x: Any) -> Any:
        new = np.sin(c) * 2.0 + x
        return new, (np.cos(c), np.arctan(new))

    inner, after = in_two(scanned(step, START, reverse), ROWS)
    assert inner == ["sin", "multiply", "add"]
    assert sorted(after) == ["arctan", "before_steps", "cos", "in_c_order", "in_c_order"]


def test_what_a_carry_was_before_each_step_it_was_after_the_one_before() -> None:
    def step(c: Any, x: Any) -> Any:
        a, b = c
        return (a * 0.5 + x, b * 2.0), (a, b, a)

    for reverse in (False, True):
        *_, after = in_two(scanned(step, (START, 2 * START), reverse), ROWS)
        assert after == ["before_steps"]  # `a` is given out twice


def test_sums_have_the_bits_of_the_steps() -> None:
    """One by one from the first, however NumPy adds up many."""
    for shape in ((2,), (1,), (), (7,), (2, 1), (1, 3), (4, 4), (129,)):
        for dtype in ("float16", "float32", "float64", "int32"):
            start = np.asarray(RNG.normal(size=shape) * 100, dtype)
            rows = np.asarray(RNG.normal(size=(301, *shape)) * 100, dtype)
            for reverse in (False, True):
                total = start
                for row in rows[::-1] if reverse else rows:
                    total = total + row
                same_bits(behind._sum_of_steps(start, rows, reverse=reverse), total)
    zeros = np.full((40, 3), -0.0)
    assert not np.signbit(behind._sum_of_steps(np.zeros(3), zeros, reverse=False)).any()
    assert np.signbit(behind._sum_of_steps(-np.zeros(3), zeros, reverse=False)).all()


def test_what_is_read_in_the_steps_stays() -> None:
    def read(c: Any, x: Any) -> Any:
        state, total = c
        return (state * 0.5 + total, total + x), None

    def given(c: Any, x: Any) -> Any:
        total = c + x * 2.0
        return total, total

    def twice(c: Any, x: Any) -> Any:
        a, b = c
        total = a + np.sin(b)
        return (total, total), None

    def itself(c: Any, x: Any) -> Any:
        return c + c, None

    for step, start in ((read, (START, START)), (given, START), (twice, (START, START)), (itself, START)):
        assert "sum_of_steps" not in in_two(scanned(step, start), ROWS)[1]


def test_few_steps_and_large_arrays_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(c: Any, x: Any) -> Any:
        state, total = c
        state = np.sin(state)
        return (state, total + np.exp(state)), np.cos(state)

    f = scanned(step, (START, START))
    assert len(in_two(f, ROWS)[1]) == 5
    assert in_two(f, ROWS[1:])[1] == []
    monkeypatch.setattr(behind, "SMALL", 16)
    assert in_two(scanned(lambda c, x: step(c, x), (START, START)), ROWS)[1] == []
    monkeypatch.undo()
    monkeypatch.setattr(behind, "TOGETHER", 100)
    assert in_two(scanned(lambda c, x: step(c, x), (START, START)), ROWS)[1] == []


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "complex128"])
def test_bits_are_those_of_the_steps_for_all_dtypes_and_layouts(dtype: str) -> None:
    xs = (RNG.normal(size=(STEPS, 3, 4)) * 3).astype(dtype)

    def f(xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            state, total = c
            new = state * x - x[::-1] * 3
            return (new % 7 if dtype != "complex128" else new / 9, total + np.abs(new * x)), (state.T * 2, new[:, 1])

        return tg.lax.scan(step, (xs[0], np.abs(xs[1])), xs, reverse=True)

    for given in (xs, np.asfortranarray(xs), np.moveaxis(xs.transpose(2, 1, 0).copy(), 0, 2), xs[:, ::-1], xs[::-1]):
        same_bits(tg.jit(f)(given), f(given))


def test_gradients_by_steps_have_their_bits_and_their_memory_is_the_callers() -> None:
    def loss(w: Any, xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            c = np.tanh(c * w + x)
            return c, np.sin(c)

        last, given = tg.lax.scan(step, np.zeros(3), xs)
        return np.sum(last) + np.sum(given * given)

    inner, after = in_two(tg.grad(loss), START, ROWS)
    assert "sum_of_steps" in after
    same_bits(tg.jit(tg.hessian(loss))(START, ROWS), tg.hessian(loss)(START, ROWS))
    f = tg.jit(scanned(lambda c, x: (c * 0.5, (c, np.exp(c))), START))
    last, (before, made) = f(ROWS)
    assert not any([np.shares_memory(a, b) for a, b in ((last, before), (last, made), (before, made))])
    assert before.flags.c_contiguous and made.flags.c_contiguous and before.flags.writeable and made.base is None


def test_warnings_are_those_of_the_steps() -> None:
    def logs(c: Any, x: Any) -> Any:
        state, total = c
        return (state * x, total + state * 1e200), np.log(state)

    zero = np.ones_like(ROWS)
    zero[5, 1] = 0.0
    zero[9, 2] = 1e200
    for f in (scanned(logs, (1 + START**2, START)), tg.jit(scanned(logs, (1 + START**2, START)))):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("default")
            f(zero)
        assert {(str(w.message), w.filename) for w in told} == {
            ("divide by zero encountered in log", __file__),
            ("overflow encountered in multiply", __file__),
        }

    def adds(total: Any, x: Any) -> Any:
        return total + x * 1e300, None

    with pytest.warns(RuntimeWarning, match="overflow encountered in add"):
        tg.jit(scanned(adds, START))(np.full((STEPS, 3), 1e8))
