"""The transforms: what they return, for every way of calling them, against closed forms, mpmath and jax."""

from __future__ import annotations

import itertools
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
from tracegrad.core.errors import DifferentiationError, DtypeError, UnexpectedTracerError

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


# ---------------------------------------------------------------------------------------------------------------------
# Which leaves, and those on which nothing depends.

PARAMS = {"body": {"w": np.array([1.0, 2.0]), "steps": np.array([1.5])}, "head": {"b": 3.0}, "spare": np.ones(2)}


def parts_loss(p: Any, x: Any) -> Any:
    return np.sum(p["body"]["w"] * x) + p["head"]["b"] ** 2 + np.sum(np.round(p["body"]["steps"]))


def test_leaves_that_are_differentiated() -> None:
    whole = tg.grad(parts_loss)(PARAMS, 2.0)
    for wrt in (
        "head.*",
        "head/*",
        ["head.b"],
        lambda path, leaf: path == "head.b",
        lambda path, leaf: np.ndim(leaf) == 0,
    ):
        for transform in (tg.grad(parts_loss, wrt=wrt), tg.jit(tg.grad(parts_loss, wrt=wrt))):
            found = transform(PARAMS, 2.0)
            assert found["body"] == {"w": None, "steps": None} and found["spare"] is None
            assert found["head"]["b"] == whole["head"]["b"] == 6.0
    value, (of_p, of_x) = tg.value_and_grad(parts_loss, (0, 1), wrt=["0.body.w", "1"])(PARAMS, 2.0)
    assert value == parts_loss(PARAMS, 2.0) and of_x == 3.0 and of_p["head"]["b"] is None
    np.testing.assert_array_equal(of_p["body"]["w"], [2, 2])
    assert tg.grad(lambda x: x**2, wrt="*")(np.ones(1)).tolist() == [2.0]
    # Nothing is recorded for the others.
    assert len(tg.make_graph(tg.grad(parts_loss, wrt="head.*"))(PARAMS, 2.0).eqns) == 1
    # What is left out may be anything that the function takes.
    assert tg.grad(lambda p: p["a"] * len(p["text"]), wrt="a")({"a": 2.0, "text": np.arange(3)}) == {
        "a": 3.0,
        "text": None,
    }
    on_jax = tg.grad(parts_loss, wrt="body.w")(tree.map(jnp.asarray, PARAMS), 2.0)
    assert isinstance(on_jax["body"]["w"], jax.Array) and on_jax["head"]["b"] is None


def test_leaves_on_which_nothing_depends() -> None:
    zeros = tg.grad(parts_loss)(PARAMS, 2.0)
    assert zeros["spare"].tolist() == [0, 0] and zeros["body"]["steps"].tolist() == [0]
    nones = tg.grad(parts_loss, unused="none")(PARAMS, 2.0)
    assert nones["spare"] is None and nones["body"]["steps"] is None and nones["head"]["b"] == 6.0
    text = r"grad at .*test_grad\.py:\d+ .*: the value does not depend on p\['body'\]\['steps'\], p\['spare'\], or only through"
    with pytest.warns(UserWarning, match=text) as told:
        warned = tg.grad(parts_loss, unused="warn")(PARAMS, 2.0)
    assert told[0].filename == __file__ and warned["spare"].tolist() == [0, 0]
    with pytest.raises(DifferentiationError, match=text + r".*why_zero.*Leave them out with wrt="):
        tg.grad(parts_loss, unused="error")(PARAMS, 2.0)
    used = tg.grad(parts_loss, unused="error", wrt=["body.w", "head.b"])(PARAMS, 2.0)
    assert used["head"]["b"] == 6.0
    assert tg.grad(lambda x: np.float64(3.0), unused="none")(np.ones(2)) is None
    assert tg.grad(lambda x: np.sum(x**2), unused="error")(np.ones(2)).tolist() == [2, 2]
    with_aux = tg.value_and_grad(lambda x: (np.sum(x["a"]), x["b"]), has_aux=True, unused="none")
    (_, aux), g = with_aux({"a": X, "b": X})
    assert aux is not None and g["b"] is None and g["a"].tolist() == [1, 1, 1]


def test_wrong_choices_of_leaves() -> None:
    with pytest.raises(
        ValueError,
        match=r"wrt='dec\*' matches no leaf of the arguments; there are body\.steps, body\.w, head\.b, spare",
    ):
        tg.grad(parts_loss, wrt="dec*")(PARAMS, 2.0)
    with pytest.raises(ValueError, match=r"unused must be 'zero', 'none', 'warn' or 'error', got 'maybe'"):
        tg.grad(parts_loss, unused="maybe")  # type: ignore[call-overload]


def test_gradients_of_complex_arguments() -> None:
    z = np.array([1 + 2j, -0.5j])
    f = lambda z: np.sum(np.abs(z) ** 2) + np.sum(z.real * z.imag**2)
    x, y = z.real, z.imag
    by_parts = tg.grad(lambda x, y: f(x + 1j * y), (0, 1))(x, y)
    for options, expected in [
        ({}, by_parts[0] - 1j * by_parts[1]),
        ({"complex": "jax"}, by_parts[0] - 1j * by_parts[1]),
        ({"complex": "descent"}, by_parts[0] + 1j * by_parts[1]),
    ]:
        np.testing.assert_allclose(tg.grad(f, **options)(z), expected, rtol=1e-14)
        found = tg.jit(tg.grad(lambda p: f(p["z"]) * p["a"], **options))({"z": z, "a": 2.0})
        np.testing.assert_allclose(found["z"], 2 * expected, rtol=1e-14)
        assert found["a"].dtype == np.float64
    for _ in range(200):
        z = z - 0.1 * tg.grad(lambda z: np.sum(np.abs(z - 1j) ** 2), complex="descent")(z)
    np.testing.assert_allclose(z, [1j, 1j], atol=1e-12)
    np.testing.assert_allclose(tg.grad(np.sin, complex="holomorphic")(1 + 1j), np.cos(1 + 1j))
    with pytest.raises(ValueError, match="complex must be 'jax', 'descent' or 'holomorphic', got 'torch'"):
        tg.grad(f, complex="torch")  # type: ignore[call-overload]
