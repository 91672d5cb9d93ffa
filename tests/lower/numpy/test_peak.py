"""How much memory programs take, against what they are seen to take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.lower.numpy.peak import peak_of
from tracegrad.lower.passes import simplify
from tracegrad.transforms.signatures import Backend

X = np.random.default_rng(0).normal(size=(400, 400))
BIG = np.random.default_rng(0).normal(size=(1200, 1000))  # of which the blocks that threads work on are a small part


def _net(w: Any) -> Any:
    h = np.tanh(X @ w[:300].T + w[0, :300])
    return np.mean((h @ w[:300] - X) ** 2)


def _loop(x: Any) -> Any:
    return lax.scan(lambda c, a: (np.tanh(c @ x + a), np.sum(c)), x, np.ones(4))[0]


CASES: dict[str, tuple[Callable[..., Any], Any]] = {
    "a net": (_net, X),
    "its gradient": (tg.grad(_net), X),
    "a chain in blocks": (lambda x: np.sum(np.sin(np.cos(x) * 2.0 + 1.0) ** 2), BIG),
    "its derivative": (tg.grad(lambda x: np.sum(np.sin(np.cos(x) * 2.0 + 1.0) ** 2)), BIG),
    "a loop": (_loop, X),
    "the gradient of a loop": (tg.grad(lambda x: np.sum(_loop(x))), X),
    "a branch": (lambda x: lax.cond(x[0, 0] > 0, lambda x: np.exp(x) + x, lambda x: x, x), X),
    "a checkpoint": (tg.grad(lambda x: np.sum(tg.checkpoint(lambda x: np.sin(np.cos(x @ x)))(x))), X),
    "operations of several calls": (tg.grad(lambda x: np.sum(tg.nn.softmax(x @ x.T) @ x)), X),
    "logsumexp": (lambda x: tg.nn.logsumexp(x, axis=1), X),
    "views": (lambda x: x[1:, ::2].T.reshape(-1), X),
    "an argument": (lambda x: x.T, X),
    "rows": (tg.vmap(lambda r: np.outer(r[:50], r[:50]) @ r[:50]), X),
    "indices": (tg.grad(lambda x: np.sum(x[np.arange(100)] ** 2)), X),
    "small arrays": (tg.grad(lambda x: np.sum(np.tanh(x) ** 2)), X[:50, :50].copy()),
    "in place": (lambda x: _written(x), X),
}


def _written(x: Any) -> Any:
    y = np.zeros_like(x)
    y[1:] = np.sin(x[:-1])
    y[0] += 1.0
    return y


def measured(function: Callable[..., Any], *args: Any) -> int:
    """What a call holds at most, at the second time."""
    function(*args)
    return measured_once(function, *args)


def measured_once(function: Callable[..., Any], *args: Any) -> int:
    """What a call holds at most."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        kept = function(*args)
        _, most = tracemalloc.get_traced_memory()
        del kept
        return most - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", CASES)
def test_the_peak_is_what_is_measured(name: str) -> None:
    f, x = CASES[name]
    jitted = tg.jit(f)
    entry = jitted.signatures.entry_for((x,), {}, Backend("numpy", simplify))
    found = peak_of(entry.graph, entry.settled)
    assert found.bytes == pytest.approx(measured(jitted, x), rel=0.1, abs=4096)
    assert sum(found.by.values()) <= found.bytes


def test_what_is_held_is_known_by_the_equation_that_made_it() -> None:
    graph = tg.jit(lambda x: np.sin(x) @ x).signatures.entry_for((X,), {}, Backend("numpy", simplify)).graph
    assert {e.op.name: n for e, n in peak_of(graph).by.items()} == {"sin": X.nbytes, "matmul": X.nbytes}


def test_nothing_is_run() -> None:
    types = (tg.ShapeDtypeStruct((10**6, 10**6), "float64"),)
    jitted = tg.jit(lambda x: tg.nn.softmax(np.sin(x) @ x.T))
    graph = jitted.signatures.entry_for(types, {}, Backend("numpy", simplify)).graph
    assert peak_of(graph).bytes >= 16 * 10**12
