"""Levels, and tracers that leaked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad.core.context import open_traces
from tracegrad.core.errors import UnexpectedTracerError

jax.config.update("jax_enable_x64", True)


X = np.array([0.3, -1.2, 2.0])
TRANSFORMS: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "grad": lambda f: tg.grad(f)(X),
    "value_and_grad": lambda f: tg.value_and_grad(f)(X),
    "jvp": lambda f: tg.jvp(f, (X,), (X,)),
    "vjp": lambda f: tg.vjp(f, X)[1](np.float64(1.0)),
    "linearize": lambda f: tg.linearize(f, X)[1](X),
    "linear_transpose": lambda f: tg.linear_transpose(lambda x: 2.0 * f(x), X)(np.float64(1.0)),
    "hessian": lambda f: tg.hessian(f)(X),
    "vmap": lambda f: tg.vmap(f)(np.stack([X, X])),
    "jit": lambda f: tg.grad(tg.jit(f))(X),
    "make_graph": lambda f: tg.make_graph(f)(X),
    "checkpoint": lambda f: tg.grad(tg.checkpoint(f))(X),
    "cond": lambda f: tg.grad(lambda x: tg.lax.cond(x[0] > 0, f, lambda x: np.sum(x), x))(X),
    "scan": lambda f: tg.grad(lambda x: tg.lax.scan(lambda c, _: (c + f(x), None), 0.0, None, length=2)[0])(X),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_trace_stays_open(name: str) -> None:
    before = set(open_traces)
    TRANSFORMS[name](lambda x: np.sum(3.0 * x))
    assert set(open_traces) == before

    def fails(x: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TRANSFORMS[name](fails)
    assert set(open_traces) == before


def test_the_same_tracer_at_two_levels() -> None:
    def f(x: Any) -> Any:
        inner = tg.grad(lambda y, z: y * z * x, (0, 1))(x, x)  # (x^2, x^2), each with x at the outer level
        return inner[0] * inner[1]

    near(tg.grad(f)(1.5), np.float64(4 * 1.5**3))


def leak(transform: Callable[[Any], Any]) -> Any:
    """A tracer that outlived the transform that made it."""
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2.0)
        return np.sum(x)

    transform(f)
    return kept[0]


LEAKS = {
    "grad": lambda f: tg.grad(f)(X),
    "jvp": lambda f: tg.jvp(f, (X,), (X,)),
    "vjp": lambda f: tg.vjp(f, X),
    "linearize": lambda f: tg.linearize(f, X),
    "vmap": lambda f: tg.vmap(f)(np.stack([X, X])),
    "eval_shape": lambda f: tg.eval_shape(f, X),
    "make_graph": lambda f: tg.make_graph(f)(X),
    "linear_transpose": lambda f: tg.linear_transpose(f, X),
    "grad of grad": lambda f: tg.grad(lambda x: np.sum(tg.grad(f)(x)))(X),
    "vmap of grad": lambda f: tg.vmap(tg.grad(f))(np.stack([X, X])),
    "jacfwd": lambda f: tg.jacfwd(f)(X),
    "hessian": lambda f: tg.hessian(f)(X),
}
USES: dict[str, Callable[[Any], Any]] = {
    "operator": lambda t: t + 1.0,
    "reflected": lambda t: X * t,
    "ufunc": lambda t: np.sin(t),
    "reduction": lambda t: np.sum(t),
    "method": lambda t: t.sum(),
    "index": lambda t: t[0],
    "in a later grad": lambda t: tg.grad(lambda x: np.sum(x * t))(X),
    "in a later jvp": lambda t: tg.jvp(lambda x: x * t, (X,), (X,)),
    "in a later vmap": lambda t: tg.vmap(lambda x: x * t)(X),
    "in a nested grad": lambda t: tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(y * t * x))(x)))(X),
    "as the argument of a grad": lambda t: tg.grad(lambda x: np.sum(x * x))(t),
    "as the argument of a jvp": lambda t: tg.jvp(np.sin, (t,), (t,)),
    "as the output of a grad": lambda t: tg.grad(lambda x: t[0])(X),
    "as the output of an untouched grad": lambda t: tg.value_and_grad(lambda x: LEAKED_SCALAR)(X),
    "as the output of a vjp": lambda t: tg.vjp(lambda x: t, X),
    "as the output of a jvp": lambda t: tg.jvp(lambda x: t, (X,), (X,)),
    "as the output of a vmap": lambda t: tg.vmap(lambda x: t)(X),
    "as the output of a graph": lambda t: tg.make_graph(lambda x: t)(X),
    "as a tangent": lambda t: tg.jvp(np.sin, (X,), (t,)),
    "as a cotangent": lambda t: tg.vjp(np.sin, X)[1](t),
    "in bool": lambda t: bool(t[0] > 0),
    "in a list": lambda t: np.stack([t, t]),
}
LEAKED_SCALAR: Any = None


@pytest.mark.parametrize("made", list(LEAKS))
@pytest.mark.parametrize("use", list(USES))
def test_leaked_tracers_are_always_detected(made: str, use: str) -> None:
    global LEAKED_SCALAR
    t = leak(LEAKS[made])
    kept: list[Any] = []
    LEAKS[made](lambda x: kept.append(np.sum(x)) or np.sum(x))
    LEAKED_SCALAR = kept[0]
    with pytest.raises(UnexpectedTracerError, match="a tracer leaked"):
        USES[use](t)


def test_a_leak_through_a_closure_or_an_attribute() -> None:
    class Cache:
        value: Any = None

    cache = Cache()

    def f(x: Any) -> Any:
        if cache.value is None:
            cache.value = np.sum(x**2)
        return cache.value * np.sum(x)

    tg.grad(f)(X)
    with pytest.raises(UnexpectedTracerError, match=r"escaped from the grad of .*f' .*which has ended"):
        tg.grad(f)(X)
    with pytest.raises(UnexpectedTracerError):
        f(X)


def test_a_leak_after_an_exception() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        tg.grad(f)(X)
    with pytest.raises(UnexpectedTracerError):
        kept[0] + 1.0
    with pytest.raises(UnexpectedTracerError):
        np.sum(tg.grad(lambda x: np.sum(x * kept[0]))(X))


def test_an_outer_tracer_in_an_inner_trace_is_no_leak() -> None:
    near(tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(x * y**2))(X)))(X), 2 * X)
    near(tg.grad(lambda x: tg.vmap(lambda y: y * x)(X).sum())(2.0), np.float64(X.sum()))
    near(tg.vmap(lambda x: tg.grad(lambda y: x * y)(1.0))(X), X)
