"""Products that keep zeros."""

from __future__ import annotations

import jax
import numpy as np

import tracegrad as tg
from tracegrad.ops.elementwise import products

jax.config.update("jax_enable_x64", True)


def test_zero_times_infinity_is_zero() -> None:
    x, y = np.array([0.0, 2.0, 0.0]), np.array([-np.inf, 3.0, 4.0])
    assert products.multiply_keeping_zeros(x, y).tolist() == [0.0, 6.0, 0.0]
    by_x, by_y = tg.grad(lambda x, y: np.sum(products.multiply_keeping_zeros(x, y)), (0, 1))(x, y)
    assert by_x.tolist() == [0.0, 3.0, 4.0]
    assert by_y.tolist() == [0.0, 2.0, 0.0]
