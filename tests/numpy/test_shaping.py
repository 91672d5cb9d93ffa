"""Functions that move elements, under NumPy's names."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ConcretizationTypeError

jax.config.update("jax_enable_x64", True)


def test_scalar_python_inputs() -> None:
    assert tg.grad(lambda x: np.sum(np.reshape(x, (1,)) * 3.0))(2.0) == 3.0
    assert tg.grad(lambda x: np.sum(np.broadcast_to(x, (4,))))(2.0) == 4.0
    assert tg.grad(lambda x: np.sum(np.stack([x, 2.0, x])))(2.0) == 2.0
    assert tg.grad(lambda x: np.sum(np.tile(x, 3)))(2.0) == 3.0


def test_traced_shift_and_repeats() -> None:
    x = np.arange(4.0)
    np.testing.assert_array_equal(
        tg.vmap(lambda s: np.roll(tg.vmap(lambda v: v)(x), 0) + 0 * s)(np.arange(2.0)), [x, x]
    )
    rolled = tg.vmap(lambda x, s: np.roll(x, s), in_axes=(None, 0))(x, np.array([0, 1, -2]))
    np.testing.assert_array_equal(rolled, [np.roll(x, s) for s in (0, 1, -2)])
    with pytest.raises(ConcretizationTypeError, match=r"np\.repeat"):
        tg.vmap(lambda n: np.repeat(n, n))(np.array([1, 2]))


def test_trim_zeros() -> None:
    x = np.array([0.0, 1.0, 2.0, 0.0, 3.0, 0.0])
    for trim in ("f", "b", "fb"):
        np.testing.assert_array_equal(
            tg.make_graph(lambda x, t=trim: np.trim_zeros(x, t))(x)(x)[0], np.trim_zeros(x, trim)
        )
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.trim_zeros(x) ** 2))(x), 2 * x)
    assert tg.make_graph(np.trim_zeros)(0 * x)(x)[0].shape == (0,)
