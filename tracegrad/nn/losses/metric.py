"""Losses of embeddings: alike things near each other, others further away."""

from __future__ import annotations

import numpy as np

from tracegrad.core.arguments import NOT_NEGATIVE, POSITIVE, require_within
from tracegrad.core.errors import ShapeError
from tracegrad.core.types import float_limits
from tracegrad.nn.activations import log_sigmoid
from tracegrad.nn.losses.inputs import as_floats, class_labels, require_numbers, total
from tracegrad.nn.losses.regression import cosine_similarity
from tracegrad.ops.elementwise.casting import astype
from tracegrad.ops.reduce.logsumexp import logsumexp
from tracegrad.typing import Array, ArrayLike


def triplet_margin_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    negatives: ArrayLike,
    axis: int = -1,
    norm_degree: ArrayLike = 2,
    margin: ArrayLike = 1.0,
    eps: ArrayLike = 1e-6,
) -> Array:
    """max(0, |anchor - positive| - |anchor - negative| + margin).

    Args:
        anchors: embeddings, floats [..., n].
        positives: what should be near them, of the same shape.
        negatives: what should not.
        axis: the axis of the embeddings.
        norm_degree: p of the norm, sum(abs(difference)**p) ** (1/p). (optax takes no absolute value, so that odd p differ.)
        margin: by how much negatives should be further away.
        eps: added to each sum, which keeps derivatives finite where two embeddings are one.

    Returns:
        The loss of each triplet, [...].

    Raises:
        DtypeError: anchors that are not floats.
        ValueError: a norm_degree of 0 or below, or a margin or eps below 0.

    >>> anchors, near = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.1, 0.1], [1.1, 1.1]])
    >>> triplet_margin_loss(anchors, near, np.array([[1.0, 0.0], [0.0, 1.0]])).round(4).tolist()
    [0.1414, 0.1414]

    Source: Balntas et al., "Learning Local Feature Descriptors with Triplets", BMVC 2016.
    """
    require_numbers("triplet_margin_loss", norm_degree=norm_degree, margin=margin, eps=eps)
    require_within("triplet_margin_loss", POSITIVE, norm_degree=norm_degree)
    require_within("triplet_margin_loss", NOT_NEGATIVE, margin=margin, eps=eps)
    (anchors, positives, negatives), dtype = as_floats(
        "triplet_margin_loss", anchors=anchors, positives=positives, negatives=negatives
    )
    near, far = [
        (np.sum(np.abs(anchors - x) ** norm_degree, axis) + eps) ** (1 / norm_degree) for x in (positives, negatives)
    ]
    return astype(np.maximum(near - far + margin, 0), dtype)


def ntxent(embeddings: ArrayLike, labels: ArrayLike, temperature: ArrayLike = 0.07) -> Array:
    """Normalised temperature-scaled cross-entropy: of each pair of embeddings with equal labels, how likely a softmax of
    cosine similarities takes it for a pair among all the pairs with other labels.

    Args:
        embeddings: floats [n, size].
        labels: integers [n]; equal ones make positive pairs.
        temperature: similarities are divided by it.

    Returns:
        The mean over all positive pairs, a scalar: losses of pairs have no example of their own.

    Raises:
        DtypeError: embeddings that are not floats, labels that are not integers.
        ShapeError: embeddings that are not [n, size], labels of another shape than [n].

    >>> x = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> float(ntxent(x, np.array([0, 0, 1, 1]), 0.5).round(4))
    0.2899

    Source: Chen et al., "A Simple Framework for Contrastive Learning", ICML 2020, arXiv:2002.05709.
    """
    require_numbers("ntxent", temperature=temperature)
    require_within("ntxent", POSITIVE, temperature=temperature)
    (embeddings,), dtype = as_floats("ntxent", embeddings=embeddings)
    shape = np.shape(embeddings)
    if len(shape) != 2:
        raise ShapeError(f"ntxent takes embeddings of shape (n, size), got {shape}; write x.reshape(len(x), -1)")
    labels = class_labels("ntxent", labels, shape[:1], f"embeddings of shape {shape}")
    similar = (
        cosine_similarity(embeddings[None], embeddings[:, None], epsilon=float(float_limits(embeddings.dtype).eps))
        / temperature
    )
    same = np.equal(labels[:, None], labels[None])
    pairs = np.logical_and(same, ~np.eye(shape[0], dtype=bool))
    # log(exp(s) / (exp(s) + sum of the others)), by the logarithm of that sum: -inf where there are no others.
    others = logsumexp(similar, -1, keepdims=True, where=~same)
    known = np.greater(others, -np.inf)
    terms = np.where(known, log_sigmoid(similar - np.where(known, others, 0)), 0)
    return astype(-total(terms, None, pairs) / np.sum(pairs).astype(similar.dtype), dtype)
