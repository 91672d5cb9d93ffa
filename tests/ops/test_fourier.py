"""The ops of the Fourier transform: each is the transpose of what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg

rng = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_transposes(n: int, norm: str) -> None:
    """Re(ct . f(t)) = Re(f^T(ct) . t), by sums of products alone."""
    functions: list[tuple[Any, bool, int]] = [
        (lambda x: np.fft.fft(x, norm=norm), True, n),
        (lambda x: np.fft.ifft(x, norm=norm), True, n),
        (lambda x: np.fft.rfft(x, norm=norm), False, n),
        (lambda x: np.fft.irfft(x, n, norm=norm), True, n // 2 + 1),
    ]
    for f, is_complex, m in functions:
        t = rng.normal(size=m) + (1j * rng.normal(size=m) if is_complex else 0)
        out, pull = tg.vjp(f, t)
        ct = (
            (rng.normal(size=out.shape) + 1j * rng.normal(size=out.shape)).astype(out.dtype)
            if out.dtype.kind == "c"
            else rng.normal(size=n)
        )
        (back,) = pull(ct)
        assert back.dtype == t.dtype
        assert np.real(np.sum(ct * out)) == pytest.approx(np.real(np.sum(back * t)), rel=1e-12)
