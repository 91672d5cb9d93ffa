"""Sums and extremes over the examples."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
import tracegrad.ops.collective as lax
from tests.compare import near
from tests.ops.collective.test_collective import N, X


def test_dtypes_are_kept() -> None:
    for dtype in ("float16", "float32", "complex64", "int8", "uint8", "int64"):
        x = np.arange(N).astype(dtype)
        for f in (lax.psum, lax.pmax, lax.all_gather):
            assert tg.vmap(lambda x: f(x, "i"), axis_name="i")(x).dtype == dtype
            assert tg.vmap(lambda x: f(x[0] * 0 + np.asarray(3, dtype), "i"), axis_name="i")(x[:, None]).dtype == dtype
    got = tg.vmap(lambda x: lax.psum(np.uint8(100), "i"), axis_name="i")(X)
    assert got.dtype == np.uint8 and got[0] == 400 % 256
    assert type(tg.vmap(lambda x: x * float(lax.psum(1, "i")), axis_name="i")(X)) is np.ndarray  # a Python int inside


def test_equal_extremes_share_the_derivative() -> None:
    x = np.array([3.0, 1.0, 3.0, 2.0])
    near(tg.vmap(tg.grad(lambda x: lax.pmax(x, "i")), axis_name="i")(x), [2.0, 0.0, 2.0, 0.0])
    near(tg.grad(lambda x: tg.vmap(lambda x: lax.pmax(x, "i"), axis_name="i")(x)[0])(x), [0.5, 0.0, 0.5, 0.0])
