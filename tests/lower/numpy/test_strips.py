"""Small arrays of a loop's steps lie side by side, and one call does to several what is done to each, to the same bits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.core.graph import Graph
from tracegrad.lower.numpy import strips
from tracegrad.lower.numpy.steps import prepared

RNG = np.random.default_rng(0)
A, B, C = RNG.normal(size=(3, 16))
XS = RNG.normal(size=(6, 16))


def calls_of(step: Callable[..., Any], *carry: Any, xs: Any = None) -> int:
    """How many calls of NumPy's the program of a step has, after a look at whether loops with it have the bits of the steps."""

    def f(carry: Any, xs: Any) -> Any:
        return tg.lax.scan(lambda c, x: step(c, x), carry, xs, length=6)

    given = tuple([c.copy() for c in carry])
    same_bits(tg.jit(f)(given, xs), f(given, xs))
    same_bits(given, carry)  # which are not written over
    (eqn,) = [e for e in tg.make_graph(f)(given, xs).eqns if e.op.name == "scan"]
    body: Graph = eqn.params["body"]
    return len(re.findall(r"= \w+\(", prepared(body, eqn.params["carries"])[1].source.split("def ")[1]))


def oscillator(c: Any, _: Any) -> Any:
    a, b = c
    da, db = b * 0.5, np.sin(a) * 0.5
    a, b = [x + d * 0.25 for x, d in ((a, da), (b, db))]
    return (a, b), None


def test_equations_that_do_the_same_are_one_call() -> None:
    assert calls_of(oscillator, A, B) == 4  # sin, * 0.5, * 0.25, +: of both but for the first


def test_of_neighbours_each_has_others_beside_it() -> None:
    def step(c: Any, _: Any) -> Any:
        a, b = c
        d = np.sin(a)
        a, b = [x + dx * 0.25 for x, dx in ((a, b), (b, d))]  # b lies behind a, and before d
        return (a, b), None

    assert calls_of(step, A, B) == 3


def test_arrays_that_steps_add_to_are_one() -> None:
    def step(c: Any, x: Any) -> Any:
        a, *sums = c
        a = np.sin(a * x)
        parts = [np.cos(a), np.exp(a), a * x, np.tanh(a)]
        sums = [s + p for s, p in zip(sums, parts, strict=True)]
        return (a, *sums), None

    assert calls_of(step, A, B, C, A + 1, B + 1, xs=XS) == 7


def test_what_is_not_alike_or_too_large_stays() -> None:
    def lines(c: Any, _: Any) -> Any:
        a, b = c
        a = a * 0.5
        b = b * 0.5
        return (a, b), None

    def factors(c: Any, _: Any) -> Any:
        return tuple([x * k for x, k in zip(c, (0.5, 0.25), strict=True)]), None

    def alike(c: Any, _: Any) -> Any:
        return tuple([np.sin(x * 0.5 + 1.0) * 0.25 for x in c]), None

    assert calls_of(lines, A, B) == 2
    assert calls_of(factors, A, B) == 2
    assert calls_of(alike, A, B) == 4
    assert calls_of(alike, np.zeros(2000), np.ones(2000)) == 8
    assert calls_of(alike, A.reshape(4, 4), B.reshape(4, 4)) == 8


def test_carries_that_are_handed_on_keep_their_values() -> None:
    def swapped(c: Any, x: Any) -> Any:
        a, b, d = c
        a, b = [y * 0.5 + x for y in (a, b)]
        return (b, d, a), (a, d)

    def views(c: Any, x: Any) -> Any:
        a, b, d = c
        a, b = [y * 0.5 + x for y in (a, b)]
        return (a, a[::-1], np.flip(b)), (a, a[::-1])

    def twice(c: Any, x: Any) -> Any:
        a, b, d = [np.sin(y * 0.5) + x for y in c]
        return (b, b, d + a), (a, b, a)

    def shifted(c: Any, x: Any) -> Any:
        a, b, d = c
        new = [y * 0.5 + x for y in (a, b)]
        return (new[1], new[0], a), b

    def elements(c: Any, x: Any) -> Any:
        a, b, d = [y * 0.5 + z for y, z in zip(c, (x, C, x), strict=True)]
        return (x, a - b, d - x), (b - a, x - d)

    for step in (swapped, views, twice, shifted, elements):
        calls_of(step, A, B, C, xs=XS)
        calls_of(step, A, B, C, xs=np.asfortranarray(XS))
        calls_of(step, *[c.astype("float32") for c in (A, B, C)], xs=XS[:, ::-1].astype("float32"))


def test_large_carries_that_are_written_in_two_arrays_in_turn() -> None:
    a, b = RNG.normal(size=(2, 200))
    assert calls_of(oscillator, a, b) == 5
    for seed in range(25, 30):
        calls_of(random_step(seed), a, b, a - b, xs=RNG.normal(size=(6, 200)))


def test_other_loops_and_loops_in_loops() -> None:
    def rounds(a: Any, b: Any) -> Any:
        return tg.lax.fori_loop(0, 5, lambda i, c: oscillator(c, None)[0], (a, b))

    def until(a: Any, b: Any) -> Any:
        return tg.lax.while_loop(lambda c: np.sum(c[0] * c[0]) < 1e3, lambda c: [x * 1.5 + y for x, y in ((c[0], c[1]), (c[1], c[0]))], [a, b])  # fmt: skip

    def inner(a: Any, b: Any) -> Any:
        return tg.lax.scan(lambda c, x: (rounds(*[y + x for y in c]), c), (a, b), XS)

    for f in (rounds, until, inner):
        same_bits(tg.jit(f)(A, B), f(A, B))
        same_bits(tg.jit(f)(A, A), f(A, A))
        loss = lambda a, b, f=f: sum([np.sum(y) for y in tg.tree.leaves(f(a, b))])
        if f is not until:
            same_bits(tg.jit(tg.grad(loss))(A, B), tg.grad(loss)(A, B))
    last = tg.jit(rounds)(A, B)
    assert not np.shares_memory(*last) and all([x.base is None and x.flags.owndata for x in last])


def random_step(seed: int) -> Callable[..., Any]:
    """A step of many elementwise equations of which many are alike, and which give out some of what they make."""
    rng = np.random.default_rng(seed)
    plan = [(int(rng.integers(4)), *rng.integers(12, size=4), float(rng.choice([0.5, -0.25]))) for _ in range(12)]
    ends = rng.integers(12, size=6)

    def step(c: Any, x: Any) -> Any:
        made = [*c, x]
        for kind, *places, factor in plan:
            a, b, d, e = [made[-1 - p % len(made)] for p in places]
            pairs = ((a, b), (d, e))
            if kind == 0:
                made += [y * factor for y, _ in pairs]
            elif kind == 1:
                made += [y + z for y, z in pairs]
            elif kind == 2:
                made += [np.sin(y) for y, _ in pairs]
            else:
                made += [np.sin(a) - b, a[::-1]]
        *carry, out, other, third = [made[-1 - p % len(made)] for p in ends]
        return tuple([y * 0.5 for y in carry[:1]] + carry[1:]), (out, other, third)

    return step


@pytest.mark.parametrize("seed", range(25))
def test_random_steps_keep_their_bits(seed: int) -> None:
    step = random_step(seed)
    calls_of(step, A, B, C, xs=XS)

    def loss(a: Any, b: Any, c: Any) -> Any:
        last, given = tg.lax.scan(step, (a, b, c), XS)
        return sum([np.sum(np.sin(y)) for y in (*last, *given)])

    gradient = tg.grad(loss, argnums=(0, 1, 2))
    same_bits(tg.jit(gradient)(A, B, C), gradient(A, B, C))


def test_the_profile_sees_each_equation() -> None:
    """Though the program has one line for two."""

    def f(a: Any, b: Any) -> Any:
        return tg.lax.scan(oscillator, (a, b), None, length=6)[0]

    same_bits(tg.jit(f)(A, B), f(A, B))
    assert {"sin", "multiply", "add"} <= set(tg.debug.profile(f, A, B).ops)


def test_long_bodies_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "MANY", 3)
    assert calls_of(lambda c, x: oscillator(c, x), A, B) == 7
