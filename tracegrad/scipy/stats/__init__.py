"""scipy.stats' distributions with derivatives in numbers and parameters, under every transform and on both backends.

Names, parameters and their order, `loc` and `scale` are SciPy's, and so are values. A distribution has the methods `pdf` and `logpdf` (of
counts `pmf` and `logpmf`), `cdf`, `sf`, `logcdf`, `logsf`, `ppf`, `isf`, `interval`, `entropy`, `mean`, `median`, `var`, `std` and
`support`; called with parameters alone it is the distribution that has these. Numbers in float32 are computed in float32, where SciPy
takes float64 for all. SciPy's own objects take nothing that is traced: `tg.numpyize` makes copies of plain code in which they are these.
"""

from tracegrad.core.boxes import accept_jax
from tracegrad.scipy.stats.circular import vonmises as vonmises
from tracegrad.scipy.stats.circular import wrapcauchy as wrapcauchy
from tracegrad.scipy.stats.continuous import beta as beta
from tracegrad.scipy.stats.continuous import cauchy as cauchy
from tracegrad.scipy.stats.continuous import chi2 as chi2
from tracegrad.scipy.stats.continuous import expon as expon
from tracegrad.scipy.stats.continuous import f as f
from tracegrad.scipy.stats.continuous import gamma as gamma
from tracegrad.scipy.stats.continuous import gennorm as gennorm
from tracegrad.scipy.stats.continuous import gumbel_l as gumbel_l
from tracegrad.scipy.stats.continuous import gumbel_r as gumbel_r
from tracegrad.scipy.stats.continuous import invgamma as invgamma
from tracegrad.scipy.stats.continuous import laplace as laplace
from tracegrad.scipy.stats.continuous import logistic as logistic
from tracegrad.scipy.stats.continuous import lognorm as lognorm
from tracegrad.scipy.stats.continuous import norm as norm
from tracegrad.scipy.stats.continuous import pareto as pareto
from tracegrad.scipy.stats.continuous import rayleigh as rayleigh
from tracegrad.scipy.stats.continuous import t as t
from tracegrad.scipy.stats.continuous import uniform as uniform
from tracegrad.scipy.stats.continuous import weibull_min as weibull_min
from tracegrad.scipy.stats.discrete import bernoulli as bernoulli
from tracegrad.scipy.stats.discrete import betabinom as betabinom
from tracegrad.scipy.stats.discrete import binom as binom
from tracegrad.scipy.stats.discrete import geom as geom
from tracegrad.scipy.stats.discrete import nbinom as nbinom
from tracegrad.scipy.stats.discrete import poisson as poisson
from tracegrad.scipy.stats.kde import gaussian_kde as gaussian_kde
from tracegrad.scipy.stats.multivariate import dirichlet as dirichlet
from tracegrad.scipy.stats.multivariate import multinomial as multinomial
from tracegrad.scipy.stats.multivariate import multivariate_normal as multivariate_normal
from tracegrad.scipy.stats.multivariate import wishart as wishart
from tracegrad.scipy.stats.samples import mode, rankdata, sem
from tracegrad.scipy.stats.truncated import truncnorm as truncnorm

__all__ = [
    "bernoulli", "beta", "betabinom", "binom", "cauchy", "chi2", "dirichlet", "expon", "f", "gamma", "gaussian_kde", "gennorm", "geom",
    "gumbel_l", "gumbel_r", "invgamma", "laplace", "logistic", "lognorm", "mode", "multinomial", "multivariate_normal", "nbinom",
    "norm", "pareto", "poisson", "rankdata", "rayleigh", "sem", "t", "truncnorm", "uniform", "vonmises", "weibull_min", "wishart",
    "wrapcauchy",
]  # fmt: skip

accept_jax(globals(), ["mode", "rankdata", "sem"])
