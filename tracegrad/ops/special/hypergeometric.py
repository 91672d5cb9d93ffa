"""Hypergeometric functions, with derivatives in all arguments, elliptic integrals, and Lambert's W."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.core.quiet import quietly
from tracegrad.ops.elementwise.samples import unary_samples
from tracegrad.ops.special.declared import call, scipy_special, special, traces
from tracegrad.typing import Array, ArrayLike


def _samples_1f1() -> Iterable[Sample]:
    yield Sample((np.array([1, 2]), np.array([2, 3]), np.array([[-1.3, 0.4], [0.2, 1.7]])))


def _samples_2f1() -> Iterable[Sample]:
    yield Sample((np.array([1, 2]), np.array([2, 1]), np.array([3, 4]), np.array([[-0.7, 0.4], [0.2, 0.6]])))


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives in a parameter: term by term, with that of each term from the one before it, over numbers of which the terms have one
# sign as far as may be: 1F1(a; b; x) = exp(x) 1F1(b - a; b; -x) for x < 0, and 2F1(a, b; c; z) = (1 - z)**-a 2F1(a, c - b; c; z / (z - 1))
# for z < 0 (DLMF 13.2.39, 15.8.1). Where more than four digits cancel, or the series is too slow near z = 1, it is NaN.

_MOST_TERMS = 3000
_MOST_LOST = 1e4


def _series(upper: Sequence[Any], lower: Sequence[Any], x: Any, along: Sequence[float]) -> Any:
    """The derivative of the sum of (u)_n ... / ((l)_n ... n!) x^n in the direction `along` all upper and lower parameters."""
    term, slope = np.ones(np.shape(x)), np.zeros(np.shape(x))
    total, size = np.zeros(np.shape(x)), np.zeros(np.shape(x))
    for n in range(_MOST_TERMS):
        factor, change = x / (n + 1), np.zeros(np.shape(x))
        for i, p in enumerate((*upper, *lower)):
            # The derivative of the product of all factors, by the product rule, which a factor of zero does not hurt.
            moved = p + n
            if i < len(upper):
                change, factor = change * moved + along[i] * factor, factor * moved
            else:
                change, factor = (change - along[i] * factor / moved) / moved, factor / moved
        term, slope = term * factor, slope * factor + term * change
        total, size = total + slope, size + np.abs(slope)
        if not np.any((np.abs(slope) > 1e-17 * size) | (np.abs(term) > 1e-17 * size) | (size == 0) & (term != 0)):
            break
    settled = (np.abs(slope) <= 1e-16 * size) & (size <= _MOST_LOST * np.abs(total))
    return np.where(settled | (size == 0), total, np.nan)


def _columns(*inputs: Any) -> list[Any]:
    return [np.asarray(x, np.float64) for x in np.broadcast_arrays(*inputs)]


def _slope_1f1(a: Any, b: Any, x: Any, which: int) -> Any:
    return quietly(("all",), _of_1f1, *_columns(a, b, x), which)


def _of_1f1(a: Any, b: Any, x: Any, which: int) -> Any:
    right = _series((a,), (b,), np.where(x < 0, 0.0, x), (1.0, 0.0) if which == 0 else (0.0, 1.0))
    left = _series((b - a,), (b,), np.where(x < 0, -x, 0.0), (-1.0, 0.0) if which == 0 else (1.0, 1.0))
    return np.where(x < 0, np.exp(np.minimum(x, 0)) * left, right)


def _slope_2f1(a: Any, b: Any, c: Any, z: Any, which: int) -> Any:
    return quietly(("all",), _of_2f1, *_columns(a, b, c, z), which)


def _of_2f1(a: Any, b: Any, c: Any, z: Any, which: int) -> Any:
    below, inside = z < 0, (z < 1) & np.isfinite(z)
    along = [float(i == which) for i in range(3)]
    right = _series((a, b), (c,), np.where(inside & ~below, z, 0.0), along)
    w = np.where(below & inside, z / (z - 1), 0.0)
    turned = _series((a, c - b), (c,), w, [(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 1.0, 1.0)][which])
    if which == 0:
        turned = turned - np.log1p(-np.where(below, z, 0.0)) * scipy_special().hyp2f1(a, c - b, c, w)
    left = np.power(1 - np.where(below, z, 0.0), -a) * turned
    return np.where(inside, np.where(below, left, right), np.nan)


def _slope(op: Op, *inputs: Any, which: int) -> Any:
    return call(op, *inputs, which=which)


def _partial_of_slope_1f1(d: Any, out: Any, a: Any, b: Any, x: Any, which: int) -> Any:
    """Of the derivative in x, a / b times the function of a + 1 and b + 1."""
    further = np.divide(a, b) * _slope(_slope_1f1_op, a + 1, b + 1, x, which=which)
    return d * (further + [np.divide(1.0, b), -np.divide(a, b * b)][which] * hyp1f1(a + 1, b + 1, x))


def _partial_of_slope_2f1(d: Any, out: Any, a: Any, b: Any, c: Any, z: Any, which: int) -> Any:
    further = np.divide(a * b, c) * _slope(_slope_2f1_op, a + 1, b + 1, c + 1, z, which=which)
    factor = [np.divide(b, c), np.divide(a, c), -np.divide(a * b, c * c)][which]
    return d * (further + factor * hyp2f1(a + 1, b + 1, c + 1, z))


_slope_1f1_op: Op = special(
    "hyp1f1_slope", _partial_of_slope_1f1, function="hyp1f1", evaluate=_slope_1f1, without=["a", "b"],
    samples=lambda: [Sample(s.inputs, {"which": i}) for s in _samples_1f1() for i in range(2)],
)  # fmt: skip
_slope_2f1_op: Op = special(
    "hyp2f1_slope", _partial_of_slope_2f1, function="hyp2f1", evaluate=_slope_2f1, without=["a", "b", "c"],
    samples=lambda: [Sample(s.inputs, {"which": i}) for s in _samples_2f1() for i in range(3)],
)  # fmt: skip


def _along(op: Op, which: int) -> Any:
    return lambda d, out, *inputs: d * _slope(op, *inputs, which=which)


_hyp1f1_op: Op = special(
    "hyp1f1", *[_along(_slope_1f1_op, i) for i in range(2)],
    lambda d, out, a, b, x: d * np.divide(a, b) * hyp1f1(a + 1, b + 1, x), samples=_samples_1f1,
)  # fmt: skip
_hyp2f1_op: Op = special(
    "hyp2f1", *[_along(_slope_2f1_op, i) for i in range(3)],
    lambda d, out, a, b, c, z: d * np.divide(a * b, c) * hyp2f1(a + 1, b + 1, c + 1, z), samples=_samples_2f1,
)  # fmt: skip


@traces
def hyp1f1(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """Kummer's confluent hypergeometric function 1F1(a; b; x), with derivatives in all three; in the parameters they are NaN where
    their series is not accurate.

    >>> bool(abs(hyp1f1(1.0, 1.0, 1.0) - np.e) < 1e-15)
    True
    """
    return call(_hyp1f1_op, a, b, x)


@traces
def hyp2f1(a: ArrayLike, b: ArrayLike, c: ArrayLike, z: ArrayLike) -> Array:
    """Gauss' hypergeometric function 2F1(a, b; c; z), with derivatives in all four; in the parameters they are NaN where
    their series is not accurate, near z = 1 and beyond.

    >>> float(hyp2f1(1.0, 1.0, 1.0, 0.5))
    2.0
    """
    return call(_hyp2f1_op, a, b, c, z)


# ---------------------------------------------------------------------------------------------------------------------
# Complete elliptic integrals. Their derivatives, ((E / (1 - m)) - K) / 2m and (E - K) / 2m, are differences of neighbours near zero,
# where the same as hypergeometric functions stand in their place (DLMF 19.5.1 and 19.5.2).

_NEAR = 0.25


def _near_zero(m: Any) -> tuple[Any, Any, Any]:
    near = np.less(np.absolute(m), _NEAR)
    return near, np.where(near, m, 0), np.where(near, 0.5, m)


def ellipk_slope(value: Any, m: Any, rest: Any) -> Any:
    """The derivative of the integral of the first kind, which has this value; `rest` is 1 - m."""
    near, inner, outer = _near_zero(m)
    beyond = (ellipe(outer) / np.where(near, 0.5, rest) - np.where(near, 1, value)) / (2 * outer)
    return np.where(near, (math.pi / 8) * hyp2f1(1.5, 1.5, 2.0, inner), beyond)


def _ellipe_partial(d: Any, out: Any, m: Any) -> Any:
    near, inner, outer = _near_zero(m)
    beyond = (ellipe(outer) - ellipk(outer)) / (2 * outer)
    return d * np.where(near, (-math.pi / 8) * hyp2f1(0.5, 1.5, 2.0, inner), beyond)


_ellipk_op = special(
    "ellipk",
    lambda d, out, m: d * ellipk_slope(out, m, 1 - m),
    samples=lambda: [*unary_samples(0.3, 0.8)(), *unary_samples(-0.2, 0.2)()],
)
_ellipe_op = special(
    "ellipe", _ellipe_partial, samples=lambda: [*unary_samples(0.3, 0.8)(), *unary_samples(-0.2, 0.2)()]
)


@traces
def ellipk(m: ArrayLike) -> Array:
    """The complete elliptic integral of the first kind, of the parameter m = k**2 <= 1.

    >>> bool(ellipk(0.0) == np.pi / 2)
    True
    """
    return call(_ellipk_op, m)


@traces
def ellipe(m: ArrayLike) -> Array:
    """The complete elliptic integral of the second kind, of the parameter m = k**2 <= 1.

    >>> float(ellipe(1.0))
    1.0
    """
    return call(_ellipe_op, m)


# ---------------------------------------------------------------------------------------------------------------------
# Lambert's W.


def _lambertw_partial(d: Any, out: Any, z: Any, k: int, tol: float) -> Any:
    """exp(-w) / (1 + w), which there is at zero too."""
    return d * (np.exp(-out) / (1 + out))


def _lambertw_samples() -> Iterable[Sample]:
    for k in (0, -1):
        yield Sample((np.array([0.5 + 0.2j, -1.0 + 1j]),), {"k": k, "tol": 1e-8})
    yield Sample((np.array([0.5, 2.0]),), {"k": 0, "tol": 1e-8})


_lambertw_op = special("lambertw", _lambertw_partial, samples=_lambertw_samples, kinds="fc")


def lambertw(z: ArrayLike, k: int = 0, tol: float = 1e-8) -> Array:
    """The w, a complex number, for which w exp(w) = z, on the branch `k`, a plain integer.

    >>> complex(lambertw(0.0))
    0j
    """
    return call(_lambertw_op, z, k=int(k), tol=float(tol))


traces(lambertw, "_lambertw")
