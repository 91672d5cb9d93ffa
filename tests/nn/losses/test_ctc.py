"""CTC against optax, and against a sum over every alignment."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.compare import near
from tests.losses import agree_with_optax, safe_in_half_floats
from tracegrad import nn
from tracegrad.core.errors import DtypeError, ShapeError

RNG = np.random.default_rng(6)
LOGITS = RNG.normal(size=(3, 7, 4))
PADDED = np.array([[0.0] * 7, [0.0] * 5 + [1.0] * 2, [0.0] * 7])
LABELS = np.array([[1, 2, 2], [3, 1, 0], [2, 0, 0]])
LABELS_PADDED = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 1.0]])


def every_alignment(logits: np.ndarray, labels: list[int], blank: int) -> float:
    """-log of the sum over all sequences of classes that say the labels."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        said = [k for k, _ in itertools.groupby(path) if k != blank]
        if said == labels:
            total += np.prod(p[np.arange(len(p)), path])
    return -np.log(total)


@pytest.mark.parametrize("blank", [0, 2])
def test_every_alignment(blank: int) -> None:
    logits = RNG.normal(size=(1, 5, 3))
    others = [k for k in range(3) if k != blank]
    for labels in ([others[0]], [others[0], others[1]], [others[1], others[1]], [others[0], others[0], others[1]]):
        got = nn.ctc_loss(logits, np.zeros((1, 5)), np.array([labels]), np.zeros((1, len(labels))), blank_id=blank)
        near(got, [every_alignment(logits[0], labels, blank)])


def test_against_optax() -> None:
    def ours(logits: Any) -> Any:
        return nn.ctc_loss(logits, PADDED, LABELS, LABELS_PADDED)

    agree_with_optax(ours, lambda x: optax.ctc_loss(x, PADDED, LABELS, LABELS_PADDED), LOGITS, batched=False)
    tables = nn.ctc_loss_with_forward_probs(LOGITS.astype(np.float32), PADDED, LABELS, LABELS_PADDED)
    expected = optax.ctc_loss_with_forward_probs(
        LOGITS.astype(np.float32), PADDED.astype(np.float32), LABELS, LABELS_PADDED.astype(np.float32)
    )
    for a, b in zip(tables, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_padding() -> None:
    """What is padding counts for nothing, whatever is in it."""
    alone = nn.ctc_loss(LOGITS[1:2, :5], PADDED[1:2, :5], LABELS[1:2, :2], LABELS_PADDED[1:2, :2])
    labels = LABELS.copy()
    labels[1, 2] = -1
    near(nn.ctc_loss(LOGITS, PADDED, labels, LABELS_PADDED)[1], alone[0])
    gradient = tg.grad(lambda x: np.sum(nn.ctc_loss(x, PADDED, LABELS, LABELS_PADDED)))(LOGITS)
    assert (gradient[1, 5:] == 0).all() and gradient[1, :5].all()


def test_over_a_batch() -> None:
    each = tg.vmap(lambda *xs: nn.ctc_loss(*[x[None] for x in xs])[0])(LOGITS, PADDED, LABELS, LABELS_PADDED)
    near(each, nn.ctc_loss(LOGITS, PADDED, LABELS, LABELS_PADDED))


def test_half_floats() -> None:
    logits = np.array([[[6e4, -6e4], [-3e4, 3e4], [0.0, 1.0]]])
    safe_in_half_floats(lambda x: nn.ctc_loss(x, np.zeros((1, 3)), np.array([[1]]), np.zeros((1, 1))), logits)


def test_errors() -> None:
    good = (LOGITS, PADDED, LABELS, LABELS_PADDED)
    for place, x, message in (
        (0, LOGITS[0], r"logits of shape \(batch, frames, classes\), got \(7, 4\); write logits\[None\]"),
        (1, PADDED[:, :3], r"logit_paddings must be of shape \(3, 7\), got \(3, 3\)"),
        (2, LABELS[:2], r"logits of shape \(3, 7, 4\) need labels of shape \(3, length\), got \(2, 3\)"),
        (3, LABELS_PADDED[:2], r"label_paddings must be of shape \(3, 3\), got \(2, 3\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            nn.ctc_loss(*good[:place], x, *good[place + 1 :])
    with pytest.raises(DtypeError, match="ctc_loss takes labels of an integer dtype, got float64"):
        nn.ctc_loss(LOGITS, PADDED, LABELS * 1.0, LABELS_PADDED)
    with pytest.raises(ShapeError, match=r"blank_id is 4, and logits .* have classes 0 to 3"):
        nn.ctc_loss(*good, blank_id=4)
    with pytest.raises(IndexError):
        nn.ctc_loss(LOGITS, PADDED, LABELS + 2, LABELS_PADDED)
