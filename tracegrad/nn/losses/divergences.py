"""Kullback-Leibler divergences, of logarithms of probabilities, so that none underflows on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.nn.losses.inputs import as_floats, require_numbers, total
from tracegrad.ops.elementwise.casting import astype
from tracegrad.ops.elementwise.products import multiply_keeping_zeros, times_exp
from tracegrad.typing import Array, ArrayLike, Axis


def kl_divergence(
    log_predictions: ArrayLike, targets: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """sum(targets * (log(targets) - log_predictions)) over `axis`.

    Args:
        log_predictions: logarithms of the predicted probabilities, floats [..., n].
        targets: probabilities [..., n]. One of 0 contributes 0, also where it is predicted with probability 0.
        axis: the axes of the distributions.
        where: mask of the entries to include.

    Returns:
        A divergence for each pair of distributions, [...].

    Raises:
        DtypeError: log_predictions that are not floats.

    >>> float(kl_divergence(np.log([0.5, 0.5]), np.array([1.0, 0.0])).round(4))
    0.6931

    Source: Kullback and Leibler, "On Information and Sufficiency", Annals of Mathematical Statistics 22, 1951.
    """
    require_numbers("kl_divergence", where=where)
    (log_p, targets), dtype = as_floats("kl_divergence", log_predictions=log_predictions, targets=targets)
    return astype(total(_terms(log_p, targets), axis, where), dtype)


def kl_divergence_with_log_targets(
    log_predictions: ArrayLike, log_targets: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """`kl_divergence` of targets that are logarithms of probabilities too; -inf is one of 0.

    >>> float(kl_divergence_with_log_targets(np.log([0.5, 0.5]), np.log([0.25, 0.75])).round(4))
    0.1308
    """
    require_numbers("kl_divergence_with_log_targets", where=where)
    (log_p, log_targets), dtype = as_floats(
        "kl_divergence_with_log_targets", log_predictions=log_predictions, log_targets=log_targets
    )
    known = np.greater(log_targets, -np.inf)
    distance = np.where(known, np.where(known, log_targets, 0) - log_p, 0)
    return astype(total(times_exp(distance, log_targets), axis, where), dtype)


def generalized_kl_divergence(
    log_predictions: ArrayLike, targets: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """`kl_divergence` plus sum(exp(log_predictions) - targets): the divergence of distributions that need not sum to 1, never
    negative, and convex in the predictions too.

    >>> float(generalized_kl_divergence(np.log([1.0, 1.0]), np.array([1.0, 2.0])).round(4))
    0.3863

    Source: Boyd and Vandenberghe, "Convex Optimization", 2004, p. 90.
    """
    require_numbers("generalized_kl_divergence", where=where)
    (log_p, targets), dtype = as_floats("generalized_kl_divergence", log_predictions=log_predictions, targets=targets)
    surplus = total(np.exp(log_p) - targets, axis, where)
    return astype(total(_terms(log_p, targets), axis, where) + surplus, dtype)


def convex_kl_divergence(
    log_predictions: ArrayLike, targets: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """`generalized_kl_divergence` by its older name.

    >>> convex_kl_divergence(np.log([0.5, 0.5]), np.array([0.5, 0.5])).item()
    0.0
    """
    return generalized_kl_divergence(log_predictions, targets, axis, where)


def _terms(log_p: Any, targets: Any) -> Any:
    logs = np.log(np.where(np.equal(targets, 0), 1, targets))
    return multiply_keeping_zeros(targets, logs - log_p)
