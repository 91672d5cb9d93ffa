"""Sums of products with weights against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tests.scipy.signal.test_convolving import complex_, real
from tracegrad.core.errors import ShapeError, TracerArrayConversionError, UnsupportedFunctionError
from tracegrad.scipy import ndimage

MODES = ("reflect", "constant", "nearest", "mirror", "wrap")
CASES: Cases = {
    **{
        f"{name} {m} {o}": (lambda l, x, w, n=name, m=m, o=o: getattr(l, n)(x, w, 0, mode=m, cval=1.5, origin=o), [real(6, 2), real(size)])
        for m in MODES
        for o in (-1, 0, 1)
        for name, size in [("correlate1d", 4), ("convolve1d", 3)]
    },
    **{
        f"{name} {m} {o}": (lambda l, x, w, n=name, m=m, o=o: getattr(l, n)(x, w, mode=m, cval=1.5, origin=(o, 0)), [real(5, 6), real(3, 4)])
        for m in MODES
        for o in (-1, 0, 1)
        for name in ("correlate", "convolve")
    },
    **{f"long {m}": (lambda l, x, y, w, m=m: (l.correlate1d(x, w, mode=m), l.convolve1d(y, w, mode=m)), [real(3), real(1), real(8)]) for m in MODES},
    "complex": (lambda l, x, w: (l.correlate1d(x, w[0]), l.convolve1d(x, w[1])), [complex_(4), complex_(2, 3)]),
    "complex 2": (lambda l, x, w: (l.correlate(x, w), l.convolve(x, w, mode="wrap")), [complex_(4, 4), complex_(3, 2)]),
    "complex weights": (lambda l, x, w: (l.correlate1d(x, w), l.convolve1d(x, w)), [real(4), complex_(3)]),
    "axes": (lambda l, x, w: (l.correlate(x, w, axes=1), l.convolve(x, np.arange(6.0).reshape(2, 3), axes=(2, 0))), [real(3, 4, 3), real(3)]),
}  # fmt: skip


def test_values() -> None:
    values(ndimage, scipy.ndimage, CASES)


def test_derivatives() -> None:
    derivatives(ndimage, {name: CASES[name] for name in list(CASES)[::5] + ["complex 2", "axes"]})


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(ndimage, {name: CASES[name] for name in ("correlate1d wrap 1", "convolve reflect -1", "complex")})


def test_dtypes_of_results() -> None:
    x = np.array([3, 7, -5, 2], np.int32)
    for kind in (None, np.float32, "float64"):
        f = lambda l, x, k=kind: l.correlate1d(x, [0.3, 0.5, 0.4], output=k)
        got, expected = tg.jit(lambda x, f=f: f(ndimage, x))(x), f(scipy.ndimage, x)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    single = real(5).astype(np.float32)
    got = tg.vjp(lambda x: ndimage.convolve1d(x, [1, 2, 3]), single)[0]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, scipy.ndimage.convolve1d(single, [1, 2, 3]), rtol=1e-5, atol=1e-6)


def test_errors() -> None:
    x = np.ones((4, 4))
    for call, message in [
        (lambda x: ndimage.correlate1d(x, x), r"correlate1d at .*test_filters\.py:\d+.* weights must be a vector"),
        (lambda x: ndimage.convolve(x, x[0]), r"convolve at .*weights must have an axis for each of 2, .*got f64\[4\]"),
    ]:
        with pytest.raises(ShapeError, match=message):
            tg.jit(call)(x)
    for call, message in [
        (lambda x: ndimage.correlate1d(x, [1, 2, 3], origin=2), r"a window of 3 elements at .* origin must be from -1 to 1, got 2"),
        (lambda x: ndimage.correlate1d(x, [1, 2, 3], mode="odd"), r"the boundary mode must be one of 'reflect', .* got 'odd'"),
        (lambda x: ndimage.correlate(x, [1, 2, 3], axes=2), "axes must be different ones of 2, got 2"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            tg.jit(call)(x)
    with pytest.raises(
        UnsupportedFunctionError, match=r"correlate1d with an array for output is not traced at .*test_filters"
    ):
        tg.jit(lambda x: ndimage.correlate1d(x, [1, 2, 3], output=np.zeros((4, 4))))(x)
    with pytest.raises(TracerArrayConversionError, match=r"tg\.scipy\.ndimage\.convolve\(\.\.\.\)`"):
        tg.grad(lambda x: np.sum(scipy.ndimage.convolve(x, np.ones((2, 2)))))(x)
