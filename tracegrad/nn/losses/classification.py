"""Cross-entropies of logits, with optax's names, arguments and values. Computed from the logits themselves, so that no
probability underflows on the way; a logit of -inf (a class that is masked out) leaves values and gradients finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.arguments import NOT_NEGATIVE, SHARE, require_within
from tracegrad.nn.activations import log_sigmoid, log_softmax, logsumexp, softmax
from tracegrad.nn.losses.inputs import as_floats, class_labels, require_numbers, total, with_axes
from tracegrad.ops.elementwise.casting import astype
from tracegrad.ops.elementwise.products import binary_cross_entropy, multiply_keeping_zeros
from tracegrad.typing import Array, ArrayLike, Axis


def softmax_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """-sum(labels * log_softmax(logits)) over `axis`.

    Args:
        logits: unnormalised log-probabilities, [..., classes].
        labels: a distribution over the classes for each example, of a shape that broadcasts to that of the logits. A
            label of 0 contributes 0, also where its class has probability 0.
        axis: the axes of the classes.
        where: mask of the entries to include, of the logits' shape or without the axes of the classes.

    Returns:
        The loss of each example, [...].

    Raises:
        DtypeError: logits that are not floats.

    >>> logits = np.array([[1.2, -0.8, -0.5], [0.9, -1.2, -np.inf]])
    >>> softmax_cross_entropy(logits, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).round(4).tolist()
    [0.2761, 2.2155]
    """
    require_numbers("softmax_cross_entropy", where=where)
    (logits, labels), dtype = as_floats("softmax_cross_entropy", logits=logits, labels=labels)
    return astype(_cross_entropy(logits, labels, axis, with_axes(where, np.shape(logits), axis)), dtype)


def safe_softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """`softmax_cross_entropy` over the last axis, which here is as safe: optax has a second function, by this name, for logits
    of -inf.

    >>> float(safe_softmax_cross_entropy(np.array([0.0, 0.0, -np.inf]), np.array([1.0, 0.0, 0.0])).round(4))
    0.6931
    """
    return softmax_cross_entropy(logits, labels)


def _cross_entropy(logits: Any, labels: Any, axis: Axis, where: Any) -> Any:
    terms = multiply_keeping_zeros(labels, log_softmax(logits, axis, where))
    return -total(terms, axis, where)


def softmax_cross_entropy_with_integer_labels(
    logits: ArrayLike, labels: ArrayLike, axis: int | Sequence[int] = -1, where: ArrayLike | None = None
) -> Array:
    """-log_softmax(logits)[label] for each example.

    Args:
        logits: unnormalised log-probabilities, [..., classes].
        labels: the right class of each example, integers [...].
        axis: the axis of the classes. With several, a label is an index into them flattened in the order given.
        where: mask of the entries to include, of the logits' shape or without the axes of the classes.

    Returns:
        The loss of each example, [...]; 0 for one that `where` leaves out.

    Raises:
        DtypeError: logits that are not floats, labels that are not integers.

    >>> logits = np.array([[1.2, -0.8, -0.5], [0.9, -1.2, 1.1]])
    >>> softmax_cross_entropy_with_integer_labels(logits, np.array([0, 1])).round(4).tolist()
    [0.2761, 2.9518]
    """
    name = "softmax_cross_entropy_with_integer_labels"
    require_numbers(name, where=where)
    (logits,), dtype = as_floats(name, logits=logits)
    where = with_axes(where, np.shape(logits), axis)
    ndim = logits.ndim
    if not isinstance(axis, int):
        # The axes of the classes as one, at the end.
        classes = [a % ndim for a in axis]
        order = [a for a in range(ndim) if a not in classes] + classes
        count = ndim - len(classes)
        if where is not None:
            where = np.broadcast_to(where, logits.shape)
            where = np.reshape(np.transpose(where, order), (*[logits.shape[a] for a in order[:count]], -1))
        logits = np.reshape(np.transpose(logits, order), (*[logits.shape[a] for a in order[:count]], -1))
        axis = -1
    expected = tuple([n for a, n in enumerate(logits.shape) if a != axis % logits.ndim])
    labels = class_labels(name, labels, expected, f"logits of shape {logits.shape} with classes on axis {axis}")
    places = np.expand_dims(labels, axis)
    if where is None:
        return astype(-np.squeeze(np.take_along_axis(log_softmax(logits, axis), places, axis), axis), dtype)
    loss = logsumexp(logits, axis, where=where) - np.squeeze(np.take_along_axis(logits, places, axis), axis)
    return astype(np.where(np.any(where, axis), loss, 0), dtype)


def poly_loss_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: ArrayLike = 2.0,
    axis: Axis = -1,
    where: ArrayLike | None = None,
) -> Array:
    """`softmax_cross_entropy` + epsilon * sum(labels * (1 - softmax(logits))).

    Args:
        logits: unnormalised log-probabilities, [..., classes].
        labels: a distribution over the classes for each example.
        epsilon: weight of the second term: 2 for images and -1 for detection in the paper.
        axis: the axes of the classes.
        where: mask of the entries to include, of the logits' shape or without the axes of the classes.

    Returns:
        The loss of each example, [...].

    Raises:
        DtypeError: logits that are not floats.

    >>> float(poly_loss_cross_entropy(np.array([0.0, 0.0]), np.array([1.0, 0.0])).round(4))
    1.6931

    Source: Leng et al., "PolyLoss", ICLR 2022, arXiv:2204.12511.
    """
    require_numbers("poly_loss_cross_entropy", epsilon=epsilon, where=where)
    (logits, labels), dtype = as_floats("poly_loss_cross_entropy", logits=logits, labels=labels)
    where = with_axes(where, np.shape(logits), axis)
    missed = total(labels * (1 - softmax(logits, axis, where)), axis, where)
    return astype(_cross_entropy(logits, labels, axis, where) + epsilon * missed, dtype)


def sigmoid_binary_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """-labels * log(sigmoid(logits)) - (1 - labels) * log(1 - sigmoid(logits)), element by element.

    Args:
        logits: unnormalised log-probabilities.
        labels: probabilities, or 0 and 1, of a shape that broadcasts against that of the logits.

    Raises:
        DtypeError: logits that are not floats.

    >>> sigmoid_binary_cross_entropy(np.array([0.0, 1000.0, -1000.0]), np.array([1, 1, 1])).round(4).tolist()
    [0.6931, 0.0, 1000.0]
    """
    (logits, labels), dtype = as_floats("sigmoid_binary_cross_entropy", logits=logits, labels=labels)
    return astype(binary_cross_entropy(logits, labels), dtype)


def sigmoid_focal_loss(
    logits: ArrayLike, labels: ArrayLike, *, alpha: ArrayLike | None = None, gamma: ArrayLike = 2.0
) -> Array:
    """`sigmoid_binary_cross_entropy` times (1 - p)**gamma, where p is the probability of what is right: easy examples count for
    little.

    Args:
        logits: unnormalised log-probabilities.
        labels: 0 and 1, or probabilities, of a shape that broadcasts against that of the logits.
        alpha: weight of the positive examples, from 0 to 1, with 1 - alpha for the negative ones; none where not given.
        gamma: how much the easy ones are played down; 0 for not at all.

    Raises:
        DtypeError: logits that are not floats.
        ValueError: an alpha that is not from 0 to 1, or a gamma below 0.

    >>> sigmoid_focal_loss(np.array([0.0, 4.0, 1000.0]), np.array([1, 1, 1])).round(6).tolist()
    [0.173287, 6e-06, 0.0]

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, arXiv:1708.02002.
    """
    require_numbers("sigmoid_focal_loss", alpha=alpha, gamma=gamma)
    require_within("sigmoid_focal_loss", SHARE, alpha=alpha)
    require_within("sigmoid_focal_loss", NOT_NEGATIVE, gamma=gamma)
    (logits, labels), dtype = as_floats("sigmoid_focal_loss", logits=logits, labels=labels)
    # log(1 - p), of which the power is taken: where p rounds to 1 its own would have no derivative.
    both = np.stack(np.broadcast_arrays(log_sigmoid(logits), log_sigmoid(-logits)), -1)
    missed = logsumexp(both, -1, np.stack(np.broadcast_arrays(1 - labels, labels), -1))
    loss = binary_cross_entropy(logits, labels) * np.exp(gamma * missed)
    if alpha is not None:
        loss = (alpha * labels + (1 - alpha) * (1 - labels)) * loss
    return astype(loss, dtype)


def smooth_labels(labels: ArrayLike, alpha: ArrayLike, *, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """(1 - alpha) * labels + alpha / classes: labels that are never certain, for `softmax_cross_entropy`.

    Args:
        labels: distributions over the classes, floats [..., classes].
        alpha: the share that is dealt out evenly, from 0 to 1.
        axis: the axes of the classes.
        where: mask of the classes that count.

    Raises:
        DtypeError: labels that are not floats.
        ValueError: an alpha that is not from 0 to 1.

    >>> smooth_labels(np.array([0.0, 1.0, 0.0, 0.0]), 0.2).round(2).tolist()
    [0.05, 0.85, 0.05, 0.05]

    Source: Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", NeurIPS 2019, arXiv:1906.02629.
    """
    require_numbers("smooth_labels", alpha=alpha, where=where)
    require_within("smooth_labels", SHARE, alpha=alpha)
    (labels,), dtype = as_floats("smooth_labels", labels=labels)
    axes = axis if axis is None or isinstance(axis, int) else tuple(axis)
    count = np.sum(np.broadcast_to(True if where is None else where, np.shape(labels)), axes, keepdims=True)
    return astype((1 - alpha) * labels + alpha / count.astype(labels.dtype), dtype)
