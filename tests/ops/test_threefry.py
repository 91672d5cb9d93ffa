"""Random bits from keys."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tests.test_random import FUNCTIONS
from tracegrad.ops.threefry import threefry2x32

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
