"""np.bincount."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import same
from tests.ops.test_sort import agrees_along, like_a_loop, traced_and_typed
from tracegrad.core.errors import ConcretizationTypeError, DtypeError, ShapeError

jax.config.update("jax_enable_x64", True)
jax = pytest.importorskip("jax")

rng = np.random.default_rng(0)


def test_bincount() -> None:
    x, w = np.array([0, 3, 1, 3, 0, 0]), rng.normal(size=6)
    for numbers in (x, x.astype(np.uint8), x[:0]):
        weights = w[: numbers.size]
        for minlength in (0, 2, 7):
            f = lambda w: np.bincount(numbers, w, minlength)
            expected = f(weights).astype(float)  # of nothing, NumPy counts in integers
            same(traced_and_typed(f, weights), expected, 1e-14)
            same(traced_and_typed(f, weights.astype(np.float32)), expected, 1e-6)
            same(
                traced_and_typed(lambda x: np.bincount(x, minlength=minlength), numbers),
                np.bincount(numbers, minlength=minlength),
            )
            same(traced_and_typed(lambda x: np.bincount(x, weights, minlength), numbers), expected, 1e-14)
    same(traced_and_typed(lambda w: np.bincount(x, w), np.arange(6)), np.bincount(x, np.arange(6)))
    agrees_along(lambda xp, w: xp.bincount(x, w, length=5) if xp is jnp else xp.bincount(x, w, 5), w)
    assert tg.grad(lambda w: np.sum(np.bincount(x, w)))(w.astype(np.float32)).dtype == np.float32
    several = rng.normal(size=(3, 6))
    like_a_loop(lambda w: np.bincount(x, w, 5), several)
    like_a_loop(tg.grad(lambda w: np.sum(np.bincount(x, w, 5) ** 2)), several)
    with pytest.raises(
        ConcretizationTypeError, match=r"say how many numbers there are: tnp\.bincount\(\.\.\., length=n\)"
    ):
        tg.eval_shape(np.bincount, x)
    with pytest.raises(ShapeError, match="must be vectors of one length"):
        traced_and_typed(lambda w: np.bincount(x, w), w[1:])
    with pytest.raises(DtypeError, match="complex weights"):
        traced_and_typed(lambda w: np.bincount(x, w), w + 1j)


def test_small_unsigned_integers_have_so_many_places() -> None:
    x = np.array([3, 255, 0, 3], np.uint8)
    w = np.array([0.5, 1.0, 2.0, 4.0])
    np.testing.assert_array_equal(tg.jit(lambda x: np.bincount(x, minlength=256))(x), np.bincount(x, minlength=256))
    np.testing.assert_array_equal(tg.jit(lambda x: np.bincount(x, minlength=300))(x), np.bincount(x, minlength=300))
    np.testing.assert_array_equal(tg.jit(lambda x, w: np.bincount(x, w, 256))(x, w), np.bincount(x, w, 256))
    np.testing.assert_array_equal(tg.jit(lambda x: tnp.bincount(x, length=256))(x), np.bincount(x, minlength=256))
    with pytest.raises(TypeError, match="length=n"):
        tg.jit(lambda x: np.bincount(x, minlength=255))(x)
