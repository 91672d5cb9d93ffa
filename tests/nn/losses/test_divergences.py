"""Kullback-Leibler divergences against optax."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.compare import near
from tests.losses import agree_with_optax, safe_in_half_floats
from tracegrad import nn

RNG = np.random.default_rng(1)
LOG_P = np.log(RNG.dirichlet(np.ones(4), 3))
Q = RNG.dirichlet(np.ones(4), 3)
MASK = np.array([True, True, False, True])


@pytest.mark.parametrize("name", ["kl_divergence", "kl_divergence_with_log_targets", "generalized_kl_divergence"])
@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": None}, {"where": MASK}], ids=str)
def test_divergences(name: str, options: Any) -> None:
    ours, theirs = getattr(nn, name), getattr(optax.losses, name)
    targets = np.log(Q) if "log_targets" in name else Q
    agree_with_optax(
        lambda p, q: ours(p, q, **options),
        lambda p, q: theirs(p, q, **options),
        LOG_P,
        targets,
        batched="axis" not in options,
        xla=not options,
    )


def test_zeros() -> None:
    """0 log 0 = 0, also where the prediction is 0 too."""
    q = np.array([0.25, 0.75, 0.0])
    log_p = np.array([np.log(0.5), np.log(0.5), -np.inf])
    expected = np.array(optax.kl_divergence(log_p[:2], q[:2]))
    near(nn.kl_divergence(log_p, q), expected, 1e-6)
    near(nn.generalized_kl_divergence(log_p, q), expected, 1e-6)
    log_q = np.array([np.log(0.25), np.log(0.75), -np.inf])
    near(nn.kl_divergence_with_log_targets(log_p, log_q), expected, 1e-6)
    near(tg.grad(nn.kl_divergence)(log_p, q), -q)
    near(tg.grad(nn.kl_divergence_with_log_targets)(log_p, log_q), -q)
    assert nn.convex_kl_divergence(log_p, q) == nn.generalized_kl_divergence(log_p, q)


def test_half_floats() -> None:
    log_p = np.array([[-6e4, 0.0]])
    safe_in_half_floats(nn.kl_divergence, log_p, np.array([[0.5, 0.5]]))
    safe_in_half_floats(nn.kl_divergence_with_log_targets, log_p, np.log([[0.5, 0.5]]))
    safe_in_half_floats(nn.generalized_kl_divergence, log_p, np.array([[0.5, 0.5]]))
