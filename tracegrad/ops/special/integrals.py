"""Integrals that have names: exponential, sine and cosine, and Fresnel's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.samples import unary_samples
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.typing import Array, ArrayLike

_expi_op = special("expi", lambda d, out, x: d * (np.exp(x) / x), samples=unary_samples(0.5, 3))
_exp1_op = special("exp1", lambda d, out, x: d * (-np.exp(-x) / x), samples=unary_samples(0.5, 3))


def _expn_partial(d: Any, out: Any, n: Any, x: Any) -> Any:
    """-E_{n-1}(x), where E_{-1}(x) = exp(-x) (1 + 1 / x) / x."""
    first = np.equal(n, 0)
    return -d * np.where(first, np.exp(-x) * (1 + np.divide(1, x)) / x, expn(np.maximum(n - 1, 0), x))


def _expn_samples() -> Iterable[Sample]:
    yield Sample((np.array([0, 1, 4]), np.random.default_rng(0).uniform(0.5, 3, (2, 3))))


_expn_op: Op = special("expn", _expn_partial, samples=_expn_samples, without=["n"])


@traces
def expi(x: ArrayLike) -> Array:
    """The exponential integral Ei(x), of exp(t) / t from -inf to x.

    >>> float(expi(0.0))
    -inf
    """
    return call(_expi_op, x)


@traces
def exp1(z: ArrayLike) -> Array:
    """The exponential integral E_1(z), of exp(-t) / t from z on.

    >>> float(exp1(np.inf))
    0.0
    """
    return call(_exp1_op, z)


@traces
def expn(n: ArrayLike, x: ArrayLike) -> Array:
    """The exponential integral E_n(x), of exp(-x t) / t**n from 1 on; it has a derivative in `x` only.

    >>> float(expn(2, 0.0))
    1.0
    """
    return call(_expn_op, n, x)


def _parts(low: float, high: float) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        for part in (0, 1):
            for s in unary_samples(low, high)():
                yield Sample(s.inputs, {"part": part})

    return samples


def _fresnel_partial(d: Any, out: Any, x: Any, part: int) -> Any:
    turn = (math.pi / 2) * x * x
    return d * (np.cos(turn) if part else np.sin(turn))


_fresnel_op = special("fresnel", _fresnel_partial, samples=_parts(-2, 2))
_sici_op = special(
    "sici", lambda d, out, x, part: d * (np.cos(x) / x if part else np.sinc(x / math.pi)), samples=_parts(0.5, 3)
)


@traces
def fresnel(z: ArrayLike) -> tuple[Array, Array]:
    """Fresnel's integrals, of sin(pi t**2 / 2) and of cos(pi t**2 / 2) from 0 to z.

    >>> s, c = fresnel(np.inf)
    >>> float(s), float(c)
    (0.5, 0.5)
    """
    return call(_fresnel_op, z, part=0), call(_fresnel_op, z, part=1)


@traces
def sici(x: ArrayLike) -> tuple[Array, Array]:
    """The sine integral, of sin(t) / t from 0 to x, and the cosine integral, of cos(t) / t from x on with the other sign.

    >>> si, ci = sici(0.0)
    >>> float(si), float(ci)
    (0.0, -inf)
    """
    return call(_sici_op, x, part=0), call(_sici_op, x, part=1)
