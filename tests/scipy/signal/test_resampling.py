"""Signals at other rates against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tests.scipy.signal.test_convolving import complex_, real
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
from tracegrad.scipy import signal

CASES: Cases = {
    **{f"resample {n}": (lambda l, x, n=n: l.resample(x, n), [real(10, 2)]) for n in (5, 8, 9, 10, 12, 15, 20)},
    **{f"resample odd {n}": (lambda l, x, n=n: l.resample(x, n, axis=1, window="hann"), [real(2, 9)]) for n in (8, 9, 10, 12)},
    **{f"resample complex {n}": (lambda l, x, n=n: l.resample(x, n, window="hann"), [complex_(10)]) for n in (5, 8, 10, 12, 15)},
    "resample t": (lambda l, x: l.resample(x, 12, t=np.arange(9.0)), [real(9)]),
    "resample freq": (lambda l, x: l.resample(x, 12, domain="freq"), [complex_(10)]),
    "resample window": (lambda l, x: l.resample(x, 12, window=lambda f: np.exp(-(f**2))), [real(10)]),
    **{
        f"upfirdn {up} {down}": (lambda l, h, x, u=up, d=down: l.upfirdn(h, x, u, d), [real(4), real(2, 7)])
        for up, down in [(2, 1), (1, 2), (3, 2), (4, 6), (1, 1)]
    },
    **{
        f"resample_poly {p}": (lambda l, x, p=p: l.resample_poly(x, 3, 2, padtype=p), [real(17, 2)])
        for p in ("constant", "mean", "median", "minimum", "maximum")
    },
    **{
        f"resample_poly {up} {down}": (lambda l, x, h, u=up, d=down: l.resample_poly(x, u, d, window=h), [real(17), real(9)])
        for up, down in [(2, 1), (1, 2), (4, 6), (2, 3), (2, 2)]
    },
    **{
        f"decimate {f} {z}": (lambda l, x, f=f, z=z: l.decimate(x, 3, ftype=f, zero_phase=z), [real(61)])
        for f in ("iir", "fir")
        for z in (True, False)
    },
}  # fmt: skip


def test_values() -> None:
    values(signal, scipy.signal, CASES)


def test_derivatives() -> None:
    derivatives(signal, {name: CASES[name] for name in list(CASES)[::2]})


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(
        signal, {name: CASES[name] for name in ("resample 8", "resample odd 12", "upfirdn 3 2", "resample_poly 2 3")}
    )


def test_errors() -> None:
    x = np.ones(8)
    for call, message in [
        (lambda x: signal.upfirdn([1.0], x, mode="symmetric"), r"upfirdn with mode='symmetric' and cval=0 is not traced at .*test_resampling"),
        (lambda x: signal.resample_poly(x, 2, 1, padtype="line"), "resample_poly with padtype='line'"),
        (lambda x: signal.decimate(x, 2, ftype="x"), "decimate with ftype='x' is not traced"),
    ]:  # fmt: skip
        with pytest.raises(UnsupportedFunctionError, match=message):
            tg.jit(call)(x)
    with pytest.raises(ShapeError, match=r"upfirdn at .* h must be a vector"):
        tg.jit(lambda x: signal.upfirdn(np.ones((2, 2)), x))(x)
    with pytest.raises(ValueError, match="up and down must be at least 1, got 0 and 1"):
        tg.jit(lambda x: signal.upfirdn([1.0], x, 0))(x)
    with pytest.raises(ValueError, match="domain must be 'time' or 'freq', got 'space'"):
        tg.jit(lambda x: signal.resample(x, 4, domain="space"))(x)
    with pytest.raises(ShapeError, match=r"the window must have 8 elements, as x has, got f64\[3\]"):
        tg.jit(lambda x: signal.resample(x, 4, window=np.ones(3)))(x)
