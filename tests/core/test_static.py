"""Static arguments are told apart by all that Python code can tell apart in them."""

from __future__ import annotations

import dataclasses
import pickle
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.compare import same_bits
from tests.notes import Notes

X = np.array([0.3, -1.2, 2.0])


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
    seen = Notes()

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
    calls = Notes()

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
            r"jit at \S+test_static.py:\d+ .*has no parameter 'm'; its parameters are x, n$",
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
        ({"donate_argnums": "x"}, TypeError, "donate_argnums must be an int.*names go into donate_argnames"),
        ({"donate_argnums": 2}, ValueError, "donate_argnums=2, .*no positional parameter 2"),
        ({"donate_argnames": "m"}, ValueError, "donate_argnames='m', .*has no parameter 'm'; its parameters are x, n$"),
    ],
)
def test_static_arguments_that_there_are_not(options: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        tg.jit(lambda x, n: x, **options)
    if "static_argnums" in options:
        with pytest.raises(error, match=text.replace("jit", "checkpoint")):
            tg.checkpoint(lambda x, n: x, **options)


def test_static_arguments_that_have_no_value() -> None:
    with pytest.raises(TypeError, match=r"must be hashable.*bytearray"):
        tg.jit(lambda x, b: x, static_argnums=1)(X, bytearray(b"1"))


# ---------------------------------------------------------------------------------------------------------------------
# The aux data of trees.


@tg.tree.register_dataclass
@dataclasses.dataclass
class Scaled:
    w: Any
    how: Any = dataclasses.field(metadata={"static": True})


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize(
    "a, b",
    [
        ([1, 2], [1, 3]), ([1], [True]), ({"a": [1]}, {"a": [2]}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({1, 2}, {1, 3}),
        (np.arange(3), np.arange(3) + 1), (np.arange(3), np.arange(3.0)), (([1],), ([2],)), (Config(1.0, ["a"]), Config(1.0, ["b"])),
    ],
)  # fmt: skip
def test_aux_data_that_are_not_hashable_are_told_apart_by_value(a: Any, b: Any, backend: str) -> None:
    seen = Notes()

    def f(m: Scaled, x: Any = 1.0) -> Scaled:
        seen.append(m.how)
        return Scaled(m.w * float(len(seen)), m.how)

    jitted = tg.jit(f, backend=backend)
    for given, factor in [(a, 1), (a, 1), (b, 2), (a, 1), (b, 2)]:
        m = Scaled(X, pickle.loads(pickle.dumps(given)))
        out = jitted(m)
        same_bits(np.asarray(out.w), X * factor)
        assert type(out.how) is type(given) and repr(out.how) == repr(given)
    assert len(seen) == 2
    assert jitted.trace_log[1].startswith("the arguments' keys or static fields, which are others")
    jitted(Scaled(X, a), x=2.0)
    assert len(seen) == 3
    same_bits(np.asarray(tg.jit(tg.grad(lambda m: np.sum(m.w**2)), backend=backend)(Scaled(X, a)).w), 2.0 * X)
    inner = tg.jit(lambda m: Scaled(m.w * 3.0, m.how), backend=backend)
    same_bits(np.asarray(tg.grad(lambda m: np.sum(inner(m).w))(Scaled(X, a)).w), np.full(3, 3.0))
    same_bits(np.asarray(tg.jit(lambda m: inner(inner(m)), backend=backend)(Scaled(X, a)).w), X * 9.0)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_aux_data_that_are_written_into_later_are_not_those_of_the_signature(backend: str) -> None:
    jitted = tg.jit(lambda m: Scaled(m.w * m.how[0], m.how), backend=backend)
    how = [2.0]
    first = jitted(Scaled(X, how))
    how.append(3.0)
    first.how.append(4.0)
    again = jitted(Scaled(X, [2.0]))
    again.how.append(5.0)
    assert jitted(Scaled(X, [2.0])).how == [2.0] and len(jitted.trace_log) == 1
    # Traced anew for another shape, with the value that this call has.
    assert jitted(Scaled(X[:2], [2.0])).how == [2.0]
    assert jitted(Scaled(X, how)).how == [2.0, 3.0]


def test_aux_data_that_nothing_tells_apart() -> None:
    for backend in ("numpy", "xla"):
        with pytest.raises(TypeError, match=r"aux data .* must be hashable, or made of lists.*bytearray.*Scaled"):
            tg.jit(lambda m: m.w, backend=backend)(Scaled(X, [bytearray(b"x")]))
