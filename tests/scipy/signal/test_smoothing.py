"""Trends, smooth polynomials, medians and analytic signals against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tests.scipy.signal.test_convolving import real
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.scipy import signal

CASES: Cases = {
    **{f"detrend {t}": (lambda l, x, t=t: l.detrend(x, type=t), [real(2, 9)]) for t in ("linear", "constant")},
    "detrend bp": (lambda l, x: l.detrend(x, axis=0, bp=[3, 5]), [real(9, 2)]),
    **{f"hilbert {n}": (lambda l, x, n=n: l.hilbert(x, n, axis=0), [real(10, 2)]) for n in (None, 7, 12)},
    **{
        f"savgol {m} {d}": (lambda l, x, m=m, d=d: l.savgol_filter(x, 5, 2, d, 0.5, axis=0, mode=m, cval=1.0), [real(9, 2)])
        for m in ("interp", "mirror", "constant", "nearest", "wrap")
        for d in (0, 1)
    },
    "savgol even": (lambda l, x: l.savgol_filter(x, 4, 2), [real(9)]),
    "savgol one": (lambda l, x: l.savgol_filter(x, 1, 0), [real(9)]),
    "medfilt": (lambda l, x: l.medfilt(x, 5), [real(9)]),
    "medfilt 2": (lambda l, x: l.medfilt(x, (3, 5)), [real(6, 7)]),
    "medfilt2d": (lambda l, x: l.medfilt2d(x), [real(4, 5)]),
}  # fmt: skip


def test_values() -> None:
    values(signal, scipy.signal, CASES)


def test_derivatives() -> None:
    derivatives(signal, {name: CASES[name] for name in CASES if not name.endswith("1")})


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(signal, {name: CASES[name] for name in ("detrend bp", "hilbert 7", "savgol interp 1", "medfilt")})


def test_single_precision_and_integers() -> None:
    x = real(9).astype(np.float32)
    for f in (
        lambda l, x: l.detrend(x),
        lambda l, x: l.savgol_filter(x, 3, 1),
        lambda l, x: l.hilbert(x),
        lambda l, x: l.medfilt(x),
    ):
        got, expected = tg.vjp(lambda x, f=f: f(signal, x), x)[0], f(scipy.signal, x)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(tg.jit(signal.medfilt)(np.array([1, 5, 2])), [1, 2, 2])
    np.testing.assert_array_equal(signal.savgol_coeffs(5, 2), scipy.signal.savgol_coeffs(5, 2))


def test_errors() -> None:
    x = np.ones((3, 3))
    with pytest.raises(ValueError, match="type must be 'linear' or 'constant', got 'square'"):
        tg.jit(lambda x: signal.detrend(x, type="square"))(x)
    with pytest.raises(
        ValueError, match=r"detrend at .*test_smoothing\.py:\d+.* not be beyond the length along the axis, 3"
    ):
        tg.jit(lambda x: signal.detrend(x, bp=[4]))(x)
    with pytest.raises(DtypeError, match=r"hilbert at .*test_smoothing\.py:\d+.* x must be real, got c128\[3,3\]"):
        tg.jit(lambda x: signal.hilbert(x + 1j))(x)
    with pytest.raises(ValueError, match=r"savgol_filter at .* got 5 and 3"):
        tg.jit(lambda x: signal.savgol_filter(x, 5, 2))(x)
    with pytest.raises(ValueError, match=r"mode must be .* got 'odd'"):
        tg.jit(lambda x: signal.savgol_filter(x, 3, 2, mode="odd"))(x)
    with pytest.raises(ValueError, match="must be odd, got 4"):
        tg.jit(lambda x: signal.medfilt(x, 4))(x)
    with pytest.raises(ShapeError, match=r"medfilt2d at .* takes matrices, got f64\[3\]"):
        tg.jit(lambda x: signal.medfilt2d(x[0]))(x)
    with pytest.raises(DtypeError, match=r"medfilt at .* no median of complex numbers"):
        tg.jit(lambda x: signal.medfilt(x + 1j))(x)
