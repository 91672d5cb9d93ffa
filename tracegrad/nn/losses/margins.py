"""Losses that ask for a margin: hinges, perceptrons, sparsemax, and what Fenchel and Young make of any maximum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import require_callable
from tracegrad.nn.activations import sparse_plus
from tracegrad.nn.losses.inputs import as_floats, class_labels, require_fitting, require_numbers, require_same_shape
from tracegrad.ops.elementwise.casting import astype
from tracegrad.transforms.vmap import vmap
from tracegrad.typing import Array, ArrayLike


def hinge_loss(predictor_outputs: ArrayLike, targets: ArrayLike) -> Array:
    """max(0, 1 - predictor_outputs * targets), element by element.

    Args:
        predictor_outputs: scores, floats [...].
        targets: -1 or 1, of a shape that broadcasts to that.

    Raises:
        DtypeError: scores that are not floats.
        ShapeError: targets that do not broadcast to the scores.

    >>> hinge_loss(np.array([2.0, 0.5, -1.0]), np.array([1, 1, 1])).tolist()
    [0.0, 0.5, 2.0]
    """
    (scores, targets), dtype = as_floats("hinge_loss", predictor_outputs=predictor_outputs, targets=targets)
    require_fitting("hinge_loss", predictor_outputs=scores, targets=targets)
    return astype(np.maximum(0, 1 - scores * targets), dtype)


def perceptron_loss(predictor_outputs: ArrayLike, targets: ArrayLike) -> Array:
    """max(0, -predictor_outputs * targets), element by element.

    Args:
        predictor_outputs: scores, floats [...].
        targets: -1 or 1, of the same shape.

    Raises:
        DtypeError: scores that are not floats.
        ShapeError: targets of another shape.

    >>> perceptron_loss(np.array([2.0, -0.5]), np.array([1, 1])).tolist()
    [0.0, 0.5]
    """
    require_same_shape("perceptron_loss", predictor_outputs=predictor_outputs, targets=targets)
    (scores, targets), dtype = as_floats("perceptron_loss", predictor_outputs=predictor_outputs, targets=targets)
    return astype(np.maximum(0, -scores * targets), dtype)


def multiclass_hinge_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """max(scores + 1 - one_hot(label)) - scores[label]: how far the right class is from leading by 1.

    Args:
        scores: floats [..., classes].
        labels: the right class of each example, integers [...].

    Returns:
        The loss of each example, [...].

    Raises:
        DtypeError: scores that are not floats, labels that are not integers.
        ShapeError: labels of another shape than [...].

    >>> multiclass_hinge_loss(np.array([[3.0, 1.0], [0.5, 1.0]]), np.array([0, 0])).tolist()
    [0.0, 1.5]
    """
    scores, labels, dtype = _scores_and_labels("multiclass_hinge_loss", scores, labels)
    wrong = np.not_equal(np.arange(scores.shape[-1]), labels)
    return astype(np.max(scores + wrong, -1) - _chosen(scores, labels), dtype)


def multiclass_perceptron_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """max(scores) - scores[label]: how far the right class is from leading. Arguments as of `multiclass_hinge_loss`.

    >>> multiclass_perceptron_loss(np.array([[3.0, 1.0], [0.5, 1.0]]), np.array([0, 0])).tolist()
    [0.0, 0.5]

    Source: Collins, "Discriminative Training Methods for Hidden Markov Models", EMNLP 2002.
    """
    scores, labels, dtype = _scores_and_labels("multiclass_perceptron_loss", scores, labels)
    return astype(np.max(scores, -1) - _chosen(scores, labels), dtype)


def sparsemax_loss(logits: ArrayLike, labels: ArrayLike) -> Array:
    """sparse_plus(-logits) where the label is 1, sparse_plus(logits) where it is 0: zero where sparse_sigmoid(logits) is the
    label.

    Args:
        logits: floats [...].
        labels: 0 or 1, or booleans, of a shape that broadcasts to that.

    Raises:
        DtypeError: logits that are not floats.
        ShapeError: labels that do not broadcast to the logits.

    >>> sparsemax_loss(np.array([2.0, 0.0, -2.0]), np.array([1, 1, 1])).tolist()
    [0.0, 0.25, 2.0]

    Source: Blondel, Martins and Niculae, "Learning with Fenchel-Young Losses", JMLR 21, 2020, section 4.4.
    """
    require_numbers("sparsemax_loss", labels=labels)
    (logits,), dtype = as_floats("sparsemax_loss", logits=logits)
    require_fitting("sparsemax_loss", logits=logits, labels=labels)
    return astype(sparse_plus(np.where(np.not_equal(labels, 0), -logits, logits)), dtype)


def multiclass_sparsemax_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """max over distributions p of (dot(p, scores) + (1 - dot(p, p)) / 2) - scores[label]. Its derivative is sparsemax(scores), the
    distribution nearest to the scores, less the label's. Arguments as of `multiclass_hinge_loss`.

    >>> multiclass_sparsemax_loss(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([0, 0])).tolist()
    [0.0, 0.25]

    Source: Martins and Astudillo, "From Softmax to Sparsemax", ICML 2016.
    """
    scores, labels, dtype = _scores_and_labels("multiclass_sparsemax_loss", scores, labels)
    # Only differences between scores matter; counted from the label's, large ones do not cancel.
    scores = scores - np.take_along_axis(scores, labels, -1)
    descending = -np.sort(-scores, -1)
    ranks = np.arange(1, scores.shape[-1] + 1, dtype=scores.dtype)
    count = np.sum(np.greater(1 + ranks * descending, np.cumsum(descending, -1)), -1, keepdims=True)
    support = np.greater_equal(scores, np.take_along_axis(descending, count - 1, -1))
    inside = np.where(support, scores, 0)
    p = np.where(support, inside - (np.sum(inside, -1, keepdims=True) - 1) / count.astype(scores.dtype), 0)
    return astype(np.sum(p * inside, -1) + 0.5 * (1 - np.sum(np.square(p), -1)), dtype)


def make_fenchel_young_loss(max_fun: Callable[..., Array]) -> Callable[..., Array]:
    """The loss max_fun(scores) - dot(targets, scores) that belongs to a maximum, such as logsumexp: its derivative is that of the
    maximum, less the targets.

    Args:
        max_fun: (scores [n], *args, **kwargs) -> a scalar.

    Returns:
        (scores [..., n], targets, *args, **kwargs) -> losses [...], for targets of a shape that broadcasts to the scores.

    >>> from tracegrad import nn
    >>> loss = make_fenchel_young_loss(nn.logsumexp)
    >>> loss(np.array([[0.0, 0.0], [5.0, 0.0]]), np.array([1.0, 0.0])).round(4).tolist()
    [0.6931, 0.0067]

    Source: Blondel, Martins and Niculae, "Learning with Fenchel-Young Losses", JMLR 21, 2020.
    """
    require_callable(max_fun, "nn.make_fenchel_young_loss", "(nn.logsumexp)")

    @accepting_jax
    def fenchel_young_loss(scores: ArrayLike, targets: ArrayLike, *args: Any, **kwargs: Any) -> Array:
        (scores, targets), dtype = as_floats("fenchel_young_loss", scores=scores, targets=targets)
        require_fitting("fenchel_young_loss", scores=scores, targets=targets)
        rows = np.reshape(scores, (-1, np.shape(scores)[-1]))
        largest = vmap(lambda row: max_fun(row, *args, **kwargs))(rows)
        return astype(np.reshape(largest, np.shape(scores)[:-1]) - np.sum(targets * scores, -1), dtype)

    return fenchel_young_loss


def _scores_and_labels(loss: str, scores: Any, labels: Any) -> tuple[Any, Any, np.dtype[Any]]:
    """Scores, labels with an axis of size 1 for that of the classes, and the dtype of the result."""
    (found,), dtype = as_floats(loss, scores=scores)
    shape = np.shape(scores)
    return found, np.expand_dims(class_labels(loss, labels, shape[:-1], f"scores of shape {shape}"), -1), dtype


def _chosen(scores: Any, labels: Any) -> Any:
    return np.squeeze(np.take_along_axis(scores, labels, -1), -1)
