"""Connectionist temporal classification: the likelihood of labels of which nobody knows when they occur.

A frame says a label or a blank. An alignment says each label in one or several frames in a row, in order, with any number of
blanks before, between and after; at least one between two labels that are equal. The sum over all alignments runs frame by
frame over two tables: how likely what has been said so far is to be the first n labels with a blank last, and without.

Source: Graves et al., "Connectionist Temporal Classification", ICML 2006.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.lax import scan
from tracegrad.nn.activations import log_softmax
from tracegrad.nn.losses.inputs import as_floats
from tracegrad.ops.elementwise.casting import astype
from tracegrad.typing import Array, ArrayLike


def ctc_loss(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: ArrayLike = -1e5,
) -> Array:
    """-log of the probability of the labels, summed over all alignments with the frames.

    Args:
        logits: unnormalised log-probabilities of each class in each frame, floats [batch, frames, classes].
        logit_paddings: 1 where a frame is padding, 0 elsewhere, [batch, frames].
        labels: integers [batch, length], without blanks.
        label_paddings: 1 where a label is padding, 0 elsewhere, [batch, length]: zeros, then ones.
        blank_id: the class that stands for no label.
        log_epsilon: what stands for log(0). Where there are too few frames for the labels, the loss is about its negative.

    Returns:
        The loss of each example, [batch].

    Raises:
        DtypeError: logits that are not floats, labels that are not integers.
        ShapeError: shapes that do not fit together.

    >>> logits = np.zeros((1, 2, 2))  # blank or label 1, equally likely: of 4 sequences 3 say 1
    >>> loss = ctc_loss(logits, np.zeros((1, 2)), np.array([[1]]), np.zeros((1, 1)))
    >>> np.exp(-loss).round(4).tolist()
    [0.75]
    """
    (logits,), dtype = as_floats("ctc_loss", logits=logits)
    return astype(_tables(logits, logit_paddings, labels, label_paddings, blank_id, log_epsilon)[0], dtype)


def ctc_loss_with_forward_probs(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: ArrayLike = -1e5,
) -> tuple[Array, Array, Array]:
    """`ctc_loss`, and the tables that it is read off. Arguments and errors are the same.

    Returns:
        `(loss, blank, label)`: of shapes [batch], [frames, batch, length + 1] and [frames, batch, length]. blank[t, :, n] is
        the logarithm of how likely the frames up to t say the first n labels and end with a blank, label[t, :, n] that they say
        the first n + 1 and end with the last of these. Those of half floats are float32, which has a place for log_epsilon.

    >>> logits, paddings = np.zeros((1, 2, 2)), np.zeros((1, 2))
    >>> loss, blank, label = ctc_loss_with_forward_probs(logits, paddings, np.array([[1]]), np.zeros((1, 1)))
    >>> np.exp(-loss).round(4).tolist(), blank.shape, label.shape
    ([0.75], (2, 1, 2), (2, 1, 1))
    """
    (logits,), dtype = as_floats("ctc_loss", logits=logits)
    loss, blank, label = _tables(logits, logit_paddings, labels, label_paddings, blank_id, log_epsilon)
    return astype(loss, dtype), blank, label


def _tables(
    logits: Any, logit_paddings: Any, labels: Any, label_paddings: Any, blank_id: int, log_epsilon: Any
) -> tuple[Any, Any, Any]:
    logit_paddings, label_paddings = [astype(as_array(x), logits.dtype) for x in (logit_paddings, label_paddings)]
    labels = _integers(labels)
    _check_shapes(logits, logit_paddings, labels, label_paddings, blank_id)
    batch, length = np.shape(labels)
    log_p = np.swapaxes(log_softmax(logits), 0, 1)  # [frames, batch, classes]
    blanks = log_p[:, :, blank_id : blank_id + 1]
    # Any class will do for what is padding: nothing that counts comes after it.
    places = np.where(np.greater(label_paddings, 0), blank_id, labels)
    said = np.take_along_axis(log_p, places[None], 2)  # [frames, batch, length]
    repeats = np.equal(labels[:, :-1], labels[:, 1:]).astype(log_p.dtype)
    repeats = np.concatenate([repeats, np.zeros((batch, 1), log_p.dtype)], 1)
    # What it costs to go on to the next label without a blank, and what it costs to go on with one where none is needed: there
    # the way without has been counted.
    without, needless = log_epsilon * repeats, log_epsilon * (1 - repeats)

    def step(tables: Any, frame: Any) -> Any:
        blank, label = tables
        log_said, log_blank, padding = frame
        before = _reached(blank, label + without)
        new_label = np.logaddexp(before[:, :-1], label) + log_said
        new_blank = _reached(before + log_blank, label + log_blank + needless)
        padding = padding[:, None]
        tables = padding * blank + (1 - padding) * new_blank, padding * label + (1 - padding) * new_label
        return tables, tables

    start = np.full((batch, length + 1), log_epsilon, log_p.dtype)
    start[:, 0] = 0
    first = start, np.full((batch, length), log_epsilon, log_p.dtype)
    _, (blank, label) = scan(step, first, (said, blanks, np.swapaxes(logit_paddings, 0, 1)))
    # In the last frame a label may end without a blank.
    last = _reached(blank[-1], label[-1])
    blank = np.concatenate([blank[:-1], last[None]])
    count = length - np.sum(label_paddings, 1).astype(np.int64)
    loss = -np.squeeze(np.take_along_axis(last, count[:, None], 1), 1)
    return loss, blank, label


def _reached(blank: Any, label: Any) -> Any:
    """The table of blanks with what comes from labels added, to each place from the one before."""
    return np.concatenate([blank[:, :1], np.logaddexp(blank[:, 1:], label)], 1)


def _integers(labels: Any) -> Any:
    labels = as_array(labels)
    t = type_of(labels)
    if number_kind(t.dtype) not in "iu":
        raise DtypeError(f"ctc_loss takes labels of an integer dtype, got {t.dtype.name}; write labels.astype(int)")
    return labels


def _check_shapes(logits: Any, logit_paddings: Any, labels: Any, label_paddings: Any, blank_id: int) -> None:
    if np.ndim(logits) != 3:
        raise ShapeError(
            f"ctc_loss takes logits of shape (batch, frames, classes), got {np.shape(logits)}; write logits[None] for one "
            "example"
        )
    batch, frames, classes = np.shape(logits)
    if np.ndim(labels) != 2 or np.shape(labels)[0] != batch:
        raise ShapeError(
            f"ctc_loss: logits of shape {np.shape(logits)} need labels of shape ({batch}, length), got {np.shape(labels)}"
        )
    for what, x, shape in (
        ("logit_paddings", logit_paddings, (batch, frames)),
        ("label_paddings", label_paddings, np.shape(labels)),
    ):
        if np.shape(x) != shape:
            raise ShapeError(f"ctc_loss: {what} must be of shape {shape}, got {np.shape(x)}")
    if not 0 <= blank_id < classes:
        raise ShapeError(
            f"ctc_loss: blank_id is {blank_id}, and logits of shape {np.shape(logits)} have classes 0 to {classes - 1}"
        )
