"""Roots and their derivatives, as jax's own tests have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ShapeError


def close(found: Any, expected: Any, rtol: float = 1e-9) -> None:
    for x, y in zip(tg.tree.tree_leaves(found), tg.tree.tree_leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-10)


def root(a: Any) -> Any:
    newton = lambda f, x: tg.lax.fori_loop(0, 40, lambda i, x: x - f(x) / tg.grad(f)(x), x)
    return tg.lax.custom_root(lambda x: x**3 - a, a * 0 + 1.0, newton, lambda g, y: y / g(1.0))


@pytest.mark.parametrize(
    "how",
    [
        lambda f: f,
        tg.grad,
        lambda f: tg.grad(tg.grad(f)),
        lambda f: tg.jit(tg.grad(tg.grad(f))),
        lambda f: tg.jit(tg.grad(f), backend="xla"),
        lambda f: tg.jacfwd(tg.jacrev(f)),
        lambda f: tg.jacrev(tg.jacfwd(f)),
        lambda f: tg.grad(tg.jit(f)),
        lambda f: lambda a: tg.vmap(f)(np.stack([a, 2 * a])),
        lambda f: lambda a: tg.jit(tg.vmap(tg.grad(tg.grad(f))))(np.stack([a, 2 * a])),
    ],
)
def test_roots(how: Any) -> None:
    close(how(root)(8.0), how(np.cbrt)(8.0))


RNG = np.random.default_rng(0)
M = RNG.normal(size=(4, 4))
S, B = M @ M.T + np.eye(4), RNG.normal(size=4)


def linear(S: Any, b: Any) -> Any:
    """As jax's own tests have it: all three functions close over what is differentiated."""
    S = S + S.T
    inverse = np.linalg.inv(S)
    solve = lambda f, b: inverse @ b
    tangent_solve = lambda g, b: tg.lax.custom_linear_solve(g, b, solve=solve, symmetric=True)
    return tg.lax.custom_root(lambda x: S @ x - b, b, solve, tangent_solve)


@pytest.mark.parametrize(
    "how",
    [
        lambda f: tg.jacrev(f, (0, 1)),
        lambda f: tg.jit(tg.jacfwd(f, (0, 1))),
        lambda f: tg.hessian(lambda S, b: np.sum(np.sin(f(S, b))), (0, 1)),
    ],
)
def test_roots_of_linear_equations(how: Any) -> None:
    close(how(linear)(S, B), how(lambda S, b: np.linalg.solve(S + S.T, b))(S, B))


def test_roots_with_aux_and_errors() -> None:
    def f(a: Any) -> Any:
        solve = lambda f, x: (np.sqrt(a), {"guess": x})
        return tg.lax.custom_root(lambda x: x**2 - a, 1.0, solve, lambda g, y: y / g(1.0), has_aux=True)

    (value, slope), aux = tg.value_and_grad(lambda a: f(a)[0])(4.0), f(4.0)[1]
    assert (value, slope, aux["guess"]) == (2.0, 0.25, 1.0)
    with pytest.raises(ShapeError, match=r"must return f64\[\], got f64\[2\]"):
        tg.grad(lambda a: tg.lax.custom_root(lambda x: x * a * np.ones(2), 1.0, lambda f, x: x, lambda g, y: y))(1.0)
    with pytest.raises(TypeError, match="tangent_solve"):
        tg.lax.custom_root(lambda x: x, 1.0, lambda f, x: x, None)  # type: ignore[arg-type]
