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
