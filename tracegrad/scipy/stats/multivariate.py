"""Distributions of vectors and matrices: `multivariate_normal`, `dirichlet`, `multinomial` and `wishart`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.ops.join import concatenate
from tracegrad.ops.linalg.hermitian import cholesky
from tracegrad.ops.linalg.triangular import solve_triangle
from tracegrad.ops.special.entropy import entr, xlogy
from tracegrad.ops.special.gamma import multigammaln
from tracegrad.ops.special.polygamma import digamma, lgamma
from tracegrad.scipy.stats.base import Frozen, make_public
from tracegrad.scipy.stats.discrete import binom
from tracegrad.typing import Array, ArrayLike


class Multivariate:
    """What these have in common: with parameters alone they are the distribution that has these, and each has an example."""

    def __init__(self, name: str, doc: str) -> None:
        self.name = name
        self.__doc__ = doc
        make_public(self)

    def __call__(self, *args: Any, **kwds: Any) -> Frozen:
        """The distribution with these parameters, whose methods take the rest."""
        return Frozen(self, args, kwds)

    def __repr__(self) -> str:
        return f"<tg.scipy.stats.{self.name}>"


def _log_det(factor: Any) -> Any:
    """Of the matrix with this Cholesky factor."""
    return 2 * np.sum(np.log(np.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)


class MultivariateNormal(Multivariate):
    """See `multivariate_normal`."""

    def _parameters(self, mean: Any, cov: Any) -> tuple[Any, Any]:
        """The mean (d,) and the Cholesky factor (d, d), of a covariance that may be a number, or the variances alone."""
        cov = as_array(cov)
        mean = None if mean is None else np.reshape(as_array(mean), -1) if np.ndim(mean) == 0 else as_array(mean)
        d = mean.shape[-1] if mean is not None else (cov.shape[-1] if np.ndim(cov) else 1)
        if np.ndim(cov) < 2:
            cov = np.eye(d) * cov
        if np.shape(cov) != (d, d) or (mean is not None and np.shape(mean) != (d,)):
            of_mean = "" if mean is None else f" for a mean of shape {np.shape(mean)}"
            raise ShapeError(
                f"multivariate_normal{at(user_source())} got a covariance of shape {np.shape(cov)}{of_mean}; write one of shape (d, d), "
                "the variances (d,), or a number, and for batches tg.vmap"
            )
        return 0.0 if mean is None else mean, cholesky(cov)

    def logpdf(self, x: ArrayLike, mean: ArrayLike | None = None, cov: ArrayLike = 1) -> Array:
        """The logarithm of the density at the vectors `x` (..., d)."""
        center, factor = self._parameters(mean, cov)
        d = factor.shape[-1]
        x = as_array(x)
        if np.ndim(x) == 0 or (d == 1 and np.shape(x)[-1] != 1):
            x = np.expand_dims(x, -1)
        if np.shape(x)[-1] != d:
            raise ShapeError(
                f"multivariate_normal.logpdf{at(user_source())} got x of shape {np.shape(x)} for {d} dimensions; write x (..., {d})"
            )
        gap = x - center
        shape = np.shape(gap)[:-1]
        white = solve_triangle(factor, np.reshape(gap, (-1, d)).T)
        square = np.reshape(np.sum(np.square(white), axis=0), shape)
        return -0.5 * (square + _log_det(factor) + d * math.log(2 * math.pi))

    def pdf(self, x: ArrayLike, mean: ArrayLike | None = None, cov: ArrayLike = 1) -> Array:
        """The density."""
        return np.exp(self.logpdf(x, mean, cov))

    def entropy(self, mean: ArrayLike | None = None, cov: ArrayLike = 1) -> Array:
        """The entropy, in nats."""
        _, factor = self._parameters(mean, cov)
        return 0.5 * (_log_det(factor) + factor.shape[-1] * (1 + math.log(2 * math.pi)))


multivariate_normal = MultivariateNormal(
    "multivariate_normal",
    """The normal distribution of vectors, with a mean (d,), zero if not given, and a covariance (d, d), the variances (d,), or a number.

    Methods: `logpdf` and `pdf` of vectors (..., d), and `entropy`. Raises LinAlgError for a covariance that is not positive
    definite: SciPy's `allow_singular` is not here, since there the density has no derivative, and neither is `cdf`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.scipy.stats.multivariate_normal.logpdf(np.zeros(2), cov=np.diag([1.0, 4.0])).round(6)
    np.float64(-2.531024)
    """,
)


class Dirichlet(Multivariate):
    """See `dirichlet`."""

    def _full(self, x: ArrayLike, alpha: Any) -> Any:
        """Fractions (k, ...), of which the last may be left out."""
        x = as_array(x)
        k = np.shape(alpha)[0]
        if np.ndim(alpha) != 1 or np.ndim(x) == 0 or np.shape(x)[0] not in (k - 1, k):
            raise ShapeError(
                f"dirichlet{at(user_source())} got x of shape {np.shape(x)} for alpha of shape {np.shape(alpha)}; write alpha (k,) and "
                "x (k, ...), or x (k - 1, ...) without the last"
            )
        return x if np.shape(x)[0] == k else concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)], axis=0)

    def logpdf(self, x: ArrayLike, alpha: ArrayLike) -> Array:
        """The logarithm of the density at fractions `x` (k, ...), or (k - 1, ...) without the last; -inf where they are negative
        or do not sum to one."""
        alpha = as_array(alpha)
        x = self._full(x, alpha)
        powers = np.reshape(alpha, (-1,) + (1,) * (np.ndim(x) - 1))
        inside = np.all(np.greater_equal(x, 0), axis=0) & np.less(np.absolute(np.sum(x, axis=0) - 1), 1e-6)
        safe = np.where(np.greater_equal(x, 0), x, 1.0)
        found = np.sum(xlogy(powers - 1, safe), axis=0) + lgamma(np.sum(alpha)) - np.sum(lgamma(alpha))
        found = np.where(inside, found, -math.inf)
        return np.where(np.all(np.greater(alpha, 0)), found, math.nan)

    def pdf(self, x: ArrayLike, alpha: ArrayLike) -> Array:
        """The density."""
        return np.exp(self.logpdf(x, alpha))

    def mean(self, alpha: ArrayLike) -> Array:
        """The means (k,)."""
        return np.divide(alpha, np.sum(alpha))

    def var(self, alpha: ArrayLike) -> Array:
        """The variances (k,)."""
        part = self.mean(alpha)
        return part * (1 - part) / (np.sum(alpha) + 1)

    def cov(self, alpha: ArrayLike) -> Array:
        """The covariance (k, k)."""
        part = self.mean(alpha)
        return (np.diag(part) - np.outer(part, part)) / (np.sum(alpha) + 1)

    def entropy(self, alpha: ArrayLike) -> Array:
        """The entropy, in nats."""
        alpha = as_array(alpha)
        total = np.sum(alpha)
        norm = np.sum(lgamma(alpha)) - lgamma(total)
        return norm + (total - alpha.shape[0]) * digamma(total) - np.sum((alpha - 1) * digamma(alpha))


dirichlet = Dirichlet(
    "dirichlet",
    """Dirichlet's distribution of fractions that sum to one: the product of x**(alpha - 1), normalised.

    Methods: `logpdf` and `pdf` of fractions, `mean`, `var`, `cov` and `entropy`. SciPy raises for fractions outside of the simplex, where
    the density is zero here.

    >>> import numpy as np, tracegrad as tg
    >>> tg.scipy.stats.dirichlet.mean(np.array([1.0, 3.0])).tolist()
    [0.25, 0.75]
    """,
)


class Multinomial(Multivariate):
    """See `multinomial`."""

    def logpmf(self, x: ArrayLike, n: ArrayLike, p: ArrayLike) -> Array:
        """The logarithm of the probability of the counts `x` (..., k); -inf where they are no counts or do not sum to `n`."""
        x, p = as_array(x) * 1.0, as_array(p)
        counts = np.greater_equal(x, 0) & np.equal(np.floor(x), x)
        inside = np.all(counts, axis=-1) & np.equal(np.sum(x, axis=-1), n)
        safe = np.where(counts, x, 0.0)
        found = lgamma(np.add(n, 1.0)) + np.sum(xlogy(safe, p) - lgamma(safe + 1), axis=-1)
        found = np.where(inside, found, -math.inf)
        valid = (
            np.all(np.greater_equal(p, 0), axis=-1)
            & np.less(np.absolute(np.sum(p, axis=-1) - 1), 1e-5)
            & np.greater_equal(n, 0)
        )
        return np.where(valid, found, math.nan)

    def pmf(self, x: ArrayLike, n: ArrayLike, p: ArrayLike) -> Array:
        """The probability."""
        return np.exp(self.logpmf(x, n, p))

    def mean(self, n: ArrayLike, p: ArrayLike) -> Array:
        """The means (..., k)."""
        return np.expand_dims(n, -1) * as_array(p)

    def cov(self, n: ArrayLike, p: ArrayLike) -> Array:
        """The covariances (..., k, k)."""
        p = as_array(p)
        diagonal = np.eye(np.shape(p)[-1]) * np.expand_dims(p, -1)
        outer = np.expand_dims(p, -1) * np.expand_dims(p, -2)
        return np.expand_dims(n, (-2, -1)) * (diagonal - outer)

    def entropy(self, n: int, p: ArrayLike) -> Array:
        """The entropy, in nats, of a plain number of trials."""
        p = as_array(p)
        counts = np.arange(1.0, int(n) + 1)
        sums = np.sum(binom.pmf(counts, n, np.expand_dims(p, -1)) * lgamma(counts + 1), axis=(-2, -1))
        return n * np.sum(entr(p), axis=-1) - lgamma(n + 1.0) + sums


multinomial = Multinomial(
    "multinomial",
    """How often each of k outcomes is that of `n` trials, with the probabilities `p` (..., k).

    Methods: `logpmf` and `pmf` of counts (..., k), `mean`, `cov`, and `entropy`. All of `p` counts: SciPy takes what the others
    leave for the last of them.

    >>> import numpy as np, tracegrad as tg
    >>> float(tg.scipy.stats.multinomial.pmf(np.array([1, 1]), 2, np.array([0.5, 0.5])).round(9))
    0.5
    """,
)


class Wishart(Multivariate):
    """See `wishart`."""

    def _factor(self, scale: ArrayLike) -> Any:
        scale = as_array(scale)
        if np.ndim(scale) < 2:
            scale = np.diag(np.reshape(scale, -1))
        if np.ndim(scale) != 2 or np.shape(scale)[0] != np.shape(scale)[1]:
            raise ShapeError(
                f"wishart{at(user_source())} got a scale of shape {np.shape(scale)}; write one of shape (d, d)"
            )
        return cholesky(scale)

    def logpdf(self, x: ArrayLike, df: ArrayLike, scale: ArrayLike) -> Array:
        """The logarithm of the density at the matrices `x` (d, d), or (d, d, n) as in SciPy."""
        factor = self._factor(scale)
        d = factor.shape[0]
        x = as_array(x)
        if np.shape(x)[:2] != (d, d) and not (d == 1 and np.ndim(x) < 2):
            raise ShapeError(
                f"wishart.logpdf{at(user_source())} got x of shape {np.shape(x)} for {d} dimensions; write x ({d}, {d}) or ({d}, {d}, n)"
            )
        x = np.reshape(x, (1, 1, *np.shape(x))) if np.ndim(x) < 2 else x
        batch = np.ndim(x) == 3
        roots = cholesky(np.moveaxis(x, 2, 0) if batch else x)
        whole = np.moveaxis(roots, 0, 1).reshape(d, -1) if batch else roots
        white = solve_triangle(factor, whole)
        squares = np.square(white)
        trace = np.sum(np.reshape(squares, (d, -1, d)), axis=(0, 2)) if batch else np.sum(squares)
        half = np.multiply(df, 0.5)
        norm = half * d * math.log(2) + half * _log_det(factor) + multigammaln(half, d)
        return (half - 0.5 * (d + 1)) * _log_det(roots) - 0.5 * trace - norm

    def pdf(self, x: ArrayLike, df: ArrayLike, scale: ArrayLike) -> Array:
        """The density."""
        return np.exp(self.logpdf(x, df, scale))

    def mean(self, df: ArrayLike, scale: ArrayLike) -> Array:
        """The mean (d, d)."""
        return np.multiply(df, scale)

    def mode(self, df: ArrayLike, scale: ArrayLike) -> Array:
        """Where the density is greatest (d, d), for df of d + 1 and more."""
        return (np.subtract(df, np.shape(scale)[0] + 1)) * as_array(scale)

    def var(self, df: ArrayLike, scale: ArrayLike) -> Array:
        """The variances of the elements (d, d)."""
        diagonal = np.diagonal(as_array(scale))
        return df * (np.square(scale) + np.outer(diagonal, diagonal))

    def entropy(self, df: ArrayLike, scale: ArrayLike) -> Array:
        """The entropy, in nats."""
        factor = self._factor(scale)
        d, half = factor.shape[0], np.multiply(df, 0.5)
        slopes = sum([digamma(half - 0.5 * i) for i in range(d)])
        norm = 0.5 * (d + 1) * (_log_det(factor) + d * math.log(2)) + multigammaln(half, d)
        return norm - (half - 0.5 * (d + 1)) * slopes + half * d


wishart = Wishart(
    "wishart",
    """Wishart's distribution of positive definite matrices, with `df` degrees of freedom and a scale (d, d).

    Methods: `logpdf` and `pdf` of matrices, `mean`, `mode`, `var` and `entropy`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.scipy.stats.wishart.mean(3, np.eye(2)).tolist()
    [[3.0, 0.0], [0.0, 3.0]]
    """,
)
