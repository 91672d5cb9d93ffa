"""From a Graph to jax: dtypes, constants, arguments, and what becomes of float64 beside jax code of the user's own."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from tests.transforms.jit.test_xla import run, same

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

import tracegrad as tg  # noqa: E402
import tracegrad.numpy as tnp  # noqa: E402
from tracegrad.core.errors import PrecisionWarning  # noqa: E402

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")

X = np.linspace(-1.0, 2.0, 6).reshape(2, 3)
PARAMS = {"w": np.linspace(-1, 1, 12).reshape(3, 4), "b": np.linspace(0, 1, 4)}


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
    with pytest.warns(PrecisionWarning, match=r"(?s)at .*test_emit.py.*jax_enable_x64.*astype\(np.float32\)") as caught:
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


ON_A_MESH = """
import jax, jax.numpy as jnp, numpy as np, tracegrad as tg
from jax.sharding import NamedSharding, PartitionSpec as P

mesh = jax.make_mesh((4,), ("i",))
assert mesh.axis_types == (jax.sharding.AxisType.Explicit,)
x = jax.device_put(np.linspace(0.1, 1.3, 32, dtype=np.float32).reshape(8, 4), NamedSharding(mesh, P("i")))
FUNCTIONS = {
    "where": lambda np, x: np.where(x > 0.5, x, 2.0),
    "maximum": lambda np, x: np.maximum(x, 0.3),
    "clip": lambda np, x: np.clip(x, 0.2, 0.5),
    "logaddexp": lambda np, x: np.logaddexp(x, 1.0),
    "norms": lambda np, x: np.linalg.norm(x, axis=1),
    "softmax": lambda np, x: np.exp(x - np.max(x, 1, keepdims=True)) / np.sum(np.exp(x), 1, keepdims=True),
    "root": lambda np, x: x**0.5,
    "power": lambda np, x: x**x,
    "tril": lambda np, x: np.tril(x),
    "tile": lambda np, x: np.tile(x, (1, 2)),
    "concatenate": lambda np, x: np.concatenate([x, np.ones_like(x)], axis=1),
}
# What reads and writes parts of rows, each device those of its own.
PARTS = {
    "sort": lambda np, x: np.sort(x[:, ::-1]) * np.arange(4.0, dtype=np.float32),
    "cross": lambda np, x: np.cross(x[:, :3], x[:, 1:] ** 2),
    "cumprod": lambda np, x: np.cumprod(x, axis=1),
    "median": lambda np, x: np.median(x, axis=1),
    "take_along_axis": lambda np, x: np.take_along_axis(x, np.argsort(-x, axis=1), axis=1),
    "columns": lambda np, x: x[:, np.array([1, 3, 1])],
}


def tangents(f, numpy, x, grad, jvp, jit):
    along = lambda f: lambda x: jvp(f, (x,), (x * 2,))[1]
    value = along(lambda x: f(numpy, x))
    yield value(x)
    yield jit(value)(x)
    loss = lambda x: numpy.sum(f(numpy, x) ** 2)
    yield jit(grad(loss))(x)
    yield jit(along(grad(loss)))(x)


def results(f, numpy, x, grad, jit):
    value = lambda x: f(numpy, x)
    loss = lambda x: numpy.sum(value(x) * 1.5)
    yield jit(value)(x)
    yield jit(grad(loss))(x)
    yield grad(loss)(x)


whole = jnp.asarray(np.asarray(x))  # on one device, where jax computes what is right
wanted = {name: list(results(f, jnp, whole, jax.grad, jax.jit)) for name, f in FUNCTIONS.items()}
for name, f in PARTS.items():
    theirs = tangents(f, jnp, whole, jax.grad, jax.jvp, jax.jit)
    for number, (ours, want) in enumerate(zip(tangents(f, np, x, tg.grad, tg.jvp, tg.jit), theirs, strict=True)):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(want), rtol=2e-5, atol=1e-6, err_msg=f"{name}, {number}")
for context in (False, True):
    if context:
        jax.set_mesh(mesh)
    for name, f in FUNCTIONS.items() if context else [*FUNCTIONS.items()][:1]:
        found = results(f, np, x, tg.grad, tg.jit)
        for number, (ours, theirs) in enumerate(zip(found, wanted[name], strict=True)):
            message = f"{name}, {number}, {context}"
            np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=2e-5, atol=1e-6, err_msg=message)
print("done")
"""


def test_meshes_of_explicit_axes() -> None:
    """What jax.make_mesh makes when it is not asked for other ones."""
    environment = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "JAX_PLATFORMS": "cpu",
    }
    assert run(ON_A_MESH, **environment) == "done\n"
