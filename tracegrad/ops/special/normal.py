"""The error function's kin, the normal distribution, and the logistic function's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.activations import logistic
from tracegrad.ops.elementwise.error_function import ndtr
from tracegrad.ops.elementwise.samples import unary_samples
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.typing import Array, ArrayLike

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
_FAR = 7.0  # from where the series in 1 / x**2 is exact to rounding


def _gap(x: Any, sign: int) -> Any:
    """The sum of sign**k (2k-1)!! / (2 x**2)**k over k = 1, ...: what 2 x times the function lacks, or has above, its limit.
    Terms become less up to k = 49 where x is 7."""
    y = sign * 0.5 / (x * x)
    found = 0.0
    for k in range(30, 0, -1):
        found = (2 * k - 1) * y * (1 + found)
    return found


def _erfcx_partial(d: Any, out: Any, x: Any) -> Any:
    """2 x erfcx(x) - 2 / sqrt(pi); far out that is a difference of neighbours (DLMF 7.12.1)."""
    far = np.greater(x, _FAR)
    slope = 2 * x * out - _TWO_OVER_ROOT_PI
    return d * np.where(far, _TWO_OVER_ROOT_PI * _gap(np.where(far, x, _FAR), -1), slope)


def _dawsn_partial(d: Any, out: Any, x: Any) -> Any:
    """1 - 2 x dawsn(x), likewise."""
    far = np.greater(np.absolute(x), _FAR)
    return d * np.where(far, -_gap(np.where(far, x, _FAR), 1), 1 - 2 * x * out)


_erfcx_op = special("erfcx", _erfcx_partial, samples=unary_samples(-1, 3))
_dawsn_op = special("dawsn", _dawsn_partial, samples=unary_samples(-3, 3))


# The inverses have 1 / density for their derivatives. exp(out**2) would multiply the rounding of `out` by its square: erfcx by the
# smaller of the two probabilities, which are given, does not.


def _erfcinv_partial(d: Any, out: Any, y: Any) -> Any:
    return d * (-math.sqrt(math.pi) / 2 * erfcx(np.absolute(out)) / np.minimum(y, 2 - y))


def _ndtri_partial(d: Any, out: Any, p: Any) -> Any:
    return d * (math.sqrt(math.pi / 2) * erfcx(np.absolute(out) * math.sqrt(0.5)) / np.minimum(p, 1 - p))


_erfcinv_op = special("erfcinv", _erfcinv_partial, samples=unary_samples(0.2, 1.8))
_ndtri_op = special("ndtri", _ndtri_partial, samples=unary_samples(0.2, 0.8))


def _log_ndtr_partial(d: Any, out: Any, x: Any) -> Any:
    """The density by the distribution; below zero both of them without exp(-x**2 / 2)."""
    below = np.less(x, 0)
    left, right = np.where(below, x, 0), np.where(below, 0, x)
    tail = math.sqrt(2 / math.pi) / erfcx(left * -math.sqrt(0.5))
    return d * np.where(below, tail, np.exp(-0.5 * right * right) / math.sqrt(2 * math.pi) / ndtr(right))


_log_ndtr_op = special("log_ndtr", _log_ndtr_partial, samples=unary_samples(-3, 3))
# It has log(p) in place of p, which is not needed where p is no number any more.
_ndtri_exp_op = special(
    "ndtri_exp", lambda d, out, y: d / _log_ndtr_partial(1, None, out), samples=unary_samples(-3, -0.2)
)
_wofz_op: Op = special(
    "wofz", lambda d, out, z: d * (1j * _TWO_OVER_ROOT_PI - 2 * z * out),
    samples=lambda: [Sample((np.array([0.5 + 0.2j, -1.0 + 1j]),)), Sample((np.array([0.5, -1.0]),))], kinds="fc",
)  # fmt: skip


@traces
def erfcx(x: ArrayLike) -> Array:
    """exp(x**2) erfc(x).

    >>> float(erfcx(0.0))
    1.0
    """
    return call(_erfcx_op, x)


@traces
def dawsn(x: ArrayLike) -> Array:
    """Dawson's integral, exp(-x**2) times the integral of exp(t**2) from 0 to x.

    >>> float(dawsn(0.0))
    0.0
    """
    return call(_dawsn_op, x)


@traces
def erfcinv(y: ArrayLike) -> Array:
    """The number whose complementary error function is `y`, for 0 < y < 2.

    >>> float(erfcinv(0.0))
    inf
    """
    return call(_erfcinv_op, y)


@traces
def ndtri(y: ArrayLike) -> Array:
    """The number up to which the normal distribution has the probability `y`.

    >>> float(ndtri(0.5))
    0.0
    """
    return call(_ndtri_op, y)


@traces
def log_ndtr(x: ArrayLike) -> Array:
    """The logarithm of the normal distribution function, and its derivative, in the far tails too.

    >>> bool(abs(log_ndtr(-100.0) + 5005.524) < 1e-3)
    True
    """
    return call(_log_ndtr_op, x)


@traces
def ndtri_exp(y: ArrayLike) -> Array:
    """The number whose `log_ndtr` is `y`.

    >>> bool(abs(ndtri_exp(log_ndtr(-50.0)) + 50) < 1e-12)
    True
    """
    return call(_ndtri_exp_op, y)


@traces
def wofz(z: ArrayLike) -> Array:
    """Faddeeva's function exp(-z**2) erfc(-i z), which is complex; its real part is Voigt's profile.

    >>> complex(wofz(0.0))
    (1+0j)
    """
    return call(_wofz_op, z)


# ---------------------------------------------------------------------------------------------------------------------
# The logistic function's.

_logit_op = special("logit", lambda d, out, x: d / (x * (1 - x)), samples=unary_samples(0.1, 0.9))
_log_expit_op = special("log_expit", lambda d, out, x: d * logistic(-x), samples=unary_samples(-3, 3))


@traces
def logit(x: ArrayLike) -> Array:
    """log(x / (1 - x)), the inverse of `expit`.

    >>> float(logit(0.5))
    0.0
    """
    return call(_logit_op, x)


@traces
def log_expit(x: ArrayLike) -> Array:
    """The logarithm of `expit`.

    >>> float(log_expit(-1000.0))
    -1000.0
    """
    return call(_log_expit_op, x)
