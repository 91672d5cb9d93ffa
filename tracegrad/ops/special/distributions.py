"""Distribution functions under the names that they have in SciPy's special functions: incomplete gamma and beta functions of other
arguments. Counts are whole numbers, and have no derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.ops.special.declared import call, special, traces
from tracegrad.ops.special.incomplete_beta import beta_density, beta_samples, betainc, betainc_slope
from tracegrad.ops.special.incomplete_gamma import igamma, igammac
from tracegrad.ops.special.normal import ndtri
from tracegrad.ops.special.quantiles import betainccinv, betaincinv, gammainccinv, gammaincinv
from tracegrad.typing import Array, ArrayLike

_betaincc_op = special(
    # (1.0 * a: a whole number is a double, which there is a common dtype of with every float.)
    "betaincc", lambda d, out, a, b, x: -d * betainc_slope(1.0 * a, 1.0 * b, x, 1, 0),
    lambda d, out, a, b, x: -d * betainc_slope(1.0 * a, 1.0 * b, x, 0, 1),
    lambda d, out, a, b, x: -d * beta_density(1.0 * a, 1.0 * b, x),
    samples=beta_samples,
)  # fmt: skip


@traces
def betaincc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """1 - I_x(a, b), accurate where that is tiny.

    >>> float(betaincc(1.0, 1.0, 0.25))
    0.75
    """
    return call(_betaincc_op, a, b, x)


def below(a: Any, b: Any, x: Any, rest: Any, upper: bool = False) -> Any:
    """I_x(a, b), or with `upper` 1 less that, where `rest` is 1 - x: by the one of both of which more digits are known."""
    low = np.less(x, rest)
    left, right = np.where(low, x, 0.5), np.where(low, 0.5, rest)
    if upper:
        return np.where(low, betaincc(a, b, left), betainc(b, a, right))
    return np.where(low, betainc(a, b, left), betaincc(b, a, right))


# ---------------------------------------------------------------------------------------------------------------------
# Of numbers.


@traces
def chdtr(v: ArrayLike, x: ArrayLike) -> Array:
    """The chi-squared distribution's function, with `v` degrees of freedom.

    >>> bool(abs(chdtr(2.0, 2.0) - (1 - np.exp(-1.0))) < 1e-15)
    True
    """
    return igamma(np.divide(v, 2), np.divide(x, 2))


@traces
def chdtrc(v: ArrayLike, x: ArrayLike) -> Array:
    """1 - `chdtr`, accurate in the tail.

    >>> bool(abs(chdtrc(2.0, 2.0) - np.exp(-1.0)) < 1e-15)
    True
    """
    return igammac(np.divide(v, 2), np.divide(x, 2))


@traces
def chdtri(v: ArrayLike, p: ArrayLike) -> Array:
    """The x for which `chdtrc` is `p`.

    >>> bool(abs(chdtri(2.0, np.exp(-1.0)) - 2) < 1e-14)
    True
    """
    return 2 * gammainccinv(np.divide(v, 2), p)


@traces
def gdtr(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """The gamma distribution's function, of the rate `a` and the shape `b`.

    >>> bool(abs(gdtr(2.0, 1.0, 0.5) - (1 - np.exp(-1.0))) < 1e-15)
    True
    """
    return igamma(b, np.multiply(a, x))


@traces
def gdtrc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """1 - `gdtr`, accurate in the tail.

    >>> bool(abs(gdtrc(2.0, 1.0, 0.5) - np.exp(-1.0)) < 1e-15)
    True
    """
    return igammac(b, np.multiply(a, x))


@traces
def gdtrix(a: ArrayLike, b: ArrayLike, p: ArrayLike) -> Array:
    """The x for which `gdtr` is `p`.

    >>> bool(abs(gdtrix(2.0, 1.0, 0.5) - np.log(2) / 2) < 1e-15)
    True
    """
    return np.divide(gammaincinv(b, p), a)


@traces
def fdtr(dfn: ArrayLike, dfd: ArrayLike, x: ArrayLike) -> Array:
    """Fisher's F distribution function.

    >>> round(float(fdtr(2.0, 2.0, 1.0)), 12)
    0.5
    """
    part = np.multiply(dfn, x)
    return below(np.divide(dfn, 2), np.divide(dfd, 2), part / (dfd + part), dfd / (dfd + part))


@traces
def fdtrc(dfn: ArrayLike, dfd: ArrayLike, x: ArrayLike) -> Array:
    """1 - `fdtr`, accurate in the tail.

    >>> round(float(fdtrc(2.0, 2.0, 1.0)), 12)
    0.5
    """
    part = np.multiply(dfn, x)
    return below(np.divide(dfn, 2), np.divide(dfd, 2), part / (dfd + part), dfd / (dfd + part), upper=True)


@traces
def fdtri(dfn: ArrayLike, dfd: ArrayLike, p: ArrayLike) -> Array:
    """The x for which `fdtr` is `p`.

    >>> round(float(fdtri(2.0, 2.0, 0.5)), 12)
    1.0
    """
    n, m = np.divide(dfn, 2), np.divide(dfd, 2)
    return m * betaincinv(n, m, p) / (n * betainccinv(m, n, p))


@traces
def nrdtrimn(p: ArrayLike, std: ArrayLike, x: ArrayLike) -> Array:
    """The mean of the normal distribution that has the probability `p` up to `x`.

    >>> float(nrdtrimn(0.5, 2.0, 3.0))
    3.0
    """
    return np.subtract(x, np.multiply(std, ndtri(p)))


@traces
def nrdtrisd(mn: ArrayLike, p: ArrayLike, x: ArrayLike) -> Array:
    """The standard deviation of the normal distribution that has the probability `p` up to `x`.

    >>> round(float(nrdtrisd(1.0, 0.8413447460685429, 3.0)), 12)
    2.0
    """
    return np.subtract(x, mn) / ndtri(p)


# ---------------------------------------------------------------------------------------------------------------------
# Of counts: `k` is rounded down, and where there is no such distribution it is NaN.


def _counted(k: ArrayLike, most: ArrayLike | None = None) -> tuple[Any, Any]:
    """k + 1, and whether k is a count, `most` at most."""
    k = np.floor(k)
    return k + 1, np.greater_equal(k, 0) if most is None else np.greater_equal(k, 0) & np.less_equal(k, most)


@traces
def pdtr(k: ArrayLike, m: ArrayLike) -> Array:
    """The probability that a Poisson distribution of the mean `m` gives to 0, 1, ..., `k`.

    >>> bool(abs(pdtr(1, 2.0) - 3 * np.exp(-2.0)) < 1e-15)
    True
    """
    after, counts = _counted(k)
    return np.where(counts, igammac(np.where(counts, after, 1.0), m), np.nan)


@traces
def pdtrc(k: ArrayLike, m: ArrayLike) -> Array:
    """1 - `pdtr`, accurate in the tail.

    >>> bool(abs(pdtrc(0, 2.0) - (1 - np.exp(-2.0))) < 1e-15)
    True
    """
    after, counts = _counted(k)
    return np.where(counts, igamma(np.where(counts, after, 1.0), m), np.nan)


@traces
def pdtri(k: ArrayLike, y: ArrayLike) -> Array:
    """The mean for which `pdtr` is `y`.

    >>> bool(abs(pdtri(0, np.exp(-2.0)) - 2) < 1e-14)
    True
    """
    after, counts = _counted(k)
    return np.where(counts, gammainccinv(np.where(counts, after, 1.0), y), np.nan)


@traces
def bdtr(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Array:
    """The probability of at most `k` successes of `n`, each of probability `p`.

    >>> round(float(bdtr(1, 2, 0.5)), 12)
    0.75
    """
    after, counts = _counted(k, n)
    some = counts & np.less(after, np.add(n, 1))
    found = betaincc(np.where(some, after, 1.0), np.where(some, np.add(n, 1) - after, 1.0), p)
    return np.where(some, found, np.where(counts, 1 + 0 * found, np.nan))  # NaN of what is no probability too


@traces
def bdtrc(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Array:
    """The probability of more than `k` successes of `n`, each of probability `p`.

    >>> round(float(bdtrc(1, 2, 0.5)), 12)
    0.25
    """
    after, counts = _counted(k, n)
    some = counts & np.less(after, np.add(n, 1))
    found = betainc(np.where(some, after, 1.0), np.where(some, np.add(n, 1) - after, 1.0), p)
    none = 0 * found  # NaN of what is no probability too
    return np.where(some, found, np.where(np.less(k, 0), 1 + none, np.where(counts, none, np.nan)))


@traces
def bdtri(k: ArrayLike, n: ArrayLike, y: ArrayLike) -> Array:
    """The probability of a success for which `bdtr` is `y`.

    >>> round(float(bdtri(1, 2, 0.75)), 12)
    0.5
    """
    after, counts = _counted(k, np.subtract(n, 1))
    found = betainccinv(np.where(counts, after, 1.0), np.where(counts, np.add(n, 1) - after, 1.0), y)
    return np.where(counts, found, np.nan)


@traces
def nbdtr(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Array:
    """The probability of at most `k` failures before the `n`-th success, each success of probability `p`.

    >>> round(float(nbdtr(1, 1, 0.5)), 12)
    0.75
    """
    after, counts = _counted(k)
    return np.where(counts, betainc(n, np.where(counts, after, 1.0), p), np.nan)


@traces
def nbdtrc(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Array:
    """1 - `nbdtr`, accurate in the tail.

    >>> round(float(nbdtrc(1, 1, 0.5)), 12)
    0.25
    """
    after, counts = _counted(k)
    return np.where(counts, betaincc(n, np.where(counts, after, 1.0), p), np.nan)


@traces
def nbdtri(k: ArrayLike, n: ArrayLike, y: ArrayLike) -> Array:
    """The probability of a success for which `nbdtr` is `y`.

    >>> round(float(nbdtri(1, 1, 0.75)), 12)
    0.5
    """
    after, counts = _counted(k)
    return np.where(counts, betaincinv(n, np.where(counts, after, 1.0), y), np.nan)
