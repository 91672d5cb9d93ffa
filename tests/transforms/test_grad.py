"""The transforms: what they return, for every way of calling them, against closed forms, mpmath and jax."""

from __future__ import annotations

import functools
import gc
import itertools
import threading
import weakref
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad import tree
from tracegrad.core.check import check
from tracegrad.core.context import open_traces
from tracegrad.core.errors import DifferentiationError, DtypeError, ShapeError, UnexpectedTracerError
from tracegrad.core.graph import evaluate

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])
Point = namedtuple("Point", "x y")


def times(transform: Callable[..., Any], count: int, f: Callable[..., Any]) -> Callable[..., Any]:
    for _ in range(count):
        f = transform(f)
    return f


def forward(f: Callable[..., Any]) -> Callable[..., Any]:
    """The derivative of a function of one number, in forward mode."""
    return lambda x: tg.jvp(f, (x,), (1.0,))[1]


def reverse(f: Callable[..., Any]) -> Callable[..., Any]:
    def derivative(x: Any) -> Any:
        out, pull = tg.vjp(f, x)
        return pull(np.ones_like(out))[0]

    return derivative


def linearized(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: tg.linearize(f, x)[1](1.0)


DERIVATIVES = [tg.grad, forward, reverse, linearized, tg.jacfwd, tg.jacrev]
NAMES = ["grad", "jvp", "vjp", "linearize", "jacfwd", "jacrev"]
each_derivative = pytest.mark.parametrize("derivative", DERIVATIVES, ids=NAMES)


# ---------------------------------------------------------------------------------------------------------------------
# Calling conventions.


def f3(x: Any, y: Any, z: Any) -> Any:
    return np.sum(x * np.sin(y)) + z * z * np.sum(x)


ARGS = (X, np.array([1.0, 0.5, -0.5]), 3.0)


def f3_jax(x: Any, y: Any, z: Any) -> Any:
    return jnp.sum(x * jnp.sin(y)) + z * z * jnp.sum(x)


@pytest.mark.parametrize("argnums", [0, 1, 2, -1, -3, (0,), (1, 2), (2, 0), (0, -1), [0, 1]])
def test_argnums(argnums: Any) -> None:
    count = 3
    positive = argnums % count if isinstance(argnums, int) else tuple([i % count for i in argnums])
    near(tg.grad(f3, argnums)(*ARGS), run_with_numpy(jax.grad(f3_jax, positive), *ARGS))
    value, gradient = tg.value_and_grad(f3, argnums)(*ARGS)
    near(value, f3(*ARGS))
    near(gradient, run_with_numpy(jax.grad(f3_jax, positive), *ARGS))
    near(tg.jacfwd(f3, argnums)(*ARGS), run_with_numpy(jax.jacfwd(f3_jax, positive), *ARGS))
    near(tg.jacrev(f3, argnums)(*ARGS), run_with_numpy(jax.jacrev(f3_jax, positive), *ARGS))
    near(tg.hessian(f3, argnums)(*ARGS), run_with_numpy(jax.hessian(f3_jax, positive), *ARGS))


def test_keywords_are_handed_on() -> None:
    def f(x: Any, *, scale: Any, power: int = 2) -> Any:
        return np.sum(scale * x**power)

    near(tg.grad(f)(X, scale=2.0, power=3), 6.0 * X**2)
    near(tg.value_and_grad(f)(X, scale=2.0)[1], 4.0 * X)
    near(tg.jacfwd(f)(X, scale=2.0), 4.0 * X)
    near(tg.hessian(f)(X, scale=2.0), 4.0 * np.eye(3))
    outer = tg.grad(lambda s: np.sum(tg.grad(f)(X, scale=s)))
    near(outer(1.5), np.sum(2 * X))


def test_auxiliary_output() -> None:
    def f(x: Any) -> Any:
        return np.sum(x**2), {"twice": 2 * x, "text": "kept", "count": 3, "none": None}

    gradient, aux = tg.grad(f, has_aux=True)(X)
    near(gradient, 2 * X)
    assert type(aux["twice"]) is np.ndarray
    near(aux["twice"], 2 * X)
    assert (aux["text"], aux["count"], aux["none"]) == ("kept", 3, None)
    (value, aux), gradient = tg.value_and_grad(f, has_aux=True)(X)
    near((value, gradient), (np.sum(X**2), 2 * X))
    out, pull, aux = tg.vjp(f, X, has_aux=True)
    near((out, pull(2.0)[0], aux["twice"]), (np.sum(X**2), 4 * X, 2 * X))
    out, tangent, aux = tg.jvp(f, (X,), (X,), has_aux=True)
    near((out, tangent, aux["twice"]), (np.sum(X**2), 2 * np.sum(X * X), 2 * X))
    out, push, aux = tg.linearize(f, X, has_aux=True)
    near((out, push(X), aux["twice"]), (np.sum(X**2), 2 * np.sum(X * X), 2 * X))
    for jacobian in (tg.jacfwd, tg.jacrev):
        got, aux = jacobian(f, has_aux=True)(X)
        near((got, aux["twice"]), (2 * X, 2 * X))
    got, aux = tg.hessian(f, has_aux=True)(X)
    near((got, aux["twice"]), (2 * np.eye(3), 2 * X))


def test_auxiliary_output_belongs_to_the_level_of_the_caller() -> None:
    def outer(x: Any) -> Any:
        gradient, aux = tg.grad(lambda y: (np.sum(y**3), y * x), has_aux=True)(x)
        return np.sum(gradient * aux)  # 3 x^2 * x^2, all of it differentiable

    near(tg.grad(outer)(X), 12 * X**3)


def test_pytrees() -> None:
    params = {
        "layers": [(np.array([1.0, 2.0]), 3.0), Point(np.array([[0.5]]), None)],
        "none": None,
        "ordered": OrderedDict([("z", 1.5), ("a", np.array(2.5))]),
        "default": defaultdict(list, {"q": [np.float64(0.7)]}),
        "empty": {},
    }

    def f(p: Any, xp: Any = np) -> Any:
        (w, b), (c, none) = p["layers"]
        assert none is None and p["none"] is None and p["empty"] == {}
        return xp.sum(w * b) * xp.sum(c) + p["ordered"]["z"] * p["ordered"]["a"] ** 2 + xp.sin(p["default"]["q"][0])

    got = tg.grad(f)(params)
    assert tree.tree_structure(got) == tree.tree_structure(params)
    assert type(got["layers"][1]) is Point and type(got["ordered"]) is OrderedDict
    expected = jax.grad(lambda p: f(p, jnp))(params)
    for a, b in zip(tree.tree_leaves(got), jax.tree.leaves(expected), strict=True):
        near(a, np.asarray(b))
    tangents = tree.tree_map(lambda x: 0.5 * np.ones_like(x), params)
    total = sum(float(np.sum(t * g)) for t, g in zip(tree.tree_leaves(tangents), tree.tree_leaves(got), strict=True))
    out, tangent = tg.jvp(f, (params,), (tangents,))
    near(tangent, np.float64(total))
    near(tg.linearize(f, params)[1](tangents), np.float64(total))
    (pulled,) = tg.vjp(f, params)[1](1.0)
    near(pulled, got)


def test_pytrees_of_outputs() -> None:
    f = lambda x: {"a": np.sin(x), "b": [x[0] * x[1], None, 3.0], "point": Point(x * 2, x.sum())}
    jax_f = lambda x: {"a": jnp.sin(x), "b": [x[0] * x[1], None, 3.0], "point": Point(x * 2, x.sum())}
    out, tangent = tg.jvp(f, (X,), (np.ones(3),))
    expected_out, expected = jax.jvp(jax_f, (X,), (np.ones(3),))
    for got, want in zip(
        tree.tree_leaves((out, tangent)), jax.tree.leaves((expected_out, expected)), strict=True
    ):  # fmt: skip
        near(got, np.asarray(want, np.asarray(got).dtype))
    for ours, theirs in ((tg.jacfwd, jax.jacfwd), (tg.jacrev, jax.jacrev)):
        got, want = ours(f)(X), run_with_numpy(theirs(jax_f), X)
        assert got["b"][1] is None
        for a, b in zip(tree.tree_leaves(got), jax.tree.leaves(want), strict=True):
            near(a, np.asarray(b))


def test_jacobians_between_pytrees() -> None:
    f = lambda p, y: {"u": p["a"] * y[0] + p["b"][0], "v": np.sin(p["b"][1]) * np.sum(p["a"])}
    jax_f = lambda p, y: {"u": p["a"] * y[0] + p["b"][0], "v": jnp.sin(p["b"][1]) * jnp.sum(p["a"])}
    args = ({"a": X, "b": (1.5, np.array([[0.5, 2.0]]))}, np.array([2.0, 1.0]))
    for argnums in (0, 1, (0, 1), (1, 0)):
        for ours, theirs in ((tg.jacfwd, jax.jacfwd), (tg.jacrev, jax.jacrev), (tg.hessian, jax.hessian)):
            got, want = ours(f, argnums)(*args), run_with_numpy(theirs(jax_f, argnums), *args)
            assert repr(tree.tree_structure(got)) == repr(jax.tree.structure(want))
            for a, b in zip(tree.tree_leaves(got), jax.tree.leaves(want), strict=True):
                near(a, np.asarray(b))


def test_custom_pytree_nodes() -> None:
    @tg.tree_util.register_pytree_node_class
    class Scaled:
        def __init__(self, value: Any, scale: float) -> None:
            self.value, self.scale = value, scale

        def tree_flatten(self) -> Any:
            return (self.value,), self.scale

        @classmethod
        def tree_unflatten(cls, scale: float, children: Any) -> Scaled:
            return cls(children[0], scale)

    got = tg.grad(lambda s: np.sum(s.value**2) * s.scale)(Scaled(X, 0.5))
    assert type(got) is Scaled and got.scale == 0.5
    near(got.value, X)


def test_outputs_that_do_not_depend_on_the_input() -> None:
    near(tg.grad(lambda x: 3.0)(X), np.zeros(3))
    near(tg.grad(lambda x, y: y * 2.0)(X, 1.0), np.zeros(3))
    near(tg.grad(lambda x, y: y * 2.0, (0, 1))(X, 1.0), (np.zeros(3), np.float64(2.0)))
    near(tg.jvp(lambda x: (x, 3.0, np.ones(2)), (X,), (X,))[1], (X, np.float64(0.0), np.zeros(2)))
    near(tg.linearize(lambda x: (x, np.ones(2)), X)[1](X), (X, np.zeros(2)))
    near(tg.vjp(lambda x: np.ones(2), X)[1](np.ones(2)), (np.zeros(3),))
    near(tg.jacfwd(lambda x: np.ones(2))(X), np.zeros((2, 3)))
    near(tg.jacrev(lambda x: np.ones(2))(X), np.zeros((2, 3)))
    near(tg.hessian(lambda x: np.sum(x))(X), np.zeros((3, 3)))
    near(tg.grad(lambda x: np.sum(x) + np.sum(np.floor(x)))(X), np.ones(3))


def test_names_and_documentation_of_transformed_functions() -> None:
    def energy(x: Any) -> Any:
        """The energy."""
        return np.sum(x**2)

    assert tg.grad(energy).__name__ == "grad(energy)"
    assert "The energy." in tg.grad(energy).__doc__
    assert tg.value_and_grad(tg.grad(energy)).__name__ == "value_and_grad(grad(energy))"
    assert tg.grad(functools.partial(energy))(X).tolist() == (2 * X).tolist()


def test_callables_other_than_functions() -> None:
    class Model:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def __call__(self, x: Any) -> Any:
            return np.sum(self.scale * x**2)

        def method(self, x: Any) -> Any:
            return self(x)

    model = Model(3.0)
    near(tg.grad(model)(X), 6 * X)
    near(tg.grad(model.method)(X), 6 * X)
    near(tg.grad(functools.partial(f3, y=X, z=1.0))(X), np.sin(X) + 1)
    near(tg.grad(np.sum)(X), np.ones(3))


# ---------------------------------------------------------------------------------------------------------------------
# Python on values.


@each_derivative
def test_branches_on_values(derivative: Any) -> None:
    def f(x: Any) -> Any:
        if x > 1 and not x > 5:
            return x**3
        return -x if x <= 0 else np.sin(x)

    for x, expected in [(2.0, 12.0), (-1.0, -1.0), (0.5, np.cos(0.5)), (6.0, np.cos(6.0))]:
        near(derivative(f)(x), np.float64(expected))


@each_derivative
def test_loops_on_values(derivative: Any) -> None:
    def newton(a: Any) -> Any:
        """The square root by Newton's iteration, to convergence."""
        x = a
        while abs(x * x - a) > 1e-14:
            x = 0.5 * (x + a / x)
        return x

    near(derivative(newton)(2.0), np.float64(0.5 / np.sqrt(2.0)), 1e-9)

    def power(x: Any) -> Any:
        total = x
        for _ in range(int(x)):
            total = total * x
        return total

    near(derivative(power)(3.0), np.float64(4 * 3.0**3))


@each_derivative
def test_recursion_on_values(derivative: Any) -> None:
    def f(x: Any) -> Any:
        return x if x < 1 else x * f(x - 1)

    # x (x-1) (x-2) at 2.5
    near(derivative(f)(2.5), np.float64(1.5 * 0.5 + 2.5 * 0.5 + 2.5 * 1.5))


def test_branches_on_elements_and_conversions() -> None:
    def f(x: Any) -> Any:
        largest = int(np.argmax(x))
        table = ["a", "b", "c"]
        assert table[np.argmax(x)] == "c"
        assert [v for v in range(3)][np.argmax(x)] == 2
        assert len(x) == 3 and x.ndim == 1 and x.shape == (3,) and x.size == 3 and x.dtype == np.float64
        return x[largest] ** 2 + sum(v for v in x if v > 0)

    near(tg.grad(f)(X), np.array([1.0, 0.0, 5.0]))


def test_closures() -> None:
    def make(scale: Any) -> Any:
        def inner(x: Any) -> Any:
            return np.sum(scale * x**2)

        return inner

    near(tg.grad(make(2.0))(X), 4 * X)
    near(tg.grad(lambda s: make(s)(X))(2.0), np.sum(X**2))
    near(tg.grad(lambda s: np.sum(tg.grad(make(s))(X)))(2.0), np.sum(2 * X))
    near(tg.grad(lambda s: np.sum(tg.grad(make(s))(s * X)))(2.0), np.sum(4 * 2.0 * X))


# ---------------------------------------------------------------------------------------------------------------------
# Higher orders.


def exact_derivatives(f: Callable[[Any], Any], x: float, order: int) -> list[float]:
    with mpmath.workdps(60):
        return [float(c * mpmath.factorial(i)) for i, c in enumerate(mpmath.taylor(f, mpmath.mpf(x), order))]


@each_derivative
@pytest.mark.parametrize("name", ["tanh", "exp"])
def test_six_derivatives(derivative: Any, name: str) -> None:
    # Six levels of Jacobians batch five times, which only repeats what four show.
    orders = 4 if derivative in (tg.jacfwd, tg.jacrev) else 6
    for x in (0.0, 0.3, -0.8):
        expected = exact_derivatives(getattr(mpmath, name), x, orders)
        for order in range(1, orders + 1):
            got = times(derivative, order, getattr(np, name))(x)
            assert float(got) == pytest.approx(expected[order], rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("mode", list(itertools.product([0, 1, 2, 3], repeat=3)))
def test_three_derivatives_in_every_mixture_of_modes(mode: tuple[int, ...]) -> None:
    f = lambda x: np.sin(x) * np.exp(0.5 * x) / (1 + x * x)
    exact = lambda x: mpmath.sin(x) * mpmath.exp(x / 2) / (1 + x * x)
    for m in mode:
        f = DERIVATIVES[m](f)
    assert float(f(0.7)) == pytest.approx(exact_derivatives(exact, 0.7, 3)[3], rel=1e-11)


def test_four_levels_of_everything() -> None:
    f = lambda x: np.sum(np.tanh(x) ** 2 * np.array([1.0, 2.0, 3.0]))
    jax_f = lambda x: jnp.sum(jnp.tanh(x) ** 2 * np.array([1.0, 2.0, 3.0]))
    near(tg.jacfwd(tg.jacrev(tg.hessian(f)))(X), run_with_numpy(jax.jacfwd(jax.jacrev(jax.hessian(jax_f))), X), 1e-10)
    near(tg.hessian(tg.hessian(f))(X), run_with_numpy(jax.hessian(jax.hessian(jax_f)), X), 1e-10)
    batch = np.stack([X, 2 * X])
    got = tg.vmap(tg.jacrev(tg.grad(lambda x: np.sum(tg.vmap(np.tanh)(x)))))(batch)
    near(got, run_with_numpy(jax.vmap(jax.jacrev(jax.grad(lambda x: jnp.sum(jax.vmap(jnp.tanh)(x))))), batch))


def test_hvp() -> None:
    f = lambda x: np.sum(np.sin(x) * x[::-1])
    jax_f = lambda x: jnp.sum(jnp.sin(x) * x[::-1])
    v = np.array([1.0, 2.0, -1.0])
    near(tg.hvp(f, (X,), (v,)), np.asarray(jax.hessian(jax_f)(X) @ v))
    g = lambda x, p: np.sum(x**2 * p["a"]) + p["a"] ** 3
    got = tg.hvp(g, (X, {"a": 2.0}), (v, {"a": 1.0}))
    near(got, (2 * 2.0 * v + 2 * X, {"a": np.float64(np.sum(2 * X * v) + 12.0)}))
    near(tg.grad(lambda s: np.sum(tg.hvp(lambda x: np.sum(s * x**3), (X,), (v,))))(2.0), np.sum(6 * X * v))


# ---------------------------------------------------------------------------------------------------------------------
# Perturbation confusion: what belongs to one derivative must not be taken for what belongs to another.

several_modes = [tg.grad, forward, reverse, linearized]


@pytest.mark.parametrize("outer", several_modes, ids=NAMES[:4])
@pytest.mark.parametrize("inner", several_modes, ids=NAMES[:4])
def test_perturbation_confusion(outer: Any, inner: Any) -> None:
    """Siskind and Pearlmutter, "Perturbation Confusion and Referential Transparency", IFL 2005."""
    near(outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0), np.float64(1.0))  # not 2
    near(outer(lambda x: x * inner(lambda y: x * y)(2.0))(1.0), np.float64(2.0))
    near(outer(lambda x: x * inner(lambda y: x * y)(x))(3.0), np.float64(6.0))
    near(outer(lambda x: inner(lambda y: x * x * y * y)(x))(3.0), np.float64(6.0 * 9.0))
    near(outer(lambda x: inner(lambda y: y)(x))(3.0), np.float64(0.0))
    near(outer(lambda x: inner(lambda y: x)(x))(3.0), np.float64(0.0))
    near(outer(lambda x: x * inner(lambda y: tg.stop_gradient(x) * y)(x))(3.0), np.float64(3.0))


@pytest.mark.parametrize("modes", list(itertools.product(range(4), repeat=3)))
def test_three_nested_levels_keep_apart(modes: tuple[int, ...]) -> None:
    a, b, c = [several_modes[m] for m in modes]
    f = a(lambda x: x * b(lambda y: x * y * c(lambda z: x * y * z)(2.0))(2.0))  # d/dx 4 x^3
    near(f(1.5), np.float64(12 * 1.5**2))


def test_differentiation_of_a_curried_shift() -> None:
    """Manzyuk, Pearlmutter, Radul, Rush, Siskind, "Perturbation confusion in forward automatic differentiation of
    higher-order functions", JFP 29 (2019): with s(u)(f)(x) = f(x + u) and D = d/du at 0, D(D f) is f''."""
    for d in several_modes:
        shift = lambda f, d=d: lambda x: d(lambda u: f(x + u))(0.0)
        near(shift(shift(np.exp))(1.0), np.exp(1.0))
        near(shift(shift(lambda x: x**3))(2.0), np.float64(12.0))
        near(shift(shift(shift(np.sin)))(0.5), -np.cos(0.5))


def test_closures_that_escape_are_refused() -> None:
    """The same paper's function-valued derivative: a closure carries the tracer out of its derivative."""
    _, _, escaped = tg.jvp(lambda u: (u, lambda x: np.sin(x + u)), (0.0,), (1.0,), has_aux=True)
    with pytest.raises(UnexpectedTracerError, match="a tracer leaked"):
        escaped(1.0)


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


# ---------------------------------------------------------------------------------------------------------------------
# Long chains.

LENGTH = 100_000


def chain(x: Any, length: int = LENGTH) -> Any:
    for _ in range(length):
        x = x * 1.00001
    return x


def test_long_chains() -> None:
    """A hundred thousand ops, without recursion anywhere, deletion included."""
    expected = 1.00001**LENGTH
    assert tg.grad(chain)(1.0) == pytest.approx(expected, rel=1e-9)
    assert tg.jvp(chain, (1.0,), (1.0,))[1] == pytest.approx(expected, rel=1e-9)
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


def test_traces_are_freed_without_the_collector() -> None:
    """A gradient leaves no cycles behind that would keep its arrays until the next garbage collection."""

    class Marked(np.ndarray):
        pass

    gc.collect()
    gc.disable()
    try:
        captured = []

        def f(x: Any) -> Any:
            y = np.sin(x)
            captured.append(weakref.ref(y.value.base if y.value.base is not None else y.value))
            return np.sum(y * y)

        tg.grad(f)(X)
        assert captured[0]() is None
        tg.jvp(f, (X,), (X,))
        assert captured[1]() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------------------------------------------------------------
# Complex numbers: jax's convention.

Z = np.array([0.3 + 0.4j, -1.2 + 0.1j, 2.0 - 0.7j])


@pytest.mark.parametrize(
    "f, jax_f",
    [
        (lambda z: np.sum(np.abs(z) ** 2), lambda z: jnp.sum(jnp.abs(z) ** 2)),
        (lambda z: np.sum(np.real(z * np.conj(z))), lambda z: jnp.sum(jnp.real(z * jnp.conj(z)))),
        (lambda z: np.sum(np.real(np.exp(z))), lambda z: jnp.sum(jnp.real(jnp.exp(z)))),
        (lambda z: np.sum(np.imag(z**3)), lambda z: jnp.sum(jnp.imag(z**3))),
        (lambda z: np.sum(np.abs(np.sin(z) / z)), lambda z: jnp.sum(jnp.abs(jnp.sin(z) / z))),
        (lambda z: np.sum(np.imag(np.conj(z) * z**2)), lambda z: jnp.sum(jnp.imag(jnp.conj(z) * z**2))),
    ],
)
def test_gradients_of_real_functions_of_complex_numbers(f: Any, jax_f: Any) -> None:
    near(tg.grad(f)(Z), np.asarray(jax.grad(jax_f)(Z)))
    t = np.array([1.0 + 2j, 0.5j, -0.3])
    near(tg.jvp(f, (Z,), (t,)), tuple(map(np.asarray, jax.jvp(jax_f, (Z,), (t,)))))
    near(tg.linearize(f, Z)[1](t), np.asarray(jax.jvp(jax_f, (Z,), (t,))[1]))


def test_gradient_of_the_squared_modulus_is_twice_the_conjugate() -> None:
    near(tg.grad(lambda z: np.real(z * np.conj(z)))(3.0 + 4.0j), np.complex128(6.0 - 8.0j))


def test_holomorphic_functions() -> None:
    f, jax_f = lambda z: np.sum(np.exp(z) * z**2), lambda z: jnp.sum(jnp.exp(z) * z**2)
    near(tg.grad(f, holomorphic=True)(Z), np.asarray(jax.grad(jax_f, holomorphic=True)(Z)))
    near(tg.grad(lambda z: z**3, holomorphic=True)(1.0 + 1.0j), np.complex128(3 * (1 + 1j) ** 2))
    for ours, theirs in ((tg.jacfwd, jax.jacfwd), (tg.jacrev, jax.jacrev), (tg.hessian, jax.hessian)):
        near(
            ours(lambda z: np.sin(z) * z, holomorphic=True)(Z),
            np.asarray(theirs(lambda z: jnp.sin(z) * z, holomorphic=True)(Z)),
            1e-10,
        )
    second = tg.grad(tg.grad(np.exp, holomorphic=True), holomorphic=True)(0.5 + 0.1j)
    near(second, np.exp(0.5 + 0.1j))


ONE_ELEMENT = [
    lambda x: np.sum(x**3, keepdims=True),
    lambda x: np.sum(x**3).reshape(1, 1),
    lambda x: np.sum(x**3, keepdims=True)[np.newaxis],
]


@pytest.mark.parametrize("f", ONE_ELEMENT)
def test_an_array_of_one_element_is_a_scalar(f: Any) -> None:
    """Its value comes back in its own shape, and all else is as for a scalar."""
    gradient, hessian = 3 * X**2, np.diag(6 * X)
    both = tg.value_and_grad(f)
    near(both(X), (f(X), gradient))
    near(tg.grad(f)(X), gradient)
    near(tg.hessian(f)(X), hessian)
    near(tg.hvp(f, (X,), (X,)), hessian @ X)
    near(tg.grad(lambda x: np.sum(tg.grad(f)(x) ** 2, keepdims=True))(X), 2 * hessian @ gradient)
    near(tg.value_and_grad(lambda x: (f(x), x), has_aux=True)(X), ((f(X), X), gradient))
    near(tg.hessian(lambda x: (f(x), x), has_aux=True)(X), (hessian, X))
    for backend in ("numpy", "xla"):
        value, found = tg.jit(both, backend=backend)(X)
        near((np.asarray(value), np.asarray(found)), (f(X), gradient))
        near(np.asarray(tg.jit(tg.hessian(f), backend=backend)(X)), hessian)
    pair = np.stack([X, 2 * X])
    near(tg.vmap(both)(pair), (np.stack([f(x) for x in pair]), 3 * pair**2))
    near(tg.vmap(tg.hessian(f))(pair), np.stack([np.diag(6 * x) for x in pair]))
    value, found = both(jnp.asarray(X))
    assert isinstance(value, jax.Array) and isinstance(found, jax.Array)
    near((np.asarray(value), np.asarray(found)), (f(X), gradient))
    assert both(X.astype(np.float32))[0].dtype == np.float32


def test_what_does_not_depend_on_the_argument_has_derivative_zero_under_jit() -> None:
    """Also where it depends on an argument of the jitted function."""
    for f in (lambda x: tg.grad(lambda y: np.sum(x))(x), lambda x: tg.grad(lambda y: np.sum(x, keepdims=True))(x)):
        near(tg.jit(f)(X), np.zeros(3))
        near(np.asarray(tg.jit(f, backend="xla")(X)), np.zeros(3))


def test_what_else_returns_one_element() -> None:
    x = np.array([3.0])
    value, gradient = tg.value_and_grad(lambda x: x)(x)
    near((value, gradient), (x, np.ones(1)))
    value[...] = gradient[...] = 7.0  # the caller's own, both of them
    assert x == 3.0
    near(tg.value_and_grad(lambda x: np.ones(1))(X), (np.ones(1), np.zeros(3)))  # a constant
    z = np.array([1.0 + 1.0j])
    near(tg.value_and_grad(lambda z: z**3, holomorphic=True)(z), (z**3, 3 * z**2))
    near(tg.hessian(lambda z: z**3, holomorphic=True)(z), 6 * z[:, None])
    gradients = tg.grad(lambda n, x: n * x, (0, 1), allow_int=True)(np.array([2]), x)
    assert gradients[0].dtype == tg.float0
    near(gradients[1], np.array([2.0]))
    near(tg.hessian(lambda x: (x**2, x**3))(x), (np.full((1, 1, 1), 2.0), np.full((1, 1, 1), 18.0)))  # several outputs
    for f in (lambda x: x[:0], lambda x: np.argmax(x, keepdims=True)):
        with pytest.raises(DifferentiationError):
            tg.grad(f)(X)


def test_products_with_complex_cotangents() -> None:
    f, jax_f = lambda z, x: z * np.conj(z) * x + 1j * x, lambda z, x: z * jnp.conj(z) * x + 1j * x
    ct = np.array([1.0 + 1j, 2.0, -1j])
    near(tg.vjp(f, Z, X)[1](ct), tuple(map(np.asarray, jax.vjp(jax_f, Z, X)[1](ct))))
    near(tg.linear_transpose(lambda z: (2.0 + 1j) * z, Z)(ct), ((2.0 + 1j) * ct,))  # not conjugated


# ---------------------------------------------------------------------------------------------------------------------
# Dtypes.


def test_float32_stays_float32() -> None:
    x = X.astype(np.float32)

    def f(x: Any) -> Any:
        y = 2.0 * x + 1
        y = np.sin(y) / 3.0 - 1e-3 * y**2 + np.where(y > 0.5, y, 0.0)
        y = np.maximum(y, 0.1) * np.float32(2.0)
        return np.sum(y) * 0.5

    value, gradient = tg.value_and_grad(f)(x)
    assert (value.dtype, gradient.dtype) == (np.float32, np.float32)
    assert tg.jvp(f, (x,), (x,))[1].dtype == np.float32
    assert tg.linearize(f, x)[1](x).dtype == np.float32
    assert tg.hessian(f)(x).dtype == np.float32
    assert tg.jacrev(np.sin)(x).dtype == np.float32
    assert tg.grad(lambda x: np.sum(x) * np.float64(2.0))(x).dtype == np.float32
    graph = tg.make_graph(f)(x)
    check(graph)
    assert all(v.type.dtype != np.float64 or v.type.weak for e in graph.eqns for v in e.outputs)


def test_python_scalars_stay_weak_while_traced() -> None:
    x = X.astype(np.float32)
    f = lambda scale: np.sum(x * (scale * 2 + 1))  # the tracer of a Python float is as weak as the float
    value, gradient = tg.value_and_grad(f)(3.0)
    assert value.dtype == np.float32
    assert gradient.dtype == np.float64
    near(gradient, np.float64(2 * np.sum(x)), 1e-6)
    assert tg.jvp(f, (3.0,), (1.0,))[1].dtype == np.float32
    assert tg.grad(lambda x, s: np.sum(x * s), (0, 1))(x, 2.0)[0].dtype == np.float32
    nested = tg.grad(lambda s: np.sum(tg.grad(lambda x: np.sum(s * x**2))(x)))
    near(nested(3.0), np.float64(np.sum(2 * x)), 1e-6)
    assert tg.vmap(lambda x: x * 2.0)(x).dtype == np.float32


def test_gradients_with_respect_to_python_floats() -> None:
    near(tg.grad(lambda x: x * x)(3.0), np.float64(6.0))
    near(tg.grad(lambda x, y: x * y, (0, 1))(3.0, 2.0), (np.float64(2.0), np.float64(3.0)))
    near(tg.grad(lambda x: x**3.0)(2.0), np.float64(12.0))
    near(tg.grad(lambda z: abs(z))(3.0 + 4.0j), np.complex128(0.6 - 0.8j))


def test_half_precision() -> None:
    x = X.astype(np.float16)
    gradient = tg.grad(lambda x: np.sum(np.sin(x) * 2.0))(x)
    assert gradient.dtype == np.float16
    near(gradient.astype(float), 2 * np.cos(X), 2e-3)


def test_integer_inputs() -> None:
    f = lambda p: np.sum(p["w"] * p["n"])
    p = {"w": X, "n": np.array([1, 2, 3])}
    got = tg.grad(f, allow_int=True)(p)
    near(got["w"], np.array([1.0, 2.0, 3.0]))
    assert got["n"].dtype == tg.float0 and got["n"].shape == (3,)
    assert tg.grad(lambda n: 2.0 * n, allow_int=True)(3).dtype == tg.float0
    _, pull = tg.vjp(lambda x, n: x * n, X, np.array([1, 2, 3]))
    pulled = pull(np.ones(3))
    near(pulled[0], np.array([1.0, 2.0, 3.0]))
    assert pulled[1].dtype == tg.float0
    zero = np.zeros(3, tg.float0)
    near(tg.jvp(lambda x, n: x * n, (X, np.arange(3)), (X, zero))[1], X * np.arange(3))
    near(tg.linearize(lambda x, n: x * n, X, np.arange(3))[1](X, zero), X * np.arange(3))
    assert tg.jvp(lambda x: (x, x > 0), (X,), (X,))[1][1].dtype == tg.float0
    assert tg.jvp(lambda x: np.argmax(x), (X,), (X,))[1].dtype == tg.float0
    near(tg.jacrev(lambda p: p["w"] * p["n"], allow_int=True)(p)["w"], np.diag([1.0, 2.0, 3.0]))


def test_casts_on_the_way() -> None:
    x = X.astype(np.float32)
    gradient = tg.grad(lambda x: np.sum(x.astype(np.float64) ** 2))(x)
    assert gradient.dtype == np.float32
    near(gradient, 2 * x)
    near(tg.grad(lambda x: np.sum(x.astype(np.int64).astype(np.float64) * x))(X), np.trunc(X))


# ---------------------------------------------------------------------------------------------------------------------
# Memory: results are the caller's own.


def arrays_of(x: Any) -> list[np.ndarray[Any, Any]]:
    return [leaf for leaf in tree.tree_leaves(x) if isinstance(leaf, np.ndarray) and leaf.size]


OWNERS: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("grad", lambda x, y: tg.grad(lambda x, y: np.sum(x + y), (0, 1))(x, y)),
    ("grad of a product", lambda x, y: tg.grad(lambda x, y: np.sum(x * y), (0, 1))(x, y)),
    ("grad of a sum", lambda x, y: tg.grad(lambda p: np.sum(p[0]) + np.sum(p[1]))([x, y])),
    ("grad of a linear form", lambda x, y: tg.grad(lambda x: np.sum(x * y))(x)),
    ("grad through reshape", lambda x, y: tg.grad(lambda x: np.sum(x.reshape(3, 1)[::-1] * y[:, None]))(x)),
    ("jvp of the identity", lambda x, y: tg.jvp(lambda x: (x, x), (x,), (y,))[1]),
    ("jvp of a sum", lambda x, y: tg.jvp(lambda x, y: (x + y, x), (x, y), (y, x))[1]),
    ("jvp of a view", lambda x, y: tg.jvp(lambda x: (x.T, x[:2], x.reshape(3, 1)), (x,), (y,))[1]),
    ("vjp of the identity", lambda x, y: tg.vjp(lambda x: (x, x), x)[1]((y, y))),
    ("vjp of one", lambda x, y: tg.vjp(lambda x: x, x)[1](y)),
    ("vjp of two", lambda x, y: tg.vjp(lambda x, y: x + y, x, y)[1](y)),
    ("the output of vjp", lambda x, y: tg.vjp(lambda x, y: (x, y), x, y)[0]),
    ("linearize", lambda x, y: tg.linearize(lambda x: (x, x, x * y), x)[1](y)),
    ("linear_transpose", lambda x, y: tg.linear_transpose(lambda x, y: x + y, x, y)(y)),
    ("jacfwd", lambda x, y: tg.jacfwd(lambda x: (x, x * y))(x)),
    ("jacrev", lambda x, y: tg.jacrev(lambda x, y: x * 2.0 + y, (0, 1))(x, y)),
    ("hessian", lambda x, y: tg.hessian(lambda x: np.sum(x * x * y))(x)),
    ("value_and_grad", lambda x, y: tg.value_and_grad(lambda x, y: np.sum(x + y), (0, 1))(x, y)),
    ("vmap", lambda x, y: tg.vmap(lambda a, b: (a, a, b, a + 0.0, 3.0), (0, None))(x, y)),
]


@pytest.mark.parametrize("compute", [c for _, c in OWNERS], ids=[n for n, _ in OWNERS])
def test_results_share_memory_with_nothing(compute: Any) -> None:
    x, y = X.copy(), np.array([1.0, 2.0, 3.0])
    results = arrays_of(compute(x, y))
    assert results
    for r in results:
        assert r.flags.writeable
        for given in (x, y):
            assert not np.shares_memory(r, given)
    for a, b in itertools.combinations(results, 2):
        assert not np.shares_memory(a, b)
    for r in results:
        before = [o.copy() for o in results if o is not r]
        r[...] = 1234.5
        for o, old in zip([o for o in results if o is not r], before, strict=True):
            assert np.array_equal(o, old)
    assert np.array_equal(x, X) and np.array_equal(y, [1.0, 2.0, 3.0])


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


# ---------------------------------------------------------------------------------------------------------------------
# Threads.


def test_threads() -> None:
    base = np.linspace(0.5, 1.5, 40)
    shared, view = base[:20], base[20:]
    expected = tg.grad(lambda x: np.sum(np.sin(x * shared) * view))(shared)
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        try:
            start.wait()
            for i in range(40):
                x = shared + 0.0
                near(tg.grad(lambda x: np.sum(np.sin(x * shared) * view))(x), expected)
                scale = float(seed + i)
                nested = tg.grad(lambda s: np.sum(tg.grad(lambda x: np.sum(s * x**2 * view))(x)))
                near(nested(scale), np.sum(2 * x * view))
                assert tg.grad(tg.grad(np.sin))(0.3) == -np.sin(0.3)
                near(tg.vmap(tg.grad(np.tanh))(x), 1 - np.tanh(x) ** 2)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert base.flags.writeable and shared.flags.writeable and view.flags.writeable


# ---------------------------------------------------------------------------------------------------------------------
# Leaked tracers.


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


# ---------------------------------------------------------------------------------------------------------------------
# jvp, vjp, linearize, linear_transpose.


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


def test_several_primals() -> None:
    f = lambda x, p: x * p["s"] + p["b"]
    p, t = {"s": 2.0, "b": np.ones(3)}, {"s": 1.0, "b": X}
    out, push = tg.linearize(f, X, p)
    near(push(X, t), X * 2.0 + X * 1.0 + X)
    near(tg.jvp(f, (X, p), (X, t))[1], X * 2.0 + X * 1.0 + X)
    near(tg.vjp(f, X, p)[1](X), (2 * X, {"s": np.sum(X * X), "b": X}))


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


def test_stop_gradient() -> None:
    near(tg.grad(lambda x: np.sum(x * tg.stop_gradient(x)))(X), X)
    near(tg.grad(tg.grad(lambda x: x**3 * tg.stop_gradient(x)))(2.0), np.float64(24.0))  # 6 x * x
    near(tg.grad(tg.grad(lambda x: tg.stop_gradient(x**2) * x**2))(2.0), np.float64(8.0))  # x^2 * 2, at every level
    near(tg.jvp(lambda x: tg.stop_gradient(x) * x, (X,), (X,))[1], X * X)
    near(tg.linearize(tg.stop_gradient, X)[1](X), np.zeros(3))
    near(tg.vmap(tg.grad(lambda x: tg.stop_gradient(x) * x))(X), X)
    p = {"a": X, "b": [2.0, None, "text"]}
    assert tg.stop_gradient(p) == p
    got = tg.grad(lambda p: np.sum(tg.stop_gradient(p)["a"] * p["a"]) * tg.stop_gradient(p["b"]))({"a": X, "b": 2.0})
    near(got, {"a": 2 * X, "b": np.float64(0.0)})
    outer = tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(tg.stop_gradient(x) * y * x))(X)))
    near(outer(X), X)


# ---------------------------------------------------------------------------------------------------------------------
# eval_shape and make_graph.


def test_eval_shape() -> None:
    f = lambda x, p: {"a": x @ p["w"], "b": np.sum(x > 0), "c": (x.T, None)}
    struct = tg.ShapeDtypeStruct
    got = tg.eval_shape(f, struct((2, 3), "float32"), {"w": np.ones((3, 4), np.float32)})
    assert got == {
        "a": struct((2, 4), np.float32),
        "b": struct((), np.int64),
        "c": (struct((3, 2), np.float32), None),
    }
    assert tg.eval_shape(lambda x: x * 2.0, 1.0) == struct((), float)
    assert tg.eval_shape(tg.grad(lambda x: np.sum(x**2)), struct((5,), "float32")) == struct((5,), "float32")
    assert tg.eval_shape(lambda x, k=1: x + k, struct((5,), "int32"), k=np.ones(5)) == struct((5,), float)
    assert tg.eval_shape(tg.vmap(np.sin), struct((5, 2), float)) == struct((5, 2), float)
    huge = struct((10**6, 10**6), float)
    assert tg.eval_shape(lambda x: np.sin(x) @ x, huge) == huge


def test_make_graph() -> None:
    def f(x: Any, p: Any) -> Any:
        return np.sin(x) * p["s"] + (x if p["s"] > 0 else -x)

    graph = tg.make_graph(f)(X, {"s": 2.0})
    check(graph)
    assert [e.op.name for e in graph.eqns] == ["sin", "multiply", "add"]
    assert [v.name for v in graph.inputs] == ["x", "p['s']"]
    near(graph(X, 2.0)[0], f(X, {"s": 2.0}))
    near(tg.grad(lambda x: np.sum(graph(x, 2.0)[0]))(X), 2 * np.cos(X) + 1)
    derivative = tg.make_graph(tg.grad(lambda x: np.sum(np.sin(x) * X)))(X)
    check(derivative)
    near(derivative(2 * X)[0], np.cos(2 * X) * X)
    second = tg.make_graph(tg.hessian(lambda x: np.sum(np.sin(x) * X)))(X)
    check(second)
    near(second(2 * X)[0], np.diag(-np.sin(2 * X) * X))
    source = graph.eqns[0].source
    assert source is not None
    assert source.file == __file__
    assert source.function == "f"


@pytest.mark.parametrize(
    "transformed",
    [
        tg.grad(lambda x: np.sum(np.tanh(x) ** 2)), tg.jacfwd(np.sin), tg.jacrev(np.tanh), tg.vmap(np.exp),
        lambda x: tg.jvp(np.sin, (x,), (x,)), lambda x: tg.vjp(np.sin, x)[1](x), lambda x: tg.linearize(np.sin, x)[1](x),
        tg.hessian(lambda x: np.sum(x**3)), tg.vmap(tg.grad(np.sin)), lambda x: tg.hvp(lambda x: np.sum(x**3), (x,), (x,)),
    ],
)  # fmt: skip
def test_graphs_of_transforms_are_well_typed_and_compute_the_same(transformed: Any) -> None:
    for x in (X, X.astype(np.float32)):
        graph = tg.make_graph(transformed)(x)
        check(graph)
        got, expected = graph(x), tree.tree_leaves(transformed(x))
        for a, b in zip(got, expected, strict=True):
            near(a, b)
        abstract = tg.make_graph(transformed)(tg.ShapeDtypeStruct(x.shape, x.dtype))
        check(abstract)
        for a, b in zip(abstract(x), expected, strict=True):
            near(a, b)


# ---------------------------------------------------------------------------------------------------------------------
# vmap.


def test_vmap_axes() -> None:
    x, y = np.arange(24.0).reshape(2, 3, 4), np.arange(12.0).reshape(3, 4)
    f = lambda a, b: {"sum": a + np.sum(b), "pair": (np.sin(a), b)}
    jax_f = lambda a, b: {"sum": a + jnp.sum(b), "pair": (jnp.sin(a), b)}
    for in_axes in [(0, None), (1, 0), (-1, 1), (2, -1), (None, 0)]:
        for out_axes in [0, 1, {"sum": -1, "pair": 0}, {"sum": 0, "pair": (1, 0)}]:
            got = tg.vmap(f, in_axes, out_axes)(x, y)
            want = jax.vmap(jax_f, in_axes, out_axes)(x, y)
            for a, b in zip(tree.tree_leaves(got), jax.tree.leaves(want), strict=True):
                near(a, np.asarray(b))


def test_vmap_of_pytrees_and_keywords() -> None:
    p = {"w": np.ones((4, 3)), "b": np.arange(4.0)}
    f = lambda p, x, scale=1.0: (p["w"] @ x + p["b"]) * scale
    near(tg.vmap(f, (0, None))(p, X), np.sum(X) + np.arange(4.0))
    near(tg.vmap(f, ({"w": 0, "b": None}, None))({"w": p["w"], "b": 2.0}, X), np.full(4, np.sum(X) + 2.0))
    near(tg.vmap(f, (0, None))(p, X, scale=np.arange(4.0)), (np.sum(X) + np.arange(4.0)) * np.arange(4.0))
    near(tg.vmap(lambda t: t[0] * t[1])((X, X)), X * X)


def test_vmap_nested_and_mixed() -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.arange(4.0)
    outer = tg.vmap(tg.vmap(lambda a, b: a * np.sin(b), (None, 0)), (0, None))
    near(outer(x.ravel(), y), np.outer(x.ravel(), np.sin(y)))
    near(
        tg.grad(lambda x: np.sum(tg.vmap(lambda r: np.prod(r))(x)))(x + 1),
        jax.grad(lambda x: jnp.sum(jnp.prod(x, 1)))(x + 1),
    )
    per_example = tg.vmap(tg.grad(lambda w, x: np.sum(np.tanh(w * x))), (None, 0))
    near(
        per_example(X, np.stack([X, 2 * X])),
        np.stack([X * (1 - np.tanh(X * X) ** 2), 2 * X * (1 - np.tanh(2 * X * X) ** 2)]),
    )
    near(tg.vmap(lambda x: 3.0)(X), np.full(3, 3.0))
    near(tg.vmap(lambda x: x, out_axes=0)(np.zeros((0, 2))), np.zeros((0, 2)))


# ---------------------------------------------------------------------------------------------------------------------
# Custom derivatives. The rules are wrong on purpose where that shows that they are used.


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


# ---------------------------------------------------------------------------------------------------------------------
# Errors are tested by their text in test_errors.py; here, that state survives them.


def test_a_failed_derivative_leaves_no_trace() -> None:
    def fails(x: Any) -> Any:
        np.sin(x)
        raise RuntimeError("on purpose")

    def wrong_shape(x: Any) -> Any:
        return np.sin(x) + np.ones(5)

    for f, error in ((fails, RuntimeError), (wrong_shape, ValueError), (lambda x: x, DifferentiationError)):
        for transform in (tg.grad, tg.value_and_grad):
            with pytest.raises(error):
                transform(f)(X)
        near(tg.grad(lambda x: np.sum(x**2))(X), 2 * X)
    with pytest.raises(DtypeError):
        tg.grad(lambda x: x * 2.0)(3)
    graph = tg.make_graph(np.sin)(X)
    assert graph.eqns[0].source is not None and graph.eqns[0].source.file == __file__
