"""Initialisers: functions of (key, shape, dtype) that return arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import random
from tracegrad.lax import erf_inv
from tracegrad.ops.elementwise import astype
from tracegrad.typing import Array


def zeros(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return np.zeros(shape, dtype)


def ones(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return np.ones(shape, dtype)


def constant(value: Any) -> Callable[..., Array]:
    return lambda key, shape, dtype=np.float32: np.full(shape, value, dtype)


def lecun_normal() -> Callable[..., Array]:
    def init(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        bits = random.bits(key, shape, np.uint32)
        uniform = astype(bits, np.float64) / 2.0**32 * 1.9 - 0.95
        return astype(erf_inv(uniform) / math.sqrt(math.prod(shape[:-1]) / 2), dtype)

    return init
