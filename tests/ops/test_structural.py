"""stop_gradient, and names."""

from __future__ import annotations

import jax
import numpy as np

import tracegrad as tg
from tests.compare import near

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_stop_gradient() -> None:
    near(tg.grad(lambda x: np.sum(x * tg.stop_gradient(x)))(X), X)
    near(tg.grad(tg.grad(lambda x: x**3 * tg.stop_gradient(x)))(2.0), np.float64(24.0))  # 6 x * x
    near(tg.grad(tg.grad(lambda x: tg.stop_gradient(x**2) * x**2))(2.0), np.float64(8.0))  # x^2 * 2, at every level
    near(tg.jvp(lambda x: tg.stop_gradient(x) * x, (X,), (X,))[1], X * X)
    near(tg.linearize(tg.stop_gradient, X)[1](X), np.zeros(3))
    near(tg.vmap(tg.grad(lambda x: tg.stop_gradient(x) * x))(X), X)
    p = {"a": X, "b": [2.0, None, "text"]}
    assert tg.stop_gradient(p) == p
    got = tg.grad(lambda p: np.sum(tg.stop_gradient(p)["a"] * p["a"]) * tg.stop_gradient(p["b"]))({"a": X, "b": 2.0})
    near(got, {"a": 2 * X, "b": np.float64(0.0)})
    outer = tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(tg.stop_gradient(x) * y * x))(X)))
    near(outer(X), X)
