"""Clipping and other bounds make optax's steps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.steps import Make, assert_follows, assert_same
from tracegrad import optim
from tracegrad.core.errors import ShapeError

CASES: dict[str, tuple[Make, bool]] = {
    "clip": (lambda lib: lib.clip(0.5), False),
    "clip_by_global_norm": (lambda lib: lib.clip_by_global_norm(5.0), False),
    "clip_by_block_rms": (lambda lib: lib.clip_by_block_rms(0.8), False),
    "normalize_by_update_norm": (lambda lib: lib.normalize_by_update_norm(0.1), False),
    "adaptive_grad_clip": (lambda lib: lib.adaptive_grad_clip(0.3), False),
    "adaptive_grad_clip_axis": (lambda lib: lib.masked(lib.adaptive_grad_clip(0.3, axis=0), matrices), False),
    "zero_nans": (lambda lib: lib.chain(lib.zero_nans(), lib.clip(2.0)), True),
    "keep_params_nonnegative": (lambda lib: lib.chain(lib.scale(-0.1), lib.keep_params_nonnegative()), False),
    "centralize": (lambda lib: lib.centralize(), False),
}


def matrices(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1 and p.size > 0, params)


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(*CASES[case])


def test_global_norm_is_called_as_in_optax() -> None:
    tree = {"w": np.array([3.0, 0.0]), "b": np.array(4.0)}
    assert optim.global_norm(updates=tree) == 5.0 == float(optax.tree.norm(tree))


def test_clip_by_global_norm_divides_and_then_multiplies() -> None:
    """In this order, of which the other one rounds otherwise."""
    g = np.random.default_rng(0).normal(size=1000)
    norm = np.sqrt(np.sum(g * g))
    updates, _ = optim.clip_by_global_norm(0.3).update(g, optim.EmptyState())
    np.testing.assert_array_equal(updates, g / norm * 0.3)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_floats_do_not_overflow(dtype: Any) -> None:
    """Squares of 300 are beyond float16."""
    g = {"w": np.full((20, 20), 300, dtype)}
    for opt, size in (
        (optim.clip_by_global_norm(1.0), 0.05),
        (optim.clip_by_block_rms(1.0), 1.0),
        (optim.adaptive_grad_clip(1.0), 0.2236),
        (optim.normalize_by_update_norm(), 0.05),
    ):
        for run in (lambda f: f, tg.jit):
            updates, _ = run(opt.update)(g, optim.EmptyState(), {"w": np.full((20, 20), 0.2236, dtype)})
            assert updates["w"].dtype == dtype
            np.testing.assert_allclose(updates["w"].astype(np.float64), size, rtol=2e-2)


def test_derivative() -> None:
    def total(g: Any) -> Any:
        return np.sum(optim.clip_by_global_norm(1.0).update(g, optim.EmptyState())[0])

    assert tg.grad(total)(np.array([0.1, 0.2])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(), (3,), (1, 3, 1), (2, 3), (2, 3, 4), (2, 1, 3, 4), (2, 2, 2, 2, 3)])
def test_units(shape: tuple[int, ...]) -> None:
    from optax import transforms

    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(optim.unitwise_norm(x), transforms.unitwise_norm(x), rtol=1e-6)
    assert isinstance(optim.unitwise_norm(jnp.asarray(x)), jax.Array)


def test_units_of_six_axes() -> None:
    opt, x = optim.adaptive_grad_clip(0.1), np.ones((1, 2, 2, 2, 2, 2))
    with pytest.raises(
        ShapeError, match=r"no units of an array of shape \(1, 2, 2, 2, 2, 2\), of 6 axes; say .* axis="
    ):
        opt.update(x, opt.init(x), x)
    assert optim.adaptive_grad_clip(0.1, axis=0).update(x, optim.EmptyState(), x)[0].shape == x.shape


@pytest.mark.parametrize("name", ["adaptive_grad_clip", "keep_params_nonnegative"])
def test_parameters_are_needed(name: str) -> None:
    opt = optim.adaptive_grad_clip(0.1) if name == "adaptive_grad_clip" else optim.keep_params_nonnegative()
    with pytest.raises(ValueError, match=rf"{name} needs the parameters; write update\(grads, state, params\)"):
        opt.update(np.ones(2), opt.init(np.ones(2)))


def test_examples() -> None:
    draw = np.random.default_rng(0)
    grads = {"w": draw.normal(size=(5, 3, 2)), "b": draw.normal(size=(5, 3))}
    grads["w"][2] = grads["b"][2] = 0
    with jax.enable_x64(True):
        expected = [
            optax.per_example_global_norm_clip(grads, 1.5),
            optax.per_example_layer_norm_clip(grads, 1.5),
            optax.per_example_layer_norm_clip(grads, 1.5, uniform=False),
        ]
        expected = jax.tree.map(np.asarray, expected)
    for jit in (lambda f: f, tg.jit):
        found = [
            jit(lambda g: optim.per_example_global_norm_clip(g, 1.5))(grads),
            jit(lambda g: optim.per_example_layer_norm_clip(g, 1.5))(grads),
            jit(lambda g: optim.per_example_layer_norm_clip(g, 1.5, uniform=False))(grads),
        ]
        assert_same(found, expected, 1e-13)
    with pytest.raises(ShapeError, match=r"\['b'\] of shape \(5, 3\), \['w'\] of shape \(4, 3, 2\)"):
        optim.per_example_global_norm_clip({"w": grads["w"][:4], "b": grads["b"]}, 1.0)
