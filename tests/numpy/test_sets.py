"""Distinct values and sets: NumPy's results where values are known, jax's where `size=` says how many there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.ops.reduce import traced
from tests.sized import agrees_with_jax
from tracegrad.core.errors import ConcretizationTypeError

X, Y = np.array([3, 1, 3, 2, 1.0]), np.array([2, 3, 5, 6.0])
GRID = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]])
SETS = ["intersect1d", "union1d", "setdiff1d", "setxor1d"]
numbers = st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1.0, 2.5, np.inf, np.nan]), max_size=6).map(np.array)


def same(found: Any, expected: Any) -> None:
    found, expected = [x if isinstance(x, tuple) else (x,) for x in (found, expected)]
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@given(numbers, numbers, st.sampled_from([*SETS, "isin"]))
def test_sets_as_numpy(a: Any, b: Any, name: str) -> None:
    f = getattr(np, name)
    same(traced(lambda a: f(a, b), a.astype(float)), f(a.astype(float), b))
    same(traced(lambda b: f(a, b), b.astype(float)), f(a, b.astype(float)))


@given(numbers)
def test_distinct_values_as_numpy(x: Any) -> None:
    x = x.astype(float)
    same(traced(lambda x: np.unique(x, True, True, True), x), np.unique(x, True, True, True))
    for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values"):
        found, expected = traced(getattr(np, name), x), getattr(np, name)(x)
        assert type(found) is type(expected)
        if name == "unique_values":  # in what order, NumPy leaves open
            expected = np.sort(expected)
        same(found, expected)


@pytest.mark.parametrize(
    "options", [{"assume_unique": True}, {"return_indices": True}, {"assume_unique": True, "return_indices": True}]
)
def test_intersections(options: dict[str, bool]) -> None:
    a, b = np.array([3, 1, 2, 7]), np.array([2, 5, 1, 8, 9])
    same(traced(lambda a: np.intersect1d(a, b, **options), a), np.intersect1d(a, b, **options))
    same(traced(lambda b: np.intersect1d(a, b, **options), b), np.intersect1d(a, b, **options))


def test_membership() -> None:
    for x, others in [
        (GRID, [1]),
        (X, Y),
        (X, []),
        (X + 1j, [1 + 1j]),
        (GRID.astype(bool), [True]),
        (GRID.astype("u1"), [0, 300]),
    ]:
        for invert in (False, True):
            f = lambda x, others=others, invert=invert: np.isin(x, others, invert=invert)
            same(tg.jit(f)(x), f(x))
            same(tg.vmap(f)(x[None])[0], f(x))
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.where(np.isin(x, [3.0]), x**2, 0)))(X), [6, 0, 6, 0, 0])


@pytest.mark.parametrize("keywords", [{}, {"fill_value": -1}])
@pytest.mark.parametrize("size", [2, 6])
@pytest.mark.parametrize("name", SETS)
def test_sets_of_a_size(name: str, size: int, keywords: dict[str, Any]) -> None:
    agrees_with_jax(name, (X, Y), {"size": size, **keywords})


def test_distinct_values_of_a_size() -> None:
    for arguments, keywords in [
        ((X, True, True, True), {"size": 5}),
        ((X, True, True, True), {"size": 2}),
        ((X, True, True, True), {"size": 5, "fill_value": -7}),
        ((GRID, True, True, True, 0), {"size": 4}),
        ((GRID, True, True, True, 1), {"size": 2}),
        ((np.array([np.nan, 1, np.nan]),), {"size": 3}),
    ]:
        agrees_with_jax("unique", arguments, keywords)
    for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values"):
        agrees_with_jax(name, (X,), {"size": 4})
    agrees_with_jax("intersect1d", (X, Y, False, True), {"size": 4})
    agrees_with_jax("intersect1d", (np.array([3, 1, 2]), np.array([2, 5, 1]), True, True), {"size": 4})
    agrees_with_jax("setdiff1d", (X, X), {"size": 2})
    np.testing.assert_array_equal(tnp.unique(np.zeros(0), size=2, fill_value=3), [3, 3])
    with pytest.raises(ValueError, match=r"unique: nothing can fill up 2 values of f64\[0\]; pass fill_value="):
        tnp.unique(np.zeros(0), size=2)


def test_derivatives_are_of_the_first() -> None:
    expected = [0.0, 1.0, 0.0, 1.0, 0.0]
    expected[0] = 1.0
    for f in (lambda x: np.unique(x), lambda x: tnp.unique(x, size=3), lambda x: np.union1d(x, [9.0])):
        np.testing.assert_array_equal(tg.grad(lambda x, f=f: np.sum(f(x)))(X), expected)
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.setdiff1d(x, Y)))(X), [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.intersect1d(x, Y) ** 2))(X), [6, 0, 0, 4, 0])


@pytest.mark.parametrize("name", [*SETS, "unique"])
def test_sizes_that_depend_on_values(name: str) -> None:
    arguments = (X,) if name == "unique" else (X, Y)
    with pytest.raises(
        ConcretizationTypeError, match=rf"(?s)np\.{name} at .*how many there are: tnp\.{name}\(\.\.\., size=n\)"
    ):
        tg.jit(getattr(np, name))(*arguments)
