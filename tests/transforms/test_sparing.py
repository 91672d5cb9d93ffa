"""Large values that no rule reads are not kept: which these are, for each op there is, and what comes of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.op import OPS, Op
from tracegrad.core.types import is_inexact, type_of
from tracegrad.ops.masks import Mask, Masked, filled
from tracegrad.transforms.linear import pulled, pushed
from tracegrad.transforms.sparing import unread
from tracegrad.transforms.values import stand_in

LARGE = np.linspace(0.1, 1.0, 10_000)


@pytest.mark.parametrize("reverse", [True, False])
def test_what_rules_read(reverse: bool) -> None:
    def found(name: str, wanted: tuple[int, ...], *values: Any) -> frozenset[int]:
        return unread(OPS[name], wanted, values, LARGE, {}, reverse)

    assert found("sin", (0,), LARGE) == {-1}
    assert found("exp", (0,), LARGE) <= {0}
    assert found("add", (0,), LARGE, 1.0) == {0, -1}
    assert found("multiply", (0, 1), LARGE, LARGE) == {-1}
    assert found("multiply", (0,), LARGE, LARGE) == {0, -1}
    assert found("subtract", (0, 1), LARGE, LARGE) == {0, 1, -1}


def peak(run: Callable[[], Any]) -> float:
    """How many arrays of the size of LARGE there are at a time."""
    run()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / LARGE.nbytes
    finally:
        tracemalloc.stop()


STEPS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x + 1.0,
    "difference of captured": lambda x: LARGE - x,
    "product with captured": lambda x: x * LARGE,
    "quotient": lambda x: x / 2.0,
    "reversed": lambda x: x[::-1] + x,
    "negative": lambda x: -x,
}
ONE = np.float64(1.0)
WAYS: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "grad": lambda f: tg.grad(f)(LARGE),
    "grad of a tree": lambda f: tg.grad(lambda p: f(p["x"]))({"x": LARGE}),
    "captured alone": lambda f: tg.grad(lambda s: f(s * LARGE))(1.0),
    "vjp": lambda f: tg.vjp(f, LARGE)[1](ONE),
    "linearize": lambda f: tg.linearize(f, LARGE)[1](LARGE),
    "hvp": lambda f: tg.hvp(f, (LARGE,), (LARGE,)),
}


@pytest.mark.parametrize("way", WAYS)
def test_linear_steps_keep_nothing(way: str) -> None:
    def chain(step: Callable[[Any], Any]) -> Callable[..., Any]:
        def f(x: Any) -> Any:
            for _ in range(40):
                x = step(x)
            return np.sum(x)

        return f

    for name, step in STEPS.items():
        if name != "quotient":
            assert peak(lambda step=step: WAYS[way](chain(step))) < 20, name


def test_values_are_the_same() -> None:
    """Of a program in which all kinds of steps stand beside each other, whose values the user keeps or writes into."""

    def f(x: Any) -> Any:
        kept = [x + 1.0]
        y = x * LARGE[: x.size] - kept[0]
        z = y[1:]
        y = np.exp(y) + 2.0
        y[0] = 3.0 * y[1]
        parts = (y, y - x)
        whole = np.concatenate(parts) * 2.0
        z *= 2.0
        for _ in range(10):
            whole = whole - 0.1
        return np.sum(whole) + np.sum(np.sin(z)) * parts[1][0] + kept[0][-1] ** 2 + np.mean(np.where(x > 0.5, x, -x))

    small = LARGE[::100].copy()
    rows = tg.grad(f)(LARGE), tg.linearize(f, LARGE)[1](LARGE), tg.vjp(f, LARGE)[1](ONE)[0]
    assert np.allclose(rows[0] @ LARGE, rows[1], rtol=1e-12) and np.array_equal(rows[0], rows[2])
    assert np.allclose(rows[0], tg.jit(tg.grad(f))(LARGE), rtol=1e-12)
    assert np.allclose(tg.grad(f)(small), tg.jit(tg.grad(f))(small), rtol=1e-12)
    assert np.allclose(tg.hvp(f, (LARGE,), (LARGE,)), tg.jit(lambda x: tg.hvp(f, (x,), (x,)))(LARGE), rtol=1e-9)


def check(op: Op, reverse: bool) -> int:
    """Hold the rules of an op on its samples to what they give with stand-ins; how many values went."""
    count = 0
    rng = np.random.default_rng(0)
    for sample in op.samples():
        inputs, params = [np.asarray(x) for x in sample.inputs], sample.params
        wanted = tuple([i for i, x in enumerate(inputs) if is_inexact(x.dtype)])
        if op.acts(params) or not wanted:
            continue
        with np.errstate(all="ignore"):
            out = op.evaluate(*inputs, **params)
        outs = [type_of(o) for o in out] if op.multiple_results else type_of(out)
        if not all([is_inexact(t.dtype) for t in (outs if op.multiple_results else [outs])]):
            continue
        types = [type_of(x) for x in inputs]
        free = unread(op, wanted, inputs, out, params, reverse)
        if not free:
            continue
        count += len(free)
        spared = [stand_in(t) if i in free else x for i, (x, t) in enumerate(zip(inputs, types, strict=True))]
        made: Any = out
        if -1 in free:
            made = tuple(map(stand_in, outs)) if op.multiple_results else stand_in(outs)

        def of(t: Any) -> Any:
            return rng.normal(size=t.shape).astype(t.dtype)[()]

        def masked(d: Any) -> Any:
            return Masked(d, Mask(lambda: np.ones(np.shape(d), bool)), False)

        for kind in (lambda d: d, masked) if op.masked is not None else (lambda d: d,):
            if reverse:
                ct = tuple([kind(of(t)) for t in outs]) if op.multiple_results else kind(of(outs))
                given: Any = (op, wanted, ct)
                run: Any = pulled
            else:
                given = (op, wanted, [kind(of(t)) if i in wanted else None for i, t in enumerate(types)])
                run = pushed
            with np.errstate(all="ignore"):
                plain, without = run(*given, out, inputs, params), run(*given, made, spared, params)
            several = reverse or op.multiple_results
            for a, b in zip(plain if several else [plain], without if several else [without], strict=True):
                assert (a is None) == (b is None), op.name
                assert a is None or np.array_equal(filled(a), filled(b), equal_nan=True), op.name
    return count


SOME = (
    "add subtract multiply negative sum reshape transpose slice concatenate matmul where cumsum sin tanh broadcast_to"
)


@pytest.mark.parametrize("reverse", [True, False])
def test_what_is_not_read_makes_no_difference(reverse: bool) -> None:
    assert sum([check(OPS[name], reverse) for name in SOME.split()]) > 20


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [True, False])
def test_what_is_not_read_makes_no_difference_to_any_op(reverse: bool) -> None:
    assert sum([check(op, reverse) for op in OPS.values() if op.held is None]) > 300
