"""Sorting and reductions, against jax.lax."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compare import same
from tests.lax.test_lax import leaves
from tracegrad import lax

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)


def test_sort_of_equals_and_other_dtypes() -> None:
    keys = [np.array([2, 1, 2, 1, 2]), np.array([1, 0, 1, 0, 0]), np.arange(5)]
    for count in (1, 2, 3):
        same(lax.sort(tuple(keys), num_keys=count), leaves(jax.lax.sort(tuple(keys), num_keys=count)))
    x = np.array([1.0, np.nan, -np.inf, 0.5, np.inf])
    same(lax.sort((x, np.arange(5))), leaves(jax.lax.sort((x, np.arange(5)))))
    same(lax.sort(x), np.asarray(jax.lax.sort(x)))
    z = np.array([1 + 2j, 1 + 1j, 0.5])
    same(lax.sort((z, np.arange(3))), leaves(jax.lax.sort((z, np.arange(3)))))


def test_small_integers_keep_their_dtype() -> None:
    x = np.array([[100, 100, 3], [-7, 5, 2]], np.int8)
    for call in (
        lambda l: (l.cumsum(x, 1), l.cumprod(x, 0), l.cummax(x, 1, reverse=True)),
        lambda l: (l.reduce_sum(x, (1,)), l.reduce_prod(x, (0,)), l.reduce_max(x, (0,)), l.reduce_min(x, ())),
        lambda l: (l.reduce_and(x, (0,)), l.reduce_or(x, (0, 1)), l.reduce_xor(x, (1,))),
        lambda l: (l.reduce_and(x > 0, (0,)), l.reduce_or(x > 0, (0, 1)), l.reduce_xor(x > 0, (1,))),
        lambda l: (l.reduce_max(x[:0], (0,)), l.reduce_min(x[:0], (0,)), l.reduce_max(x[:0] / 1, (0,))),
        lambda l: (l.reduce(x, np.int8(0), l.bitwise_or, (0,)), l.reduce(x, np.int8(1), l.mul, (0,))),
        lambda l: l.reduce(x[:0], np.int8(4), lambda a, b: a + b, (0,)),
        lambda l: l.dot_general(x, x, (((1,), (1,)), ((), ())), preferred_element_type=np.int32),
        lambda l: l.dot_general(x > 0, x > 0, (((1,), (1,)), ((), ()))),
        lambda l: l.dot_general(x, x.astype(np.float32), (((1,), (1,)), ((), ()))),
        lambda l: l.select_n(x % 3, x, x + 1, x + 2),
        lambda l: (l.iota(np.int16, 4), l.broadcasted_iota(np.float32, (2, 3), 1), l.full((2,), 1.5, int)),
        lambda l: (l.full((2,), np.float32(3)), l.full_like(x, 3), l.full_like(x, 1.5, float, (2,))),
        lambda l: l.pad(x, np.int8(7), [(1, 0, 0), (0, 0, 1)]),
    ):
        same(leaves(call(lax)), leaves(call(jax.lax)))
