"""Functions for which the order of what an unknown mask selects counts, against NumPy on what it selects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ConcretizationTypeError

jax.config.update("jax_enable_x64", True)
X, Y = np.array([0.5, -1.0, 1.5, 3.0]), np.array([2.0, 0.3, -0.2, 0.9])
M = np.array([[1.0, 2.0], [-1.0, 0.5], [3.0, 1.0], [2.0, -2.0]])


def rows(x: Any) -> Any:
    return (M * x[:, None])[x > 0]


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "cumsum": lambda x: np.sum(np.log(np.cumsum(x[x > 0])) ** 2),
    "cumprod of rows": lambda x: np.sum(np.cumprod(rows(x), axis=0) ** 2) + np.sum(rows(x).cumsum(1) ** 2),
    "median": lambda x: np.median(x[x > 0] ** 2) * np.median(x[x > -9]),
    "sort": lambda x: np.sum(np.cumsum(np.sort(1 / x[x > 0])) ** 2),
    "quantile": lambda x: np.quantile(x[x > 0] ** 2, 0.3),
    "quantiles": lambda x: np.sum(np.quantile(x[x > 0], np.array([0.2, 0.9])) ** 2),
    "percentile": lambda x: np.percentile(x[x > 0], 40, method="hazen") ** 2,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_with_values(name: str) -> None:
    """Without jit the mask has values, and NumPy does the indexing."""
    f = FUNCTIONS[name]
    gradient = tg.grad(f)(X)
    differences = [(f(X + h) - f(X - h)) / 2e-6 for h in 1e-6 * np.eye(4)]
    np.testing.assert_allclose(gradient, differences, 1e-6, 1e-7)
    np.testing.assert_allclose(tg.jit(f)(X), f(X), 1e-12)
    np.testing.assert_allclose(tg.jit(tg.grad(f))(X), gradient, 1e-12, 1e-14)
    np.testing.assert_allclose(tg.vmap(f)(np.stack([X, Y])), [f(X), f(Y)], 1e-12)
    np.testing.assert_allclose(tg.vmap(tg.grad(f))(np.stack([X, Y])), [gradient, tg.grad(f)(Y)], 1e-12, 1e-14)


def test_on_xla() -> None:
    f = lambda x: [FUNCTIONS[name](x) for name in ("sort", "quantiles", "median")]
    np.testing.assert_allclose(tg.jit(f, backend="xla")(X), f(X), 1e-12)


OF_NUMBERS: list[Callable[[Any], Any]] = [
    np.median,
    lambda v: np.quantile(v, 0.3),
    lambda v: np.quantile(v, np.array([0.0, 0.6, 1.0])),
    lambda v: np.percentile(v, 75),
    lambda v: np.sum(np.cumsum(np.sort(v))),
]


@pytest.mark.parametrize("last", [np.nan, np.inf, -np.inf, 7.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_numbers_of_all_kinds(dtype: Any, last: float) -> None:
    x = np.array([3.0, 1.0, 4.0, -1.0, 5.0, 7.0 if np.issubdtype(dtype, np.integer) else last], dtype)
    functions = OF_NUMBERS[:1] if dtype is np.float16 else OF_NUMBERS
    jitted = tg.jit(lambda x, m: [f(x[m]) for f in functions])
    for mask in np.array([[1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0], [0, 0, 1, 0, 1, 1], [0, 0, 0, 0, 0, 1]], bool):
        with np.errstate(invalid="ignore"):
            for f, found in zip(functions, jitted(x, mask), strict=True):
                wanted = f(x[mask])
                assert found.dtype == wanted.dtype
                np.testing.assert_allclose(found, wanted, 1e-6)


def test_of_nothing() -> None:
    """NaN, where NumPy has a warning or an error besides."""
    f = lambda x: (np.median(x[x > 9]), np.quantile(x[x > 9], 0.5), np.sum(np.sort(x[x > 9])))
    np.testing.assert_equal(tg.jit(f)(X), (np.nan, np.nan, 0.0))


REFUSED: dict[str, list[Callable[[Any], Any]]] = {
    "np.median": [lambda x: np.median(rows(x), axis=0), lambda x: np.median(x[x > 0], keepdims=True)],
    "np.cumsum": [lambda x: np.cumsum(rows(x))],
    "np.sort": [lambda x: np.sort(rows(x)), lambda x: np.sort(x[x > 0], axis=None)],
    "np.quantile": [
        lambda x: np.quantile(rows(x), 0.5),
        lambda x: np.quantile(x[x > 0], 0.5, keepdims=True),
        lambda x: np.quantile((3 * x[x > 0]).astype(int), 0.5, method="lower"),
    ],
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_needs_the_size(what: str) -> None:
    for f in REFUSED[what]:
        with pytest.raises(
            ConcretizationTypeError, match=rf"indexing with a mask at .*, then {re.escape(what)}, (?s:.*)size=n"
        ):
            tg.jit(f)(X)


def test_sorting_what_a_mask_of_several_axes_selects() -> None:
    x = np.array([[3.0, -1.0, np.nan], [2.0, 0.5, -4.0]])
    f = lambda x: np.sum(np.cumsum(np.sort(x[x > 0])) * 2)
    assert tg.jit(f)(x) == f(x) == 2 * (0.5 + 2.5 + 5.5)
