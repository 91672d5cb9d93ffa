"""Points made from a key."""

from __future__ import annotations

import numpy as np
import pytest

from tracegrad import data

MADE = ["two_clusters", "xor_clusters", "spirals", "moons", "checkerboard"]


@pytest.mark.parametrize("name", MADE)
def test_points(name: str) -> None:
    make = getattr(data, name)
    points, classes = make(0, 120)
    assert (points.shape, points.dtype, classes.shape, classes.dtype) == ((120, 2), np.float32, (120,), np.int32)
    again, _ = make(0, 120)
    other, _ = make(1, 120)
    assert (points == again).all() and (points != other).any()
    counts = np.bincount(classes)
    assert len(counts) == (3 if name == "spirals" else 2) and counts.min() > 30


def test_which_class_is_where() -> None:
    x, y = data.two_clusters(0, 100, noise=0.1)
    assert ((x.sum(1) > 0) == y).all()
    x, y = data.xor_clusters(0, 100, noise=0.1)
    assert ((x[:, 0] * x[:, 1] < 0) == y).all()
    x, y = data.moons(0, 100, noise=0.0)
    centre = np.where(y[:, None] == 0, [0, 0], [1, 0.5])
    np.testing.assert_allclose(np.hypot(*(x - centre).T), 1, rtol=1e-5)
    x, y = data.checkerboard(0, 100, squares=2)
    assert ((x[:, 0] * x[:, 1] < 0) == y).all()
    x, y = data.spirals(0, 90, noise=0.0, turns=0.0)
    np.testing.assert_allclose(np.arctan2(x[:, 1], x[:, 0]) % (2 * np.pi), y * 2 * np.pi / 3, atol=1e-5)
