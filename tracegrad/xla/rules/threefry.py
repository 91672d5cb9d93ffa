"""Random bits, by the generator of jax.random."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.ops.threefry import FRACTIONS
from tracegrad.xla.values import broadcast_to, cast


def _words(key: Any, start: Any, whole: tuple[int, ...], size: int) -> Any:
    key, start = cast(key, np.uint32), cast(start, np.uint64)
    batch = key.shape[:-1]
    start = lax.broadcast_in_dim(broadcast_to(start, batch), (*batch, size), tuple(range(len(batch))))
    counts = lax.reshape(start + lax.iota(np.uint64, size), whole)
    words = [lax.broadcast_in_dim(key[..., i], whole, tuple(range(len(batch)))) for i in (0, 1)]
    # Imported at the first use, since jax.extend brings with it what takes 17 ms to load.
    threefry2x32: Any = importlib.import_module("jax.extend.random").threefry2x32_p
    return threefry2x32.bind(*words, cast(counts >> np.uint64(32), np.uint32), cast(counts, np.uint32))


@lowers("threefry2x32")
def _threefry(out: tuple[ArrayType, ArrayType], key: Any, start: Any, *, shape: tuple[int, ...]) -> Any:
    return _words(key, start, out[0].shape, math.prod(shape))


@lowers("random_bits")
def _random_bits(out: ArrayType, key: Any, *, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    high, low = _words(key, 0, out.shape, math.prod(shape))
    drawn, fraction = FRACTIONS.get(dtype.name, (8 * dtype.itemsize, 0))
    if drawn == 64:
        bits = cast(high, np.uint64) << np.uint64(32) | cast(low, np.uint64)
        if not fraction:
            return bits
        ones = bits >> np.uint64(64 - fraction) | np.uint64(0x3FF << 52)
        return lax.bitcast_convert_type(ones, np.float64) - 1
    bits = high ^ low
    if not fraction:
        return cast(bits, dtype)
    fractions = bits << np.uint32(32 - drawn) >> np.uint32(32 - fraction) << np.uint32(23 - fraction)
    return cast(lax.bitcast_convert_type(fractions | np.uint32(0x7F << 23), np.float32) - np.float32(1), dtype)
