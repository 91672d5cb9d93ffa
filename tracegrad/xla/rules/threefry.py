"""Random bits, by the generator of jax.random."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.xla.values import cast, spread


@lowers("threefry2x32")
def _threefry(out: tuple[ArrayType, ArrayType], key: Any, start: Any, *, shape: tuple[int, ...]) -> Any:
    whole, size = out[0].shape, math.prod(shape)
    key, start = cast(key, np.uint32), cast(start, np.uint64)
    batch = key.shape[:-1]
    start = lax.broadcast_in_dim(spread(start, batch), (*batch, size), tuple(range(len(batch))))
    counts = lax.reshape(start + lax.iota(np.uint64, size), whole)
    words = [lax.broadcast_in_dim(key[..., i], whole, tuple(range(len(batch)))) for i in (0, 1)]
    # Imported at the first use, since jax.extend brings with it what takes 17 ms to load.
    threefry2x32: Any = importlib.import_module("jax.extend.random").threefry2x32_p
    return threefry2x32.bind(*words, cast(counts >> np.uint64(32), np.uint32), cast(counts, np.uint32))
