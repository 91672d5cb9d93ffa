"""Hinges, perceptrons and sparsemax against optax."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tests.losses import agree_with_optax, safe_in_half_floats
from tracegrad import nn
from tracegrad.core.errors import DtypeError, ShapeError

RNG = np.random.default_rng(2)
SCORES = RNG.normal(size=(5, 4)) * 2
LABELS = np.array([0, 3, 1, 2, 2])


@pytest.mark.parametrize("name", ["hinge_loss", "perceptron_loss"])
def test_binary(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(optax.losses, name)
    signs = np.where(SCORES > 0.3, 1.0, -1.0)
    agree_with_optax(ours, theirs, SCORES, signs)
    kinks = np.array([1.0, 0.0, -1.0])
    agree_with_optax(ours, theirs, kinks, np.ones(3))
    safe_in_half_floats(ours, np.array([6e4, -6e4]), np.array([1, 1]))


@pytest.mark.parametrize("name", ["multiclass_hinge_loss", "multiclass_perceptron_loss", "multiclass_sparsemax_loss"])
def test_multiclass(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(optax.losses, name)
    agree_with_optax(ours, theirs, SCORES, LABELS)
    agree_with_optax(ours, theirs, SCORES * 0.1, LABELS)
    near(ours(SCORES.reshape(5, 1, 4), LABELS[:, None]), ours(SCORES, LABELS)[:, None])
    if "sparsemax" not in name:
        agree_with_optax(ours, theirs, np.array([[1.0, 1.0, 0.0], [2.0, 1.0, 1.0]]), np.array([0, 0]))
    safe_in_half_floats(ours, np.array([[3e4, -3e4], [3e4, -3e4]]), np.array([0, 1]))


def test_sparsemax() -> None:
    agree_with_optax(nn.sparsemax_loss, optax.losses.sparsemax_loss, SCORES, (SCORES > 0.5).astype(int))
    safe_in_half_floats(nn.sparsemax_loss, np.array([6e4, -6e4, 0.5]), np.array([1, 1, 0]))
    # Its derivative is a distribution, less the label's; the second derivative is that of a projection.
    p = tg.grad(lambda x: np.sum(nn.multiclass_sparsemax_loss(x, LABELS)))(SCORES) + np.eye(4)[LABELS]
    near(np.sum(p, -1), np.ones(5))
    assert (p >= -1e-12).all()
    f = jax.hessian(lambda x: optax.losses.multiclass_sparsemax_loss(x[None], LABELS[:1])[0])
    with jax.enable_x64(True):
        expected = run_with_numpy(f, SCORES[0] * 0.3)
    near(tg.hessian(nn.multiclass_sparsemax_loss)(SCORES[0] * 0.3, LABELS[0]), expected)


def test_fenchel_young() -> None:
    ours, theirs = nn.make_fenchel_young_loss(nn.logsumexp), optax.losses.make_fenchel_young_loss(jax.nn.logsumexp)
    targets = RNG.dirichlet(np.ones(4), 5)
    agree_with_optax(ours, theirs, SCORES, targets)
    agree_with_optax(ours, theirs, SCORES.reshape(5, 2, 2), targets.reshape(5, 2, 2))
    assert isinstance(ours(jax.numpy.ones((2, 3)), jax.numpy.ones(3)), jax.Array)
    with pytest.raises(TypeError, match=r"nn.make_fenchel_young_loss"):
        nn.make_fenchel_young_loss(3)


def test_errors() -> None:
    with pytest.raises(DtypeError, match="multiclass_hinge_loss takes labels of an integer dtype, got float64"):
        nn.multiclass_hinge_loss(SCORES, LABELS * 1.0)
    with pytest.raises(ShapeError, match=r"scores of shape \(5, 4\) need labels of shape \(5,\), got \(4,\)"):
        nn.multiclass_sparsemax_loss(SCORES, LABELS[:4])
    with pytest.raises(IndexError):
        nn.multiclass_perceptron_loss(SCORES, LABELS + 1)
    with pytest.raises(ShapeError, match="perceptron_loss: predictor_outputs and targets need one shape"):
        nn.perceptron_loss(SCORES, LABELS)
