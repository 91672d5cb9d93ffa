"""NumPy's functions of indices, computed through tracers, against NumPy; and their derivatives by counting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import same
from tests.sized import agrees_with_jax
from tracegrad.core.errors import ConcretizationTypeError

X = np.arange(12.0).reshape(3, 4) - 4.0
PLACES = np.array([[0, 2], [-1, 1], [3, 3]])
MASK = np.array([True, False, True, False])

OF_VALUES: dict[str, Callable[[Any], Any]] = {
    "take_along_axis": lambda x: np.take_along_axis(x, PLACES, 1),
    "take_along_axis of all": lambda x: np.take_along_axis(x, PLACES.ravel(), None),
    "compress": lambda x: np.compress(MASK, x, 1),
    "extract": lambda x: np.extract(X > 0, x),
    "a grid": lambda x: x[np.ix_([0, 2], MASK)],
    "the diagonal": lambda x: x[:, :3][np.diag_indices_from(x[:, :3])],
    "the lower triangle": lambda x: x[np.tril_indices_from(x, -1)],
    "the upper triangle": lambda x: x[np.triu_indices_from(x, 1)],
    "nonzero": lambda x: x[np.nonzero(x)],
    "flatnonzero": lambda x: np.take(x, np.flatnonzero(x)),
    "argwhere": lambda x: np.argwhere(x) * x[0, 0],
}
OF_INDICES: dict[str, Callable[[Any], Any]] = {
    "unravel_index": lambda i: np.unravel_index(i, (3, 7)),
    "unravel_index in Fortran order": lambda i: np.unravel_index(i, (3, 7), order="F"),
    "ravel_multi_index": lambda i: np.ravel_multi_index((i % 3, i // 3), (3, 7)),
    "ravel_multi_index in Fortran order": lambda i: np.ravel_multi_index((i % 3, i // 3), (3, 7), order="F"),
    "ravel_multi_index that moves": lambda i: np.ravel_multi_index((i - 2, 2 * i), (3, 7), mode=("wrap", "clip")),
    "ix_": lambda i: np.ix_(i, i[:2]),
}


@pytest.mark.parametrize("name", OF_VALUES)
def test_values_and_derivatives(name: str) -> None:
    f = OF_VALUES[name]
    out, pull = tg.vjp(f, X)
    same(out, f(X))
    if name == "argwhere":  # scaled by one element
        same(pull(np.ones_like(out))[0], np.where(X[0, 0] == X, np.sum(np.argwhere(X)), 0.0))
    else:
        times = np.bincount(
            f(np.arange(12.0).reshape(3, 4) + 1.0 * (name in ("nonzero", "flatnonzero"))).astype(int).ravel(),
            minlength=13,
        )
        expected = {"nonzero": X != 0, "flatnonzero": X != 0}.get(name, times[:12].reshape(3, 4))
        same(pull(np.ones_like(out))[0], np.asarray(expected, float))


@pytest.mark.parametrize("name", OF_INDICES)
def test_functions_of_indices(name: str) -> None:
    f, i = OF_INDICES[name], np.array([4, 20, 0, 7])
    same(tg.jit(f)(i), f(i))
    types = tg.eval_shape(f, i)
    assert [t.shape for t in tg.tree.leaves(types)] == [np.shape(x) for x in tg.tree.leaves(f(i))]


@pytest.mark.parametrize("name", ["nonzero", "flatnonzero", "argwhere"])
def test_places_that_depend_on_values_must_be_known(name: str) -> None:
    with pytest.raises(ConcretizationTypeError, match=rf"(?s)np\.{name} at \S+test_indexing\.py.*write `np\.where"):
        tg.jit(getattr(np, name))(X)


def test_what_does_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r"`indices` and `arr` must have the same number of dimensions, got i64\[2\] and f64\[3,4\]"
    ):
        tg.vjp(lambda x: np.take_along_axis(x, np.array([0, 1]), 1), X)
    with pytest.raises(ValueError, match=r"ix_: each argument must have one dimension, got f64\[3,4\]"):
        tg.vjp(lambda x: np.ix_(x, [0]), X)
    with pytest.raises(
        ValueError, match=r"diag_indices_from needs two or more dimensions, all of one size, got f64\[3,4\]"
    ):
        tg.vjp(np.diag_indices_from, X)


def test_results_of_a_size() -> None:
    x, grid = np.array([3, 1, 3, 2, 1.0]), np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    i, counts, far = x.astype(int), np.array([1, 2, 0, 1, 1]), np.array([0, 7, -1, -9])
    for name, arguments, keywords in [
        ("nonzero", (grid,), {"size": 9}),
        ("nonzero", (grid,), {"size": 3, "fill_value": (7, 8)}),
        ("nonzero", (grid,), {"size": 12, "fill_value": (7, 8)}),
        ("argwhere", (grid,), {"size": 12, "fill_value": 5}),
        ("flatnonzero", (grid,), {"size": 12}),
        ("where", (x > 2,), {"size": 3}),
        ("extract", (x > 1, x), {"size": 5}),
        ("compress", (x > 1, x), {"size": 5, "fill_value": 9}),
        ("compress", (grid[0] > 0, grid, 1), {"size": 4}),
        ("compress", (grid[:, 0] > 0, grid, 0), {"size": 3, "fill_value": 3}),
        ("repeat", (x, counts), {"total_repeat_length": 8}),
        ("repeat", (x, counts), {"total_repeat_length": 3}),
        ("repeat", (grid, np.array([1, 2, 0]), 0), {"total_repeat_length": 3}),
        ("bincount", (i,), {"length": 3}),
        ("bincount", (i, x), {"length": 8}),
        ("take", (x, far), {"mode": "fill"}),
        ("take", (i, far), {"mode": "fill"}),
        ("take", (i.astype(np.uint8), far), {"mode": "fill"}),
        ("take", (x > 2, far), {"mode": "fill"}),
        ("take", (grid, far, 0), {"mode": "fill", "fill_value": -3}),
        ("take_along_axis", (x, far), {"axis": 0, "mode": "fill"}),
        ("take_along_axis", (x, far), {"axis": 0, "mode": "clip"}),
        ("sort", (np.array([1, np.nan, -2, 0.0]),), {"descending": True}),
        ("argsort", (x,), {"descending": True}),
        ("argsort", (grid, 0), {"descending": True}),
    ]:  # fmt: skip
        agrees_with_jax(name, arguments, keywords)


def test_derivatives_of_results_of_a_size() -> None:
    x = np.array([3.0, -1.0, 2.0])
    positive = tg.jit(tg.grad(lambda x: np.sum(tnp.extract(x > 0, x, size=3) ** 2)))
    np.testing.assert_array_equal(positive(x), [6, 0, 4])
    np.testing.assert_array_equal(tg.grad(lambda x: np.nansum(tnp.take(x, [2, 5], mode="fill")))(x), [0, 0, 1])
    assert [i.tolist() for i in tnp.nonzero(np.zeros((0, 2)), size=2, fill_value=4)] == [[4, 4], [4, 4]]
    assert tnp.bincount(np.array([1, 9, -1]), length=3).tolist() == [0, 1, 0]  # numbers without a bin are not counted


def test_what_a_size_is_needed_for() -> None:
    for name, keyword in [("nonzero", "size=n"), ("flatnonzero", "size=n"), ("argwhere", "size=n")]:
        with pytest.raises(ConcretizationTypeError, match=rf"(?s)tnp\.{name}\(\.\.\., {keyword}\)"):
            tg.jit(getattr(np, name))(np.ones(3))
    with pytest.raises(ConcretizationTypeError, match=r"(?s)tnp\.repeat\(\.\.\., total_repeat_length=n\)"):
        tg.jit(np.repeat)(np.ones(3), np.ones(3, int))
    with pytest.raises(ConcretizationTypeError, match=r"(?s)tnp\.bincount\(\.\.\., length=n\)"):
        tg.jit(np.bincount)(np.ones(3, int))
    with pytest.raises(ValueError, match=r"nonzero: fill_value has 2 numbers for the 1 axes of f64\[3\]"):
        tnp.nonzero(np.ones(3), size=2, fill_value=(1, 2))
    with pytest.raises(TypeError, match="where: size= and fill_value= are for a condition alone"):
        tnp.where(np.ones(3) > 0, 1, 2, size=2)
