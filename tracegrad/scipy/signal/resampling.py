"""Signals at other rates: filtered between up- and downsampling, or by their Fourier transforms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.conv import convolution
from tracegrad.ops.linalg.matrices import floating, real_dtype
from tracegrad.scipy.calling import is_traced, needed, of_scipy, refused
from tracegrad.scipy.signal.extending import moved_last
from tracegrad.scipy.signal.filters import sosfilt, sosfiltfilt
from tracegrad.scipy.signal.spectra import get_window
from tracegrad.typing import Array, ArrayLike

signal = of_scipy("scipy.signal")


@signal
def upfirdn(
    h: ArrayLike, x: ArrayLike, up: int = 1, down: int = 1, axis: int = -1, mode: str = "constant", cval: float = 0
) -> Array:
    """`x` along `axis` with `up` - 1 zeros behind each element, convolved with the vector `h`, and of that every `down`-th: ((n - 1) * up +
    len(h) - 1) // down + 1 elements. Other modes than zeros beyond the ends are not traced.

    >>> upfirdn([1.0, 1.0], np.array([1.0, 2.0]), up=2).tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    if mode != "constant" or is_traced(cval) or cval != 0:
        raise refused("signal.upfirdn", f"with mode={mode!r} and cval={cval!r}", "Continue x by np.pad before.")
    h = np.atleast_1d(floating(h))
    if len(h.shape) != 1 or h.shape[0] == 0:
        raise ShapeError(f"upfirdn{at(user_source())}: h must be a vector that is not empty, got {type_of(h)}")
    if up < 1 or down < 1:
        raise ValueError(f"upfirdn: up and down must be at least 1, got {up} and {down}")
    x = moved_last(floating(x), axis)
    lead, taps = x.shape[:-1], h.shape[0]
    rows = np.reshape(x, (1, math.prod(lead), x.shape[-1], 1))
    kernel = np.reshape(np.flip(h), (1, taps, 1, 1))
    found = convolution(rows, kernel, (int(down),), ((taps - 1, taps - 1),), (int(up),), (1,))
    return np.moveaxis(np.reshape(found, (*lead, found.shape[2])), -1, axis)


@signal
def resample_poly(
    x: ArrayLike,
    up: int,
    down: int,
    axis: int = 0,
    window: Any = ("kaiser", 5.0),
    padtype: str = "constant",
    cval: float | None = None,
) -> Array:
    """`x` at `up` / `down` times its rate along `axis`, by a low-pass filter of no phase between up- and downsampling: `window` is that of its design,
    or the vector of its coefficients. What lies beyond the ends is zero, or by `padtype` the "mean", "median", "minimum" or "maximum".

    >>> resample_poly(np.ones(4), 2, 1, padtype="mean").round(9).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    averages: dict[str, Any] = {"mean": np.mean, "median": np.median, "minimum": np.min, "maximum": np.max}
    if padtype not in averages and (padtype != "constant" or cval not in (None, 0)):
        raise refused(
            "signal.resample_poly", f"with padtype={padtype!r} and cval={cval!r}", "Continue x by np.pad before."
        )
    if up < 1 or down < 1:
        raise ValueError(f"resample_poly: up and down must be at least 1, got {up} and {down}")
    x = moved_last(floating(x), axis)
    common = math.gcd(int(up), int(down))
    up, down = int(up) // common, int(down) // common
    if up == down == 1:
        return np.moveaxis(x, -1, axis)
    n = x.shape[-1]
    length = -(-n * up // down)
    if isinstance(window, str | tuple):
        half = 10 * max(up, down)
        h = np.asarray(needed("scipy.signal").firwin(2 * half + 1, 1.0 / max(up, down), window=window), x.dtype)
    else:
        h = floating(window)
        if len(h.shape) != 1:
            raise ShapeError(f"resample_poly{at(user_source())}: window must be a vector, got {type_of(h)}")
        half = (h.shape[0] - 1) // 2
    before = down - half % down
    skipped = (half + before) // down
    taps = h.shape[0] + before
    after = max(0, (length + skipped - 1) * down + 1 - (n - 1) * up - taps)
    h = np.concatenate([np.zeros(before, h.dtype), h * up, np.zeros(after, h.dtype)])
    level = averages[padtype](x, axis=-1, keepdims=True) if padtype in averages else None
    y = upfirdn(h, x if level is None else x - level, up, down)[..., skipped : skipped + length]
    return np.moveaxis(y if level is None else y + level, -1, axis)


@signal
def decimate(
    x: ArrayLike, q: int, n: int | None = None, ftype: Any = "iir", axis: int = -1, zero_phase: bool = True
) -> Array:
    """Every `q`-th element of `x` along `axis`, after a low-pass filter: Chebyshev's of order `n` = 8 for "iir", of 20 q + 1 (n + 1) coefficients for
    "fir"; run both ways if `zero_phase`. Systems for `ftype` are not traced.

    >>> decimate(np.ones(60), 2, zero_phase=True).round(1)[:3].tolist()
    [1.0, 1.0, 1.0]
    """
    if ftype not in ("iir", "fir"):
        raise refused("signal.decimate", f"with ftype={ftype!r}", "Filter by tg.scipy.signal.lfilter, and take x[::q].")
    x = moved_last(floating(x), axis)
    design = needed("scipy.signal")
    if ftype == "fir":
        b = np.asarray(design.firwin((20 * q if n is None else n) + 1, 1.0 / q, window="hamming"), real_dtype(x.dtype))
        length = -(-x.shape[-1] // q)
        y = resample_poly(x, 1, q, axis=-1, window=b) if zero_phase else upfirdn(b, x, 1, q)[..., :length]
        return np.moveaxis(y, -1, axis)
    sos = np.asarray(design.cheby1(8 if n is None else n, 0.05, 0.8 / q, output="sos"), real_dtype(x.dtype))
    y = sosfiltfilt(sos, x) if zero_phase else sosfilt(sos, x)
    return np.moveaxis(y[..., ::q], -1, axis)


@signal
def resample(
    x: ArrayLike, num: int, t: ArrayLike | None = None, axis: int = 0, window: Any = None, domain: str = "time"
) -> Any:
    """`x` at `num` places along `axis`, as its Fourier series has it there; with the places `t` also the new ones.

    Args:
        window: weighs the spectrum: a name for `get_window`, a vector of x's length in the order of np.fft.fftfreq, or a function of
            frequencies.
        domain: "time", or "freq" where x is a spectrum.

    >>> resample(np.array([1.0, 0.0, -1.0, 0.0]), 2).round(9).tolist()
    [1.0, -1.0]
    """
    if domain not in ("time", "freq"):
        raise ValueError(f"resample: domain must be 'time' or 'freq', got {domain!r}")
    x = moved_last(floating(x), axis)
    n, num = x.shape[-1], int(num)
    common = min(num, n)
    real = domain == "time" and number_kind(x.dtype) != "c"
    weights = _spectral_weights(window, n)
    spectrum = np.fft.fft(x) if domain == "time" else x
    if weights is not None:
        spectrum = spectrum * weights
    # What both have: the positive frequencies, those below zero, and Nyquist's of the smaller, which stands for two.
    positive, negative = spectrum[..., : (common + 1) // 2], spectrum[..., n - (common - 1) // 2 :]
    rest = num - common
    pieces = [positive]
    if common % 2 == 0:
        top, bottom = spectrum[..., common // 2 : common // 2 + 1], spectrum[..., n - common // 2 : n - common // 2 + 1]
        if num < n:
            pieces.append(top + bottom)
        elif n < num:
            pieces.append(top / 2)
        else:
            pieces.append(top)
        if n < num:
            pieces += [np.zeros((*x.shape[:-1], rest - 1), spectrum.dtype), top / 2]
    else:
        pieces.append(np.zeros((*x.shape[:-1], rest), spectrum.dtype))
    found = np.fft.ifft(np.concatenate([*pieces, negative], -1)) * (num / n)
    found = np.moveaxis(np.real(found) if real else found, -1, axis)
    if t is None:
        return found
    t = floating(t)
    return found, t[0] + (t[1] - t[0]) * (n / num) * np.arange(num)


def _spectral_weights(window: Any, n: int) -> Any:
    if window is None:
        return None
    if callable(window):
        return window(np.fft.fftfreq(n))
    if isinstance(window, str | tuple | float):
        return np.fft.fftshift(get_window(window, n))
    found = floating(window)
    if found.shape != (n,):
        raise ShapeError(
            f"resample{at(user_source())}: the window must have {n} elements, as x has, got {type_of(found)}"
        )
    return found
