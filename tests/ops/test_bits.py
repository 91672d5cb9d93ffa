"""Bits, and functions of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tracegrad import lax
from tracegrad.core.errors import DtypeError, ShapeError

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

BITS = {
    "bitwise_and": 2, "bitwise_or": 2, "bitwise_xor": 2, "bitwise_not": 1, "population_count": 1, "clz": 1,
    "shift_left": 2, "shift_right_arithmetic": 2, "shift_right_logical": 2, "add": 2, "mul": 2, "max": 2, "sign": 1,
    "eq": 2, "ne": 2, "lt": 2, "le": 2, "gt": 2, "ge": 2,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
@pytest.mark.parametrize("name", BITS)
def test_functions_of_integers(name: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    x = np.array([0, 1, 2, 3, 7, 100, info.max, info.max - 5, info.min, info.min // 2], dtype)
    y = np.array([0, 1, 3, 7, 8, 9, 31, 63, 64, 1], dtype)
    args = (x, y)[: BITS[name]]
    f = getattr(lax, name)
    expected = np.asarray(getattr(jax.lax, name)(*args))
    same(f(*args), expected)
    same(tg.jit(f)(*args), expected)
    same(tg.vmap(f)(*args), expected)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.float32(1), np.int8), (np.float32([1, 2]), np.uint16), (np.ones((2, 2), np.int32), np.int64),
        (np.ones((3, 2), np.float32), np.float64), (np.ones(3), np.int64), (np.ones((2, 4), np.int8), np.float32),
        (np.ones((0, 2), np.int32), np.int64), (np.ones(3), np.float64),
    ],
)  # fmt: skip
def test_bitcast(value: Any, dtype: Any) -> None:
    expected = np.asarray(jax.lax.bitcast_convert_type(value, dtype))
    same(lax.bitcast_convert_type(value, dtype), expected)
    same(tg.jit(lambda x: lax.bitcast_convert_type(x, dtype))(value), expected)
    many = np.stack([value, value * 2])
    found = tg.vmap(lambda x: lax.bitcast_convert_type(x, dtype))(many)
    same(found, np.stack([lax.bitcast_convert_type(x, dtype) for x in many]))


def test_errors_of_bitcast() -> None:
    with pytest.raises(ShapeError, match=r"i32\[2,3\] to int64: 2 elements make one of these"):
        lax.bitcast_convert_type(np.ones((2, 3), np.int32), np.int64)
    with pytest.raises(DtypeError, match=r"takes integers and floats, got bool\[2\]"):
        lax.bitcast_convert_type(np.ones(2, bool), np.int8)
    assert lax.bitcast_convert_type(np.ones(2, bool), bool).tolist() == [True, True]  # which is no other dtype
