"""The passes over Graphs: the expected Graph, and unchanged values."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.compare import same_bits
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.core.op import OPS
from tracegrad.core.programs import bind_constant
from tracegrad.lower import passes as simplify

X = np.array([0.3, -1.2, 2.0])
BIG = np.random.default_rng(0).normal(size=(64, 128))


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
    (simplify.absorb_broadcasts, lambda x: np.reshape(np.sum(x), (1,)) * x, (X,), ["sum", "multiply"]),
    (simplify.absorb_broadcasts, lambda x: np.reshape(np.sum(x), (1, 1)) * x, (X,), ["sum", "reshape", "multiply"]),
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
    fast = tg.jit(np.sin, fast=True)
    assert pickle.loads(pickle.dumps(fast))._made_with == fast._made_with
    assert fast._made_with[:2] == (None, True)


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
