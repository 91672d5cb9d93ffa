"""What the steps of a loop need not compute is computed ahead of the loop, to the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.lower.passes import ahead_of_loops, simplify
from tracegrad.transforms.control import ahead

RNG = np.random.default_rng(0)
STEPS = 5
MATRICES = RNG.normal(size=(STEPS, 2, 2))
ROWS = RNG.normal(size=(STEPS, 3))
LARGE = RNG.normal(size=(STEPS, 3, 3)) + 3 * np.eye(3)


def in_two(f: Callable[..., Any], *args: Any) -> tuple[list[str], list[str]]:
    """The ops that a function has ahead of its loop and those that it has in the steps, after a look at whether it is still the
    function."""
    before = simplify(tg.make_graph(f)(*args))
    graph = ahead_of_loops(before)
    check(graph)
    same_bits(graph(*args), before(*args))
    same_bits(tg.jit(f)(*args), f(*args))
    place = [e.op.name for e in graph.eqns].index("scan")
    body: Graph = graph.eqns[place].params["body"]
    return [e.op.name for e in graph.eqns[:place]], [e.op.name for e in body.eqns]


def scanned(step: Callable[[Any, Any], Any], start: Any = None) -> Callable[..., Any]:
    return lambda xs: tg.lax.scan(step, np.zeros(3) if start is None else start, xs)


def test_what_is_of_elements_alone_is_computed_for_all_of_them() -> None:
    def step(c: Any, x: Any) -> Any:
        return c * 0.5 + np.exp(np.sin(x)) * 3.0, None

    first, inner = in_two(scanned(step), ROWS)
    assert first == ["sin", "exp", "multiply", "in_c_order"] and inner == ["multiply", "add"]


def test_matrices_are_inverted_in_one_call() -> None:
    def step(c: Any, a: Any) -> Any:
        return c + np.linalg.inv(a)[0, 0] * np.linalg.solve(a, a.T * 2.0) @ c, None

    for stack in (MATRICES, LARGE):
        first, inner = in_two(scanned(step, np.ones(len(stack[0]))), stack)
        assert {"inv", "solve"} <= set(first) and not {"inv", "solve"} & set(inner)


def test_systems_of_one_matrix_are_not_put_together() -> None:
    """Of many right-hand sides LAPACK rounds otherwise."""
    a = LARGE[0]

    def f(xs: Any, a: Any) -> Any:
        return tg.lax.scan(lambda c, x: (c * np.linalg.solve(a, x) + np.linalg.inv(a)[0], None), np.ones(3), xs)

    first, inner = in_two(f, ROWS, a)
    assert "inv" in first and "solve" in inner and "inv" not in inner


def test_what_is_the_same_in_each_step_is_computed_once() -> None:
    def f(xs: Any, w: Any) -> Any:
        return tg.lax.scan(lambda c, x: (np.tanh(w) @ c + x, None), np.zeros(3), xs)

    first, inner = in_two(f, ROWS, LARGE[0])
    assert first == ["tanh"] and "tanh" not in inner


def test_a_carry_that_no_step_changes_is_a_constant() -> None:
    def f(xs: Any, k: Any) -> Any:
        return tg.lax.scan(lambda c, x: ((c[0] + np.exp(c[1]) * x, c[1]), c[1]), (np.zeros(3), k), xs)

    for k in (np.array(2.0), RNG.normal(size=3)):
        first, inner = in_two(f, ROWS, k)
        assert "exp" in first and "exp" not in inner
        (_, kept), _ = tg.jit(f)(ROWS, k)
        assert kept is not k and not np.shares_memory(kept, k)


def test_what_hangs_on_the_carry_or_would_lie_otherwise_stays() -> None:
    def products(c: Any, a: Any) -> Any:  # BLAS rounds those of many otherwise
        return c + a @ a, None

    def turned(c: Any, a: Any) -> Any:
        return c + np.sum(np.exp(a.T)), a.T * 2.0

    def own(c: Any, x: Any) -> Any:
        return np.exp(c) * 0.1 + x, None

    assert in_two(scanned(products, np.zeros((3, 3))), LARGE)[0] == []
    assert "multiply" in in_two(scanned(turned, 0.0), LARGE)[1]
    assert in_two(scanned(own), ROWS)[0] == []


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "complex128"])
def test_bits_are_those_of_the_steps_for_all_dtypes_and_layouts(dtype: str) -> None:
    xs = (RNG.normal(size=(STEPS, 3, 4)) * 3).astype(dtype)

    def f(xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            y = x * x - x[::-1] * 3
            return c + np.sum(y, axis=0) + np.sum(np.abs(y)), (y * 2)[:, 1]

        return tg.lax.scan(step, np.zeros(4, dtype), xs, reverse=True)

    for given in (xs, np.asfortranarray(xs), np.moveaxis(xs.transpose(2, 1, 0).copy(), 0, 2), xs[:, ::-1], xs[::-1]):
        same_bits(tg.jit(f)(given), f(given))


def test_few_steps_and_large_arrays_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(c: Any, x: Any) -> Any:
        return c + np.exp(x * 2.0), None

    assert in_two(scanned(step), ROWS[: ahead.FEW - 1])[0] == []
    monkeypatch.setattr(ahead, "SMALL", 16)
    assert in_two(scanned(step), ROWS)[0] == []
    monkeypatch.undo()
    monkeypatch.setattr(ahead, "TOGETHER", 100)
    assert in_two(scanned(step), ROWS)[0] == []


def test_gradients_of_a_filter_have_the_bits_of_the_steps() -> None:
    def loss(w: Any, ys: Any) -> Any:
        def step(c: Any, y: Any) -> Any:
            mean, s = c
            s = w @ s @ w.T + np.eye(2)
            gain = np.linalg.solve(s, w)
            return (gain @ (y - mean), s - gain @ s @ gain.T), np.linalg.slogdet(s)[1]

        (mean, _), sizes = tg.lax.scan(step, (np.zeros(2), np.eye(2)), ys)
        return np.sum(mean * mean) + np.sum(sizes)

    args = MATRICES[0], ROWS[:, :2]
    same_bits(tg.jit(tg.grad(loss))(*args), tg.grad(loss)(*args))
    backward = [e for e in ahead_of_loops(simplify(tg.make_graph(tg.grad(loss))(*args))).eqns if e.op.name == "scan"][1]
    assert "inv" not in [e.op.name for e in backward.params["body"].eqns]


def test_errors_and_warnings_are_those_of_the_steps() -> None:
    def step(c: Any, a: Any) -> Any:
        return c + np.linalg.inv(a), None

    def logs(c: Any, x: Any) -> Any:
        return c + np.log(np.abs(x) * 2.0), None

    singular = MATRICES.copy()
    singular[3] = 1.0
    with pytest.raises(LinAlgError, match="Singular matrix"):
        tg.jit(scanned(step, np.zeros((2, 2))))(singular)
    zero = ROWS.copy()
    zero[2, 1] = 0.0
    for f in (scanned(logs), tg.jit(scanned(logs))):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("default")
            f(zero)
        assert [(str(w.message), w.filename) for w in told] == [("divide by zero encountered in log", __file__)]
