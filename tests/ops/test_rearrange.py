"""Rolls and diagonals."""

from __future__ import annotations

import jax
import numpy as np

import tracegrad as tg

jax.config.update("jax_enable_x64", True)


def test_views_are_views() -> None:
    x = np.ones((2, 3))
    for f in (lambda x: x.T, lambda x: np.reshape(x, 6), lambda x: np.broadcast_to(x, (4, 2, 3)), lambda x: x[:, None]):
        assert np.shares_memory(tg.make_graph(f)(x)(x)[0], x)
    assert not tg.make_graph(lambda x: np.broadcast_to(x, (4, 2, 3)))(x)(x)[0].flags.writeable


def test_rolls_by_traced_shifts() -> None:
    x = np.arange(12.0).reshape(3, 4)
    for shift, axis in [((2,), 0), ((1, 2), (0, 1)), ((3, -1, 2), 0), (2, (0, 1)), ((1, 1), None), ((1, 7), (-1, -1))]:
        s, wanted = np.array(shift), np.roll(x, shift, axis)
        for backend in ("numpy", "xla"):
            np.testing.assert_array_equal(
                tg.jit(lambda x, s, axis=axis: np.roll(x, s, axis), backend=backend)(x, s), wanted
            )
        if s.ndim:
            np.testing.assert_array_equal(tg.jit(lambda x, s, axis=axis: np.roll(x, (*s,), axis))(x, s), wanted)
        w = x * x
        gradient = tg.grad(lambda x, s, axis=axis, w=w: np.sum(np.roll(x, s, axis) * w))(x, s)
        np.testing.assert_array_equal(gradient, np.roll(w, -s, axis))
