"""Losses of how two regions overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.arguments import NOT_NEGATIVE, require_within
from tracegrad.core.errors import ShapeError
from tracegrad.nn.activations import sigmoid, softmax
from tracegrad.nn.losses.inputs import as_floats, require_numbers, require_same_shape
from tracegrad.ops.elementwise.casting import astype
from tracegrad.typing import Array, ArrayLike


def dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_weights: ArrayLike | None = None,
    smooth: ArrayLike = 1.0,
    alpha: ArrayLike = 0.5,
    beta: ArrayLike = 0.5,
    apply_softmax: bool = True,
    reduction: str = "mean",
    ignore_background: bool = False,
    axis: int | Sequence[int] | None = None,
) -> Array:
    """1 - (both + smooth) / (both + alpha * (predicted - both) + beta * (true - both) + smooth) of each class, where these are sums
    over an image of p * t, p and t. With alpha = beta = 1/2 that is 1 - Dice's coefficient, otherwise Tversky's.

    Args:
        predictions: logits [batch, ..., classes], where one class stands for two, by a sigmoid.
        targets: 0 and 1, of the same shape. An axis of one class may be left out in either.
        class_weights: factors of the losses of the classes, [classes].
        smooth: keeps losses and derivatives of classes that do not occur finite.
        alpha: weight of what is predicted but not true.
        beta: weight of what is true but not predicted.
        apply_softmax: whether predictions are logits; False where they are probabilities.
        reduction: "mean" or "sum" over the classes, or "none".
        ignore_background: leave out class 0, if there are others.
        axis: the axes to sum over; all but the first and the last where not given.

    Returns:
        The loss of each image, [batch]; [batch, classes] with reduction "none".

    Raises:
        DtypeError: predictions that are not floats.
        ShapeError: targets of another shape.

    >>> logits, targets = np.array([[[9.0, -9.0], [-9.0, 9.0]]]), np.array([[[1, 0], [1, 0]]])
    >>> dice_loss(logits, targets).round(3).tolist()
    [0.267]

    Source: Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, arXiv:1606.04797.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'dice_loss: reduction is "mean", "sum" or "none", not {reduction!r}')
    if np.ndim(predictions) == np.ndim(targets) - 1:
        predictions = np.expand_dims(predictions, -1)
    elif np.ndim(targets) == np.ndim(predictions) - 1:
        targets = np.expand_dims(targets, -1)
    require_same_shape("dice_loss", predictions=predictions, targets=targets)
    require_numbers("dice_loss", class_weights=class_weights, smooth=smooth, alpha=alpha, beta=beta)
    require_within("dice_loss", NOT_NEGATIVE, smooth=smooth, alpha=alpha, beta=beta)
    (p, targets), dtype = as_floats("dice_loss", predictions=predictions, targets=targets)
    classes = np.shape(p)[-1]
    if apply_softmax:
        p = sigmoid(p) if classes == 1 else softmax(p)
    axes: Any = tuple(range(1, np.ndim(p) - 1)) if axis is None else axis if isinstance(axis, int) else tuple(axis)
    both, predicted, true = [np.sum(x, axes) for x in (p * targets, p, targets)]
    loss = 1 - (both + smooth) / (both + alpha * (predicted - both) + beta * (true - both) + smooth)
    if class_weights is not None:
        if np.shape(class_weights) != (classes,):
            raise ShapeError(
                f"dice_loss: class_weights of {classes} classes need shape ({classes},), got {np.shape(class_weights)}"
            )
        loss = loss * class_weights
    if ignore_background and classes > 1:
        loss = loss[..., 1:]
    if reduction != "none":
        loss = np.mean(loss, -1) if reduction == "mean" else np.sum(loss, -1)
    return astype(loss, dtype)


def multiclass_generalized_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
) -> Array:
    """`dice_loss` with classes weighted by 1 / frequency**2 in the batch, so that rare ones count as much as common ones.

    Args:
        predictions, targets, smooth, apply_softmax, ignore_background: as of `dice_loss`.

    Returns:
        The mean over images and classes, a scalar, since the weights are of the whole batch.

    Raises:
        DtypeError: predictions that are not floats.
        ShapeError: targets of another shape.

    >>> logits, targets = np.array([[[9.0, -9.0], [-9.0, 9.0]]]), np.array([[[1, 0], [1, 0]]])
    >>> float(multiclass_generalized_dice_loss(logits, targets).round(3))
    0.333

    Source: Sudre et al., "Generalised Dice Overlap as a Deep Learning Loss Function", 2017, arXiv:1707.03237.
    """
    name = "multiclass_generalized_dice_loss"
    require_same_shape(name, predictions=predictions, targets=targets)
    require_numbers("multiclass_generalized_dice_loss", smooth=smooth)
    require_within("multiclass_generalized_dice_loss", NOT_NEGATIVE, smooth=smooth)
    (predictions, targets), dtype = as_floats(name, predictions=predictions, targets=targets)
    frequencies = np.sum(targets, tuple(range(np.ndim(targets) - 1)))
    weights = 1 / (np.square(frequencies) + 1e-7)
    weights = weights / np.sum(weights) * np.shape(weights)[0]
    losses = dice_loss(
        predictions,
        targets,
        class_weights=weights,
        smooth=smooth,
        apply_softmax=apply_softmax,
        reduction="none",
        ignore_background=ignore_background,
    )
    return astype(np.mean(losses), dtype)


def binary_dice_loss(
    predictions: ArrayLike, targets: ArrayLike, *, smooth: ArrayLike = 1.0, apply_sigmoid: bool = True
) -> Array:
    """`dice_loss` of one class against the rest.

    Args:
        predictions: logits [batch, ...] or [batch, ..., 1].
        targets: 0 and 1, of the same shape.
        smooth: as of `dice_loss`.
        apply_sigmoid: whether predictions are logits; False where they are probabilities.

    Returns:
        The loss of each image, [batch].

    Raises:
        DtypeError: predictions that are not floats.
        ShapeError: targets of another shape.

    >>> binary_dice_loss(np.array([[9.0, -9.0]]), np.array([[1, 1]])).round(3).tolist()
    [0.2]
    """
    if np.ndim(predictions) == np.ndim(targets) and np.shape(predictions)[-1:] != (1,):
        predictions, targets = np.expand_dims(predictions, -1), np.expand_dims(targets, -1)
    return dice_loss(predictions, targets, smooth=smooth, apply_softmax=apply_sigmoid)
