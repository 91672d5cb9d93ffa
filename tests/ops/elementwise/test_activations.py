"""Functions beneath the activations."""

from __future__ import annotations

import jax
import numpy as np

import tracegrad as tg
from tests.compare import near
from tracegrad.ops.elementwise import activations

jax.config.update("jax_enable_x64", True)


def test_logistic_of_complex() -> None:
    z = np.array([0.3 + 1j, -800.0 + 2j, 800.0 - 1j])
    near(activations.logistic(z), jax.nn.sigmoid(z))
    near(tg.grad(activations.logistic, holomorphic=True)(z[0]), jax.grad(jax.nn.sigmoid, holomorphic=True)(z[0]))
