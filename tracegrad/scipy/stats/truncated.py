"""The truncated normal distribution. Everything about it is a difference of tails, found by its logarithm, so that it holds however far out
both ends are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.ops.elementwise.error_function import erf, ndtr
from tracegrad.ops.special.normal import log_ndtr, ndtri_exp
from tracegrad.scipy.stats.base import Continuous, log, log1m, log1mexp

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _log_tail(x: Any) -> Any:
    """The logarithm of the probability below x. At minus infinity it has an infinite slope, by which nothing should be multiplied."""
    end = np.isneginf(x)
    return np.where(end, -math.inf, log_ndtr(np.where(end, -1.0, x)))


def _log_mass(a: Any, b: Any) -> Any:
    """The logarithm of the probability between a and b of the normal distribution. Far to one side that is the difference of two tails;
    else it is a difference of error functions if it is little, and what two tails leave if it is much."""
    right, left = np.greater(a, 1), np.less(b, -1)
    aside = right | left
    low, high = np.where(right, -b, a), np.where(right, -a, b)  # of the same probability, to the left
    near, far = _log_tail(np.where(aside, high, 0.0)), _log_tail(np.where(aside, low, -1.0))
    some = np.logical_not(np.less_equal(near, far))  # between equal ends there is nothing
    tails = np.where(some, near, 0.0) + log1mexp(np.where(some, near - far, 1.0))
    start, end = np.where(aside, -1.0, a), np.where(aside, 1.0, b)
    parts = 0.5 * (erf(end * math.sqrt(0.5)) - erf(start * math.sqrt(0.5)))
    much = np.greater(parts, 0.5)
    around = np.where(much, np.log1p(-ndtr(start) - ndtr(-end)), log(np.where(much, 1.0, parts)))
    return np.where(aside, np.where(some, tails, -math.inf), around)


def _log_part(part: Any, rest: Any, whole: Any) -> Any:
    """The logarithm of a part of the probability; where that is nearly all, by the rest."""
    found, other = part - whole, rest - whole
    nearly = np.greater(found, -0.1)
    return np.where(nearly, log1mexp(np.where(nearly, -other, 1.0)), found)


def _quantile(q: Any, a: Any, b: Any, upper: bool) -> Any:
    """From the end that is farther out: the logarithm of the tail beyond the quantile is that of the tail beyond that end and a part
    of what lies between both."""
    mass = _log_mass(a, b)
    right = np.greater_equal(a, 0)
    from_a, from_b = (log1m(q), log(q)) if upper else (log(q), log1m(q))
    beyond = _log_tail(np.where(right, -b, a))
    found = ndtri_exp(np.logaddexp(beyond, mass + np.where(right, from_b, from_a)))
    return np.where(right, -found, found)


def _ends(a: Any, b: Any) -> tuple[Any, Any, Any, Any]:
    """The densities at both ends, and the ends, or zero where they are infinite, where these are multiplied."""
    mass = _log_mass(a, b)
    low, high = np.where(np.isfinite(a), a, 0.0), np.where(np.isfinite(b), b, 0.0)
    of_a = np.where(np.isfinite(a), np.exp(-0.5 * np.square(low) - _HALF_LOG_TWO_PI - mass), 0.0)
    of_b = np.where(np.isfinite(b), np.exp(-0.5 * np.square(high) - _HALF_LOG_TWO_PI - mass), 0.0)
    return of_a, of_b, low, high


def _mean(a: Any, b: Any) -> Any:
    of_a, of_b, *_ = _ends(a, b)
    return of_a - of_b


def _var(a: Any, b: Any) -> Any:
    of_a, of_b, low, high = _ends(a, b)
    mean = of_a - of_b
    return 1 + (low - mean) * of_a - (high - mean) * of_b


def _entropy(a: Any, b: Any) -> Any:
    of_a, of_b, low, high = _ends(a, b)
    return 0.5 + _HALF_LOG_TWO_PI + _log_mass(a, b) + 0.5 * (low * of_a - high * of_b)


truncnorm = Continuous(
    "truncnorm",
    """The normal distribution between `a` and `b`, which are given in units of `scale` from `loc` on and may be infinite.

    >>> import numpy as np, tracegrad as tg
    >>> float(tg.scipy.stats.truncnorm.mean(-1.0, 1.0))
    0.0
    >>> tg.scipy.stats.truncnorm.logsf(41.0, 40.0, np.inf).round(6)
    np.float64(-40.524663)
    """,
    shapes=("a", "b"), valid=lambda a, b: np.less(a, b), support=lambda a, b: (a, b),
    logpdf=lambda x, a, b: -0.5 * np.square(x) - _HALF_LOG_TWO_PI - _log_mass(a, b),
    cdf=lambda x, a, b: np.exp(_log_mass(a, x) - _log_mass(a, b)), sf=lambda x, a, b: np.exp(_log_mass(x, b) - _log_mass(a, b)),
    logcdf=lambda x, a, b: _log_part(_log_mass(a, x), _log_mass(x, b), _log_mass(a, b)),
    logsf=lambda x, a, b: _log_part(_log_mass(x, b), _log_mass(a, x), _log_mass(a, b)),
    ppf=lambda q, a, b: _quantile(q, a, b, False), isf=lambda q, a, b: _quantile(q, a, b, True),
    entropy=_entropy, mean=_mean, var=_var,
)  # fmt: skip
