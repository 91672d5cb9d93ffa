"""jit on XLA, jax arrays outside of it, and our functions inside jax's transforms. Values are held against NumPy's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

import tracegrad as tg  # noqa: E402
import tracegrad.numpy as tnp  # noqa: E402
from tests import ROOT  # noqa: E402
from tracegrad.core.errors import ConcretizationTypeError, PrecisionWarning, UnexpectedTracerError  # noqa: E402


@pytest.fixture(autouse=True)
def _with_jax_as_it_comes() -> Iterator[None]:
    """Other tests switch 64-bit types on for good."""
    with jax.enable_x64(False):
        yield


X = np.linspace(-1.0, 2.0, 6).reshape(2, 3)


def same(got: Any, expected: Any, rtol: float = 1e-12) -> None:
    """Jax arrays of the same structure, dtypes and values as NumPy's."""
    leaves, structure = jax.tree_util.tree_flatten(got)
    wanted, expected_structure = jax.tree_util.tree_flatten(expected)
    assert structure == expected_structure
    for g, w in zip(leaves, wanted, strict=True):
        assert isinstance(g, jax.Array)
        assert (g.shape, g.dtype) == (np.shape(w), np.asarray(w).dtype)
        np.testing.assert_allclose(g, w, rtol=rtol, atol=1e-14)


def loss(params: Any, x: Any) -> Any:
    hidden = np.tanh(x @ params["w"] + params["b"])
    return np.mean(hidden**2) + np.sum(np.where(hidden > 0, hidden, 0.1 * hidden))


PARAMS = {"w": np.linspace(-1, 1, 12).reshape(3, 4), "b": np.linspace(0, 1, 4)}


# ---------------------------------------------------------------------------------------------------------------------
# jit(backend="xla").


@pytest.mark.parametrize(
    "transform", [lambda f: f, tg.grad, tg.value_and_grad, tg.jacrev, tg.hessian, lambda f: tg.vmap(f, (None, 0))]
)
def test_transforms_under_jit(transform: Any) -> None:
    f = transform(loss)
    same(tg.jit(f, backend="xla")(PARAMS, X), f(PARAMS, X))


def test_dtypes_are_numpys_and_the_flag_is_left_alone() -> None:
    assert not jax.config.jax_enable_x64
    f = tg.jit(lambda x: (x * 2, np.sum(x), np.argmax(x), np.sin(x), x > 0, x / 3), backend="xla")
    for dtype in (np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.complex128):
        x = np.arange(3).astype(dtype)
        expected = (x * 2, np.sum(x), np.argmax(x), np.sin(x), x > 0, x / 3)
        assert [r.dtype for r in f(x)] == [e.dtype for e in expected]
    assert [r.dtype for r in f(2.0)] == [np.float64, np.float64, np.int64, np.float64, bool, np.float64]
    assert not jax.config.jax_enable_x64
    assert jnp.ones(3).dtype == np.float32


def test_it_traces_once_for_each_signature_and_says_why() -> None:
    traces = []

    @tg.jit(backend="xla")
    def f(x: Any, y: float = 1.0) -> Any:
        traces.append(1)
        return np.sin(x) * y

    for _ in range(3):
        f(X)
        f(X, y=2.0)
    assert len(traces) == len(f.trace_log) == 2
    f(X.astype("float32"))
    assert len(traces) == 3
    assert f.trace_log[0] == "first call"
    f(X.astype("float16"))
    assert "float16" in f.trace_log[-1] or "f16" in f.trace_log[-1]


def test_static_arguments_by_value() -> None:
    f = tg.jit(lambda x, axes, scale: np.sum(x, axis=tuple(axes)) * scale, backend="xla", static_argnums=1)
    same(f(X, [0], 2.0), np.sum(X, axis=0) * 2.0)
    same(f(X, [1], 2.0), np.sum(X, axis=1) * 2.0)
    f(X, [1], 3.0)
    assert len(f.trace_log) == 2
    g = tg.jit(lambda x, *, kind: np.sin(x) if kind == "sin" else np.cos(x), backend="xla", static_argnames="kind")
    same(g(X, kind="sin"), np.sin(X))
    same(g(X, kind="cos"), np.cos(X))


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_donation() -> None:
    x = jnp.arange(6.0)
    same(tg.jit(lambda x, y: x + y, donate_argnums=0, backend="xla")(x, 1.0), np.arange(1.0, 7.0, dtype="float32"))
    assert x.is_deleted()
    x = jnp.arange(6.0)
    f = tg.jit(lambda n, x: x + n, static_argnums=0, donate_argnums=1, backend="xla")
    same(f(1, x), np.arange(1.0, 7.0, dtype="float32"))
    assert x.is_deleted()


def test_lower_shows_graph_and_stablehlo() -> None:
    f = tg.jit(lambda x: np.sin(x) * 2.0, backend="xla")
    for argument in (X, tg.ShapeDtypeStruct((2, 3), "float64")):
        lowered = f.lower(argument)
        assert [e.op.name for e in lowered.graph.eqns] == ["sin", "multiply"]
        assert "stablehlo.sine" in lowered.as_text()
        assert "tensor<2x3xf64>" in lowered.as_text()


def test_nested_and_mixed_with_the_other_backend() -> None:
    inner = tg.jit(lambda x: np.sin(x) * x, backend="xla")
    outer = tg.jit(lambda x: np.sum(inner(x) ** 2), backend="xla")
    f = lambda x: np.sum((np.sin(x) * x) ** 2)
    same(outer(X), f(X))
    same(tg.grad(lambda x: np.sum(inner(x) ** 2))(X), tg.grad(f)(X))  # run on XLA where it is asked for
    found = tg.jit(lambda x: np.sum(inner(x) ** 2))(X)  # the outermost decides
    assert type(found) is np.float64
    np.testing.assert_allclose(found, f(X))
    same(tg.vmap(inner)(X), np.sin(X) * X)


def test_no_backend_means_xla_for_jax_arrays() -> None:
    f = tg.jit(lambda d: {"y": np.sin(d["x"])})
    same(f({"x": jnp.asarray(X)}), {"y": np.sin(X.astype("float32"))}, rtol=1e-6)
    assert type(f({"x": X})["y"]) is np.ndarray
    assert type(tg.jit(np.sin, backend="numpy")(X)) is np.ndarray


def test_loops_and_branches() -> None:
    def f(x: Any) -> Any:
        def step(c: Any, row: Any) -> Any:
            c = tg.lax.cond(np.sum(row) > 0, lambda: np.sin(c) * row, lambda: c - row)
            return c, np.sum(c)

        last, sums = tg.lax.scan(step, np.ones(3), x, reverse=True)
        found = tg.lax.while_loop(lambda s: np.sum(s) < 50.0, lambda s: s * 1.5 + 0.1, np.abs(last) + 1.0)
        return np.sum(found) + np.sum(sums) + tg.lax.switch(2, [np.sum, np.max, np.min], last)

    same(tg.jit(f, backend="xla")(X), f(X))
    same(tg.jit(tg.grad(f), backend="xla")(X), tg.grad(f)(X), rtol=1e-10)
    rows = np.stack([X, X + 0.3, X - 0.7])
    same(tg.jit(tg.vmap(tg.grad(f)), backend="xla")(rows), np.stack([tg.grad(f)(r) for r in rows]), rtol=1e-10)
    same(tg.jit(tg.hessian(f), backend="xla")(X), tg.hessian(f)(X), rtol=1e-9)


@pytest.mark.parametrize("steps", [0, 1, 7, 100, 5000])
@pytest.mark.parametrize("memory", [None, 96, 2000])
def test_reverse_mode_of_a_while_loop(steps: int, memory: int | None) -> None:
    def f(w: Any, n: Any) -> Any:
        body = lambda s: (s[0] + 1, np.tanh(w * s[1]) + 0.1)
        return np.sum(tg.lax.while_loop(lambda s: s[0] < n, body, (0, w + 0.5), memory=memory)[1] ** 2)

    w = np.array([0.3, -0.9])
    same(tg.jit(tg.grad(f), backend="xla")(w, steps), tg.grad(f)(w, steps), rtol=1e-10)


def test_checkpoint_keeps_xla_from_keeping() -> None:
    f = lambda x: np.sum(tg.checkpoint(lambda x: np.sin(np.sin(np.sin(x))))(x))
    g = tg.jit(tg.grad(f), backend="xla")
    same(g(X), tg.grad(f)(X))
    assert "optimization_barrier" in g.lower(X).as_text()


def test_custom_rules() -> None:
    @tg.custom_vjp
    def f(x: Any) -> Any:
        return np.sin(x)

    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct * 10.0 * np.cos(x),))
    same(tg.jit(f, backend="xla")(X), np.sin(X))
    same(tg.jit(tg.grad(lambda x: np.sum(f(x))), backend="xla")(X), 10.0 * np.cos(X))
    same(tg.grad(lambda x: np.sum(f(x)))(jnp.asarray(X, "float32")), (10.0 * np.cos(X)).astype("float32"), rtol=1e-6)


def module_level(x: Any) -> Any:
    return np.sin(x)


def test_pickle() -> None:
    f = pickle.loads(pickle.dumps(tg.jit(module_level, backend="xla")))
    same(f(X), np.sin(X))


def test_bfloat16() -> None:
    """NumPy's rules for it, as ml_dtypes has them: products of matrices sum in float32. The same graph runs on both."""

    def f(w: Any, x: Any) -> Any:
        y = (x.astype("bfloat16") @ w.astype("bfloat16")).astype("bfloat16")
        return np.sum(np.tanh(y + y).astype("float32") ** 2)

    w, x = PARAMS["w"].astype("float32"), X.astype("float32")
    expected = tg.grad(f)(w, x)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(tg.jit(tg.grad(f))(w, x), expected)
    same(tg.jit(tg.grad(f), backend="xla")(w, x), expected, rtol=0.1)
    graph = tg.jit(tg.grad(f), backend="xla").lower(w, x).graph
    products = [e for e in graph.eqns if e.op.name.startswith("matmul")]
    assert [[str(a.type.dtype) for a in e.inputs] for e in products] == [["bfloat16", "bfloat16"]] * 2
    half = jnp.ones(3, "bfloat16")
    found = tg.grad(lambda p: np.sum(p.astype("float32") ** 2))(half)
    assert (found.dtype, found.tolist()) == (half.dtype, [2.0, 2.0, 2.0])


class Pair(NamedTuple):
    a: Any
    b: Any


class Own:
    def __init__(self, x: Any) -> None:
        self.x = x


class Theirs(Own):
    pass


tg.tree_util.register_pytree_node(Own, lambda o: ((o.x,), None), lambda _, xs: Own(*xs))
jax.tree_util.register_pytree_node(Theirs, lambda o: ((o.x,), None), lambda _, xs: Theirs(*xs))


def test_trees_of_both() -> None:
    f = tg.jit(lambda p, o: (Pair(np.sin(p.a), p.b), type(o)(o.x * 2.0), None), backend="xla")
    for cls in (Own, Theirs):
        pair, own, none = f(Pair(X, [X, 1.0]), cls(X))
        same(pair.a, np.sin(X))
        same(own.x, 2.0 * X)
        assert type(own) is cls
        assert none is None
    f(Pair(X, [X, 1.0]), Own(X))
    assert len(f.trace_log) == 2
    assert "stablehlo.sine" in f.lower(Pair(X, [X, 1.0]), Own(X)).as_text()
    jax.tree_util.register_pytree_node(Own, lambda o: ((o.x,), None), lambda _, xs: Own(*xs))  # we have not done it


# ---------------------------------------------------------------------------------------------------------------------
# jax arrays outside of jit.


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


def test_devices() -> None:
    assert tg.devices() == jax.devices()
    tree = tg.device_put({"a": X, "n": np.int64(3)}, tg.devices()[0])
    assert (tree["a"].dtype, tree["n"].dtype) == (np.float64, np.int64)


# ---------------------------------------------------------------------------------------------------------------------
# Inside jax's transforms.


def test_inside_another_transform_a_function_is_traced_once() -> None:
    traced = []

    @tg.jit(backend="xla")
    def f(p: Any) -> Any:
        traced.append(1)
        return np.sum(np.sin(p["x"][0]) * p["y"])

    p = {"x": [X], "y": X[0]}
    expected = tg.grad(lambda p: np.sum(np.sin(p["x"][0]) * p["y"]))(p)
    for _ in range(2):
        same(tg.grad(f)(p), expected)
        same(
            tg.jvp(f, (p,), (p,))[1],
            sum([np.sum(v * w) for v, w in zip((X, X[0]), tg.tree.leaves(expected), strict=True)]),
        )
    same(tg.jit(tg.grad(f), backend="xla")(p), expected)
    assert len(traced) == 1
    leaked: list[Any] = []
    tg.grad(lambda x: leaked.append(x) or np.sum(x))(X)
    with pytest.raises(UnexpectedTracerError, match="a tracer leaked"):
        f({"x": leaked, "y": X[0]})


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


def test_under_jax_jit_grad_and_vmap() -> None:
    x32 = X.astype("float32")
    f = lambda x: np.sum(np.sin(x) ** 2 * x)
    expected = tg.grad(f)(x32)
    same(jax.jit(tg.grad(f))(x32), expected, rtol=1e-5)
    same(jax.grad(tg.to_jax(f))(x32), expected, rtol=1e-5)
    same(jax.vmap(tg.grad(f))(x32), np.stack([tg.grad(f)(r) for r in x32]), rtol=1e-5)
    same(jax.jit(jax.vmap(tg.to_jax(np.sin)))(x32), np.sin(x32), rtol=1e-6)
    same(jax.jit(tg.jit(tg.grad(f), backend="xla"))(x32), expected, rtol=1e-5)
    same(jax.grad(tg.jit(f, backend="xla"))(x32), expected, rtol=1e-5)
    same(jax.jit(tnp.sin)(x32), np.sin(x32), rtol=1e-6)
    same(jax.jit(tg.to_jax(np.argmax))(x32), np.argmax(x32))
    with jax.enable_x64(True):
        same(jax.jit(jax.hessian(tg.to_jax(f)))(X), tg.hessian(f)(X))


def test_under_shard_map() -> None:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("i",))
    spec = jax.sharding.PartitionSpec("i")
    f = jax.shard_map(tg.grad(lambda x: np.sum(np.sin(x))), mesh=mesh, in_specs=spec, out_specs=spec)
    same(f(X.astype("float32")), np.cos(X).astype("float32"), rtol=1e-6)
    step = tg.value_and_grad(lambda x: tg.lax.psum(np.sum(np.sin(x)), "i"))
    whole = jax.shard_map(step, mesh=mesh, in_specs=spec, out_specs=(jax.sharding.PartitionSpec(), spec))
    same(whole(X.astype("float32")), (np.sum(np.sin(X)).astype("float32"), np.cos(X).astype("float32")), rtol=1e-6)


COLLECTIVE: dict[str, Any] = {
    "psum": lambda v: v / tg.lax.psum(v, "i"),
    "pmean": lambda v: v - tg.lax.pmean(v, "i"),
    "pmax": lambda v: v - tg.lax.pmax(v, "i"),
    "axis_index": lambda v: v * tg.lax.axis_index("i"),
    "axis_size": lambda v: v * tg.lax.axis_size("i"),
    "all_gather": lambda v: v + tnp.sum(tg.lax.all_gather(v, "i")),
    "psum_scatter": lambda v: v + tg.lax.psum_scatter(tnp.outer(np.arange(4.0), v), "i"),
    "all_to_all": lambda v: v + tnp.sum(tg.lax.all_to_all(tnp.outer(np.arange(4.0), v), "i", 0, 0), axis=0),
    "ppermute": lambda v: tg.lax.ppermute(v, "i", [(0, 1), (1, 2), (2, 3), (3, 0)]),
    "grad": tg.grad(lambda v: np.sum(np.sin(v) * tg.lax.psum(v, "i"))),
    "grad of pmax": tg.grad(lambda v: np.sum(np.sin(v) * tg.lax.pmax(v, "i"))),
    "jit": tg.jit(lambda v: np.sin(v) * tg.lax.psum(v, "i") * tg.lax.axis_index("i"), backend="xla"),
    "grad of jit": tg.grad(
        lambda v: np.sum(tg.jit(lambda v: v**2 * tg.lax.psum(v, "i") * tg.lax.axis_index("i"), backend="xla")(v))
    ),
    "vmap": lambda v: tg.vmap(lambda e: e * tg.lax.psum(e, "i") + tg.lax.axis_index("i"))(v),
    "scan": lambda v: tg.lax.scan(lambda c, r: (c + tg.lax.psum(r, "i"), c * r), 0.0 * v[0], v)[1],
}


@pytest.mark.parametrize("name", COLLECTIVE)
def test_collectives_over_an_axis_of_jax(name: str) -> None:
    f = COLLECTIVE[name]
    x = np.arange(8.0).reshape(4, 2) + 0.5
    with jax.enable_x64(True):
        same(jax.jit(jax.vmap(f, axis_name="i"))(x), tg.vmap(f, axis_name="i")(x))


def test_an_axis_that_nobody_maps_over_is_an_error() -> None:
    with pytest.raises(NameError, match=r"psum at .*test_xla.py.*no axis named 'j' is being mapped over"):
        jax.vmap(lambda x: tg.lax.psum(x, "j"), axis_name="i")(X)
    with pytest.raises(NameError, match=r"no axis named 'j' is being mapped over"):
        tg.jit(lambda x: tg.lax.psum(x, "j"), backend="xla")(X)


def test_to_jax_hands_over_functions_of_numpy() -> None:
    f = tg.to_jax(lambda p, scale=1.0: {"y": np.tanh(p["x"]) * scale})
    same(f({"x": X}, scale=2.0), {"y": np.tanh(X) * 2.0})
    assert f.__wrapped__ is not None
    with pytest.raises(TypeError, match="to_jax"):
        tg.to_jax(3)


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


def test_a_branch_on_a_value_names_the_line_and_ways_out() -> None:
    @tg.jit(backend="xla")
    def f(x: Any) -> Any:
        return x if x[0] > 0 else -x

    with pytest.raises(ConcretizationTypeError, match=r"test_xla.py:\d+") as caught:
        f(np.ones(3))
    assert "tg.lax.cond" in str(caught.value)
    assert "return x if x[0] > 0" in str(caught.value)
    with pytest.raises(ConcretizationTypeError, match="knows only its type"):
        jax.jit(tg.grad(lambda x: x if x > 0 else -x))(1.0)


def test_unknown_backends() -> None:
    with pytest.raises(ValueError, match="'numpy' or 'xla'"):
        tg.jit(np.sin, backend="cuda")


def test_errors_name_the_users_line() -> None:
    with pytest.raises(ValueError, match=r"test_xla.py:\d+"):
        tg.jit(lambda x: np.reshape(x, (5,)), backend="xla")(X)
    with pytest.raises(ValueError, match=r"test_xla.py:\d+"):
        tnp.reshape(tg.device_put(X), (5,))


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_jax() -> None:
    out = run("""
import sys
sys.modules["jax"] = None                                   # not installed
import numpy as np, tracegrad as tg, tracegrad.numpy as tnp
assert tg.jit(tg.grad(lambda x: np.sum(np.sin(x))))(np.zeros(2)).tolist() == [1.0, 1.0]
assert tnp.sin(np.zeros(1))[0] == 0
for f in (lambda: tg.jit(np.sin, backend="xla"), tg.devices, lambda: tg.to_jax(np.sin), lambda: tg.device_put(1.0)):
    try:
        f()
    except ImportError as error:
        assert "pip install 'tracegrad[xla]'" in str(error), error
    else:
        raise AssertionError
print("ok")
""")
    assert out == "ok\n"


def test_the_environment_chooses_the_default_backend() -> None:
    code = "import numpy as np, tracegrad as tg; print(type(tg.jit(np.sin)(np.zeros(2))).__name__)"
    assert run(code, TRACEGRAD_BACKEND="xla") == "ArrayImpl\n"
    assert run(code, TRACEGRAD_BACKEND="numpy") == "ndarray\n"
    refused = """
import numpy as np, tracegrad as tg
try:
    tg.jit(np.sin)
except ValueError as error:
    print(error)
"""
    assert "TRACEGRAD_BACKEND=tpu" in run(refused, TRACEGRAD_BACKEND="tpu")
    assert run("import sys, tracegrad; print('jax' in sys.modules)") == "False\n"


# ---------------------------------------------------------------------------------------------------------------------
# What jax does around a program.


def test_collectives_between_devices() -> None:
    out = run(
        """
import jax, numpy as np, tracegrad as tg
from tests.transforms.jit.test_xla import COLLECTIVE, same
devices = np.array(jax.devices())
spec = jax.sharding.PartitionSpec("i")
x = np.arange(8.0).reshape(4, 2) + 0.5
with jax.enable_x64(True):
    for name, f in COLLECTIVE.items():
        one = lambda rows: f(rows[0])[None]
        got = jax.jit(jax.shard_map(one, mesh=jax.sharding.Mesh(devices, ("i",)), in_specs=spec, out_specs=spec))(x)
        same(got, tg.vmap(f, axis_name="i")(x))
        assert len(got.sharding.device_set) == 4, name
print(len(COLLECTIVE))
""",
        XLA_FLAGS="--xla_force_host_platform_device_count=4",
        PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path]),
    )
    assert out == f"{len(COLLECTIVE)}\n"


def test_programs_are_kept_on_disk(tmp_path: Path) -> None:
    code = """
import jax, numpy as np, tracegrad as tg
for option, value in (("min_compile_time_secs", 0.0), ("min_entry_size_bytes", -1)):
    jax.config.update(f"jax_persistent_cache_{option}", value)
print(float(tg.jit(tg.grad(lambda x: np.sum(np.sin(x) ** 3)), backend="xla")(np.ones(3))[0]))
"""
    printed, kept = set(), set()
    for _ in range(2):
        printed.add(run(code, JAX_COMPILATION_CACHE_DIR=str(tmp_path)))
        kept.add(tuple(sorted([path.name for path in tmp_path.glob("jit_grad*")])))
    (programs,) = kept  # the second process adds none to those of the first
    assert programs
    assert len(printed) == 1


def test_the_flag_stays_as_it_was_where_a_function_turns_it_off_within() -> None:
    out = run("""
import jax, numpy as np, tracegrad as tg
inner = tg.jit(np.sin, backend="xla")

@tg.jit(backend="xla")
def outer(x):
    with jax.enable_x64(False):
        assert inner(np.ones(3)).dtype == np.float64
    return np.sum(x)

assert outer(np.ones(3)).dtype == np.float64
print(jax.config.jax_enable_x64)
jax.config.update("jax_enable_x64", True)  # which a thread with a setting of its own would not see
print(jax.config.jax_enable_x64)
""")
    assert out == "False\nTrue\n"


# ---------------------------------------------------------------------------------------------------------------------
# Beside jax code of the user's own, with 64-bit types off.


def closed_over() -> Any:
    return np.random.default_rng(0).standard_normal((8, 8))


@tg.custom_vjp
def weighed(w: Any, c: Any) -> Any:
    return np.sum(c @ w)


weighed.defvjp(lambda w, c: (np.sum(c @ w), c), lambda c, ct: (ct * np.sum(c, axis=0), None))

CLOSING = {
    "matmul": lambda c: lambda w: c @ w,
    "where": lambda c: lambda w: np.where(w > 0, c, w),
    "solve": lambda c: lambda w: np.linalg.solve(c, w),
    "cond": lambda c: lambda w: tg.lax.cond(w[0] > 0, lambda w: c @ w, lambda w: c.T @ w, w),
    "scan": lambda c: lambda w: tg.lax.scan(lambda s, e: (np.tanh(c @ s) + e, c), w, w)[0],
    "gradient": lambda c: tg.grad(lambda w: np.sum(np.tanh(c @ w) * c[0])),
    "custom": lambda c: tg.grad(lambda w: weighed(w, c)),
}


@pytest.mark.parametrize("name, users_first", [*[(name, True) for name in CLOSING], ("where", False)])
def test_closed_over_arrays_are_not_those_of_jax_code(name: str, users_first: bool) -> None:
    """jax keeps what it makes of a constant by the array's identity, whatever the dtypes it was made for."""
    w = np.linspace(-1.0, 1.0, 8)
    expected = CLOSING[name](closed_over())(w)
    for call in (
        lambda f: tg.jit(f, backend="xla")(w),
        lambda f: tg.vmap(f)(tg.device_put(w[None]))[0],
        lambda f: jax.jit(tg.to_jax(f))(w) if users_first else expected,
    ):
        c = closed_over()
        users = jax.jit(lambda w: jnp.sum(jnp.where(w > 0, c, w) @ w) + jnp.sum(jnp.linalg.solve(c, w)))
        if users_first:
            users(w)
        with jax.enable_x64(True):  # for to_jax, under jax's jit: the other two enter it themselves
            found = call(CLOSING[name](c))
        np.testing.assert_allclose(found, expected, rtol=1e-11)
        assert found.dtype == np.float64
        assert users(w).dtype == np.float32
        np.testing.assert_allclose(users(w), np.sum(np.where(w > 0, c, w) @ w + np.linalg.solve(c, w)), rtol=1e-3)


def aligned(shape: tuple[int, ...], offset: int) -> Any:
    """An array whose memory XLA on CPUs takes as it is (at 0), or not."""
    n = int(np.prod(shape)) * 8
    memory = np.zeros(n + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    return memory[start : start + n].view(np.float64).reshape(shape)


@pytest.mark.parametrize("offset", [0, 16])
@pytest.mark.parametrize("n", [50, 400])
def test_an_argument_may_be_written_into_after_the_call(n: int, offset: int) -> None:
    def slow(y: Any) -> Any:
        for _ in range(10):
            y = np.sin(y @ y * 1e-3) + y
        return np.sum(y)

    y = np.random.default_rng(0).standard_normal((n, n))
    jitted, keyword = tg.jit(slow, backend="xla"), tg.jit(lambda *, tree: slow(tree["a"][0]), backend="xla")
    static = tg.jit(lambda k, y: slow(y) * k, backend="xla", static_argnums=0)
    identity = tg.jit(lambda y: y, backend="xla")
    calls = {
        "one argument": lambda z: jitted(z),
        "in a tree": lambda z: keyword(tree={"a": (z,), "b": None}),
        "beside a static one": lambda z: static(1.0, z),
        "given back": lambda z: identity(z),
        "put on a device": lambda z: tg.device_put({"z": z})["z"],
        "with a jax array": lambda z: tnp.matmul(z, tg.device_put(y)),
    }
    for name, call in calls.items():
        for _ in range(3):
            z = aligned((n, n), offset)
            z[...] = y
            expected = np.asarray(call(z)).copy()
            found = call(z)
            z[...] = 0
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_arguments_stay_where_they_are() -> None:
    """No container is changed on the way, and static arguments are handed over as they are."""
    seen = []
    point = Point(np.ones(2), np.float64(2.0))
    fixed = [np.ones(2)]
    f = tg.jit(lambda s, p: (seen.append(s), p)[1], backend="xla", static_argnums=0)
    x = np.ones(3)
    out = f(fixed, {"b": [x], "a": (point, None)})
    assert seen[0] is fixed
    assert list(out) == ["b", "a"] and type(out["a"][0]) is Point
    assert out["b"][0] is not x and x.flags.writeable


class Point(NamedTuple):
    x: Any
    y: Any


def test_the_first_float64_result_says_what_becomes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracegrad.xla.emit._has_warned", False)
    step = tg.jit(tg.grad(lambda w: np.sum(w**2)), backend="xla")
    w = np.ones(3, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step(w).dtype == np.float32
        assert tg.jit(lambda x: np.argmax(x), backend="xla")(w).dtype == np.int64
        with jax.enable_x64(True):
            assert step(w.astype(np.float64)).dtype == np.float64
    with pytest.warns(PrecisionWarning, match=r"(?s)at .*test_xla.py.*jax_enable_x64.*astype\(np.float32\)") as caught:
        wide = step(w.astype(np.float64))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(np.ones(3))  # it is said once
    with pytest.warns(UserWarning, match="truncated to dtype float32"):  # jax's own, of some of its functions
        w = w.astype(np.float64) - 0.1 * wide
    assert w.dtype == np.float32
    step(w)
    step(np.ones((2, 2)))
    step(np.ones((2, 2), np.float32))
    assert step.trace_log[-1] == "w: f32[2,2], before f64[2,2]"


@pytest.mark.parametrize("give", [lambda: tg.device_put(np.ones(2)), lambda: tnp.add(jnp.ones(2), np.ones(2))])
def test_every_way_out_warns(give: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracegrad.xla.emit._has_warned", False)
    with pytest.warns(PrecisionWarning, match="jax's 64-bit flag is off"):
        assert give().dtype == np.float64


# ---------------------------------------------------------------------------------------------------------------------
# Functions with derivatives of their own, whose bodies call public functions: these get boxes and have to give such back.

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
