"""What SciPy's special functions have of elementary ones: powers and trigonometry that keep their digits, angles in degrees, losses."""

from __future__ import annotations

import math

import numpy as np

from tracegrad.core.op import Op
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.ops.special.gamma import poch
from tracegrad.ops.special.hypergeometric import hyp1f1
from tracegrad.typing import Array, ArrayLike

_DEGREE = math.pi / 180

_cosm1_op = special("cosm1", lambda d, out, x: -d * np.sin(x), samples=unary_samples(-2, 2))
_sindg_op: Op = special("sindg", lambda d, out, x: d * (_DEGREE * cosdg(x)), samples=unary_samples(-80, 80))
_cosdg_op: Op = special("cosdg", lambda d, out, x: d * (-_DEGREE * sindg(x)), samples=unary_samples(-80, 80))
_tandg_op = special("tandg", lambda d, out, x: d * (_DEGREE * (1 + out * out)), samples=unary_samples(-80, 80))
_cotdg_op = special("cotdg", lambda d, out, x: d * (-_DEGREE * (1 + out * out)), samples=unary_samples(10, 80))
_powm1_op = special(
    "powm1", lambda d, out, x, y: d * (y * np.power(x, y - 1)), lambda d, out, x, y: d * (np.power(x, y) * np.log(x)),
    samples=binary_samples(0.5, 2, -1, 1.5),
)  # fmt: skip


@traces
def cosm1(x: ArrayLike) -> Array:
    """cos(x) - 1, accurate near zero.

    >>> bool(abs(cosm1(1e-10) / -5e-21 - 1) < 1e-14)
    True
    """
    return call(_cosm1_op, x)


@traces
def sindg(x: ArrayLike) -> Array:
    """The sine of an angle in degrees.

    >>> float(sindg(90.0)), float(sindg(180.0))
    (1.0, -0.0)
    """
    return call(_sindg_op, x)


@traces
def cosdg(x: ArrayLike) -> Array:
    """The cosine of an angle in degrees.

    >>> float(cosdg(180.0))
    -1.0
    """
    return call(_cosdg_op, x)


@traces
def tandg(x: ArrayLike) -> Array:
    """The tangent of an angle in degrees.

    >>> float(tandg(45.0))
    1.0
    """
    return call(_tandg_op, x)


@traces
def cotdg(x: ArrayLike) -> Array:
    """The cotangent of an angle in degrees.

    >>> float(cotdg(45.0))
    1.0
    """
    return call(_cotdg_op, x)


@traces
def radian(d: ArrayLike, m: ArrayLike, s: ArrayLike) -> Array:
    """The angle of so many degrees, minutes and seconds.

    >>> bool(abs(radian(90.0, 0.0, 0.0) - np.pi / 2) < 1e-15)
    True
    """
    return np.add(np.add(d, np.divide(m, 60)), np.divide(s, 3600)) * _DEGREE


@traces
def powm1(x: ArrayLike, y: ArrayLike) -> Array:
    """x**y - 1, accurate near zero.

    >>> bool(abs(powm1(2.0, 1e-20) / (1e-20 * np.log(2)) - 1) < 1e-15)
    True
    """
    return call(_powm1_op, x, y)


@traces
def exp10(x: ArrayLike) -> Array:
    """10**x.

    >>> float(exp10(2.0))
    100.0
    """
    return np.power(10.0, x)


@traces
def exprel(x: ArrayLike) -> Array:
    """(exp(x) - 1) / x, which is 1 at zero.

    >>> float(exprel(0.0))
    1.0
    """
    return hyp1f1(1, 2, x)


@traces
def pseudo_huber(delta: ArrayLike, r: ArrayLike) -> Array:
    """delta**2 (sqrt(1 + (r / delta)**2) - 1), a smooth loss of Huber's kind.

    >>> round(float(pseudo_huber(1.0, np.sqrt(3.0))), 12)
    1.0
    """
    flat = np.equal(delta, 0)
    root = np.sqrt(1 + np.square(np.divide(r, np.where(flat, 1, delta))))
    return np.where(np.less(delta, 0), np.inf, np.where(flat, 0, np.square(r) / (1 + root)))


def softplus(x: ArrayLike) -> Array:
    """log(1 + exp(x)).

    >>> float(softplus(-1000.0)), float(softplus(1000.0))
    (0.0, 1000.0)
    """
    return np.logaddexp(0, x)


def perm(N: ArrayLike, k: ArrayLike, exact: bool = False) -> Array:
    """In how many ways `k` of `N` things are taken in order, as a float. `exact=True` computes with Python's integers, which are not
    traced.

    >>> float(perm(5.0, 2.0))
    20.0
    """
    if exact:
        raise ValueError("perm(exact=True) computes with Python's integers; leave it out, or write math.perm(N, k)")
    counts = np.less_equal(k, N) & np.greater_equal(N, 0) & np.greater_equal(k, 0)
    return np.where(counts, poch(np.add(np.subtract(N, k), 1), k), 0.0)


for _name, _ufunc in {"cbrt": np.cbrt, "exp2": np.exp2, "expm1": np.expm1, "log1p": np.log1p, "round": np.rint}.items():
    traces(_ufunc, _name)
