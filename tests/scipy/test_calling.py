"""Which function a name of SciPy's stands for."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import scipy.signal

import tracegrad as tg
from tracegrad.scipy import signal
from tracegrad.scipy.calling import is_traced, needed, of_scipy


@of_scipy("scipy.signal")
def detrend(data: Any, type: str = "linear") -> Any:
    return "ours"


def test_plain_arrays_are_scipys() -> None:
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(detrend(x), scipy.signal.detrend(x))
    assert detrend.__name__ == "detrend"
    found: list[Any] = []
    tg.eval_shape(
        lambda x: found.extend([detrend(x), detrend(data=x), detrend([1.0, (x, 2.0)]), is_traced([1.0, x])]), x
    )
    assert found == ["ours", "ours", "ours", True]
    assert not is_traced((1.0, [2.0]))


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([1.0, 2.0, 4.0])
    expected = scipy.signal.convolve(x, x)
    for name in [name for name in sys.modules if name.split(".")[0] == "scipy"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert detrend(x) == "ours"
    np.testing.assert_allclose(signal.convolve(x, x), expected)
    with pytest.raises(ImportError, match=r"needs scipy\.signal, .*pip install 'tracegrad\[scipy\]'"):
        needed("scipy.signal")
    with pytest.raises(ImportError, match=r"pip install 'tracegrad\[scipy\]'"):
        signal.lfilter([1.0], [1.0, 0.5], x)
