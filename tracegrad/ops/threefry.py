"""Random bits as a function of a key and a place: Threefry-2x32 with 20 rounds.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. It is the generator
of jax.random, and its bits here are the same on both backends: a pair of words for each count, with nothing to carry from
one to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.families import locally_constant, shape_of
from tracegrad.typing import Array, ArrayLike

Words = tuple[Any, Any]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of five times four rounds, in turn
PARITY = np.uint32(0x1BD11BDA)


def _threefry(key: Any, start: Any, shape: tuple[int, ...]) -> Words:
    key = np.asarray(key).astype(np.uint32)
    batch = key.shape[:-1]
    first, second = [key[..., i].reshape(*batch, 1) for i in (0, 1)]
    keys = (first, second, first ^ second ^ PARITY)
    start = np.broadcast_to(np.asarray(start).astype(np.uint64), batch)
    counts = start[..., None] + np.arange(math.prod(shape), dtype=np.uint64)
    high, low = (counts >> np.uint64(32)).astype(np.uint32), counts.astype(np.uint32)
    high += first
    low += second
    turned = np.empty_like(low)
    for step in range(5):
        for rotation in ROTATIONS[step % 2]:
            high += low
            np.right_shift(low, np.uint32(32 - rotation), out=turned)
            low <<= np.uint32(rotation)
            low |= turned
            low ^= high
        high += keys[(step + 1) % 3]
        low += keys[(step + 2) % 3]
        low += np.uint32(step + 1)
    return high.reshape(batch + shape), low.reshape(batch + shape)


def _threefry_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ArrayType]:
    words = ArrayType((*types[0].shape[:-1], *params["shape"]), np.dtype(np.uint32))
    return words, words


def _threefry_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Words:
    key, start = inputs
    if not batched[0]:
        key = np.broadcast_to(key, (size, *shape_of(key)))
    if batched[1]:
        between = len(shape_of(key)) - 1 - len(shape_of(start))
        start = np.reshape(start, (size, *(1,) * between, *shape_of(start)[1:]))
    return bind(threefry_op, (key, start), params)


def _threefry_samples() -> Iterable[Sample]:
    yield Sample((np.array([3, 4]), np.array(0)), {"shape": (2, 3)})
    yield Sample((np.array([0, 5]), np.array(7)), {"shape": ()})
    yield Sample((np.array([[1, 2], [3, 4], [0, 0]]), np.array([0, 5, 9])), {"shape": (2,)})


threefry_op: Op = locally_constant(
    "threefry2x32", _threefry, infer=_threefry_type, batch=_threefry_batch, kinds="iu", samples=_threefry_samples,
    multiple_results=True, never_aliases=True,
)  # fmt: skip


def threefry2x32(key: Array, start: ArrayLike, shape: tuple[int, ...]) -> Words:
    """Two arrays of random words, for the counts `start`, `start + 1`, ... in an array of this shape.

    Args:
        key: integers of shape (..., 2), of which the lowest 32 bits count.
        start: an integer, or one for each key.
        shape: of the words for one key.

    Returns:
        The high words and the low ones, uint32, of shape (..., *shape).
    """
    return bind(threefry_op, (key, start), {"shape": shape})
