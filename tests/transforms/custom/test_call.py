"""When the rules of a function run, in which modes and orders, and what is kept between them. (Most of it is tried in
`test_grad.py`, with all transforms.)"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.transforms.test_grad import forward, linearized, reverse
from tracegrad.core.check import check
from tracegrad.core.errors import DifferentiationError

X = np.array([0.3, -1.2, 2.0])


def test_what_fwd_returns_is_kept_until_the_backward_pass() -> None:
    ran: list[str] = []

    @tg.custom_vjp
    def f(x: Any) -> Any:
        return np.sin(x)

    def fwd(x: Any) -> Any:
        ran.append("fwd")
        return np.sin(x), np.cos(x)

    def bwd(cos: Any, ct: Any) -> Any:
        ran.append("bwd")
        return (ct * cos,)

    f.defvjp(fwd, bwd)
    _, pull = tg.vjp(f, X)
    assert ran == ["fwd"]
    for _ in range(2):
        np.testing.assert_array_equal(pull(np.ones(3))[0], np.cos(X))
    assert ran == ["fwd", "bwd", "bwd"]
    graph = tg.make_graph(lambda x: tg.grad(lambda x: np.sum(f(x)))(x))(X)
    assert [e.op.name for e in graph.eqns] == ["cos", "multiply"]
    second = tg.grad(lambda x: np.sum(tg.grad(lambda x: np.sum(f(x) ** 2))(x) ** 2))
    np.testing.assert_allclose(second(X), 4 * np.sin(2 * X) * np.cos(2 * X), rtol=1e-12)


@pytest.mark.parametrize("size", [3, 5000])
def test_what_is_kept_does_not_change_with_an_array_from_outside(size: int) -> None:
    c = np.full(size, 2.0)
    f = tg.custom_vjp(lambda x: x * c)
    f.defvjp(lambda x: (x * c, c), lambda kept, ct: (ct * kept,))
    _, pull = tg.vjp(f, np.ones(size))
    c[:] = 9.0
    np.testing.assert_array_equal(pull(np.ones(size))[0], np.full(size, 2.0))
    program = tg.jit(tg.grad(lambda x: np.sum(f(x))))
    np.testing.assert_array_equal(program(np.ones(size)), c)
    c[:] = 4.0
    np.testing.assert_array_equal(program(np.ones(size)), c)


@tg.custom_jvp
def forward_only(x: Any, y: Any) -> Any:
    return np.sin(x) * y


@forward_only.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, y), (tx, ty) = primals, tangents
    return forward_only(x, y), 10.0 * np.cos(x) * y * tx + np.sin(x) * ty


@tg.custom_vjp
def reverse_only(x: Any, y: Any) -> Any:
    return np.sin(x) * y


reverse_only.defvjp(
    lambda x, y: (reverse_only(x, y), (x, y)),
    lambda residuals, ct: (10.0 * np.cos(residuals[0]) * residuals[1] * ct, np.sin(residuals[0]) * ct),
)


@pytest.mark.parametrize("f", [forward_only, reverse_only], ids=["custom_jvp", "custom_vjp"])
def test_one_rule_gives_both_modes(f: Any) -> None:
    y = np.array([1.0, 2.0, 3.0])
    by_x, by_y = 10.0 * np.cos(X) * y, np.sin(X)
    near(f(X, y), np.sin(X) * y)
    near(tg.grad(lambda x, y: np.sum(f(x, y)), (0, 1))(X, y), (by_x, by_y))
    t = np.array([1.0, -1.0, 0.5])
    near(tg.jvp(f, (X, y), (t, 2 * t)), (np.sin(X) * y, by_x * t + by_y * 2 * t))
    near(tg.linearize(f, X, y)[1](t, 2 * t), by_x * t + by_y * 2 * t)
    near(tg.jvp(lambda x: f(x, y), (X,), (t,))[1], by_x * t)
    near(tg.jacfwd(f)(X, y), np.diag(by_x))
    near(tg.jacrev(f)(X, y), np.diag(by_x))
    near(tg.vmap(f)(X, y), np.sin(X) * y)
    near(tg.vmap(tg.grad(f))(X, y), by_x)
    near(tg.vmap(tg.grad(f, 1), (0, None))(X, 2.0), by_y)
    near(tg.grad(lambda y: np.sum(tg.vmap(f, (0, None))(X, y)))(2.0), np.sum(by_y))
    near(tg.jvp(lambda x: tg.vmap(f)(x, y), (X,), (t,))[1], by_x * t)
    check(tg.make_graph(tg.grad(lambda x: np.sum(f(x, y))))(X))
    assert tg.eval_shape(f, X, y) == tg.ShapeDtypeStruct((3,), float)


@pytest.mark.parametrize("f", [forward_only, reverse_only], ids=["custom_jvp", "custom_vjp"])
def test_higher_orders_differentiate_the_rule(f: Any) -> None:
    # The derivative is 10 cos(x) y, and what is inside it is differentiated as usual, or by the rule where f recurs.
    for outer in (tg.grad, forward, reverse, linearized):
        for inner in (tg.grad, forward, reverse, linearized):
            near(outer(inner(lambda x: f(x, 2.0)))(0.7), np.float64(-10.0 * np.sin(0.7) * 2.0))
    near(tg.grad(tg.grad(tg.grad(lambda x: f(x, 2.0))))(0.7), np.float64(-10.0 * np.cos(0.7) * 2.0))
    y = np.full(3, 2.0)
    near(tg.hessian(lambda x: np.sum(f(x, y)))(X), np.diag(-20.0 * np.sin(X)))


def test_a_custom_function_may_use_its_rules_in_python_control_flow() -> None:
    @tg.custom_jvp
    def safe_sqrt(x: Any) -> Any:
        return np.sqrt(x) if x > 0 else 0.0 * x

    @safe_sqrt.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        out = safe_sqrt(x)
        return out, (t / (2.0 * out) if x > 0 else 0.0 * t)

    near(tg.grad(safe_sqrt)(4.0), np.float64(0.25))
    near(tg.grad(safe_sqrt)(-1.0), np.float64(0.0))
    near(tg.grad(tg.grad(safe_sqrt))(4.0), np.float64(-1.0 / 32.0))


def test_custom_rules_keep_dtypes() -> None:
    x = X.astype(np.float32)
    assert tg.grad(lambda x: np.sum(forward_only(x, 2.0)))(x).dtype == np.float32
    assert tg.grad(lambda x: np.sum(reverse_only(x, 2.0 * x)))(x).dtype == np.float32

    @tg.custom_vjp
    def f(x: Any, n: Any) -> Any:
        return x * n

    f.defvjp(lambda x, n: (x * n, n), lambda n, ct: (ct.astype(np.float64) * n, None))
    assert tg.grad(lambda x: np.sum(f(x, np.array([1, 2, 3]))))(x).dtype == np.float32
    got = tg.grad(lambda p: np.sum(f(*p)), allow_int=True)((x, np.array([1, 2, 3])))
    near(got[0], np.array([1, 2, 3], np.float32))
    assert got[1].dtype == tg.float0


def test_a_rule_that_applies_the_function_to_tangents() -> None:
    @tg.custom_jvp
    def double(x: Any) -> Any:
        return 2 * x

    double.defjvp(lambda primals, tangents: (double(*primals), double(*tangents)))
    e = np.array([1.0, 2.0, 3.0])
    loop = lambda c, e: tg.lax.scan(lambda c, e: (double(c) * e, double(e * c)), c, e)
    total = lambda c, e: loop(c, e)[0] + np.sum(loop(c, e)[1])
    for made in (total, tg.jit(total), tg.checkpoint(total)):
        assert np.allclose(tg.grad(made)(1.0, e), 48 + 2 + 8 + 48)
        assert np.allclose(tg.grad(made, 1)(1.0, e), [48 + 2 + 8 + 48, 24 + 4 + 24, 16 + 16])
        assert np.allclose(tg.hessian(lambda c: made(c, e) ** 2)(1.0), 2 * 106**2)
    assert float(tg.linear_transpose(double, 1.0)(3.0)[0]) == 6.0
    assert float(tg.linearize(lambda x: double(np.sin(x)), 0.0)[1](1.0)) == 2.0
    sine = tg.custom_jvp(np.sin)
    sine.defjvp(lambda primals, tangents: (sine(*primals), sine(*tangents)))
    with pytest.raises(DifferentiationError, match=r"sin of f64\[\] at .* is not linear in what is transposed"):
        tg.grad(sine)(1.0)
