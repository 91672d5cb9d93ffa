"""Signals as functions of time."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.trace import as_array
from tracegrad.scipy.calling import is_traced, needed, of_scipy
from tracegrad.typing import Array, ArrayLike

signal = of_scipy("scipy.signal")
_LINEAR, _QUADRATIC = ("linear", "lin", "li"), ("quadratic", "quad", "q")
_LOGARITHMIC, _HYPERBOLIC = ("logarithmic", "log", "lo"), ("hyperbolic", "hyp")


@signal
def gausspulse(
    t: Any,
    fc: ArrayLike = 1000,
    bw: ArrayLike = 0.5,
    bwr: float = -6,
    tpr: float = -60,
    retquad: bool = False,
    retenv: bool = False,
) -> Any:
    """exp(-a t^2) cos(2 pi fc t), where a is such that the relative bandwidth `bw` is reached at `bwr` decibels; also with the sine for the cosine
    (`retquad`), and the envelope (`retenv`). Derivatives in t, fc and bw.

    >>> float(gausspulse(0.0))
    1.0
    """
    if isinstance(t, str):  # a time, at which the envelope is `tpr` decibels
        return needed("scipy.signal").gausspulse(t, fc, bw, bwr, tpr)
    t = as_array(t)
    a = -((np.pi * fc * bw) ** 2) / (4.0 * np.log(10.0 ** (bwr / 20.0)))
    envelope = np.exp(-a * t * t)
    found = [envelope * np.cos(2 * np.pi * fc * t)]
    if retquad:
        found.append(envelope * np.sin(2 * np.pi * fc * t))
    if retenv:
        found.append(envelope)
    return found[0] if len(found) == 1 else tuple(found)


@signal
def chirp(
    t: ArrayLike,
    f0: ArrayLike,
    t1: ArrayLike,
    f1: ArrayLike,
    method: str = "linear",
    phi: ArrayLike = 0,
    vertex_zero: bool = True,
    *,
    complex: bool = False,
) -> Array:
    """A cosine, or with `complex` exp(i phase), of which the frequency goes from `f0` at 0 to `f1` at `t1`: "linear", "quadratic", "logarithmic" or
    "hyperbolic". The phase `phi` is in degrees. Derivatives in t, f0, t1, f1 and phi.

    >>> float(chirp(0.0, 1.0, 1.0, 2.0))
    1.0
    """
    t, f0, t1, f1 = [as_array(x) for x in (t, f0, t1, f1)]
    if not is_traced(f0) and not is_traced(f1) and f0 == f1 and method in (*_LOGARITHMIC, *_HYPERBOLIC):
        cycles = f0 * t
    elif method in _LINEAR:
        cycles = f0 * t + 0.5 * ((f1 - f0) / t1) * t * t
    elif method in _QUADRATIC:
        beta = (f1 - f0) / t1**2
        cycles = f0 * t + beta * t**3 / 3 if vertex_zero else f1 * t + beta * ((t1 - t) ** 3 - t1**3) / 3
    elif method in _LOGARITHMIC:
        cycles = t1 / np.log(f1 / f0) * f0 * ((f1 / f0) ** (t / t1) - 1.0)
    elif method in _HYPERBOLIC:
        singular = -f1 * t1 / (f0 - f1)
        cycles = -singular * f0 * np.log(np.abs(1 - t / singular))
    else:
        raise ValueError(f"chirp: method must be 'linear', 'quadratic', 'logarithmic' or 'hyperbolic', got {method!r}")
    phase = 2 * np.pi * cycles + np.deg2rad(phi)
    return np.exp(1j * phase) if complex else np.cos(phase)
