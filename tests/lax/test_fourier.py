"""`lax.fft` against jax's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ShapeError

rng = np.random.default_rng(0)


@pytest.mark.parametrize("kind", ["FFT", "IFFT", "RFFT", "IRFFT"])
@pytest.mark.parametrize("sizes", [(6,), (5,), (3, 4)])
def test_as_jax(kind: str, sizes: tuple[int, ...], jax: Any) -> None:
    x = rng.normal(size=(2, *sizes))
    if kind == "IRFFT":
        x = np.fft.rfftn(x, axes=range(1, x.ndim))
    elif kind != "RFFT":
        x = x + 1j * rng.normal(size=x.shape)
    expected = jax.lax.fft(x, kind, sizes)
    f = lambda x: tg.lax.fft(x, kind, sizes)
    for found in (f(x), tg.jit(f)(x), tg.vmap(f)(x[None])[0], tg.jit(f, backend="xla")(x)):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(tg.lax.fft(x, tg.lax.FftType[kind], sizes), found)
    np.testing.assert_array_equal(tg.lax.fft(x, int(tg.lax.FftType[kind]), sizes), found)
    np.testing.assert_allclose(tg.from_jax(lambda x: jax.lax.fft(x, kind, sizes))(x), expected, atol=1e-12)


def test_of_no_axes() -> None:
    np.testing.assert_array_equal(tg.lax.fft(np.ones(3), "FFT", ()), np.ones(3))


def test_errors() -> None:
    with pytest.raises(
        ShapeError, match=r"^fft of f64\[3\] with fft_type IRFFT and fft_lengths \(3,\): .* sizes \(2,\)"
    ):
        tg.lax.fft(np.ones(3), "irfft", (3,))
    with pytest.raises(ValueError, match=r"^fft: fft_type must be 'FFT', 'IFFT', 'RFFT' or 'IRFFT', got 'DFT'"):
        tg.lax.fft(np.ones(3), "DFT", (3,))
    with pytest.raises(ValueError, match=r"^fft: fft_type must be .*, got 7"):
        tg.lax.fft(np.ones(3), 7, (3,))
