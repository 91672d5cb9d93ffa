"""Functions that run on the host: all their numbers get there and back, on whatever thread XLA calls them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

jax = pytest.importorskip("jax")


@pytest.fixture
def narrow() -> Iterator[None]:
    """With jax's 64-bit flag off, in all threads."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.usefixtures("narrow")
@pytest.mark.filterwarnings("ignore:.*float64 result on XLA")
def test_numbers_of_64_bits_stay_what_they_are() -> None:
    """Beside other work XLA calls the host on threads of its own."""
    low = lambda x: np.asarray(x * 1e8 % 1, np.float32)
    digits = tg.external(low, out=lambda t: tg.ShapeDtypeStruct(t.shape, np.float32), pure=True)
    same = tg.external(lambda i, z: (i, z), out=lambda i, z: (i, z), pure=True)
    y, i, z = np.pi * np.arange(1, 9), np.array([2**62 + 1, -5]), np.array([np.pi + 1j / 3, -0.0])

    def f(x: Any) -> Any:
        others = [np.linalg.qr(x + k)[1] for k in range(4)]
        return [digits(y + 0 * r[0, 0]) for r in others], [same(i, z + 0 * r[0, 0]) for r in others]

    found, whole = tg.jit(f, backend="xla")(np.random.default_rng(0).normal(size=(150, 150)))
    for d in found:
        np.testing.assert_allclose(d, low(y), atol=1e-5)
    for a, b in whole:
        np.testing.assert_array_equal(a, i)
        np.testing.assert_array_equal(b, z)
        assert b.dtype == np.complex128
