"""The Fourier transform with jax.lax's arguments."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.families import shape_of
from tracegrad.typing import Array, ArrayLike


class FftType(enum.IntEnum):
    """Which transform `fft` is: complex to complex, its inverse, real to half of the complex, its inverse."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


def fft(x: ArrayLike, fft_type: FftType | str | int, fft_lengths: Sequence[int]) -> Array:
    """The Fourier transform of `x` over its last axes, as many as `fft_lengths` has, unnormalised; the inverses divide by the number of
    points. `fft_lengths` are the sizes of `x` there; for "IRFFT" those of the result, of which the last one in `x` is n // 2 + 1.

    >>> fft(np.array([1.0, 0.0, 0.0]), "RFFT", (3,)).tolist()
    [(1+0j), (1+0j)]

    Raises:
        ShapeError: if the sizes are others.
        ValueError: for another `fft_type` than "FFT", "IFFT", "RFFT" and "IRFFT".
    """
    x, sizes = as_array(x), tuple(fft_lengths)
    if not sizes:
        return x
    try:
        kind = FftType[fft_type.upper()] if isinstance(fft_type, str) else FftType(fft_type)
    except (KeyError, ValueError):
        raise ValueError(f"fft: fft_type must be 'FFT', 'IFFT', 'RFFT' or 'IRFFT', got {fft_type!r}") from None
    expected = (*sizes[:-1], sizes[-1] // 2 + 1) if kind is FftType.IRFFT else sizes
    if shape_of(x)[-len(sizes) :] != expected:
        raise ShapeError(
            f"fft of {type_of(x)} with fft_type {kind.name} and fft_lengths {sizes}: its last axes must have the sizes {expected}"
        )
    function: Any = {"FFT": np.fft.fftn, "IFFT": np.fft.ifftn, "RFFT": np.fft.rfftn, "IRFFT": np.fft.irfftn}[kind.name]
    return function(x, s=sizes, axes=range(-len(sizes), 0))
