"""Extremes and limits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same, same_as_numpy
from tracegrad.core.errors import (
    UnsupportedFunctionError,
)

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("limits", [(0.0, 1.0), (None, 1.0), (0.0, None), (1.0, 0.0)])
def test_clip_shares_at_its_limits_as_jax(limits: tuple[Any, Any]) -> None:
    x = np.array([0.0, 1.0, 0.5, -1.0, 2.0, np.nan])
    ours = tg.grad(lambda x: np.sum(np.clip(x, *limits)))(x)
    same(ours, jax.grad(lambda x: jnp.sum(jnp.clip(x, *limits)))(x))


@pytest.mark.numpy("2.1.0")
def test_clip_takes_limits_as_numpy_does() -> None:
    x = np.linspace(-2, 2, 7)
    low = np.full(7, -0.5)
    for f in (
        lambda x: np.clip(x, -1, 1),
        lambda x: np.clip(x, -1.0, None),
        lambda x: np.clip(x, None, 1),
        lambda x: np.clip(x, a_min=-1, a_max=0.5),
        lambda x: np.clip(x, min=-1, max=0.5),
        lambda x: np.clip(x, min=low),
        lambda x: np.clip(x, low, -low),
        lambda x: np.clip(x),
        lambda x: x.clip(-1, 1),
        lambda x: x.clip(max=1),
        lambda x: np.clip(x, 1.0, -1.0),
    ):
        same_as_numpy(f, x)
        same_as_numpy(f, x.astype(np.float32))
    same_as_numpy(lambda n: np.clip(n, 2, 4), np.arange(7))
    same(tg.grad(lambda low: np.sum(np.clip(x, low, 1.0)))(-1.1), 2.0)
    with pytest.raises(ValueError, match="given twice"):
        tg.grad(lambda x: np.clip(x, 0, 1, min=0))(1.0)
    with pytest.raises(UnsupportedFunctionError, match="out="):
        tg.grad(lambda x: np.clip(x, 0, 1, out=np.zeros(())))(1.0)
