"""jax's primitives of random numbers. A typed key is one uint64 here, so that whatever shapes arrays shapes keys too; where bits
are made it is the pair of uint32 that it is for tracegrad.random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import random
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.transforms.vmap import vmap
from tracegrad.xla.primitives.table import binds

_HALF = np.uint64(32)


def packed(pairs: Any) -> Any:
    """uint32[..., 2] as keys."""
    pairs = as_array(pairs)
    return astype(pairs[..., 0], np.uint64) << _HALF | astype(pairs[..., 1], np.uint64)


def unpacked(keys: Any) -> Any:
    """Keys as uint32[..., 2]."""
    return np.stack([astype(keys >> _HALF, np.uint32), astype(keys, np.uint32)], axis=-1)


def _for_each(function: Callable[..., Any], keys: Any, *numbers: Any) -> Any:
    """A function of one key as a pair, and perhaps a number, of all keys in an array."""
    shape, pairs = shape_of(keys), unpacked(keys)
    if not shape:
        return function(pairs, *numbers)
    out = vmap(function)(np.reshape(pairs, (-1, 2)), *[np.reshape(x, -1) for x in numbers])
    return np.reshape(out, (*shape, *shape_of(out)[1:]))


def _require_threefry(impl: Any) -> None:
    if str(impl) != "fry" and getattr(impl, "tag", "") != "fry":
        raise UnsupportedFunctionError(
            f"from_jax: keys of {impl} are none of threefry's, of which alone tracegrad makes random bits; write "
            "jax.random.key(seed), or impl='threefry2x32'"
        )


@binds("random_seed")
def _(seeds: Any, *, impl: Any) -> Any:
    """The key is the seed, of which 64 bits count; one of fewer has no higher ones."""
    _require_threefry(impl)
    wide = type_of(seeds).dtype.itemsize == 8
    return astype(seeds if wide else astype(seeds, np.uint32), np.uint64)


@binds("random_wrap")
def _(pairs: Any, *, impl: Any) -> Any:
    _require_threefry(impl)
    return packed(pairs)


@binds("random_unwrap")
def _(keys: Any) -> Any:
    return unpacked(keys)


@binds("random_clone")
def _(keys: Any) -> Any:
    return keys


@binds("random_bits")
def _(keys: Any, *, bit_width: int, shape: Any) -> Any:
    return _for_each(lambda key: random.bits(key, shape, np.dtype(f"u{bit_width // 8}")), keys)


@binds("random_split")
def _(keys: Any, *, shape: Any) -> Any:
    return packed(_for_each(lambda key: random.split(key, shape), keys))


@binds("random_fold_in")
def _(keys: Any, numbers: Any) -> Any:
    shape = np.broadcast_shapes(shape_of(keys), shape_of(numbers))
    return packed(_for_each(random.fold_in, np.broadcast_to(keys, shape), np.broadcast_to(numbers, shape)))


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


@binds("threefry2x32")
def _(k1: Any, k2: Any, x1: Any, x2: Any) -> Any:
    """Threefry-2x32 of counts that are given, 20 rounds (Salmon et al., SC 2011)."""
    parity = np.uint32(0x1BD11BDA)
    keys = (k1, k2, k1 ^ k2 ^ parity)
    a, b = x1 + keys[0], x2 + keys[1]
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            a = a + b
            b = (b << np.uint32(r) | b >> np.uint32(32 - r)) ^ a
        a, b = a + keys[(i + 1) % 3], b + keys[(i + 2) % 3] + np.uint32(i + 1)
    return a, b
