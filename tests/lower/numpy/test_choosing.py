"""np.where of large arrays by bits: NumPy's own, to the last of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.lower.numpy.choosing import BLOCK, chosen

RNG = np.random.default_rng(0)
SHAPES = [(3,), (0,), (2, 3), (BLOCK + 5,), (7, 6_001)]


def numbers(shape: Any, dtype: str) -> Any:
    """All kinds of bits: zeros of both signs, infinities, NaNs with something in them."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(RNG.bytes(size), dtype).reshape(shape)


def holds(c: Any, x: Any, y: Any) -> None:
    found, expected = chosen(c, x, y), np.where(c, x, y)
    assert (found.dtype, found.shape, found.strides) == (expected.dtype, expected.shape, expected.strides)
    assert found.tobytes() == expected.tobytes()
    out = np.empty_like(expected)
    assert chosen(c, x, y, out) is out and out.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8", "int32", "uint64"]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_bit_is_wheres(dtype: str, shape: Any) -> None:
    x, y, c = numbers(shape, dtype), numbers(shape, dtype), RNG.normal(size=shape) > 0
    for a, b in [(x, y), (x, 0), (0, x), (x, 0.0), (x, -0.0), (x, 1), (x, y[..., :1]), (x, c)]:
        holds(c, a, b)
        holds(np.zeros_like(c), a, b)
        holds(np.ones_like(c), a, b)
    holds(c.astype(int), x, 0)
    holds(c, x.astype(x.dtype.newbyteorder()), 0)


def test_what_lies_anyhow_gives_what_lies_as_numpy_has_it() -> None:
    for _ in range(200):
        shape = tuple(RNG.integers(1, 5, 4))

        def laid(shape: Any = shape) -> Any:
            order = RNG.permutation(4)
            steps = RNG.choice([1, 1, 2], 4)
            whole = RNG.normal(size=[shape[i] * steps[i] for i in order]).transpose(np.argsort(order))
            found = whole[tuple([slice(None, None, s) for s in steps])]
            flipped = found[tuple([slice(None, None, s) for s in RNG.choice([1, 1, 1, -1], 4)])]
            return np.broadcast_to(flipped[..., :1], shape) if RNG.random() < 0.1 else flipped

        c, x, y = laid() > 0, laid(), laid()
        for a, b in [(x, 0), (0, x), (x, 0.0), (x, y)]:
            holds(c, a, b)


def test_any_number_in_memory_holds_but_zero() -> None:
    c = np.arange(256, dtype=np.uint8).view(bool)
    x = numbers((256,), "float64")
    for a, b in [(x, 0), (0, x), (x, x[::-1].copy())]:
        holds(c, a, b)


def test_programs_of_large_arrays_choose_by_bits() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.where(x > y, x, 0.0), np.where(x > y, 0, x), np.where(x > y, x, y), np.where(x > y, -0.0, x)

    for shape in [(4,), (100, 100), (600, 600)]:
        x, y = RNG.normal(size=shape), np.rint(RNG.normal(size=shape))
        jitted = tg.jit(f)
        same_bits(jitted(x, y), f(x, y))
        assert ("chosen(" in jitted.lower(x, y).as_text()) == (x.size > 1000)
        same_bits(jitted(x.T, y), f(x.T, y))
        gradient = tg.jit(tg.grad(lambda x, y=y: np.sum(np.maximum(x, y) ** 2)))(x)
        assert np.array_equal(gradient, 2 * np.maximum(x, y) * ((x > y) + 0.5 * (x == y)))
    assert "chosen" not in tg.to_numpy_source(f, x, y) and "np.where" in tg.to_numpy_source(f, x, y)
