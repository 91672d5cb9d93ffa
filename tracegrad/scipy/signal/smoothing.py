"""What is taken from signals and what is left: trends, smooth polynomials, medians, and the analytic signal."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.index import take
from tracegrad.ops.linalg.matrices import floating
from tracegrad.scipy.calling import needed, of_scipy
from tracegrad.scipy.ndimage.filters import convolve1d
from tracegrad.scipy.signal.extending import moved_last
from tracegrad.typing import Array, ArrayLike

signal = of_scipy("scipy.signal")


@functools.lru_cache(maxsize=64)
def _lines(n: int) -> Any:
    """Orthonormal columns that span the straight lines over n places."""
    return np.linalg.qr(np.stack([np.arange(1.0, n + 1) / n, np.ones(n)], -1))[0]


@signal
def detrend(data: ArrayLike, axis: int = -1, type: str = "linear", bp: Any = 0, overwrite_data: bool = False) -> Array:
    """`data` without its mean along `axis` (`type` "constant"), or without the straight line that fits best ("linear"): one for each part
    between the places `bp`.

    >>> detrend(np.array([1.0, 2.0, 3.0]), type="constant").tolist()
    [-1.0, 0.0, 1.0]
    """
    if type not in ("linear", "l", "constant", "c"):
        raise ValueError(f"detrend: type must be 'linear' or 'constant', got {type!r}")
    data = floating(data)
    if type in ("constant", "c"):
        return data - np.mean(data, axis, keepdims=True)
    x = moved_last(data, axis)
    n = x.shape[-1]
    breaks = np.unique(np.concatenate([[0], np.ravel(bp), [n]])).astype(int)
    if breaks[-1] > n:
        raise ValueError(
            f"detrend{at(user_source())}: places to break at must not be beyond the length along the axis, {n}, got {bp}"
        )
    parts = []
    for start, stop in itertools.pairwise(breaks):
        part, lines = x[..., start:stop], np.asarray(_lines(int(stop - start)), x.dtype)
        parts.append(part - np.matmul(np.matmul(part, lines), lines.T))
    return np.moveaxis(np.concatenate(parts, -1) if parts else x, -1, axis)


@signal
def hilbert(x: ArrayLike, N: int | None = None, axis: int = -1) -> Array:
    """The analytic signal of a real one along `axis`, complex: its real part is `x`, cut or filled with zeros to `N`, and its imaginary part the
    Hilbert transform.

    >>> np.abs(hilbert(np.array([1.0, 0.0, -1.0, 0.0]))).round(9).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    x = floating(x)
    if number_kind(x.dtype) == "c":
        raise DtypeError(f"hilbert{at(user_source())}: x must be real, got {type_of(x)}")
    n = shape_of(x)[axis] if N is None else int(N)
    if n <= 0:
        raise ValueError(f"hilbert: N must be positive, got {N}")
    found = np.fft.fft(moved_last(x, axis), n)
    factor = np.zeros(n, x.dtype)
    factor[0] = 1
    factor[1 : (n + 1) // 2] = 2
    if n % 2 == 0:
        factor[n // 2] = 1
    return np.moveaxis(np.fft.ifft(found * factor), -1, axis)


def savgol_coeffs(
    window_length: int,
    polyorder: int,
    deriv: int = 0,
    delta: float = 1.0,
    pos: int | None = None,
    use: str = "conv",
) -> Array:
    """The coefficients, (window_length,), of a Savitzky-Golay filter: SciPy's, constants.

    >>> savgol_coeffs(3, 1).round(6).tolist()
    [0.333333, 0.333333, 0.333333]
    """
    return needed("scipy.signal").savgol_coeffs(window_length, polyorder, deriv, delta, pos, use)


@signal
def savgol_filter(
    x: ArrayLike,
    window_length: int,
    polyorder: int,
    deriv: int = 0,
    delta: float = 1.0,
    axis: int = -1,
    mode: str = "interp",
    cval: float = 0.0,
) -> Array:
    """At each place along `axis` the value, or derivative of order `deriv`, of the polynomial of degree `polyorder` that fits the elements around it
    best, `window_length` of them, which are `delta` apart.

    At the ends that of the last whole window (`mode` "interp"), or of what goes on there, as `tg.scipy.ndimage.convolve1d` says: "mirror",
    "constant", "nearest" or "wrap".

    >>> savgol_filter(np.arange(5.0) ** 2, 3, 2).round(9).tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0]

    Source: A. Savitzky, M. Golay, "Smoothing and differentiation of data by simplified least squares procedures", Anal. Chem.
    36 (1964).
    """
    if mode not in ("mirror", "constant", "nearest", "interp", "wrap"):
        raise ValueError(
            f"savgol_filter: mode must be 'mirror', 'constant', 'nearest', 'interp' or 'wrap', got {mode!r}"
        )
    x = floating(x)
    of_window = functools.partial(savgol_coeffs, window_length, polyorder, deriv, delta)
    if mode != "interp":
        return convolve1d(x, of_window(), axis=axis, mode=mode, cval=cval)
    x = moved_last(x, axis)
    n, half = x.shape[-1], window_length // 2
    if window_length > n:
        raise ValueError(
            f"savgol_filter{at(user_source())}: for mode 'interp' window_length must not exceed the length along the axis, got "
            f"{window_length} and {n}"
        )
    y = convolve1d(x, of_window(), mode="constant")
    if half == 0:
        return np.moveaxis(y, -1, axis)
    # At the ends the polynomial of the last whole window, elsewhere: linear in what lies in it.
    left, right = [
        np.asarray([of_window(pos, "dot") for pos in places], x.dtype)
        for places in (range(half), range(window_length - half, window_length))
    ]
    first, last = x[..., :window_length], x[..., n - window_length :]
    whole = [np.matmul(first, left.T), y[..., half : n - half], np.matmul(last, right.T)]
    return np.moveaxis(np.concatenate(whole, -1), -1, axis)


@signal
def medfilt(volume: ArrayLike, kernel_size: Any = None) -> Array:
    """The median of what lies around each element, `kernel_size` along each axis, odd numbers (default: 3), with zeros beyond the ends.

    >>> medfilt(np.array([1.0, 9.0, 2.0, 3.0])).tolist()
    [1.0, 2.0, 3.0, 2.0]
    """
    volume = np.atleast_1d(as_array(volume))
    ndim = len(volume.shape)
    sizes = [3] * ndim if kernel_size is None else np.broadcast_to(kernel_size, ndim).tolist()
    if not all([n % 2 for n in sizes]):
        raise ValueError(f"medfilt: each element of kernel_size must be odd, got {kernel_size!r}")
    if number_kind(volume.dtype) == "c":
        raise DtypeError(f"medfilt{at(user_source())}: it has no median of complex numbers, got {type_of(volume)}")
    windows = np.pad(volume, [(n // 2, n // 2) for n in sizes])
    for i, (length, size) in enumerate(zip(volume.shape, sizes, strict=True)):
        # Each axis gives way to places and, last, what lies around them.
        windows = np.moveaxis(take(windows, np.arange(length)[:, None] + np.arange(size), i), i + 1, -1)
    flat = np.reshape(windows, (*volume.shape, math.prod(sizes)))
    return astype(np.sort(flat, -1)[..., math.prod(sizes) // 2], volume.dtype)


@signal
def medfilt2d(input: ArrayLike, kernel_size: Any = 3) -> Array:
    """`medfilt` of a matrix.

    >>> medfilt2d(np.ones((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    if len(shape_of(as_array(input))) != 2:
        raise ShapeError(f"medfilt2d{at(user_source())} takes matrices, got {type_of(as_array(input))}")
    return medfilt(input, kernel_size)
