"""Signals as functions of time against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, values
from tracegrad.scipy import signal

t = np.linspace(0.1, 1, 5)
CASES: Cases = {
    "gausspulse": (lambda l, t: l.gausspulse(t, 5, retquad=True, retenv=True), [t]),
    **{
        f"chirp {m} {v}": (lambda l, t, m=m, v=v: l.chirp(t, 1.5, 2.0, 4.0, m, 30, v), [t])
        for m in ("linear", "quad", "log", "hyp")
        for v in (True, False)
    },
    "chirp complex": (lambda l, t: l.chirp(t, 1.5, 2.0, 4.0, complex=True), [t]),
    **{f"chirp {m} level": (lambda l, t, m=m: l.chirp(t, 1.5, 2.0, 1.5, m), [t]) for m in ("lin", "log", "hyp")},
}


def test_values_and_derivatives() -> None:
    values(signal, scipy.signal, CASES)
    parameters: Cases = {
        "chirp": (lambda l, t, f0, t1, f1, p: l.chirp(t, f0, t1, f1, "log", p), [t, *map(np.float64, (1.5, 2, 4, 30))]),
        "pulse": (lambda l, t, fc, bw: l.gausspulse(t, fc, bw), [t, np.float64(2.0), np.float64(0.5)]),
    }
    derivatives(signal, {**CASES, **parameters})


def test_a_time_and_a_wrong_method() -> None:
    assert signal.gausspulse("cutoff", 5) == scipy.signal.gausspulse("cutoff", 5)
    with pytest.raises(ValueError, match=r"method must be .* got 'cubic'"):
        tg.jit(lambda t: signal.chirp(t, 1, 1, 2, "cubic"))(t)
