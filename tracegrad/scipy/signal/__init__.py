"""`scipy.signal`'s names, with its arguments in its order. Plain arrays go to SciPy's own function; what is traced is computed by ops that have
derivatives in all arrays, filters' coefficients and windows included, batches, and run on both backends.

SciPy itself does not hand these to what is traced: `scipy.signal.convolve(t, h)` is `tg.scipy.signal.convolve(t, h)` here.
"""

from __future__ import annotations

from tracegrad.core.boxes import accept_jax
from tracegrad.scipy.signal.convolving import (
    convolve,
    convolve2d,
    correlate,
    correlate2d,
    correlation_lags,
    fftconvolve,
    oaconvolve,
)
from tracegrad.scipy.signal.filters import (
    filtfilt,
    lfilter,
    lfilter_zi,
    lfiltic,
    sosfilt,
    sosfilt_zi,
    sosfiltfilt,
)
from tracegrad.scipy.signal.resampling import decimate, resample, resample_poly, upfirdn
from tracegrad.scipy.signal.smoothing import detrend, hilbert, medfilt, medfilt2d, savgol_coeffs, savgol_filter
from tracegrad.scipy.signal.spectra import (
    coherence,
    csd,
    get_window,
    istft,
    periodogram,
    spectrogram,
    stft,
    welch,
)
from tracegrad.scipy.signal.waveforms import chirp, gausspulse

__all__ = [
    "chirp", "coherence", "convolve", "convolve2d", "correlate", "correlate2d", "correlation_lags", "csd", "decimate", "detrend", "fftconvolve",
    "filtfilt", "gausspulse", "get_window", "hilbert", "istft", "lfilter", "lfilter_zi", "lfiltic", "medfilt", "medfilt2d", "oaconvolve",
    "periodogram", "resample", "resample_poly", "savgol_coeffs", "savgol_filter", "sosfilt", "sosfilt_zi", "sosfiltfilt", "spectrogram", "stft",
    "upfirdn", "welch",
]  # fmt: skip

accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
