"""Rounding."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same_as_numpy
from tracegrad.core.errors import (
    DtypeError,
)

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("decimals", [0, 2, -1])
def test_round(decimals: int) -> None:
    for x in (np.array([1.255, -13.5, 2.5, 3.5]), np.array([1.255, 15.5], np.float32), np.array([15, 25, -7])):
        same_as_numpy(lambda x: np.round(x, decimals), x)
        same_as_numpy(lambda x: np.around(x, decimals=decimals), x)
        same_as_numpy(lambda x: x.round(decimals), x)
    assert np.all(tg.grad(lambda x: np.sum(np.round(x, decimals)))(np.ones(3)) == 0)
    same_as_numpy(lambda x: round(x, decimals), np.float64(1.255))


def test_round_of_booleans_is_refused_as_by_numpy_arithmetic() -> None:
    with pytest.raises(DtypeError, match=r"astype\(int\)"):
        tg.eval_shape(np.round, np.array([True]))
