"""Losses of numbers and of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.arguments import NOT_NEGATIVE, POSITIVE, require_within
from tracegrad.nn.losses.inputs import as_floats, require_fitting, require_numbers, require_same_shape, total
from tracegrad.ops.elementwise.casting import astype
from tracegrad.ops.elementwise.products import times_exp
from tracegrad.typing import Array, ArrayLike, Axis


def _errors(loss: str, predictions: Any, targets: Any) -> tuple[Any, np.dtype[Any]]:
    if targets is None:
        (errors,), dtype = as_floats(loss, predictions=predictions)
        return errors, dtype
    (predictions, targets), dtype = as_floats(loss, predictions=predictions, targets=targets)
    require_fitting(loss, predictions=predictions, targets=targets)
    return predictions - targets, dtype


def squared_error(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """(predictions - targets)**2, element by element. Its mean is the mean squared error.

    Args:
        predictions: floats [...].
        targets: of the same shape; 0 where not given.

    Raises:
        DtypeError: predictions that are not floats.
        ShapeError: targets of another shape.

    >>> squared_error(np.array([1.0, 2.0]), np.array([1.5, 0.0])).tolist()
    [0.25, 4.0]
    """
    if targets is not None:
        require_same_shape("squared_error", predictions=predictions, targets=targets)
    errors, dtype = _errors("squared_error", predictions, targets)
    return astype(np.square(errors), dtype)


def l2_loss(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """Half of `squared_error`, whose derivative is predictions - targets. Arguments and errors are the same.

    >>> l2_loss(np.array([1.0, 2.0]), np.array([1.5, 0.0])).tolist()
    [0.125, 2.0]
    """
    if targets is not None:
        require_same_shape("l2_loss", predictions=predictions, targets=targets)
    errors, dtype = _errors("l2_loss", predictions, targets)
    return astype(0.5 * np.square(errors), dtype)


def huber_loss(predictions: ArrayLike, targets: ArrayLike | None = None, *, delta: ArrayLike = 1.0) -> Array:
    """error**2 / 2 where |error| <= delta, and delta * (|error| - delta / 2) beyond: outliers pull with a force of delta.

    Args:
        predictions: floats [...].
        targets: of a shape that broadcasts to that; 0 where not given.
        delta: where the parabola goes over into lines; above 0.

    Raises:
        ValueError: a delta of 0 or below.
        DtypeError: predictions that are not floats.
        ShapeError: targets that do not broadcast to the predictions.

    >>> huber_loss(np.array([0.5, -3.0])).tolist()
    [0.125, 2.5]

    Source: Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35, 1964.
    """
    require_numbers("huber_loss", delta=delta)
    require_within("huber_loss", POSITIVE, delta=delta)
    errors, dtype = _errors("huber_loss", predictions, targets)
    size = np.abs(errors)
    near = np.minimum(size, delta)
    return astype(0.5 * np.square(near) + delta * (size - near), dtype)


def log_cosh(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """log(cosh(predictions - targets)): about error**2 / 2 for small errors, |error| - log(2) for large ones.

    Args:
        predictions: floats [...].
        targets: of a shape that broadcasts to that; 0 where not given.

    Raises:
        DtypeError: predictions that are not floats.
        ShapeError: targets that do not broadcast to the predictions.

    >>> log_cosh(np.array([0.0, 1000.0])).round(4).tolist()
    [0.0, 999.3069]

    Source: Chen et al., "Log Hyperbolic Cosine Loss Improves Variational Auto-Encoder", 2019.
    """
    errors, dtype = _errors("log_cosh", predictions, targets)
    return astype(np.logaddexp(errors, -errors) - math.log(2), dtype)


def gaussian_nll(mean: ArrayLike, log_variance: ArrayLike, targets: ArrayLike) -> Array:
    """The negative log-likelihood of targets under normal distributions, element by element:
    (log(2 pi) + log_variance + (targets - mean)**2 / exp(log_variance)) / 2. The constant is part of it.

    Args:
        mean: floats [...].
        log_variance: logarithms of the variances, of a shape that broadcasts to that of the mean.
        targets: likewise.

    Raises:
        DtypeError: means that are not floats.
        ShapeError: variances or targets that do not broadcast to the means.

    >>> gaussian_nll(np.array([0.0, 0.0]), np.array([0.0, 2.0]), np.array([1.0, 1.0])).round(4).tolist()
    [1.4189, 1.9866]

    Source: Nix and Weigend, "Estimating the Mean and Variance of the Target Probability Distribution", 1994.
    """
    (mean, log_variance, targets), dtype = as_floats(
        "gaussian_nll", mean=mean, log_variance=log_variance, targets=targets
    )
    require_fitting("gaussian_nll", mean=mean, log_variance=log_variance)
    require_fitting("gaussian_nll", mean=mean, targets=targets)
    distance = times_exp(np.square(targets - mean), -log_variance)
    return astype(0.5 * (math.log(2 * math.pi) + log_variance + distance), dtype)


def cosine_similarity(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: ArrayLike = 0.0,
    axis: Axis = -1,
    where: ArrayLike | None = None,
) -> Array:
    """The cosine of the angle between vectors.

    Args:
        predictions: vectors, floats [..., n].
        targets: vectors of a shape that broadcasts against that.
        epsilon: what squared lengths are taken to be at least. With 0 a vector of zeros gives NaN.
        axis: the axes of the vectors.
        where: mask of the entries to include.

    Returns:
        A similarity for each pair of vectors, [...].

    Raises:
        DtypeError: predictions that are not floats.

    >>> cosine_similarity(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 0.0], [1.0, -1.0]])).tolist()
    [1.0, 0.0]
    """
    require_numbers("cosine_similarity", epsilon=epsilon, where=where)
    require_within("cosine_similarity", NOT_NEGATIVE, epsilon=epsilon)
    (a, b), dtype = as_floats("cosine_similarity", predictions=predictions, targets=targets)
    return astype(_cosine(a, b, epsilon, axis, where), dtype)


def cosine_distance(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: ArrayLike = 0.0,
    axis: Axis = -1,
    where: ArrayLike | None = None,
) -> Array:
    """1 - `cosine_similarity`, with the same arguments.

    >>> cosine_distance(np.array([1.0, 0.0]), np.array([-2.0, 0.0])).tolist()
    2.0
    """
    require_numbers("cosine_distance", epsilon=epsilon, where=where)
    require_within("cosine_distance", NOT_NEGATIVE, epsilon=epsilon)
    (a, b), dtype = as_floats("cosine_distance", predictions=predictions, targets=targets)
    return astype(1.0 - _cosine(a, b, epsilon, axis, where), dtype)


def _cosine(a: Any, b: Any, epsilon: Any, axis: Axis, where: Any) -> Any:
    lengths = [np.sqrt(np.maximum(total(np.square(x), axis, where, True), epsilon)) for x in (a, b)]
    return total((a / lengths[0]) * (b / lengths[1]), axis, where)
