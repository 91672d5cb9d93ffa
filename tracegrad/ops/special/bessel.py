"""Bessel functions. In the argument each derivative is by recurrence (DLMF 10.6.1, 10.29.1, 10.51.1), in a real order an op of its own
(orders.py), of K of any order, of the others of the first; in whole orders there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.samples import order_samples, unary_samples
from tracegrad.ops.special import orders
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.typing import Array, ArrayLike

_samples = unary_samples(0.6, 4)
_orders = order_samples([0, 1, 3], 0.6, 4)


_j0_op = special("j0", lambda d, out, x: -d * j1(x), samples=_samples)
_j1_op = special("j1", lambda d, out, x: d * (0.5 * (j0(x) - jv(2.0, x))), samples=_samples)
_y0_op = special("y0", lambda d, out, x: -d * y1(x), samples=_samples)
_y1_op = special("y1", lambda d, out, x: d * (0.5 * (y0(x) - yv(2.0, x))), samples=_samples)
_i0_op = special("i0", lambda d, out, x: d * i1(x), samples=_samples)
_i1_op = special("i1", lambda d, out, x: d * (0.5 * (i0(x) + iv(2.0, x))), samples=_samples)
_k0_op = special("k0", lambda d, out, x: -d * k1(x), samples=_samples)
_k1_op = special("k1", lambda d, out, x: d * (-0.5 * (k0(x) + kv(2.0, x))), samples=_samples)
_k0e_op = special("k0e", lambda d, out, x: d * _scaled_slope(0.0, x), samples=_samples)
_k1e_op = special("k1e", lambda d, out, x: d * _scaled_slope(1.0, x), samples=_samples)


def _oscillating(name: str, slope: Callable[..., Any]) -> Op:
    """Of real order: C_v' = (C_{v-1} - C_{v+1}) / 2."""

    def partial(d: Any, out: Any, v: Any, x: Any) -> Any:
        return d * (0.5 * (call(op, v - 1, x) - call(op, v + 1, x)))

    def partial_of_slope(d: Any, out: Any, v: Any, x: Any) -> Any:
        return d * (0.5 * (call(slope_op, v - 1, x) - call(slope_op, v + 1, x)))

    slope_op = special(f"{name}_slope", partial_of_slope, function=name, evaluate=slope, samples=_orders, without=["v"])
    op = special(name, lambda d, out, v, x: d * call(slope_op, v, x), partial, samples=_orders)
    return op


_jv_op = _oscillating("jv", orders.j_slope)
_yv_op = _oscillating("yv", orders.y_slope)


def _i_slope_partial(d: Any, out: Any, v: Any, z: Any, scaled: bool) -> Any:
    mean = 0.5 * (call(_i_slope_op, v - 1, z, scaled=scaled) + call(_i_slope_op, v + 1, z, scaled=scaled))
    return d * (mean - np.sign(z) * out if scaled else mean)


_i_slope_op: Op = special(
    "iv_slope", _i_slope_partial, function="iv", evaluate=orders.i_slope, without=["v"],
    samples=lambda: [Sample(s.inputs, {"scaled": yes}) for s in _orders() for yes in (False, True)],
)  # fmt: skip
_iv_op: Op = special(
    "iv", lambda d, out, v, x: d * call(_i_slope_op, v, x, scaled=False),
    lambda d, out, v, x: d * (0.5 * (iv(v - 1, x) + iv(v + 1, x))), samples=_orders,
)  # fmt: skip
_ive_op: Op = special(
    "ive", lambda d, out, v, x: d * call(_i_slope_op, v, x, scaled=True),
    lambda d, out, v, x: d * (0.5 * (ive(v - 1, x) + ive(v + 1, x)) - np.sign(x) * out), samples=_orders,
)  # fmt: skip


def _k_slope(v: Any, z: Any, order: int, scaled: bool) -> Any:
    return call(_k_slope_op, v, z, order=order, scaled=scaled)


def _k_slope_partial(d: Any, out: Any, v: Any, z: Any, order: int, scaled: bool) -> Any:
    mean = 0.5 * (_k_slope(v - 1, z, order, scaled) + _k_slope(v + 1, z, order, scaled))
    return d * (out - mean if scaled else -mean)


def _k_samples() -> Iterable[Sample]:
    for order, scaled in ((1, False), (2, True)):
        inputs = np.array([0.5, 1.0, 2.5]), np.random.default_rng(0).uniform(0.6, 4, (2, 3))
        yield Sample(inputs, {"order": order, "scaled": scaled})


_k_slope_op: Op = special(
    "kv_slope", lambda d, out, v, z, order, scaled: d * _k_slope(v, z, order + 1, scaled), _k_slope_partial, function="kv",
    evaluate=orders.k_slope,
    samples=_k_samples,
)  # fmt: skip
_kv_op: Op = special(
    "kv", lambda d, out, v, x: d * _k_slope(v, x, 1, False),
    lambda d, out, v, x: d * (-0.5 * (kv(v - 1, x) + kv(v + 1, x))), samples=_orders,
)  # fmt: skip


def _scaled_slope(v: Any, x: Any) -> Any:
    """Of exp(x) K_v(x)."""
    return kve(v, x) - 0.5 * (kve(v - 1, x) + kve(v + 1, x))


_kve_op: Op = special(
    "kve", lambda d, out, v, x: d * _k_slope(v, x, 1, True), lambda d, out, v, x: d * _scaled_slope(v, x), samples=_orders,
)  # fmt: skip


@traces
def j0(x: ArrayLike) -> Array:
    """Bessel's function of the first kind, of order 0.

    >>> float(j0(0.0))
    1.0
    """
    return call(_j0_op, x)


@traces
def j1(x: ArrayLike) -> Array:
    """Bessel's function of the first kind, of order 1.

    >>> float(j1(0.0))
    0.0
    """
    return call(_j1_op, x)


@traces
def y0(x: ArrayLike) -> Array:
    """Bessel's function of the second kind, of order 0, for positive numbers.

    >>> float(y0(0.0))
    -inf
    """
    return call(_y0_op, x)


@traces
def y1(x: ArrayLike) -> Array:
    """Bessel's function of the second kind, of order 1, for positive numbers.

    >>> float(y1(0.0))
    -inf
    """
    return call(_y1_op, x)


@traces
def i0(x: ArrayLike) -> Array:
    """The modified Bessel function of the first kind, of order 0.

    >>> float(i0(0.0))
    1.0
    """
    return call(_i0_op, x)


@traces
def i1(x: ArrayLike) -> Array:
    """The modified Bessel function of the first kind, of order 1.

    >>> float(i1(0.0))
    0.0
    """
    return call(_i1_op, x)


@traces
def k0(x: ArrayLike) -> Array:
    """The modified Bessel function of the second kind, of order 0, for positive numbers.

    >>> float(k0(0.0))
    inf
    """
    return call(_k0_op, x)


@traces
def k1(x: ArrayLike) -> Array:
    """The modified Bessel function of the second kind, of order 1, for positive numbers.

    >>> float(k1(0.0))
    inf
    """
    return call(_k1_op, x)


@traces
def k0e(x: ArrayLike) -> Array:
    """exp(x) K_0(x), for positive numbers.

    >>> float(k0e(0.0))
    inf
    """
    return call(_k0e_op, x)


@traces
def k1e(x: ArrayLike) -> Array:
    """exp(x) K_1(x), for positive numbers.

    >>> float(k1e(0.0))
    inf
    """
    return call(_k1e_op, x)


def jv(v: ArrayLike, z: ArrayLike) -> Array:
    """Bessel's function of the first kind, of real order `v`, with derivatives in both.

    >>> float(jv(1.0, 0.0))
    0.0
    """
    return call(_jv_op, v, z)


jn = traces(jv, "jv", "jn")


@traces
def yv(v: ArrayLike, z: ArrayLike) -> Array:
    """Bessel's function of the second kind, of real order `v`, for positive numbers, with derivatives in both.

    >>> bool(abs(yv(0.5, np.pi)) > 0.1)
    True
    """
    return call(_yv_op, v, z)


@traces
def iv(v: ArrayLike, z: ArrayLike) -> Array:
    """The modified Bessel function of the first kind, of real order `v`, with derivatives in both.

    >>> float(iv(1.0, 0.0))
    0.0
    """
    return call(_iv_op, v, z)


@traces
def ive(v: ArrayLike, z: ArrayLike) -> Array:
    """exp(-|z|) I_v(z), with derivatives in both.

    >>> float(ive(0.0, 0.0))
    1.0
    """
    return call(_ive_op, v, z)


@traces
def kv(v: ArrayLike, z: ArrayLike) -> Array:
    """The modified Bessel function of the second kind, of real order `v`, for positive numbers, with derivatives in both.

    >>> bool(abs(kv(0.5, 1.0) - np.sqrt(np.pi / 2) / np.e) < 1e-15)
    True
    """
    return call(_kv_op, v, z)


@traces
def kve(v: ArrayLike, z: ArrayLike) -> Array:
    """exp(z) K_v(z), for positive numbers, with derivatives in both.

    >>> bool(abs(kve(0.5, 1.0) - np.sqrt(np.pi / 2)) < 1e-15)
    True
    """
    return call(_kve_op, v, z)


# Of whole order, which SciPy reckons in another way.
_yn_op: Op = special(
    "yn", lambda d, out, n, x: d * (0.5 * (_yn_below(n, x) - yn(n + 1, x))), samples=_orders, without=["n"],
)  # fmt: skip


def _yn_below(n: Any, x: Any) -> Any:
    """Y_{n-1}, where Y_{-1} = -Y_1."""
    return np.where(np.equal(n, 0), -yn(1, x), yn(np.maximum(n - 1, 0), x))


@traces
def yn(n: ArrayLike, x: ArrayLike) -> Array:
    """Bessel's function of the second kind, of whole order `n`, for positive numbers.

    >>> bool(yn(0, 1.0) == y0(1.0))
    True
    """
    return call(_yn_op, n, x)


# ---------------------------------------------------------------------------------------------------------------------
# Spherical ones, of whole orders from 0 on: those of order n + 1/2 times sqrt(pi / 2 z). The order below 0 has the factor 0.


def _spherical(name: str, below: float, above: float) -> Op:
    def partial(d: Any, out: Any, n: Any, z: Any) -> Any:
        left = n * call(op, np.maximum(n - 1, 0), z)
        return d * ((below * left + above * (n + 1) * call(op, n + 1, z)) / (2 * n + 1))

    op = special(name, partial, samples=_orders, without=["n"])
    return op


_spherical_jn_op = _spherical("spherical_jn", 1, -1)
_spherical_yn_op = _spherical("spherical_yn", 1, -1)
_spherical_in_op = _spherical("spherical_in", 1, 1)
_spherical_kn_op = _spherical("spherical_kn", -1, -1)


def _slope_or_value(op: Op, n: Any, z: Any, derivative: bool) -> Any:
    if not derivative:
        return call(op, n, z)
    assert op.jvp is not None
    return op.jvp((n, z), (None, np.ones_like(z)), call(op, n, z), {})


def spherical_jn(n: ArrayLike, z: ArrayLike, derivative: bool = False) -> Array:
    """The spherical Bessel function of the first kind, of whole order `n`, or its derivative.

    >>> float(spherical_jn(0, 0.0))
    1.0
    """
    return _slope_or_value(_spherical_jn_op, n, z, derivative)


def spherical_yn(n: ArrayLike, z: ArrayLike, derivative: bool = False) -> Array:
    """The spherical Bessel function of the second kind, of whole order `n`, or its derivative.

    >>> float(spherical_yn(0, 0.0))
    -inf
    """
    return _slope_or_value(_spherical_yn_op, n, z, derivative)


def spherical_in(n: ArrayLike, z: ArrayLike, derivative: bool = False) -> Array:
    """The modified spherical Bessel function of the first kind, of whole order `n`, or its derivative.

    >>> float(spherical_in(0, 0.0))
    1.0
    """
    return _slope_or_value(_spherical_in_op, n, z, derivative)


def spherical_kn(n: ArrayLike, z: ArrayLike, derivative: bool = False) -> Array:
    """The modified spherical Bessel function of the second kind, of whole order `n`, or its derivative.

    >>> float(spherical_kn(0, 0.0))
    inf
    """
    return _slope_or_value(_spherical_kn_op, n, z, derivative)
