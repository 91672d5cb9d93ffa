"""Orthogonal polynomials, and spherical harmonics. The derivative of each polynomial in its argument is one of the same or another
family, of one degree less (DLMF 18.9.15 to 18.9.27); there is none in the degree or the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.typing import Array, ArrayLike


def _below(n: Any, function: Callable[[Any], Any]) -> Any:
    """What a function makes of the degree n - 1, and zero where there is none."""
    constant = np.equal(n, 0)
    return np.where(constant, 0, function(np.where(constant, 0, n - 1)))


def _samples(*parameters: float) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        x = np.random.default_rng(0).uniform(-0.8, 0.8, (2, 3))
        yield Sample((np.array([0, 1, 4]), *map(np.array, parameters), x))
        yield Sample((np.array(3), *map(np.array, parameters), 0.5))

    return samples


_legendre_op = special(
    "eval_legendre", lambda d, out, n, x: d * _below(n, lambda k: (0.5 * (n + 1)) * eval_jacobi(k, 1, 1, x)),
    samples=_samples(), without=["n"],
)  # fmt: skip
_chebyt_op = special(
    "eval_chebyt", lambda d, out, n, x: d * _below(n, lambda k: n * eval_chebyu(k, x)), samples=_samples(), without=["n"],
)  # fmt: skip
_chebyu_op = special(
    "eval_chebyu", lambda d, out, n, x: d * _below(n, lambda k: 2 * eval_gegenbauer(k, 2, x)), samples=_samples(), without=["n"],
)  # fmt: skip
_hermite_op: Op = special(
    "eval_hermite", lambda d, out, n, x: d * _below(n, lambda k: 2 * n * eval_hermite(k, x)), samples=_samples(), without=["n"],
)  # fmt: skip
_hermitenorm_op: Op = special(
    "eval_hermitenorm", lambda d, out, n, x: d * _below(n, lambda k: n * eval_hermitenorm(k, x)), samples=_samples(),
    without=["n"],
)  # fmt: skip
_laguerre_op = special(
    "eval_laguerre", lambda d, out, n, x: -d * _below(n, lambda k: eval_genlaguerre(k, 1, x)), samples=_samples(), without=["n"],
)  # fmt: skip
_genlaguerre_op: Op = special(
    "eval_genlaguerre", lambda d, out, n, alpha, x: -d * _below(n, lambda k: eval_genlaguerre(k, alpha + 1, x)),
    samples=_samples(1), without=["n", "alpha"],
)  # fmt: skip
_gegenbauer_op: Op = special(
    "eval_gegenbauer", lambda d, out, n, alpha, x: d * _below(n, lambda k: 2 * alpha * eval_gegenbauer(k, alpha + 1, x)),
    samples=_samples(2), without=["n", "alpha"],
)  # fmt: skip
_jacobi_op: Op = special(
    "eval_jacobi",
    lambda d, out, n, alpha, beta, x: (
        d * _below(n, lambda k: (0.5 * (n + alpha + beta + 1)) * eval_jacobi(k, alpha + 1, beta + 1, x))
    ),
    samples=_samples(1, 2),
    without=["n", "alpha", "beta"],
)


@traces
def eval_legendre(n: ArrayLike, x: ArrayLike) -> Array:
    """Legendre's polynomial of degree `n` at `x`.

    >>> float(eval_legendre(2, 1.0))
    1.0
    """
    return call(_legendre_op, n, x)


@traces
def eval_chebyt(n: ArrayLike, x: ArrayLike) -> Array:
    """Chebyshev's polynomial of the first kind, of degree `n` at `x`.

    >>> float(eval_chebyt(2, 0.5))
    -0.5
    """
    return call(_chebyt_op, n, x)


@traces
def eval_chebyu(n: ArrayLike, x: ArrayLike) -> Array:
    """Chebyshev's polynomial of the second kind, of degree `n` at `x`.

    >>> float(eval_chebyu(2, 0.5))
    0.0
    """
    return call(_chebyu_op, n, x)


@traces
def eval_hermite(n: ArrayLike, x: ArrayLike) -> Array:
    """The physicists' Hermite polynomial of whole degree `n` at `x`.

    >>> round(float(eval_hermite(2, 1.0)), 9)
    2.0
    """
    return call(_hermite_op, n, x)


@traces
def eval_hermitenorm(n: ArrayLike, x: ArrayLike) -> Array:
    """The probabilists' Hermite polynomial of whole degree `n` at `x`.

    >>> float(eval_hermitenorm(2, 2.0))
    3.0
    """
    return call(_hermitenorm_op, n, x)


@traces
def eval_laguerre(n: ArrayLike, x: ArrayLike) -> Array:
    """Laguerre's polynomial of degree `n` at `x`.

    >>> float(eval_laguerre(1, 3.0))
    -2.0
    """
    return call(_laguerre_op, n, x)


@traces
def eval_genlaguerre(n: ArrayLike, alpha: ArrayLike, x: ArrayLike) -> Array:
    """The generalised Laguerre polynomial of degree `n` at `x`.

    >>> float(eval_genlaguerre(1, 1.0, 3.0))
    -1.0
    """
    return call(_genlaguerre_op, n, alpha, x)


@traces
def eval_gegenbauer(n: ArrayLike, alpha: ArrayLike, x: ArrayLike) -> Array:
    """Gegenbauer's polynomial of degree `n` at `x`.

    >>> float(eval_gegenbauer(1, 2.0, 0.5))
    2.0
    """
    return call(_gegenbauer_op, n, alpha, x)


@traces
def eval_jacobi(n: ArrayLike, alpha: ArrayLike, beta: ArrayLike, x: ArrayLike) -> Array:
    """Jacobi's polynomial of degree `n` at `x`.

    >>> float(eval_jacobi(1, 0.0, 0.0, 0.5))
    0.5
    """
    return call(_jacobi_op, n, alpha, beta, x)


# ---------------------------------------------------------------------------------------------------------------------
# Spherical harmonics. Both derivatives are made of those beside it, so that neither is singular at the poles.


def _in_polar_angle(d: Any, out: Any, n: Any, m: Any, theta: Any, phi: Any) -> Any:
    turn = np.exp(1j * phi)
    up = np.sqrt(1.0 * (n - m) * (n + m + 1)) * sph_harm_y(n, _within(n, m + 1), theta, phi)
    down = np.sqrt(1.0 * (n + m) * (n - m + 1)) * sph_harm_y(n, _within(n, m - 1), theta, phi)
    return d * (0.5 * (up / turn - down * turn))


def _within(n: Any, m: Any) -> Any:
    """An order that there is, where its factor is zero."""
    return np.maximum(np.minimum(m, n), -n)


def _harmonic_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    n, m = np.array([0, 2, 3]), np.array([0, 1, -3])
    yield Sample((n, m, rng.uniform(0.3, 2.5, (2, 3)), rng.uniform(0, 6, 3)))


_sph_harm_y_op: Op = special(
    "sph_harm_y", _in_polar_angle, lambda d, out, n, m, theta, phi: d * (1j * m * out), samples=_harmonic_samples,
    without=["n", "m"],
)  # fmt: skip


def sph_harm_y(n: ArrayLike, m: ArrayLike, theta: ArrayLike, phi: ArrayLike) -> Array:
    """The spherical harmonic of degree `n` and order `m`, a complex number, at the polar angle `theta` and the azimuth `phi`.

    >>> bool(abs(sph_harm_y(0, 0, 0.3, 0.5) - 0.5 / np.sqrt(np.pi)) < 1e-15)
    True
    """
    return call(_sph_harm_y_op, n, m, theta, phi)


# ---------------------------------------------------------------------------------------------------------------------
# The same of other arguments.


@traces
def eval_chebyc(n: ArrayLike, x: ArrayLike) -> Array:
    """Chebyshev's polynomial C_n(x) = 2 T_n(x / 2), for -2 <= x <= 2.

    >>> float(eval_chebyc(2, 1.0))
    -1.0
    """
    return 2 * eval_chebyt(n, np.divide(x, 2))


@traces
def eval_chebys(n: ArrayLike, x: ArrayLike) -> Array:
    """Chebyshev's polynomial S_n(x) = U_n(x / 2), for -2 <= x <= 2.

    >>> float(eval_chebys(1, 1.0))
    1.0
    """
    return eval_chebyu(n, np.divide(x, 2))


@traces
def eval_sh_chebyt(n: ArrayLike, x: ArrayLike) -> Array:
    """Chebyshev's polynomial T_n(2 x - 1), for 0 <= x <= 1.

    >>> float(eval_sh_chebyt(2, 0.5))
    -1.0
    """
    return eval_chebyt(n, np.multiply(x, 2) - 1)


@traces
def eval_sh_chebyu(n: ArrayLike, x: ArrayLike) -> Array:
    """Chebyshev's polynomial U_n(2 x - 1), for 0 <= x <= 1.

    >>> float(eval_sh_chebyu(1, 1.0))
    2.0
    """
    return eval_chebyu(n, np.multiply(x, 2) - 1)


@traces
def eval_sh_legendre(n: ArrayLike, x: ArrayLike) -> Array:
    """Legendre's polynomial P_n(2 x - 1), for 0 <= x <= 1.

    >>> round(float(eval_sh_legendre(2, 0.5)), 9)
    -0.5
    """
    return eval_legendre(n, np.multiply(x, 2) - 1)
