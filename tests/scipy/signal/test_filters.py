"""Digital filters against SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tests.scipy.signal.test_convolving import complex_, real
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
from tracegrad.scipy import signal

B, A = np.array([0.2, 0.3, 0.1]), np.array([1.5, -0.6, 0.2, 0.1])
SOS = np.array([[0.2, 0.3, 0.1, 1, -0.4, 0.1], [1, 0.5, 0, 1, 0.2, 0.05]])


def unit(sos: Any) -> Any:
    """Sections as SciPy wants them, with a[0] = 1, wherever differences move it."""
    return sos / sos[:, 3:4]


CASES: Cases = {
    "lfilter": (lambda l, b, a, x: l.lfilter(b, a, x), [B, A, real(10)]),
    "lfilter axis": (lambda l, b, a, x: l.lfilter(b, a, x, axis=0), [A[:2], A, real(10, 2)]),
    "lfilter finite": (lambda l, b, a, x: l.lfilter(b, a, x), [B, A[:1], real(2, 10)]),
    "lfilter scale": (lambda l, b, a, x: l.lfilter(b, a, x), [B[:1], A[:1], real(2, 10)]),
    "lfilter complex": (lambda l, b, a, x: l.lfilter(b, a, x), [complex_(3), A, complex_(8)]),
    "lfilter zi": (lambda l, b, a, x, z: l.lfilter(b, a, x, zi=z), [B, A, real(2, 10), real(2, 3)]),
    "lfilter short": (lambda l, b, a, x, z: l.lfilter(b, a, x, axis=0, zi=z), [B, A, real(2, 3), real(3, 3)]),
    "lfilter finite zi": (lambda l, b, a, x, z: l.lfilter(b, a, x, zi=z), [B, A[:1], real(10), real(2)]),
    "lfilter_zi": (lambda l, b, a: (l.lfilter_zi(b, a), l.lfilter_zi(a, b)), [B, A]),
    "lfiltic": (lambda l, b, a, y, x: (l.lfiltic(b, a, y, x), l.lfiltic(a, b, y)), [B, A, real(3), real(1)]),
    **{
        f"filtfilt {p}": (lambda l, b, a, x, p=p: l.filtfilt(b, a, x, padtype=p), [B, A, real(2, 20)])
        for p in ("odd", "even", "constant", None)
    },
    "filtfilt padlen": (lambda l, b, a, x: l.filtfilt(b, a, x, axis=0, padlen=4), [B, A, real(9, 2)]),
    "sosfilt": (lambda l, s, x: l.sosfilt(unit(s), x, axis=0), [SOS, real(10, 2)]),
    "sosfilt zi": (lambda l, s, x, z: l.sosfilt(unit(s), x, axis=0, zi=z), [SOS, real(10, 3), real(2, 2, 3)]),
    "sosfilt_zi": (lambda l, s: l.sosfilt_zi(s), [SOS]),
    "sosfiltfilt": (lambda l, s, x: l.sosfiltfilt(unit(s), x, axis=0, padlen=9), [SOS, real(20, 2)]),
    "sosfiltfilt constant": (lambda l, x: l.sosfiltfilt(SOS, x), [real(20)]),
}  # fmt: skip


def test_values() -> None:
    values(signal, scipy.signal, CASES)


def test_derivatives() -> None:
    derivatives(signal, CASES)
    derivatives(signal, {name: CASES[name] for name in ("lfilter zi", "lfilter finite")}, 2)


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(signal, {name: CASES[name] for name in ("lfilter zi", "lfilter complex", "sosfilt zi")})


def test_integers_lists_and_empty_signals() -> None:
    out = tg.vjp(lambda x: signal.lfilter([1, 2], [2, 1], x), np.arange(4.0))[0]
    np.testing.assert_allclose(out, scipy.signal.lfilter([1.0, 2.0], [2.0, 1.0], np.arange(4.0)))
    assert tg.jit(lambda x: signal.lfilter(B, A, x))(np.zeros((2, 0))).shape == (2, 0)
    z = tg.jit(lambda x: signal.lfilter(B, A, x, zi=np.ones(3))[1])(np.zeros(0))
    np.testing.assert_array_equal(z, np.ones(3))


def test_a_filter_that_is_learnt() -> None:
    """The coefficients of one that is known only by what it does."""
    x = np.random.default_rng(1).normal(size=200)
    y = scipy.signal.lfilter([0.5, 0.2], [1.0, -0.7], x)

    wrong = lambda p: signal.lfilter(p[:2], np.stack([1.0, p[2]]), x) - y
    p = np.array([0.4, 0.1, -0.5])
    for _ in range(8):
        p = p - np.linalg.lstsq(tg.jacfwd(wrong)(p), wrong(p))[0]
    np.testing.assert_allclose(p, [0.5, 0.2, -0.7], rtol=1e-9)


def test_errors() -> None:
    x = np.ones((2, 20))
    for call, message in [
        (lambda x: signal.lfilter(x, A, x), r"lfilter at .*test_filters\.py:\d+.* must be two vectors"),
        (lambda x: signal.lfilter(B, A, x, zi=np.ones(2)), r"lfilter at .*zi must be as x is but for 3 along the axis"),
        (lambda x: signal.sosfilt(x, x), r"sosfilt at .*sos must be of shape \(n_sections, 6\), got f64\[2,20\]"),
        (lambda x: signal.sosfilt(SOS, x, zi=np.ones((2, 2))), r"for 2 sections zi must be"),
    ]:
        with pytest.raises(ShapeError, match=message):
            tg.jit(call)(x)
    with pytest.raises(ValueError, match=r"filtfilt at .* must be greater than padlen, which is 12, got 4"):
        tg.jit(lambda x: signal.filtfilt(B, A, x))(x[:, :4])
    with pytest.raises(ValueError, match="padtype must be 'odd', 'even', 'constant' or None, got 'zero'"):
        tg.jit(lambda x: signal.filtfilt(B, A, x, padtype="zero"))(x)
    with pytest.raises(ValueError, match="method must be 'pad' or 'gust', got 'x'"):
        tg.jit(lambda x: signal.filtfilt(B, A, x, method="x"))(x)
    with pytest.raises(UnsupportedFunctionError, match=r"filtfilt with method='gust' is not traced at .*test_filters"):
        tg.jit(lambda x: signal.filtfilt(B, A, x, method="gust"))(x)
