"""Branches made to agree, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.transforms.control.test_switch import names
from tracegrad import lax
from tracegrad.core.check import check
from tracegrad.core.errors import (
    DifferentiationError,
)

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

jnp = jax.numpy
X = np.array([[0.3, -1.2, 2.0], [0.5, 0.4, -0.1], [-1.0, -2.0, 0.5], [1.5, 0.2, 0.9]])
VECTOR = tg.ShapeDtypeStruct((3,), float)
NUMBER = tg.ShapeDtypeStruct((), float)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("pred", [True, False])
def test_linear_functions_are_transposed(pred: bool, known: bool) -> None:
    def linear(p: Any, c: Any) -> Any:
        return lambda x: lax.cond(p, lambda x: {"a": 2.0 * x[::-1]}, lambda x: {"a": np.sin(c) * x + x[0]}, x)

    def pulled(p: Any, c: Any, ct: Any) -> Any:
        return tg.linear_transpose(linear(p, c), X[0])({"a": ct})[0]

    expected = tg.vjp(linear(pred, 0.7), X[0])[1]({"a": X[1]})[0]
    near((pulled if known else tg.jit(pulled))(pred, 0.7, X[1]), expected)
    if not known:
        near(tg.vmap(pulled, (0, None, None))(np.array([pred, pred]), 0.7, X[1]), np.stack([expected] * 2))
        rows = np.array([pred, not pred])
        near(tg.vmap(pulled, (0, 0, None))(rows, rows * 1.0, X[1])[0], pulled(pred, float(pred), X[1]))
    graph = tg.make_graph(tg.jit(pulled))(NUMBER, NUMBER, VECTOR)
    check(graph)


def test_what_is_linear_in_one_operand_is_pulled_back_without_its_value() -> None:
    f = tg.jit(lambda p, x: lax.cond(p, lambda x: np.cumsum(x) * 2.0, lambda x: x[::-1], x))
    pull = tg.jit(lambda p, ct: tg.vjp(lambda x: f(p, x), X[0])[1](ct)[0])
    near(pull(True, X[1]), 2.0 * np.cumsum(X[1][::-1])[::-1])
    near(pull(False, X[1]), X[1][::-1])


@pytest.mark.parametrize("branch", [lambda x: x + 1.0, lambda x: x * x, lambda x: np.ones(3), lambda x: np.sin(x)])
def test_what_is_not_linear_is_not_transposed(branch: Any) -> None:
    f = lambda p, ct: tg.linear_transpose(lambda x: lax.cond(p, lambda x: 2.0 * x, branch, x), X[0])(ct)
    with pytest.raises(
        DifferentiationError, match=r"linear_transpose needs a linear function, but switch of .* at .*py:"
    ):
        tg.jit(f)(True, X[0])


@pytest.mark.parametrize("wrap", [lambda f: f, tg.jit], ids=["values", "types"])
def test_pytrees_closures_and_integers(wrap: Any) -> None:
    array = np.arange(3)

    def f(lib: Any, xp: Any) -> Any:
        def g(p: Any, n: Any, tree: Any) -> Any:
            scaled = tree["x"] * 2.0
            true = lambda t, n: {"a": (t["x"] * scaled, None), "n": n + 1, "c": xp.asarray(array) * n}
            false = lambda t, n: {"a": (t["x"] - t["y"][0], None), "n": n - 1, "c": xp.asarray(array)}
            return lib.lax.cond(p, true, false, tree, n)

        return g

    argument = {"x": X[0], "y": [np.float64(2.0), None]}
    for p in (True, False):
        found = wrap(f(tg, np))(p, 3, argument)
        assert found["a"][1] is None
        near(found, f(jax, jnp)(p, 3, argument))
        loss = lambda lib, xp: lambda t: xp.sum(f(lib, xp)(p, 3, t)["a"][0] ** 2)
        gradient = wrap(tg.grad(loss(tg, np)))(argument)
        assert gradient["y"][1] is None
        near(gradient, jax.grad(loss(jax, jnp))(argument))
        out, pull = tg.vjp(lambda t: wrap(f(tg, np))(p, 3, t), argument)
        cts = {"a": (X[1], None), "n": np.zeros((), tg.float0), "c": np.zeros(3, tg.float0)}
        near(pull(cts)[0], jax.vjp(lambda t: f(jax, jnp)(p, 3, t)["a"][0], argument)[1](X[1])[0])
    array[:] = 7  # arrays closed over are read anew
    assert wrap(f(tg, np))(False, 3, argument)["c"].tolist() == [7, 7, 7]


def test_a_tracer_closed_over_gets_its_derivative() -> None:
    f = lambda s: np.sum(tg.vmap(lambda x: lax.cond(x > 0, lambda x: x * s * s, lambda x: x * s**3, x))(X[0]))
    up, down = X[0][X[0] > 0].sum(), X[0][X[0] <= 0].sum()
    near(tg.grad(f)(2.0), np.float64(4.0 * up + 12.0 * down))
    near(tg.hessian(f)(2.0), np.float64(2.0 * up + 12.0 * down))
    near(tg.jit(tg.grad(f))(2.0), np.float64(4.0 * up + 12.0 * down))
    g = lambda p, s: tg.jit(lambda x: lax.cond(p, lambda x: x * s, lambda x: x, x))(3.0)
    near(tg.vmap(tg.grad(g, 1))(np.array([True, False]), np.array([1.0, 2.0])), np.array([3.0, 0.0]))


@pytest.mark.parametrize(
    ("one", "two", "dtype"),
    [
        (np.float32(1), np.float32(2), "float32"),
        (np.float32(1), 2.0, "float32"),
        (np.float32(1), 2, "float32"),
        (np.float32(1), np.float64(2), "float64"),
        (np.int8(1), np.float32(2), "float32"),
        (np.int8(1), 2, "int8"),
        (np.int8(1), 2.5, "float64"),
        (1, 2.5, "float64"),
        (True, 2, "int64"),
        (np.bool(True), np.uint8(3), "uint8"),
        (1.5, 1j, "complex128"),
        (np.float32(2), 1j, "complex64"),
    ],
)
def test_dtypes_are_promoted(one: Any, two: Any, dtype: str) -> None:
    for a, b in ((one, two), (two, one)):
        f = lambda p: lax.cond(p, lambda: a, lambda: b)
        for p in (True, False):
            found = tg.jit(f)(p)
            assert (np.asarray(found).dtype, found) == (np.dtype(dtype), a if p else b)
        rows = tg.vmap(f)(np.array([True, False]))
        assert (rows.dtype, rows.tolist()) == (np.dtype(dtype), [a, b])
        graph = tg.make_graph(tg.jit(f))(tg.ShapeDtypeStruct((), bool))
        check(graph)


def test_gradients_of_promoted_branches() -> None:
    f = lambda p, x: lax.cond(p, lambda x: x * x, lambda x: np.float64(3.0) * x, x)
    x = np.float32(1.5)
    for p in (True, False):
        near(tg.jit(tg.grad(f, 1))(p, x), np.float32(3.0))
    near(tg.vmap(tg.grad(f, 1))(np.array([True, False]), np.array([x, x])), np.full(2, 3.0, np.float32))
    assert type(tg.jit(lambda p: lax.cond(p, lambda: 1.0, lambda: 2.0))(True)) is float  # weak stays weak
    assert tg.jit(lambda p, x: lax.cond(p, lambda: 1.0, lambda: 2.0) * x)(True, x).dtype == np.float32


def test_zeros_are_arrays_like_others() -> None:
    f = lambda p, x, y: lax.cond(p, lambda x, y: np.sum(x * x), lambda x, y: np.sum(y), x, y)
    for g in (tg.jit(tg.grad(f, (1, 2))), lambda p, x, y: tg.vmap(tg.grad(f, (1, 2)))(np.array([p]), x[None], y[None])):
        for zeros in (g(True, X[0], X[1])[1], g(False, X[0], X[1])[0]):
            zeros += 1.0
            assert (zeros == 1.0).all()


def test_what_nobody_reads_is_not_computed() -> None:
    def both(x: Any, y: Any) -> Any:
        return np.exp(x), np.sin(y)

    f = tg.jit(lambda p, x, y: lax.cond(p, both, lambda x, y: (np.tanh(x), np.cos(y)), x, y)[0])
    (eqn,) = f.lower(True, X[0], X[1]).graph.eqns
    assert len(eqn.inputs) == 2 and len(eqn.outputs) == 1
    assert [names(g) for g in eqn.params["branches"]] == [["tanh"], ["exp"]]
    near(f(False, X[0], X[1]), np.tanh(X[0]))
    rows = tg.jit(tg.vmap(f))
    (eqn,) = rows.lower(np.array([True, False]), X[:2], X[2:]).graph.eqns
    assert (eqn.op.name, len(eqn.inputs), len(eqn.outputs)) == ("switch_rows", 2, 1)
    near(rows(np.array([True, False]), X[:2], X[2:]), np.stack([np.exp(X[0]), np.tanh(X[1])]))
    # The value is not needed for the gradient, nor is the last step towards it.
    graph = (
        tg.jit(tg.grad(lambda p, x: np.sum(lax.cond(p, np.sin, lambda x: np.exp(x) * 2.0, x)), 1))
        .lower(True, X[0])
        .graph
    )
    check(graph)
    forward = next(e for e in graph.eqns if e.op.name == "switch")
    assert set(forward.params) == {"branches"}
    assert "multiply" not in names(forward.params["branches"][0])


def test_a_derivative_keeps_what_it_needs() -> None:
    x, c = X.copy(), np.array([1.0, 2.0, 3.0])
    f = tg.vmap(lambda x: lax.cond(x[0] > 0, lambda x: np.sum(c * x * x), lambda x: np.sum(np.sin(x) * c), x))
    out, pull = tg.vjp(f, x)
    expected = pull(np.ones(4))
    x[:], c[:] = 0.0, 0.0
    near(pull(np.ones(4)), expected)
