"""Random bits as a function of a key and a place: Threefry-2x32 with 20 rounds.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. It is the generator
of jax.random, and its bits here are the same on both backends: a pair of words for each count, with nothing to carry from
one to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.families import locally_constant, shape_of
from tracegrad.typing import Array, ArrayLike

Words = tuple[Any, Any]

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)  # of the rounds, in turn
PARITY = 0x1BD11BDA
WORD = 0xFFFFFFFF
FEW = 6  # words up to which Python's integers are faster than NumPy's calls
BLOCK = 1 << 15  # words, so that the three arrays that are worked on stay in a cache of 1 MiB
_SHIFTS = [np.array(i, np.uint32) for i in range(33)]


def _key_schedule(first: Any, second: Any) -> list[tuple[Any, Any]]:
    """What is added to the two words after each four rounds; to begin with, the key itself."""
    keys = (first, second, first ^ second ^ PARITY)
    return [(keys[step % 3], (keys[(step + 1) % 3] + step) & WORD) for step in range(6)]


def _one(first: int, second: int, count: int) -> tuple[int, int]:
    """The two words of one count, in Python's integers."""
    keys = _key_schedule(first, second)
    high, low = (count >> 32) + first & WORD, count + second & WORD
    for step in range(5):
        for r in ROTATIONS[:4] if step % 2 == 0 else ROTATIONS[4:]:
            high = high + low & WORD
            low = (low << r & WORD | low >> 32 - r) ^ high
        more_high, more_low = keys[step + 1]
        high, low = high + more_high & WORD, low + more_low & WORD
    return high, low


def _rounds(high: Any, low: Any, turned: Any, keys: Sequence[tuple[Any, Any]]) -> None:
    """The twenty rounds in place, of counts to which the key has been added. `turned` is what they work in."""
    for step in range(5):
        for r in ROTATIONS[:4] if step % 2 == 0 else ROTATIONS[4:]:
            np.add(high, low, high)
            np.right_shift(low, _SHIFTS[32 - r], turned)
            np.left_shift(low, _SHIFTS[r], low)
            np.bitwise_or(low, turned, low)
            np.bitwise_xor(low, high, low)
        more_high, more_low = keys[step + 1]
        np.add(high, more_high, high)
        np.add(low, more_low, low)


def _words(key: Any, start: Any, size: int) -> Iterator[tuple[slice, Any, Any]]:
    """The words of `size` counts from each start on, for keys of shape (..., 2), block by block: which of them, counted
    through all keys, and the high and the low words, which may be written over."""
    key = np.asarray(key).astype(np.uint32)
    starts = np.broadcast_to(np.asarray(start).astype(np.uint64), key.shape[:-1]).reshape(-1)
    key = key.reshape(-1, 2)
    total = len(key) * size
    if total <= FEW:
        pairs = [
            _one(first, second, first_count + i & 0xFFFFFFFFFFFFFFFF)
            for (first, second), first_count in zip(key.tolist(), starts.tolist(), strict=True)
            for i in range(size)
        ]
        found = np.array(pairs, np.uint32).reshape(-1, 2)
        yield slice(total), found[:, 0], found[:, 1]
        return
    length = min(BLOCK, total)
    work: Any = np.empty((3, length), np.uint32)
    if size >= BLOCK:  # a key at a time
        steps = np.arange(length, dtype=np.uint32)
        for row, ((first, second), first_count) in enumerate(zip(key.tolist(), starts.tolist(), strict=True)):
            keys = [(np.array(a, np.uint32), np.array(b, np.uint32)) for a, b in _key_schedule(first, second)]
            for begin in range(0, size, length):
                high, low, turned = work[:, : min(length, size - begin)]
                count = first_count + begin
                np.add(steps[: low.size], np.array(count + second & WORD, np.uint32), low)
                high.fill((count >> 32) + first & WORD)
                high[(1 << 32) - (count & WORD) :] += np.uint32(1)  # where the low word of the count begins anew
                _rounds(high, low, turned, keys)
                yield slice(row * size + begin, row * size + begin + low.size), high, low
        return
    for begin in range(0, total, length):
        row, column = np.divmod(np.arange(begin, min(begin + length, total)), size)
        counts = starts[row] + column.astype(np.uint64)
        keys = _key_schedule(key[row, 0], key[row, 1])
        high, low, turned = work[:, : len(row)]
        np.add((counts >> np.uint64(32)).astype(np.uint32), keys[0][0], high)
        np.add(counts.astype(np.uint32), keys[0][1], low)
        _rounds(high, low, turned, keys)
        yield slice(begin, begin + low.size), high, low


def _threefry(key: Any, start: Any, shape: tuple[int, ...]) -> Words:
    size, batch = math.prod(shape), np.shape(key)[:-1]
    high, low = [np.empty(math.prod(batch) * size, np.uint32) for _ in range(2)]
    for place, *words in _words(key, start, size):
        high[place], low[place] = words
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


# ---------------------------------------------------------------------------------------------------------------------
# Numbers made of the words as they come, while these lie in the cache.

# Of a float: the bits that are drawn for it, as jax draws them, and those that its fraction has.
FRACTIONS = {"float16": (16, 10), "bfloat16": (8, 7), "float32": (32, 23), "float64": (64, 52)}


def _random(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    size, batch = math.prod(shape), np.shape(key)[:-1]
    out = np.empty(math.prod(batch) * size, dtype)
    drawn, fraction = FRACTIONS.get(dtype.name, (8 * dtype.itemsize, 0))
    for place, high, low in _words(key, 0, size):
        numbers = out[place]
        if drawn == 64:
            bits = numbers.view(np.uint64)
            bits[...] = high
            bits <<= np.uint64(32)
            bits |= low
            if fraction:  # between 1 and 2, then less 1: all of that is exact
                bits >>= np.uint64(64 - fraction)
                bits |= np.uint64(0x3FF << 52)
                numbers -= 1.0
            continue
        low ^= high
        if fraction:
            low <<= np.uint32(32 - drawn)
            low >>= np.uint32(32 - fraction)
            low <<= np.uint32(23 - fraction)
            low |= np.uint32(0x7F << 23)
            numbers[...] = np.ascontiguousarray(low).view(np.float32) - np.float32(1)
        else:
            numbers[...] = low
    return out.reshape(batch + shape)


def _random_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType((*types[0].shape[:-1], *params["shape"]), params["dtype"])


def _random_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(random_op, tuple(inputs), params)


def _random_samples() -> Iterable[Sample]:
    yield Sample((np.array([3, 4]),), {"shape": (2, 3), "dtype": np.dtype("float64")})
    yield Sample((np.array([[1, 2], [0, 0]]),), {"shape": (2,), "dtype": np.dtype("uint8")})
    yield Sample((np.array([0, 5]),), {"shape": (7,), "dtype": np.dtype("float16")})
    yield Sample((np.array([[0, 5]]),), {"shape": (), "dtype": np.dtype("uint64")})
    yield Sample((np.array([1, 5]),), {"shape": (0,), "dtype": np.dtype("float32")})


random_op: Op = locally_constant(
    "random_bits", _random, infer=_random_type, batch=_random_batch, kinds="iu", samples=_random_samples,
    never_aliases=True,
)  # fmt: skip


def random_bits(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Random bits as numbers, of the counts 0, 1, ... in an array of this shape.

    Args:
        key: integers of shape (..., 2), of which the lowest 32 bits count.
        shape: of the numbers for one key.
        dtype: unsigned integers, all of whose bits are drawn; or floats, which are then multiples of a power of 2 in [0, 1),
            each equally likely.

    Returns:
        An array of shape (..., *shape).
    """
    return bind(random_op, (key,), {"shape": shape, "dtype": dtype})
