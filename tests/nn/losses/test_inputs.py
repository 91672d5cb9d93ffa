"""What every loss does with dtypes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn


def test_floats_keep_their_dtype_and_integers_take_it() -> None:
    x = np.ones(3, np.float16)
    assert nn.squared_error(x, np.ones(3, int)).dtype == np.float16
    assert nn.squared_error(x, np.ones(3, np.float32)).dtype == np.float32
    assert nn.hinge_loss(np.ones(3, np.float32), [1, -1, 1]).dtype == np.float32
    assert nn.huber_loss(np.ones(3, np.float32), 2).dtype == np.float32
    assert nn.huber_loss(3.0, 1.0) == 1.5


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_half_floats_are_computed_in_float32(backend: str) -> None:
    x = np.array([300.0, 300.0], np.float16)
    mean = tg.jit(lambda x: nn.l2_loss(x, x - 200), backend=backend)
    assert np.asarray(mean(x)).tolist() == [20000.0, 20000.0]


def test_jax_arrays() -> None:
    x = jnp.array([1.0, 2.0])
    out = nn.squared_error(x, jnp.array([0.0, 0.0]))
    assert type(out) is type(x) and out.tolist() == [1.0, 4.0]
    assert nn.softmax_cross_entropy_with_integer_labels(x, jnp.array(1)).shape == ()
