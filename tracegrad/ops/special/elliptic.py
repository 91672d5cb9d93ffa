"""Elliptic integrals that are not complete, Jacobi's elliptic functions, and the arithmetic-geometric mean.

Integrals of sin(t)**(2 k) (1 - m sin(t)**2)**-p are closed under derivatives, and have no differences in them. With
tan(t) = sinh(s) / c, c being 1 or sqrt(1 - m) if that is more, they vary on a length of 1 in s, however near 1 or far below zero m is:
Gauss' rule has all digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.core.quiet import quietly
from tracegrad.ops.elementwise.samples import unary_samples
from tracegrad.ops.special.declared import call, in_blocks, special, traces
from tracegrad.ops.special.hypergeometric import ellipk_slope
from tracegrad.typing import Array, ArrayLike

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(240)  # for s up to 38, where t is pi / 2 to rounding
_BLOCK = 1024


def _samples() -> Iterable[Sample]:
    yield Sample((np.array([[0.4], [1.2]]), np.array([-2.0, 0.3, 0.8])))
    yield Sample((np.array(2.1), 0.5))


def _moment(phi: Any, m: Any, k: int, p: float) -> Any:
    return quietly(("all",), in_blocks, lambda phi, m: _in_columns(phi, m, k, p), phi, m, size=_BLOCK)


def _in_columns(phi: Any, m: Any, k: int, p: float) -> Any:
    phi, m = np.asarray(phi, np.float64), np.asarray(m, np.float64)
    turns = np.rint(phi / math.pi)
    found = _to(phi - turns * math.pi, m, k, p)
    if np.any(turns):
        found = found + np.where(turns == 0, 0, 2 * turns * _to(np.full_like(phi, math.pi / 2), m, k, p))
    return np.where(m < 1, found, np.nan)


def _to(phi: Any, m: Any, k: int, p: float) -> Any:
    """For -pi / 2 <= phi <= pi / 2: sin(t)**2 is q / (1 + q) with q = tan(t)**2, and dt is d tan(t) / (1 + q)."""
    rest = 1 - m
    scale = np.sqrt(np.maximum(rest, 1))
    end = np.arcsinh(scale * np.tan(phi))
    s = 0.5 * end[..., None] * (_NODES + 1)
    q = (np.sinh(s) / scale[..., None]) ** 2
    terms = q**k * (1 + q) ** (p - k - 1) * (1 + rest[..., None] * q) ** -p * np.cosh(s)
    return 0.5 * end / scale * np.sum(_WEIGHTS * terms, axis=-1)


def _moment_in_phi(d: Any, out: Any, phi: Any, m: Any, k: int, p: float) -> Any:
    square = np.square(np.sin(phi))
    return d * (square**k * (np.square(np.cos(phi)) + (1 - m) * square) ** -p)


_moment_op: Op = special(
    "elliptic_moment", _moment_in_phi, lambda d, out, phi, m, k, p: d * (p * _moments(phi, m, k + 1, p + 1)),
    function="ellipkinc", evaluate=_moment, samples=lambda: [Sample(s.inputs, {"k": 1, "p": 1.5}) for s in _samples()],
)  # fmt: skip


def _moments(phi: Any, m: Any, k: int, p: float) -> Any:
    return call(_moment_op, phi, m, k=k, p=p)


_ellipkinc_op = special(
    "ellipkinc", lambda d, out, phi, m: _moment_in_phi(d, None, phi, m, 0, 0.5),
    lambda d, out, phi, m: d * (0.5 * _moments(phi, m, 1, 1.5)), samples=_samples,
)  # fmt: skip
_ellipeinc_op = special(
    "ellipeinc", lambda d, out, phi, m: _moment_in_phi(d, None, phi, m, 0, -0.5),
    lambda d, out, phi, m: d * (-0.5 * _moments(phi, m, 1, 0.5)), samples=_samples,
)  # fmt: skip
_ellipkm1_op = special("ellipkm1", lambda d, out, p: -d * ellipk_slope(out, 1 - p, p), samples=unary_samples(0.1, 1.2))


@traces
def ellipkinc(phi: ArrayLike, m: ArrayLike) -> Array:
    """The elliptic integral of the first kind, of 1 / sqrt(1 - m sin(t)**2) from 0 to phi, for m < 1.

    >>> float(ellipkinc(0.25, 0.0))
    0.25
    """
    return call(_ellipkinc_op, phi, m)


@traces
def ellipeinc(phi: ArrayLike, m: ArrayLike) -> Array:
    """The elliptic integral of the second kind, of sqrt(1 - m sin(t)**2) from 0 to phi, for m < 1.

    >>> float(ellipeinc(0.25, 0.0))
    0.25
    """
    return call(_ellipeinc_op, phi, m)


@traces
def ellipkm1(p: ArrayLike) -> Array:
    """The complete elliptic integral of the first kind of the parameter m = 1 - p, accurate near m = 1.

    >>> bool(ellipkm1(1.0) == np.pi / 2)
    True
    """
    return call(_ellipkm1_op, p)


@traces
def agm(a: ArrayLike, b: ArrayLike) -> Array:
    """The arithmetic-geometric mean: of two numbers that their means are put in place of until they are the same.

    >>> round(float(agm(1.0, 2.0)), 6)
    1.456791
    """
    both = np.add(a, b)
    return (math.pi / 4) * both / ellipkm1(4 * np.divide(a, both) * np.divide(b, both))


# ---------------------------------------------------------------------------------------------------------------------
# Jacobi's functions sn = sin(phi), cn = cos(phi), dn = sqrt(1 - m sn**2) of the amplitude phi, for which ellipkinc(phi, m) = u.


def _jacobi_in_u(d: Any, out: Any, u: Any, m: Any, part: int) -> Any:
    sn, cn, dn, _ = ellipj(u, m)
    return d * [cn * dn, -sn * dn, -m * (sn * cn), dn][part]


def _jacobi_in_m(d: Any, out: Any, u: Any, m: Any, part: int) -> Any:
    sn, cn, dn, phi = ellipj(u, m)
    turned = -0.5 * dn * _moments(phi, m, 1, 1.5)
    return d * [cn * turned, -sn * turned, -(0.5 * sn * sn + m * (sn * cn * turned)) / dn, turned][part]


_ellipj_op: Op = special(
    "ellipj", _jacobi_in_u, _jacobi_in_m,
    samples=lambda: [Sample((np.array([[0.4], [1.2]]), np.array([0.3, 0.8])), {"part": i}) for i in range(4)],
)  # fmt: skip


@traces
def ellipj(u: ArrayLike, m: ArrayLike) -> tuple[Array, Array, Array, Array]:
    """Jacobi's elliptic functions sn, cn and dn, and the amplitude, for 0 <= m < 1.

    >>> [float(x) for x in ellipj(0.0, 0.5)]
    [0.0, 1.0, 1.0, 0.0]
    """
    sn, cn, dn, phi = [call(_ellipj_op, u, m, part=i) for i in range(4)]
    return sn, cn, dn, phi
