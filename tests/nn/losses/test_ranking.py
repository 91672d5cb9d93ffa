"""Losses of rankings against optax."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.losses import agree_with_optax, safe_in_half_floats
from tracegrad import nn

RNG = np.random.default_rng(4)
LOGITS = RNG.normal(size=(3, 4))
LABELS = RNG.integers(0, 3, (3, 4)) * 1.0
MASK = np.array([[True, True, False, True], [False] * 4, [True] * 4])


@pytest.mark.parametrize("reduction", ["mean", "sum", None])
@pytest.mark.parametrize(
    "options", [{}, {"weights": RNG.uniform(size=(3, 4)).astype(np.float32)}], ids=["plain", "weights"]
)
def test_ranking_softmax_loss(reduction: Any, options: Any) -> None:
    ours = {**options, "reduce_fn": reduction and getattr(np, reduction)}
    theirs = {**options, "reduce_fn": reduction and getattr(jnp, reduction)}
    agree_with_optax(
        lambda x, y: nn.ranking_softmax_loss(x, y, **ours),
        lambda x, y: optax.losses.ranking_softmax_loss(x, y, **theirs),
        LOGITS,
        LABELS,
        batched=reduction is None and not options,
        xla=reduction == "mean",
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", None])
def test_items_that_there_are_not(reduction: Any) -> None:
    """optax gives NaN for the gradient where a whole list is masked out, and by 0 * -inf where a single item is."""
    f = reduction and getattr(np, reduction)
    kept = MASK.any(-1)
    each = [nn.ranking_softmax_loss(LOGITS[i][MASK[i]], LABELS[i][MASK[i]]) if kept[i] else 0.0 for i in range(3)]
    expected = np.sum(each) / 2 if reduction == "mean" else np.sum(each) if reduction == "sum" else np.array(each)
    got = nn.ranking_softmax_loss(LOGITS, LABELS, where=MASK, reduce_fn=f)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    none = nn.ranking_softmax_loss(LOGITS, LABELS, where=MASK & False, reduce_fn=f)
    assert not np.any(none)


def test_half_floats() -> None:
    safe_in_half_floats(nn.ranking_softmax_loss, np.array([6e4, -6e4]), np.array([0.5, 0.0]))
