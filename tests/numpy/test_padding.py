"""np.pad."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.numpy import padding

jax.config.update("jax_enable_x64", True)


@pytest.mark.numpy("2.4.0")
def test_pad_widths_by_axis() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for width in ({0: 1}, {-1: (0, 2)}):
        np.testing.assert_array_equal(tg.make_graph(lambda x, w=width: np.pad(x, w))(x)(x)[0], np.pad(x, width))


def test_pad_widths() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for width in [1, (1, 2), [(1, 2)], ((0, 1), (2, 0)), np.array([1, 2])]:
        np.testing.assert_array_equal(tg.make_graph(lambda x, w=width: np.pad(x, w))(x)(x)[0], np.pad(x, width))
    np.testing.assert_array_equal(
        tg.grad(lambda c: np.sum(padding.pad(x, 1, constant_values=c)))(1.0), 2 * 5 + 2 * 2
    )  # plain array, traced constant
