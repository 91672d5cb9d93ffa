"""Arrays that a jitted function closes over are hidden inputs: read anew at each call, on both backends, in every transform."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad import tree
from tracegrad.core.constants import Lasting
from tracegrad.transforms import captured

jax = pytest.importorskip("jax")

X = np.array([1.0, 2.0, 4.0])
ROWS = np.stack([X, X + 1.0])
ONES = np.ones(3)
BACKENDS = ["numpy", "xla"]


def with_rule(function: Any, forward: Any, backward: Any) -> Any:
    g = tg.custom_vjp(function)
    g.defvjp(forward, backward)
    return g


def with_jvp(function: Any, rule: Any) -> Any:
    g = tg.custom_jvp(function)
    g.defjvp(rule)
    return g


# What is made of an array `c` from outside, as functions of x. Linear ones too: there is no traced array in their rules.
FUNCTIONS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "plain": lambda c: lambda x: x * c,
    "returned": lambda c: lambda x: (x, c),
    "views": lambda c: lambda x: x[:2] * c[1:] + np.broadcast_to(c, (2, 3)).T[0],
    "grad": lambda c: tg.grad(lambda x: np.sum(x * x * c)),
    "grad, linear": lambda c: tg.grad(lambda x: np.sum(x * c)),
    "grad, dot": lambda c: tg.grad(lambda x: np.dot(x, c)),
    "grad, power": lambda c: tg.grad(lambda x: np.sum(x**c)),
    "grad, concatenate": lambda c: tg.grad(lambda x: np.sum(np.concatenate([x, c]) ** 2 * np.concatenate([c, x]))),
    "grad, maximum": lambda c: tg.grad(lambda x: np.sum(np.maximum(x, c))),
    "grad, view": lambda c: tg.grad(lambda x: np.sum(x[:2] ** 2 * c[1:])),
    "value_and_grad": lambda c: tg.value_and_grad(lambda x: np.sum(c * np.sin(x))),
    "grad of grad": lambda c: tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(y**3 * c))(x) * c)),
    "jacrev": lambda c: tg.jacrev(lambda x: x * x * c),
    "jacrev, linear": lambda c: tg.jacrev(lambda x: x * c),
    "jacfwd": lambda c: tg.jacfwd(lambda x: x * x * c),
    "jacfwd, linear": lambda c: tg.jacfwd(lambda x: x * c),
    "hessian": lambda c: tg.hessian(lambda x: np.sum(x**3 * c)),
    "hvp": lambda c: lambda x: tg.hvp(lambda x: np.sum(x**3 * c), (x,), (ONES,)),
    "jvp": lambda c: lambda x: tg.jvp(lambda x: x * c, (x,), (ONES,)),
    "vjp": lambda c: lambda x: tg.vjp(lambda x: x * c, x)[1](ONES),
    "linearize": lambda c: lambda x: tg.linearize(lambda x: np.sin(x) * c, x)[1](ONES),
    "linear_transpose": lambda c: lambda x: tg.linear_transpose(lambda t: t * c, x)(x),
    "linear_transpose, plain cotangent": lambda c: lambda x: tg.linear_transpose(lambda t: t * c * x, ONES)(ONES),
    "vmap": lambda c: lambda x: tg.vmap(lambda r: r * c)(np.stack([x, x])),
    "vmap, returned": lambda c: lambda x: tg.vmap(lambda r: c)(np.stack([x, x])),
    "vmap, shared": lambda c: lambda x: tg.vmap(lambda r, w: r * np.sum(w * c), (0, None))(np.stack([x, x]), ONES),
    "vmap of grad": lambda c: lambda x: tg.vmap(tg.grad(lambda r: np.dot(r, c)))(np.stack([x, x])),
    "scan": lambda c: lambda x: tg.lax.scan(lambda s, r: (s * c + r, s * c), np.zeros(3), x),
    "grad of scan": lambda c: tg.grad(lambda x: np.sum(tg.lax.scan(lambda s, r: (s * c + r, s), np.zeros(3), x)[0])),
    "grad of cond": lambda c: tg.grad(
        lambda x: np.sum(tg.lax.cond(x[0] > 0, lambda y: y * c, lambda y: y - c, x))
    ),
    "grad of while_loop": lambda c: tg.grad(
        lambda x: np.sum(tg.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * c), (0, x))[1])
    ),
    "grad of checkpoint": lambda c: tg.grad(lambda x: np.sum(tg.checkpoint(lambda x: np.sin(x * c) * c)(x))),
    "grad of jit": lambda c: tg.grad(lambda x: np.sum(tg.jit(lambda x: np.sin(x * c))(x))),
    "grad of jit, linear": lambda c: tg.grad(lambda x: tg.jit(lambda x: np.dot(x, c))(x)),
    "custom_vjp": lambda c: with_rule(lambda x: x * c, lambda x: (x * c, None), lambda _, ct: (ct * c,)),
    "grad of custom_vjp": lambda c: tg.grad(
        lambda x: np.sum(with_rule(lambda x: x * c, lambda x: (x * c, None), lambda _, ct: (ct * c * 2,))(x))
    ),
    "grad of custom_vjp, constant": lambda c: tg.grad(
        lambda x: np.sum(with_rule(lambda x: x * c, lambda x: (x * c, None), lambda _, ct: (c,))(x))
    ),
    "grad of custom_jvp": lambda c: tg.grad(
        lambda x: np.sum(with_jvp(lambda x: x * c, lambda p, t: (p[0] * c, t[0] * c * 3))(x))
    ),
    "custom_vjp in scan": lambda c: lambda x: tg.lax.scan(
        lambda s, r: (with_rule(lambda s: s * c, lambda s: (s * c, None), lambda _, ct: (ct * c,))(s), r), x, x
    ),
    "vmap of custom_vjp": lambda c: lambda x: tg.vmap(
        with_rule(lambda x: x * c, lambda x: (x * c, None), lambda _, ct: (ct * c,))
    )(np.stack([x, x])),
}  # fmt: skip
ON_XLA = [  # those that differ there, and some others
    "plain", "returned", "views", "grad, linear", "grad, power", "jacrev, linear", "jacfwd", "jvp", "vmap of grad",
    "grad of scan", "grad of cond", "grad of checkpoint", "grad of jit", "grad of custom_vjp", "grad of custom_jvp",
    "custom_vjp in scan", "vmap of custom_vjp",
]  # fmt: skip


def as_plain(got: Any, expected: Any) -> None:
    for g, e in zip(tree.tree_leaves(got), tree.tree_leaves(expected), strict=True):
        assert np.asarray(g).dtype == np.asarray(e).dtype
        np.testing.assert_allclose(g, e, rtol=1e-11)


@pytest.mark.parametrize("backend, name", [("numpy", name) for name in FUNCTIONS] + [("xla", name) for name in ON_XLA])
@pytest.mark.parametrize("is_small", [True, False])
def test_read_anew(backend: str, name: str, is_small: bool) -> None:
    if backend == "xla" and not is_small:
        return
    c = np.linspace(1.0, 2.0, 3) if is_small else np.ones((1000, 3))[-1]  # a view of many kilobytes
    f = FUNCTIONS[name](c)
    jitted = tg.jit(f, backend=backend)
    for k in (1.0, 3.0, -0.5):
        c[...] = k * np.array([1.0, 1.5, 2.0]) if name != "grad, power" else np.abs(k) * 2
        as_plain(jitted(X), f(X))
    assert len(jitted.trace_log) == 1


REALS = [np.array([1.0, 2.0, 3.0]), np.array([5.0, 1.0, 2.0]), np.array([2.0, 2.0, 2.0])]
ASCENDING = [np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 7.0]), np.array([0.0, 1.0, 9.0])]
INDICES = [np.array([0, 1, 2]), np.array([2, 2, 1]), np.array([-1, 0, 0])]
MASKS = [np.array([True, False, True]), np.array([False, True, True]), np.array([True, True, True])]
SQUARE = [np.eye(3) * k + 0.1 for k in (1.0, 2.0, 3.0)]
# Functions of several ops, some of them on the array from outside alone, and some that look at its values.
OF_SEVERAL: dict[str, tuple[Callable[[Any, Any], Any], list[Any]]] = {
    "average": (lambda x, c: np.average(x, weights=c), REALS),
    "average, integers": (lambda x, c: np.average(x, weights=c), [r.astype(int) for r in REALS]),
    "interp": (lambda x, c: np.interp(x, c, np.ones(3) * x), ASCENDING),
    "trapezoid": (lambda x, c: np.trapezoid(x, c), ASCENDING),
    "gradient": (lambda x, c: np.gradient(x, c), ASCENDING),
    "cross": (lambda x, c: np.cross(x, c), REALS),
    "cov": (lambda x, c: np.cov(x, c), REALS),
    "clip": (lambda x, c: x.clip(None, c), REALS),
    "float_power": (lambda x, c: np.float_power(x, c), [r.astype("f4") for r in REALS]),
    "matmul of float32": (lambda x, c: x @ c, [s.astype("f4") for s in SQUARE]),
    "digitize": (lambda x, c: np.digitize(x, c), [*ASCENDING, ASCENDING[1][::-1]]),
    "quantile": (lambda x, c: np.quantile(x, c), [np.array([0.1, 0.5]), np.array([0.2, 0.9])]),
    "lstsq": (lambda x, c: np.linalg.lstsq(c, x)[0], SQUARE),
    "choose": (lambda x, c: np.choose(c, [x, 2 * x, 3 * x]), INDICES[:2]),
    "take": (lambda x, c: np.take(x, c, mode="wrap"), INDICES),
    "selection by a mask": (lambda x, c: np.sum(x[c] ** 2), MASKS),
    "where": (lambda x, c: np.where(c, x, -x), MASKS),
    "repeat": (lambda x, c: np.repeat(x, c), [np.array([1, 2, 1]), np.array([2, 1, 1])]),
    "roll": (lambda x, c: np.roll(x, c), [np.array(1), np.array(2)]),
    "index": (lambda x, c: x[c], INDICES),
    "at, set": (lambda x, c: tnp.at(x)[1].set(c), [np.array(1.0), np.array(2.0)]),
    "at, multiply": (lambda x, c: tnp.at(x)[c].multiply(2.0), INDICES),
    "at, clip": (lambda x, c: tnp.at(x)[c].get(mode="clip"), [*INDICES, np.array([5, 7, -9])]),
    "at, fill": (lambda x, c: tnp.at(x)[c].get(mode="fill", fill_value=9.0), [*INDICES, np.array([5, 1, 0])]),
    "grad of at, multiply": (
        lambda x, c: tg.grad(lambda x: np.sum(tnp.at(x)[c].multiply(2.0) ** 2))(x), INDICES
    ),
    "logsumexp": (lambda x, c: tg.nn.logsumexp(x, b=c), REALS),
    "dynamic_slice": (lambda x, c: tg.lax.dynamic_slice(x, (c,), (2,)), [np.array(0), np.array(1), np.array(7)]),
    "jit within": (lambda x, c: tg.jit(lambda x: np.repeat(x, c))(x), [np.array([1, 2, 1]), np.array([2, 1, 1])]),
}  # fmt: skip


@pytest.mark.parametrize(
    "backend, name",
    [("numpy", name) for name in OF_SEVERAL]
    + [("xla", name) for name in ("average", "take", "selection by a mask", "at, multiply", "jit within")],
)
def test_functions_of_several_ops(backend: str, name: str) -> None:
    f, values = OF_SEVERAL[name]
    c = values[0].copy()
    jitted = tg.jit(lambda x: f(x, c), backend=backend)
    for value in (*values, *values):
        c[...] = value
        for got, expected in zip(tree.tree_leaves(jitted(X)), tree.tree_leaves(f(X, c)), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-6)
    reads = name in ("average", "interp", "cross", "where", "index", "at, set", "float_power", "lstsq")
    assert len(jitted.trace_log) == 1 or not reads, jitted.trace_log


def test_what_is_looked_into_and_made_while_tracing_costs_nothing() -> None:
    jitted = tg.jit(lambda x: np.repeat(x, np.arange(3)) * np.sum(x[np.array([True, False, True])]))
    jitted(X)
    assert jitted._recent.captured == ()
    repeats = np.array([1, 2, 0])
    jitted = tg.jit(lambda x: np.repeat(x, repeats))
    jitted(X)
    repeats[0] = 3
    jitted(X)
    assert jitted.trace_log[1] == "the values of an array that the function closes over and looks into: i64[3]"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_python_computes_while_tracing_is_fixed(backend: str) -> None:
    c = np.ones(3)
    f = tg.jit(lambda x: x * (2.0 * c) + tg.grad(lambda w: np.sum(w * w * c))(c), backend=backend)
    as_plain(f(X), X * 2.0 + 2.0)
    c[...] = 5.0
    as_plain(f(X), X * 2.0 + 2.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_shape_or_dtype_is_traced_for(backend: str) -> None:
    c = np.arange(6.0)
    f = lambda x: np.sum(x * c, axis=-1)
    jitted = tg.jit(f, backend=backend)
    for _ in range(2):
        as_plain(jitted(2.0), f(2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2.5
        c.shape = (2, 3)
    for _ in range(2):
        as_plain(jitted(2.0), f(2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        c.dtype = np.int64  # type: ignore[misc]
    as_plain(jitted(2.0), f(2.0))
    assert len(jitted.trace_log) == 3
    assert jitted.trace_log[1] == "an array that the function closes over: f64[2,3], before f64[6]"
    with pytest.raises(ValueError, match="cannot resize"):
        c.resize(8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_made_while_tracing_is_no_input(backend: str) -> None:
    kept: list[Any] = []

    def f(x: Any, keep: bool) -> Any:
        made = np.arange(3.0) + 1.0
        if keep:
            kept.append(made)
        return x * made

    for keep in (False, True):
        graph = tg.jit(lambda x, keep=keep: f(x, keep), backend=backend).lower(X).graph
        assert len(captured.captured(graph.consts, Lasting())[0]) == keep
    assert not captured.captured({None: np.ones((2, 3))[1:].T}, Lasting())[0]  # type: ignore[dict-item]
    base = np.ones(3)
    for constant in (base[1:], np.frombuffer(b"12345678")):
        assert captured.captured({None: constant}, Lasting())[0]  # type: ignore[dict-item]


def test_signatures_of_a_function_over_arrays_on_xla() -> None:
    c, tables = np.ones(3), {n: np.full(n, 2.0) for n in (1, 3)}
    traced = []

    @tg.jit(backend="xla", static_argnames="k", donate_argnums=())
    def f(x: Any, y: Any = 1.0, *, k: int = 1) -> Any:
        traced.append(1)
        return {"b": x * tables[x.shape[0]] * y, "a": x * k if k > 1 else x * c}

    def plain(x: Any, y: Any = 1.0, k: int = 1) -> Any:
        return {"b": x * tables[x.shape[0]] * y, "a": x * k if k > 1 else x * c}

    for value in (1.0, 3.0):
        c[0], tables[3][1] = value, -value
        for args, kwargs in [
            ((X,), {}),
            ((X[:1],), {}),
            ((X, 2.0), {}),
            ((X,), {"y": 2.0}),
            ((X,), {"k": 2}),
            ((X,), {"k": 3}),
        ]:
            found = f(*args, **kwargs)
            assert list(found) == ["b", "a"]
            as_plain(found, plain(*args, **kwargs))
            assert all([isinstance(leaf, jax.Array) for leaf in found.values()])
    assert len(traced) == len(f.trace_log) == 6
    assert "stablehlo" in f.lower(X).as_text()
    assert len(f.trace_log) == 6


def test_a_program_over_arrays_inside_jax() -> None:
    c = np.full(3, 2.0)
    f = tg.jit(lambda x: x * c, backend="xla")
    with jax.enable_x64(True):
        as_plain(jax.jit(f)(X), X * 2.0)
        as_plain(jax.vmap(f)(ROWS), ROWS * 2.0)
        as_plain(jax.grad(lambda x: f(x).sum())(X), c)
        c[0] = 5.0
        as_plain(f(X), X * c)
        as_plain(jax.grad(lambda x: f(x).sum())(X), c)
    f = tg.jit(lambda x, y: (x + y * c, None), backend="xla", donate_argnums=(0,))
    x = jax.numpy.arange(3.0, dtype="float32")
    as_plain(f(x, np.float32(1.0))[0], np.arange(3.0) + c)
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    as_plain(tg.jit(lambda x, y: x + y * c, backend="xla", in_shardings=one)(X, 1.0), X + c)
    as_plain(tg.jit(lambda x, y: x + y * c, backend="xla", in_shardings=(one, None), out_shardings=one)(X, 1.0), X + c)


@pytest.mark.parametrize("lay_out", [np.ascontiguousarray, np.asfortranarray, lambda a: a[::-1, ::2]])
def test_copies_on_a_device_are_made_anew_whatever_was_written(lay_out: Any) -> None:
    c = lay_out(np.zeros((600, 400)))
    copies: list[Any] = []
    on_device = captured.OnDevice(captured.Captured(c), lambda a: copies.append(a.copy()) or copies[-1])
    assert on_device.copy() is copies[0] and len(copies) == 1
    for number, write in enumerate(
        [lambda: c.fill(1.0), lambda: np.add(c, 1e-9, out=c), lambda: c.__setitem__((7, 3), 5.0)]
    ):
        write()
        for _ in range(2):
            np.testing.assert_array_equal(on_device.copy(), c)
        assert len(copies) == number + 2
    small = np.zeros((100, 10))
    on_device = captured.OnDevice(captured.Captured(small), np.copy)
    for i in range(100):
        small[i, i % 10] = -0.0
        assert on_device.copy().tobytes() == small.tobytes()


def test_an_array_written_into_between_calls_of_threads() -> None:
    c = np.ones(3)
    f = tg.jit(lambda x: x * c, backend="xla")
    f(X)
    c[...] = 2.0
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(np.asarray(f(X)))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.tolist() for r in found] == [(X * 2.0).tolist()] * 4


@pytest.mark.parametrize("count", [10, 100_000])
@pytest.mark.parametrize("donate", [(), (0,)])
def test_an_argument_on_xla_may_be_written_into_after_the_call(count: int, donate: tuple[int, ...]) -> None:
    for f in (lambda x: x, lambda x: (x, np.sum(x) * x), lambda x: {"rows": x.reshape(2, -1)}):
        x = np.ones(count)
        jitted = tg.jit(f, backend="xla", donate_argnums=donate)
        for _ in range(3):
            found, expected = jitted(x), f(x.copy())
            x[:] = -x - 1.0
            as_plain(found, expected)
    x, w = np.ones(count), jax.numpy.ones(count, "float32")
    pull = tg.vjp(lambda w: w * x, w)[1]
    found = tnp.add(w, x)
    x[:] = -1.0
    assert (np.asarray(found) == 2.0).all() and (np.asarray(pull(np.ones(count))[0]) == 1.0).all()


def test_static_values_of_now_are_traced_with() -> None:
    f = tg.jit(lambda x, s: x * sum(s), static_argnums=1, backend="xla")
    s = [1.0]
    as_plain(f(X, s), X)
    s.append(2.0)
    as_plain(f(X[:2], [1.0]), X[:2])  # a new signature for a value that the list had


def test_the_graph_has_the_array_itself() -> None:
    c = np.ones(3)
    for f in (tg.grad(lambda x: np.sum(x * x * c)), tg.jacrev(lambda x: x * c), lambda x: tnp.sum(x * c)):
        assert any([x is c for x in tg.jit(f).lower(X).graph.consts.values()])
    c[0] = 2.0
