"""jax's primitive of the Fourier transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracegrad import lax
from tracegrad.xla.primitives.table import binds


@binds("fft")
def _(x: Any, *, fft_type: Any, fft_lengths: Sequence[int]) -> Any:
    return lax.fft(x, int(fft_type), fft_lengths)
