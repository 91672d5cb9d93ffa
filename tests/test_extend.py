"""Ops that somebody else writes, with nothing but what `tracegrad.extend` has."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import extend
from tracegrad.core.backends import XLA_RULES
from tracegrad.core.functions import FUNCTIONS

X = np.array([-1.5, 0.25, 2.0])


@pytest.fixture
def registry() -> Iterator[dict[str, extend.Op]]:
    """The registry, from which goes again what a test adds."""
    yield extend.OPS
    for name in ("softsign", "every_other", "weighted", "positive_ones"):
        extend.OPS.pop(name, None)
        XLA_RULES.pop(name, None)


def softsign(registry: Any) -> Callable[[Any], Any]:
    op = extend.elementwise(
        "softsign", lambda x: x / (1 + np.abs(x)), lambda d, out, x: d / (1 + np.abs(x)) ** 2,
        infer=extend.same_type, samples=lambda: [extend.Sample((X,))], kinds="f",
    )  # fmt: skip

    @extend.lowers("softsign")
    def _(out: extend.ArrayType, x: Any) -> Any:
        return x / (1 + abs(x))

    return lambda x: extend.bind(op, (x,))


def every_other(registry: Any) -> Callable[[Any], Any]:
    """Linear, of another shape than its input."""

    def infer(types: Sequence[extend.ArrayType], params: extend.Params) -> extend.ArrayType:
        (n,) = types[0].shape
        return extend.ArrayType((-(-n // params["step"]),), types[0].dtype)

    def transpose(ct: Any, x: Any, step: int) -> Any:
        return np.where(np.arange(x.shape[0]) % step == 0, np.repeat(ct, step)[: x.shape[0]], 0.0)

    def batch(size: int, batched: Any, inputs: Any, params: Any) -> Any:
        return inputs[0][:, :: params["step"]]

    op = extend.linear(
        "every_other", lambda x, step: x[::step], transpose, infer=infer, batch=batch,
        samples=lambda: [extend.Sample((X,), {"step": 2})],
    )  # fmt: skip
    extend.lowers("every_other")(lambda out, x, step: x[::step])
    return lambda x: extend.bind(op, (x,), {"step": 2}) ** 2


def weighted(registry: Any) -> Callable[[Any], Any]:
    """Linear in each of two inputs, and what NumPy has as a function of its own."""
    op = extend.multilinear(
        "weighted", lambda x, y: np.sum(x * y, axis=-1),
        lambda i: lambda ct, x, y: np.expand_dims(ct, -1) * (y, x)[i],
        infer=lambda types, params: extend.ArrayType(types[0].shape[:-1], np.result_type(*[t.dtype for t in types])),
        batch=lambda size, batched, inputs, params: extend.bind(op, tuple([
            x if b else np.broadcast_to(x, (size, *x.shape)) for x, b in zip(inputs, batched, strict=True)
        ])),
        samples=lambda: [extend.Sample((X, X + 1.0))],
    )  # fmt: skip
    extend.lowers("weighted")(lambda out, x, y: (x * y).sum(-1))
    return lambda x: extend.bind(op, (np.sin(x), x))


def signs(registry: Any) -> Callable[[Any], Any]:
    """Without a derivative."""
    op = extend.locally_constant(
        "positive_ones", lambda x: x > 0, infer=lambda types, params: extend.ArrayType(types[0].shape, np.dtype(bool)),
        batch=lambda size, batched, inputs, params: extend.bind(op, inputs), samples=lambda: [extend.Sample((X,))],
    )  # fmt: skip
    extend.lowers("positive_ones")(lambda out, x: x > 0)
    return lambda x: np.where(extend.bind(op, (x,)), x**3, 0.0)


@pytest.mark.parametrize(
    "make, function, derivative",
    [
        (softsign, lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
        (every_other, lambda x: x[::2] ** 2, lambda x: np.array([2 * x[0], 0.0, 2 * x[2]])),
        (weighted, lambda x: np.sum(np.sin(x) * x), lambda x: np.cos(x) * x + np.sin(x)),
        (signs, lambda x: np.maximum(x, 0.0) ** 3, lambda x: 3 * np.maximum(x, 0.0) ** 2),
    ],
)  # fmt: skip
def test_an_op_of_somebody_elses(
    make: Callable[..., Any],
    function: Callable[..., Any],
    derivative: Callable[..., Any],
    registry: dict[str, extend.Op],
) -> None:
    f = make(registry)
    name = list(registry)[-1]
    total = lambda x: np.sum(f(x))
    rows = np.stack([X, X - 0.5, 2.0 * X])
    backends = ["numpy"] + ["xla"] * (importlib.util.find_spec("jax") is not None)
    for backend in backends:
        jitted = tg.jit(f, backend=backend)
        np.testing.assert_allclose(jitted(X), function(X), rtol=1e-14)
        np.testing.assert_allclose(tg.jit(tg.grad(total), backend=backend)(X), derivative(X), rtol=1e-14)
        np.testing.assert_allclose(tg.jit(tg.vmap(f), backend=backend)(rows), [function(r) for r in rows], rtol=1e-14)
    np.testing.assert_array_equal(f(X), function(X))
    np.testing.assert_allclose(tg.grad(total)(X), derivative(X), rtol=1e-14)
    np.testing.assert_allclose(tg.vmap(tg.grad(total))(rows), [derivative(r) for r in rows], rtol=1e-14)
    assert name in str(tg.make_graph(f)(X))
    assert extend.check_rule(registry[name], backends=backends) > 1


def test_a_numpy_function_of_ones_own(registry: dict[str, extend.Op]) -> None:
    f = softsign(registry)
    given: list[Any] = []
    before = FUNCTIONS[np.unwrap]

    @extend.implements(np.unwrap)
    def unwrap(p: Any) -> Any:
        given.append(p)
        return f(p)

    try:
        assert tg.grad(lambda x: np.sum(np.unwrap(x)))(np.zeros(2)).tolist() == [1.0, 1.0] and len(given) == 1
        np.testing.assert_array_equal(unwrap(X), np.unwrap(X))
    finally:
        FUNCTIONS[np.unwrap] = before


def test_a_name_is_given_once(registry: dict[str, extend.Op]) -> None:
    softsign(registry)
    with pytest.raises(ValueError, match=r"an op named 'softsign' is registered already; choose another name"):
        softsign(registry)
    with pytest.raises(ValueError, match=r"the op 'softsign' has a rule for XLA already"):
        extend.lowers("softsign")(lambda out, x: x)
