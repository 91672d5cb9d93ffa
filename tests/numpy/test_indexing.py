"""NumPy's functions of indices, computed through tracers, against NumPy; and their derivatives by counting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
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
