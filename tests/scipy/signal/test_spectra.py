"""Spectra of segments against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tests.scipy.signal.test_convolving import complex_, real
from tracegrad.core.errors import ShapeError
from tracegrad.scipy import signal

W = np.hamming(8)
CASES: Cases = {
    **{
        f"welch {one} {s} {a}": (lambda l, x, o=one, s=s, a=a: l.welch(x, 2.0, nperseg=8, return_onesided=o, scaling=s, average=a), [real(50)])
        for one in (True, False)
        for s in ("density", "spectrum")
        for a in ("mean", "median")
    },
    **{
        f"csd {one} {a}": (lambda l, x, y, o=one, a=a: l.csd(x, y, 2.0, nperseg=9, noverlap=3, nfft=12, return_onesided=o, average=a, axis=0), [real(50, 2), real(45, 2)])
        for one in (True, False)
        for a in ("mean", "median")
    },
    "welch complex": (lambda l, x: l.welch(x, nperseg=8, return_onesided=False), [complex_(30)]),
    "welch window": (lambda l, x, w: l.welch(x, window=w), [real(30), W]),
    "csd complex": (lambda l, x, y: l.csd(x, y, nperseg=8, return_onesided=False), [complex_(30), complex_(30)]),
    "periodogram": (lambda l, x: l.periodogram(x, 2.0, detrend="linear", scaling="spectrum"), [real(2, 11)]),
    "periodogram 8": (lambda l, x: l.periodogram(x, 2.0, "hann", nfft=8, axis=0), [real(11, 2)]),
    "periodogram 16": (lambda l, x: l.periodogram(x, 2.0, "hann", nfft=16, axis=0), [real(11, 2)]),
    "coherence": (lambda l, x, y: l.coherence(x, y, nperseg=8), [real(2, 50), real(2, 50)]),
    **{
        f"stft {b}": (lambda l, x, b=b: l.stft(x, 2.0, nperseg=8, boundary=b), [real(2, 31)])
        for b in ("zeros", "even", "odd", "constant", None)
    },
    "stft axis": (lambda l, x: l.stft(x, 2.0, nperseg=9, noverlap=6, nfft=11, axis=0, scaling="psd", padded=False, detrend="constant"), [real(31, 2)]),
    "stft complex": (lambda l, x: l.stft(x, 2.0, nperseg=8, return_onesided=False), [complex_(31)]),
    "stft function": (lambda l, x: l.stft(x, 2.0, nperseg=8, axis=0, detrend=lambda d: d - d.mean(0)), [real(31, 3)]),
    "istft": (lambda l, z: l.istft(z, nperseg=8), [complex_(5, 9)]),
    "istft odd": (lambda l, z: l.istft(z, nperseg=9, noverlap=6, scaling="psd", fs=2.0), [complex_(2, 5, 9)]),
    "istft two": (lambda l, z: l.istft(z, nperseg=8, input_onesided=False), [complex_(8, 9)]),
    "istft axes": (lambda l, z: l.istft(z, nperseg=8, time_axis=0, freq_axis=1), [complex_(9, 5, 2)]),
    "istft window": (lambda l, z, w: l.istft(z, window=w, time_axis=1, freq_axis=0, boundary=False), [complex_(5, 9, 2), W]),
    **{
        f"spectrogram {m}": (lambda l, x, m=m: l.spectrogram(x, 2.0, nperseg=16, mode=m), [real(2, 60)])
        for m in ("psd", "complex", "magnitude", "angle")
    },
    "spectrogram phase": (lambda l, x: l.spectrogram(x, 2.0, "hann", nperseg=8, mode="phase", axis=0), [real(60, 2)]),
}  # fmt: skip


def test_values() -> None:
    values(signal, scipy.signal, CASES)


@pytest.mark.filterwarnings("ignore:Input data is complex")
def test_derivatives() -> None:
    derivatives(signal, {name: CASES[name] for name in list(CASES)[1::3]})


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(signal, {name: CASES[name] for name in ("csd True mean", "welch window", "stft odd", "istft odd")})


def test_there_and_back() -> None:
    x = real(40)
    back = tg.jit(lambda x: signal.istft(signal.stft(x, nperseg=8)[2], nperseg=8)[1])
    np.testing.assert_allclose(back(x), x, atol=1e-12)
    np.testing.assert_allclose(tg.jacrev(back)(x), np.eye(40), atol=1e-12)


def test_power_is_differentiable_where_it_is_zero() -> None:
    power = lambda x: np.sum(signal.welch(x, nperseg=8, detrend=False)[1])
    np.testing.assert_array_equal(tg.grad(power)(np.zeros(16)), np.zeros(16))


def test_single_precision() -> None:
    x = real(50).astype(np.float32)
    for f in (lambda l, x: l.welch(x, nperseg=8)[1], lambda l, x: l.stft(x, nperseg=8)[2]):
        got, expected = tg.vjp(lambda x, f=f: f(signal, x), x)[0], f(scipy.signal, x)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_a_short_signal_warns() -> None:
    with pytest.warns(UserWarning, match="nperseg = 256 is greater than the length 8"):
        tg.jit(lambda x: signal.welch(x)[1])(np.ones(8))


def test_errors() -> None:
    x = np.ones(20)
    for call, message in [
        (lambda x: signal.welch(x, nperseg=0), "nperseg must be a positive integer, got 0"),
        (lambda x: signal.welch(x, nperseg=8, noverlap=8), "noverlap must be less than nperseg, got 8 and 8"),
        (lambda x: signal.welch(x, nperseg=8, nfft=4), "nfft must be greater than or equal to nperseg, got 4 and 8"),
        (lambda x: signal.welch(x, nperseg=8, scaling="x"), "scaling must be 'density' or 'spectrum', got 'x'"),
        (lambda x: signal.welch(x, nperseg=8, average="x"), "average must be 'mean' or 'median', got 'x'"),
        (lambda x: signal.stft(x, nperseg=8, scaling="x"), "scaling must be 'spectrum' or 'psd', got 'x'"),
        (lambda x: signal.stft(x, nperseg=8, boundary="x"), r"boundary must be .* got 'x'"),
        (lambda x: signal.spectrogram(x, nperseg=8, mode="x"), r"mode must be .* got 'x'"),
        (lambda x: signal.istft(x.reshape(5, 4), nperseg=8, scaling="x"), "scaling must be 'spectrum' or 'psd'"),
        (lambda x: signal.istft(x.reshape(5, 4), nperseg=0), "nperseg must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            tg.jit(call)(x)
    for call, message in [
        (lambda x: signal.welch(x, window=np.ones(30)), r"welch at .*test_spectra\.py:\d+.* not longer than the signal, got f64\[30\]"),
        (lambda x: signal.istft(x), r"istft at .*test_spectra\.py:\d+.* needs an axis of frequencies and one of times"),
        (lambda x: signal.istft(x.reshape(5, 4), window=np.ones(3)), r"the window must have nperseg=8 elements"),
    ]:  # fmt: skip
        with pytest.raises(ShapeError, match=message):
            tg.jit(call)(x)
