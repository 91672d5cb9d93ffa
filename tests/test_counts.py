"""Counts of elements in dtypes that do not hold them: float16 ends at 65504. Truth is the same function in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad import lax, nn

N = 70_000
ONES = np.ones(N)
PAIRS = np.where(np.arange(N) % 2, 1.0, 0.5)
SMALL = np.random.default_rng(0).uniform(0.001, 0.01, N)
MASK = np.arange(N) % 7 > 0
FIRST = np.zeros(N, int)


def over_axis(f: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda x: tg.vmap(f, axis_name="i")(x)[0]


# Functions to a scalar, and where to take their gradients.
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "mean": (np.mean, ONES),
    "mean over an axis": (lambda x: np.mean(x.reshape(N, 1), 0, keepdims=True), ONES),
    "mean of some": (lambda x: np.mean(x, where=MASK), SMALL),
    "average": (np.average, ONES),
    "average by weights": (lambda x: np.average(x, weights=np.full(N, 0.001, x.dtype)), ONES),
    "max": (np.max, ONES),
    "max of half": (lambda x: np.max(x.reshape(N, 1), 0), PAIRS),
    "min": (np.min, ONES),
    "nanmax": (np.nanmax, ONES),
    "nanmin": (np.nanmin, ONES),
    "ptp": (np.ptp, PAIRS),
    "norm": (lambda x: np.linalg.norm(x, np.inf), ONES),
    "median": (np.median, ONES),
    "median between two": (np.median, PAIRS),
    "quantile": (lambda x: np.quantile(x, 0.37), ONES),
    "var": (np.var, SMALL),
    "var of some": (lambda x: np.var(x, where=MASK, ddof=1), SMALL),
    "std": (lambda x: np.std(x, ddof=1), SMALL),
    "nanmean": (np.nanmean, SMALL),
    "nanvar": (lambda x: np.nanvar(x, ddof=1), SMALL),
    "pmean": (over_axis(lambda v: lax.pmean(v, "i")), SMALL),
    "pmax": (over_axis(lambda v: lax.pmax(v, "i")), ONES),
    "scatter_max": (lambda x: tnp.at(x)[FIRST].max(np.ones(N, x.dtype))[0], np.ones(3)),
    "scatter_min": (lambda v: tnp.at(np.ones(3, v.dtype))[FIRST].min(v)[0], ONES),
    "softmax": (lambda x: 1000 * nn.softmax(x)[5], ONES),
    "log_softmax": (lambda x: nn.log_softmax(x)[5], ONES),
    "logsumexp": (nn.logsumexp, ONES),
    "logsumexp by factors": (lambda x: nn.logsumexp(x, b=np.full(N, 0.5, x.dtype)), ONES),
    "logmeanexp": (nn.logmeanexp, ONES),
    "standardize": (lambda x: nn.standardize(x, where=MASK)[5], PAIRS),
    "softmax_cross_entropy": (lambda x: nn.softmax_cross_entropy(x, (np.arange(N) == 5).astype(x.dtype)), ONES),
    "labels": (lambda x: nn.softmax_cross_entropy_with_integer_labels(x, np.array(5)), ONES),
    "mean of losses": (lambda x: np.mean(nn.sigmoid_binary_cross_entropy(x, np.zeros(N, x.dtype))), ONES),
}


@pytest.mark.parametrize("backend", [None, "numpy", "xla"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_among_many_elements(name: str, backend: str | None) -> None:
    f, x = FUNCTIONS[name]
    both = tg.value_and_grad(f)
    true_value, true = both(x)
    value, gradient = (tg.jit(both, backend=backend) if backend else both)(x.astype(np.float16))
    assert gradient.dtype == np.float16
    np.testing.assert_allclose(np.asarray(value, np.float64), true_value, rtol=0.05)
    np.testing.assert_allclose(
        np.asarray(gradient, np.float64), true, rtol=0.01, atol=1.2e-7
    )  # two of the least float16


@pytest.mark.parametrize("name", ["mean", "max", "nanmin", "pmean", "scatter_max", "logsumexp"])
def test_tangents_among_many_elements(name: str) -> None:
    f, x = FUNCTIONS[name]
    tangent = tg.jvp(f, (x.astype(np.float16),), (np.ones(x.shape, np.float16),))[1]
    assert tangent.dtype == np.float16
    np.testing.assert_allclose(np.float64(tangent), tg.jvp(f, (x,), (np.ones(x.shape),))[1], rtol=0.01, atol=1e-6)


def test_the_mean_of_many_halves() -> None:
    assert tg.grad(np.mean)(np.ones(N, np.float16))[0] == np.float16(1 / N)
    assert tg.grad(np.max)(np.ones(N, np.float16))[0] == np.float16(1 / N)


def test_numbers_that_were_spread_are_not_written_over_under_jit() -> None:
    """A number repeated without memory for each element is no memory to compute in."""
    x = np.zeros(N, np.float16)
    f = lambda x: np.sum(nn.log_softmax(x) * np.float16(0.01))
    np.testing.assert_array_equal(tg.jit(tg.grad(f))(x), tg.grad(f)(x))
