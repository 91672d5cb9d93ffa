"""Distributions of real numbers, with a location and a scale: `norm`, `t`, `gamma`, `beta` and others, each a table of formulas.

Their methods take a number (or a probability), the shape parameters in SciPy's order, and `loc` and `scale`, by position or by name; all of
these are broadcast, and have derivatives. Formulas are those of SciPy's reference, but for forms that are accurate in the tails, at the ends
of the support and for large parameters.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.ops.elementwise.activations import logistic as expit
from tracegrad.ops.elementwise.error_function import ndtr
from tracegrad.ops.elementwise.powers import absolute_power
from tracegrad.ops.special import quantiles
from tracegrad.ops.special.distributions import below, betaincc
from tracegrad.ops.special.entropy import xlog1py, xlogy
from tracegrad.ops.special.gamma import betaln, digamma_rise
from tracegrad.ops.special.gamma import gamma as gamma_function
from tracegrad.ops.special.hypergeometric import hyp1f1
from tracegrad.ops.special.incomplete_beta import betainc
from tracegrad.ops.special.incomplete_gamma import igamma, igammac
from tracegrad.ops.special.normal import log_expit, log_ndtr, logit, ndtri
from tracegrad.ops.special.polygamma import digamma, lgamma
from tracegrad.scipy.stats.base import Continuous, log, log1m, log1mexp, where_above

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_EULER = float(np.euler_gamma)


def _positive(*shapes: Any) -> Any:
    """Whether all shape parameters are."""
    found: Any = True
    for shape in shapes:
        found = found & np.greater(shape, 0)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Without shape parameters.

norm = Continuous(
    "norm",
    """The normal distribution: exp(-x**2 / 2) / sqrt(2 pi).

    >>> import tracegrad as tg
    >>> tg.scipy.stats.norm.logsf(40.0).round(6)
    np.float64(-804.608442)
    >>> tg.grad(tg.scipy.stats.norm.logpdf, 1)(3.0, 1.0, 2.0)   # in loc: (x - loc) / scale**2
    np.float64(0.5)
    """,
    logpdf=lambda x: -0.5 * np.square(x) - _HALF_LOG_TWO_PI,
    cdf=ndtr, sf=lambda x: ndtr(-x), logcdf=log_ndtr, logsf=lambda x: log_ndtr(-x),
    ppf=ndtri, isf=lambda q: -ndtri(q),
    entropy=lambda: 0.5 + _HALF_LOG_TWO_PI, mean=lambda: 0.0, median=lambda: 0.0, var=lambda: 1.0,
)  # fmt: skip

uniform = Continuous(
    "uniform",
    """The uniform distribution, from `loc` to `loc + scale`.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.uniform.cdf(2.5, loc=2.0, scale=4.0))
    0.125
    """,
    support=(0.0, 1.0),
    logpdf=lambda x: 0.0 * x, pdf=lambda x: 0.0 * x + 1.0, cdf=lambda x: x, sf=lambda x: 1 - x, ppf=lambda q: q, isf=lambda q: 1 - q,
    entropy=lambda: 0.0, mean=lambda: 0.5, median=lambda: 0.5, var=lambda: 1 / 12,
)  # fmt: skip

expon = Continuous(
    "expon",
    """The exponential distribution: exp(-x) for x >= 0.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.expon.logsf(1000.0, scale=2.0))
    -500.0
    """,
    support=(0.0, math.inf),
    logpdf=lambda x: -x, cdf=lambda x: -np.expm1(-x), sf=lambda x: np.exp(-x), logcdf=log1mexp, logsf=lambda x: -x,
    ppf=lambda q: -log1m(q), isf=lambda q: -log(q),
    entropy=lambda: 1.0, mean=lambda: 1.0, var=lambda: 1.0,
)  # fmt: skip


def _laplace_tail(x: Any) -> Any:
    """Half of exp(-x) above zero, and what half of exp(x) leaves below."""
    above = np.greater(x, 0)
    return np.where(above, 0.5 * np.exp(-np.where(above, x, 0.0)), 1 - 0.5 * np.exp(np.where(above, 0.0, x)))


def _log_laplace_tail(x: Any) -> Any:
    above = np.greater(x, 0)
    return np.where(above, -x - math.log(2), np.log1p(-0.5 * np.exp(np.where(above, -1.0, x))))


def _laplace_quantile(q: Any) -> Any:
    lower = np.less(q, 0.5)
    return np.where(lower, log(2 * np.where(lower, q, 0.5)), -log(2 * (1 - np.where(lower, 0.5, q))))


laplace = Continuous(
    "laplace",
    """Laplace's distribution: exp(-|x|) / 2.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.laplace.cdf(0.0))
    0.5
    """,
    logpdf=lambda x: -np.absolute(x) - math.log(2),
    cdf=lambda x: _laplace_tail(-x), sf=_laplace_tail, logcdf=lambda x: _log_laplace_tail(-x), logsf=_log_laplace_tail,
    ppf=_laplace_quantile, isf=lambda q: -_laplace_quantile(q),
    entropy=lambda: 1 + math.log(2), mean=lambda: 0.0, var=lambda: 2.0,
)  # fmt: skip

logistic = Continuous(
    "logistic",
    """The logistic distribution: exp(-x) / (1 + exp(-x))**2.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.logistic.logcdf(-1000.0))
    -1000.0
    """,
    logpdf=lambda x: log_expit(x) + log_expit(-x),
    cdf=expit, sf=lambda x: expit(-x), logcdf=log_expit, logsf=lambda x: log_expit(-x), ppf=logit, isf=lambda q: -logit(q),
    entropy=lambda: 2.0, mean=lambda: 0.0, var=lambda: math.pi**2 / 3,
)  # fmt: skip


def _cauchy_quantile(q: Any) -> Any:
    """Near the median by what there is beside it, in the tails by what is left."""
    near = np.less(np.absolute(q - 0.5), 0.25)
    rest = np.where(near, 0.25, np.where(np.less(q, 0.5), q, -(1 - q)))
    return np.where(near, np.tan(math.pi * np.where(near, q - 0.5, 0.0)), np.divide(-1, np.tan(math.pi * rest)))


cauchy = Continuous(
    "cauchy",
    """Cauchy's distribution: 1 / (pi (1 + x**2)). It has no mean.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.cauchy.sf(1.0))
    0.25
    """,
    logpdf=lambda x: -math.log(math.pi) - np.log1p(np.square(x)),
    cdf=lambda x: np.arctan2(1.0, -x) / math.pi, sf=lambda x: np.arctan2(1.0, x) / math.pi,
    ppf=_cauchy_quantile, isf=lambda q: -_cauchy_quantile(q),
    entropy=lambda: math.log(4 * math.pi), mean=lambda: math.nan, median=lambda: 0.0, var=lambda: math.nan,
)  # fmt: skip

_GUMBEL: dict[str, Any] = {
    "pdf": lambda x: np.exp(-x - np.exp(-x)),
    "logpdf": lambda x: -x - np.exp(-x),
    "cdf": lambda x: np.exp(-np.exp(-x)),
    "sf": lambda x: -np.expm1(-np.exp(-x)),
    "logcdf": lambda x: -np.exp(-x),
    "logsf": lambda x: log1mexp(np.exp(-x)),
    "ppf": lambda q: -log(-log(q)),
    "isf": lambda q: -log(-log1m(q)),
    "entropy": lambda: _EULER + 1,
    "var": lambda: math.pi**2 / 6,
}
gumbel_r = Continuous(
    "gumbel_r",
    """Gumbel's distribution of greatest values: exp(-x - exp(-x)).

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.gumbel_r.logcdf(0.0))
    -1.0
    """,
    mean=lambda: _EULER, median=lambda: -math.log(math.log(2)), **_GUMBEL,
)  # fmt: skip
gumbel_l = Continuous(
    "gumbel_l",
    """Gumbel's distribution of least values: exp(x - exp(x)).

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.gumbel_l.logsf(0.0))
    -1.0
    """,
    mean=lambda: -_EULER, median=lambda: math.log(math.log(2)), entropy=_GUMBEL["entropy"], var=_GUMBEL["var"],
    pdf=lambda x: _GUMBEL["pdf"](-x), logpdf=lambda x: _GUMBEL["logpdf"](-x),
    cdf=lambda x: _GUMBEL["sf"](-x), sf=lambda x: _GUMBEL["cdf"](-x),
    logcdf=lambda x: _GUMBEL["logsf"](-x), logsf=lambda x: _GUMBEL["logcdf"](-x),
    ppf=lambda q: -_GUMBEL["isf"](q), isf=lambda q: -_GUMBEL["ppf"](q),
)  # fmt: skip

rayleigh = Continuous(
    "rayleigh",
    """Rayleigh's distribution: x exp(-x**2 / 2) for x >= 0.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.rayleigh.logsf(100.0))
    -5000.0
    """,
    support=(0.0, math.inf),
    # Beyond 1e30 the factor x is nothing to the square, and at infinity it would make NaN of zero.
    pdf=lambda x: np.minimum(x, 1e30) * np.exp(-0.5 * np.square(x)), logpdf=lambda x: log(np.minimum(x, 1e30)) - 0.5 * np.square(x),
    cdf=lambda x: -np.expm1(-0.5 * np.square(x)), sf=lambda x: np.exp(-0.5 * np.square(x)),
    logcdf=lambda x: log1mexp(0.5 * np.square(x)), logsf=lambda x: -0.5 * np.square(x),
    ppf=lambda q: np.sqrt(-2 * log1m(q)), isf=lambda q: np.sqrt(-2 * log(q)),
    entropy=lambda: 0.5 * _EULER + 1 - 0.5 * math.log(2), mean=lambda: math.sqrt(0.5 * math.pi), var=lambda: 2 - 0.5 * math.pi,
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Of the gamma function's family.


def _gamma_entropy(a: Any) -> Any:
    """For a large parameter, where the terms cancel, by its expansion (DLMF 5.11)."""
    far = np.greater(a, 250)
    near, large = np.where(far, 1.0, a), np.where(far, a, 250.0)
    y = 1 / large
    expansion = 0.5 + _HALF_LOG_TWO_PI + 0.5 * np.log(large) - y / 3 - y**2 / 12 - y**3 / 90 + y**4 / 120
    return np.where(far, expansion, near + lgamma(near) + (1 - near) * digamma(near))


gamma = Continuous(
    "gamma",
    """The gamma distribution: x**(a - 1) exp(-x) / Gamma(a) for x >= 0.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.gamma.mean(3.0, scale=2.0))
    6.0
    >>> tg.grad(tg.scipy.stats.gamma.ppf, 1)(0.5, 2.0).round(6)   # how the median moves with the shape
    np.float64(0.993295)
    """,
    shapes=("a",), valid=_positive, support=(0.0, math.inf),
    logpdf=lambda x, a: xlogy(a - 1, x) - x - lgamma(a),
    cdf=lambda x, a: igamma(a, x), sf=lambda x, a: igammac(a, x),
    ppf=lambda q, a: quantiles.gammaincinv(a, q), isf=lambda q, a: quantiles.gammainccinv(a, q),
    entropy=_gamma_entropy, mean=lambda a: a, var=lambda a: a,
)  # fmt: skip

chi2 = Continuous(
    "chi2",
    """The distribution of the sum of `df` squares of normal numbers: `gamma` with half of these and a scale of 2.

    >>> import tracegrad as tg
    >>> tg.scipy.stats.chi2.isf(0.05, 1).round(6)
    np.float64(3.841459)
    """,
    shapes=("df",), valid=_positive, support=(0.0, math.inf),
    logpdf=lambda x, df: xlogy(df / 2 - 1, x) - x / 2 - lgamma(df / 2) - (0.5 * math.log(2)) * df,
    cdf=lambda x, df: igamma(df / 2, x / 2), sf=lambda x, df: igammac(df / 2, x / 2),
    ppf=lambda q, df: 2 * quantiles.gammaincinv(df / 2, q), isf=lambda q, df: 2 * quantiles.gammainccinv(df / 2, q),
    entropy=lambda df: _gamma_entropy(df / 2) + math.log(2), mean=lambda df: df, var=lambda df: 2 * df,
)  # fmt: skip


def _invgamma_entropy(a: Any) -> Any:
    """That of the gamma distribution, and the mean of twice the logarithm."""
    return _gamma_entropy(a) - 2 * digamma(a)


invgamma = Continuous(
    "invgamma",
    """The distribution of 1 / x where that of x is `gamma`: x**(-a - 1) exp(-1 / x) / Gamma(a) for x > 0.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.invgamma.mean(3.0))
    0.5
    """,
    shapes=("a",), valid=_positive, support=(0.0, math.inf), open_below=True,
    logpdf=lambda x, a: -(a + 1) * np.log(x) - lgamma(a) - 1 / x,
    cdf=lambda x, a: igammac(a, 1 / x), sf=lambda x, a: igamma(a, 1 / x),
    ppf=lambda q, a: np.divide(1, quantiles.gammainccinv(a, q)), isf=lambda q, a: np.divide(1, quantiles.gammaincinv(a, q)),
    entropy=_invgamma_entropy, mean=lambda a: where_above(1, a, lambda a: 1 / (a - 1)),
    var=lambda a: where_above(2, a, lambda a: 1 / (np.square(a - 1) * (a - 2))),
)  # fmt: skip


def _gennorm_below(x: Any, beta: Any) -> Any:
    """The probability below x: half of the upper tail of gamma at |x|**beta, or 1 less that. At zero, where |x|**beta has an infinite
    slope or none, it is a half and the integral of the density from there, x 1F1(1 / beta; 1 + 1 / beta; -|x|**beta) times its value."""
    centre = np.equal(x, 0)
    size = np.absolute(np.where(centre, 1.0, x))
    half = 0.5 * igammac(1 / beta, size**beta)
    tails = np.where(np.less(x, 0), half, 1 - half)
    near = np.where(centre, x, 0)
    shape = 1 / beta
    integral = np.where(
        np.less(beta, 1),  # where the slope is all that there is
        near - absolute_power(near, 1 + beta, odd=True) / (1 + beta), near * hyp1f1(shape, 1 + shape, -absolute_power(near, beta)),
    )  # fmt: skip
    return np.where(centre, 0.5 + integral * np.exp(np.log(0.5 * beta) - lgamma(shape)), tails)


def _gennorm_quantile(q: Any, beta: Any) -> Any:
    """Likewise; at 1/2 its slope is 1 / density, which grows as exp(|x|**beta)."""
    centre, lower = np.equal(q, 0.5), np.less(q, 0.5)
    tail = np.where(centre, 0.25, np.where(lower, q, 1 - q))
    size = quantiles.gammainccinv(1 / beta, 2 * tail) ** (1 / beta)
    middle = np.where(centre, q - 0.5, 0) * np.exp(lgamma(1 / beta) - np.log(0.5 * beta))
    middle = middle + absolute_power(middle, beta + 1, odd=True) / (beta + 1)
    return np.where(centre, middle, np.where(lower, -size, size))


gennorm = Continuous(
    "gennorm",
    """The generalised normal distribution: beta exp(-|x|**beta) / (2 Gamma(1 / beta)).

    >>> import tracegrad as tg
    >>> bool(abs(tg.scipy.stats.gennorm.logpdf(3.0, 1.0) - tg.scipy.stats.laplace.logpdf(3.0)) < 1e-14)
    True
    """,
    shapes=("beta",), valid=_positive,
    logpdf=lambda x, beta: np.log(0.5 * beta) - lgamma(1 / beta) - absolute_power(x, beta),
    cdf=_gennorm_below, sf=lambda x, beta: _gennorm_below(-x, beta),
    ppf=_gennorm_quantile, isf=lambda q, beta: -_gennorm_quantile(q, beta),
    entropy=lambda beta: 1 / beta - np.log(0.5 * beta) + lgamma(1 / beta), mean=lambda beta: 0 * beta,
    median=lambda beta: 0 * beta, var=lambda beta: np.exp(lgamma(3 / beta) - lgamma(1 / beta)),
)  # fmt: skip


def _weibull_var(c: Any) -> Any:
    return gamma_function(1 + 2 / c) - np.square(gamma_function(1 + 1 / c))


weibull_min = Continuous(
    "weibull_min",
    """Weibull's distribution of least values: c x**(c - 1) exp(-x**c) for x >= 0.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.weibull_min.logsf(3.0, 2.0))
    -9.0
    """,
    shapes=("c",), valid=_positive, support=(0.0, math.inf),
    logpdf=lambda x, c: np.log(c) + xlogy(c - 1, x) - x**c,
    cdf=lambda x, c: -np.expm1(-(x**c)), sf=lambda x, c: np.exp(-(x**c)), logcdf=lambda x, c: log1mexp(x**c), logsf=lambda x, c: -(x**c),
    ppf=lambda q, c: (-log1m(q)) ** (1 / c), isf=lambda q, c: (-log(q)) ** (1 / c),
    entropy=lambda c: -_EULER / c - np.log(c) + (_EULER + 1), mean=lambda c: gamma_function(1 + 1 / c), var=_weibull_var,
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Of the beta function's family.


def _beta_entropy(a: Any, b: Any) -> Any:
    return betaln(a, b) + (a - 1) * digamma_rise(a, b) + (b - 1) * digamma_rise(b, a)


beta = Continuous(
    "beta",
    """The beta distribution: x**(a - 1) (1 - x)**(b - 1) / B(a, b) for 0 <= x <= 1.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.beta.mean(1.0, 3.0))
    0.25
    """,
    shapes=("a", "b"), valid=_positive, support=(0.0, 1.0),
    logpdf=lambda x, a, b: xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b),
    cdf=lambda x, a, b: betainc(a, b, x), sf=lambda x, a, b: betaincc(a, b, x),
    ppf=lambda q, a, b: quantiles.betaincinv(a, b, q), isf=lambda q, a, b: quantiles.betainccinv(a, b, q),
    entropy=_beta_entropy, mean=lambda a, b: a / (a + b), var=lambda a, b: a * b / (np.square(a + b) * (a + b + 1)),
)  # fmt: skip


def _f_logpdf(x: Any, n: Any, m: Any) -> Any:
    return (
        0.5 * m * np.log(m) + 0.5 * n * np.log(n) + xlogy(n / 2 - 1, x) - 0.5 * (n + m) * np.log(m + n * x)
        - betaln(n / 2, m / 2)
    )  # fmt: skip


def _f_var(n: Any, m: Any) -> Any:
    return where_above(4, m, lambda m: 2 * np.square(m) * (n + m - 2) / (n * np.square(m - 2) * (m - 4)))


f = Continuous(
    "f",
    """Fisher's F distribution: of the quotient of two sums of `dfn` and `dfd` squares, each by its number.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.f.mean(3.0, 4.0))
    2.0
    """,
    shapes=("dfn", "dfd"), valid=_positive, support=(0.0, math.inf),
    logpdf=_f_logpdf,
    cdf=lambda x, n, m: below(n / 2, m / 2, n * x / (m + n * x), m / (m + n * x)),
    sf=lambda x, n, m: below(n / 2, m / 2, n * x / (m + n * x), m / (m + n * x), upper=True),
    ppf=lambda q, n, m: m * quantiles.betaincinv(n / 2, m / 2, q) / (n * quantiles.betainccinv(m / 2, n / 2, q)),
    isf=lambda q, n, m: m * quantiles.betainccinv(n / 2, m / 2, q) / (n * quantiles.betaincinv(m / 2, n / 2, q)),
    entropy=lambda n, m: (
        np.log(m) - np.log(n) + betaln(n / 2, m / 2) + (1 - n / 2) * digamma(n / 2) - (1 + m / 2) * digamma(m / 2)
        + (n + m) / 2 * digamma((n + m) / 2)
    ),
    mean=lambda n, m: where_above(2, m, lambda m: m / (m - 2)) + 0 * n, var=_f_var,
)  # fmt: skip


def _t_entropy(df: Any) -> Any:
    half = quantiles.like(df / 2, 0.5)
    return 0.5 * (df + 1) * digamma_rise(df / 2, half) + 0.5 * np.log(df) + betaln(df / 2, half)


def _t_quantile(q: Any, df: Any) -> Any:
    found = quantiles.stdtrit(df, q)
    return np.where(np.equal(q, 0), -found, found)  # SciPy's function has inf at zero


t = Continuous(
    "t",
    """Student's t distribution with `df` degrees of freedom.

    >>> import tracegrad as tg
    >>> tg.scipy.stats.t.ppf(0.975, 9).round(6)
    np.float64(2.262157)
    """,
    shapes=("df",), valid=lambda df: _positive(df) & np.isfinite(df),
    logpdf=lambda x, df: quantiles.student_density(df, x),
    cdf=lambda x, df: quantiles.stdtr(df, x), sf=lambda x, df: quantiles.stdtr(df, -x),
    ppf=_t_quantile, isf=lambda q, df: -_t_quantile(q, df),
    entropy=_t_entropy, mean=lambda df: where_above(1, df, lambda df: 0 * df), median=lambda df: 0 * df,
    var=lambda df: np.where(np.greater(df, 1), where_above(2, df, lambda df: df / (df - 2)), math.nan),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Others.

lognorm = Continuous(
    "lognorm",
    """The distribution of exp(s x) where that of x is `norm`.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.lognorm.median(0.5, scale=3.0))
    3.0
    """,
    shapes=("s",), valid=_positive, support=(0.0, math.inf), open_below=True,
    logpdf=lambda x, s: -0.5 * np.square(np.log(x) / s) - np.log(s * x) - _HALF_LOG_TWO_PI,
    cdf=lambda x, s: ndtr(np.log(x) / s), sf=lambda x, s: ndtr(-np.log(x) / s),
    logcdf=lambda x, s: log_ndtr(np.log(x) / s), logsf=lambda x, s: log_ndtr(-np.log(x) / s),
    ppf=lambda q, s: np.exp(s * ndtri(q)), isf=lambda q, s: np.exp(-s * ndtri(q)), median=lambda s: 0 * s + 1.0,
    entropy=lambda s: 0.5 + _HALF_LOG_TWO_PI + np.log(s), mean=lambda s: np.exp(0.5 * np.square(s)),
    var=lambda s: np.expm1(np.square(s)) * np.exp(np.square(s)),
)  # fmt: skip

pareto = Continuous(
    "pareto",
    """Pareto's distribution: b / x**(b + 1) for x >= 1.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.pareto.sf(2.0, 3.0))
    0.125
    """,
    shapes=("b",), valid=_positive, support=(1.0, math.inf),
    logpdf=lambda x, b: np.log(b) - (b + 1) * np.log(x),
    cdf=lambda x, b: -np.expm1(-b * np.log(x)), sf=lambda x, b: x ** (-b),
    logcdf=lambda x, b: log1mexp(b * np.log(x)), logsf=lambda x, b: -b * np.log(x),
    ppf=lambda q, b: np.exp(-log1m(q) / b), isf=lambda q, b: np.exp(-log(q) / b),
    entropy=lambda b: 1 + 1 / b - np.log(b), mean=lambda b: where_above(1, b, lambda b: b / (b - 1)),
    var=lambda b: where_above(2, b, lambda b: b / (np.square(b - 1) * (b - 2))),
)  # fmt: skip
