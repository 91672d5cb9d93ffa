"""Sorting by several keys, digitize, unique."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.ops.test_sort import like_a_loop, traced_and_typed
from tracegrad.core.errors import ConcretizationTypeError, DtypeError, ShapeError

jax.config.update("jax_enable_x64", True)
jax = pytest.importorskip("jax")

rng = np.random.default_rng(0)
DISTINCT = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.5
TIED = np.array([[3, 1, 3, 1, 2], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]])


def test_sorting_by_keys_and_places() -> None:
    keys = (TIED[0], np.array([1, 0, 1, 1, 0]), np.array([1.0, 1.0, 0.0, 1.0, 1.0]))
    same(traced_and_typed(lambda *k: np.lexsort(k), *keys), np.lexsort(keys))
    same(traced_and_typed(lambda a, b: np.lexsort((a, b), 0), TIED, TIED % 2), np.lexsort((TIED, TIED % 2), 0))
    same(traced_and_typed(np.lexsort, TIED), np.lexsort(TIED))
    x = DISTINCT[0]
    like_a_loop(lambda x: np.sort(x, 0), DISTINCT)
    like_a_loop(lambda x: np.argsort(x, 1), DISTINCT)
    like_a_loop(tg.grad(lambda x: np.sum(np.sort(x, 0) * x)), DISTINCT)
    # x[argsort(x)] is sort(x), derivative included.
    ours = tg.jacrev(lambda x: np.take_along_axis(x, np.argsort(x, 0), 0))(x)
    np.testing.assert_array_equal(ours, tg.jacrev(lambda x: np.sort(x, 0))(x))


@pytest.mark.parametrize("kth", [0, 2, -1, (1, 3)])
@pytest.mark.parametrize("axis", [-1, 0, None])
def test_partition(kth: Any, axis: Any) -> None:
    x = rng.permutation(30).reshape(5, 6) / 4.0
    found = traced_and_typed(lambda x: np.partition(x, kth, axis), x)
    by_place = traced_and_typed(lambda x: np.argpartition(x, kth, axis), x)
    ordered = np.sort(x, axis)
    flat_axis = 0 if axis is None else axis
    places = np.atleast_1d(kth) % found.shape[flat_axis]
    assert found.shape == ordered.shape and by_place.dtype == np.intp
    np.testing.assert_array_equal(np.sort(found, flat_axis), ordered)
    np.testing.assert_array_equal(np.take_along_axis(x.ravel() if axis is None else x, by_place, flat_axis), found)
    for k in places:
        here = np.take(found, [k], flat_axis)
        np.testing.assert_array_equal(here, np.take(ordered, [k], flat_axis))
        assert (np.take(found, np.arange(k), flat_axis) <= here).all()
    # What is in place has the derivative of the sorted array.
    weights = rng.normal(size=np.take(found, places, flat_axis).shape)
    ours = tg.grad(lambda x: np.sum(weights * np.take(np.partition(x, kth, axis), places, flat_axis)))(x)
    theirs = jax.grad(lambda x: jnp.sum(weights * jnp.take(jnp.sort(x, axis), places, flat_axis)))(x)
    np.testing.assert_allclose(ours, theirs)
    if axis is not None:
        like_a_loop(
            lambda x: np.sort(np.take(np.partition(x, kth, axis), places, axis), axis),
            np.stack([x, -x, x.T.reshape(x.shape)]),
        )


def test_partition_refuses_places_that_are_not_there() -> None:
    with pytest.raises(ShapeError, match=r"no place kth=3 among 3 along axis 0 of f64\[3\]"):
        traced_and_typed(lambda x: np.partition(x, 3), np.ones(3))


@pytest.mark.parametrize("right", [False, True])
def test_digitize(right: bool) -> None:
    x = np.array([[0.2, 6.4, 3.0], [1.0, -1.0, 10.0]])
    for bins in (np.array([0.0, 1.0, 2.5, 4.0, 10.0]), np.array([1.0, 1.0, 3.0]), np.array([3.0]), np.array([2, 2])):
        for edges in (bins, bins[::-1]):
            f = lambda x, b: np.digitize(x, b, right)
            same(traced_and_typed(f, x, edges), f(x, edges))
            same(traced_and_typed(lambda x: f(x, edges), x), f(x, edges))
            same(traced_and_typed(lambda x: f(x, edges), 2), np.asarray(f(2, edges)))
            np.testing.assert_array_equal(tg.vmap(lambda x: f(x, edges))(x), f(x, edges))
            np.testing.assert_array_equal(
                tg.vmap(f, (None, 0))(x, np.stack([edges, edges + 1])), [f(x, edges), f(x, edges + 1)]
            )
    with pytest.raises(ValueError, match="bins must ascend or descend"):
        traced_and_typed(lambda x: np.digitize(x, np.array([0.0, 2.0, 1.0])), x)
    with pytest.raises(DtypeError, match="complex numbers are in no bin"):
        traced_and_typed(lambda x: np.digitize(x, np.array([0.0, 2.0])), x + 1j)


def test_unique() -> None:
    for x in (TIED, TIED.astype(np.float32) / 2, TIED > 2, np.array([np.nan, 1.0, np.nan]), np.zeros(0)):
        same(traced_and_typed(np.unique, x), np.unique(x))
        f = lambda x: np.unique(x, return_index=True, return_inverse=True, return_counts=True)
        same(traced_and_typed(lambda x: tuple(f(x)), x), tuple(f(x)))
    same(
        traced_and_typed(lambda x: np.unique(x, equal_nan=False), np.array([np.nan, 1.0, np.nan])),
        np.array([1.0, np.nan, np.nan]),
    )
    for axis in (0, 1):
        x = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [2.0, 3.0, 2.0]])
        f = lambda x: tuple(np.unique(x, True, True, True, axis))
        same(traced_and_typed(f, x), f(x))
    # The derivative is with the first of the equals, as jax has it.
    x = np.array([2.0, 1.0, 2.0, 3.0, 1.0])
    np.testing.assert_array_equal(tg.jacrev(np.unique)(x), np.eye(5)[[1, 0, 3]])
    with pytest.raises(ConcretizationTypeError, match=r"np\.unique"):
        tg.eval_shape(np.unique, x)
    with pytest.raises(ConcretizationTypeError, match=r"np\.unique"):
        tg.vmap(np.unique)(TIED)
