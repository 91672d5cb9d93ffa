"""sinc."""

from __future__ import annotations

import math

import jax
import mpmath
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same, same_as_numpy

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("order", range(1, 9))
def test_sinc_has_every_derivative(order: int) -> None:
    f = np.sinc
    for _ in range(order):
        f = tg.grad(f)
    with mpmath.workdps(60):
        for x in (0.0, 1e-9, 0.01, 0.3, 0.32, 0.7, 1.0, 1.27, 1.3, 2.5, 10.0, -0.4, -3.3):
            if x == 0:
                k = order // 2
                truth = 0.0 if order % 2 else (-1) ** k * math.pi**order / (order + 1)
            else:
                truth = float(mpmath.diff(lambda t: mpmath.sin(mpmath.pi * t) / (mpmath.pi * t), mpmath.mpf(x), order))
            same(f(x), truth, rtol=1e-12, atol=1e-13 * math.pi**order)


def test_sinc_of_integers_and_of_low_precision() -> None:
    same_as_numpy(np.sinc, np.array([0, 1, 2]))
    assert tg.grad(lambda x: np.sum(np.sinc(x)))(np.array([0.0, 0.3], np.float32)).dtype == np.float32
