"""jit on NumPy: the same bits as the function itself, traced once a signature, and memory that is nobody else's."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import linecache
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.numpy as tnp
import tracegrad.random
from benchmarks.jitted import deep_by_hand, network_step
from benchmarks.workloads import LIBRARIES, network_data
from tests.compare import same_bits
from tracegrad import tree
from tracegrad.core.check import check
from tracegrad.core.errors import ConcretizationTypeError
from tracegrad.core.generated import Names
from tracegrad.core.graph import Graph
from tracegrad.core.op import OPS
from tracegrad.core.trace import bind, bind_constant
from tracegrad.lower import passes as simplify
from tracegrad.lower.numpy import parts
from tracegrad.lower.numpy.memory import MANY, Memory

X = np.array([0.3, -1.2, 2.0])
BIG = np.random.default_rng(0).normal(size=(64, 128))


# ---------------------------------------------------------------------------------------------------------------------
# Every op, and functions of many.


def op_samples() -> list[Any]:
    return [
        pytest.param(op, sample, id=f"{op.name}-{i}") for op in OPS.values() for i, sample in enumerate(op.samples())
    ]


@pytest.mark.parametrize("op, sample", op_samples())
def test_every_op(op: Any, sample: Any) -> None:
    expected = bind(op, sample.inputs, sample.params)
    jitted = tg.jit(lambda *xs: bind(op, xs, sample.params))
    before = [np.array(x) for x in sample.inputs]
    for _ in range(2):
        same_bits(jitted(*sample.inputs), expected)
    assert len(jitted.trace_log) == 1
    for x, old in zip(sample.inputs, before, strict=True):
        np.testing.assert_array_equal(x, old)


def network(params: Any, x: Any) -> Any:
    for layer in params:
        x = np.tanh(x @ layer["W"] + layer["b"])
    return np.mean(np.log(np.sum(np.exp(x), axis=1)) - x[:, 0])


PARAMS = [{"W": 0.1 * BIG[:3, :4], "b": BIG[0, :4]}, {"W": 0.1 * BIG[:4, :5], "b": BIG[1, :5]}]


def chain(x: Any) -> Any:
    y = x
    for _ in range(5):
        y = np.sin(y) * 1.01 + x
        y = y / (1.0 + y * y) - np.exp(-y)
    return y


FUNCTIONS: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    ("network", network, (PARAMS, BIG[:7, :3])),
    ("gradient of a network", tg.value_and_grad(network), (PARAMS, BIG[:7, :3])),
    ("large elementwise", chain, (BIG,)),
    ("gradient of large elementwise", tg.grad(lambda x: np.sum(chain(x))), (BIG,)),
    ("per-example gradients", tg.vmap(tg.grad(lambda x: np.sum(chain(x)))), (BIG,)),
    ("hessian", tg.hessian(lambda x: np.sum(np.sin(x) * np.prod(x))), (X,)),
    ("jvp", lambda x, t: tg.jvp(chain, (x,), (t,)), (X, X)),
    ("float32", tg.grad(lambda x: np.sum(np.tanh(x) * 2.0 + 1)), (X.astype(np.float32),)),
    ("weak", lambda x, y: (x * 2.0 + 1, x * y, 3.0), (1.5, np.float32(2.0))),
    ("several outputs", lambda x: np.split(x, 2), (np.arange(6.0),)),
    ("solve", tg.grad(lambda a, b: np.sum(np.linalg.solve(a, b))), (BIG[:4, :4] + 4 * np.eye(4), BIG[0, :4])),
    ("nothing to compute", lambda x: {"x": x, "view": x[::-1], "none": None, "const": X}, (X,)),
    ("integers", lambda n: (n * 2, n // 2, n % 3, n > 1), (np.arange(5),)),
    ("complex", lambda z: np.abs(z) ** 2 + np.angle(z), (np.array([1 + 2j, -1j]),)),
]


@pytest.mark.parametrize("name, f, args", FUNCTIONS, ids=[n for n, _, _ in FUNCTIONS])
def test_bits_of_functions(name: str, f: Any, args: Any) -> None:
    jitted = tg.jit(f)
    expected = f(*args)
    for _ in range(3):
        same_bits(jitted(*args), expected)
    assert jitted.trace_log == ["first call"]
    check(jitted.lower(*args).graph)


@pytest.mark.parametrize("name, f, args", FUNCTIONS, ids=[n for n, _, _ in FUNCTIONS])
@pytest.mark.parametrize("lines", [1, 3])
def test_bits_of_functions_in_parts(name: str, f: Any, args: Any, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", lines)
    jitted = tg.jit(f)
    for _ in range(2):
        same_bits(jitted(*args), f(*args))


def test_parts_of_a_long_function() -> None:
    lines = [
        parts.Line("b = sin(a)", ("b", "a"), "x.py:1"),
        parts.Line("c = cos(b)", ("c", "b"), "x.py:2"),
        parts.Line("d = add(b, c, c); del c", ("d", "b", "c", "c"), "x.py:3"),
        parts.Line("e = add(d, a)", ("e", "d", "a"), "x.py:4"),
        parts.Line("f = add(e, b, k); del b", ("f", "e", "b", "k", "b"), "x.py:5"),
        parts.Line("return [d, f]", ("d", "f")),
    ]
    assert parts.in_parts("g", ["a"], lines, Names({}), {"k"}) == [
        "def g(a):\n    b = sin(a)               # x.py:1\n    c = cos(b)               # x.py:2\n"
        "    d = add(b, c, c); del c  # x.py:3\n    e = add(d, a)            # x.py:4\n"
        "    f = add(e, b, k); del b  # x.py:5\n    return [d, f]\n"
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART", 2)
        bare = [line._replace(comment="") for line in lines]
        sources = parts.in_parts("g", ["a"], bare, Names({"list1": None, "g_part2": None}), {"k"})
    assert sources == [
        "def g_part1(a):\n    b = sin(a)\n    c = cos(b)\n    return [b], [c],\n",
        "def g_part2_2(a, list0, list1_2):\n    [b] = list0\n    [c] = list1_2\n    list1_2.clear()\n"
        "    d = add(b, c, c); del c\n    e = add(d, a)\n    return [d, e],\n",
        "def g_part3(list0, list2):\n    [b] = list0\n    list0.clear()\n    [d, e] = list2\n    list2.clear()\n"
        "    f = add(e, b, k); del b\n    return [d, f]\n",
        "def g(a):\n    list0, list1_2, = g_part1(a)\n    list2, = g_part2_2(a, list0, list1_2)\n"
        "    return g_part3(list0, list2)\n",
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8", "bool"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sums_of_two(axis: int, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 2, 50)) * 100
    x[:, :, :, :8] = np.array([0.0, -0.0, np.inf, -np.inf, 1e30, 1e-30, -1e30, 0.0])
    with np.errstate(all="ignore"):
        x = np.moveaxis(x, 3, 0).astype(dtype)[..., ::-1]
        for f in (
            lambda x: np.sum(x, axis + 1),
            lambda x: np.sum(x, axis + 1, keepdims=True),
            lambda x: np.sum(x[3], axis),
        ):
            same_bits(tg.jit(f)(x), f(x))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8"])
@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_sums_down_narrow_columns(columns: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30])
    with np.errstate(all="ignore"):
        for rows in (31, 32, 100, 2048, 2049):
            x = (rng.normal(size=(rows, columns)) * 100).astype(dtype)
            odd = x.copy()
            odd[rng.integers(rows, size=7), 0] = special.astype(dtype)
            for one in (x, odd, -0.0 * np.abs(x), np.asfortranarray(x), x[::-1], np.repeat(x, 2, 1)[:, ::2]):
                for f in (lambda x: np.sum(x, 0), lambda x: np.sum(x, 0, keepdims=True)):
                    same_bits(tg.jit(f)(one), f(one))
                if dtype != "complex64":  # which NumPy divides in complex128
                    same_bits(tg.jit(lambda x: np.mean(x, 0))(one), np.mean(one, 0))


def test_other_orders_of_jit_and_transforms() -> None:
    f = lambda x: np.sum(chain(x))
    jitted = tg.jit(f)
    same_bits(tg.grad(jitted)(X), tg.grad(f)(X))
    same_bits(tg.jit(tg.grad(jitted))(X), tg.grad(f)(X))
    np.testing.assert_allclose(tg.vmap(jitted)(np.stack([X, 2 * X])), [f(X), f(2 * X)])
    np.testing.assert_allclose(tg.hessian(tg.jit(jitted))(X), tg.hessian(f)(X), rtol=1e-12)
    same_bits(tg.jvp(jitted, (X,), (X,)), tg.jvp(f, (X,), (X,)))
    outer = tg.jit(lambda x: jitted(x) + jitted(2 * x))
    same_bits(outer(X), f(X) + f(2 * X))
    assert len(jitted.trace_log) == 1  # the calls inside found it traced


# ---------------------------------------------------------------------------------------------------------------------
# Memory.


@pytest.mark.parametrize("size", [3, 5000])
def test_results_share_memory_with_nothing(size: int) -> None:
    x = np.linspace(-1.0, 1.0, size)
    held = np.linspace(0.0, 1.0, size)

    @tg.jit
    def f(x: Any) -> Any:
        y = x * 2.0
        z = np.sin(y)
        return [x, x, y, y, y[::-1], y.reshape(1, -1), z + y, held, held.T, np.broadcast_to(z, (2, size)), -z]

    old, kept = x.copy(), held.copy()
    first = f(x)
    copies = [r.copy() for r in first]
    for r in first:
        assert r.flags.writeable
        assert not np.shares_memory(r, x)
        assert not np.shares_memory(r, held)
    for i, a in enumerate(first):
        for b in first[i + 1 :]:
            assert not np.shares_memory(a, b)
    same_bits(f(x), copies)  # and a later call leaves the results of this one alone
    same_bits(first, copies)
    for r in first:
        r[...] = 7.0
    same_bits(f(x), copies)
    same_bits([x, held], [old, kept])


def layouts(x: Any) -> dict[str, Any]:
    frozen = x.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    return {
        "fortran": np.asfortranarray(x), "strided": np.repeat(x, 2, 0)[::2], "reversed": x[::-1].copy()[::-1],
        "read-only": frozen, "transposed": x.T.copy().T, "unaligned": unaligned, "swapped": x.astype(x.dtype.newbyteorder()),
        "broadcast": np.broadcast_to(x[:1], x.shape),
    }  # fmt: skip


@pytest.mark.parametrize("name", layouts(BIG))
def test_layouts_of_inputs(name: str) -> None:
    x = layouts(BIG)[name]
    f = lambda x: (chain(x), x @ x.T, np.sum(x, 0))
    for got, expected in zip(tg.jit(f)(x), f(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        assert got.dtype == np.float64


def test_empty_arrays() -> None:
    same_bits(tg.jit(chain)(np.zeros((0, 3))), np.zeros((0, 3)))


def test_arrays_that_are_closed_over_are_read_anew() -> None:
    c = np.array([1.0, 2.0, 3.0])
    f = tg.jit(lambda x: x * c)
    same_bits(f(X), X * c)
    c[0] = 100.0
    same_bits(f(X), X * c)


# ---------------------------------------------------------------------------------------------------------------------
# Signatures.


def test_trace_log() -> None:
    calls = []

    @tg.jit
    def f(x: Any, y: Any = 1.0) -> Any:
        calls.append(1)
        return x["a"] * y

    f({"a": X})
    f({"a": 2 * X})
    f({"a": X[:2]})
    f({"a": X.astype(np.float32)})
    f({"a": X.astype(np.float32)}, 2.0)
    f({"a": X.astype(np.float32)}, 2)
    f({"a": X})
    assert len(calls) == len(f.trace_log) == 5
    assert f.trace_log[:3] == [
        "first call",
        "x['a']: f64[2], before f64[3]",
        "x['a']: f32[3], before f64[2]",
    ]
    assert "structure" in f.trace_log[3]
    assert f.trace_log[4] == "y: i64~[], before f64~[]"


@dataclasses.dataclass
class Config:
    scale: float
    names: list[str]


@pytest.mark.parametrize(
    "a, b",
    [
        (2, 3), ("sum", "mean"), ([1, 2], [1, 3]), ({"a": 1}, {"a": 2}), ({1, 2}, {1, 3}),
        (Config(1.0, ["a"]), Config(1.0, ["b"])), (np.arange(3), np.arange(3) + 1), (2, 2.0), (None, False),
        (0.0, -0.0), (0j, complex(0.0, -0.0)), (np.float32(0.0), -np.float32(0.0)), (1, True), ((1, [0.0]), (1, [-0.0])),
        (float("nan"), float("inf")), (Config(1, []), Config(True, [])), ({1: 2}, {1.0: 2}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (np.array([[1], "a"], object), np.array([[2], "a"], object)), (slice(1), slice(True)), (range(0), range(1, 1)),
        (np.ones(2, "f4,f4"), np.ones(2, np.dtype([("f1", "f4"), ("f0", "f4")]))), (np.ones(2, "<i4"), np.ones(2, ">i4")),
        (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0])), (defaultdict(int), defaultdict(list)),
        (np.array(["a", "b" * 40], np.dtypes.StringDType()), np.array(["a", "c" * 40], np.dtypes.StringDType())),
        (np.ones((2, 2)), np.asfortranarray(np.ones((2, 2)))), (np.float64(1.0), 1.0), (np.ones(1), np.ones(1).view(np.recarray)),
    ],
)  # fmt: skip
def test_static_arguments_are_told_apart_by_value(a: Any, b: Any) -> None:
    seen = []

    def f(x: Any, how: Any) -> Any:
        seen.append(how)
        return x * len(seen)

    for jitted in (tg.jit(f, static_argnums=1), tg.jit(f, static_argnames="how"), tg.jit(f, static_argnums=(-1,))):
        seen.clear()
        same_bits(jitted(X, pickle.loads(pickle.dumps(a))), X)
        same_bits(jitted(X, pickle.loads(pickle.dumps(a))), X)
        same_bits(jitted(X, b), X * 2)
        same_bits(jitted(X, a), X)
        assert len(seen) == 2
        assert jitted.trace_log[1].startswith("a static argument")
    same_bits(tg.jit(lambda x, *, n: x * n, static_argnames="n")(X, n=3), X * 3)


@pytest.mark.parametrize("wrap", [tg.jit, tg.checkpoint])
def test_a_static_array_of_objects_is_looked_into_at_each_call(wrap: Any) -> None:
    f = wrap(lambda x, s: x * len(s[0]), static_argnums=1)
    s = np.empty(1, object)
    s[0] = [1]
    same_bits(f(X, s), X)
    s[0].append(2)
    same_bits(f(X, s), X * 2)
    a = np.array([(1.0, 2.0)], [("a", "f4"), ("b", "f4")])
    g = wrap(lambda x, s: x * float(s["a"][0]), static_argnums=1)
    same_bits(g(X, a), X)
    same_bits(g(X, a.view([("b", "f4"), ("a", "f4")])), X * 2)


def test_a_static_argument_has_a_position_and_a_name() -> None:
    calls = []

    def f(x: Any, n: int = 2, *, kind: str = "sin") -> Any:
        calls.append(n)
        return (np.sin(x) if kind == "sin" else np.cos(x)) * len(range(n))

    for jitted in (tg.jit(f, static_argnums=(1,), static_argnames="kind"), tg.jit(f, static_argnames=("n", "kind"))):
        for args, kwargs in [
            ((), {}),
            ((3,), {}),
            ((), {"n": 3}),
            ((3,), {"kind": "cos"}),
            ((), {"kind": "cos", "n": 1}),
        ]:
            same_bits(jitted(X, *args, **kwargs), f(X, *args, **kwargs))
    same_bits(tg.jit(f, static_argnums=-1)(X), f(X))
    same_bits(tg.jit(lambda *a: a[0] * len(range(a[1])), static_argnums=np.int64(-1))(X, 4), X * 4)
    same_bits(tg.jit(lambda x, **k: x * len(range(k["n"])), static_argnames="n")(X, n=4), X * 4)


@pytest.mark.parametrize(
    "options, error, text",
    [
        (
            {"static_argnames": "m"},
            ValueError,
            r"jit at \S+test_numpy.py:\d+ .*has no parameter 'm'; its parameters are x, n$",
        ),
        ({"static_argnames": ("n", "m")}, ValueError, r"static_argnames=\('n', 'm'\).* no parameter 'm'"),
        (
            {"static_argnames": 1},
            TypeError,
            "static_argnames must be a string or a sequence of strings.*got 1; positions go",
        ),
        ({"static_argnums": 2}, ValueError, r"no positional parameter 2; those that it has are numbered from 0: x, n$"),
        (
            {"static_argnums": "a"},
            TypeError,
            "static_argnums must be an int or a .*got 'a'; names go into static_argnames",
        ),
        ({"static_argnums": 1.0}, TypeError, "static_argnums must be an int or a sequence of ints.*got 1.0$"),
        ({"donate_argnums": "x"}, TypeError, "donate_argnums must be an int"),
    ],
)
def test_static_arguments_that_there_are_not(options: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        tg.jit(lambda x, n: x, **options)
    if "static_argnums" in options:
        with pytest.raises(error, match=text.replace("jit", "checkpoint")):
            tg.checkpoint(lambda x, n: x, **options)


def test_names_of_arguments_beside_static_ones() -> None:
    f = tg.jit(lambda n, x, m, y: x * n if y is None else float(y), static_argnums=(0, -2))
    with pytest.raises(ConcretizationTypeError, match=r"the input y, but the jit of"):
        f(2, X, 3, 1.0)
    with pytest.raises(ConcretizationTypeError, match=r"the input y, but the jit of"):
        f.lower(2, X, 3, 1.0)
    f(2, X, 3, None)
    f(2, X[:2], 3, None)
    assert f.trace_log == ["first call", "x: f64[2], before f64[3]"]


def test_static_arguments_that_have_no_value() -> None:
    with pytest.raises(TypeError, match=r"must be hashable.*bytearray"):
        tg.jit(lambda x, b: x, static_argnums=1)(X, bytearray(b"1"))


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
    assert len([name for name in linecache.cache if name.startswith("<tracegrad jit")]) < 50


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


def peak(f: Callable[[], Any]) -> int:
    f()
    tracemalloc.start()
    f()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_a_training_step_needs_no_more_memory_than_one_by_hand() -> None:
    sizes, points = (784, 512, 512, 10), 128
    args = network_data(sizes, points, "float32")
    step = tg.jit(network_step(LIBRARIES["tracegrad"][1]()))
    assert peak(lambda: step(*args)) <= peak(lambda: deep_by_hand(*args))


# ---------------------------------------------------------------------------------------------------------------------
# Python.


def test_a_branch_on_a_value_is_refused() -> None:
    @tg.jit
    def f(x: Any) -> Any:
        if x[0] > 0:
            return x
        return -x

    with pytest.raises(ConcretizationTypeError, match=r"test_numpy\.py.*jit"):
        f(X)
    assert f.trace_log == []
    same_bits(tg.jit(lambda x: x if x.shape[0] > 2 else -x)(X), X)


def test_an_error_leaves_nothing_behind() -> None:
    fail = True

    @tg.jit
    def f(x: Any) -> Any:
        y = np.sin(x)
        if fail:
            raise RuntimeError("on purpose")
        return y

    with pytest.raises(RuntimeError, match="on purpose"):
        f(X)
    fail = False
    same_bits(f(X), np.sin(X))


def test_errors_of_the_compiled_function_are_numpys() -> None:
    f = tg.jit(lambda a: np.linalg.inv(a))
    same_bits(f(np.eye(2)), np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        f(np.zeros((2, 2)))
    same_bits(f(np.eye(2)), np.eye(2))


def test_a_function_that_closes_over_a_tracer_is_not_kept() -> None:
    f: Any = None

    def loss(x: Any) -> Any:
        nonlocal f
        f = tg.jit(lambda y: np.sum(y * x))
        return f(X) + f(X)

    same_bits(tg.grad(loss)(X), 2 * X)
    assert not len(f._function)


def test_methods_keywords_and_names() -> None:
    class Model:
        scale = 2.0

        @staticmethod
        @tg.jit
        def twice(x: Any) -> Any:
            "Doubles."
            return x * 2.0

    same_bits(Model().twice(X), X * 2)
    assert Model.twice.__doc__ == "Doubles."
    f = tg.jit(lambda x, *, y: x - y)
    same_bits(f(X, y=2.0), X - 2.0)
    same_bits(f(y=1.0, x=X), X - 1.0)


@tg.jit
def module_level(x: Any) -> Any:
    return np.cos(x)


def test_pickle() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level


@pytest.mark.parametrize("cache_size", [256, 2])
def test_threads(cache_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracegrad.transforms.signatures.CACHE_SIZE", cache_size)
    f = tg.jit(chain)
    expected = {n: chain(BIG[:n]) for n in (8, 16, 32, 64)}
    wrong: list[Any] = []

    def work(k: int) -> None:
        for i in range(20):
            n = (8, 16, 32, 64)[(i + k) % 4]
            if not np.array_equal(f(BIG[:n]), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert len(f._function) == min(cache_size, 4)
    assert len(f.trace_log) == 4 or cache_size < 4


def test_source() -> None:
    text = tg.jit(lambda x: np.sum(np.sin(x) * 2.0)).lower(X).as_text()
    line = test_source.__code__.co_firstlineno + 1
    assert text.splitlines() == [
        "c2_0 = array(2.0, 'float64')",
        "def compiled(a):",
        f"    b = sin(a)               # test_numpy.py:{line}",
        f"    c = multiply(b, c2_0)    # test_numpy.py:{line}",
        f"    d = add_reduce(c, (0,))  # test_numpy.py:{line}",
        "    return d",
    ]
    # Large results go over what dies with them, or died before; the argument itself is never written to.
    large = tg.jit(lambda x: np.sin(np.cos(x) * 2.0) + np.exp(-x)).lower(tg.ShapeDtypeStruct((9999,), float)).as_text()
    assert [text.split("#")[0].strip() for text in large.splitlines()[2:]] == [
        "b = cos(a)",
        "c = multiply(b, c2_0, b); del b",
        "d = sin(c, c); del c",
        "e = negative(a)",
        "f = exp(e, e); del e",
        "g = add(d, f, d); del d, f",
        "return g",
    ]


@pytest.mark.parametrize("lines", [7, 2000])
def test_memory_of_a_long_program_stays_small(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", lines)

    def f(x: Any) -> Any:
        for _ in range(100):
            x = np.sin(x) @ x
        return x

    x = np.eye(200)
    jitted = tg.jit(f)
    jitted(x)
    tracemalloc.start()
    jitted(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * x.nbytes


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64", "float16", "float32", "float64", "complex64"])
def test_python_scalars_keep_their_weak_part(dtype: str) -> None:
    x = np.array([1, 2, 3], dtype)
    f = lambda x: [x * 2, x + 1, 1 + x * 1, x * True, x * 1.01, x - 0.5, -0.0 * x, x * 1j, np.hypot(x.real, 2), x > 1]
    same_bits(tg.jit(f)(x), f(x))


@pytest.mark.parametrize("z", [complex(-0.0, 1.0), complex(1.0, -0.0), complex(0.0, np.inf), complex(np.nan, -np.inf)])
def test_complex_literals(z: complex) -> None:
    x = np.array([1.0 + 2.0j, 0.0j, -0.0 - 0.0j])
    f = lambda x: (x + z, tnp.where(x == 0, z, x), z)
    with np.errstate(invalid="ignore"):
        same_bits(tg.jit(f)(x), f(x))


@pytest.mark.parametrize("link", [lambda x: np.where(x > 9.0, x, x), lambda x: x.astype(float), lambda x: x[...].T])
def test_long_chains_of_what_may_be_views(link: Callable[[Any], Any]) -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)
        z, out = y, []
        for i in range(3000):
            z = link(z)
            if i % 1000 == 0:
                out.append(z)
        return [y, *out, z, x]

    x = np.linspace(0.0, 1.0, 500)
    jitted = tg.jit(f)
    results = jitted(x)
    same_bits(results, f(x))
    for i, a in enumerate(results):
        assert not any(np.shares_memory(a, b) for b in (x, *results[i + 1 :]))
    memory = Memory(tg.make_graph(f)(tg.ShapeDtypeStruct((500,), float)), None)
    assert max(map(len, memory.roots.values())) <= MANY + 1  # or time would grow with the square of the length


def test_a_long_program() -> None:
    def f(x: Any) -> Any:
        for _ in range(20_000):
            x = np.sin(x)
        return x

    same_bits(tg.jit(f)(X), f(X))
    # Among so many names of variables are those of functions, and of Python's keywords.
    same_bits(tg.jit(tg.grad(lambda x: np.sum(f(x))))(X), tg.grad(lambda x: np.sum(f(x)))(X))


@pytest.mark.parametrize("backend", ["cuda", ""])
def test_unknown_backends(backend: str) -> None:
    with pytest.raises(ValueError, match=r"no backend"):
        tg.jit(np.sin, backend=backend)


# ---------------------------------------------------------------------------------------------------------------------
# Passes: the expected graph, and unchanged values.


def graph_of(f: Any, *args: Any) -> Graph:
    types = [tg.ShapeDtypeStruct(np.shape(a), np.asarray(a).dtype) for a in args]
    return tg.make_graph(f)(*types)


def literal(value: float, like: Any) -> Any:
    """A number that the graph has as a literal, and computes with."""
    return bind_constant(OPS["positive"], value, {}, beside=like)


PASSED: list[tuple[Any, Any, Any, list[str]]] = [
    (simplify.merge_common_subexpressions, lambda x: np.sin(x) * np.sin(x), (X,), ["sin", "multiply"]),
    (simplify.merge_common_subexpressions, lambda x: x * 0.0 + x * -0.0, (X,), ["multiply", "multiply", "add"]),
    (simplify.merge_common_subexpressions, lambda x: sum(np.split(x, 3)) + np.split(x, 3)[0], (X,), ["split"]),
    (simplify.apply_algebra, lambda x: np.sin(x * 1) / 1.0, (X,), ["sin"]),
    (simplify.apply_algebra, lambda x: x - 0, (X,), []),
    (simplify.apply_algebra, lambda x: x - -0.0, (X,), ["subtract"]),
    (simplify.apply_algebra, lambda x: x + 0, (X,), ["add"]),
    (simplify.apply_algebra, lambda x: x * 1.0, (np.arange(3),), ["multiply"]),
    (simplify.apply_algebra, lambda x: x.T.T, (BIG,), []),
    (simplify.apply_algebra, lambda x: x.reshape(2, -1).reshape(x.shape), (BIG,), []),
    (simplify.apply_algebra, lambda x: x.reshape(2, -1).reshape(-1), (BIG,), ["reshape"]),
    (
        simplify.apply_algebra,
        lambda x: np.broadcast_to(x[0], 3).reshape(3, 1) * x,
        (X,),
        ["slice", "broadcast_to", "multiply"],
    ),
    (simplify.apply_algebra, lambda x: x.T @ x, (BIG,), ["matmul"]),
    (simplify.apply_algebra, lambda x: x.T.T @ x.T, (BIG,), ["matmul"]),
    (simplify.apply_algebra, lambda x: np.swapaxes(x, 1, 2) @ x, (BIG.reshape(4, 16, 128),), ["matmul"]),
    (simplify.apply_algebra, lambda x: x.T @ x.T[0], (BIG[:16, :16],), ["transpose", "slice", "matmul"]),
    (
        simplify.apply_algebra,
        lambda x: np.transpose(x, (1, 0, 2)) @ x[0].T,
        (BIG.reshape(4, 16, 128),),
        ["transpose", "slice", "matmul"],
    ),
    (simplify.apply_algebra, lambda x: (-x) * x[::-1] / (-x), (X,), ["slice", "multiply", "divide"]),
    (simplify.apply_algebra, lambda x: x[::-1] + (-x), (X * 0.0,), ["slice", "subtract"]),
    (simplify.apply_algebra, lambda x: (-x) + x, (X * 0.0,), ["subtract"]),
    (simplify.apply_algebra, lambda x: x - (-x), (X * 0.0,), ["add"]),
    (simplify.apply_algebra, lambda x: (-x) - x, (X * 0.0,), ["negative", "subtract"]),
    (simplify.apply_algebra, lambda x: x * -1.0, (np.array([0.0, -0.0, np.nan, np.inf]),), ["negative"]),
    (simplify.apply_algebra, lambda n: (-n) * n, (np.arange(3),), ["negative", "multiply"]),
    (simplify.apply_algebra, lambda z: (-z) * z, (np.array([complex(0.0, np.inf)]),), ["negative", "multiply"]),
    (simplify.apply_algebra, lambda x: x / 4.0, (np.array([1.0, np.pi, 5e-324]),), ["multiply"]),
    (simplify.apply_algebra, lambda x: x / 3.0, (X,), ["divide"]),
    (simplify.apply_algebra, lambda x: x / 2.0, (np.array([complex(np.inf, -0.0)]),), ["divide"]),
    (simplify.apply_algebra, lambda n: n / 2, (np.arange(3),), ["divide"]),
    (simplify.apply_algebra, lambda x: x / 2**14, (X.astype(np.float16),), ["divide"]),
    (simplify.apply_algebra, lambda x: np.sin(np.negative(-x)), (X,), ["sin"]),
    (simplify.apply_algebra, lambda x: x * 1 / 1.0, (np.array([complex(np.inf, 1.0)]),), ["multiply", "divide"]),
    (simplify.apply_algebra, lambda x: x.astype(np.float64).astype(np.float32), (X.astype(np.float32),), []),
    (simplify.apply_algebra, lambda x: x.astype(np.float64).astype(np.float16), (X.astype(np.float32),), ["astype"]),
    (simplify.apply_algebra, lambda x: x.astype(np.float32).astype(np.float64), (X,), ["astype", "astype"]),
    (simplify.apply_algebra, lambda n: n.astype(np.float64).astype(np.int32), (np.arange(3, dtype=np.int32),), []),
    (simplify.apply_algebra, lambda n: n.astype(float).astype(int), (np.array([2**53 + 1]),), ["astype", "astype"]),
    (simplify.apply_algebra, lambda x: np.astype(np.astype(x, float), float), (X,), []),
    (simplify.fold_constants, lambda x: x * np.sin(literal(2.0, x) * 3), (X,), ["multiply"]),
    (simplify.fold_constants, lambda x: x * (1 / literal(0.0, x)), (X,), ["divide", "multiply"]),
    (simplify.collapse_constants, lambda x: x * np.ones(3), (X,), ["multiply"]),
    (simplify.absorb_broadcasts, lambda x: np.broadcast_to(x[:1], (3,)) * x, (X,), ["slice", "multiply"]),
    (simplify.absorb_broadcasts, lambda x: np.broadcast_to(x, (2, 3)) * 2.0, (X,), ["multiply", "broadcast_to"]),
]


@pytest.mark.parametrize("one, f, args, names", PASSED)
def test_passes(one: Any, f: Any, args: Any, names: list[str]) -> None:
    before = graph_of(f, *args)
    after = simplify.eliminate_dead_code(one(before))
    check(after)
    with np.errstate(divide="ignore", invalid="ignore"):
        same_bits(after(*args), before(*args))
    assert [e.op.name for e in after.eqns][: len(names)] == names
    if names != ["split"]:
        assert len(after.eqns) == len(names)
    else:
        assert [e.op.name for e in after.eqns].count("split") == 1


FAST: list[tuple[Any, Any, list[str]]] = [
    (lambda x: x / 3.0, X, ["multiply"]),
    (lambda x: 7.0 * (x * 3.0) / 5.0, X, ["multiply"]),
    (lambda x: (x * 3.0) ** 3, X, ["multiply", "multiply", "multiply"]),
    (lambda x: x**4 * x**2.5, np.abs(X), ["multiply", "multiply", "power", "multiply"]),
    (lambda x: x * np.float32(3.0) * 2.0, X.astype(np.float32), ["multiply"]),
    (lambda x: x * np.inf * 0.0, X, ["multiply", "multiply"]),
    (lambda x: x * 1e-200 * 1e-200, np.array([1e300]), ["multiply", "multiply"]),
    (lambda x: x / 1e-310, np.array([1e-310]), ["divide"]),
    (lambda x: x / 1e-6, np.array([1e-4], np.float16), ["divide"]),
    (lambda n: n * 3 * 4 // 2, np.arange(3), ["multiply", "multiply", "floor_divide"]),
]


@pytest.mark.parametrize("f, x, names", FAST)
def test_fast(f: Any, x: Any, names: list[str]) -> None:
    jitted = tg.jit(f, fast=True)
    graph = jitted.lower(x).graph
    check(graph)
    assert [e.op.name for e in graph.eqns] == names
    with np.errstate(invalid="ignore"):
        got, expected = jitted(x), f(x)
        np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(np.result_type(x, np.float16)).eps)
        assert got.dtype == expected.dtype
        same_bits(tg.jit(f)(x), expected)
    assert pickle.loads(pickle.dumps(tg.jit(np.sin, fast=True)))._made_with == (None, True, {"donate_argnums": ()})


def test_constants_of_a_gradient_are_computed_once() -> None:
    """The cotangent of a sum is a broadcast 1.0, and what is made of it a number, not an array of equal numbers."""
    f = tg.jit(tg.grad(lambda x: np.sum(2.0 - x * x) / 4))
    assert [e.op.name for e in f.lower(X).graph.eqns] == ["multiply", "add"]
    same_bits(f(X), tg.grad(lambda x: np.sum(2.0 - x * x) / 4)(X))


def test_constants_that_are_views_of_one_element_are_read_anew() -> None:
    element = np.array(2.0)
    f = tg.jit(lambda x: x * np.broadcast_to(element, (3,)))
    assert [x.shape for x in f.lower(X).graph.consts.values()] == [()]
    same_bits(f(X), X * 2.0)
    element[...] = 3.0
    same_bits(f(X), X * 3.0)
    # While a trace holds them read-only too.
    g: Any = tg.jit(lambda x: x * np.broadcast_to(element, (3,)))
    tg.grad(lambda x: np.sum(x * element * g(X)))(X)
    element[...] = 4.0
    same_bits(g(X), X * 4.0)


def test_dead_code() -> None:
    before = graph_of(lambda x: (np.sin(x), np.cos(x) * X), X)
    after = simplify.eliminate_dead_code(Graph(before.inputs, before.eqns, before.outputs[:1], before.consts))
    assert [e.op.name for e in after.eqns] == ["sin"]
    assert not after.consts


# ---------------------------------------------------------------------------------------------------------------------
# Calls.

SAME_OR_NOT: list[Any] = [
    ({"a": X, "b": [X, 1.0]},),
    ({"a": X, "c": [X, 1.0]},),
    ({"a": X, "b": (X, 1.0)},),
    ({"a": X, "b": [X]},),
    ({"a": X, "b": [X, 1]},),
    ({"a": X, "b": [X, True]},),
    ({"a": X, "b": [X, None]},),
    ({"a": X[:, None], "b": [X, 1.0]},),
    ({"a": X.astype(np.float32), "b": [X, 1.0]},),
    ({"a": X.astype(">f8"), "b": [X, 1.0]},),
    ({"a": X, "b": [X, np.float64(1.0)]},),
    ({"a": [], "b": {}},),
    (X,),
    (X, X),
    (),
]


class Point(NamedTuple):
    x: Any
    y: Any


def test_calls_find_their_own_signature() -> None:
    calls = []

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
                for got, given in zip(tree.tree_leaves(out), tree.tree_leaves(args), strict=True):
                    np.testing.assert_array_equal(got, given)
                    assert got is not given or np.ndim(given) == 0
    assert len(calls) == len(SAME_OR_NOT)


def test_a_key_that_is_missing_is_not_one_with_none() -> None:
    f = lambda d: d["b"] * (2 if "a" in d else 1000)
    for first, second in itertools.permutations([{"a": None, "b": X}, {"c": X, "b": X}, {"c": None, "b": X}], 2):
        jitted = tg.jit(f)
        for d in (first, second, first, second):
            same_bits(jitted(d), f(d))


def test_outputs_of_all_kinds_of_containers() -> None:
    f = lambda x: Point(x, {"k": [x]})
    same_bits(tg.jit(f)(X), f(X))
    g = lambda x: {"a": [x, (x + 1.0, None)], "e": (), "one": (x,), "d": {"quote's": x}}
    same_bits(tg.jit(g)(X), g(X))
    assert tg.jit(lambda x: None)(X) is None


def sin(x: Any) -> Any:
    return np.sin(x) + np.cos(x)


def test_functions_that_are_called_like_ops() -> None:
    same_bits(tg.jit(sin)(X), sin(X))
    assert "def sin_2(a):" in tg.jit(sin).lower(X).as_text()


def test_custom_rules_inside() -> None:
    @tg.custom_jvp
    def f(x: Any) -> Any:
        return np.sin(x)

    f.defjvp(lambda primals, tangents: (f(*primals), 10.0 * np.cos(primals[0]) * tangents[0]))

    @tg.custom_vjp
    def g(x: Any) -> Any:
        return x * 2.0

    g.defvjp(lambda x: (g(x), x), lambda x, ct: (ct * x * 100.0,))
    for rule in (f, g):
        loss = lambda x, rule=rule: np.sum(rule(x) * x)
        expected = tg.grad(loss)(X)
        for jitted in (tg.jit(tg.grad(loss)), tg.grad(tg.jit(loss)), tg.jit(tg.grad(tg.jit(loss)))):
            same_bits(jitted(X), expected)
        same_bits(tg.jit(tg.vmap(rule))(X), tg.vmap(rule)(X))


@pytest.mark.parametrize("name", ["relu", "gelu", "sigmoid", "softplus", "silu", "softmax", "log_softmax", "logsumexp"])
def test_gradients_of_activations(name: str) -> None:
    loss = lambda x: np.sum(getattr(tg.nn, name)(x) ** 2)
    same_bits(tg.jit(tg.value_and_grad(loss))(BIG), tg.value_and_grad(loss)(BIG))


def test_out_of_maximum_is_named() -> None:
    """NumPy 2.4 warns of a positional `out` of these two, and the tests take warnings for errors."""
    x = np.linspace(-1, 1, 3000)
    f = lambda x: np.minimum(np.maximum(x * x, 0.1) * 2, 0.5) + 1
    np.testing.assert_array_equal(tg.jit(f)(x), f(x))


def test_arrays_without_axes_are_the_callers_own_too() -> None:
    x = np.array(0.5)
    for f in (
        lambda x: x, lambda x: (x, x), lambda x: x.reshape(1, 1), lambda x: np.broadcast_to(x, (2,)), lambda x: (x * 2.0, x),
        lambda x: np.reshape(np.reshape(x, (1,)), ()),
    ):  # fmt: skip
        results = tg.tree.leaves([tg.jit(f)(x), tg.jit(f)(x)])
        arrays = [r for r in results if isinstance(r, np.ndarray)]
        assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in [x, *arrays[i + 1 :]])
    assert (tg.jit(lambda x: x)(2.0), type(tg.jit(lambda x: x)(np.float64(2.0)))) == (2.0, np.float64)


@pytest.mark.parametrize("shapes", [((5, 3), (3, 4)), ((2, 70), (70, 6)), ((40, 9), (9, 40))])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_products_of_every_layout_have_the_same_bits(shapes: Any, dtype: str) -> None:
    """Small ones go into BLAS by ndarray.dot, others by np.matmul."""
    rng = np.random.default_rng(0)
    x, y = [rng.normal(size=s).astype(dtype) for s in shapes]
    layouts: list[Callable[[Any], Any]] = [
        lambda a: a,
        np.asfortranarray,
        lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
        lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.broadcast_to(a[:1], a.shape),
    ]
    products: list[Callable[[Any, Any], Any]] = [lambda a, b: a @ b, lambda a, b: (b.T @ a.T).T]
    for layout in layouts:
        a, b = layout(x), layout(y)
        for product in products:
            loss = lambda a, b, product=product: np.sum(np.abs(product(a, b)))
            gradient = tg.value_and_grad(loss, (0, 1))
            same_bits(tg.jit(gradient)(a, b), gradient(a, b))
            np.testing.assert_allclose(tg.jit(product)(a, b), np.einsum("ij,jk->ik", a, b), rtol=1e-4)


def test_a_broadcast_constant_is_not_written_over() -> None:
    """It has the type of a result that comes later, and dies before that, but is read-only."""
    y = np.random.default_rng(0).normal(size=(130, 130))

    def f(x: Any, y: Any) -> Any:
        x = np.where(x > 0, np.maximum(x, -1.0), np.minimum(x, 1.0)) + y
        return np.sum(np.concatenate([x[:1], x[1:]], axis=0))

    gradient = tg.grad(f, (0, 1))
    got = tg.jit(gradient)(y, y)
    same_bits(got, gradient(y, y))
