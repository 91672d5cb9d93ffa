"""Cross-entropies of logits, with optax's names, arguments and values. Computed from the logits themselves, so that no
probability underflows on the way; a logit of -inf (a class that is masked out) leaves values and gradients finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.types import number_kind
from tracegrad.nn.activations import log_softmax, logsumexp
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
    labels = _labels_like(logits, labels, "softmax_cross_entropy")
    where = _with_axes(where, logits, axis)
    terms = multiply_keeping_zeros(labels, log_softmax(logits, axis, where))
    if where is not None:
        terms = np.where(where, terms, 0)
    return -np.sum(terms, axis if axis is None or isinstance(axis, int) else tuple(axis))


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
    _check_logits(logits, name)
    labels = np.add(labels, 0)
    if number_kind(labels.dtype) not in "iu":
        raise DtypeError(
            f"{name} takes labels of an integer dtype, got {labels.dtype.name}; write labels.astype(int), or use "
            "softmax_cross_entropy for distributions over the classes"
        )
    where = _with_axes(where, logits, axis)
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
    if labels.shape != expected:
        raise ShapeError(
            f"{name}: logits of shape {logits.shape} with classes on axis {axis} need labels of shape {expected}, got "
            f"{labels.shape}"
        )
    places = np.expand_dims(labels, axis)
    if where is None:
        return -np.squeeze(np.take_along_axis(log_softmax(logits, axis), places, axis), axis)
    loss = logsumexp(logits, axis, where=where) - np.squeeze(np.take_along_axis(logits, places, axis), axis)
    return np.where(np.any(where, axis), loss, 0)


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
    return binary_cross_entropy(logits, _labels_like(logits, labels, "sigmoid_binary_cross_entropy"))


def _check_logits(logits: Any, name: str) -> None:
    dtype = np.dtype(float) if isinstance(logits, float) else getattr(logits, "dtype", None)
    if dtype is None or number_kind(dtype) != "f":
        got = type(logits).__name__ if dtype is None else dtype.name
        raise DtypeError(f"{name} takes logits of a floating dtype, got {got}; write logits.astype(float)")


def _labels_like(logits: Any, labels: Any, name: str) -> Any:
    """The labels in a floating dtype: that of the logits, for integers and booleans."""
    _check_logits(logits, name)
    labels = np.positive(labels) if isinstance(labels, list) else labels
    kind = getattr(labels, "dtype", None)
    return labels if kind is None or number_kind(kind) == "f" else labels.astype(logits.dtype)


def _with_axes(where: Any, logits: Any, axis: Axis) -> Any:
    """A mask of examples as one that broadcasts against the logits."""
    if where is None or np.ndim(where) == logits.ndim or axis is None:
        return where
    return np.expand_dims(where, axis if isinstance(axis, int) else tuple(axis))
