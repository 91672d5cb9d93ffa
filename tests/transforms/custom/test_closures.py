"""Functions and rules that close over tracers of enclosing transforms, and over arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad.core.errors import DifferentiationError

X = np.array([0.3, -1.2, 2.0])


def test_custom_functions_close_over_constants_and_nest() -> None:
    c = np.array([1.0, 2.0, 3.0])

    @tg.custom_vjp
    def inner(x: Any) -> Any:
        return x * c

    inner.defvjp(lambda x: (x * c, None), lambda _, ct: (ct * 100.0,))

    @tg.custom_jvp
    def outer(x: Any) -> Any:
        return np.sum(inner(x) ** 2)

    @outer.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return outer(x), np.sum(2.0 * inner(x) * 100.0 * t)

    near(tg.grad(outer)(X), 2.0 * X * c * 100.0)
    near(tg.jvp(outer, (X,), (X,))[1], np.sum(2.0 * X * c * 100.0 * X))
    near(tg.jacfwd(tg.grad(outer))(X), np.diag(np.full(3, 2.0 * 100.0 * 100.0)))
    near(tg.grad(lambda x: np.sum(inner(x) ** 2))(X), 2.0 * X * c * 100.0)


def scaled_jvp(x: Any, s: Any) -> Any:
    """x * s, whose derivative in x is 7 * s, by a rule that closes over s."""

    @tg.custom_jvp
    def f(x: Any) -> Any:
        return x * s

    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * s * 7))
    return f(x)


def scaled_vjp(x: Any, s: Any) -> Any:
    @tg.custom_vjp
    def f(x: Any) -> Any:
        return x * s

    f.defvjp(lambda x: (f(x), None), lambda _, ct: (ct * s * 7,))
    return f(x)


def backward_scaled(x: Any, s: Any) -> Any:
    """x, whose derivative is 7 * s: the rule alone closes over s."""

    @tg.custom_vjp
    def f(x: Any) -> Any:
        return x

    f.defvjp(lambda x: (x, None), lambda _, ct: (ct * s * 7,))
    return f(x)


def scanned(f: Any) -> Any:
    return lambda x, s: tg.lax.scan(lambda c, e: (f(c, e), None), x, s * np.ones(2))[0]


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("f", [scaled_jvp, scaled_vjp, backward_scaled])
def test_a_closure_over_tracers_of_enclosing_transforms(f: Any, backend: str) -> None:
    x, s = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.5, -1.0])
    values = x if f is backward_scaled else x * s
    twice = (7 * s) ** 2
    jit = lambda f: tg.jit(f, backend=backend)
    for made in (
        jit, tg.checkpoint, lambda f: tg.checkpoint(jit(f)),
        lambda f: jit(lambda x, s: tg.lax.cond(s > -5, f, lambda x, s: x * 0, x, s)),
    ):  # fmt: skip
        assert float(made(f)(x[0], s[0])) == values[0]
        assert float(tg.grad(made(f))(x[0], s[0])) == 7 * s[0]
        assert np.array_equal(tg.vmap(made(f))(x, s), values)
        assert np.array_equal(tg.vmap(tg.grad(made(f)))(x, s), 7 * s)
        assert np.array_equal(tg.grad(lambda x: np.sum(tg.vmap(made(f))(x, s)))(x), 7 * s)
    assert np.array_equal(tg.vmap(lambda s: tg.grad(lambda x: f(x, s))(2.0))(s), 7 * s)
    assert np.array_equal(tg.vmap(lambda s: f(2.0, s))(s), 2.0 * s if f is not backward_scaled else [2.0] * 3)
    for made in (scanned(f), jit(scanned(f)), tg.checkpoint(scanned(f))):
        assert np.allclose(tg.vmap(tg.grad(made))(x, s), twice)
        assert np.allclose(tg.grad(lambda x: np.sum(tg.vmap(made)(x, s)))(x), twice)
        assert np.allclose(tg.vmap(lambda x, s: tg.jvp(lambda x: made(x, s), (x,), (1.0,))[1])(x, s), twice)
    named = tg.vmap(lambda x, s: tg.grad(lambda x: f(x, tg.lax.psum(s, "i")))(x), axis_name="i")
    assert np.array_equal(named(x, s), [7 * np.sum(s)] * 3)


def test_derivatives_of_derivatives_of_a_closure() -> None:
    def f(x: Any, s: Any) -> Any:
        @tg.custom_jvp
        def g(x: Any) -> Any:
            return x * x

        g.defjvp(lambda primals, tangents: (g(*primals), tangents[0] * s * primals[0]))
        return g(x)

    for made in (f, tg.jit(f), tg.checkpoint(f)):
        assert float(tg.grad(tg.grad(made))(2.0, 3.0)) == 3.0
        assert float(tg.grad(tg.grad(made), 1)(2.0, 3.0)) == 2.0  # by the rule, which is an ordinary function of s
    # d/dc of c -> c**8 by the rules is 6 c**7 for steps 1, 2, 3, and its derivative 24 c**6.
    loop = lambda c: tg.lax.scan(lambda c, e: (f(c, e), None), c, np.array([1.0, 2.0, 3.0]))[0]
    assert np.allclose([tg.grad(loop)(1.1), tg.grad(tg.grad(loop))(1.1)], [6 * 1.1**7, 24 * 1.1**6])


@pytest.mark.parametrize("f", [scaled_jvp, scaled_vjp])
def test_no_derivative_in_what_is_closed_over(f: Any) -> None:
    text = r"'f' with custom derivatives, called at \S+test_closures.py:\d+.*closes over a traced f64.*pass it as an argument"
    for made in (f, tg.jit(f), tg.checkpoint(f), scanned(f)):
        for taken in (tg.grad(made, 1), tg.grad(made, (0, 1)), tg.jit(tg.grad(made, 1)), tg.vmap(tg.grad(made, 1))):
            x, s = (np.ones(2), np.ones(2)) if taken.__name__.startswith("vmap") else (2.0, 3.0)
            with pytest.raises(DifferentiationError, match=text):
                taken(x, s)
        with pytest.raises(DifferentiationError, match=text):
            tg.jvp(lambda s: made(2.0, s), (3.0,), (1.0,))
        with pytest.raises(DifferentiationError, match=text):
            tg.grad(lambda s: made(s, s))(3.0)
    for made in (lambda f: f, tg.jit, tg.checkpoint):
        stopped = made(lambda x, s: f(x, tg.stop_gradient(s * 1.0)))
        assert tg.grad(stopped, (0, 1))(2.0, 3.0) == (21.0, 0.0)
        assert tg.jvp(stopped, (2.0, 3.0), (1.0, 1.0)) == (6.0, 21.0)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("reverse_rule", [False, True])
def test_a_graph_made_elsewhere_whose_custom_call_closes_over_an_array(backend: Any, reverse_rule: bool) -> None:
    weights, ran = np.array([1.0, 2.0, 3.0]), []

    def product(x: Any) -> Any:
        ran.append(1)
        return np.sin(x) * weights

    f: Any
    if reverse_rule:
        f = tg.custom_vjp(product)
        f.defvjp(lambda x: (np.sin(x) * weights, x), lambda x, ct: (ct * 7.0 * np.cos(x) * weights,))
    else:
        f = tg.custom_jvp(product)
        f.defjvp(lambda p, t: (np.sin(p[0]) * weights, t[0] * 7.0 * np.cos(p[0]) * weights))
    graph = tg.make_graph(lambda x: f(x).sum())(X)
    value = lambda x: graph(x)[0]
    for made, x, derived in ((value, X, False), (tg.grad(value), X, True), (tg.vmap(value), np.stack([X, X]), False)):
        jitted: Any = tg.jit(made, backend=backend)
        for factor in (1.0, 2.0):  # the array is read anew at each call
            weights[:] = factor * np.array([1.0, 2.0, 3.0])
            expected = 7.0 * np.cos(x) * weights if derived else np.sum(np.sin(x) * weights, -1)
            near(jitted(x), expected)
    ran.clear()
    tg.jit(value, backend=backend)(X)
    assert len(ran) == 1
    inner = tg.jit(value, backend=backend)  # a Graph in a Graph in a program
    again = tg.make_graph(lambda x: inner(x))(X)
    near(tg.jit(lambda x: again(x)[0], backend=backend)(X), np.sum(np.sin(X) * weights))
