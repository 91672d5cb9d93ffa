"""vmap: axes, sizes, chunks, nesting. Against loops and jax; what it costs in traces and memory."""

from __future__ import annotations

import collections
import dataclasses
import functools
import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.compare import near
from tests.notes import Notes
from tracegrad import tree
from tracegrad.core.errors import ShapeError

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (7, 3))
W = RNG.uniform(-1, 1, (3, 2))
Pair = collections.namedtuple("Pair", "first second")


@dataclasses.dataclass
class Layer:
    w: Any
    b: Any


tg.tree_util.register_dataclass(Layer, ["w", "b"], [])
jax.tree_util.register_dataclass(Layer, ["w", "b"], [])


def apply(np: Any, layer: Any, x: Any, scale: Any = 1.0) -> Any:
    return np.tanh(x @ layer.w + layer.b) * scale


ROWS = np.arange(7.0)
LAYERS = Layer(RNG.uniform(-1, 1, (3, 2, 7)), RNG.uniform(-1, 1, (7, 2)))


@pytest.mark.parametrize(
    ("in_axes", "args"),
    [
        (
            ([0, None], {"x": 0, "y": -1}, Pair(1, None), Layer(-1, 0)),
            ([ROWS, X[0]], {"x": X, "y": X.T}, Pair(X.T, X[0]), LAYERS),
        ),
        (
            ([0, None], {"x": 0, "y": 1}, 1, Layer(2, None)),
            ([ROWS, X[0]], {"x": X, "y": X.T}, Pair(X.T, X.T), Layer(LAYERS.w, LAYERS.b[0])),
        ),
        (
            (0, {"x": None, "y": 1}, Pair(-1, 0), None),
            ([ROWS, X], {"x": X[0], "y": X.T}, Pair(X.T, X), Layer(LAYERS.w[..., 0], LAYERS.b[0])),
        ),
        ([-1, 0, None, Layer(-1, 0)], ([ROWS, X.T], {"x": X, "y": X}, Pair(X[0], 2.0), LAYERS)),
    ],
)
def test_prefixes_of_every_kind_of_container(in_axes: Any, args: Any) -> None:
    def f(np: Any, items: Any, table: Any, pair: Any, layer: Any) -> Any:
        y = apply(np, layer, np.sum(items[0]) + np.sum(items[1]) + table["x"])
        return {"out": y * np.sum(pair.first), "more": [np.sum(pair.second), Pair(np.sum(table["y"]), y)]}

    for out_axes in (0, -1, {"out": 1, "more": [0, Pair(0, -1)]}, {"out": 0, "more": 0}):
        ours = tg.vmap(functools.partial(f, np), in_axes, out_axes)(*args)
        theirs = jax.vmap(functools.partial(f, jnp), in_axes, out_axes)(*args)
        near(tree.tree_leaves(ours), tree.tree_leaves(theirs))
        assert type(ours["more"][1]) is Pair


def test_keywords_are_mapped_over_their_first_axis() -> None:
    f = lambda np, x, *, scale, rest: np.sum(x) * scale + rest["a"]
    scale, rest = np.arange(7.0), {"a": X}
    ours = tg.vmap(functools.partial(f, np), 1)(X.T, scale=scale, rest=rest)
    near(ours, jax.vmap(functools.partial(f, jnp), 1)(X.T, scale=scale, rest=rest))
    near(tg.vmap(lambda *, scale: scale + 1)(scale=scale), scale + 1)


def test_outputs_that_no_example_decides() -> None:
    f = lambda x: (3.0, np.ones(2), x)
    near(tg.vmap(f)(X[:, 0]), (np.full(7, 3.0), np.ones((7, 2)), X[:, 0]))
    near(tg.vmap(f, out_axes=(None, 1, 0))(X[:, 0]), (np.float64(3.0), np.ones((2, 7)), X[:, 0]))
    constant = np.ones(2)
    got = tg.vmap(lambda x: constant, out_axes=None)(X)
    got[0] = 5.0  # the caller's own
    assert constant[0] == 1.0


def test_axis_size() -> None:
    near(tg.vmap(lambda: np.ones(2), axis_size=3)(), np.ones((3, 2)))
    near(tg.vmap(lambda: np.ones(2), out_axes=1, axis_size=3)(), np.ones((2, 3)))
    near(tg.vmap(lambda x: x * 2.0, None, axis_size=3)(X[0]), np.stack([2 * X[0]] * 3))
    near(tg.vmap(lambda x: x * 2.0, None, out_axes=None, axis_size=3)(X[0]), 2 * X[0])
    near(tg.vmap(lambda x: x * 2.0, axis_size=np.int64(7))(X), 2 * X)
    near(tg.vmap(lambda x: x * 2.0, None, axis_size=0)(X[0]), np.zeros((0, 3)))
    near(tg.grad(lambda x: np.sum(tg.vmap(lambda y: np.sin(y), None, axis_size=3)(x)))(X[0]), 3 * np.cos(X[0]))
    near(tg.jit(tg.vmap(lambda x: x * 2.0, None, axis_size=3))(X[0]), np.stack([2 * X[0]] * 3))
    near(tg.vmap(tg.vmap(lambda x: x, None, axis_size=2))(X), np.stack([X, X], 1))


HERE = r" at .*test_vmap\.py:\d+ \(in <lambda>\)"


@pytest.mark.parametrize(
    ("case", "error", "text"),
    [
        (
            lambda: tg.vmap(lambda x: x, axis_size=3)(X),
            ShapeError,
            r"vmap{here}: axis_size is 3, but axis 0 of argument x has 7 \(f64\[7,3\]\); leave axis_size out, or choose "
            r"the axes with in_axes, None where every example gets the whole",
        ),
        (lambda: tg.vmap(lambda x: x, axis_size=-1), ValueError, r"vmap{here}: axis_size must be at least 0, got -1"),
        (
            lambda: tg.vmap(lambda x: x, axis_size=2.0),
            TypeError,
            r"vmap{here}: axis_size must be an int, a number of examples, got 2\.0",
        ),
        (lambda: tg.vmap(lambda x: x, batch_size=0), ValueError, r"vmap{here}: batch_size must be at least 1, got 0"),
        (lambda: tg.vmap(lambda x: x, batch_size=-2), ValueError, r"vmap{here}: batch_size must be at least 1, got -2"),
        (
            lambda: tg.vmap(lambda x: x, batch_size="8"),
            TypeError,
            r"vmap{here}: batch_size must be an int, a number of examples, got '8'",
        ),
        (
            lambda: tg.vmap(lambda: 1.0)(),
            ShapeError,
            r"vmap{here}: no argument of '.*<lambda>' \(.*\) is mapped \(there are no arrays among them\); map at least "
            r"one, or say with axis_size= how many examples there are",
        ),
        (
            lambda: tg.vmap(lambda x: {"y": x}, out_axes={"y": 3}, batch_size=2)(X),
            ShapeError,
            r"vmap{here}: out_axes asks for axis 3 of the output\['y'\] of '.*' \(.*\), which has 2 axes with that of "
            r"the examples",
        ),
        (
            lambda: tg.vmap(lambda x: x, out_axes=None, batch_size=2)(X),
            ShapeError,
            r"vmap{here}: out_axes is None for the output of '.*' \(.*\), which depends on a mapped argument; give the "
            r"axis that the examples go to",
        ),
        (
            lambda: tg.vmap(lambda x: x["w"], in_axes={"w": 0})({"w": X}),
            ShapeError,
            r"vmap{here}: in_axes does not fit the value.*",
        ),
    ],
)  # fmt: skip
def test_errors(case: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=r"(?s)\A" + text.replace("{here}", HERE) + r"\Z"):
        case()


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "elementwise": lambda x, w: np.sin(x) * 2.0,
    "reduction": lambda x, w: np.sum(x * x),
    "product": lambda x, w: np.tanh(x @ w),
    "pytree": lambda x, w: {"a": x @ w, "b": [np.max(x), w * 2.0, 3.0]},
    "integers": lambda x, w: (np.argsort(x), x > 0, np.argmax(x)),
    "gradient": tg.grad(lambda x, w: np.sum(np.tanh(x @ w))),
    "gradient of weights": tg.grad(lambda x, w: np.sum(np.tanh(x @ w)), 1),
    "hessian": tg.hessian(lambda x, w: np.sum(np.tanh(x @ w) ** 2)),
    "solve": lambda x, w: np.linalg.solve(np.outer(x, x) + 3 * np.eye(3), w),
    "complex": lambda x, w: np.exp(1j * x),
    "gather": lambda x, w: x[np.array([2, 0])] * w[0],
    "nested": lambda x, w: tg.vmap(lambda a: a * x)(w.T),
    "chunks within": lambda x, w: tg.vmap(lambda a: a * x, batch_size=1)(w.T),
    "jitted": tg.jit(lambda x, w: np.tanh(x @ w)),
}


@pytest.mark.parametrize("chunk", [1, 2, 3, 6, 7, 100])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_chunks_change_no_result(name: str, chunk: int) -> None:
    f = FUNCTIONS[name]
    for in_axes, args in (((0, None), (X, W)), ((1, None), (X.T, W)), ((0, 0), (X, np.stack([W] * 7)))):
        for out_axes in (0, -1):
            whole = tg.vmap(f, in_axes, out_axes)(*args)
            near(tg.vmap(f, in_axes, out_axes, batch_size=chunk)(*args), whole, 1e-14)
            near(tg.jit(tg.vmap(f, in_axes, out_axes, batch_size=chunk))(*args), whole, 1e-14)


@pytest.mark.parametrize("chunk", [1, 3, 7])
@pytest.mark.parametrize(
    "transform",
    [
        lambda m: tg.grad(lambda x: np.sum(m(x, W) ** 2))(X),
        lambda m: tg.grad(lambda w: np.sum(m(X, w) ** 2))(W),
        lambda m: tg.jvp(lambda x, w: m(x, w), (X, W), (X[::-1].copy(), W)),
        lambda m: tg.vjp(m, X, W)[1](np.ones((7, 2))),
        lambda m: tg.vmap(m, (0, None))(np.stack([X, 2 * X]), W),
        lambda m: tg.vmap(m, (None, 0))(X, np.stack([W, 2 * W])),
        lambda m: tg.vmap(m, (None, 0), batch_size=2)(X, np.stack([W, 2 * W, 3 * W])),
        lambda m: tg.vmap(tg.grad(lambda w: np.sum(m(X, w) ** 2)))(np.stack([W, 2 * W])),
        lambda m: tg.hessian(lambda w: np.sum(m(X, w) ** 2))(W),
        lambda m: tg.jit(tg.grad(lambda w: np.sum(m(X, w) ** 2)))(W),
        lambda m: tg.linearize(lambda x: m(x, W), X)[1](X),
        lambda m: tg.make_graph(m)(X, W)(X, W),
        lambda m: tg.eval_shape(lambda x: tg.vmap(lambda y: m(y, W))(x), np.stack([X, X])).shape,
    ],
)
def test_chunks_under_transforms(transform: Any, chunk: int) -> None:
    f = lambda x, w: np.tanh(x @ w)
    near(transform(tg.vmap(f, (0, None), batch_size=chunk)), transform(tg.vmap(f, (0, None))), 1e-13)


def test_chunks_share_what_all_examples_share() -> None:
    calls = []

    @tg.custom_jvp
    def counted(w: Any) -> Any:
        calls.append(1)
        return np.linalg.inv(w)

    counted.defjvp(lambda primals, tangents: (counted(*primals), tangents[0]))
    f = lambda x, w: (x @ counted(w), counted(w), 2.0)
    w = W.T @ W + np.eye(2)
    x = X[:, :2]
    whole = tg.vmap(f, (0, None))(x, w)
    calls.clear()
    near(tg.vmap(f, (0, None), (0, None, 0), batch_size=2)(x, w), (whole[0], whole[1][0], whole[2]))
    assert len(calls) == 4  # twice to find the types, twice for their values: not once for each chunk
    near(tg.vmap(lambda x: x * np.cos(W), batch_size=2)(x[:, 0]), x[:, 0][:, None, None] * np.cos(W))


def test_chunks_of_nothing() -> None:
    near(tg.vmap(np.sin, batch_size=3)(X[:0]), X[:0])
    assert tg.vmap(lambda x: np.argmax(x), batch_size=3)(X[:0]).dtype == np.int64


def test_results_of_chunks_are_the_callers_own() -> None:
    kept = X.copy()
    for out_axes in (0, 1):
        a, b, c = tg.vmap(lambda x: (x, x, W[:, 0]), out_axes=out_axes, batch_size=2)(X)
        for result in (a, b, c):
            assert type(result) is np.ndarray and result.flags.writeable and result.base is None
            result[:] = 9.0
        np.testing.assert_array_equal(X, kept)
        assert not np.any(W == 9.0)


def test_a_function_is_traced_once_however_many_chunks() -> None:
    traces = Notes()

    def f(x: Any) -> Any:
        traces.append(1)
        return np.sin(x)

    tg.vmap(f, batch_size=2)(X)
    assert len(traces) == 1
    jitted = tg.jit(tg.vmap(f, batch_size=2))
    for _ in range(3):
        jitted(X)
    assert len(traces) == 2
    inside = tg.jit(f)
    for _ in range(3):
        tg.vmap(inside, batch_size=2)(X)
    assert len(traces) == 3


def peak(f: Callable[[], Any]) -> int:
    """The most memory, in bytes, that was held at a time while `f` ran, over what was held before."""
    f()
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_chunks() -> None:
    x = np.ones((4096, 8))

    def f(x: Any) -> Any:  # 128 times as much on the way as comes out
        y = np.outer(np.sin(np.concatenate([x] * 4)), np.cos(np.concatenate([x] * 4)))
        return np.sum(y * y, axis=0)[:8]

    whole = peak(lambda: tg.vmap(f)(x))
    chunks = peak(lambda: tg.vmap(f, batch_size=64)(x))
    result = x.nbytes
    assert whole > 64 * result
    assert chunks < 2 * result + whole / 32
    last = peak(lambda: tg.vmap(f, out_axes=-1, batch_size=64)(x))  # the results are made where they belong
    assert last < 2 * result + whole / 32
    jitted = tg.jit(tg.vmap(f, batch_size=64))
    assert peak(lambda: jitted(x)) < 4 * result + whole / 32
    # Per-example gradients of shared weights that are summed at once.
    w = np.ones((8, 256))
    norms = lambda x, w: np.sum(tg.grad(lambda w: np.sum(np.tanh(x @ w)))(w) ** 2)
    whole = peak(lambda: tg.vmap(norms, (0, None))(x, w))
    assert peak(lambda: tg.vmap(norms, (0, None), batch_size=32)(x, w)) < whole / 50


def test_nested_to_depth_three() -> None:
    def f(np: Any, x: Any, y: Any, z: Any) -> Any:
        return np.sum(np.tanh(x * y) @ W) * np.exp(z) + np.max(x)

    def three(lib: Any, g: Any) -> Any:
        inner = lib.vmap(g, (None, 0, -1), -1)
        middle = lib.vmap(inner, (0, None, 0))
        return lib.vmap(middle, (0, 1, None), 1)

    x, y, z = RNG.uniform(-1, 1, (2, 5, 3)), RNG.uniform(-1, 1, (4, 2, 3)), RNG.uniform(-1, 1, (5, 4))
    ours, theirs = functools.partial(f, np), functools.partial(f, jnp)
    near(three(tg, ours)(x, y, z), three(jax, theirs)(x, y, z))
    loop = np.array([[[ours(x[i, j], y[k, i], z[j, k]) for k in range(4)] for i in range(2)] for j in range(5)])
    near(three(tg, ours)(x, y, z), loop)
    for by in (0, 1, 2):
        near(three(tg, tg.grad(ours, by))(x, y, z), three(jax, jax.grad(theirs, by))(x, y, z))
        total = lambda lib, g: lib.grad(lambda *xs: three(lib, g)(*xs).sum(), by)(x, y, z)
        near(total(tg, ours), total(jax, theirs))
    near(three(tg, tg.hessian(ours))(x, y, z), three(jax, jax.hessian(theirs))(x, y, z), 1e-11)
    near(tg.jit(three(tg, tg.jit(tg.grad(ours))))(x, y, z), three(jax, jax.grad(theirs))(x, y, z))
    near(three(tg, tg.jacfwd(tg.grad(ours), 1))(x, y, z), three(jax, jax.jacfwd(jax.grad(theirs), 1))(x, y, z), 1e-11)


POINT = np.array([0.3, -1.2, 2.0])


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
    near(tg.vmap(f, (0, None))(p, POINT), np.sum(POINT) + np.arange(4.0))
    near(tg.vmap(f, ({"w": 0, "b": None}, None))({"w": p["w"], "b": 2.0}, POINT), np.full(4, np.sum(POINT) + 2.0))
    near(tg.vmap(f, (0, None))(p, POINT, scale=np.arange(4.0)), (np.sum(POINT) + np.arange(4.0)) * np.arange(4.0))
    near(tg.vmap(lambda t: t[0] * t[1])((POINT, POINT)), POINT * POINT)


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
        per_example(POINT, np.stack([POINT, 2 * POINT])),
        np.stack([POINT * (1 - np.tanh(POINT * POINT) ** 2), 2 * POINT * (1 - np.tanh(2 * POINT * POINT) ** 2)]),
    )
    near(tg.vmap(lambda x: 3.0)(POINT), np.full(3, 3.0))
    near(tg.vmap(lambda x: x, out_axes=0)(np.zeros((0, 2))), np.zeros((0, 2)))
