"""Axes that go together, against the elements that change. Patterns of whole functions: tests/transforms/test_sparsity.py."""

from __future__ import annotations

import itertools

import numpy as np

from tracegrad.core.types import ArrayType
from tracegrad.ops.reach import aligned, batch_of, in_windows, of_columns, of_kept_axes, of_other_axes, of_running

FLOAT = np.dtype(float)


def test_windows() -> None:
    for n, window, stride, low, base, within in itertools.product(
        [1, 4, 5], [1, 3], [1, 2], [-2, 0, 3], [1, 2], [1, 3]
    ):
        spread = np.full(n * base + 20, -1)
        places = low + base * np.arange(n)
        spread[places[places >= 0]] = np.arange(n)[places >= 0]
        pairs = {(k, int(spread[k * stride + j * within])) for k in range(4) for j in range(window)}
        found = in_windows(n, 4, window, stride, low, base, within)
        assert set(zip(*[f.tolist() for f in found], strict=True)) == {(k, j) for k, j in pairs if j >= 0}


def test_axes() -> None:
    t = ArrayType((2, 1, 3), FLOAT)
    out = ArrayType((5, 2, 4, 3), FLOAT)
    assert aligned(t.shape, out.shape) == [(0, 1, None), (2, 3, None)]
    assert batch_of(1)(0, [t], out, {}, [None]).axes == [(0, 1, None)]
    assert of_other_axes(0, [t], t, {"axis": 2}, [None]).axes == [(0, 0, None), (1, 1, None)]
    assert of_kept_axes(0, [t], t, {"axes": (0, 1), "keepdims": True}, [None]).axes == [(2, 2, None)]
    assert of_kept_axes(0, [t], ArrayType((3,), FLOAT), {"axes": (0, 1), "keepdims": False}, [None]).axes == [
        (2, 0, None)
    ]
    assert of_columns(1, [t, ArrayType((3,), FLOAT)], ArrayType((3,), FLOAT), {}, [None, None]).axes == []
    rows = of_columns(1, [t, t], t, {"left_side": False}, [None, None])
    assert rows.axes == [(0, 0, None), (1, 1, None)]
    places = of_running(0, [t], t, {"axis": 2, "reverse": True}, [None]).axes[2][2]
    assert [p.tolist() for p in places] == [[0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]]
