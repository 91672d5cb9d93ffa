"""Random bits from keys."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tests.random.test_keys import FUNCTIONS
from tracegrad.ops.threefry import BLOCK, FEW, random_bits, threefry2x32

SEEDS = (0, 1, 2**40 + 3, -1, 2**63 - 1, -(2**63))


@pytest.mark.parametrize(
    "key, count, words",
    [
        ((0, 0), 0, (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF_FFFFFFFF, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), 0x243F6A88_85A308D3, (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_published_vectors(key: tuple[int, int], count: int, words: tuple[int, int]) -> None:
    """From the test vectors that the paper's authors give with Random123."""
    start = np.uint64(count)
    assert tuple(map(int, threefry2x32(np.array(key, np.uint32), start, ()))) == words
    # The same count on the way to it.
    high, low = threefry2x32(np.array(key, np.uint32), start - np.uint64(2) if count else start, (3,))
    at = 2 if count else 0
    assert (int(high[at]), int(low[at])) == words


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_bits_of_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    f = FUNCTIONS[name]
    with jax.enable_x64(True):
        for seed in SEEDS:
            theirs = jax.random.PRNGKey(seed)
            key = tg.random.PRNGKey(seed)
            assert type(key) is np.ndarray and key.dtype == np.uint32
            np.testing.assert_array_equal(key, theirs)
            got, expected = f(tg.random, key), np.asarray(f(jax.random, theirs))
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(got, expected)


def test_few_and_many_and_many_keys_are_the_same_words() -> None:
    """Python's integers, NumPy's passes with one key at a time, and those with a key for each word."""
    key = np.array([[0xFFFFFFFF, 7], [0x89ABCDEF, 0xFFFFFFFE]], np.uint32)
    start = np.array([2**32 - BLOCK - 2, 2**64 - 3], np.uint64)
    size = BLOCK + FEW
    whole = threefry2x32(key, start, (size,))
    for k in range(2):
        for place in (0, 1, BLOCK, BLOCK + 1, size - 1):
            count = start[k : k + 1] + np.uint64(place)
            for few in (threefry2x32(key[k], count[0], ()), threefry2x32(key[k : k + 1], count, (FEW,))):
                assert [np.ravel(w)[0] for w in few] == [w[k, place] for w in whole]
    many = np.repeat(key, 100, axis=0), np.repeat(start, 100)
    for got, expected in zip(threefry2x32(*many, (3, 5)), whole, strict=True):
        np.testing.assert_array_equal(got, np.repeat(expected[:, :15], 100, axis=0).reshape(200, 3, 5))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32", "float64"])
def test_numbers_are_of_the_words(dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    key = np.array([5, 9], np.uint32)
    for size in (FEW, 100, BLOCK + 3):
        high, low = [w.astype(np.uint64) for w in threefry2x32(key, 0, (size,))]
        got = random_bits(key, (size,), dtype)
        assert (got.dtype, got.shape) == (dtype, (size,))
        words = high << np.uint64(32) | low if dtype.itemsize == 8 else high ^ low
        if dtype.kind == "u":
            np.testing.assert_array_equal(got, words.astype(dtype))
            continue
        drawn, fraction = {2: (16, 10), 4: (32, 23), 8: (64, 52)}[dtype.itemsize] if dtype.kind == "f" else (8, 7)
        top = (words & np.uint64(2**drawn - 1)) >> np.uint64(drawn - fraction)
        np.testing.assert_array_equal(got.astype(np.float64), np.ldexp(top.astype(np.float64), -fraction))
