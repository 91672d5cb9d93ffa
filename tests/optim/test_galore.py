"""GaLore makes optax's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest
from optax import contrib

import tracegrad as tg
from tests.trajectories import assert_follows
from tracegrad import optim

CASES: dict[str, dict[str, Any]] = {
    "standard": {"rank": 2, "update_proj_gap": 50, "weight_decay": 0.01},
    "full": {"scale": 0.5},
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    # optax finds singular vectors in float32, and so its steps are not closer to ours than that.
    assert_follows(
        optim.galore(0.02, **CASES[case]), contrib.galore(0.02, **CASES[case]), exact=1e-4, single=1e-2, brief=True
    )


def test_follows_optax_with_dimension_numbers_and_another_optimiser() -> None:
    def numbers(kind: Any) -> Any:
        return {"conv": kind((0, 1, 2), 3), "dense": ({"bias": None, "kernel": kind(1, 0)}, None), "tall": [None]}

    assert_follows(
        optim.galore(
            0.02, 2, 30, base_optimizer=optim.scale_by_rms(), weight_dimension_numbers=numbers(optim.GaLoreDimensionNumbers)
        ),
        contrib.galore(
            0.02, 2, 30, base_optimizer=optax.scale_by_rms(), weight_dimension_numbers=numbers(contrib.GaLoreDimensionNumbers)
        ),
        exact=1e-4, single=1e-2, brief=True,
    )  # fmt: skip


def test_steps_are_of_low_rank_and_states_small() -> None:
    g = {"w": np.random.default_rng(0).normal(size=(7, 5)), "b": np.ones(5), "h": np.ones((2, 3), np.float16)}
    opt = optim.scale_by_galore(2, base_optimizer=optim.scale(1.0))
    step, state = opt.update(g, opt.init(g))
    u, s, vh = np.linalg.svd(g["w"], full_matrices=False)
    np.testing.assert_allclose(step["w"], (u[:, :2] * s[:2]) @ vh[:2])
    np.testing.assert_allclose(step["h"], g["h"], rtol=2e-3)
    np.testing.assert_array_equal(step["b"], g["b"])
    assert step["h"].dtype == np.float16 and state.projector["w"].shape == (7, 2)
    assert optim.scale_by_galore(2).init(g).base_optimizer_state.nu["w"].shape == (2, 5)


def test_errors() -> None:
    with pytest.raises(ValueError, match="rank and update_proj_gap are whole numbers from 1 on, got 0 and 200"):
        optim.scale_by_galore(0)
    opt = optim.scale_by_galore(2, weight_dimension_numbers=optim.GaLoreDimensionNumbers(0, 0))
    with pytest.raises(ValueError, match=r"an array of shape \(3, 2\) is no matrix .* name each of its axes once"):
        opt.init(np.ones((3, 2)))


@pytest.mark.parametrize("shape", [(8, 8), (8, 5), (5, 8)])
def test_one_column_gives_the_same_bits_under_jit(shape: tuple[int, int]) -> None:
    """A single column of a larger array, which lies apart, is multiplied by another routine of BLAS's than one by itself."""
    opt = optim.galore(0.1, rank=1, update_proj_gap=2)
    r = np.random.default_rng(0)
    params = {"w": r.normal(size=shape).astype(np.float32)}
    eager = jitted = opt.init(params)
    update = tg.jit(opt.update)
    for _ in range(6):
        grads = {"w": r.normal(size=shape).astype(np.float32)}
        found, eager = opt.update(grads, eager, params)
        due, jitted = update(grads, jitted, params)
        np.testing.assert_array_equal(found["w"], due["w"])
    assert eager[0].projector["w"].base is None  # and no other columns are held
