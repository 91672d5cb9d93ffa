"""Means in half precision, and the root of a variance of zero."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
from tests.ops.reduce import traced
from tracegrad.ops.reduce import means


def test_half_floats_are_added_up_in_float32() -> None:
    x = np.full(5000, 1.0, np.float16)
    assert traced(np.mean, x) == 1.0
    assert tg.jit(np.mean)(x).dtype == np.float16
    near = np.float32(1 / 5000)
    np.testing.assert_allclose(tg.grad(np.mean)(x).astype(np.float32), near, rtol=1e-3)


def test_the_root_of_a_variance_of_zero_has_derivative_zero() -> None:
    assert tg.grad(means.safe_sqrt)(0.0) == 0.0
    np.testing.assert_array_equal(tg.grad(np.std)(np.ones(3)), np.zeros(3))
