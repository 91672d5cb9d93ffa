"""Memory that is made once for a run of a loop. Arrays of 2 KB and more are what it is made for."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.lower.numpy.steps import prepared

jax.config.update("jax_enable_x64", True)


# Memory that is made once for a run of a loop. Arrays of 2 KB and more are what it is made for.
def _swapped(c: Any) -> Any:
    return {"a": c["b"], "b": np.tanh(c["a"]) * c["b"] + c["b"]}


def _turned(c: Any) -> Any:
    return {"a": np.sin(c["a"]) * c["b"] + c["a"], "b": np.cos(c["b"] + c["a"])}


def _viewed(c: Any) -> Any:
    a = np.sin(c["a"]) + c["b"]
    return {"a": a, "b": a.T}


def _kept(c: Any) -> Any:
    return {"a": np.sin(c["a"]) @ c["b"] * 0.1, "b": c["b"]}


def _multiplied(c: Any) -> Any:
    return {"a": (c["a"] @ c["b"]) @ c["a"] * 0.01, "b": (c["b"] @ c["a"]).T * 0.01}


def _twice(c: Any) -> Any:
    a = np.sin(c["a"] * c["b"])
    return {"a": a, "b": a}


@pytest.mark.parametrize("size", [4, 24, 400])
@pytest.mark.parametrize("body", [_swapped, _turned, _viewed, _kept, _multiplied, _twice])
def test_carries_in_memory_made_once(body: Any, size: int) -> None:
    rng = np.random.default_rng(0)
    start = {"a": rng.normal(size=(size, size)), "b": rng.normal(size=(size, size))}
    before = {k: v.copy() for k, v in start.items()}
    for steps in (0, 1, 2, 5):
        expected = start
        rows = []
        for _ in range(steps):
            rows.append(expected["a"])
            expected = body(expected)
        by_scan = tg.jit(lambda c, n=steps: tg.lax.scan(lambda c, _: (body(c), c["a"]), c, None, length=n))
        (got, stacked), again = by_scan(start), by_scan(start)
        by_while = tg.lax.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, body(s[1])), (0, start))[1]
        for k in start:
            np.testing.assert_array_equal(got[k], expected[k])
            np.testing.assert_array_equal(again[0][k], expected[k])
            np.testing.assert_array_equal(by_while[k], expected[k])
            np.testing.assert_array_equal(start[k], before[k])
        np.testing.assert_array_equal(stacked, np.reshape(rows, (steps, size, size)))
        arrays = [*got.values(), *again[0].values(), stacked, again[1], *by_while.values(), *start.values()]
        assert not any(np.shares_memory(x, y) for i, x in enumerate(arrays) for y in arrays[i + 1 :])


@pytest.mark.numpy("2.3.0")
def test_a_step_computes_in_memory_made_before() -> None:
    def body(c: Any, x: Any) -> Any:
        c = np.tanh(np.sin(c) @ c * 0.01 + x * c)
        return c, c * 2.0

    graph = tg.make_graph(lambda c, xs: tg.lax.scan(body, c, xs))(np.full((64, 64), 0.1), np.full((5, 64, 64), 0.2))
    (scan,) = graph.eqns
    turned, step = prepared(scan.params["body"], 1)
    assert turned == [0]
    made = [line.split("#")[0].split(";")[0].strip() for line in step.source.split("\n") if "  # test_steps" in line]
    targets = [line[:-1].split(", ")[-1] for line in made]
    assert targets == ["spare0", "spare1", "d", "c", "e", "out0", "out1"], step.source


# How arrays lie decides which function multiplies small matrices.
def _product_step(c: Any, x: Any, w: Any) -> Any:
    c = np.tanh(w @ c + x @ w.T)
    return c, np.linalg.solve(np.eye(4) + 0.1 * c, x) @ c


def _in_order(x: Any, how: str) -> Any:
    if how == "C":
        return x
    if how == "F":
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    return np.repeat(x, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize("of_constant", ["C", "F", "gaps"])
@pytest.mark.parametrize("of_carry", ["C", "F", "gaps"])
@pytest.mark.parametrize("of_element", ["C", "F", "gaps"])
def test_steps_on_arrays_that_lie_anyhow(of_constant: str, of_carry: str, of_element: str) -> None:
    rng = np.random.default_rng(0)
    w, c, xs = rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), rng.normal(size=(3, 4, 4))
    w, carry, xs = _in_order(w, of_constant), _in_order(c, of_carry), _in_order(xs, of_element)
    f = lambda w, c, xs: tg.lax.scan(lambda c, x: _product_step(c, x, w), c, xs)
    expected, rows = carry, []
    for x in xs:
        expected, row = _product_step(expected, x, w)
        rows.append(row)
    for function in (f, tg.jit(f)):
        for _ in range(2):
            got, stacked = function(w, carry, xs)
            np.testing.assert_array_equal(got, expected)
            np.testing.assert_array_equal(stacked, rows)


def test_steps_multiply_small_matrices_by_dot() -> None:
    w, c, xs = np.full((4, 4), 0.1), np.full((4, 4), 0.2), np.full((3, 4, 4), 0.3)
    graph = tg.make_graph(lambda w, c, xs: tg.lax.scan(lambda c, x: _product_step(c, x, w), c, xs))(w, c, xs)
    (body,) = [e.params["body"] for e in graph.eqns if e.op.name == "scan"]
    programs = [
        prepared(body, 1, (strides,) * 3)[1].source for strides in (None, (4, 1), (1, 4))
    ]  # w, its transpose, I
    assert [source.count(".dot(") for source in programs] == [1, 3, 3]
    assert all("if not (a.flags.c_contiguous and b.flags.c_contiguous)" in source for source in programs[1:])
    of_known_elements = prepared(body, 1, ((4, 1),) * 4)[1].source
    assert of_known_elements.count(".dot(") == 3 and "if not (a.flags.c_contiguous):" in of_known_elements
