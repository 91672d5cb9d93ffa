"""Counts: jax's, whose rejections must be the same, and their distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.random.parity import KEY, Draw, assert_as_jax, assert_drawn_from
from tracegrad.core.errors import DtypeError, ShapeError

stats = pytest.importorskip("scipy.stats")

NS = np.array([[0.0], [1.0], [20.0], [1000.0], [100_000.0]])
PS = np.array([0.0, 0.01, 0.3, 0.5, 0.9, 1.0])

# jax computes with logarithms of the gamma function of its own, in float32: beyond a rate of some hundreds they decide otherwise.
DRAWS: dict[str, Draw] = {
    "poisson": lambda r, key: r.poisson(key, np.array([0.0, 0.5, 5.0, 9.9, 10.0, 50.0]), (100, 6)),
    "poisson of no rate": lambda r, key: r.poisson(key, np.array([-1.0, np.nan, 3.0]), None, np.int32),
    "geometric": lambda r, key: r.geometric(key, np.array([0.01, 0.5, 1.0]), (50, 3)),
    "geometric in float32": lambda r, key: r.geometric(key, np.array([0.01, 0.5], np.float32), (50, 2), np.int32),
    "binomial": lambda r, key: r.binomial(key, NS, PS, (20, 5, 6)),
    "binomial in float32": lambda r, key: r.binomial(
        key, NS.astype(np.float32), PS.astype(np.float32), (20, 5, 6), np.float32
    ),
    "binomial of no number": lambda r, key: r.binomial(
        key, np.array([np.inf, -1, np.nan, 10, 10, 10.5]), np.array([0.5, 0.5, 0.5, np.nan, -0.1, 0.9])
    ),
    "multinomial": lambda r, key: r.multinomial(
        key, np.array([10, 2000]), np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    ),
    "multinomial of a shape": lambda r, key: r.multinomial(
        key, 150, np.array([0.1, 0.2, 0.7]), shape=(4, 3), dtype=np.float32, unroll=2
    ),
}


def test_the_numbers_of_jax() -> None:
    assert_as_jax(DRAWS, on_xla=["poisson", "geometric", "binomial", "multinomial"])


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda key: tg.random.poisson(key, 0.7, (4000,)), stats.poisson(0.7)),
        (lambda key: tg.random.poisson(key, 9.0, (4000,)), stats.poisson(9.0)),
        (lambda key: tg.random.poisson(key, 200.0, (4000,)), stats.poisson(200.0)),
        (lambda key: tg.random.geometric(key, 0.2, (4000,)), stats.geom(0.2)),
        (lambda key: tg.random.binomial(key, 12, 0.4, (4000,)), stats.binom(12, 0.4)),
        (lambda key: tg.random.binomial(key, 500, 0.9, (4000,)), stats.binom(500, 0.9)),
        (lambda key: tg.random.multinomial(key, 30, np.full((4000, 3), 1 / 3))[:, 1], stats.binom(30, 1 / 3)),
    ],
)
def test_distributions(draw: Callable[[Any], Any], distribution: Any) -> None:
    assert_drawn_from(draw, distribution)


def test_all_trials_have_an_outcome() -> None:
    x = tg.random.multinomial(KEY, np.arange(50), np.array([0.2, 0.0, 0.5, 0.3]), shape=(50, 4))
    np.testing.assert_array_equal(x.sum(-1), np.arange(50))
    assert np.all(x[:, 1] == 0)


def test_rates_that_are_infinite_end() -> None:
    assert tg.random.poisson(KEY, np.array([np.inf, 20.0])).tolist()[0] == -1
    assert tg.random.binomial(KEY, np.inf, 0.0) == np.inf


def test_parameters_are_traced_and_have_no_derivative() -> None:
    key = tg.random.PRNGKey(3)
    for f in (
        lambda p: tg.random.poisson(key, 20 * p, (5,)),
        lambda p: tg.random.geometric(key, p, (5,)),
        lambda p: tg.random.binomial(key, 40, p, (5,)),
    ):
        np.testing.assert_array_equal(tg.jit(f)(0.3), f(0.3))
        assert tg.grad(lambda p, f=f: np.sum(f(p) * 1.0))(0.3) == 0.0
        np.testing.assert_array_equal(tg.vmap(f)(np.array([0.3, 0.6])), [f(0.3), f(0.6)])


def test_errors() -> None:
    here = r"test_counts\.py:\d+ \(in test_errors\)"
    for name in ("poisson", "geometric"):
        with pytest.raises(DtypeError, match=rf"{name} at .*{here}: integers come in a dtype of integers, got float64"):
            getattr(tg.random, name)(KEY, 0.5, (3,), np.float64)
    with pytest.raises(DtypeError, match=rf"binomial at .*{here}: numbers come as float16, .* got int64"):
        tg.random.binomial(KEY, 3, 0.5, (3,), np.int64)
    with pytest.raises(
        DtypeError, match=rf"binomial at .*{here}: the probability p must be of float16, .* got complex"
    ):
        tg.random.binomial(KEY, 3, 0.5j)
    with pytest.raises(ShapeError, match=rf"multinomial at .*{here}: p must have an axis"):
        tg.random.multinomial(KEY, 3, 0.5)
    with pytest.raises(ShapeError, match=rf"multinomial at .*{here}: n of shape \(2,\) does not broadcast"):
        tg.random.multinomial(KEY, np.array([3, 4]), np.array([0.5, 0.5]))
