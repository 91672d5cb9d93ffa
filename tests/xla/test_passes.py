"""The passes for XLA that make few large products of many small ones: the expected equations, and unchanged values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracegrad as tg
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.lower.passes import simplify
from tracegrad.xla.passes import merge_products, merge_rows, name_extremes, solve_by_triangles

RNG = np.random.default_rng(0)


def merged(
    f: Callable[..., Any], *args: Any, by: Callable[[Graph], Graph] = lambda graph: merge_products(merge_rows(graph))
) -> Counter[str]:
    """How often each op occurs in the merged Graph, which is held against the one that it is made of."""
    graph = simplify(tg.make_graph(f)(*args))
    found = by(graph)
    check(found)
    for got, expected in zip(found(*args), graph(*args), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    return ops(found)


def ops(graph: Graph) -> Counter[str]:
    return Counter([e.op.name for e in graph.eqns])


def test_the_gradient_of_an_unrolled_loop() -> None:
    def loss(p: Any, xs: Any) -> Any:
        h = np.zeros((2, 3))
        for x in xs:
            h = np.tanh(h @ p["w"] + x @ p["u"] + p["b"])
        return np.sum(h * h)

    params = {"w": RNG.normal(size=(3, 3)), "u": RNG.normal(size=(4, 3)), "b": RNG.normal(size=3)}
    xs = RNG.normal(size=(8, 2, 4))
    leaves, structure = tg.tree.flatten(params)
    gradient = lambda *flat: tuple(tg.tree.leaves(tg.grad(loss)(tg.tree.unflatten(structure, flat[:-1]), flat[-1])))
    found = merged(gradient, *leaves, xs)
    # Forward: x @ u of two steps at once, and each h @ w. Backward: each product with w, one for u, one and a last for w.
    assert found["matmul"] == (4 + 8 + 1) + (7 + 1 + 1)
    assert (found["sum"], found["reshape"], found["concatenate"]) == (1, 1, 3)


def test_what_is_left_alone() -> None:
    a = [RNG.normal(size=(3, 2)) for _ in range(6)]
    b = [RNG.normal(size=(2, 3)) for _ in range(6)]
    few = lambda *ab: ab[0] @ ab[3] + ab[1] @ ab[4] + ab[2] @ ab[5]
    assert merged(few, *a[:3], *b[:3]) == {"matmul": 3, "add": 2}

    def read_elsewhere(*ab: Any) -> Any:
        products = [x @ y for x, y in zip(ab[:6], ab[6:], strict=True)]
        return products[0] + products[1] + products[2] + products[3] + products[4] + products[5], np.sin(products[3])

    assert merged(read_elsewhere, *a, *b) == {"matmul": 2, "concatenate": 2, "add": 1, "sin": 1}
    # Factors larger than the products would have to be held until the end.
    long = [RNG.normal(size=(2, 50)) for _ in range(4)]
    total = lambda *x: x[0] @ x[0].T + x[1] @ x[1].T + x[2] @ x[2].T + x[3] @ x[3].T
    assert merged(total, *long)["concatenate"] == 0


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.data())
def test_sums_of_products_of_any_kind(data: Any) -> None:
    count = data.draw(st.integers(2, 9))
    shapes = data.draw(st.lists(st.sampled_from([(2, 2), (2, 3), (3, 2), (1, 2)]), min_size=count, max_size=count))
    arrays = [RNG.normal(size=shape) for shape in shapes]
    turns = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    nested = data.draw(st.booleans())

    def f(*arrays: Any) -> Any:
        terms = []
        for x, turn in zip(arrays, turns, strict=True):
            left = x.T if x.shape[0] != 2 else x
            right = left.T if turn % 2 else np.ones((left.shape[1], 2))
            terms.append(np.sin(left) @ right if turn < 3 else np.broadcast_to(np.sum(x), (2, 2)))
        total = terms[0]
        for t in terms[1:]:
            total = t + total if nested else total + t
        return total, np.sum(total)

    merged(f, *arrays)


def test_rows_of_one_array() -> None:
    of = partial(merged, by=merge_rows)
    xs, w, v = RNG.normal(size=(10, 10, 4)), RNG.normal(size=(4, 3)), RNG.normal(size=4)
    # Three at once, and the last alone.
    expected = {"matmul": 4, "slice": 4 + 9}
    for f in (
        lambda xs, w: tuple([xs[t] @ w for t in range(10)]),
        lambda xs, w: tuple([xs[t] @ w for t in reversed(range(10))]),
        lambda xs, w: tuple([xs[:, t] @ w for t in range(10)]),
    ):
        assert of(f, xs, w) == expected
    assert of(lambda xs, v: tuple([xs[t] @ v for t in range(10)]), xs, v) == expected
    assert of(lambda xs, w: tuple([xs[t] @ w for t in range(10)]), xs[0], w) == expected
    assert of(lambda xs, w: tuple([xs[t] @ w.T for t in range(10)]), xs, w.T)["matmul"] == 4
    # Rows that are read here and there, of few steps, along the axis that is summed over, or with one factor each.
    assert of(lambda xs, w: tuple([xs[t] @ w for t in (0, 1, 2, 5, 7, 8, 9, 3, 6)]), xs, w)["matmul"] == 2 + 3
    assert of(lambda xs, w: tuple([xs[t] @ w for t in range(3)]), xs, w) == {"matmul": 3, "slice": 3}
    assert of(lambda xs, w: tuple([xs[:, :, t] @ w for t in range(4)]), xs, RNG.normal(size=(10, 3)))["matmul"] == 4
    assert of(lambda xs, w: tuple([xs[t] @ w[t] for t in range(9)]), xs, RNG.normal(size=(9, 4, 2)))["matmul"] == 9
    assert of(lambda xs, w: tuple([w @ xs[t] for t in range(9)]), xs, RNG.normal(size=(3, 10)))["matmul"] == 9


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.data())
def test_rows_in_any_order(data: Any) -> None:
    size = data.draw(st.integers(1, 12))
    axis = data.draw(st.integers(0, 1))
    places = data.draw(st.lists(st.integers(-size, size - 1), max_size=20))
    xs, w = RNG.normal(size=(2, size, 3) if axis else (size, 2, 3)), RNG.normal(size=(2, 3, 3))

    def f(xs: Any, w: Any) -> Any:
        h = np.zeros((2, 3))
        for i, t in enumerate(places):
            h = np.tanh(h @ w[0] + (xs[:, t] if axis else xs[t]) @ w[i % 2])
        return h, np.sum(h)

    merged(lambda xs, w: tuple(tg.tree.leaves(tg.value_and_grad(lambda w: f(xs, w)[1])(w))), xs, w)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_which_backend_merges(backend: str) -> None:
    if backend == "xla":
        pytest.importorskip("jax")
    xs, ys = RNG.normal(size=(2, 6, 3, 3))
    f = tg.jit(lambda xs, ys: reduce(np.add, [x @ y for x, y in zip(xs, ys, strict=True)]), backend=backend)
    np.testing.assert_allclose(f(xs, ys), np.sum(xs @ ys, 0), rtol=1e-12)
    assert ops(f.lower(xs, ys).graph)["matmul"] == (1 if backend == "xla" else 6)


@pytest.mark.parametrize("extreme", [np.max, np.min, np.nanmax, np.nanmin])
def test_every_maximum_is_somebodys(extreme: Any, jax: Any) -> None:
    """XLA rounds a product and a sum once where it looks for the maximum, twice where it asks which element that is."""

    def sweeps(u: Any, discount: Any, values: Any) -> Any:
        for _ in range(2):
            values = extreme(u + discount * values, axis=1)
        return np.sum(values * np.arange(6.0))

    gradient = tg.grad(sweeps, (0, 1, 2))
    jitted = tg.jit(gradient, backend="xla")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        args = rng.normal(size=(6, 6)), 0.95, rng.normal(size=6)
        for got, expected in zip(jitted(*args), gradient(*args), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axis", [None, 0, 1, 2, (0, 2), (1, 2)])
def test_extremes_are_named_along_all_axes(axis: Any) -> None:
    x = RNG.normal(size=(2, 3, 4))
    x[1, 2] = x[0, 1, 3] = np.max(x)
    for extreme, search in ((np.max, "argmax"), (np.min, "argmin")):
        found = merged(tg.grad(lambda x, f=extreme: np.sum(np.sin(f(x, axis)))), x, by=name_extremes)
        assert found[search] == 1


def test_other_comparisons_are_left_alone() -> None:
    x = RNG.normal(size=(3, 4))
    assert merged(lambda x: x < np.max(x), x, by=name_extremes)["argmax"] == 1
    for f in (lambda x: x + 1 < np.max(x), lambda x: x > np.max(x), lambda x: np.max(x) < x, lambda x: x <= np.max(x)):
        assert not merged(f, x, by=name_extremes)["argmax"]


@pytest.mark.parametrize("dtype", ["f", "d", "F", "D"])
@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_systems_of_cholesky_factors_are_triangular(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(2, 4, 4)) + 1j * rng.normal(size=(2, 4, 4))).astype("D")
    a, b = [x.astype(dtype) if dtype in "FD" else x.real.astype(dtype) for x in (a @ a.conj().T + 4 * np.eye(4), b)]
    b = b.reshape(-1)[: np.prod(shape)].reshape(shape)

    def both(a: Any, b: Any) -> Any:
        factor = np.linalg.cholesky(a)
        return np.linalg.solve(factor, b), np.linalg.solve(factor.T, b), np.linalg.solve(factor.T.T, b)

    graph = solve_by_triangles(simplify(tg.make_graph(both)(a, b)))
    check(graph)
    assert Counter(e.op.name for e in graph.eqns)["triangular_solve"] == 2
    assert "solve" not in {e.op.name for e in graph.eqns}
    for got, expected in zip(graph(a, b), both(a, b), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-4 if dtype in "fF" else 1e-12)
        assert got.dtype == expected.dtype and got.shape == expected.shape


def test_other_systems_are_solved_as_they_are() -> None:
    def others(a: Any, b: Any) -> Any:
        factors = np.linalg.cholesky(np.stack([a, a]))
        return np.linalg.solve(a, b), np.linalg.solve(factors, b), np.linalg.solve(np.linalg.cholesky(a), factors)

    graph = simplify(tg.make_graph(others)(2 * np.eye(3), np.ones((3, 3))))
    assert Counter(e.op.name for e in solve_by_triangles(graph).eqns)["solve"] == 3
