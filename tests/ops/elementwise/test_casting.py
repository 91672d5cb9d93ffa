"""Dtypes of elementwise functions."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same, same_as_numpy

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64])
def test_python_numbers_leave_low_precision_alone(dtype: Any) -> None:
    x = np.array([0.5, 0.25], dtype)

    def f(x: Any) -> Any:
        y = 2.0 * x + 1 - x / 3.0 + x**2 + x**1.5 + 2.0**x + np.where(x == 0, 1.0, x)
        y = y + np.log1p(x) * math.pi + np.sqrt(x) * 2
        if np.issubdtype(dtype, np.floating):
            y = (
                y
                + np.maximum(x, 0.0)
                + np.hypot(x, 1.0)
                + np.arctan2(1.0, x)
                + np.logaddexp(x, 0.5)
                + np.clip(x, 0, 1.0)
            )
            y = y + np.fmax(x, 0.5) + np.remainder(x, 0.3) + np.copysign(x, -1.0) + np.deg2rad(x) + np.sinc(x)
        assert y.dtype == dtype
        return np.sum(np.real(y))

    assert tg.grad(f)(x).dtype == dtype
    graph = tg.make_graph(tg.grad(f))(x)
    low = {np.dtype(dtype), np.dtype(bool), np.zeros(0, dtype).real.dtype, np.dtype(np.int64)}
    wide = [str(e.op.name) for e in graph.eqns for v in e.outputs if v.type.shape and v.type.dtype not in low]
    assert not wide, f"computed in double precision: {wide}"
    second = tg.jvp(tg.grad(f), (x,), (np.ones_like(x),))[1]
    assert second.dtype == dtype


def test_float64_scalars_promote_as_in_numpy() -> None:
    x = np.ones(2, np.float32)
    assert tg.eval_shape(lambda x: x * np.float64(2.0), x).dtype == np.float64
    assert tg.eval_shape(lambda x: x * 2.0, x).dtype == np.float32
    assert tg.grad(lambda x: np.sum(x * np.float64(2.0)))(x).dtype == np.float32


def test_integers_and_booleans_pass_through() -> None:
    n, b, x = np.array([1, 2, 3]), np.array([True, False, True]), np.array([0.5, 1.5, 2.5])
    same(tg.grad(lambda x: np.sum(x * n + x * b + np.exp(n) * x + n / x))(x), n + b + np.exp(n) - n / x**2)
    for f in (np.add, np.multiply, np.maximum, np.bitwise_and, np.left_shift, np.floor_divide, np.remainder, np.power):
        same_as_numpy(f, n, n)
    for f in (np.add, np.multiply, np.logical_and, np.logical_or, np.maximum, np.equal, np.less):
        same_as_numpy(f, b, b)
    for f in (
        np.exp,
        np.sqrt,
        np.sin,
        np.abs,
        np.sign,
        np.square,
        np.negative,
        np.floor,
        np.isnan,
        np.isfinite,
        np.invert,
    ):
        same_as_numpy(f, n)
    same_as_numpy(np.divide, n, n)
    same_as_numpy(lambda n: n + 1, n)
    same_as_numpy(lambda n: n * 0.5, n)
    same_as_numpy(lambda b: b + 1, b)
