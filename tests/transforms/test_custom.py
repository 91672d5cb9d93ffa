"""Derivatives that the user gives: when their rules run, and what is kept between them. (Most of them are tried in
`test_grad.py`, with all transforms.)"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.transforms.test_grad import forward, linearized, reverse
from tracegrad.core.check import check
from tracegrad.core.errors import DifferentiationError, ShapeError
from tracegrad.custom_derivatives import SymbolicZero, custom_vjp_primal_tree_values, zero_from_primal

jax.config.update("jax_enable_x64", True)

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


# ---------------------------------------------------------------------------------------------------------------------
# Functions with derivatives of their own. Their rules are wrong on purpose where that shows that they are used.


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


def test_custom_functions_of_pytrees() -> None:
    @tg.custom_vjp
    def f(p: Any, scale: Any) -> Any:
        return {"out": p["w"] * scale, "n": None, "sum": np.sum(p["b"])}

    def fwd(p: Any, scale: Any) -> Any:
        return f(p, scale), (p, scale)

    def bwd(residuals: Any, ct: Any) -> Any:
        p, scale = residuals
        return {"w": 5.0 * ct["out"] * scale, "b": [7.0 * ct["sum"] * np.ones_like(b) for b in p["b"]]}, None

    f.defvjp(fwd, bwd)
    p = {"w": X, "b": [1.0, 2.0]}
    loss = lambda p, scale: np.sum(f(p, scale)["out"]) + f(p, scale)["sum"]
    by_p, by_scale = tg.grad(loss, (0, 1))(p, 3.0)
    near(by_p, {"w": np.full(3, 15.0), "b": [np.float64(7.0), np.float64(7.0)]})
    near(by_scale, np.float64(0.0))  # None: a zero
    t = {"w": np.ones(3), "b": [1.0, 1.0]}
    near(tg.jvp(lambda p: loss(p, 3.0), (p,), (t,))[1], np.float64(45.0 + 14.0))

    @tg.custom_jvp
    def g(p: Any) -> Any:
        return p["w"] * p["b"][0], np.sum(p["w"])

    g.defjvp(lambda primals, tangents: (g(*primals), (11.0 * tangents[0]["w"], 0.0 * tangents[0]["b"][1])))
    near(tg.grad(lambda p: np.sum(g(p)[0]) + g(p)[1])(p), {"w": np.full(3, 11.0), "b": [np.float64(0.0)] * 2})


def test_defjvps() -> None:
    @tg.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y

    f.defjvps(lambda t, out, x, y: 10.0 * np.cos(x) * y * t, None)
    near(tg.grad(f, (0, 1))(0.5, 2.0), (np.float64(20.0 * np.cos(0.5)), np.float64(0.0)))


def test_nondiff_argnums() -> None:
    @functools.partial(tg.custom_vjp, nondiff_argnums=(0, 2))
    def f(func: Any, x: Any, power: int) -> Any:
        return func(x) ** power

    f.defvjp(
        lambda func, x, power: (f(func, x, power), x),
        lambda func, power, x, ct: (ct * power * 100.0,),
    )
    near(tg.grad(f, 1)(np.sin, 0.5, 3), np.float64(300.0))
    near(tg.jvp(lambda x: f(np.sin, x, 2), (0.5,), (1.0,))[1], np.float64(200.0))
    near(tg.vmap(lambda x: f(np.sin, x, 2))(X), np.sin(X) ** 2)

    @functools.partial(tg.custom_jvp, nondiff_argnums=(1,))
    def g(x: Any, mode: str) -> Any:
        return x * len(mode)

    @g.defjvp
    def g_jvp(mode: str, primals: Any, tangents: Any) -> Any:
        return g(*primals, mode), tangents[0] * 1000.0

    near(tg.grad(g)(2.0, "four"), np.float64(1000.0))
    near(g(2.0, mode="four"), 8.0)

    @functools.partial(tg.custom_jvp, nondiff_argnums=(-1,))
    def h(x: Any, mode: str) -> Any:
        return x

    h.defjvp(lambda mode, primals, tangents: (primals[0], tangents[0] * len(mode)))
    near(tg.grad(h)(2.0, "four"), np.float64(4.0))


def test_custom_functions_with_defaults_and_keywords() -> None:
    @tg.custom_jvp
    def f(x: Any, scale: Any = 3.0) -> Any:
        return x * scale

    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * 7.0 + tangents[1] * 5.0))
    near(tg.grad(f)(2.0), np.float64(7.0))
    near(tg.grad(lambda s: f(2.0, scale=s))(3.0), np.float64(5.0))
    assert f.__name__ == "f"


def test_custom_methods() -> None:
    class Model:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        @functools.partial(tg.custom_jvp, nondiff_argnums=(0,))
        def apply(self, x: Any) -> Any:
            return self.scale * x

        @apply.defjvp
        def apply_jvp(self, primals: Any, tangents: Any) -> Any:
            return self.apply(*primals), 100.0 * self.scale * tangents[0]

        @staticmethod
        @tg.custom_vjp
        def clip(x: Any) -> Any:
            return x

    Model.clip.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1.0, 1.0),))
    model = Model(2.0)
    near(model.apply(3.0), 6.0)
    near(tg.grad(model.apply)(3.0), np.float64(200.0))
    near(tg.grad(lambda x: model.apply(x) * 2.0)(3.0), np.float64(400.0))
    near(tg.grad(lambda x: 10.0 * model.clip(x))(3.0), np.float64(1.0))


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


@pytest.mark.parametrize(
    "rule, error, message",
    [
        (lambda p, t: t[0], DifferentiationError, "must return a pair"),
        (lambda p, t: (p[0], t[0][:1]), ShapeError, r"returned f64\[1\]"),
        (lambda p, t: (p[0], (t[0], t[0])), ShapeError, "of structure"),
        (lambda p, t: (p[0][:1], t[0][:1]), ShapeError, r"f64\[1\]"),
    ],
)
def test_wrong_jvp_rules(rule: Any, error: Any, message: str) -> None:
    f = tg.custom_jvp(lambda x: x * 2.0)
    f.defjvp(rule)
    for derive in (lambda: tg.jvp(f, (X,), (X,)), lambda: tg.grad(lambda x: np.sum(f(x)))(X)):
        with pytest.raises(error, match=message):
            derive()


@pytest.mark.parametrize(
    "fwd, bwd, error, message",
    [
        (lambda x, y: x, lambda r, ct: (ct, ct), DifferentiationError, "must return a pair"),
        (lambda x, y: (x, None), lambda r, ct: ct, DifferentiationError, "must return a tuple"),
        (lambda x, y: (x, None), lambda r, ct: (ct,), DifferentiationError, "tuple of 1"),
        (lambda x, y: (x, None), lambda r, ct: (ct[:1], ct), ShapeError, r"returned f64\[1\]"),
        (lambda x, y: (x, None), lambda r, ct: ((ct, ct), ct), ShapeError, "of structure"),
        (lambda x, y: (x[:1], None), lambda r, ct: (ct, ct), ShapeError, r"f64\[1\]"),
    ],
)
def test_wrong_vjp_rules(fwd: Any, bwd: Any, error: Any, message: str) -> None:
    f = tg.custom_vjp(lambda x, y: x * y)
    f.defvjp(fwd, bwd)
    for derive in (
        lambda: tg.grad(lambda x: np.sum(f(x, X)))(X),
        lambda: tg.jvp(lambda x: f(x, X), (X,), (X,)),
    ):
        with pytest.raises(error, match=message):
            derive()


def test_missing_rules() -> None:
    f = tg.custom_jvp(lambda x: x)
    g = tg.custom_vjp(lambda x: x)
    assert f(2.0) == g(2.0) == 2.0
    for h in (f, g):
        with pytest.raises(DifferentiationError, match="has no rules yet"):
            tg.grad(h)(2.0)


def test_nondiff_argnames() -> None:
    def f(x: Any, power: Any, y: Any, scale: Any = 1.0) -> Any:
        return scale * x**power + y

    g = tg.custom_jvp(f, nondiff_argnums=(3,), nondiff_argnames="power")
    assert g.nondiff_argnums == (1, 3)

    @g.defjvp
    def _(power: Any, scale: Any, primals: Any, tangents: Any) -> Any:
        return f(primals[0], power, primals[1], scale), 10 * power * scale * tangents[0] + tangents[1]

    assert tg.grad(g, (0, 2))(2.0, 3, 1.0, 5.0) == (150.0, 1.0)
    h = tg.custom_vjp(f, nondiff_argnames=["power", "scale"])
    h.defvjp(
        lambda x, power, y, scale: (f(x, power, y, scale), None), lambda power, scale, _, ct: (ct * power, ct * scale)
    )
    assert tg.grad(h, (0, 2))(2.0, 3, 1.0, scale=5.0) == (3.0, 5.0)
    with pytest.raises(ValueError, match=r"custom_jvp at .*nondiff_argnames='z', but .*f' .* has no parameter 'z'"):
        tg.custom_jvp(f, nondiff_argnames="z")
    with pytest.raises(TypeError, match=r"nondiff_argnums must be an int .*names go into nondiff_argnames"):
        tg.custom_vjp(f, nondiff_argnums="power")


# ---------------------------------------------------------------------------------------------------------------------
# Closures over tracers of enclosing transforms, symbolic zeros, and rules that apply the function itself.


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
    text = r"'f' with custom derivatives, called at \S+test_custom.py:\d+.*closes over a traced f64.*pass it as an argument"
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


def test_symbolic_zeros_of_jvp() -> None:
    seen: list[Any] = []

    @tg.custom_jvp
    def f(x: Any, y: Any, n: Any) -> Any:
        return {"product": x * y[0], "sum": x + y[1], "n": n}

    def rule(primals: Any, tangents: Any) -> Any:
        (x, y, _), (dx, dy, dn) = primals, tangents
        zeros = [type(t) is SymbolicZero for t in (dx, *dy, dn)]
        seen.append(zeros)
        assert dn.dtype == tg.float0
        assert all((z.shape, z.dtype) == ((), np.float64) for z in (dx, *dy) if type(z) is SymbolicZero)
        product = sum([a * t for a, t, z in ((y[0], dx, zeros[0]), (x, dy[0], zeros[1])) if not z])
        return f(*primals), {"product": product, "sum": dx, "n": dn}

    f.defjvp(rule, symbolic_zeros=True)
    assert tg.jvp(lambda x: f(x, (2.0, 5.0), 3)["product"], (1.0,), (1.0,)) == (2.0, 2.0)
    for made in (lambda f: f, tg.jit, tg.checkpoint):
        assert float(tg.grad(made(lambda x: f(x, (2.0, 5.0), 3)["product"]))(1.0)) == 2.0
        assert float(tg.grad(made(lambda y: f(4.0, (y, 5.0), 3)["product"]))(1.0)) == 4.0
        assert float(tg.grad(made(lambda y: f(4.0, (2.0, y), 3)["sum"]))(1.0)) == 0.0  # dx of the rule is zero
    assert tg.vmap(tg.grad(lambda x: f(x, (2.0, 5.0), 3)["product"]))(np.ones(2)).tolist() == [2.0, 2.0]
    assert {tuple(zeros) for zeros in seen} == {
        (False, True, True, True), (True, False, True, True), (True, True, False, True),
    }  # fmt: skip


def test_symbolic_zeros_of_vjp() -> None:
    seen: list[Any] = []

    @tg.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y[0], x + y[1]

    def fwd(x: Any, y: Any) -> Any:
        seen.append((x.perturbed, y[0].perturbed, y[1].perturbed))
        return f(*custom_vjp_primal_tree_values((x, y))), (x.value, y[0].value)

    def bwd(residuals: Any, ct: Any) -> Any:
        seen.append([type(c) is SymbolicZero for c in ct])
        return None, (zero_from_primal(1.0) if type(ct[0]) is SymbolicZero else residuals[0] * ct[0], None)

    f.defvjp(fwd, bwd, symbolic_zeros=True)
    for made in (lambda f: f, tg.jit, tg.checkpoint, tg.vmap):
        x = np.ones(2) if made is tg.vmap else 1.0
        for i, expected in ((0, 3.0), (1, 0.0)):
            found = made(tg.grad(lambda y: f(3.0, (y, 2.0))[i]))(x)
            assert np.array_equal(found, np.full(np.shape(x), expected))
            assert seen == [(False, True, False), [i == 1, i == 0]]
            seen.clear()


@pytest.mark.parametrize(
    "returned, expected",
    [
        (lambda ct: ({"a": ct, "b": None}, None), (1.0, 0.0, 0.0)),
        (lambda ct: ({"a": None, "b": (ct, None)}, None), (0.0, 1.0, 0.0)),
        (lambda ct: (None, None), (0.0, 0.0, 0.0)),
    ],
)
def test_none_for_a_part_of_what_bwd_returns(returned: Any, expected: Any) -> None:
    f = tg.custom_vjp(lambda d, n: d["a"] + d["b"][0] + d["b"][1])
    f.defvjp(lambda d, n: (f(d, n), None), lambda _, ct: returned(ct))
    for made in (lambda f: f, tg.jit, tg.checkpoint):
        found = tg.grad(made(f))({"a": 1.0, "b": (2.0, 3.0)}, 1)
        assert found == {"a": expected[0], "b": expected[1:]}
    found = tg.vmap(tg.grad(f), (0, None))({"a": np.ones(2), "b": (np.ones(2), np.ones(2))}, 1)
    assert [x.tolist() for x in tg.tree.leaves(found)] == [[e, e] for e in expected]


def test_a_cotangent_of_another_structure() -> None:
    f = tg.custom_vjp(lambda d: d["a"] + d["b"][0])
    f.defvjp(lambda d: (f(d), None), lambda _, ct: ({"a": ct, "b": ct},))
    with pytest.raises(ShapeError, match=r"structure .* for argument 0, .* but for None where a part is zero"):
        tg.grad(f)({"a": 1.0, "b": (2.0,)})


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
