"""stop_gradient, the way to a value."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.transforms.test_grad import forward, linearized, reverse, several_modes
from tracegrad.core.errors import UnexpectedTracerError

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


@pytest.mark.parametrize("transform", [tg.grad, tg.jacrev, tg.jacfwd, tg.hessian, forward, reverse, linearized])
def test_stop_gradient_gives_the_value_where_nothing_but_a_derivative_is_traced(transform: Any) -> None:
    found: list[Any] = []

    def f(x: Any) -> Any:
        y = tg.stop_gradient(np.sin(x))
        found.append((y, float(y), "%.3f" % y, f"{tg.stop_gradient(x):.1f}"))  # noqa: UP031
        return x * y

    transform(f)(2.0)
    ((value, number, text, formatted),) = found
    assert type(value) is np.float64 and value == number == np.sin(2.0)
    assert (text, formatted) == ("0.909", "2.0")


def test_stop_gradient_is_constant_to_every_derivative() -> None:
    f = lambda x: x**2 * tg.stop_gradient(x)
    near(tg.grad(f)(3.0), np.float64(18.0))
    for outer, inner in itertools.product(several_modes, repeat=2):
        near(outer(inner(f))(3.0), np.float64(6.0))  # c (x^2)'', as jax has it
    near(tg.grad(tg.grad(tg.grad(f)))(3.0), np.float64(0.0))
    for second in (tg.jit(tg.grad(tg.grad(f))), tg.grad(tg.jit(tg.grad(f))), tg.grad(tg.grad(tg.jit(f)))):
        near(second(3.0), np.float64(6.0))
    near(tg.vmap(tg.grad(tg.grad(f)))(X), 2 * X)
    near(jax.grad(lambda x: tg.grad(f)(x))(3.0), 6.0)


def test_stop_gradient_gives_a_copy() -> None:
    def f(x: Any) -> Any:
        y = np.exp(x)
        value = tg.stop_gradient({"a": [y, 1, None]})["a"][0]
        assert type(value) is np.ndarray and value.flags.owndata
        value[:] = np.nan  # changes no derivative
        return np.sum(y)

    near(tg.grad(f)(X), np.exp(X))

    def written(x: Any) -> Any:
        x[0] = x[1] * 2
        assert tg.stop_gradient(x).tolist() == [-2.4, -1.2, 2.0]
        return np.sum(x)

    near(tg.grad(written)(X), np.array([0.0, 3.0, 1.0]))
    broadcast = tg.grad(lambda x: np.sum(tg.stop_gradient(np.broadcast_to(x, (2, 3))).__iadd__(1.0)) + np.sum(x))
    near(broadcast(X), np.ones(3))


def test_stop_gradient_is_recorded_where_a_graph_is_made() -> None:
    double = lambda x: x * tg.stop_gradient(x)
    for graph in (
        tg.make_graph(double)(1.0),
        tg.make_graph(tg.grad(double))(1.0),
        tg.jit(double).lower(1.0).graph,
        tg.make_graph(lambda x: tg.vmap(double)(x))(X),
    ):
        assert "stop_gradient" in str(graph)

    def branches(x: Any) -> Any:
        return tg.lax.cond(x > 0, lambda: double(x), lambda: x)

    near(tg.jit(tg.grad(branches))(3.0), np.float64(3.0))
    near(tg.grad(branches)(3.0), np.float64(3.0))
    near(tg.grad(lambda x: tg.lax.scan(lambda c, _: (double(c), None), x, None, 2)[0])(2.0), np.float64(8.0))
    near(tg.grad(tg.checkpoint(double))(3.0), np.float64(3.0))
    leaked: list[Any] = []
    tg.grad(lambda x: (leaked.append(x), x)[1])(1.0)
    with pytest.raises(UnexpectedTracerError, match="a tracer leaked"):
        tg.stop_gradient(leaked[0])


def test_stop_gradient_of_a_jax_array() -> None:
    seen: list[float] = []

    def f(x: Any) -> Any:
        seen.append(float(tg.stop_gradient(x)))
        return x * tg.stop_gradient(x)

    near(np.asarray(tg.grad(f)(jnp.float32(3.0))), np.float32(3.0))
    assert seen == [3.0]
