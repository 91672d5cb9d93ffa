"""Points in the plane, made from a key: what a small network learns in seconds, and one can see how."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad import random
from tracegrad.core.arguments import whole
from tracegrad.data.batches import key_of

Array = np.ndarray[Any, Any]

# Each returns points [n, 2], float32, and their classes [n], int32.


def _normal(key: Any, n: int, scale: float) -> Array:
    return np.asarray(random.normal(key, (n, 2), np.float32)) * np.float32(scale)


def _uniform(key: Any, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Array:
    return np.asarray(random.uniform(key, shape, np.float32, low, high))


def _classes(n: int, count: int) -> Array:
    return (np.arange(n) % count).astype(np.int32)


def two_clusters(key: Any, n: int = 200, *, noise: float = 0.5) -> tuple[Array, Array]:
    """Two round clouds about (-1, -1) and (1, 1).

    >>> points, classes = two_clusters(0, 6)
    >>> points.shape, classes.tolist()
    ((6, 2), [0, 1, 0, 1, 0, 1])
    """
    whole(n, "data.two_clusters", "n", 1)
    classes = _classes(n, 2)
    return _normal(key_of(key), n, noise) + (2 * classes[:, None] - 1).astype(np.float32), classes


def xor_clusters(key: Any, n: int = 200, *, noise: float = 0.35) -> tuple[Array, Array]:
    """Four round clouds about (±1, ±1); the class is whether both signs are alike. No straight line separates them.

    >>> import tracegrad as tg
    >>> x, y = tg.data.xor_clusters(0, 120)
    >>> x.shape, x.dtype.name, sorted(set(y.tolist()))
    ((120, 2), 'float32', [0, 1])
    """
    whole(n, "data.xor_clusters", "n", 1)
    corner = np.arange(n) % 4
    signs = np.stack([1 - 2 * (corner // 2), 1 - 2 * (corner % 2)], 1)
    return _normal(key_of(key), n, noise) + signs.astype(np.float32), (signs[:, 0] != signs[:, 1]).astype(np.int32)


def spirals(
    key: Any, n: int = 300, *, classes: int = 3, turns: float = 0.75, noise: float = 0.02
) -> tuple[Array, Array]:
    """Arms of a spiral, one a class, wound about one another within the unit circle.

    >>> import tracegrad as tg
    >>> x, y = tg.data.spirals(0, 120)
    >>> x.shape, x.dtype.name, sorted(set(y.tolist()))
    ((120, 2), 'float32', [0, 1, 2])
    """
    whole(n, "data.spirals", "n", 1)
    along, across = random.split(key_of(key))
    which = _classes(n, classes)
    radius = _uniform(along, (n,), 0.05, 1.0)
    angle = np.float32(2 * math.pi) * (np.float32(turns) * radius + which.astype(np.float32) / np.float32(classes))
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return points + _normal(across, n, noise), which


def moons(key: Any, n: int = 200, *, noise: float = 0.1) -> tuple[Array, Array]:
    """Two half circles, each of which reaches into the other.

    >>> import tracegrad as tg
    >>> x, y = tg.data.moons(0, 120)
    >>> x.shape, x.dtype.name, sorted(set(y.tolist()))
    ((120, 2), 'float32', [0, 1])
    """
    whole(n, "data.moons", "n", 1)
    along, across = random.split(key_of(key))
    which = _classes(n, 2)
    angle = _uniform(along, (n,), 0.0, math.pi)
    upper = which == 0
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), np.float32(0.5) - np.sin(angle))
    return np.stack([x, y], 1).astype(np.float32) + _normal(across, n, noise), which


def checkerboard(key: Any, n: int = 400, *, squares: int = 4) -> tuple[Array, Array]:
    """Points all over [-1, 1]²; the class is the colour of the square of a board that one is on.

    >>> import tracegrad as tg
    >>> x, y = tg.data.checkerboard(0, 120)
    >>> x.shape, x.dtype.name, sorted(set(y.tolist()))
    ((120, 2), 'float32', [0, 1])
    """
    whole(n, "data.checkerboard", "n", 1)
    points = _uniform(key_of(key), (n, 2), -1.0, 1.0)
    place = np.floor((points + 1) * np.float32(squares / 2)).astype(int)
    return points, (place.sum(1) % 2).astype(np.int32)
