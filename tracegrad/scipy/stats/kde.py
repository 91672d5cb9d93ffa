"""The density of which a sample is, by normal distributions around its points: `gaussian_kde`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.boxes import public
from tracegrad.core.errors import ShapeError, at, clip, user_source
from tracegrad.core.trace import as_array
from tracegrad.ops.elementwise.error_function import ndtr
from tracegrad.ops.index import take
from tracegrad.ops.linalg.hermitian import cholesky
from tracegrad.ops.linalg.triangular import solve_triangle
from tracegrad.ops.reduce.logsumexp import logsumexp
from tracegrad.random.choices import choice
from tracegrad.random.keys import split
from tracegrad.random.vectors import multivariate_normal
from tracegrad.typing import Array, ArrayLike


def _columns(x: ArrayLike) -> Any:
    """Points (d, m), of numbers or of one point too."""
    x = as_array(x)
    return np.reshape(x, (1, -1)) if np.ndim(x) < 2 else x


@public
def _points(x: ArrayLike, d: int) -> Any:
    x = _columns(x)
    if np.shape(x)[0] == 1 and np.shape(x)[1] == d:
        x = np.reshape(x, (d, 1))
    if np.ndim(x) != 2 or np.shape(x)[0] != d:
        raise ShapeError(
            f"gaussian_kde{at(user_source())} got points of shape {np.shape(x)} for {d} dimensions; write points ({d}, m)"
        )
    return x


@public
def _weighted(dataset: ArrayLike, weights: ArrayLike | None) -> tuple[Any, Any, Any]:
    """The sample (d, n), weights that sum to one, and how many points without weights are worth as much."""
    dataset = _columns(dataset) * 1.0
    n = np.shape(dataset)[1]
    if np.size(dataset) < 2:
        raise ValueError(f"gaussian_kde{at(user_source())} needs more than one point, got shape {np.shape(dataset)}")
    if weights is None:
        weights = np.ones(n, dataset.dtype)
    if np.shape(weights) != (n,):
        raise ShapeError(
            f"gaussian_kde{at(user_source())} got weights of shape {np.shape(weights)} for {n} points; write weights ({n},)"
        )
    weights = np.divide(weights, np.sum(weights))
    return dataset, weights, 1 / np.sum(np.square(weights))


@public
def _covariance(dataset: Any, weights: Any, neff: Any, factor: Any) -> Any:
    gap = dataset - np.sum(dataset * weights, axis=1, keepdims=True)
    return (gap * weights) @ gap.T / (1 - 1 / neff) * np.square(factor)


def _log_normal(points: Any, centers: Any, covariance: Any) -> Any:
    """The logarithms (m, n) of normal densities around centers (d, n) at points (d, m)."""
    root = cholesky(covariance)
    d = root.shape[0]
    gap = np.expand_dims(solve_triangle(root, points), 2) - np.expand_dims(solve_triangle(root, centers), 1)
    return -0.5 * np.sum(np.square(gap), axis=0) - np.sum(np.log(np.diagonal(root))) - 0.5 * d * math.log(2 * math.pi)


@public
def _evaluate(points: Any, dataset: Any, weights: Any, covariance: Any) -> Any:
    return np.exp(_log_normal(points, dataset, covariance)) @ weights


@public
def _logpdf(points: Any, dataset: Any, weights: Any, covariance: Any) -> Any:
    return logsumexp(_log_normal(points, dataset, covariance), axis=1, b=weights)


@public
def _box(low: Any, high: Any, dataset: Any, weights: Any, covariance: Any) -> Any:
    spread = np.sqrt(covariance[0, 0])
    return np.sum(weights * (ndtr((high - dataset[0]) / spread) - ndtr((low - dataset[0]) / spread)))


@public
def _product(centers: Any, weights: Any, dataset: Any, own: Any, covariance: Any) -> Any:
    return weights @ np.exp(_log_normal(centers, dataset, covariance)) @ own


@public
def _moved(dataset: Any, chosen: Any, gaps: Any) -> Any:
    return take(dataset, chosen, axis=1) + np.moveaxis(gaps, -1, 0)


class gaussian_kde:
    """A density as the mean of normal ones around the points of a sample.

    Args:
        dataset: the sample, (n,) or (d, n).
        bw_method: the width of the normal densities in units of the sample's: "scott" (n**(-1 / (d + 4)), if not given),
            "silverman", a number, or a function of this object.
        weights: of the points, (n,).

    Attributes: `dataset`, `weights` (which sum to one), `neff`, `factor`, `covariance` (d, d) and `inv_cov`. Points are (d, m), or (m,) in one
    dimension, and results (m,). There are derivatives in points, sample, weights and width; in a sample that is traced the
    covariance is traced too. Raises ShapeError for shapes that do not fit, and LinAlgError for samples that lie in a plane.

    >>> import numpy as np, tracegrad as tg
    >>> kde = tg.scipy.stats.gaussian_kde(np.array([0.0, 1.0, 3.0]))
    >>> bool(abs(kde.integrate_box_1d(-50.0, 50.0) - 1) < 1e-12)
    True
    >>> bool(tg.grad(lambda x: kde.logpdf(x)[0])(-2.0) > 0)
    True
    """

    def __init__(self, dataset: ArrayLike, bw_method: Any = None, weights: ArrayLike | None = None) -> None:
        self.dataset, self.weights, self.neff = _weighted(dataset, weights)
        self.d, self.n = np.shape(self.dataset)
        if bw_method is None or bw_method == "scott":
            self.factor = self.scotts_factor()
        elif type(bw_method) is str and bw_method == "silverman":
            self.factor = self.silverman_factor()
        elif callable(bw_method):
            self.factor = bw_method(self)
        elif type(bw_method) is not str and np.ndim(bw_method) == 0:
            self.factor = bw_method
        else:
            raise ValueError(
                f"gaussian_kde{at(user_source())} has no bw_method={clip(repr(bw_method))}; write 'scott', 'silverman', a number or a function"
            )
        self.covariance = _covariance(self.dataset, self.weights, self.neff, self.factor)

    @property
    def inv_cov(self) -> Array:
        """The inverse of the covariance (d, d)."""
        return public(np.linalg.inv)(self.covariance)

    def scotts_factor(self) -> Array:
        """D. W. Scott's width, neff**(-1 / (d + 4))."""
        return self.neff ** (-1.0 / (self.d + 4))

    def silverman_factor(self) -> Array:
        """B. W. Silverman's width, (neff (d + 2) / 4)**(-1 / (d + 4))."""
        return (self.neff * (self.d + 2) / 4.0) ** (-1.0 / (self.d + 4))

    def _of(self, function: Callable[..., Any], points: ArrayLike) -> Array:
        return function(_points(points, self.d), self.dataset, self.weights, self.covariance)

    def evaluate(self, points: ArrayLike) -> Array:
        """The density at points."""
        return self._of(_evaluate, points)

    __call__ = pdf = evaluate

    def logpdf(self, x: ArrayLike) -> Array:
        """The logarithm of the density, also where that is less than there are numbers for."""
        return self._of(_logpdf, x)

    def integrate_box_1d(self, low: ArrayLike, high: ArrayLike) -> Array:
        """The probability between two numbers, in one dimension."""
        if self.d != 1:
            raise ShapeError(f"integrate_box_1d{at(user_source())} is for one dimension, and this density has {self.d}")
        return _box(low, high, self.dataset, self.weights, self.covariance)

    def integrate_gaussian(self, mean: ArrayLike, cov: ArrayLike) -> Array:
        """The integral of the product with the normal density of this mean (d,) and covariance (d, d)."""
        total = np.add(self.covariance, np.reshape(cov, (self.d, self.d)))
        return _product(np.reshape(mean, (self.d, 1)), np.ones(1), self.dataset, self.weights, total)

    def integrate_kde(self, other: gaussian_kde) -> Array:
        """The integral of the product with another density."""
        if other.d != self.d:
            raise ShapeError(
                f"integrate_kde{at(user_source())} is for densities of one dimension, got {self.d} and {other.d}"
            )
        return _product(
            other.dataset, other.weights, self.dataset, self.weights, np.add(self.covariance, other.covariance)
        )

    def resample(self, key: Any, shape: tuple[int, ...] = ()) -> Array:
        """Points (d, *shape) drawn from the density by a random key, as jax's `gaussian_kde` has it."""
        of_points, of_gaps = split(key)
        chosen = choice(of_points, self.n, shape, p=self.weights)
        center = np.zeros(self.d, self.dataset.dtype)
        gaps = multivariate_normal(of_gaps, center, self.covariance, shape, self.dataset.dtype)
        return _moved(self.dataset, chosen, gaps)
