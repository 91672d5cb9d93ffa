"""A switch under vmap: each row is computed by the branch that it takes."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tests.lattice import OURS, THEIRS, transformed
from tracegrad import lax
from tracegrad.core.op import OPS
from tracegrad.ops.collective import psum

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

jnp = jax.numpy
X = np.array([[0.3, -1.2, 2.0], [0.5, 0.4, -0.1], [-1.0, -2.0, 0.5], [1.5, 0.2, 0.9]])


def test_rows_are_computed_by_the_branch_that_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, list[Any]] = {"sin": [], "cos": [], "exp": []}
    for name, log in sizes.items():

        def evaluate(x: Any, log: Any = log, name: Any = name) -> Any:
            log.append(np.shape(x))
            return getattr(np, name)(x)

        monkeypatch.setattr(OPS[name], "evaluate", evaluate)
    f = lambda i, x: lax.switch(i, [lambda x: np.sin(x), lambda x: np.cos(x), lambda x: np.exp(x)], x)
    index = np.array([1, 0, 1, 1])
    found = tg.vmap(f)(index, X)
    assert sizes == {"sin": [(1, 3)], "cos": [(3, 3)], "exp": []}
    near(found, np.where(index[:, None] == 1, np.cos(X), np.sin(X)))
    tg.vmap(f, (0, None))(index, X[0])  # what all rows share is computed once
    assert sizes == {"sin": [(1, 3), (3,)], "cos": [(3, 3), (3,)], "exp": []}
    tg.vmap(f, (None, 0))(0, X)
    assert sizes["sin"][2:] == [(4, 3)] and sizes["exp"] == []


@pytest.mark.parametrize("jit", [False, True])
def test_a_branch_not_taken_does_not_warn_nor_spoil_derivatives(jit: bool) -> None:
    def f(x: Any) -> Any:
        return lax.cond(x > 0, lambda x: np.log(x) + np.sqrt(x) / x, lambda x: np.exp(np.log1p(-x)), x)

    x = np.array([1.0, -1.0, 4.0, -0.5])
    exact = lambda x: 1 / x - 0.5 * x**-1.5 if x > 0 else -1.0
    second = lambda x: -1 / x**2 + 0.75 * x**-2.5 if x > 0 else 0.0
    wrap = tg.jit if jit else lambda g: g
    with np.errstate(all="raise"):
        near(wrap(tg.vmap(tg.grad(f)))(x), np.array([exact(v) for v in x]))
        near(wrap(tg.grad(lambda x: np.sum(tg.vmap(f)(x))))(x), np.array([exact(v) for v in x]))
        near(wrap(tg.vmap(tg.grad(tg.grad(f))))(x), np.array([second(v) for v in x]))
        near(wrap(tg.hessian(lambda x: np.sum(tg.vmap(f)(x))))(x), np.diag([second(v) for v in x]))
        near(wrap(tg.vmap(lambda x: tg.jvp(f, (x,), (1.0,))[1]))(x), np.array([exact(v) for v in x]))


def test_shared_operands_get_the_sum_of_their_cotangents() -> None:
    rng = np.random.default_rng(0)
    w, x, i = rng.normal(size=(2, 3, 3)), rng.normal(size=(5, 3)), np.array([1, 0, 2, 1, 1])

    def loss(lib: Any, xp: Any) -> Any:
        def one(i: Any, w: Any, x: Any) -> Any:
            return lib.lax.switch(i, [lambda w, x: xp.tanh(w[0] @ x), lambda w, x: w[1] @ x, lambda w, x: x], w, x)

        return lambda w, x: xp.sum(lib.vmap(one, (0, None, 0))(i, w, x) ** 2)

    near(tg.grad(loss(tg, np), (0, 1))(w, x), jax.grad(loss(jax, jnp), (0, 1))(w, x))
    near(tg.jit(tg.grad(loss(tg, np), (0, 1)))(w, x), jax.grad(loss(jax, jnp), (0, 1))(w, x))
    near(tg.jvp(tg.grad(loss(tg, np)), (w, x), (w, x)), jax.jvp(jax.grad(loss(jax, jnp)), (w, x), (w, x)))


def mixture(lib: Any, xp: Any) -> Any:
    """For each row, one of two experts, whose weights all rows share."""

    def one(i: Any, w: Any, x: Any) -> Any:
        return lib.lax.switch(i, [lambda w, x: xp.tanh(x @ w[0]) @ w[0], lambda w, x: x @ w[1]], w, x)

    return lambda i, w, x: xp.sum(lib.vmap(one, (0, None, 0))(i, w, x) ** 2)


@pytest.mark.parametrize("jit", [False, True])
def test_the_gradient_of_shared_weights_takes_no_memory_for_each_row(jit: bool) -> None:
    rng = np.random.default_rng(1)
    n, d = 300, 40
    i, w, x = rng.integers(0, 2, n), rng.normal(size=(2, d, d)), rng.normal(size=(n, d))
    gradient = tg.grad(mixture(tg, np), 1)
    gradient = tg.jit(gradient) if jit else gradient
    near(gradient(i, w, x), jax.grad(mixture(jax, jnp), 1)(i, w, x), 1e-9)
    tracemalloc.start()
    gradient(i, w, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * d * d * 8 / 2  # one matrix for half the rows


@pytest.mark.parametrize("order", list(itertools.product(["grad", "jvp", "vmap", "jit"], repeat=2)))
def test_what_becomes_of_the_gradient_of_shared_weights(order: tuple[str, ...]) -> None:
    i, x = np.array([0, 1, 1, 0]), X

    def f(lib: Any, xp: Any) -> Any:
        jit = lib.jit if lib is tg else lambda g: g
        return jit(lambda w: lib.grad(mixture(lib, xp), 1)(i, w, xp.sin(x * w[0, 0])))

    w = np.linspace(-0.4, 0.5, 18).reshape(2, 3, 3)
    for k in range(order.count("vmap")):
        w = np.stack([w, (0.8 - 0.1 * k) * w])
    plain = tuple([t for t in order if t != "jit"])
    near(transformed(OURS, f(tg, np), order)(w), run_with_numpy(transformed(THEIRS, f(jax, jnp), plain), w), 1e-10)


def test_an_index_closed_over_is_read_anew() -> None:
    i, w = np.array([0, 1, 1, 0]), np.linspace(-0.4, 0.5, 18).reshape(2, 3, 3)
    f = tg.jit(lambda w: mixture(tg, np)(i, w, X))
    before = f(w)
    i[:] = 1 - i
    near(f(w), mixture(tg, np)(i, w, X))
    assert not np.allclose(f(w), before)


@pytest.mark.parametrize("axes", list(itertools.product([0, None], repeat=4)))
def test_vmap_of_vmap(axes: Any) -> None:
    """The index and the operand are mapped by the outer one, by the inner one, by both, by none."""
    outer, inner = axes[:2], axes[2:]
    if None in (max(outer, key=str), max(inner, key=str)) and (outer == (None, None) or inner == (None, None)):
        return
    index = np.array([[0, 1, 2], [2, 2, 0]])[0 if outer[0] is None else slice(None)]
    index = index if inner[0] == 0 else index[..., 0]
    x = np.linspace(0.1, 1.3, 12).reshape(2, 3, 2)[0 if outer[1] is None else slice(None)]
    x = x if inner[1] == 0 else x[..., 0, :]

    def f(lib: Any, xp: Any) -> Any:
        def one(i: Any, x: Any) -> Any:
            branches = [
                lambda x: (xp.sin(x), x[0]),
                lambda x: (x * x[::-1], x[1] ** 2),
                lambda x: (x, 1.0 + 0.0 * x[0]),
            ]
            return lib.lax.switch(i, branches, x)

        mapped = lib.vmap(lib.vmap(one, inner), outer)
        gradient = lib.grad(lambda x: xp.sum(mapped(index, x)[0] ** 2) + xp.sum(mapped(index, x)[1]))
        return lambda index, x: (mapped(index, x), gradient(x))

    expected = run_with_numpy(f(jax, jnp), index, x)
    near(f(tg, np)(index, x), expected)
    near(tg.jit(f(tg, np))(index, x), expected)


def test_no_rows() -> None:
    f = lambda x: lax.cond(x > 0, lambda x: (x, 1), lambda x: (-x, 2), x)
    a, b = tg.vmap(f)(np.zeros(0))
    assert (a.shape, b.shape, b.dtype) == ((0,), (0,), np.int64)
    assert tg.vmap(tg.grad(lambda x: f(x)[0]))(np.zeros(0)).shape == (0,)


def test_chunks() -> None:
    f = lambda x: lax.cond(x > 0.3, np.log, lambda x: x * x, x)
    x = X.ravel()
    near(tg.vmap(f, batch_size=5)(x), tg.vmap(f)(x))
    near(tg.jit(tg.vmap(tg.grad(f), batch_size=5))(x), tg.vmap(tg.grad(f))(x))


@pytest.mark.parametrize("nesting", ["axis inside", "axis outside", "axis outside, which chooses too"])
def test_collectives_of_rows_that_share_weights(nesting: str) -> None:
    """The index of a row is mapped by another axis than the one that the branches sum over, or by both."""
    i, w = np.array([0, 1]), np.linspace(-0.4, 0.5, 18).reshape(2, 3, 3)

    def one(i: Any, w: Any, x: Any) -> Any:
        return lax.switch(i, [lambda w, x: x @ w[0] + psum(x, "j"), lambda w, x: psum(x @ w[1], "j") * x], w, x)

    def mapped(i: Any, w: Any) -> Any:
        inner = lambda f, x: tg.vmap(f, axis_name="j")(x)
        if nesting == "axis inside":
            return tg.vmap(lambda i: inner(lambda x: one(i, w, x), X))(i)
        if nesting == "axis outside":
            return np.swapaxes(inner(lambda x: tg.vmap(lambda i: one(i, w, x))(i), X), 0, 1)
        rows = tg.vmap(lambda x, i: tg.vmap(lambda i: one(i, w, x))(i), axis_name="j")(X, np.stack([i] * len(X)))
        return np.swapaxes(rows, 0, 1)

    plain = [X @ w[0] + X.sum(0), (X @ w[1]).sum(0) * X]
    near(mapped(i, w), np.stack(plain))
    near(tg.jit(mapped)(i, w), np.stack(plain))
    loss = lambda i, w: np.sum(mapped(i, w) ** 2)
    slopes = [(loss(i, w + d) - loss(i, w - d)) / 2e-5 for d in 1e-5 * np.eye(18).reshape(18, 2, 3, 3)]
    for gradient in (tg.grad(loss, 1), tg.jit(tg.grad(loss, 1)), tg.grad(tg.jit(loss), 1)):
        near(gradient(i, w), np.reshape(slopes, w.shape), 1e-7)


def test_the_pullback_of_shared_weights_is_transposed() -> None:
    i, w = np.array([0, 1, 1, 0]), np.linspace(-0.4, 0.5, 18).reshape(2, 3, 3)
    branches = [lambda w, x: np.tanh(x @ w[0]), lambda w, x: x @ w[1]]
    rows = lambda i, w: tg.vmap(lambda i, x: lax.switch(i, branches, w, x))(i, X)

    def pushed(i: Any, w: Any, t: Any) -> Any:
        pull = lambda ct: tg.vjp(lambda w: rows(i, w), w)[1](ct)[0]
        return tg.linear_transpose(pull, np.zeros((4, 3)))(t)[0]

    near(tg.jit(pushed)(i, w, np.sin(w)), tg.jvp(lambda w: rows(i, w), (w,), (np.sin(w),))[1])
