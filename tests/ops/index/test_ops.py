"""Places that are traced."""

from __future__ import annotations

import jax
import numpy as np

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.ops.index import at

jax.config.update("jax_enable_x64", True)


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
