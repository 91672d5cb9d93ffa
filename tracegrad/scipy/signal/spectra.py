"""Spectra of segments of a signal: short-time Fourier transforms, and power spectral densities by Welch's method."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import at as places_of
from tracegrad.ops.linalg.matrices import floating, real_dtype
from tracegrad.scipy.calling import is_traced, needed, of_scipy
from tracegrad.scipy.signal.extending import extended, moved_last, segments
from tracegrad.scipy.signal.smoothing import detrend as _detrend
from tracegrad.typing import Array, ArrayLike

signal = of_scipy("scipy.signal")


def get_window(window: Any, Nx: int, fftbins: bool = True) -> Array:
    """SciPy's window of this name, (Nx,), a constant: "hann", ("kaiser", 4.0), ...

    >>> get_window("boxcar", 3).tolist()
    [1.0, 1.0, 1.0]
    """
    return needed("scipy.signal").get_window(window, Nx, fftbins)


class _Cut(NamedTuple):
    """How a signal is cut: a window, how far segments are apart, and the size of their transform."""

    window: Any
    step: int
    nfft: int


def _cut(name: str, window: Any, nperseg: Any, noverlap: Any, nfft: Any, length: int, dtype: Any, part: int) -> _Cut:
    """By default segments overlap by one in `part` elements."""
    if isinstance(window, str | tuple) and not is_traced(window):
        size = 256 if nperseg is None else int(nperseg)
        if size < 1:
            raise ValueError(f"{name}: nperseg must be a positive integer, got {nperseg!r}")
        if size > length:
            warnings.warn(f"nperseg = {size} is greater than the length {length}, which is used instead", stacklevel=5)
            size = length
        found = get_window(window, size)
    else:
        found = floating(window)
        if len(found.shape) != 1 or nperseg not in (None, found.shape[0]) or found.shape[0] > length:
            raise ShapeError(
                f"{name}{at(user_source())}: the window must be a vector of nperseg elements, not longer than the signal, got "
                f"{type_of(found)} for nperseg={nperseg!r} and {length} elements"
            )
        size = found.shape[0]
    overlap = size // part if noverlap is None else int(noverlap)
    if overlap >= size:
        raise ValueError(f"{name}: noverlap must be less than nperseg, got {overlap} and {size}")
    width = size if nfft is None else int(nfft)
    if width < size:
        raise ValueError(f"{name}: nfft must be greater than or equal to nperseg, got {nfft} and {size}")
    return _Cut(astype(found, real_dtype(dtype)) if number_kind(found.dtype) == "f" else found, size - overlap, width)


def _without_trend(detrend: Any, x: Any, axis: int) -> Any:
    if detrend is False or detrend is None:
        return x
    if callable(detrend):
        return (
            detrend(x) if axis in (-1, len(x.shape) - 2) else np.moveaxis(detrend(np.moveaxis(x, -1, axis)), axis, -1)
        )
    return _detrend(x, type=detrend, axis=-1)


def _transformed(x: Any, cut: _Cut, detrend: Any, onesided: bool, axis: int) -> Any:
    """The transforms of the segments, (..., segments, frequencies)."""
    pieces = _without_trend(detrend, segments(x, cut.window.shape[0], cut.step), axis)
    return (np.fft.rfft if onesided else np.fft.fft)(cut.window * pieces, cut.nfft)


def _scale(name: str, scaling: str, fs: Any, window: Any) -> Any:
    if scaling == "density":
        return 1.0 / (fs * np.sum(window * window))
    if scaling == "spectrum":
        return 1.0 / np.sum(window) ** 2
    raise ValueError(f"{name}: scaling must be 'density' or 'spectrum', got {scaling!r}")


def _frequencies(nfft: int, fs: Any, onesided: bool) -> Any:
    return (np.fft.rfftfreq if onesided else np.fft.fftfreq)(nfft, 1 / fs)


def _is_onesided(wanted: bool, *signals: Any) -> bool:
    return bool(wanted) and all([number_kind(x.dtype) != "c" for x in signals])


def _doubled(power: Any, cut: _Cut, onesided: bool) -> Any:
    """With that of negative frequencies added to each positive one, but for 0 and Nyquist's."""
    if not onesided:
        return power
    factor = np.full(power.shape[-1], 2, real_dtype(power.dtype))
    factor[0] = 1
    if cut.nfft % 2 == 0:
        factor[-1] = 1
    return power * factor


def _times(cut: _Cut, length: int, fs: Any) -> Any:
    size = cut.window.shape[0]
    return np.arange(size / 2, length - size / 2 + 1, cut.step) / float(fs)


def _placed(found: Any, axis: int) -> Any:
    """(..., segments, frequencies) with segments last, and frequencies where the signal's axis was."""
    return np.moveaxis(found, -1, axis - 1 if axis < 0 else axis)


@signal
def stft(
    x: ArrayLike,
    fs: float = 1.0,
    window: Any = "hann",
    nperseg: int | None = 256,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = False,
    return_onesided: bool = True,
    boundary: str | None = "zeros",
    padded: bool = True,
    axis: int = -1,
    scaling: str = "spectrum",
) -> tuple[Array, Array, Array]:
    """The short-time Fourier transform along `axis`: frequencies (f,), times (t,), and of a signal (..., n) the transform (..., f, t).

    Args:
        window: the name of one for `get_window`, or a vector, of nperseg elements.
        noverlap: how many elements segments have in common, by default half of them; `nfft` is the size of transforms.
        detrend: what is taken from each segment: "constant", "linear", a function, or False.
        boundary: how the signal goes on at both ends: "zeros", "even", "odd", "constant", or None for not at all.
        padded: whether zeros are added for a last whole segment.
        scaling: "spectrum" or "psd".

    >>> f, t, z = stft(np.ones(8), nperseg=4)
    >>> z.shape
    (3, 5)
    """
    if scaling not in ("spectrum", "psd"):
        raise ValueError(f"stft: scaling must be 'spectrum' or 'psd', got {scaling!r}")
    if boundary not in ("zeros", "even", "odd", "constant", None):
        raise ValueError(f"stft: boundary must be 'zeros', 'even', 'odd', 'constant' or None, got {boundary!r}")
    scaling = {"psd": "density"}.get(scaling, scaling)
    return _short_time(
        "stft", x, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, boundary, padded, axis, scaling, 2
    )


def _short_time(
    name: str, x: Any, fs: Any, window: Any, nperseg: Any, noverlap: Any, nfft: Any, detrend: Any,
    return_onesided: bool, boundary: str | None, padded: bool, axis: int, scaling: str, part: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    x = moved_last(floating(x), axis)
    onesided = _is_onesided(return_onesided, x)
    cut = _cut(name, window, nperseg, noverlap, nfft, x.shape[-1], x.dtype, part)
    size = cut.window.shape[0]
    if boundary is not None:
        x = extended(x, size // 2, boundary)
    if padded:
        more = (-(x.shape[-1] - size) % cut.step) % size
        x = np.concatenate([x, np.zeros((*x.shape[:-1], more), x.dtype)], -1)
    found = _transformed(x, cut, detrend, onesided, axis) * np.sqrt(_scale(name, scaling, fs, cut.window))
    times = _times(cut, x.shape[-1], fs) - (0 if boundary is None else size / 2 / fs)
    return _frequencies(cut.nfft, fs, onesided), times, _placed(found, axis)


@signal
def istft(
    Zxx: ArrayLike,
    fs: float = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    input_onesided: bool = True,
    boundary: bool = True,
    time_axis: int = -1,
    freq_axis: int = -2,
    scaling: str = "spectrum",
) -> tuple[Array, Array]:
    """The signal of which `stft` with the same arguments is `Zxx`: times and signal, with the time in its last axis or where `time_axis` was.

    >>> x = np.arange(8.0)
    >>> istft(stft(x, nperseg=4)[2], nperseg=4)[1].round(9).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    z = as_array(Zxx)
    ndim = len(z.shape)
    if ndim < 2 or freq_axis % ndim == time_axis % ndim:
        raise ShapeError(
            f"istft{at(user_source())}: Zxx needs an axis of frequencies and one of times, got {type_of(z)}"
        )
    rows, columns = freq_axis % ndim, time_axis % ndim
    default = 2 * (z.shape[rows] - 1) if input_onesided else z.shape[rows]
    size = default if nperseg is None else int(nperseg)
    width = int(nfft) if nfft is not None else size if input_onesided and size == default + 1 else default
    overlap = size // 2 if noverlap is None else int(noverlap)
    if size < 1 or width < size or overlap >= size:
        raise ValueError(
            f"istft: nperseg must be positive, nfft not smaller, and noverlap less, got {size}, {width} and {overlap}"
        )
    z = np.moveaxis(z, (columns, rows), (-2, -1))
    pieces = (np.fft.irfft if input_onesided else np.fft.ifft)(z, width)[..., :size]
    given = get_window(window, size) if isinstance(window, str) or type(window) is tuple else floating(window)
    if given.shape != (size,):
        raise ShapeError(
            f"istft{at(user_source())}: the window must have nperseg={size} elements, got {type_of(given)}"
        )
    given = astype(given, real_dtype(pieces.dtype))
    if scaling == "spectrum":
        pieces = pieces * np.sum(given)
    elif scaling == "psd":
        pieces = pieces * np.sqrt(fs * np.sum(given**2))
    else:
        raise ValueError(f"istft: scaling must be 'spectrum' or 'psd', got {scaling!r}")
    step, count = size - overlap, z.shape[-2]
    kept = slice(size // 2, -(size // 2) or None) if boundary else slice(None)
    x = _added_up(pieces * given, step)[..., kept]
    weight = _added_up(np.broadcast_to(given**2, (count, size)), step)[kept]
    x = x / np.where(weight > 1e-10, weight, 1.0)
    if len(x.shape) > 1 and columns != ndim - 1:
        x = np.moveaxis(x, -1, columns - (rows < columns))
    return np.arange(x.shape[0]) / float(fs), x


def _added_up(pieces: Any, step: int) -> Any:
    """(..., segments, size) as one signal, each segment `step` after the one before it."""
    count, size = pieces.shape[-2:]
    places = np.arange(count)[:, None] * step + np.arange(size)
    zeros = np.zeros((*pieces.shape[:-2], (count - 1) * step + size), pieces.dtype)
    return places_of(zeros)[..., places].add(pieces)


@signal
def csd(
    x: ArrayLike,
    y: ArrayLike,
    fs: float = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Array, Array]:
    """Frequencies (f,) and the cross spectral density of two signals, complex, with f in place of their `axis`: by Welch's method, the
    `average` ("mean" or "median") over segments. The other arguments are those of `stft`, and `scaling` "density" or "spectrum".

    >>> f, p = csd(np.arange(8.0), np.arange(8.0) ** 2, nperseg=4)
    >>> f.tolist(), p.shape
    ([0.0, 0.25, 0.5], (3,))
    """
    x, y = [moved_last(floating(v), axis) for v in (x, y)]
    length = max(x.shape[-1], y.shape[-1])
    x, y = [np.concatenate([v, np.zeros((*v.shape[:-1], length - v.shape[-1]), v.dtype)], -1) for v in (x, y)]
    onesided = _is_onesided(return_onesided, x, y)
    dtype = np.result_type(x.dtype, y.dtype)
    cut = _cut("csd", window, nperseg, noverlap, nfft, length, dtype, 2)
    first, second = [_transformed(v, cut, detrend, onesided, axis) for v in (x, y)]
    power = np.conjugate(first) * second * _scale("csd", scaling, fs, cut.window)
    found = _averaged("csd", _doubled(power, cut, onesided), average)
    found = astype(found, np.result_type(dtype, np.complex64))
    return _frequencies(cut.nfft, fs, onesided), np.moveaxis(found, -1, axis)


def _averaged(name: str, power: Any, average: str) -> Any:
    if average not in ("mean", "median"):
        raise ValueError(f"{name}: average must be 'mean' or 'median', got {average!r}")
    count = power.shape[-2]
    if average == "mean" or count == 1:
        return np.mean(power, -2)
    odd = 2 * np.arange(1.0, (count - 1) // 2 + 1)
    bias = 1 + np.sum(1 / (odd + 1) - 1 / odd)  # of the median of what is distributed exponentially
    if number_kind(power.dtype) == "c":
        return (np.median(np.real(power), -2) + np.median(np.imag(power), -2) * 1j) / bias
    return np.median(power, -2) / bias


@signal
def welch(
    x: ArrayLike,
    fs: float = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Array, Array]:
    """Frequencies (f,) and the power spectral density of a signal, with f in place of its `axis`, by Welch's method: `csd` of it and
    itself, which is real.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda x: tg.scipy.signal.welch(x, nperseg=4)[1][1])(np.array([1.0, 2.0, 0.0, 1.0])).round(9).tolist()
    [0.666666667, 1.333333333, -2.0, 0.0]

    Source: P. Welch, "The use of the fast Fourier transform for the estimation of power spectra", IEEE Trans. Audio
    Electroacoust. 15 (1967).
    """
    x = moved_last(floating(x), axis)
    onesided = _is_onesided(return_onesided, x)
    cut = _cut("welch", window, nperseg, noverlap, nfft, x.shape[-1], x.dtype, 2)
    found = _power(_transformed(x, cut, detrend, onesided, axis)) * _scale("welch", scaling, fs, cut.window)
    found = astype(_averaged("welch", _doubled(found, cut, onesided), average), real_dtype(x.dtype))
    return _frequencies(cut.nfft, fs, onesided), np.moveaxis(found, -1, axis)


def _power(z: Any) -> Any:
    """The square of the absolute value, which is differentiable at 0."""
    return np.real(z) ** 2 + np.imag(z) ** 2


@signal
def periodogram(
    x: ArrayLike,
    fs: float = 1.0,
    window: Any = "boxcar",
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
) -> tuple[Array, Array]:
    """`welch` of one segment, the whole signal.

    >>> f, p = periodogram(np.array([1.0, -1.0, 1.0, -1.0]))
    >>> p.tolist()
    [0.0, 0.0, 4.0]
    """
    x = moved_last(floating(x), axis)
    size = x.shape[-1]
    if nfft is not None and nfft < size:
        x, size, nfft = x[..., :nfft], int(nfft), None
    f, p = welch(
        x, fs, "boxcar" if window is None else window, size, 0, nfft, _turned(detrend, axis), return_onesided, scaling
    )
    return f, np.moveaxis(p, -1, axis)


def _turned(detrend: Any, axis: int) -> Any:
    """A function given by the user sees the axis where it was."""
    if not callable(detrend) or axis == -1:
        return detrend
    function: Callable[[Any], Any] = detrend
    return lambda x: np.moveaxis(function(np.moveaxis(x, -1, axis)), axis, -1)


@signal
def coherence(
    x: ArrayLike,
    y: ArrayLike,
    fs: float = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    axis: int = -1,
) -> tuple[Array, Array]:
    """Frequencies (f,) and the coherence of two signals, from 0 to 1: abs(csd)^2 over the product of their power spectral densities.

    >>> f, c = coherence(np.arange(8.0) % 3, np.arange(8.0) % 3, nperseg=4)
    >>> c.round(9).tolist()
    [1.0, 1.0, 1.0]
    """
    how: dict[str, Any] = {
        "fs": fs, "window": window, "nperseg": nperseg, "noverlap": noverlap, "nfft": nfft, "detrend": detrend, "axis": axis,
    }  # fmt: skip
    frequencies, of_x = welch(x, **how)
    of_y, of_both = welch(y, **how)[1], csd(x, y, **how)[1]
    return frequencies, _power(of_both) / of_x / of_y


@signal
def spectrogram(
    x: ArrayLike,
    fs: float = 1.0,
    window: Any = ("tukey", 0.25),
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    mode: str = "psd",
) -> tuple[Array, Array, Array]:
    """Frequencies (f,), times (t,) and spectra of segments, (..., f, t): with `mode` "psd" their power spectral densities, "complex" the
    transforms, "magnitude" their absolute values, "angle" their phases, or "phase" these without jumps.

    >>> spectrogram(np.ones(8), nperseg=4, noverlap=0)[2].shape
    (3, 2)
    """
    if mode not in ("psd", "complex", "magnitude", "angle", "phase"):
        raise ValueError(f"spectrogram: mode must be 'psd', 'complex', 'magnitude', 'angle' or 'phase', got {mode!r}")
    if mode != "psd":
        f, t, found = _short_time(
            "spectrogram",
            x,
            fs,
            window,
            nperseg,
            noverlap,
            nfft,
            detrend,
            return_onesided,
            None,
            False,
            axis,
            scaling,
            8,
        )
        if mode == "magnitude":
            found = np.abs(found)
        elif mode != "complex":
            found = np.angle(found)
            found = np.unwrap(found, axis=axis - 1 if axis < 0 else axis) if mode == "phase" else found
        return f, t, found
    x = moved_last(floating(x), axis)
    onesided = _is_onesided(return_onesided, x)
    cut = _cut("spectrogram", window, nperseg, noverlap, nfft, x.shape[-1], x.dtype, 8)
    found = _power(_transformed(x, cut, detrend, onesided, axis)) * _scale("spectrogram", scaling, fs, cut.window)
    found = _placed(_doubled(found, cut, onesided), axis)
    return _frequencies(cut.nfft, fs, onesided), _times(cut, x.shape[-1], fs), found
