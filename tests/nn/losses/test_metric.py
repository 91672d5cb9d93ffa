"""Losses of embeddings against optax."""

from __future__ import annotations

import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.compare import near
from tests.losses import agree_with_optax, safe_in_half_floats
from tracegrad import nn
from tracegrad.core.errors import ShapeError

RNG = np.random.default_rng(3)
A, P, N = RNG.normal(size=(3, 6, 4))
LABELS = np.array([0, 0, 1, 1, 2, 0])


def test_triplet_margin_loss() -> None:
    agree_with_optax(nn.triplet_margin_loss, optax.losses.triplet_margin_loss, A, P, N)
    agree_with_optax(
        lambda *xs: nn.triplet_margin_loss(*xs, norm_degree=4, margin=0.3),
        lambda *xs: optax.losses.triplet_margin_loss(*xs, norm_degree=4, margin=0.3),
        A, P, N,
    )  # fmt: skip
    got = nn.triplet_margin_loss(A, P, N, norm_degree=1, margin=100.0, eps=0.0)
    near(got, 100 + np.linalg.norm(A - P, 1, -1) - np.linalg.norm(A - N, 1, -1))
    assert np.isfinite(tg.grad(lambda x: np.sum(nn.triplet_margin_loss(x, x, x)))(A)).all()
    safe_in_half_floats(nn.triplet_margin_loss, A * 3e3, P, N)


def test_ntxent() -> None:
    for temperature in (0.07, 1.0):
        agree_with_optax(
            lambda x: nn.ntxent(x, LABELS, temperature),
            lambda x: optax.losses.ntxent(x, LABELS, temperature),
            A,
            batched=False,
        )
    safe_in_half_floats(lambda x: nn.ntxent(x, LABELS), A * 1e3)
    alone = tg.value_and_grad(nn.ntxent)(A, np.zeros(6, int))  # no pairs to tell these from
    assert alone[0] == 0 and (alone[1] == 0).all()
    with pytest.raises(ShapeError, match=r"takes embeddings of shape \(n, size\), got \(4,\)"):
        nn.ntxent(A[0], LABELS)
    with pytest.raises(ShapeError, match=r"embeddings of shape \(6, 4\) need labels of shape \(6,\), got \(2,\)"):
        nn.ntxent(A, LABELS[:2])
