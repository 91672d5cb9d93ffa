"""Airy's functions, Spence's dilogarithm, Owen's T, Wright's omega, Voigt's profile and others, by their differential equations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.core.trace import as_array
from tracegrad.ops.elementwise.error_function import erf
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.ops.special.hypergeometric import hyp2f1
from tracegrad.ops.special.normal import wofz
from tracegrad.ops.special.polygamma import zeta_slope
from tracegrad.typing import Array, ArrayLike


def _airy_partial(d: Any, out: Any, z: Any, part: int) -> Any:
    return d * (z * call(_airy_op, z, part=part - 1) if part % 2 else call(_airy_op, z, part=part + 1))


_airy_op: Op = special(
    "airy", _airy_partial,
    samples=lambda: [Sample(s.inputs, {"part": i}) for i in range(4) for s in unary_samples(-3, 2)()],
)  # fmt: skip


_NEAR = 0.25


def _spence_partial(d: Any, out: Any, z: Any) -> Any:
    """log(z) / (1 - z); near 1, where that is a quotient of what vanishes, by the series."""
    near = np.less(np.absolute(z - 1), _NEAR)
    beyond = np.where(near, 2.0, z)
    return d * np.where(near, -hyp2f1(1.0, 1.0, 2.0, np.where(near, 1 - z, 0)), np.log(beyond) / (1 - beyond))


_spence_op = special("spence", _spence_partial, samples=lambda: [*unary_samples(0.8, 1.2)(), *unary_samples(1.5, 4)()])
_owens_t_op = special(
    "owens_t", lambda d, out, h, a: d * (np.exp(-0.5 * h * h) * erf(a * h * math.sqrt(0.5)) * (-0.5 / math.sqrt(2 * math.pi))),
    lambda d, out, h, a: d * (np.exp(-0.5 * h * h * (1 + a * a)) / (2 * math.pi * (1 + a * a))), samples=binary_samples(-2, 2),
)  # fmt: skip
_wrightomega_op = special("wrightomega", lambda d, out, z: d * (out / (1 + out)), samples=unary_samples(-2, 3))
_zetac_op = special("zetac", lambda d, out, x: d * zeta_slope(x, 1.0, 1), samples=unary_samples(1.5, 5))
_erfi_op = special("erfi", lambda d, out, z: d * (2 / math.sqrt(math.pi) * np.exp(z * z)), samples=unary_samples(-2, 2))


def _of_parameters(*parameters: int) -> Callable[[], Iterable[Sample]]:
    """Samples of whole parameters, which have no derivative, and a number."""

    def samples() -> Iterable[Sample]:
        x = np.random.default_rng(0).uniform(0.6, 3, (2, 3))
        yield Sample((*[np.array([p, p + 1, p + 2]) for p in parameters], x))

    return samples


_hyp0f1_op: Op = special(
    "hyp0f1", lambda d, out, v, z: d * np.divide(hyp0f1(v + 1, z), v), samples=_of_parameters(1), without=["v"]
)
_hyperu_op: Op = special(
    "hyperu", lambda d, out, a, b, x: -d * (a * hyperu(a + 1, b + 1, x)), samples=_of_parameters(1, 2), without=["a", "b"]
)  # fmt: skip
_struve_op: Op = special(
    "struve", lambda d, out, v, x: d * (struve(v - 1, x) - np.divide(v, x) * out), samples=_of_parameters(1), without=["v"]
)  # fmt: skip
_modstruve_op: Op = special(
    "modstruve", lambda d, out, v, x: d * (modstruve(v - 1, x) - np.divide(v, x) * out), samples=_of_parameters(1), without=["v"]
)  # fmt: skip


@traces
def airy(z: ArrayLike) -> tuple[Array, Array, Array, Array]:
    """Airy's functions Ai, Ai', Bi and Bi' of real numbers.

    >>> [round(float(x), 6) for x in airy(0.0)]
    [0.355028, -0.258819, 0.614927, 0.448288]
    """
    ai, aip, bi, bip = [call(_airy_op, z, part=i) for i in range(4)]
    return ai, aip, bi, bip


@traces
def spence(z: ArrayLike) -> Array:
    """Spence's function, the integral of log(t) / (1 - t) from 1 to z: the dilogarithm of 1 - z.

    >>> bool(abs(spence(0.0) - np.pi**2 / 6) < 1e-15)
    True
    """
    return call(_spence_op, z)


@traces
def owens_t(h: ArrayLike, a: ArrayLike) -> Array:
    """Owen's T: the probability that X > h and 0 < Y < a X for independent X and Y of the normal distribution.

    >>> bool(abs(owens_t(0.0, 1.0) - 0.125) < 1e-16)
    True
    """
    return call(_owens_t_op, h, a)


@traces
def wrightomega(z: ArrayLike) -> Array:
    """The w for which w + log(w) = z, of real numbers.

    >>> float(wrightomega(1.0))
    1.0
    """
    return call(_wrightomega_op, z)


@traces
def zetac(x: ArrayLike) -> Array:
    """Riemann's zeta function less 1, accurate where it is near that.

    >>> bool(abs(zetac(60.0) * 2.0**60 - 1) < 1e-9)
    True
    """
    return call(_zetac_op, x)


@traces
def erfi(z: ArrayLike) -> Array:
    """The imaginary error function, -i erf(i z), of real numbers.

    >>> float(erfi(0.0))
    0.0
    """
    return call(_erfi_op, z)


@traces
def hyp0f1(v: ArrayLike, z: ArrayLike) -> Array:
    """The confluent hypergeometric limit function 0F1(v; z); it has a derivative in `z` only.

    >>> float(hyp0f1(2.0, 0.0))
    1.0
    """
    return call(_hyp0f1_op, v, z)


@traces
def hyperu(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """Tricomi's confluent hypergeometric function U(a, b, x); it has a derivative in `x` only.

    >>> float(hyperu(1.0, 2.0, 4.0))
    0.25
    """
    return call(_hyperu_op, a, b, x)


@traces
def struve(v: ArrayLike, x: ArrayLike) -> Array:
    """Struve's function of the order `v`; it has a derivative in `x` only.

    >>> bool(abs(struve(0.5, np.pi) - np.sqrt(8) / np.pi) < 1e-14)
    True
    """
    return call(_struve_op, v, x)


@traces
def modstruve(v: ArrayLike, x: ArrayLike) -> Array:
    """Struve's modified function of the order `v`; it has a derivative in `x` only.

    >>> float(modstruve(1.0, 0.0))
    0.0
    """
    return call(_modstruve_op, v, x)


@traces
def voigt_profile(x: ArrayLike, sigma: ArrayLike, gamma: ArrayLike) -> Array:
    """Voigt's profile: the density of the sum of a normal number of the standard deviation `sigma` and one of Cauchy's distribution of the
    half width `gamma`.

    >>> bool(abs(voigt_profile(0.0, 1.0, 0.0) - 1 / np.sqrt(2 * np.pi)) < 1e-16)
    True
    """
    narrow = np.equal(sigma, 0)
    width = np.where(narrow, 1, sigma) * math.sqrt(2.0)
    profile = np.real(wofz((x + 1j * as_array(gamma)) / width)) / (width * math.sqrt(math.pi))
    wide = np.where(narrow, gamma, 1)  # where sigma is zero, Cauchy's alone
    return np.where(narrow, wide / (math.pi * (np.square(x) + np.square(wide))), profile)
