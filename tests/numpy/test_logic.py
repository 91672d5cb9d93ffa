"""Questions about arrays."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same_as_numpy

jax.config.update("jax_enable_x64", True)

QUADRANTS = np.array(
    [0.6 + 0.4j, -0.6 + 0.5j, -0.7 - 0.4j, 0.5 - 0.6j, 1.7 + 0.3j, -1.8 + 0.2j, -1.6 - 0.3j, 1.5 - 0.2j]
)
ODD = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, -2.5])


@pytest.mark.parametrize("equal_nan", [False, True])
def test_isclose(equal_nan: bool) -> None:
    x, y = np.meshgrid(np.array([*ODD, 1.0 + 1e-9, 1e-9]), np.array([*ODD, 1.0 + 1e-6]))
    same_as_numpy(lambda x, y: np.isclose(x, y, equal_nan=equal_nan), x, y)
    same_as_numpy(lambda x, y: np.isclose(x, y, rtol=0.1, atol=0.5), x, y)
    same_as_numpy(lambda x: np.isclose(x, 1), np.array([1, 2]))
    same_as_numpy(lambda x: np.isclose(x, QUADRANTS[0]), QUADRANTS)


def test_comparisons_of_whole_arrays_are_plain_bools() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(
            (np.allclose(x, x + 1e-12), np.array_equal(x, x * 1.0), np.array_equiv(x, x[0]), np.allclose(x, 2.0))
        )
        return np.sum(x)

    tg.grad(f)(np.ones(3))
    assert seen == [(True, True, True, False)]
    assert all(type(answer) is bool for answer in seen[0])


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_comparisons_of_whole_arrays_where_values_are_not_known(backend: str) -> None:
    x = np.array([[1.0, np.nan], [3.0, 4.0]])

    def f(x: Any, y: Any) -> Any:
        return (
            np.allclose(x, y), np.allclose(x, y, equal_nan=True), np.array_equal(x, y), np.array_equal(x, y, equal_nan=True),
            np.array_equiv(x, y), np.array_equal(x, y[0]), np.array_equiv(x, x[:, :1, None, None]),
            np.array_equiv(x, np.ones(3)), np.allclose(x[1], y[1] + 0.1, atol=0.2),
        )  # fmt: skip

    for y in (x, x + 1e-9, np.zeros((2, 2))):
        assert [bool(b) for b in tg.jit(f, backend=backend)(x, y)] == list(f(x, y))


def test_comparisons_of_whole_arrays_of_a_batch() -> None:
    for g in (np.allclose, np.array_equal, np.array_equiv):
        same = tg.vmap(lambda x: g(x, np.array([1.0, 2.0])))(np.array([[1.0, 2.0], [2.0, 1.0]]))
        assert same.tolist() == [True, False]


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_answers_about_whole_arrays_are_bools_of_pythons(backend: str) -> None:
    """True + True is 2, and an answer yields to any dtype, as with plain NumPy."""
    x, y = np.array([1.0, 2.0]), np.float16(3.0)
    for ask in (np.allclose, np.array_equal, np.array_equiv):
        for f in (lambda x, y, ask=ask: ask(x, x) + ask(x, x), lambda x, y, ask=ask: ask(x, x) * 2 + y):
            found, expected = np.asarray(tg.jit(f, backend=backend)(x, y)), f(x, y)
            assert found == expected
            assert found.dtype == np.asarray(expected).dtype
