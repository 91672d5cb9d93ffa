"""Arrays beyond their ends, in SciPy's words."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy.ndimage.boundaries import (
    as_output,
    checked_axes,
    continued,
    for_each_axis,
    known_mode,
    output_dtype,
)


def test_continued() -> None:
    x = np.array([1.0, 2.0, 3.0])
    for mode, expected in {
        "reflect": [2, 1, 1, 2, 3, 3],
        "mirror": [3, 2, 1, 2, 3, 2],
        "nearest": [1, 1, 1, 2, 3, 3],
        "wrap": [2, 3, 1, 2, 3, 1],
        "constant": [7, 7, 1, 2, 3, 7],
    }.items():
        np.testing.assert_array_equal(tg.jit(lambda x, m=mode: continued(x, [(2, 1)], m, 7.0))(x), expected)
    with pytest.raises(ValueError, match="the boundary mode must be one of"):
        known_mode("odd")


def test_one_for_each_axis() -> None:
    assert for_each_axis(2, 2, "size") == [2, 2]
    assert for_each_axis("wrap", 2, "mode") == ["wrap", "wrap"]
    assert for_each_axis((1, 2), 2, "size") == [1, 2]
    assert checked_axes(None, 2) == [0, 1] and checked_axes(-1, 3) == [2]
    for wrong in ((0, 0), 3):
        with pytest.raises(ValueError, match="axes must be different ones of 2"):
            checked_axes(wrong, 2)


def test_dtypes() -> None:
    x = np.array([1.5, -1.5, 2.4])
    np.testing.assert_array_equal(as_output(x, np.dtype(int)), [1, -1, 2])
    np.testing.assert_array_equal(as_output(x, np.dtype(int), rounded=True), [2, -2, 2])
    assert output_dtype("f", None, x.astype(np.float32)) == np.float32
    assert output_dtype("f", np.float32, x, 1j * x) == np.complex64
