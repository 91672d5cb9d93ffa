"""Which arguments a derivative is of: argnums, keywords, auxiliary outputs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def f3(x: Any, y: Any, z: Any) -> Any:
    return np.sum(x * np.sin(y)) + z * z * np.sum(x)


ARGS = (X, np.array([1.0, 0.5, -0.5]), 3.0)


def f3_jax(x: Any, y: Any, z: Any) -> Any:
    return jnp.sum(x * jnp.sin(y)) + z * z * jnp.sum(x)


@pytest.mark.parametrize("argnums", [0, 1, 2, -1, -3, (0,), (1, 2), (2, 0), (0, -1), [0, 1]])
def test_argnums(argnums: Any) -> None:
    count = 3
    positive = argnums % count if isinstance(argnums, int) else tuple([i % count for i in argnums])
    near(tg.grad(f3, argnums)(*ARGS), run_with_numpy(jax.grad(f3_jax, positive), *ARGS))
    value, gradient = tg.value_and_grad(f3, argnums)(*ARGS)
    near(value, f3(*ARGS))
    near(gradient, run_with_numpy(jax.grad(f3_jax, positive), *ARGS))
    near(tg.jacfwd(f3, argnums)(*ARGS), run_with_numpy(jax.jacfwd(f3_jax, positive), *ARGS))
    near(tg.jacrev(f3, argnums)(*ARGS), run_with_numpy(jax.jacrev(f3_jax, positive), *ARGS))
    near(tg.hessian(f3, argnums)(*ARGS), run_with_numpy(jax.hessian(f3_jax, positive), *ARGS))


def test_keywords_are_handed_on() -> None:
    def f(x: Any, *, scale: Any, power: int = 2) -> Any:
        return np.sum(scale * x**power)

    near(tg.grad(f)(X, scale=2.0, power=3), 6.0 * X**2)
    near(tg.value_and_grad(f)(X, scale=2.0)[1], 4.0 * X)
    near(tg.jacfwd(f)(X, scale=2.0), 4.0 * X)
    near(tg.hessian(f)(X, scale=2.0), 4.0 * np.eye(3))
    outer = tg.grad(lambda s: np.sum(tg.grad(f)(X, scale=s)))
    near(outer(1.5), np.sum(2 * X))


def test_auxiliary_output() -> None:
    def f(x: Any) -> Any:
        return np.sum(x**2), {"twice": 2 * x, "text": "kept", "count": 3, "none": None}

    gradient, aux = tg.grad(f, has_aux=True)(X)
    near(gradient, 2 * X)
    assert type(aux["twice"]) is np.ndarray
    near(aux["twice"], 2 * X)
    assert (aux["text"], aux["count"], aux["none"]) == ("kept", 3, None)
    (value, aux), gradient = tg.value_and_grad(f, has_aux=True)(X)
    near((value, gradient), (np.sum(X**2), 2 * X))
    out, pull, aux = tg.vjp(f, X, has_aux=True)
    near((out, pull(2.0)[0], aux["twice"]), (np.sum(X**2), 4 * X, 2 * X))
    out, tangent, aux = tg.jvp(f, (X,), (X,), has_aux=True)
    near((out, tangent, aux["twice"]), (np.sum(X**2), 2 * np.sum(X * X), 2 * X))
    out, push, aux = tg.linearize(f, X, has_aux=True)
    near((out, push(X), aux["twice"]), (np.sum(X**2), 2 * np.sum(X * X), 2 * X))
    for jacobian in (tg.jacfwd, tg.jacrev):
        got, aux = jacobian(f, has_aux=True)(X)
        near((got, aux["twice"]), (2 * X, 2 * X))
    got, aux = tg.hessian(f, has_aux=True)(X)
    near((got, aux["twice"]), (2 * np.eye(3), 2 * X))


def test_auxiliary_output_belongs_to_the_level_of_the_caller() -> None:
    def outer(x: Any) -> Any:
        gradient, aux = tg.grad(lambda y: (np.sum(y**3), y * x), has_aux=True)(x)
        return np.sum(gradient * aux)  # 3 x^2 * x^2, all of it differentiable

    near(tg.grad(outer)(X), 12 * X**3)
