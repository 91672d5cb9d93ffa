"""Bits packed into bytes, and taken out."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("shape, axis", [((11,), None), ((3, 5), None), ((3, 5), 0), ((2, 9), -1), ((0,), None)])
@pytest.mark.parametrize("order", ["big", "little"])
def test_bits(order: Any, shape: tuple[int, ...], axis: int | None, backend: str) -> None:
    rng = np.random.default_rng(0)
    bits, data = rng.integers(-1, 2, shape), rng.integers(0, 256, shape).astype(np.uint8)
    for x, f in [(bits, lambda x: np.packbits(x, axis, order)), (bits > 0, lambda x: np.packbits(x, axis, order))] + [
        (data, lambda x, n=n: np.unpackbits(x, axis, n, order)) for n in (None, 5, -3 if data.size else 0, 100)
    ]:
        found = tg.jit(f, backend=backend)(x)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, f(x))


def test_what_has_no_bits() -> None:
    for f, x in [(np.packbits, np.ones(3)), (np.unpackbits, np.ones(3, int))]:
        with pytest.raises(TypeError, match="write x"):
            tg.make_graph(f)(x)
    with pytest.raises(ValueError, match="bitorder"):
        tg.make_graph(lambda x: np.packbits(x, bitorder="?"))(np.ones(3, int))  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="larger than number of elements"):
        tg.make_graph(lambda x: np.unpackbits(x, count=-99))(np.ones(3, np.uint8))
