"""Hankel's functions, and derivatives of Bessel functions of a given order: combinations of Bessel functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.ops.special.bessel import iv, jv, kv, yv
from tracegrad.ops.special.declared import traces
from tracegrad.typing import Array, ArrayLike


def _of_real(v: ArrayLike, z: ArrayLike) -> tuple[Any, Any]:
    return jv(v, z), yv(v, z)


@traces
def hankel1(v: ArrayLike, z: ArrayLike) -> Array:
    """Hankel's function of the first kind J_v(z) + i Y_v(z), a complex number, for z > 0.

    >>> bool(abs(hankel1(0.5, np.pi) - 1j * np.sqrt(2) / np.pi) < 1e-15)
    True
    """
    j, y = _of_real(v, z)
    return j + 1j * y


@traces
def hankel2(v: ArrayLike, z: ArrayLike) -> Array:
    """Hankel's function of the second kind J_v(z) - i Y_v(z), a complex number, for z > 0.

    >>> bool(abs(hankel2(0.5, np.pi) + 1j * np.sqrt(2) / np.pi) < 1e-15)
    True
    """
    j, y = _of_real(v, z)
    return j - 1j * y


@traces
def hankel1e(v: ArrayLike, z: ArrayLike) -> Array:
    """exp(-i z) `hankel1(v, z)`.

    >>> bool(abs(hankel1e(0.5, np.pi) + 1j * np.sqrt(2) / np.pi) < 1e-15)
    True
    """
    return np.exp(np.multiply(-1j, z)) * hankel1(v, z)


@traces
def hankel2e(v: ArrayLike, z: ArrayLike) -> Array:
    """exp(i z) `hankel2(v, z)`.

    >>> bool(abs(hankel2e(0.5, np.pi) - 1j * np.sqrt(2) / np.pi) < 1e-15)
    True
    """
    return np.exp(np.multiply(1j, z)) * hankel2(v, z)


@traces
def kn(n: ArrayLike, x: ArrayLike) -> Array:
    """Bessel's modified function of the second kind of a whole order, `kv(n, x)`.

    >>> float(kn(0, np.inf))
    0.0
    """
    return kv(n, x)


@traces
def jve(v: ArrayLike, z: ArrayLike) -> Array:
    """exp(-|Im z|) J_v(z), of real numbers `jv(v, z)`.

    >>> float(jve(0.0, 0.0))
    1.0
    """
    return jv(v, z)


@traces
def yve(v: ArrayLike, z: ArrayLike) -> Array:
    """exp(-|Im z|) Y_v(z), of real numbers `yv(v, z)`.

    >>> float(yve(0.0, 0.0))
    -inf
    """
    return yv(v, z)


# ---------------------------------------------------------------------------------------------------------------------
# C_v' is (C_{v-1} - C_{v+1}) / 2, for I with a plus, and for K as I with a sign for each derivative (DLMF 10.6.7, 10.29.5).


def _derived(function: Callable[[Any, Any], Any], v: Any, z: Any, n: int, sign: int) -> Any:
    if type(n) is not int or n < 0:
        raise ValueError(f"the order of a derivative is a count, got n={n!r}")
    terms = [sign**i * math.comb(n, i) * function(np.add(v, 2 * i - n), z) for i in range(n + 1)]
    return sum(terms[1:], terms[0]) / 2**n


def jvp(v: ArrayLike, z: ArrayLike, n: int = 1) -> Array:
    """The derivative of order `n` of `jv` in `z`.

    >>> bool(jvp(0, 2.0) == -jv(1, 2.0))
    True
    """
    return _derived(jv, v, z, n, -1)


def yvp(v: ArrayLike, z: ArrayLike, n: int = 1) -> Array:
    """The derivative of order `n` of `yv` in `z`.

    >>> bool(yvp(0, 2.0) == -yv(1, 2.0))
    True
    """
    return _derived(yv, v, z, n, -1)


def ivp(v: ArrayLike, z: ArrayLike, n: int = 1) -> Array:
    """The derivative of order `n` of `iv` in `z`.

    >>> bool(ivp(0, 2.0) == iv(1, 2.0))
    True
    """
    return _derived(iv, v, z, n, 1)


def kvp(v: ArrayLike, z: ArrayLike, n: int = 1) -> Array:
    """The derivative of order `n` of `kv` in `z`.

    >>> bool(kvp(0, 2.0) == -kv(1, 2.0))
    True
    """
    return (-1) ** n * _derived(kv, v, z, n, 1)


def h1vp(v: ArrayLike, z: ArrayLike, n: int = 1) -> Array:
    """The derivative of order `n` of `hankel1` in `z`.

    >>> bool(h1vp(0, 2.0) == -hankel1(1, 2.0))
    True
    """
    return _derived(hankel1, v, z, n, -1)


def h2vp(v: ArrayLike, z: ArrayLike, n: int = 1) -> Array:
    """The derivative of order `n` of `hankel2` in `z`.

    >>> bool(h2vp(0, 2.0) == -hankel2(1, 2.0))
    True
    """
    return _derived(hankel2, v, z, n, -1)
