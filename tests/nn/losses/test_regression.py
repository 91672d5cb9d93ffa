"""Losses of numbers and of vectors against optax."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest
import scipy.stats

from tests.compare import near
from tests.losses import agree_with_optax, safe_in_half_floats
from tracegrad import nn
from tracegrad.core.errors import DtypeError, ShapeError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 3, 4)) * 2
POINTS = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 40.0])


@pytest.mark.parametrize("name", ["squared_error", "l2_loss", "huber_loss", "log_cosh"])
def test_elementwise(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(optax.losses, name)
    agree_with_optax(ours, theirs, X, Y)
    agree_with_optax(ours, theirs, POINTS)
    safe_in_half_floats(ours, np.array([100.0, -3.0]), np.array([-100.0, 1.0]))


def test_huber_by_delta() -> None:
    agree_with_optax(lambda x, y: nn.huber_loss(x, y, delta=0.3), lambda x, y: optax.huber_loss(x, y, delta=0.3), X, Y)


@pytest.mark.parametrize("name", ["cosine_similarity", "cosine_distance"])
def test_cosines(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(optax.losses, name)
    mask = np.array([True, False, True, True])
    for options in ({}, {"epsilon": 30.0}, {"where": mask}, {"axis": 0}, {"axis": (0, 1)}):
        some: Any = options
        agree_with_optax(
            lambda x, y: ours(x, y, **some),
            lambda x, y: theirs(x, y, **some),
            X,
            Y,
            batched="axis" not in some,
            xla=not some,
        )
    safe_in_half_floats(ours, X * 1e4, Y * 1e4)


def test_gaussian_nll() -> None:
    mean, log_variance, targets = RNG.normal(size=(3, 5))
    got = nn.gaussian_nll(mean, log_variance, targets)
    near(got, -scipy.stats.norm.logpdf(targets, mean, np.exp(log_variance / 2)))
    assert nn.gaussian_nll(np.zeros(1), np.array([-2000.0]), np.zeros(1)).round(4).tolist() == [-999.0811]
    safe_in_half_floats(nn.gaussian_nll, np.array([300.0]), np.array([2.0]), np.array([0.0]))


def test_errors() -> None:
    with pytest.raises(
        ShapeError, match=r"need one shape, got \(3, 1\) and \(3,\); write targets.reshape\(predictions.shape\)"
    ):
        nn.squared_error(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(ShapeError, match=r"got \(3,\) and \(2,\); write targets of shape \(3,\)"):
        nn.l2_loss(np.zeros(3), np.zeros(2))
    with pytest.raises(
        ShapeError, match=r"huber_loss: targets of shape \(3, 1\) do not broadcast to predictions of shape \(3,\)"
    ):
        nn.huber_loss(np.zeros(3), np.zeros((3, 1)))
    with pytest.raises(DtypeError, match=r"takes predictions of a floating dtype, got int64; write predictions.astype"):
        nn.log_cosh(np.zeros(3, int))
    with pytest.raises(
        DtypeError, match=r"takes predictions of a floating dtype, got complex128; write predictions.real"
    ):
        nn.squared_error(np.zeros(3, complex))
    assert nn.squared_error(np.zeros(2, np.float32), np.array([1, 2])).dtype == np.float32
