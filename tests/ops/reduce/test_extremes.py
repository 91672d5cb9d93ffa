"""Ties, infinities, NaN, and the order in which zeros are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.ops.reduce import agrees, traced


@pytest.mark.parametrize("name", ["max", "min", "amax", "nanmax", "nanmin"])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_ties_share_as_in_jax(name: str, axis: Any) -> None:
    x = np.array([[1.0, 3.0, 3.0, 1.0], [3.0, 1.0, 3.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    agrees(lambda xp, x: getattr(xp, name)(x, axis=axis), x)


def test_extremes_of_infinities_and_nan() -> None:
    x = np.array([[-np.inf, -np.inf], [np.inf, 1.0]])
    np.testing.assert_array_equal(tg.grad(lambda x: np.max(x, 1)[0])(x), [[0.5, 0.5], [0, 0]])
    np.testing.assert_array_equal(tg.grad(lambda x: np.max(x, 1)[1])(x), [[0, 0], [1, 0]])
    x = np.array([[np.nan, -np.inf, 2.0], [np.nan, np.nan, np.nan]])
    gradient = tg.grad(lambda x: np.sum(np.nanmax(x, 1)))(x)
    np.testing.assert_array_equal(gradient, [[0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(traced(lambda x: np.nanmin(x, 1), x), [-np.inf, np.nan])
    np.testing.assert_array_equal(traced(np.fmax.reduce, x), [np.nan, -np.inf, 2.0])
    gradient = tg.grad(lambda x: np.max(x))(x)  # NaN: everything shares, and nothing warns
    np.testing.assert_allclose(gradient, np.full((2, 3), 1 / 6))


@pytest.mark.parametrize("width", [*range(1, 10)])
@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("function", [np.max, np.min])
def test_extremes_of_many_short_rows_are_numpys(function: Any, dtype: str, width: int) -> None:
    x = np.random.default_rng(0).choice(np.array([0.0, -0.0, -1, 2, np.inf, np.nan], dtype), size=(300, 2, width))
    for keepdims in (False, True):
        expected = function(x, axis=-1, keepdims=keepdims)
        for f in (tg.jit(lambda x: function(x, axis=-1, keepdims=keepdims)), None):
            got = f(x) if f else tg.make_graph(lambda x: function(x, axis=-1, keepdims=keepdims))(x)(x)[0]
            np.testing.assert_array_equal(got, expected, strict=True)
            if width < 9:  # from there on NumPy takes one or another zero
                signs = np.signbit(expected) & ~np.isnan(expected)
                np.testing.assert_array_equal(np.signbit(got) & ~np.isnan(got), signs)


def test_an_initial_value_that_the_dtype_has_not() -> None:
    x = np.array([1, 2], np.uint8)
    for f in (lambda x: np.max(x, initial=-1), lambda x: np.min(x, initial=300), lambda x: np.sum(x, initial=-1)):
        for run in (f, tg.jit(f), lambda x, f=f: tg.vjp(f, x)):
            with pytest.raises(OverflowError, match=r"Python integer .* out of bounds for uint"):
                run(x)
    assert tg.jit(lambda x: np.max(x, initial=7))(x) == 7
