"""Where windows lie, counted one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tracegrad.core.errors import ShapeError
from tracegrad.ops.window.geometry import dilated, landing, padded_and_dilated, padding_pairs, window_count, window_view


@pytest.mark.parametrize("n, size, stride, dilation", list(itertools.product((0, 1, 5), (1, 2, 3), (1, 2), (1, 2))))
def test_windows_are_counted(n: int, size: int, stride: int, dilation: int) -> None:
    starts = [s for s in range(0, n, stride) if s + (size - 1) * dilation < n]
    assert window_count(n, size, stride, dilation) == len(starts)
    x = np.arange(n)
    expected = [[s + j * dilation for j in range(size)] for s in starts]
    assert window_view(x, 0, (size,), (stride,), (dilation,)).tolist() == expected


@pytest.mark.parametrize("start, step", list(itertools.product((-5, -1, 0, 2, 9), (1, 2, 3))))
def test_what_lands(start: int, step: int) -> None:
    source, target = landing(4, start, step, 7)
    pairs = [(i, start + i * step) for i in range(4) if 0 <= start + i * step < 7]
    assert list(zip(range(4)[source], range(7)[target], strict=True)) == pairs


def test_holes_and_padding() -> None:
    x = np.array([1.0, 2.0, 3.0])
    assert padded_and_dilated(x, [(1, -1)], [2], -9.0).tolist() == [-9.0, 1.0, -9.0, 2.0, -9.0]
    assert padded_and_dilated(x, [(0, 0)], [1], 0.0) is x
    assert dilated(3, 2) == 5 and dilated(0, 2) == 0
    assert padding_pairs("f", "SAME", (5,), (2,), (1,)) == ((0, 1),)
    assert padding_pairs("f", "SAME_LOWER", (5,), (2,), (1,)) == ((1, 0),)
    with pytest.raises(ShapeError, match="one for each axis of the windows"):
        padding_pairs("f", [(1, 1)], (5, 5), (2, 2), (1, 1))
