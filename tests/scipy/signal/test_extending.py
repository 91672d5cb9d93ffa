"""Signals in segments, and beyond their ends."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tracegrad.scipy.signal.extending import extended, moved_last, segments


def test_extended() -> None:
    x = np.array([1.0, 2.0, 4.0])
    for how, expected in {
        "even": [4, 2, 1, 2, 4, 2, 1],
        "odd": [-2, 0, 1, 2, 4, 6, 7],
        "constant": [1, 1, 1, 2, 4, 4, 4],
        "zeros": [0, 0, 1, 2, 4, 0, 0],
    }.items():
        same(tg.jit(lambda x, how=how: extended(x, 2, how))(x), np.array(expected, float))
    same(extended(x, 0, "odd"), x)
    with pytest.raises(ValueError, match=r"the extension by 3 at .* must not exceed .* 2"):
        tg.jit(lambda x: extended(x, 3, "even"))(x)


def test_segments_and_axes() -> None:
    same(tg.jit(lambda x: segments(x, 3, 2))(np.arange(6.0)), np.array([[0.0, 1, 2], [2, 3, 4]]))
    assert moved_last(np.ones((2, 3, 4)), 1).shape == (2, 4, 3)
    assert moved_last(np.float64(1.0), -1).shape == (1,)
