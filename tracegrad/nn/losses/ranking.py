"""Losses of the order that scores put a list in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.nn.activations import log_softmax
from tracegrad.nn.losses.inputs import as_floats, require_numbers, total
from tracegrad.numpy import mean
from tracegrad.ops.elementwise.casting import astype
from tracegrad.ops.elementwise.products import multiply_keeping_zeros
from tracegrad.typing import Array, ArrayLike


def ranking_softmax_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: Callable[..., Any] | None = np.mean,
) -> Array:
    """-sum(labels * log_softmax(logits)) of each list, and the mean of these.

    Args:
        logits: scores of the items of each list, floats [..., items].
        labels: how relevant they are, of the same shape.
        where: mask of the items that there are.
        weights: of the items, by which labels are multiplied.
        reduce_fn: what is made of the losses of all lists: `np.mean`, `np.sum`, a function called with `where=` if there is a
            mask, or None for the losses as they are. Lists without items count for nothing.

    Raises:
        DtypeError: logits that are not floats.

    >>> float(ranking_softmax_loss(np.array([2.0, 1.0, 3.0]), np.array([1.0, 0.0, 0.0])).round(3))
    1.408

    Source: Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007.
    """
    given = {} if weights is None else {"weights": weights}
    require_numbers("ranking_softmax_loss", where=where, weights=weights)
    (logits, labels, *rest), dtype = as_floats("ranking_softmax_loss", logits=logits, labels=labels, **given)
    for x in rest:
        labels = labels * x
    if where is not None:
        labels = np.where(where, labels, 0)
    terms = multiply_keeping_zeros(labels, log_softmax(logits, -1, where))
    loss = -total(terms, -1, where)
    lists = None if where is None else np.any(where, -1)
    if lists is not None:
        loss = np.where(lists, loss, 0)
    if reduce_fn in (np.mean, mean) and lists is not None:
        count = np.sum(np.broadcast_to(lists, np.shape(loss)))
        loss = np.sum(loss) / np.maximum(count, 1).astype(loss.dtype)
    elif reduce_fn is not None:
        loss = reduce_fn(loss) if lists is None else reduce_fn(loss, where=lists)
    return astype(loss, dtype)
