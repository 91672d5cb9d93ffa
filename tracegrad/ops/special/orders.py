"""Derivatives of Bessel functions in a real order, by integrals and series in which next to nothing cancels (in float64, by NumPy).

K, of every order of derivative: the integral of exp(-z cosh t) t^n cosh or sinh(v t) by the trapezoidal rule, which converges
exponentially (DLMF 10.32.9). I: the mean of log(z / 2) - digamma(k + v + 1), weighted by the terms of its series (10.25.2), or where z is
large beside v^2 the derivative of Schlaefli's integral (10.32.4), of which all parts have one sign. J and Y: those of theirs (10.9.6,
10.9.7), for small z the series of J (10.2.2), and below the order J's integral along the path of steepest descent. Where none of these
is accurate to some 1e-11, of negative orders where J is tiny and beyond 1500, it is NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.quiet import quietly
from tracegrad.ops.special.declared import in_blocks, scipy_special

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
_PLACES = 220
_BLOCK = 1024
# Where a path may end: close enough to each other everywhere between 0 and pi.
_ENDS = np.union1d(np.geomspace(1e-12, 1, 240), np.linspace(0, np.pi, 130)[1:-1])
_LARGEST = 1500.0  # up to which Bessel's integral has nodes


def by_columns(function: Callable[..., Any], v: Any, z: Any, **how: Any) -> Any:
    """What a function of columns makes of arrays that broadcast."""
    quiet = lambda v, z: quietly(("all",), function, v[:, None], z[:, None], **how)[:, 0]
    return in_blocks(quiet, np.asarray(v, np.float64), np.asarray(z, np.float64), size=_BLOCK)


def _sum(x: Any) -> Any:
    return np.sum(x, -1, keepdims=True)


def _integral(f: Callable[[Any], Any], length: Any) -> Any:
    """From 0 to this length, by Gauss' rule."""
    return _sum(f(0.5 * length * (_NODES + 1)) * _WEIGHTS) * 0.5 * length


def _k(v: Any, z: Any, order: int, scaled: bool) -> Any:
    sign = np.where(v < 0, (-1.0) ** order, 1.0)
    v = np.abs(v)
    usual = (z > 0) & np.isfinite(z) & np.isfinite(v)
    w, u = np.where(usual, z, 1.0), np.where(usual, v, 0.0)
    last = np.arcsinh(u / w) + np.arccosh(1 + 45 / np.hypot(w, u))
    t = last * np.linspace(0, 1, _PLACES)
    other = np.exp(-2 * u * t)
    pair = 1 + other if order % 2 == 0 else -np.expm1(-2 * u * t)
    fall = 2 * w * np.sinh(t / 2) ** 2  # z (cosh t - 1)
    terms = t**order * pair * np.exp(u * t - fall - (0 if scaled else w))
    found = 0.5 * (_sum(terms) - 0.5 * terms[:, :1]) * last / (_PLACES - 1)
    edge = np.where((z == np.inf) | ((v == 0) & (z == 0) & (order % 2 == 1)), 0, np.where(z == 0, np.inf, np.nan))
    return sign * np.where(usual, found, edge)


def _i_by_series(v: Any, z: Any) -> Any:
    """Over I itself."""
    s = scipy_special()
    peak = (np.hypot(z, v) - v) / 2
    reach = 9 * np.sqrt(peak) + 30
    first = np.floor(np.maximum(peak - reach, 0))
    k = first + np.arange(int(np.max(peak + reach - first)) + 1)
    logs = 2 * k * np.log(z / 2) - s.gammaln(k + 1) - s.gammaln(k + v + 1)
    terms = np.exp(logs - np.max(logs, -1, keepdims=True))
    return _sum(terms * (np.log(z / 2) - s.psi(k + v + 1))) / _sum(terms)


def _i_by_integrals(v: Any, z: Any) -> Any:
    """Times exp(-z)."""
    wide = 2 * np.arcsin(np.minimum(np.sqrt(22 / z), 1))
    near = _integral(lambda t: t * np.sin(v * t) * np.exp(-2 * z * np.sin(t / 2) ** 2), wide)
    turn = np.pi * v
    far = _integral(
        lambda t: (np.cos(turn) - np.sin(turn) * t / np.pi) * np.exp(-z * (np.cosh(t) + 1) - v * t), np.arccosh(1 + 45 / z)
    )  # fmt: skip
    return -near / np.pi - far


def _i(v: Any, z: Any, scaled: bool) -> Any:
    s = scipy_special()
    usual = (z > 0) & np.isfinite(z) & np.isfinite(v)
    w, u = np.where(usual, z, 1.0), np.where(usual, np.abs(v), 0.0)
    early = w <= np.maximum(2, 4 * u * u)
    series = s.ive(u, w) * _i_by_series(np.where(early, u, 1.0), np.where(early, w, 1.0))
    found = np.where(early, series, _i_by_integrals(np.where(early, 0.5, u), np.where(early, 4.0, w)))
    k, slope = s.kve(u, w), _k(u, w, 1, True)
    turn = np.pi * u
    turned = -(found + np.exp(-2 * w) * (2 * np.cos(turn) * k + 2 / np.pi * np.sin(turn) * slope))
    found = np.where(v < 0, turned, found)
    edge = np.where((z == 0) & (v >= 0), np.where(v == 0, -np.inf, 0), np.nan)
    return np.where(usual, found if scaled else found * np.exp(w), edge)


def _oscillation(v: Any, z: Any, cosine: bool) -> Any:
    """The integral of theta sin or cos(z sin theta - v theta) from 0 to pi, by as many nodes as it takes."""
    count = int(np.max(z + np.abs(v))) + 60
    nodes, weights = _gauss(count - count % 32 + 32)
    t = 0.5 * np.pi * (nodes + 1)
    angle = z * np.sin(t) - v * t
    return _sum(t * (np.cos(angle) if cosine else np.sin(angle)) * weights) * 0.5 * np.pi


@functools.lru_cache(maxsize=32)
def _gauss(count: int) -> Any:
    return np.polynomial.legendre.leggauss(count)


def _far(f: Callable[[Any], Any], v: Any, z: Any) -> Any:
    """The integral from 0 of f(t), which goes like exp(v t - z sinh t): around its peak, where it has one."""
    v = np.maximum(v, 0)
    peak, sharp = np.arccosh(np.maximum(v / z, 1)), np.sqrt(np.maximum(v * v - z * z, 1e-300))
    start = np.maximum(peak - (np.sqrt(90 / sharp) + 60 / sharp + 1), 0)
    over = np.minimum(np.cbrt(270 / z), np.maximum(3, np.arcsinh(65 / z)))
    ahead = np.where(v >= z, np.arccosh(1 + 45 / np.maximum(v, 1e-300)), over)
    return _integral(lambda t: f(start + t), peak - start) + _integral(lambda t: f(peak + t), ahead)


def _inside(v: Any, z: Any) -> tuple[Any, Any, Any]:
    usual = (z > 0) & (z <= _LARGEST) & (np.abs(v) <= _LARGEST)
    return usual, np.where(usual, v, 0.5), np.where(usual, z, 1.0)


def _j_by_series(v: Any, z: Any) -> Any:
    s = scipy_special()
    k = np.arange(60)
    terms = (-1.0) ** k * np.exp((2 * k + v) * np.log(z / 2) - s.gammaln(k + 1) - s.gammaln(k + v + 1))
    return _sum(terms * (np.log(z / 2) - s.psi(k + v + 1)))


def _j_below(v: Any, z: Any) -> Any:
    """For z <= v, by the path of steepest descent (Watson's 8.43), along which t = tau + i theta and all terms are positive. They are weights of a mean,
    and J is SciPy's."""
    s = np.sqrt((v - z) * (v + z))
    start = np.arcsinh(s / z)

    def path(theta: Any) -> tuple[Any, Any]:
        squared = theta * theta
        tail = 1 - squared / 72 * (1 - squared / 110 * (1 - squared / 156))
        bend = np.where(
            theta < 0.5, theta**3 / 6 * (1 - squared / 20 * (1 - squared / 42 * tail)), theta - np.sin(theta)
        )
        tau = 2 * np.arcsinh(np.sqrt(((v - z) * theta + z * bend) / (2 * z * np.sin(theta))))
        return tau, v * (tau - start) - z * np.sinh(tau) * np.cos(theta) + s

    end = _ENDS[np.minimum(_sum(path(_ENDS)[1] < 45), len(_ENDS) - 1)]
    scale = math.sqrt(3) * np.maximum(start, 1e-9 * end)  # tau has a branch point so far from the axis
    q = np.arcsinh(end / scale) * 0.5 * (_NODES + 1)
    theta = scale * np.sinh(q)
    tau, fall = path(theta)
    slope = v * (np.sin(theta) - theta * np.cos(theta)) / (z * np.sin(theta) ** 2 * np.sinh(tau))
    terms = np.exp(-fall) * np.cosh(q) * _WEIGHTS
    return -scipy_special().jv(v, z) * _sum(terms * (tau + theta * slope)) / _sum(terms)


def _j(v: Any, z: Any) -> Any:
    usual, u, w = _inside(v, z)
    below = (v >= 8) & (z > 0) & (z <= v) & np.isfinite(v)
    early = (u >= 0) & (w * w <= 12 * (u + 1))
    series = _j_by_series(np.where(early, u, 1.0), np.where(early, w, 1.0))
    turn = np.pi * u
    far = _far(lambda t: (np.cos(turn) - np.sin(turn) * t / np.pi) * np.exp(-u * t - w * np.sinh(t)), -u, w)
    found = np.where(early, series, _oscillation(u, w, False) / np.pi - far)
    tiny = ~early & (w < np.abs(u)) & (np.abs(found) < 1e-4)
    edge = np.where((z == 0) & (v >= 0), np.where(v == 0, -np.inf, 0), np.nan)
    found = np.where(usual & ~tiny, found, edge)
    descends = below & (tiny | ~usual)
    if not descends.any():
        return found
    return np.where(descends, _j_below(np.where(descends, v, 10.0), np.where(descends, z, 5.0)), found)


def _y(v: Any, z: Any) -> Any:
    usual, u, w = _inside(v, z)
    turn = np.pi * u
    far = _far(
        lambda t: (
            t * np.exp(u * t - w * np.sinh(t))
            - (t * np.cos(turn) + np.pi * np.sin(turn)) * np.exp(-u * t - w * np.sinh(t))
        ),
        np.abs(u),
        w,
    )
    return np.where(usual, -(_oscillation(u, w, True) + far) / math.pi, np.nan)


k_slope, i_slope, j_slope, y_slope = [functools.partial(by_columns, f) for f in (_k, _i, _j, _y)]
