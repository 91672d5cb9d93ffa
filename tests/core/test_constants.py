"""Arrays that a derivative needs later are held as they were: read-only while they are traced, or copied."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_later_writes_do_not_change_a_derivative() -> None:
    x, c = X.copy(), np.array([1.0, 2.0, 3.0])
    f = lambda x: c * x**2
    out, pull = tg.vjp(f, x)
    _, push = tg.linearize(f, x)
    linear = tg.linear_transpose(lambda x: c * x, x)
    expected = 2 * c * x
    x[:] = 7.0
    c[:] = 8.0
    out[:] = 9.0
    near(pull(np.ones(3))[0], expected)
    near(push(np.ones(3)), expected)
    near(linear(np.ones(3))[0], np.array([1.0, 2.0, 3.0]))
    pull(np.ones(3))[0][:] = 5.0
    push(np.ones(3))[:] = 5.0
    near(pull(np.ones(3))[0], expected)
    near(push(np.ones(3)), expected)


def test_outputs_that_are_residuals_may_be_written_into() -> None:
    out, pull = tg.vjp(np.exp, X)  # the output is what the derivative multiplies by
    expected = np.exp(X)
    out[:] = 0.0
    near(pull(np.ones(3))[0], expected)
    out, push = tg.linearize(np.exp, X)
    out[:] = 0.0
    near(push(np.ones(3)), expected)


def test_writing_into_a_small_constant_while_traced_changes_no_derivative() -> None:
    c = np.array([1.0, 2.0, 3.0])

    def f(x: Any) -> Any:
        y = x * c
        c[0] += 100.0
        return np.sum(y)

    for derive in (
        lambda: tg.grad(f)(X), lambda: tg.jacrev(f)(X), lambda: tg.jacfwd(f)(X), lambda: tg.vjp(f, X)[1](1.0)[0],
        lambda: tg.jvp(tg.grad(f), (X,), (X,))[0],
    ):  # fmt: skip
        c[0] = 1.0
        near(derive(), np.array([1.0, 2.0, 3.0]))


def test_writing_into_a_constant_of_a_graph_raises_and_later_changes_nothing() -> None:
    c = np.array([1.0, 2.0, 3.0])

    def f(x: Any) -> Any:
        y = x + c
        c[0] += 100.0
        return y

    for trace in (
        lambda: tg.vmap(f, 0)(X[None]), lambda: tg.make_graph(f)(X), lambda: tg.linear_transpose(f, X),
        lambda: tg.eval_shape(f, X),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="read-only"):
            trace()
        assert c.flags.writeable
        assert c[0] == 1.0
    graph = tg.make_graph(lambda x: x + c)(X)
    c[0] = 100.0
    near(graph(X)[0], X + np.array([1.0, 2.0, 3.0]))


def test_writing_into_a_large_constant_while_traced_raises() -> None:
    c = np.tile([1.0, 2.0, 3.0], (1000, 1))

    def f(x: Any) -> Any:
        y = x * c
        c[0, 0] = 100.0
        return np.sum(y)

    for transform in (
        lambda: tg.grad(f)(X), lambda: tg.jvp(f, (X,), (X,)), lambda: tg.vjp(f, X), lambda: tg.linearize(f, X),
        lambda: tg.jacrev(f)(X), lambda: tg.jacfwd(f)(X), lambda: tg.hessian(f)(X),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="read-only"):
            transform()
        assert c.flags.writeable
        near(c, np.tile([1.0, 2.0, 3.0], (1000, 1)))


def test_writing_into_the_argument_itself_while_traced_changes_no_derivative() -> None:
    x = X.copy()

    def f(t: Any) -> Any:
        y = np.sin(t)
        x[0] = 100.0
        return np.sum(y * y)

    expected = np.sin(2.0 * X)
    near(tg.grad(f)(x), expected)
    assert x[0] == 100.0
    x[:] = X
    near(tg.grad(lambda p: f(p["x"]))({"x": x}), {"x": expected})
    x[:] = X
    near(tg.jvp(f, (x,), (np.ones(3),))[1], np.sum(expected))


def test_constants_are_writeable_again() -> None:
    base = np.arange(12.0).reshape(3, 4)
    views = [base, base[1:], base.T, base[:, 0], base.reshape(-1)[3:6]]
    frozen = np.ones(3)
    frozen.flags.writeable = False

    def f(x: Any) -> Any:
        total = np.sum(x * frozen)
        for v in views:
            total = total + np.sum(x[0] * v) + np.sum(np.sin(x[1]) * v)
        return total

    def fails(x: Any) -> Any:
        f(x)
        raise RuntimeError("on purpose")

    tg.grad(f)(X)
    tg.hessian(f)(X)
    tg.vjp(f, X)[1](1.0)
    tg.vmap(tg.grad(f))(np.stack([X, X]))
    with pytest.raises(RuntimeError, match="on purpose"):
        tg.grad(fails)(X)
    with pytest.raises(RuntimeError, match="on purpose"):
        tg.grad(lambda x: np.sum(tg.grad(fails)(x)))(X)
    assert all(v.flags.writeable for v in views)
    assert not frozen.flags.writeable


def test_constants_of_an_outer_level_stay_locked_after_an_inner_one_ends() -> None:
    c = np.tile([1.0, 2.0, 3.0], (1000, 1))

    def f(x: Any) -> Any:
        y = np.sum(tg.grad(lambda y: np.sum(y * c * x * x))(x))
        c[:] = 100.0  # the outer derivative still needs it
        return y

    with pytest.raises(ValueError, match="read-only"):
        tg.grad(f)(X)
    assert c.flags.writeable
