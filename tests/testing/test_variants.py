"""check_vmap, check_jit and their kin."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tracegrad.core.op import OPS, Sample
from tracegrad.core.trace import bind
from tracegrad.ops.families import elementwise
from tracegrad.testing import (
    assert_rewrites,
    check_jit,
    check_rule,
    check_vmap,
    expect_traces,
)

X = np.array([0.5, 1.0, -0.3])


def test_check_vmap() -> None:
    check_vmap(
        lambda x, p: {"y": x * p["s"]}, (np.ones((2, 3)), {"s": np.arange(3.0)}), in_axes=(1, {"s": 0}), out_axes=-1
    )
    check_vmap(np.outer, (np.ones((3, 2)), np.ones(4)), in_axes=(0, None))

    op = elementwise(
        "shifted_for_test",
        lambda x: +x,
        lambda d, out, x: d,
        infer=lambda types, params: types[0],
        samples=lambda: [Sample((X,))],
    )
    try:
        op.batch = lambda size, batched, inputs, params: bind(op, (np.flip(inputs[0], 0),), params)
        with pytest.raises(AssertionError, match=r"vmap of .*: output\[0, 0\] is .* expected .* elements differ"):
            check_vmap(lambda x: bind(op, (x,)), (np.arange(6.0).reshape(3, 2),))
        with pytest.raises(AssertionError, match="a batch of input 0, against a loop:"):
            check_rule(op)
    finally:
        del OPS["shifted_for_test"]


def test_check_jit() -> None:
    check_jit(lambda x, p: (np.sin(x), p["a"].T, x), (X, {"a": np.ones((2, 3))}))
    calls = iter(range(9))
    with pytest.raises(AssertionError, match=r"output is np.float64\(1.0\), expected np.float64\(0.0\)"):
        check_jit(lambda x: np.sum(x) * 0.0 + next(calls), (X,))
    pytest.importorskip("jax")
    check_jit(lambda x: (np.sin(x), np.argmax(x)), (X,), backends=("numpy", "xla"))


def test_expect_traces() -> None:
    f = tg.jit(np.sin)
    with expect_traces(f, 2):
        f(X), f(X), f(1.0)
    with pytest.raises(AssertionError, match="was traced 0 times, expected 1"), expect_traces(f, 1):
        f(X)


def test_assert_rewrites() -> None:
    assert_rewrites(lambda x: np.sin(x) * 1.0, np.sin, X)
    with pytest.raises(AssertionError, match=r"simplify make of\n(.|\n)*not\n(.|\n)*but"):
        assert_rewrites(lambda x: np.sin(x), lambda x: np.cos(x), X)
