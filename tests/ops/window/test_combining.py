"""Arrays combined over windows."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tests.ops.window.test_reduce import COMPUTATIONS, array
from tracegrad.ops.window import combining as module
from tracegrad.ops.window import reduce_window


def test_long_windows_take_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 1000 elements over 5000: by doubling, in which sums agree to rounding and extremes exactly."""
    passes = []
    along = module.along
    monkeypatch.setattr(module, "along", lambda *args: passes.append(args) or along(*args))
    x = array(5000)
    windows = np.lib.stride_tricks.sliding_window_view(x, 1000)
    np.testing.assert_allclose(reduce_window(x, 0, np.add, (1000,)), windows.sum(-1), atol=1e-11)
    np.testing.assert_array_equal(reduce_window(x, -np.inf, np.maximum, (1000,)), windows.max(-1))
    assert len(passes) < 60
    place = np.arange(len(windows)) + windows.argmax(-1)
    g = tg.grad(lambda x: np.sum(reduce_window(x, -np.inf, np.maximum, (1000,))))(x)
    np.testing.assert_array_equal(g, np.bincount(place, minlength=5000))


def test_results_are_new_arrays() -> None:
    x = array(3, 2)
    for computation, start in COMPUTATIONS.values():
        out = reduce_window(x, start, computation, (1, 1))
        assert not np.shares_memory(out, x)
        np.testing.assert_array_equal(out, x)
