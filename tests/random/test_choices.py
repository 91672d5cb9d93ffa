"""Integers, permutations and choices: jax's numbers, on both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.random.parity import assert_drawn_from
from tracegrad.core.errors import DtypeError, ShapeError

jax = pytest.importorskip("jax")

CUBE = np.arange(24.0).reshape(2, 3, 4)
LOGITS = np.random.default_rng(0).normal(size=(5, 7))
P = np.array([0.1, 0.2, 0.7])

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "permutation of none": lambda r, key: r.permutation(key, 0),
    "permutation of one": lambda r, key: r.permutation(key, 1),
    "permutation": lambda r, key: r.permutation(key, 10),
    "permutation by two sorts": lambda r, key: r.permutation(key, 1700),
    "permutation of rows": lambda r, key: r.permutation(key, CUBE),
    "permutation of the last axis": lambda r, key: r.permutation(key, CUBE, -1),
    "each its own permutation": lambda r, key: r.permutation(key, CUBE, 1, independent=True),
    "permutation of a vector": lambda r, key: r.permutation(key, CUBE.ravel(), independent=True),
    "choice": lambda r, key: r.choice(key, 10, (3, 2)),
    "one choice": lambda r, key: r.choice(key, 10),
    "choice without replacement": lambda r, key: r.choice(key, 10, (3, 2), replace=False),
    "choice of an axis": lambda r, key: r.choice(key, CUBE, (3, 2), axis=1),
    "choice of an axis without replacement": lambda r, key: r.choice(key, CUBE, (3,), False, axis=-1),
    "choice of a vector without replacement": lambda r, key: r.choice(key, CUBE.ravel(), (3,), False),
    "no choice": lambda r, key: r.choice(key, CUBE.ravel(), (0,)),
    "choice by p": lambda r, key: r.choice(key, 3, (30,), p=P),
    "choice by p of an axis": lambda r, key: r.choice(key, CUBE, (5,), p=P, axis=1),
    "choice by p without replacement": lambda r, key: r.choice(key, 3, (3,), False, P.astype(np.float32)),
    "categorical": lambda r, key: r.categorical(key, LOGITS),
    "categorical along an axis": lambda r, key: r.categorical(key, LOGITS.astype(np.float32), axis=0),
    "categorical several times": lambda r, key: r.categorical(key, LOGITS, shape=(3, 5)),
    "categorical without replacement": lambda r, key: r.categorical(key, LOGITS, shape=(3, 5), replace=False),
    "categorical along an axis without replacement": lambda r, key: r.categorical(
        key, LOGITS, 0, shape=(2, 2, 7), replace=False
    ),
    "categorical by finer steps": lambda r, key: r.categorical(key, LOGITS, 0, mode="high"),
    "randint": lambda r, key: r.randint(key, (3, 4), np.arange(4), np.array([[10], [20], [1]])),
    "one randint": lambda r, key: r.randint(key, (), 0, 2**62),
}

ON_XLA = ("each its own permutation", "choice of an axis", "choice by p", "categorical without replacement", "randint")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_bits_of_jax(name: str) -> None:
    f = lambda key: FUNCTIONS[name](tg.random, key)
    keys = tg.random.split(tg.random.PRNGKey(9), 3)
    with jax.enable_x64(True), jax.disable_jit():
        expected = [np.asarray(FUNCTIONS[name](jax.random, key)) for key in jax.numpy.asarray(keys)]
    for key, theirs in zip(keys, expected, strict=True):
        for got in (f(key), tg.jit(f)(key)):
            assert (got.dtype, np.shape(got)) == (theirs.dtype, theirs.shape)
            np.testing.assert_array_equal(got, theirs)
    if name in ON_XLA:
        np.testing.assert_array_equal(tg.jit(f, backend="xla")(keys[0]), expected[0])
    np.testing.assert_array_equal(tg.vmap(f)(keys), expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_of_all_intervals(dtype: str) -> None:
    info, key = np.iinfo(dtype), tg.random.PRNGKey(1)
    bounds = [(0, 10), (3, 3), (5, 2), (0, info.max), (info.min, info.max), (-3, 100), (0, 2**31), (0, 2**32)]
    bounds += [(info.min, 2 ** (8 * np.dtype(dtype).itemsize - 1))] if info.bits < 64 else []
    bounds += [(0, 2**info.bits)] if info.bits < 64 else []
    for low, high in bounds:
        if high > 2**63 - 1:
            high = np.uint64(high)  # type: ignore[assignment]
        with jax.enable_x64(True), jax.disable_jit():
            expected = np.asarray(jax.random.randint(jax.numpy.asarray(key), (3, 40), low, high, dtype))
        got = tg.random.randint(key, (3, 40), low, int(high), dtype)
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        tg.jit(lambda low, high: tg.random.randint(key, (3, 40), low, high, dtype))(0, 10),
        tg.random.randint(key, (3, 40), 0, 10, dtype),
    )


def test_permutations_of_all_orders() -> None:
    found = tg.vmap(lambda key: tg.random.permutation(key, 3))(tg.random.split(tg.random.PRNGKey(0), 600))
    orders, counts = np.unique(found, axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.all(np.abs(counts - 100) < 50)


def test_derivatives_pass_through_what_is_chosen() -> None:
    key = tg.random.PRNGKey(2)
    for f in (
        lambda r, x: r.permutation(key if r is tg.random else jax.numpy.asarray(key), x, 1),
        lambda r, x: r.choice(key if r is tg.random else jax.numpy.asarray(key), x, (5,), axis=1),
    ):
        weights = np.cos(np.arange(f(tg.random, CUBE).size)).reshape(np.shape(f(tg.random, CUBE)))
        with jax.enable_x64(True):
            expected = jax.grad(lambda x, f=f, w=weights: jax.numpy.sum(f(jax.random, x) * w))(CUBE)
        np.testing.assert_array_equal(tg.grad(lambda x, f=f, w=weights: np.sum(f(tg.random, x) * w))(CUBE), expected)
    nothing = tg.grad(lambda x: np.sum(tg.random.categorical(key, x) * 1.0))(LOGITS)
    np.testing.assert_array_equal(nothing, np.zeros_like(LOGITS))


def test_errors() -> None:
    key = tg.random.PRNGKey(0)
    here = r"test_choices\.py:\d+ \(in [\w<>]+\)"
    with pytest.raises(DtypeError, match=rf"randint at .*{here}: integers come in a dtype of integers, got float32"):
        tg.random.randint(key, (2,), 0, 5, np.float32)
    with pytest.raises(
        DtypeError, match=rf"randint at .*{here}: maxval must be an integer, got f64~\[\]; write int\(maxval\)"
    ):
        tg.random.randint(key, (2,), 0, 5.0)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=rf"randint at .*{here}: minval of shape \(3,\) does not broadcast"):
        tg.random.randint(key, (2,), np.zeros(3, int), 5)
    with pytest.raises(
        DtypeError, match=rf"permutation at .*{here}: x must be an integer or have an axis, got f64~\[\]"
    ):
        tg.random.permutation(key, 2.5)
    with pytest.raises(TypeError, match=rf"permutation at .*{here}: x is how many .* make it static"):
        tg.jit(lambda n: tg.random.permutation(key, n))(3)
    with pytest.raises(ValueError, match=rf"choice at .*{here}: 5 cannot be drawn of 3 without replacement; write rep"):
        tg.random.choice(key, 3, (5,), replace=False)
    with pytest.raises(ValueError, match=rf"choice at .*{here}: there is nothing to choose from, a has 0"):
        tg.random.choice(key, 0, (5,))
    with pytest.raises(ShapeError, match=rf"choice at .*{here}: p has one probability for each of the 4, got f64\[3\]"):
        tg.random.choice(key, 4, (5,), p=P)
    with pytest.raises(DtypeError, match=rf"categorical at .*{here}: logits are floats, got i64\[3\]"):
        tg.random.categorical(key, np.arange(3))
    with pytest.raises(
        ShapeError, match=rf"categorical at .*{here}: shape ends as that of the logits .* \(5,\); got \(5, 2\)"
    ):
        tg.random.categorical(key, LOGITS, shape=(5, 2))
    with pytest.raises(ValueError, match=rf"categorical at .*{here}: 8 cannot be drawn of 7 without replacement"):
        tg.random.categorical(key, LOGITS, shape=(8, 5), replace=False)


WEIGHTS = np.array([0.1, 0.4, 0.2, 0.3])


@pytest.mark.parametrize(
    ("draw", "weights"),
    [
        (lambda key: tg.random.randint(key, (4000,), 0, 4), np.full(4, 0.25)),
        (lambda key: tg.random.choice(key, 4, (4000,)), np.full(4, 0.25)),
        (lambda key: tg.random.choice(key, 4, (4000,), p=WEIGHTS), WEIGHTS),
        (lambda key: tg.random.categorical(key, np.log(WEIGHTS), shape=(4000,)), WEIGHTS),
        (lambda key: tg.vmap(lambda k: tg.random.permutation(k, 4)[1])(tg.random.split(key, 4000)), np.full(4, 0.25)),
        (
            lambda key: tg.vmap(lambda k: tg.random.choice(k, 4, (2,), False, WEIGHTS)[0])(tg.random.split(key, 4000)),
            WEIGHTS,
        ),
    ],
)
def test_distributions(draw: Callable[[Any], Any], weights: Any) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert_drawn_from(draw, stats.rv_discrete(values=(np.arange(4), weights))())
