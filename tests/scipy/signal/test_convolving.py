"""Convolution and correlation against SciPy's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.signal

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tracegrad.core.errors import ShapeError, TracerArrayConversionError
from tracegrad.scipy import signal

rng = np.random.default_rng(0)
MODES = ("full", "same", "valid")


def real(*shape: int) -> np.ndarray:
    return rng.normal(size=shape)


def complex_(*shape: int) -> np.ndarray:
    return real(*shape) + 1j * real(*shape)


CASES: Cases = {
    **{
        f"{name} {m} {how} {x.shape} {h.shape}": (lambda l, x, h, n=name, m=m, k=how: getattr(l, n)(x, h, m, k), [x, h])
        for name, m, how in itertools.product(("convolve", "correlate"), MODES, ("auto", "direct", "fft"))
        for x, h in [(real(9), real(4)), (real(3), real(6)), (complex_(5, 6), real(2, 3)), (complex_(4), complex_(7))]
    },
    **{
        f"fftconvolve {m} {axes}": (lambda l, x, h, m=m, a=axes: l.fftconvolve(x, h, m, axes=a), [real(3, 6), real(*h)])
        for m in MODES
        for axes, h in [(None, (2, 2)), (1, (1, 2)), ((0, 1), (2, 3))]
    },
    **{f"oaconvolve {m}": (lambda l, x, h, m=m: l.oaconvolve(x, h, m), [real(90), real(7)]) for m in MODES},
    **{
        f"{name} {m} {b} {h}": (lambda l, x, h, n=name, m=m, b=b: getattr(l, n)(x, h, m, b, 1.5), [complex_(6, 5), complex_(*h)])
        for name in ("convolve2d", "correlate2d")
        for m in MODES
        for b in ("fill", "wrap", "symm")
        for h in [(3, 2), (2, 4)]
    },
    **{
        f"{name} swapped": (lambda l, x, h, n=name: getattr(l, n)(x, h, "valid"), [real(3, 2), complex_(4, 5)])
        for name in ("convolve2d", "correlate2d")
    },
}  # fmt: skip
SOME = {name: CASES[name] for name in list(CASES)[::7]}


def test_values() -> None:
    values(signal, scipy.signal, CASES)


def test_derivatives() -> None:
    derivatives(signal, SOME)
    derivatives(signal, {"twice": (lambda l, x, h: l.convolve2d(x, h, boundary="wrap"), [real(3, 3), real(2, 2)])}, 2)


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(signal, {name: CASES[name] for name in list(CASES)[::14]})


def test_integers_are_exact() -> None:
    x, h = np.array([2**60, 3, -5]), np.array([1, 2])
    for method in ("auto", "direct"):
        out = tg.jit(lambda x, h, m=method: signal.convolve(x, h, method=m))(x, h)
        np.testing.assert_array_equal(out, np.convolve(x, h))
        assert out.dtype == np.int64
    small = tg.jit(lambda x: signal.convolve(x, h, method="fft"))(np.array([1, 2, 3]))
    np.testing.assert_array_equal(small, np.convolve([1, 2, 3], h))


def test_single_precision() -> None:
    x, h = real(6).astype(np.float32), real(3).astype(np.float32)
    for method in ("fft", "direct"):
        out = tg.vjp(lambda x, h, m=method: signal.convolve(x, h, method=m), x, h)[0]
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, np.convolve(x, h), rtol=1e-5, atol=1e-6)


def test_lags() -> None:
    for (n, m), mode in itertools.product([(5, 3), (4, 3), (3, 5), (1, 4)], MODES):
        np.testing.assert_array_equal(signal.correlation_lags(n, m, mode), scipy.signal.correlation_lags(n, m, mode))


def test_plain_arrays_are_scipys() -> None:
    x, h = real(400), real(300)
    np.testing.assert_array_equal(signal.convolve(x, h), scipy.signal.convolve(x, h))


def test_scipys_own_name_our_function() -> None:
    message = r"wanted a plain array at .*test_convolving\.py:\d+[\s\S]*`tg\.scipy\.signal\.convolve\(\.\.\.\)`"
    with pytest.raises(TracerArrayConversionError, match=message):
        tg.grad(lambda x: np.sum(scipy.signal.convolve(x, np.ones(2))))(np.ones(3))


def test_errors() -> None:
    x = np.ones((3, 3))
    for call, message in [
        (lambda x: signal.convolve(x, x[0]), r"convolve at .*test_convolving\.py:\d+.* as many dimensions, got f64\[3,3\] and f64\[3\]"),
        (lambda x: signal.convolve(x[:, :1], x[:1], "valid"), r"for mode 'valid' one must be at least as large as the other"),
        (lambda x: signal.fftconvolve(x, x[:2], axes=1), r"do not broadcast along the axes \[0\]"),
        (lambda x: signal.convolve2d(x[0], x[0]), r"both must have two axes"),
    ]:  # fmt: skip
        with pytest.raises(ShapeError, match=message):
            tg.jit(call)(x)
    for call, message in [
        (lambda x: signal.convolve(x, x, "all"), "mode must be 'full', 'same' or 'valid', got 'all'"),
        (lambda x: signal.convolve(x, x, method="slow"), "method must be 'auto', 'direct' or 'fft', got 'slow'"),
        (lambda x: signal.convolve2d(x, x, boundary="odd"), "boundary must be 'fill', 'wrap' or 'symm', got 'odd'"),
    ]:
        with pytest.raises(ValueError, match=message):
            tg.jit(call)(x)
