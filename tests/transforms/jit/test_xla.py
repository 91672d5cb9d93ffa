"""jit on XLA, jax arrays outside of it, and our functions inside jax's transforms. Values are held against NumPy's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

import tracegrad as tg  # noqa: E402
import tracegrad.numpy as tnp  # noqa: E402
from tests import ROOT  # noqa: E402
from tests.notes import Notes  # noqa: E402
from tracegrad.core.errors import ConcretizationTypeError, UnexpectedTracerError  # noqa: E402

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")

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


def test_it_traces_once_for_each_signature_and_says_why() -> None:
    traces = Notes()

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


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.parametrize("donated", [{"donate_argnums": 1}, {"donate_argnames": "x"}, {"donate_argnums": -2}])
@pytest.mark.parametrize("static", [{}, {"static_argnums": 0}, {"static_argnames": "n"}])
def test_donation_by_position_and_by_name(donated: Any, static: Any) -> None:
    f = tg.jit(lambda n, x, y: x + n * y, backend="xla", **donated, **static)
    for call in (lambda x, y: f(1, x, y), lambda x, y: f(1, x=x, y=y), lambda x, y: f(y=y, x=x, n=1)):
        x, y = jnp.arange(6.0), jnp.ones(6)
        same(call(x, y), np.arange(1.0, 7.0, dtype="float32"))
        assert x.is_deleted()
        assert not y.is_deleted()


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


class Pair(NamedTuple):
    a: Any
    b: Any


class Own:
    def __init__(self, x: Any) -> None:
        self.x = x


tg.tree_util.register_pytree_node(Own, lambda o: ((o.x,), None), lambda _, xs: Own(*xs))


class Theirs(Own):
    pass


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
# Inside jax's transforms.


def test_inside_another_transform_a_function_is_traced_once() -> None:
    traced = Notes()

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


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


def test_a_branch_on_a_value_names_the_line_and_ways_out() -> None:
    @tg.jit(backend="xla")
    def f(x: Any) -> Any:
        return x if x[0] > 0 else -x

    with pytest.raises(ConcretizationTypeError, match=r"test_xla.py:\d+") as caught:
        f(np.ones(3))
    assert "tg.lax.cond" in str(caught.value)
    assert "tg.jit(f, backend='numpy', branches='guard')" in str(caught.value)
    assert "return x if x[0] > 0" in str(caught.value)
    with pytest.raises(ValueError, match="branches='guard' is for NumPy"):
        tg.jit(np.sin, backend="xla", branches="guard")
    with pytest.raises(ConcretizationTypeError, match="knows only its type"):
        jax.jit(tg.grad(lambda x: x if x > 0 else -x))(1.0)


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


def test_arrays_of_numpys_are_their_owners_after_calls_with_jaxs_arrays_too() -> None:
    f = tg.jit(lambda x, y: (2.0 * x["x"], x["x"] + y), backend="xla")
    theirs = jnp.ones(4096, "float32")
    for ours in (False, False, True, True, False, True):
        x = np.full(4096, 3.0, "float32") if ours else 3.0 * theirs
        doubled, total = f({"x": x}, theirs)
        if ours:
            x[:] = -1.0
        assert np.all(np.asarray(doubled) == 6.0) and np.all(np.asarray(total) == 4.0)
