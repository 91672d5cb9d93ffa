"""Kernels slid over arrays."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
from tracegrad.scipy.sliding import slid


def test_slid() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=6), rng.normal(size=3)
    for pads, expected in {
        ((0, 0),): np.correlate(x, w, "valid"),
        ((2, 2),): np.correlate(x, w, "full"),
        ((1, 0),): np.correlate(x, w, "same")[:-1],
    }.items():
        np.testing.assert_allclose(tg.jit(lambda x, w, p=pads: slid(x, w, p))(x, w), expected, rtol=1e-12, atol=1e-14)
    x, w = rng.normal(size=(3, 4)), rng.normal(size=(2, 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2))
    np.testing.assert_allclose(slid(x, w, [(0, 0), (0, 0)]), (windows * w).sum((-2, -1)), rtol=1e-12)
