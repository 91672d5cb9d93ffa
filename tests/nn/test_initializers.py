"""Initialisers."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
from tracegrad import nn


def test_simple_ones() -> None:
    key = tg.random.PRNGKey(0)
    assert nn.initializers.zeros(key, (2,)).tolist() == [0, 0]
    assert nn.initializers.ones(key, (2,)).dtype == np.float32
    assert nn.initializers.constant(3)(key, (2,)).tolist() == [3, 3]
