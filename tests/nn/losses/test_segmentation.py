"""Losses of overlaps against optax."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest

from tests.compare import near
from tests.losses import agree_with_optax, safe_in_half_floats
from tracegrad import nn
from tracegrad.core.errors import ShapeError

RNG = np.random.default_rng(5)
LOGITS = RNG.normal(size=(2, 4, 4, 3))
TARGETS = np.eye(3)[RNG.integers(0, 3, (2, 4, 4))]
OPTIONS: list[Any] = [
    {},
    {"alpha": 0.3, "beta": 0.7, "smooth": 0.1},
    {"ignore_background": True, "reduction": "sum"},
    {"reduction": "none", "class_weights": np.array([0.2, 0.5, 0.3], np.float32)},
    {"axis": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "plain")
def test_dice_loss(options: Any) -> None:
    # The weights keep their dtype, so float64 has their rounding.
    agree_with_optax(
        lambda x, y: nn.dice_loss(x, y, **options),
        lambda x, y: optax.losses.dice_loss(x, y, **options),
        LOGITS,
        TARGETS,
        xla=not options,
    )


def test_dice_loss_of_probabilities() -> None:
    p = nn.softmax(LOGITS)
    near(nn.dice_loss(p, TARGETS, apply_softmax=False), nn.dice_loss(LOGITS, TARGETS))
    near(nn.dice_loss(LOGITS[..., 0], TARGETS[..., :1]), nn.dice_loss(LOGITS[..., :1], TARGETS[..., 0]))


def test_multiclass_generalized_dice_loss() -> None:
    agree_with_optax(
        nn.multiclass_generalized_dice_loss,
        optax.losses.multiclass_generalized_dice_loss,
        LOGITS,
        TARGETS,
        batched=False,
    )


def test_binary_dice_loss() -> None:
    agree_with_optax(nn.binary_dice_loss, optax.losses.binary_dice_loss, LOGITS[..., 0], TARGETS[..., 0])
    agree_with_optax(nn.binary_dice_loss, optax.losses.binary_dice_loss, LOGITS[..., :1], TARGETS[..., :1])
    p = nn.sigmoid(LOGITS[..., 0])
    near(
        nn.binary_dice_loss(p, TARGETS[..., 0], apply_sigmoid=False),
        nn.binary_dice_loss(LOGITS[..., 0], TARGETS[..., 0]),
    )


def test_half_floats() -> None:
    image = np.full((1, 300, 300, 2), 6e4) * [1.0, -1.0]  # 90,000 pixels are more than float16 has
    safe_in_half_floats(nn.dice_loss, image, np.ones((1, 300, 300, 2)))
    safe_in_half_floats(nn.binary_dice_loss, image[..., 0], np.ones((1, 300, 300)))
    safe_in_half_floats(nn.multiclass_generalized_dice_loss, image, np.ones((1, 300, 300, 2)))


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"dice_loss: predictions and targets need one shape"):
        nn.dice_loss(LOGITS, TARGETS[:, :2])
    with pytest.raises(ShapeError, match=r"class_weights of 3 classes need shape \(3,\), got \(2,\)"):
        nn.dice_loss(LOGITS, TARGETS, class_weights=np.ones(2))
    with pytest.raises(ValueError, match='reduction is "mean", "sum" or "none", not \'max\''):
        nn.dice_loss(LOGITS, TARGETS, reduction="max")
