"""What is read and added at index arrays, known and traced ones."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.ops.index import at

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("rows", [5, 900])
@pytest.mark.parametrize("shape, index", [((2, 7), 0), ((40, 3), 0), ((4, 50, 2), 1)])
def test_rows_are_added_one_after_the_other(rows: int, shape: tuple[int, ...], index: int) -> None:
    """As np.add.at does, whether there are more or fewer of them than rows to add to."""
    rng = np.random.default_rng(0)
    places = rng.integers(-shape[index], shape[index], rows)
    places[1] = places[0]
    before = (slice(None),) * index
    x, v = rng.normal(size=shape), rng.normal(size=(*shape[:index], rows, *shape[index + 1 :]))
    expected = np.zeros(shape)
    np.add.at(expected, (*before, places), v)

    def pulled(v: Any, places: Any) -> Any:
        return tg.vjp(lambda x: x[(*before, places)], x)[1](v)[0]

    np.testing.assert_array_equal(pulled(v, places), expected)
    np.testing.assert_array_equal(tg.jit(pulled)(v, places), expected)


def test_places_may_be_traced_where_the_arrays_are_not() -> None:
    """NumPy does not look for tracers among the indices of np.take, nor among the shifts of np.roll."""
    x, v, places = np.arange(1.0, 4.0), np.array([2.0, 3.0]), np.array([[0, 0], [2, 1]])
    for name, by_hand in (("multiply", np.multiply.at), ("max", np.maximum.at), ("add", np.add.at)):
        found = tg.vmap(lambda i: getattr(at(x)[i], name)(v))(places)
        for row, i in zip(found, places, strict=True):
            expected = x.copy()
            by_hand(expected, i, v)
            np.testing.assert_array_equal(row, expected)
    np.testing.assert_array_equal(tg.vmap(lambda i: tnp.take(x, i))(places), x[places])
    np.testing.assert_array_equal(tg.vmap(lambda s: tnp.roll(x, s))(np.arange(3)), [np.roll(x, s) for s in range(3)])


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_indices_that_a_program_has_for_constants_may_be_written_into(backend: str) -> None:
    """The program knows of them where each element of x goes, for as long as they stay as they are."""
    places, weights = np.array([0, 1, 1, 2]), np.array([1.0, 2.0, 3.0])
    gradient = tg.grad(lambda x: np.sum(x[places] ** 2 * x[places, None].T) + np.sum(weights * x))
    jitted = tg.jit(gradient, backend=backend)
    x = np.array([0.5, -1.0, 2.0])
    for write in (lambda: None, lambda: places.put(0, -1), lambda: weights.put(1, 7), lambda: places.put([0, 3], 1)):
        write()
        for _ in range(2):
            np.testing.assert_allclose(jitted(x), gradient(x), rtol=1e-14)
    assert len(jitted.trace_log) == 3  # weights are read at each call


@pytest.mark.parametrize("shape", [(4, 3), (4, 1, 2), (4, 0), (4,)])
def test_sums_at_constant_indices(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    for index in ([[0, 1, 1, 3, 3, -1]], [[[2], [2]]], [..., [0] * min(shape[-1], 1)], [[3, 0]], [[]], [[0] * 5, None]):
        index = tuple([np.array(i, int) if isinstance(i, list) else i for i in index])
        gradient = tg.grad(lambda x: np.sum(np.sin(x[index])))
        np.testing.assert_array_equal(tg.jit(gradient)(x), gradient(x), strict=True)
        zeros, added = np.zeros(shape), np.zeros(shape)
        np.add.at(added, index, np.cos(x[index]))
        np.testing.assert_allclose(gradient(x) + zeros, added, rtol=1e-15)


def test_sums_of_constants_at_constant_indices() -> None:
    def f(x: Any) -> Any:
        return x * tg.numpy.zeros(3).at[np.array([0, 0, 2])].add(np.array([1.0, 2.0, 3.0]))

    np.testing.assert_array_equal(tg.jit(f)(np.ones(3)), [3.0, 0.0, 3.0])
