"""while_loop: against jax, closed forms, and reverse mode within a budget."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import lax
from tracegrad.transforms.control.budget import size_in_bytes
from tracegrad.transforms.control.while_loop import states_backwards

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
W, U, XS, H = RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=(5, 2)), RNG.normal(size=3)


def root(x: Any) -> Any:
    """Newton's square root."""
    return lax.while_loop(lambda y: np.abs(y * y - x) > 1e-13 * x, lambda y: (y + x / y) / 2, 1.0 + x)


SQUARES = np.array([0.3, 4.0, 9.0, 1e4])


def test_derivatives_of_newtons_square_root() -> None:
    first, second, third = tg.grad(root), tg.grad(tg.grad(root)), tg.grad(tg.grad(tg.grad(root)))
    for x in SQUARES:
        np.testing.assert_allclose([f(x) for f in (root, first)], [x**0.5, 0.5 * x**-0.5], rtol=1e-12)
        np.testing.assert_allclose([second(x), third(x)], [-0.25 * x**-1.5, 0.375 * x**-2.5], rtol=1e-6)
        np.testing.assert_allclose(tg.jvp(tg.grad(root), (x,), (1.0,))[1], -0.25 * x**-1.5, rtol=1e-6)
        np.testing.assert_allclose(tg.grad(lambda x: tg.jvp(root, (x,), (1.0,))[1])(x), -0.25 * x**-1.5, rtol=1e-6)
    for f, expected in ((root, SQUARES**0.5), (first, 0.5 * SQUARES**-0.5), (second, -0.25 * SQUARES**-1.5)):
        for vectorized in (tg.vmap(f), tg.jit(tg.vmap(f)), tg.vmap(tg.jit(f))):
            np.testing.assert_allclose(vectorized(SQUARES), expected, rtol=1e-6)
    over_rows = tg.hessian(lambda x: np.sum(tg.vmap(root)(x)))(SQUARES)
    np.testing.assert_allclose(over_rows, np.diag(-0.25 * SQUARES**-1.5), rtol=1e-6, atol=1e-12)


def test_each_row_stops_at_its_own_step() -> None:
    count = lambda n, x: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * x), (0, 1.0))
    ns, xs = np.array([0, 3, 1, 7]), np.array([2.0, 2.0, 3.0, 1.5])
    steps, powers = tg.vmap(count)(ns, xs)
    np.testing.assert_array_equal(steps, ns)
    np.testing.assert_allclose(powers, xs**ns)
    np.testing.assert_allclose(tg.vmap(tg.grad(lambda x, n: count(n, x)[1]))(xs, ns), ns * xs ** (ns - 1.0))
    np.testing.assert_allclose(tg.vmap(lambda n: count(n, 2.0)[1])(ns), 2.0**ns)
    np.testing.assert_allclose(tg.vmap(lambda x: count(3, x)[1])(xs), xs**3)
    np.testing.assert_allclose(tg.vmap(tg.grad(lambda x: count(3, x)[1]))(xs), 3 * xs**2)
    both = tg.vmap(tg.vmap(lambda n, x: count(n, x)[1], (0, None)), (None, 0))(ns, xs)
    np.testing.assert_allclose(both, xs[:, None] ** ns)
    shared = tg.grad(lambda x: np.sum(tg.vmap(lambda n: count(n, x)[1])(ns)))(2.0)
    np.testing.assert_allclose(shared, np.sum(ns * 2.0 ** (ns - 1.0)))


def test_the_derivative_of_a_loop_inside_a_linear_rule() -> None:
    """A custom_jvp rule is transposed as a linear map, and with it the derivatives of the loop that it takes."""
    power = lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, x * x))[1]
    slope = tg.custom_jvp(tg.grad(power))
    slope.defjvp(lambda primals, tangents: (slope(*primals), tg.jvp(tg.grad(power), primals, tangents)[1]))
    np.testing.assert_allclose(tg.grad(slope)(1.5), 20 * 1.5**3)
    np.testing.assert_allclose(tg.jit(tg.vmap(tg.grad(tg.grad(power))))(SQUARES), 20 * SQUARES**3)


@pytest.mark.parametrize("mode", ["grad", "jacfwd", "hessian"])
def test_while_against_jax(mode: str) -> None:
    """jax has no reverse mode here: its forward mode is the truth."""

    def make(np: Any, while_loop: Any) -> Callable[[Any], Any]:
        step = lambda c: (c[0] + 1, np.tanh(c[1] @ W) + c[2], c[2] * 0.9)
        return lambda h: np.sum(while_loop(lambda c: c[0] < 4, step, (0, h, h * h))[1] ** 2)

    theirs = {"grad": jax.jacfwd, "jacfwd": jax.jacfwd, "hessian": lambda f: jax.jacfwd(jax.jacfwd(f))}[mode]
    expected = theirs(make(jnp, jax.lax.while_loop))(H)
    ours = make(np, lax.while_loop)
    near(getattr(tg, mode)(ours)(H), expected)
    near(tg.jit(getattr(tg, mode)(ours))(H), expected)
    near(getattr(tg, mode)(tg.jit(ours))(H), expected)


def long(w: Any, s: Any, memory: Any = None, steps: int = 20_000) -> Any:
    step = lambda c: (c[0] + 1, np.tanh(w * c[1]))
    return np.sum(lax.while_loop(lambda c: c[0] < steps, step, (0, s), memory=memory)[1])


def test_reverse_mode_within_a_budget() -> None:
    w, s = np.full(128, 1.0001), np.linspace(-1.0, 1.0, 128)
    full = tg.grad(long, (0, 1))(w, s)
    for memory, steps in (("400kB", 20_000), (4 * 1032, 60)):
        expected = full if steps == 20_000 else tg.grad(lambda w, s: long(w, s, None, 60), (0, 1))(w, s)
        f = tg.grad(lambda w, s, m=memory, n=steps: long(w, s, m, n), (0, 1))
        f(w, s)
        tracemalloc.start()
        found = f(w, s)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        assert peak < size_in_bytes(memory) + 150_000  # what tracing and compiling take
    with pytest.raises(
        ValueError, match=r"lax.while_loop at .*test_while_loop\.py.*: memory must be a number of bytes, got 'much'"
    ):
        long(w, s, "much")
    with pytest.raises(ValueError, match=r"three states of 1032 bytes are the least.*memory=3096 or more"):
        tg.grad(lambda w: long(w, s, 2000, 10))(w)


@pytest.mark.parametrize("slots", [3, 4, 5, 9, 40])
def test_states_come_backwards_within_their_slots(slots: int) -> None:
    step = lambda n, limit: (n + 1,)
    for count in (0, 1, 2, 3, 7, 20, 100):
        found = [n for (n,) in states_backwards((0,), (1,), step, count, slots)]
        assert found == list(range(count))[::-1]
