"""Distributions of counts: `poisson`, `binom` and others, each a table of formulas, with a location.

Their methods take a count (or a probability), the parameters in SciPy's order, and `loc`, by position or by name. There are derivatives in all
parameters; quantiles are whole numbers and have none. Entropies are sums over counts; how many, of `binom`, `nbinom` and `betabinom`, is
found by the values of their parameters, which vmap, and jit on XLA, do not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.ops.special.entropy import entr, xlog1py, xlogy
from tracegrad.ops.special.gamma import betaln
from tracegrad.ops.special.incomplete_beta import betainc
from tracegrad.ops.special.incomplete_gamma import igamma, igammac
from tracegrad.ops.special.polygamma import lgamma
from tracegrad.ops.special.quantiles import quantile
from tracegrad.scipy.stats.base import Discrete, log1mexp


def _quantiles(name: str) -> dict[str, Any]:
    return {
        "ppf": lambda q, *shapes: quantile(name, q, *shapes),
        "isf": lambda q, *shapes: quantile(name, q, *shapes, upper=True),
    }


def _log_choose(n: Any, k: Any) -> Any:
    """The logarithm of n! / (k! (n - k)!), without a difference of larger ones."""
    return -np.log(n + 1.0) - betaln(n - k + 1, k + 1)


def _is_probability(p: Any) -> Any:
    return np.greater_equal(p, 0) & np.less_equal(p, 1)


def _is_whole(n: Any) -> Any:
    return np.equal(np.floor(n), n)


def _counts(last: int, p: Any) -> Any:
    """0, 1, ..., in the precision of a parameter."""
    dtype = getattr(p, "dtype", np.dtype(np.float64))
    return np.arange(last + 1, dtype=dtype if dtype.kind == "f" else np.float64)


def _across(x: Any) -> Any:
    """With a new last axis, along which there are counts."""
    return np.expand_dims(x, -1)


def _entropy(logpmf: Callable[..., Any], last: int, *shapes: Any) -> Any:
    """The sum over the counts from 0 to the last."""
    logs = logpmf(_counts(last, shapes[-1]), *map(_across, shapes))
    return np.sum(-np.exp(logs) * np.where(np.greater(logs, -700), logs, 0.0), axis=-1)


# ---------------------------------------------------------------------------------------------------------------------
# Of trials that succeed with a probability.

bernoulli: Discrete = Discrete(
    "bernoulli",
    """One trial: 1 with the probability `p`, else 0.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.bernoulli.pmf(1, 0.25))
    0.25
    """,
    shapes=("p",), valid=_is_probability, support=(0, 1),
    logpmf=lambda k, p: xlogy(k, p) + xlog1py(1 - k, np.negative(p)), cdf=lambda k, p: 0 * k + (1 - p), sf=lambda k, p: 0 * k + p,
    entropy=lambda p: entr(p) + entr(np.subtract(1, p)), mean=lambda p: p, var=lambda p: p * (1 - p), **_quantiles("bernoulli"),
)  # fmt: skip

binom: Discrete = Discrete(
    "binom",
    """How many of `n` trials succeed, each with the probability `p`.

    >>> import tracegrad as tg
    >>> round(float(tg.grad(tg.scipy.stats.binom.logpmf, 2)(3, 10, 0.5)), 9)   # in p: k / p - (n - k) / (1 - p)
    -8.0
    """,
    shapes=("n", "p"), valid=lambda n, p: np.greater_equal(n, 0) & _is_whole(n) & _is_probability(p), support=lambda n, p: (0, n),
    logpmf=lambda k, n, p: _log_choose(n, k) + xlogy(k, p) + xlog1py(n - k, np.negative(p)),
    cdf=lambda k, n, p: betainc(n - np.floor(k), np.floor(k) + 1, np.subtract(1.0, p)),
    sf=lambda k, n, p: betainc(np.floor(k) + 1, n - np.floor(k), p),
    entropy=lambda n, p: _entropy(binom.logpmf, int(np.max(n)), n, p), mean=lambda n, p: n * p, var=lambda n, p: n * p * (1 - p),
    **_quantiles("binom"),
)  # fmt: skip


def _betabinom_logpmf(k: Any, n: Any, a: Any, b: Any) -> Any:
    return _log_choose(n, k) + betaln(k + a, n - k + b) - betaln(a, b)


def _betabinom_cdf(k: Any, n: Any, a: Any, b: Any) -> Any:
    """A sum of as many terms as there are counts."""
    counts = _counts(int(np.max(n)), a)
    shapes = [_across(x) for x in (n, a, b)]
    return (
        np.sum(np.where(np.less_equal(counts, np.expand_dims(k, -1)), betabinom.pmf(counts, *shapes), 0.0), axis=-1)
        + 0 * k
    )


betabinom: Discrete = Discrete(
    "betabinom",
    """How many of `n` trials succeed whose probability has the distribution `beta` with `a` and `b`.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.betabinom.mean(10, 1.0, 4.0))
    2.0
    """,
    shapes=("n", "a", "b"), support=lambda n, a, b: (0, n),
    valid=lambda n, a, b: np.greater_equal(n, 0) & _is_whole(n) & np.greater(a, 0) & np.greater(b, 0),
    logpmf=_betabinom_logpmf, cdf=_betabinom_cdf, sf=lambda k, n, a, b: _betabinom_cdf(n - np.floor(k) - 1, n, b, a),
    entropy=lambda n, a, b: _entropy(betabinom.logpmf, int(np.max(n)), n, a, b), mean=lambda n, a, b: n * (a / (a + b)),
    var=lambda n, a, b: n * (a + b + n) * a * b / (np.square(a + b) * (a + b + 1)), **_quantiles("betabinom"),
)  # fmt: skip

geom: Discrete = Discrete(
    "geom",
    """Which of many trials is the first to succeed, each with the probability `p`.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.geom.mean(0.25))
    4.0
    """,
    shapes=("p",), valid=lambda p: np.greater(p, 0) & np.less_equal(p, 1), support=(1, math.inf),
    logpmf=lambda k, p: xlog1py(k - 1, np.negative(p)) + np.log(p),
    cdf=lambda k, p: -np.expm1(xlog1py(np.floor(k), np.negative(p))), sf=lambda k, p: np.exp(xlog1py(np.floor(k), np.negative(p))),
    logcdf=lambda k, p: log1mexp(-xlog1py(np.floor(k), np.negative(p))), logsf=lambda k, p: xlog1py(np.floor(k), np.negative(p)),
    entropy=lambda p: -np.log(p) - xlog1py(np.subtract(1.0, p), np.negative(p)) / p,
    mean=lambda p: np.divide(1, p), var=lambda p: np.subtract(1, p) / np.square(p), **_quantiles("geom"),
)  # fmt: skip


def _nbinom_last(n: Any, p: Any) -> int:
    """Beyond which there is less than rounding: some standard deviations, and what the tail needs to fall."""
    mean = n * (1 - p) / p
    return int(np.max(mean + 12 * np.sqrt(mean / p) + 40 / -np.log1p(-np.minimum(p, 0.99)) + 20))


nbinom: Discrete = Discrete(
    "nbinom",
    """How many trials fail before `n` have succeeded, each with the probability `p`.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.nbinom.mean(3, 0.25))
    9.0
    """,
    shapes=("n", "p"), valid=lambda n, p: np.greater(n, 0) & np.greater(p, 0) & np.less_equal(p, 1), support=(0, math.inf),
    logpmf=lambda k, n, p: -betaln(n, k + 1) - np.log(n + k) + xlogy(n, p) + xlog1py(k, np.negative(p)),
    cdf=lambda k, n, p: betainc(n, np.floor(k) + 1, p), sf=lambda k, n, p: betainc(np.floor(k) + 1, n, np.subtract(1.0, p)),
    entropy=lambda n, p: _entropy(nbinom.logpmf, _nbinom_last(n, p), n, p),
    mean=lambda n, p: n * (1 - p) / p, var=lambda n, p: n * (1 - p) / np.square(p), **_quantiles("nbinom"),
)  # fmt: skip


def _poisson_entropy(mu: Any) -> Any:
    """For many counts by the expansion of R. J. Evans and J. Boersma, "The entropy of a Poisson distribution", SIAM Review 30 (1988)."""
    many = np.greater(mu, 200)
    few, large = np.where(many, 1.0, mu), np.where(many, mu, 200.0)
    y = 1 / large
    expansion = y * (1 / 12 + y * (1 / 24 + y * (19 / 360 + y * (9 / 80 + y * (863 / 2520)))))
    return np.where(many, 0.5 * np.log(2 * math.pi * math.e * large) - expansion, _entropy(poisson.logpmf, 450, few))


poisson: Discrete = Discrete(
    "poisson",
    """How many of events happen that do not depend on each other, `mu` of which are expected.

    >>> import tracegrad as tg
    >>> float(tg.grad(tg.scipy.stats.poisson.logpmf, 1)(3, 2.0))   # in mu: k / mu - 1
    0.5
    """,
    shapes=("mu",), valid=lambda mu: np.greater_equal(mu, 0), support=(0, math.inf),
    logpmf=lambda k, mu: xlogy(k, mu) - lgamma(k + 1) - mu,
    cdf=lambda k, mu: igammac(np.floor(k) + 1, mu), sf=lambda k, mu: igamma(np.floor(k) + 1, mu),
    entropy=_poisson_entropy, mean=lambda mu: mu, var=lambda mu: mu, **_quantiles("poisson"),
)  # fmt: skip
