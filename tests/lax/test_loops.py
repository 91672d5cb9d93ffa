"""Loops made of scan and while_loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad import lax

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
W, U, XS, H = RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=(5, 2)), RNG.normal(size=3)


def test_fori_loop() -> None:
    def make(np: Any, fori_loop: Any) -> Callable[..., Any]:
        return lambda x, lower, upper: fori_loop(lower, upper, lambda i, v: np.sin(v) * x + i, x)

    ours, theirs = make(np, lax.fori_loop), make(jnp, jax.lax.fori_loop)
    expected = jax.grad(lambda x: theirs(x, 1, 5))(0.5)
    near(tg.grad(ours)(0.5, 1, 5), expected)
    near(tg.jit(tg.grad(ours))(0.5, 1, 5), expected)  # bounds that are not known
    near(tg.jit(tg.grad(ours), static_argnums=(1, 2))(0.5, 1, 5), expected)
    near(tg.grad(ours)(0.5, 5, 1), np.float64(1.0))
    near(tg.vmap(ours, (None, 0, None))(0.5, np.array([0, 1]), 5), np.array([ours(0.5, 0, 5), ours(0.5, 1, 5)]))


def test_map() -> None:
    near(lax.map(lambda x: {"a": x * 2.0}, XS)["a"], XS * 2.0)
    near(lax.map(lambda x: x[0] + x[1], (XS, XS), batch_size=2), XS * 2.0)
    near(tg.grad(lambda x: np.sum(lax.map(np.sin, x) ** 2))(XS), 2 * np.sin(XS) * np.cos(XS))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("count", range(1, 10))
def test_associative_scan(count: int, reverse: bool) -> None:
    matrices = RNG.normal(size=(2, count, 2, 2))
    rotate = lambda np: lambda a, b: {"m": b["m"] @ a["m"], "s": a["s"] + b["s"]}
    elements = {"m": np.moveaxis(matrices, 1, 1), "s": matrices[:, :, 0, 0]}
    scan = lambda elements: jax.lax.associative_scan(rotate(jnp), elements, reverse=reverse, axis=1)
    expected = run_with_numpy(scan, elements)
    near(lax.associative_scan(rotate(np), elements, reverse=reverse, axis=1), expected)
    f = lambda lib, np: lambda x: np.sum(lib.lax.associative_scan(np.multiply, x, reverse=reverse) ** 2)
    near(tg.jit(tg.grad(f(tg, np)))(matrices[0]), run_with_numpy(jax.grad(f(jax, jnp)), matrices[0]))
