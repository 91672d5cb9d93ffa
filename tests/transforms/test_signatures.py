"""One jitted function called with arguments that are alike, in both orders, against plain Python: what a function can tell
apart, its programs must."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import linecache
import os
import subprocess
import sys
import tracemalloc
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401, which gives NumPy bfloat16
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.compare import same_bits
from tests.notes import Notes
from tracegrad import tree, tree_util
from tracegrad.core.graph import evaluate
from tracegrad.lower.numpy.writer import lower
from tracegrad.lower.passes import simplify
from tracegrad.transforms.signatures import Backend, Signatures
from tracegrad.transforms.static_arguments import static_arguments


class Pair(NamedTuple):
    a: Any
    b: Any


class Other(NamedTuple):
    a: Any
    b: Any


@tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    w: Any
    name: Any = dataclasses.field(default="dense", metadata={"static": True})


def describe(x: Any) -> Any:
    """All that Python code can tell of a tree without the values of its leaves."""
    if isinstance(x, dict):
        made = getattr(x, "default_factory", None)
        return type(x).__name__, made, [(type(k).__name__, repr(k), describe(v)) for k, v in x.items()]
    if isinstance(x, list | tuple):
        return type(x).__name__, [describe(part) for part in x]
    if isinstance(x, Layer):
        return "Layer", type(x.name).__name__, repr(x.name), describe(x.w)
    if x is None:
        return "None"
    return np.shape(x), str(x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype)


def told(*args: Any, **kwargs: Any) -> Any:
    """A number that stands for the structure of the arguments, and of their leaves what shows their dtypes and values, in
    the order of the arguments, in the containers that these are in."""
    number = float(zlib.crc32(repr(describe([args, kwargs])).encode()))
    ones = np.ones(2, "f4")
    return number, tree.tree_map(lambda leaf: ones * leaf if np.ndim(leaf) == 0 else leaf[:1] * 2, (args, kwargs))


def as_python(got: Any, expected: Any) -> None:
    assert describe(got) == describe(expected)
    for g, e in zip(tree.tree_leaves(got), tree.tree_leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(g), np.asarray(e))


X = np.array([1.0, 2.0])
LEAVES = [
    1.0, 2.0, 1, True, 1j, np.float64(1.0), np.float32(1.0), np.int64(1), np.bool_(True), np.array(1.0), np.array(1), X,
    X.astype("f4"), X.astype(">f8"), X.astype(int), X > 1, X[:1], X[None], np.asfortranarray(np.ones((2, 2))), np.ones((2, 2)).T,
    np.broadcast_to(X, (2, 2)), X[::-1],
]  # fmt: skip
leaves = st.sampled_from(LEAVES)
STATIC = [1, True, 1.0, 0.0, -0.0, "a", None, (1,), (True,), (0.0,), (-0.0,)]


def containers(inner: Any) -> Any:
    texts = st.lists(st.sampled_from("abc"), max_size=3, unique=True)
    numbers = st.lists(st.sampled_from([0, 1, False, True, 2, 1.0, -0.0]), max_size=2, unique=True)
    keys = st.one_of(texts, texts, numbers)
    return st.one_of(
        keys.flatmap(lambda ks: st.tuples(*[inner] * len(ks)).map(lambda vs: dict(zip(ks, vs, strict=True)))),
        keys.flatmap(lambda ks: st.tuples(*[inner] * len(ks)).map(lambda vs: OrderedDict(zip(ks, vs, strict=True)))),
        texts.flatmap(
            lambda ks: st.tuples(*[inner] * len(ks)).map(lambda vs: defaultdict(int, zip(ks, vs, strict=True)))
        ),
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.builds(Pair, inner, inner),
        st.builds(Other, inner, inner),
        st.builds(Layer, inner, st.sampled_from(STATIC)),
    )


trees = st.recursive(st.one_of(leaves, st.none(), st.sampled_from([(), [], {}])), containers, max_leaves=6)


def altered(x: Any, draw: Callable[[Any], Any]) -> Any:
    """A tree that is like another but for one thing, perhaps."""
    if isinstance(x, dict) and x:
        keys = draw(st.permutations(list(x)))
        if draw(st.integers(0, 2)) == 0 and all([isinstance(k, str) for k in keys]):
            new = draw(st.sampled_from("abc"))
            keys = [new if k == keys[0] and new not in x else k for k in keys]
            return (
                type(x)(x.default_factory, zip(keys, x.values(), strict=True))
                if isinstance(x, defaultdict)
                else type(x)(zip(keys, x.values(), strict=True))
            )
        part = draw(st.sampled_from(keys))
        items = {k: altered(x[k], draw) if k is part else x[k] for k in keys}
        return defaultdict(x.default_factory, items) if isinstance(x, defaultdict) else type(x)(items)
    if isinstance(x, Layer):
        return Layer(x.w, draw(st.sampled_from(STATIC))) if draw(st.booleans()) else Layer(altered(x.w, draw), x.name)
    if isinstance(x, list | tuple) and x:
        i = draw(st.integers(0, len(x) - 1))
        parts = [altered(part, draw) if j == i else part for j, part in enumerate(x)]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    return draw(st.one_of(leaves, st.none(), st.sampled_from([(), [], {}])))


WRAPS = {
    "jit": lambda: tg.jit(told),
    "checkpoint": lambda: tg.checkpoint(told),
    "xla": lambda: tg.jit(told, backend="xla"),
}


def told_apart(wrap: str, data: Any) -> None:
    first = data.draw(st.lists(trees, min_size=1, max_size=2))
    calls = [first, [altered(a, data.draw) for a in first], first]
    as_keywords = data.draw(st.booleans())
    for one, two in ((calls[0], calls[1]), (calls[1], calls[0])):
        jitted = WRAPS[wrap]()
        for args in (one, two, one, two):
            if as_keywords:
                names = "xy" if args is one else "yx"
                kwargs = dict(zip(names, args, strict=False))
                as_python(jitted(**kwargs), told(**kwargs))
            else:
                as_python(jitted(*args), told(*args))


@given(st.data())
@settings(max_examples=150, derandomize=True, deadline=None, database=None)
def test_jit(data: Any) -> None:
    told_apart("jit", data)


@given(st.data())
@settings(max_examples=40, derandomize=True, deadline=None, database=None)
def test_checkpoint(data: Any) -> None:
    told_apart("checkpoint", data)


@given(st.data())
@settings(max_examples=6, derandomize=True, deadline=None, database=None)
def test_xla(data: Any) -> None:
    pytest.importorskip("jax")
    told_apart("xla", data)


ORDERS = {
    "grad": lambda f, d: tg.grad(lambda d: np.sum(f(d)))(d),
    "value_and_grad": lambda f, d: tg.value_and_grad(lambda d: np.sum(f(d)))(d),
    "jvp": lambda f, d: tg.jvp(f, (d,), (d,)),
    "vjp": lambda f, d: tg.vjp(f, d)[1](np.ones(2)),
    "linearize": lambda f, d: tg.linearize(f, d)[1](d),
    "jacrev": lambda f, d: tg.jacrev(f)(d),
    "jacfwd": lambda f, d: tg.jacfwd(f)(d),
    "vmap": lambda f, d: tg.vmap(f)(tree.tree_map(lambda x: x[None], d)),
    "make_graph": lambda f, d: tg.make_graph(f)(d),
    "eval_shape": lambda f, d: tg.eval_shape(f, d),
    "checkpoint": lambda f, d: tg.checkpoint(f)(d),
    "cond": lambda f, d: tg.jit(lambda p: tg.lax.cond(p, f, lambda d: X, d))(True),
    "scan": lambda f, d: tg.lax.scan(lambda c, _: ({k: v + 0 * f(c)[0] for k, v in c.items()}, None), d, None, length=1),
    "while_loop": lambda f, d: tg.lax.while_loop(lambda c: f(c)[0] > 1e9, lambda c: c, d),
    "custom_vjp": lambda f, d: tg.custom_vjp(f)(d),
    "jit": lambda f, d: tg.jit(f)(d),
    "jit on XLA": lambda f, d: tg.jit(f, backend="xla")(d),
    "keywords": lambda f, d: tg.jit(lambda **d: f(d))(**d),
    "keywords on XLA": lambda f, d: tg.jit(lambda **d: f(d), backend="xla")(**d),
    "keywords of vmap": lambda f, d: tg.vmap(lambda **d: f(d))(**tree.tree_map(lambda x: x[None], d)),
    "keywords of checkpoint": lambda f, d: tg.checkpoint(lambda **d: f(d))(**d),
}  # fmt: skip


def looking(seen: list[Any]) -> Callable[[Any], Any]:
    def look(d: Any) -> Any:
        seen.append(tuple(d))
        return sum([v * (i + 1.0) for i, v in enumerate(d.values())])

    return look


@pytest.mark.parametrize("name", ORDERS)
def test_dicts_arrive_in_the_callers_order(name: str) -> None:
    for keys in itertools.permutations("abc"):
        seen = Notes()
        d = {k: X * (ord(k) - 96.0) for k in keys}
        out = ORDERS[name](looking(seen), d)
        assert set(seen) == {keys}
        if name in ("grad", "jacrev", "scan", "while_loop"):
            found = out[0] if name == "scan" else out
            assert tuple(found) == keys


def test_one_function_has_a_program_for_each_order() -> None:
    f = lambda d: [v * (i + 1.0) for i, v in enumerate(d.values())]
    for backend in ("numpy", "xla"):
        jitted = tg.jit(f, backend=backend)
        for _ in range(2):
            for keys in itertools.permutations("abc"):
                d = {k: X * ord(k) for k in keys}
                as_python([np.asarray(x) for x in jitted(d)], f(d))
                as_python([np.asarray(x) for x in tg.jit(lambda d: {"r": jitted(d)})(d)["r"]], f(d))
    log = tg.jit(f)
    log({"a": X, "b": X}), log({"b": X, "a": X})
    assert log.trace_log[1] == (
        "the arguments' keys or static fields, which are others, or of other types, or come in another order"
    )


def test_one_log_for_both_backends() -> None:
    """A function is traced for the arguments of a call, on whichever backend that is run."""
    jax = pytest.importorskip("jax")
    f = tg.jit(lambda x: x * 2.0)
    x = np.ones(3)
    f(x)
    f(jax.device_put(np.ones(3, "f4")))
    f(x)
    assert f.trace_log == ["first call", "the backend: xla, before numpy"]
    assert "stablehlo" in f.lower(jax.device_put(x)).as_text() and "stablehlo" not in f.lower(x).as_text()


def test_what_runs_a_signature_may_be_exchanged() -> None:
    """A lowering takes a Graph and no more, so there may be several, and one that chooses among them."""
    f = tg.jit(lambda x: {"y": np.sum(x) * 2.0})
    x = np.ones(3)
    f(x)
    signatures = Signatures(lambda x: {"y": np.sum(x) * 2.0}, static_arguments(None, (), ()))
    entry, leaves, is_positional = signatures.entry_of((x,), {}, Backend("numpy", simplify))
    assert is_positional and entry.run is None and len(signatures) == 1
    programs = [lower(entry.graph, entry.out_tree).function, lambda x: {"y": evaluate(entry.graph, [x])[0]}]
    f._recent.run = lambda x: programs[int(x[0] > 0)](x)
    assert f(x) == programs[0](*leaves) == {"y": 6.0} and f(-x) == {"y": -6.0}


def test_a_jitted_function_of_a_jitted_function_has_its_own_programs() -> None:
    jax = pytest.importorskip("jax")
    x = jax.device_put(np.ones(2))
    inner = tg.jit(lambda x, n: x * n, static_argnums=1)
    inner(x, 2)
    outer = tg.jit(inner, static_argnums=1, fast=True)
    assert outer(x, 3).tolist() == [3.0, 3.0] and outer.trace_log == ["first call"]


# ---------------------------------------------------------------------------------------------------------------------
# How often a function is traced, and why again.

POINT = np.array([0.3, -1.2, 2.0])


def test_trace_log() -> None:
    calls = Notes()

    @tg.jit
    def f(x: Any, y: Any = 1.0) -> Any:
        calls.append(1)
        return x["a"] * y

    f({"a": POINT})
    f({"a": 2 * POINT})
    f({"a": POINT[:2]})
    f({"a": POINT.astype(np.float32)})
    f({"a": POINT.astype(np.float32)}, 2.0)
    f({"a": POINT.astype(np.float32)}, 2)
    f({"a": POINT})
    assert len(calls) == len(f.trace_log) == 5
    assert f.trace_log[:3] == [
        "first call",
        "x['a']: f64[2], before f64[3]",
        "x['a']: f32[3], before f64[2]",
    ]
    assert "structure" in f.trace_log[3]
    assert f.trace_log[4] == "y: i64~[], before f64~[]"


@pytest.mark.parametrize("dtype", ["int32", "float32", "bfloat16"])
def test_an_array_without_axes_and_a_scalar_are_one_signature(dtype: str) -> None:
    """A state that begins as the one comes back from the first step as the other."""
    f = tg.jit(lambda x, w: (x + x, w * 2))
    x, w = np.ones((), np.dtype(dtype)), np.ones(3)
    for _ in range(3):
        x, w = f(x, w)
    assert float(x) == 8 and f.trace_log == ["first call"]


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracegrad.transforms.signatures.CACHE_SIZE", 3)
    f = tg.jit(lambda x: x + 1.0)
    for n in (1, 2, 3, 1, 4, 1, 2):
        same_bits(f(np.zeros(n)), np.ones(n))
    # 4 pushed out 2, which had not been used for the longest time.
    assert len(f.trace_log) == 5
    assert len(f._function) == 3


def test_memory_does_not_grow_with_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracegrad.transforms.signatures.CACHE_SIZE", 4)
    f = tg.jit(tg.grad(lambda x: np.sum(np.sin(x))))
    others = set(linecache.cache)

    def grown(signatures: range) -> int:
        for n in signatures:
            f(np.ones(n))
        f.trace_log.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = grown(range(1, 50))
    after = grown(range(50, 350))
    tracemalloc.stop()
    assert (
        after - before < 300 * 2_000
    )  # an entry that stayed would be some 30 KB; small tables of shapes are bounded too
    assert len([name for name in linecache.cache.keys() - others if name.startswith("<tracegrad jit")]) < 50


RESIDENT = """
import gc
import itertools
import numpy as np, tracegrad as tg

def resident():
    gc.collect()
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096 / 1e6

f = tg.jit(lambda x: np.sin(x) * 2.0 + x)
def signatures(sizes):
    for n in sizes:
        f(np.ones((n % 10 + 1, n // 10)))
signatures(range(2000))
before = resident()
signatures(range(2000, 10_000))
print(resident() - before)

g = tg.jit(tg.grad(lambda x: np.sum(np.tanh(x @ x))))
x = np.ones((64, 64))
for _ in range(1000):
    g(x)
before = resident()
for _ in range(10_000):
    g(x)
print(resident() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_resident_memory_is_flat() -> None:
    """Over 10,000 signatures and over 10,000 calls, in megabytes; entries that stayed would be 240."""
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    by_signatures, by_calls = map(float, done.stdout.split())
    assert by_signatures < 12
    assert by_calls < 1


SAME_OR_NOT: list[Any] = [
    ({"a": POINT, "b": [POINT, 1.0]},),
    ({"a": POINT, "c": [POINT, 1.0]},),
    ({"a": POINT, "b": (POINT, 1.0)},),
    ({"a": POINT, "b": [POINT]},),
    ({"a": POINT, "b": [POINT, 1]},),
    ({"a": POINT, "b": [POINT, True]},),
    ({"a": POINT, "b": [POINT, None]},),
    ({"a": POINT[:, None], "b": [POINT, 1.0]},),
    ({"a": POINT.astype(np.float32), "b": [POINT, 1.0]},),
    ({"a": POINT.astype(">f8"), "b": [POINT, 1.0]},),
    ({"a": POINT, "b": [POINT, np.float64(1.0)]},),
    ({"a": [], "b": {}},),
    (POINT,),
    (POINT, POINT),
    (),
]


class Point(NamedTuple):
    x: Any
    y: Any


def test_calls_find_their_own_signature() -> None:
    calls = Notes()

    @tg.jit
    def f(*args: Any) -> Any:
        calls.append(args)
        return args, {"number": len(calls)}

    for _ in range(3):
        for number, args in enumerate(SAME_OR_NOT):
            for _ in range(2):
                out, found = f(*args)
                same_bits(found, {"number": number + 1})
                assert tree.tree_structure(out) == tree.tree_structure(args)
                for got, sent in zip(tree.tree_leaves(out), tree.tree_leaves(args), strict=True):
                    np.testing.assert_array_equal(got, sent)
                    assert got is not sent or np.ndim(sent) == 0
    assert len(calls) == len(SAME_OR_NOT)


def test_a_key_that_is_missing_is_not_one_with_none() -> None:
    f = lambda d: d["b"] * (2 if "a" in d else 1000)
    for first, second in itertools.permutations(
        [{"a": None, "b": POINT}, {"c": POINT, "b": POINT}, {"c": None, "b": POINT}], 2
    ):
        jitted = tg.jit(f)
        for d in (first, second, first, second):
            same_bits(jitted(d), f(d))


def test_containers_that_are_registered_with_jax_alone() -> None:
    jax = pytest.importorskip("jax")

    class Linear:
        def __init__(self, w: Any, b: Any, power: int) -> None:
            self.w, self.b, self.power = w, b, power

    jax.tree_util.register_pytree_node(
        Linear, lambda m: ((m.w, m.b), m.power), lambda power, leaves: Linear(*leaves, power)
    )

    def loss(m: Linear, x: Any) -> Any:
        return np.sum((x @ m.w + m.b) ** m.power)

    x, model = np.ones((2, 3)), Linear(np.arange(6.0).reshape(3, 2), np.ones(2), 2)
    wanted = 2 * (x @ model.w + model.b)
    for gradient in (tg.grad(loss), tg.jit(tg.grad(loss)), tg.jit(tg.grad(loss), backend="xla")):
        found = gradient(model, x)
        assert type(found) is Linear and found.power == 2
        assert np.allclose(found.w, x.T @ wanted) and np.allclose(found.b, np.sum(wanted, 0))
    jitted = tg.jit(loss)
    assert np.allclose(jitted(model, x), loss(model, x))
    cubic = Linear(model.w, model.b, 3)
    assert np.allclose(jitted(cubic, x), loss(cubic, x))
    assert jitted(model, x) == loss(model, x) and len(jitted.trace_log) == 2
    rows = tg.vmap(lambda m: m.w + m.b, in_axes=0)(Linear(np.ones((4, 3, 2)), np.ones((4, 2)), 2))
    assert np.array_equal(rows, np.full((4, 3, 2), 2.0))
    step = tg.lax.scan(lambda m, _: (tg.tree.map(lambda leaf: leaf * 0.5, m), None), model, None, length=2)[0]
    assert type(step) is Linear and np.array_equal(step.w, model.w / 4)


def test_equinox_modules() -> None:
    eqx = pytest.importorskip("equinox")

    class Scale(eqx.Module):  # type: ignore[misc, name-defined]
        w: Any
        n: int = eqx.field(static=True)

    class Function(eqx.Module):  # type: ignore[misc, name-defined]
        f: Any
        w: Any

    model = Scale(np.arange(3.0), 2)
    for gradient in (tg.grad, lambda f: tg.jit(tg.grad(f)), lambda f: tg.jit(tg.grad(f), backend="xla")):
        found = gradient(lambda m: np.sum(m.w**2) * m.n)(model)
        assert type(found) is Scale and found.n == 2 and np.allclose(found.w, 4 * model.w)
    with pytest.raises(TypeError, match=r"m\.f: .* is not an array of numbers"):
        tg.grad(lambda m: m.w)(Function(np.sin, 2.0))


def test_a_numpy_scalar_and_an_array_of_no_axes_are_one_signature() -> None:
    """NumPy makes either of them as it likes, so that a loop's first state may hold the one and the next the other."""
    step = tg.jit(lambda x, n: (x + n, np.where(n > 2, n, n + 1)))
    x = np.ones(3)
    _, n = step(x, np.int32(0))
    assert type(n) is np.ndarray
    step(x, n)
    step(x, np.int32(4))
    assert step.trace_log == ["first call"]
    step(x, 4)
    assert len(step.trace_log) == 2  # a number yields to any array's dtype
    scaled = tg.jit(lambda x, n, rate: (x * rate, n))
    for count in (np.int32(0), np.asarray(np.int32(1))):
        scaled(x, count, 0.5)
    assert scaled.trace_log == ["first call"]
