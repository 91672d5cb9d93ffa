"""Muon makes optax's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest
from optax import contrib

import tracegrad as tg
from tests.trajectories import assert_follows
from tracegrad import optim, tree
from tracegrad.testing import expect_traces

CASES: dict[str, dict[str, Any]] = {
    "standard": {"weight_decay": 0.01},
    "dion": {"ns_coeffs": "dion", "nesterov": False, "adaptive": True, "consistent_rms": 0.2},
    "aol": {"preconditioning": "aol"},
    "schatten": {"preconditioning": "schatten", "adam_learning_rate": 0.01, "adam_weight_decay": 0.1},
    "spectral": {"preconditioning": "spectral", "ns_steps": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    options = {"ns_steps": 5, **CASES[case]}
    # Singular values that are almost zero grow fivefold in each iteration, and so does what rounding makes of them.
    assert_follows(
        optim.muon(0.02, **options),
        contrib.muon(0.02, **options),
        exact=1e-8,
        single=1e-2,
        brief=case != "standard",
    )


def test_follows_optax_with_dimension_numbers() -> None:
    def numbers(kind: Any) -> Any:
        conv = kind(reduction_axis=(0, 1, 2), output_axis=3)
        return {"conv": conv, "dense": ({"bias": None, "kernel": None}, None), "tall": [kind(1, 0)]}

    assert_follows(
        optim.muon(0.02, muon_weight_dimension_numbers=numbers(optim.MuonDimensionNumbers)),
        contrib.muon(0.02, muon_weight_dimension_numbers=numbers(contrib.MuonDimensionNumbers)),
        exact=1e-8,
        single=1e-2,
        brief=True,
    )


def test_singular_values_are_near_one() -> None:
    g = np.random.default_rng(0).normal(size=(3, 6, 4))
    opt = optim.scale_by_muon(weight_dimension_numbers=optim.MuonDimensionNumbers(1, 2), ns_steps=8)
    step, _ = opt.update(g, opt.init(g))
    assert np.all(np.abs(np.linalg.svd(step, compute_uv=False) - 1) < 0.4)


def test_errors() -> None:
    with pytest.raises(ValueError, match="ns_coeffs='fast', but there are 'standard', 'dion'"):
        optim.muon(0.1, ns_coeffs="fast")
    with pytest.raises(ValueError, match=r"three numbers, or three for each step; got shape \(2,\)"):
        optim.scale_by_muon(ns_coeffs=(1.0, 2.0)).init(np.eye(2))
    with pytest.raises(ValueError, match="ns_coeffs for 5 steps, but ns_steps=3"):
        optim.muon(0.1, "dion", ns_steps=3).init({"w": np.eye(2)})
    with pytest.raises(ValueError, match="preconditioning='trace', but there are 'frobenius', 'spectral'"):
        optim.scale_by_muon(preconditioning="trace")
    opt = optim.scale_by_muon()
    with pytest.raises(ValueError, match="an array of 1 axes is no matrix"):
        opt.update(np.ones(3), opt.init(np.ones(3)))


def test_states_are_of_optax_classes_by_name() -> None:
    params = {"w": np.eye(2), "b": np.zeros(2)}
    ours, theirs = optim.muon(0.1).init(params), contrib.muon(0.1).init(params)
    assert str(tree.structure(ours)) == str(tree.structure(theirs)).replace("PartitionState", type(ours).__name__)
    assert optax.tree.get(ours, "ns_coeffs") is not None


def test_reaches_the_minimum_of_rosenbrock() -> None:
    """In each row, from three starts, by thousands of steps of one trace."""

    def rosenbrock(w: Any) -> Any:
        x, y = w[:, 0], w[:, 1]
        return np.sum((1 - x) ** 2 + 100 * (y - x**2) ** 2)

    opt = optim.muon(optim.cosine_decay_schedule(0.05, 4000))

    def step(w: Any, state: Any) -> Any:
        updates, state = opt.update(tg.grad(rosenbrock)(w), state, w)
        return optim.apply_updates(w, updates), state

    step = tg.jit(step)
    w = np.array([[-1.2, 1.0], [0.0, 0.5], [0.5, 2.0]])
    state = opt.init(w)
    with expect_traces(step, 1):
        for _ in range(4000):
            w, state = step(w, state)
    np.testing.assert_allclose(w, 1.0, rtol=1e-4)
