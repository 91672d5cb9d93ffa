"""The two interpreters of linear maps: long chains, linearize, linear_transpose."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import near
from tracegrad.core.errors import DifferentiationError
from tracegrad.core.graph import evaluate

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])
LENGTH = 100_000


def chain(x: Any, length: int = LENGTH) -> Any:
    for _ in range(length):
        x = x * 1.00001
    return x


def test_long_chains() -> None:
    """A hundred thousand ops, without recursion anywhere, deletion included. (grad and jvp: tests/test_scale.py.)"""
    expected = 1.00001**LENGTH
    out, pull = tg.vjp(chain, 1.0)
    assert pull(1.0)[0] == pytest.approx(expected, rel=1e-9)
    assert pull(2.0)[0] == pytest.approx(2 * expected, rel=1e-9)
    out, push = tg.linearize(chain, 1.0)
    assert push(2.0) == pytest.approx(2 * expected, rel=1e-9)
    graph = tg.make_graph(chain)(1.0)
    assert len(graph.eqns) == LENGTH
    assert evaluate(graph, (1.0,))[0] == pytest.approx(expected, rel=1e-9)
    assert graph == graph and isinstance(hash(graph), int)
    assert str(graph).count("\n") >= LENGTH


@pytest.mark.slow
def test_long_chains_of_second_order_and_batched() -> None:
    square = lambda x: 0.5 * chain(x) ** 2
    assert tg.grad(tg.grad(square))(1.0) == pytest.approx(1.00001 ** (2 * LENGTH), rel=1e-9)
    got = tg.vmap(tg.grad(chain))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(got, 1.00001**LENGTH)
    transposed = tg.linear_transpose(chain, 1.0)(1.0)[0]
    assert transposed == pytest.approx(1.00001**LENGTH, rel=1e-9)


def test_linearize_runs_the_function_once() -> None:
    calls = []

    def f(x: Any) -> Any:
        calls.append(1)
        return np.sin(x) * x

    out, push = tg.linearize(f, X)
    for t in (X, np.ones(3), 2 * X):
        near(push(t), (np.cos(X) * X + np.sin(X)) * t)
    assert len(calls) == 1
    near(tg.grad(lambda t: np.sum(push(t)))(X), np.cos(X) * X + np.sin(X))
    near(tg.vmap(push)(np.eye(3)), np.diag(np.cos(X) * X + np.sin(X)))
    near(tg.grad(lambda s: np.sum(tg.linearize(lambda x: s * np.sin(x), X)[1](X)))(2.0), np.sum(np.cos(X) * X))


def test_linear_transpose() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    y = np.array([1.0, -2.0])
    f = lambda x: matrix @ x
    near(tg.linear_transpose(f, np.zeros(3))(y), (matrix.T @ y,))
    near(tg.linear_transpose(f, tg.ShapeDtypeStruct((3,), float))(y), (matrix.T @ y,))
    twice = tg.linear_transpose(lambda ct: tg.linear_transpose(f, np.zeros(3))(ct)[0], np.zeros(2))
    near(twice(X), (matrix @ X,))
    g = lambda p: (2.0 * p["a"] - p["b"][::-1], np.sum(p["b"], keepdims=True))
    got = tg.linear_transpose(g, {"a": X, "b": X})((X, np.ones(1)))
    near(got, ({"a": 2.0 * X, "b": 1.0 - X[::-1]},))
    near(tg.linear_transpose(lambda x, y: x + 2.0 * y, X, X)(X), (X, 2 * X))
    near(tg.grad(lambda s: np.sum(tg.linear_transpose(lambda x: s * x, X)(X)[0]))(3.0), np.sum(X))
    near(tg.linear_transpose(lambda x: np.zeros(2), X)(y), (np.zeros(3),))
    near(tg.linear_transpose(lambda x: -x / 2.0 + np.where(X > 0, x, 0), X)(np.ones(3)), ((X > 0) - 0.5,))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sin(x), lambda x: x * x, lambda x: x + 1.0, lambda x: 1.0 - x, lambda x: 1.0 / x,
        lambda x: x**2, lambda x: np.concatenate([x, np.ones(2)]), lambda x: (2.0 * x, np.ones(3)),
        lambda x: np.where(X > 0, x, 1.0), lambda x: np.maximum(x, 0), lambda x: np.stack([x, X]),
    ],
)  # fmt: skip
def test_linear_transpose_refuses_what_is_not_linear(f: Any) -> None:
    with pytest.raises(DifferentiationError, match="linear"):
        tg.linear_transpose(f, X)


def test_linear_transpose_takes_zeros_for_linear() -> None:
    """An added zero leaves a function linear."""
    near(tg.linear_transpose(lambda x: x + 0.0, X)(X), (X,))
    near(tg.linear_transpose(lambda x: sum([v for v in x]), X)(1.0), (np.ones(3),))
    near(tg.linear_transpose(lambda x: np.where(X > 0, x, 0.0), X)(np.ones(3)), ((X > 0) * 1.0,))


def test_pushing_forward_lets_go_of_equations_and_tangents_on_its_way() -> None:
    x = np.ones(10_000)

    def sines(x: Any) -> Any:
        for _ in range(50):
            x = np.sin(x)
        return x

    def peak(call: Callable[[], Any]) -> float:
        call()
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1] / x.nbytes
        finally:
            tracemalloc.stop()

    # The values of the chain, of which a tangent takes the place of each, or a factor does.
    assert peak(lambda: tg.jvp(sines, (x,), (x,))) < 58
    assert peak(lambda: tg.linearize(sines, x)) < 62


def test_a_tangent_is_kept_for_each_of_the_outputs_also_where_it_is_read_again() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)
        return y, x, y * 2.0, y, np.cos(y), 3.0

    out, tangents = tg.jvp(f, (0.5,), (1.0,))
    s, c = np.sin(0.5), np.cos(0.5)
    np.testing.assert_allclose(tangents, [c, 1.0, 2 * c, c, -np.sin(s) * c, 0.0], rtol=1e-14)
    assert tg.linearize(f, 0.5)[1](1.0) == tangents


def _written_into(t: Any) -> Any:
    y = tnp.zeros(3)
    y[0] = t[0]
    y[1:] += 2 * t
    return y


def _by_constants(t: Any) -> Any:
    w = tnp.zeros(2)
    w[1] = 3.0
    return w * t + tnp.eye(2)[::-1] @ t / (tnp.arange(2.0) + 1)


def test_arrays_that_a_linear_function_makes() -> None:
    """`tnp.zeros(n)` can be written into there as under other transforms, and constants are still constants."""
    for f in (_written_into, _by_constants):
        matrix = np.stack([f(e) for e in np.eye(2)], axis=1)
        ct = np.arange(1.0, 1.0 + len(matrix))
        transposed = tg.linear_transpose(f, np.ones(2))
        np.testing.assert_allclose(transposed(ct)[0], matrix.T @ ct)
        np.testing.assert_allclose(tg.jit(transposed)(ct)[0], matrix.T @ ct)

    def scaled(s: Any) -> Any:
        def linear(t: Any) -> Any:
            y = tnp.ones(2) * s
            y *= t
            return y

        return np.sum(tg.linear_transpose(linear, np.ones(2))(np.array([2.0, 5.0]))[0])

    assert (scaled(3.0), tg.grad(scaled)(3.0), tg.jit(tg.grad(scaled))(3.0)) == (21.0, 7.0, 7.0)

    def affine(t: Any) -> Any:
        y = tnp.zeros(3)
        y[1] = 5.0
        y[0] = t[0]
        return y

    with pytest.raises(
        DifferentiationError, match=r"scatter of f64\[3\], f64\[\] at .* brings in a constant that is not zero"
    ):
        tg.linear_transpose(affine, np.ones(2))


@pytest.mark.parametrize("name", ["binom", "boxcox", "erf", "erfc", "exp1", "inv_boxcox", "ive", "huber", "log_expit"])
def test_what_is_no_float_has_no_derivative(name: str) -> None:
    """Nor does a rule have to work for it: that of erf takes the negative of its input."""
    function = getattr(tg.scipy.special, name)
    count = 1 if name in ("erf", "erfc", "exp1", "log_expit") else 2
    for convert in (lambda x: x > 1.5, lambda x: (x > 1.5).astype(int) + 1):
        f = lambda x, convert=convert: np.sum(function(*[convert(x)] * count) * x)
        assert np.array_equal(
            tg.grad(f)(np.array([1.0, 2.0, 3.0])), function(*[convert(np.array([1.0, 2.0, 3.0]))] * count)
        )
