"""The error function's kin, the normal distribution, and the logistic function's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.activations import logistic
from tracegrad.ops.elementwise.error_function import ndtr, polynomial
from tracegrad.ops.elementwise.samples import unary_samples
from tracegrad.ops.special.declared import call, call_real, in_double, special, traces
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


# They are written by the one side of the middle on which the argument is, as in np.where: by |out| and the lesser of both, second derivatives
# in the middle would be what conventions at kinks make of them.


def _erfcinv_partial(d: Any, out: Any, y: Any) -> Any:
    below = np.less(y, 1)
    return d * (-math.sqrt(math.pi) / 2 * erfcx(np.where(below, out, -out)) / np.where(below, y, 2 - y))


def _ndtri_partial(d: Any, out: Any, p: Any) -> Any:
    below = np.less(p, 0.5)
    size = np.where(below, -out, out) * math.sqrt(0.5)
    return d * (math.sqrt(math.pi / 2) * erfcx(size) / np.where(below, p, 1 - p))


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


def _wofz_partial(d: Any, out: Any, z: Any) -> Any:
    """2 i / sqrt(pi) - 2 z w(z), likewise far out in the upper half plane; on the real line itself there is exp(-z**2) besides, which
    is all of the real part."""
    height = np.imag(z)
    far = np.greater(np.absolute(z), _FAR) & np.greater_equal(height, 0)
    z_far = np.where(far, z, _FAR)
    real = np.where(np.less(height, 1e-10), -2 * z_far * np.exp(-z_far * z_far), 0)
    return d * np.where(far, real - 1j * _TWO_OVER_ROOT_PI * _gap(z_far, 1), 1j * _TWO_OVER_ROOT_PI - 2 * z * out)


_wofz_op: Op = special(
    "wofz", _wofz_partial,
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


# By M. Giles, "Approximating the erfinv function", GPU Computing Gems Jade Edition (2011): with w = -log(1 - x**2) the function
# is x times a polynomial of w - 3.125 where w < 6.25, and beyond that of sqrt(w) - 3.25 up to w = 16, of sqrt(w) - 5 from there.

_ERF_INV_CENTRE = (
    -3.64441206401782e-21, -1.6850591381820166e-19, 1.28584807152564e-18, 1.1157877678025181e-17,
    -1.333171662854621e-16, 2.0972767875968562e-17, 6.637638134358324e-15, -4.054566272975207e-14,
    -8.151934197605472e-14, 2.6335093153082323e-12, -1.2975133253453532e-11, -5.415412054294628e-11,
    1.0512122733215323e-09, -4.112633980346984e-09, -2.9070369957882005e-08, 4.2347877827932404e-07,
    -1.3654692000834679e-06, -1.3882523362786469e-05, 0.00018673420803405714, -0.000740702534166267,
    -0.006033670871430149, 0.24015818242558962, 1.6536545626831027,
)  # fmt: skip
_ERF_INV_TAIL = (
    2.2137376921775787e-09, 9.075656193888539e-08, -2.7517406297064545e-07, 1.8239629214389228e-08,
    1.5027403968909828e-06, -4.013867526981546e-06, 2.9234449089955446e-06, 1.2475304481671779e-05,
    -4.7318229009055734e-05, 6.828485145957318e-05, 2.4031110387097894e-05, -0.0003550375203628475,
    0.0009532893797373805, -0.0016882755560235047, 0.002491442096107851, -0.003751208507569241,
    0.005370914553590064, 1.0052589676941592, 3.0838856104922208,
)  # fmt: skip
_ERF_INV_FAR_TAIL = (
    -2.7109920616438573e-11, -2.555641816996525e-10, 1.5076572693500548e-09, -3.789465440126737e-09,
    7.61570120807834e-09, -1.496002662714924e-08, 2.914795345090108e-08, -6.771199775845234e-08,
    2.2900482228026655e-07, -9.9298272942317e-07, 4.526062597223154e-06, -1.968177810553167e-05,
    7.599527703001776e-05, -0.00021503011930044477, -0.00013871931833623122, 1.0103004648645344, 4.849906401408584,
)  # fmt: skip
_ERF_INV_BLOCK = 8192  # so that the many passes of a polynomial stay in the cache


def _erf_inv(x: Any) -> Any:
    """Within four units in the last place. (1 - x) (1 + x) is as accurate as x, which 1 - x * x is not near 1."""
    flat = np.ravel(x)
    out = np.empty_like(flat)
    for start in range(0, flat.size, _ERF_INV_BLOCK):
        block = flat[start : start + _ERF_INV_BLOCK]
        w = -np.log((1 - block) * (1 + block))
        factor = polynomial(_ERF_INV_CENTRE, w - 3.125)
        for edge, coefficients, middle in ((6.25, _ERF_INV_TAIL, 3.25), (16.0, _ERF_INV_FAR_TAIL, 5.0)):
            beyond = np.flatnonzero(w >= edge)
            if beyond.size:
                factor[beyond] = polynomial(coefficients, np.sqrt(w[beyond]) - middle)
        factor[w == np.inf] = np.inf
        np.multiply(factor, block, out=out[start : start + _ERF_INV_BLOCK])
    return out.reshape(np.shape(x))


erf_inv_op = in_double(
    "erf_inv", _erf_inv, lambda d, out, x: d * ((math.sqrt(math.pi) / 2) * np.exp(out * out)),
    samples=unary_samples(-0.9, 0.9),
)  # fmt: skip


def erf_inv(x: ArrayLike) -> Array:
    """The number whose error function is `x`, for -1 < x < 1.

    >>> float(erf_inv(0.0))
    0.0
    """
    return call_real(erf_inv_op, x)


traces(erf_inv, "erfinv")
