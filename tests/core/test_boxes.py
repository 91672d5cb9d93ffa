"""jax arrays outside of jit: functions and transforms that get them compute on jax, and give such back."""

from __future__ import annotations

import pickle
import types
from typing import Any

import numpy as np
import pytest

from tests.transforms.jit.test_xla import loss, same

jax = pytest.importorskip("jax")

import tracegrad as tg  # noqa: E402
import tracegrad.numpy as tnp  # noqa: E402

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")

X = np.linspace(-1.0, 2.0, 6).reshape(2, 3)
PARAMS = {"w": np.linspace(-1, 1, 12).reshape(3, 4), "b": np.linspace(0, 1, 4)}


def test_functions_of_the_namespaces_take_jax_arrays() -> None:
    x = tg.device_put(X)
    assert x.dtype == np.float64
    same(tnp.sin(x), np.sin(X))
    same(tnp.add(X, x), X + X)
    same(tnp.concatenate([X, x]), np.concatenate([X, X]))
    same(tnp.linalg.norm(x), np.linalg.norm(X))
    same(tnp.add.reduce(x), np.add.reduce(X))
    same(tnp.var(x, axis=1), np.var(X, axis=1))
    same(tg.nn.softmax(x), tg.nn.softmax(X))
    same(tg.lax.cumsum(x), np.cumsum(X, 0))
    assert type(tnp.sin(X)) is np.ndarray
    assert tnp.add.nin == 2


def test_transforms_take_jax_arrays() -> None:
    params, x = tg.device_put(PARAMS), tg.device_put(X)
    same(tg.grad(loss)(params, x), tg.grad(loss)(PARAMS, X))
    same(tg.value_and_grad(loss)(params, X), tg.value_and_grad(loss)(PARAMS, X))
    same(tg.grad(loss)(PARAMS, x), tg.grad(loss)(PARAMS, X))
    same(tg.grad(lambda p: loss(p, x))(PARAMS), tg.grad(loss)(PARAMS, X))  # a closure decides as well
    same(tg.vmap(np.sin)(x), np.sin(X))
    same(tg.jvp(np.sin, (x,), (x,)), tg.jvp(np.sin, (X,), (X,)))
    out, pull = tg.vjp(np.sin, x)
    same((out, pull(X)), (np.sin(X), (np.cos(X) * X,)))
    same(tg.hessian(lambda x: np.sum(x**3))(x), tg.hessian(lambda x: np.sum(x**3))(X))
    same(tg.lax.scan(lambda c, r: (c + r, c), np.zeros(3), x), tg.lax.scan(lambda c, r: (c + r, c), np.zeros(3), X))
    same(tg.checkpoint(np.sin)(x), np.sin(X))


def test_pythons_branches_on_their_values() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.sin(x)) if x[0] > 0 else np.sum(x * float(np.max(np.ones(2))))

    for start in (1.0, -1.0):
        x = np.array([start, 2.0])
        same(tg.grad(f)(tg.device_put(x)), tg.grad(f)(x))


def with_rule(f: Any) -> Any:
    g = tg.custom_vjp(f)
    g.defvjp(lambda w: (f(w), None), lambda _, ct: (np.sum(ct),))
    return g


OVER_JAX: dict[str, Any] = {  # what is done to a function of one number that is the sine of many
    "jit": lambda f: tg.jit(f)(1.5),
    "jit on XLA": lambda f: tg.jit(f, backend="xla")(1.5),
    "grad": lambda f: tg.grad(lambda w: np.sum(f(w)))(1.5),
    "value_and_grad of jit": lambda f: tg.value_and_grad(tg.jit(lambda w: np.sum(f(w))))(1.5),
    "jvp": lambda f: tg.jvp(f, (1.5,), (1.0,)),
    "vjp": lambda f: (tg.vjp(f, 1.5)[0], tg.vjp(f, 1.5)[1](X)),
    "linearize": lambda f: (tg.linearize(f, 1.5)[0], tg.linearize(f, 1.5)[1](1.0)),
    "linear_transpose": lambda f: tg.linear_transpose(tg.linearize(f, 1.5)[1], 1.5)(X),
    "jacfwd": lambda f: tg.jacfwd(f)(1.5),
    "jacrev": lambda f: tg.jacrev(f)(1.5),
    "hessian": lambda f: tg.hessian(lambda w: np.sum(f(w)))(1.5),
    "vmap": lambda f: tg.vmap(f)(np.array([1.5, 2.5])),
    "vmap of jit": lambda f: tg.vmap(tg.jit(f))(np.array([1.5, 2.5])),
    "vmap of custom_vjp": lambda f: tg.vmap(with_rule(f))(np.array([1.5, 2.5])),
    "checkpoint": lambda f: tg.checkpoint(f)(1.5),
    "make_graph": lambda f: tg.make_graph(f)(1.5)(1.5),
    "cond": lambda f: tg.jit(lambda w: tg.lax.cond(w > 0, f, lambda w: 0.0 * f(w), w))(1.5),
    "scan": lambda f: tg.lax.scan(lambda c, _: (c * 0.5, f(c)), 1.5, None, length=3),
    "while_loop": lambda f: tg.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, f(c[1][0, 0])), (0, X)),
    "map": lambda f: tg.lax.map(f, np.array([1.5, 2.5])),
}


@pytest.mark.parametrize("name", OVER_JAX)
def test_a_function_over_a_jax_array_gives_jax_arrays(name: str) -> None:
    x = tg.device_put(X)
    expected = OVER_JAX[name](lambda w: np.sin(w * X))
    for _ in range(2):
        found = tg.tree.leaves(OVER_JAX[name](lambda w: tnp.sin(w * x)))
        carried = 1 if name in ("scan", "while_loop") else 0  # which do not depend on x
        assert len(found) > carried
        for leaf in found[carried:]:
            assert isinstance(leaf, jax.Array)
        for got, wanted in zip(found, tg.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12)
            assert got.dtype == np.asarray(wanted).dtype


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_function_over_a_jax_array_is_traced_once(backend: str) -> None:
    x = tg.device_put(X)
    f = tg.jit(lambda w: np.sum(np.sin(x * w)), backend=backend)
    counts = []
    for _ in range(3):
        for w in (1.5, np.float64(1.5), tg.device_put(np.float64(1.5))):
            same(tg.grad(f)(w), np.sum(np.cos(1.5 * X) * X))
            same(f(w), np.sum(np.sin(1.5 * X)))
        counts.append(len(f.trace_log))
    assert counts[1:] == counts[:-1]


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_function_over_a_tracer_of_jax_is_traced_anew(backend: str) -> None:
    kept: list[Any] = []
    f = tg.jit(lambda w: np.sum(np.sin(kept[-1] * w)), backend=backend)
    with jax.enable_x64(True):
        for y in (X, 2 * X):
            same(jax.jit(lambda y, w: (kept.append(y), tg.grad(f)(w))[1])(y, 1.5), np.sum(np.cos(1.5 * y) * y))


BODIES = {
    "a ufunc": lambda x: tnp.sin(x),
    "a function of NumPy's": lambda x: tnp.cumsum(x),
    "at": lambda x: tnp.at(x)[0].set(1.0),
    "nn": lambda x: tg.nn.gelu(x),
    "vmap": lambda x: tg.vmap(np.cos)(x),
    "grad": lambda x: tg.grad(lambda y: np.sum(y**3))(x),
    "jvp": lambda x: tg.jvp(np.cos, (x,), (x,))[1],
    "jacrev": lambda x: np.sum(tg.jacrev(np.cos)(x), axis=0),
    "jit": lambda x: tg.jit(np.cos)(x),
    "jit on XLA": lambda x: tg.jit(np.cos, backend="xla")(x),
    "checkpoint": lambda x: tg.checkpoint(np.cos)(x),
    "stop_gradient": lambda x: tg.stop_gradient(x),
    "cond": lambda x: tg.lax.cond(True, np.cos, np.sin, x),
    "scan": lambda x: tg.lax.scan(lambda c, e: (c + e, c * e), 0.0, x)[1],
    "fori_loop": lambda x: tg.lax.fori_loop(0, 3, lambda i, v: v * 2, x),
}


@pytest.mark.parametrize("name", BODIES)
def test_custom_derivatives_with_public_functions_in_them(name: str) -> None:
    body = lambda x: np.tanh(BODIES[name](x))
    reverse, forward = tg.custom_vjp(lambda x: body(x)), tg.custom_jvp(lambda x: body(x))
    reverse.defvjp(lambda x: (body(x), x), lambda x, ct: (body(x) * ct,))
    forward.defjvp(lambda primals, tangents: (body(*primals), body(*primals) * tangents[0]))
    x = np.linspace(0.1, 0.9, 4)
    inner = tg.jit(lambda x: x * 1.5, backend="xla")
    value = body(x)
    for f in (reverse, forward):
        gradient = tg.grad(lambda x: np.sum(f(x)))
        same(tg.jit(f, backend="xla")(x), value)
        same(tg.jit(gradient, backend="xla")(x), value)
        same(tg.jit(tg.vmap(f), backend="xla")(x[None]), value[None])
        same(f(tg.device_put(x)), value)
        same(gradient(tg.device_put(x)), value)
        through = tg.grad(lambda x: np.sum(f(inner(x))))(x)
        np.testing.assert_allclose(through, 1.5 * body(1.5 * x), rtol=1e-12)


def test_public_functions_pickle() -> None:
    """By the names that they have in their namespaces."""
    spaces = (tnp, tnp.linalg, tnp.fft, tg.nn, tg.lax, tg.random, tg.scipy.special, tg.scipy.linalg)
    for space in spaces:
        for name in space.__all__:
            function = getattr(space, name)
            if isinstance(function, types.FunctionType):
                assert pickle.loads(pickle.dumps(function)) is function, (space.__name__, name)
