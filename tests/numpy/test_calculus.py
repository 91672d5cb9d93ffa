"""Differences, gradients and integrals of samples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.ops.reduce import agrees, traced
from tests.ops.test_sort import agrees_along, like_a_loop, traced_and_typed
from tracegrad.core.errors import (
    ShapeError,
)

jax.config.update("jax_enable_x64", True)
jax = pytest.importorskip("jax")

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))


def test_diff() -> None:
    for keywords in ({}, {"n": 2}, {"n": 0}, {"axis": 0}, {"axis": 1, "prepend": 0.5}, {"append": X[..., :1], "n": 2}):
        agrees(lambda xp, x, k=keywords: xp.diff(x, **k), X)
    flags = X > 0
    same(traced(np.diff, flags), np.diff(flags))
    same(
        traced(lambda x: np.diff(x, prepend=1), np.arange(4, dtype=np.uint8)),
        np.diff(np.arange(4, dtype=np.uint8), prepend=1),
    )
    with pytest.raises(ValueError, match="negative"):
        tg.grad(lambda x: np.diff(x, -1))(X)


def test_ediff1d() -> None:
    agrees(lambda xp, x: xp.ediff1d(x), X)
    agrees(lambda xp, x, e: xp.ediff1d(x, to_begin=e, to_end=2 * e), X, np.array([0.5, 1.0]))


def test_trapezoid() -> None:
    grid = np.cumsum(rng.uniform(0.1, 1, 4))
    agrees(lambda xp, y: xp.trapezoid(y, dx=0.3, axis=1), X)
    agrees(lambda xp, y, x: xp.trapezoid(y, x), X, grid)
    agrees(lambda xp, y, x: xp.trapezoid(y, x, axis=0), X, X[::-1] + 1)
    same(traced(np.trapezoid, np.arange(5)), np.trapezoid(np.arange(5)))


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient(edge_order: int) -> None:
    grid = np.cumsum(rng.uniform(0.1, 1, 4))
    x = rng.uniform(-1, 1, (3, 3, 4))
    for arguments, keywords in [
        ((), {}), ((0.5,), {}), ((0.5, 1.0, 2.0), {}), ((0.5,), {"axis": 1}), ((0.5, grid), {"axis": (0, 2)}),
        ((grid,), {"axis": -1}), ((), {"axis": (2, 0)}),
    ]:  # fmt: skip
        f = lambda x, a=arguments, k=keywords: np.gradient(x, *a, **k, edge_order=edge_order)
        same(traced(f, x), f(x), 1e-13)
    same(traced(lambda x: np.gradient(x), np.arange(5) ** 2), np.gradient(np.arange(5) ** 2))
    agrees(lambda xp, x: xp.gradient(x, 0.5, axis=1) if xp is jnp else np.gradient(x, 0.5, axis=1), x)
    # In the coordinates: against differences.
    f = lambda g: np.sum(np.gradient(x, g, axis=2, edge_order=edge_order) ** 2)
    h = 1e-6
    found = [(f(grid + h * e) - f(grid - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(tg.grad(f)(grid), found, rtol=1e-6)
    if edge_order == 2:
        with pytest.raises(ShapeError, match="edge_order=2 needs 3"):
            tg.grad(lambda x: np.sum(np.gradient(x, edge_order=2)))(np.ones(2))
    same(traced(np.gradient, np.array([1.0, 3.0])), np.gradient(np.array([1.0, 3.0])))


# ---------------------------------------------------------------------------------------------------------------------
# Interpolation.

XP, FP = np.array([0.0, 1.0, 1.5, 4.0]), np.array([1.0, -0.5, 2.0, 0.3])
BETWEEN = np.array([[-2.0, 0.3, 1.2], [1.7, 3.9, 6.1]])


@pytest.mark.parametrize("keywords", [{}, {"left": -1.0}, {"right": 7.0}, {"period": 4.5}, {"period": -3.0}])
def test_interp(keywords: Any) -> None:
    agrees_along(lambda xp, x, p, f: xp.interp(x, p, f, **keywords), BETWEEN, XP, FP)
    f = lambda x, p, f: np.interp(x, p, f, **keywords)
    like_a_loop(f, BETWEEN, np.stack([XP, XP + 0.1]), np.stack([FP, -FP]))
    same(traced_and_typed(f, BETWEEN, XP, FP * (1 + 2j)), f(BETWEEN, XP, FP * (1 + 2j)), 1e-13)
    for x in (np.array([0.0, 1.0, 1.5, 4.0]), np.array([2, 3]), np.float32(0.7), np.array([np.nan, 2.0]), np.zeros(0)):
        same(traced_and_typed(lambda x: f(x, XP, FP), x), np.asarray(f(x, XP, FP)), 1e-13)


def test_interp_at_edges() -> None:
    same(traced_and_typed(lambda x: np.interp(x, [1.0], [5.0]), BETWEEN), np.interp(BETWEEN, [1.0], [5.0]))
    same(
        traced_and_typed(lambda x: np.interp(x, [1.0], [5.0], -1, 9), BETWEEN), np.interp(BETWEEN, [1.0], [5.0], -1, 9)
    )
    assert tg.grad(np.interp)(1.0, XP, FP) == 5.0  # at a corner the slope to the right
    assert tg.grad(np.interp)(-1.0, XP, FP) == 0.0
    step = np.array([0.0, 1.0, 1.0, 2.0])
    x = np.array([0.5, 1.0, 1.5])
    same(traced_and_typed(lambda x: np.interp(x, step, FP), x), np.interp(x, step, FP), 1e-13)
    for g in tg.grad(lambda x, p, f: np.sum(np.interp(x, p, f)), (0, 1, 2))(x, step, FP):
        assert np.isfinite(g).all()
    with pytest.raises(ShapeError, match=r"vectors of one length"):
        traced_and_typed(lambda x: np.interp(x, XP, FP[1:]), x)
    with pytest.raises(ValueError, match="period must not be zero"):
        traced_and_typed(lambda x: np.interp(x, XP, FP, period=0), x)
