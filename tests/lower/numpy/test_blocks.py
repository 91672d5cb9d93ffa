"""Chains of elementwise ops run block by block: the same bits, whatever the sizes, layouts and threads."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.lower.numpy import blocks

RNG = np.random.default_rng(0)


def chain(x: Any, y: Any, s: Any) -> Any:
    z = np.sin(x) * 1.01 + y
    z = z / (1.0 + z * z) - np.exp(-y) * s
    return np.where(z > 0, z, 0.5 * z), z, np.hypot(x, y)


def is_chained(f: Any, *args: Any) -> bool:
    return "function=chain1" in tg.jit(f).lower(*args).as_text()


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize(
    "shape", [(blocks.LARGE,), (blocks.SHARED + 12_345,), (3, blocks.SHARED // 2 + 1), (700, 1, 701)]
)
def test_bits_of_chains(shape: tuple[int, ...], dtype: str) -> None:
    x, y = [RNG.normal(size=shape).astype(dtype) for _ in range(2)]
    f = chain if dtype != "complex128" else lambda x, y, s: (np.exp(x) * y + s, x * y - 1.0)
    jitted = tg.jit(f)
    for s in (2.0, np.float32(2.0), np.array(2.0)):
        same_bits(jitted(x, y, s), f(x, y, s))
    assert is_chained(f, x, y, 2.0)


def test_small_arrays_and_short_chains_are_left_alone() -> None:
    assert not is_chained(chain, np.ones(blocks.LARGE - 1), np.ones(blocks.LARGE - 1), 2.0)
    assert not is_chained(lambda x: np.sin(x) * 2.0, np.ones(blocks.LARGE))
    assert not is_chained(lambda x, y: np.sin(x * y + y) * x, np.ones((1, blocks.LARGE)), np.ones((2, 1)))


@pytest.mark.parametrize("layout", ["strided", "fortran", "reversed", "broadcast", "read-only"])
def test_layouts(layout: str) -> None:
    x = RNG.normal(size=(512, 600))
    frozen = x.copy()
    frozen.flags.writeable = False
    given = {
        "strided": np.repeat(x, 2, 1)[:, ::2], "fortran": np.asfortranarray(x), "reversed": x[::-1],
        "broadcast": np.broadcast_to(x[:1], x.shape), "read-only": frozen,
    }[layout]  # fmt: skip
    before = given.copy()
    same_bits(tg.jit(chain)(given, x, 1.5), chain(given, x, 1.5))
    np.testing.assert_array_equal(given, before)


def test_chains_of_two_orders_that_end_in_c_order_run_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As relu's derivative behind a convolution, whose images have their channels last, at a cotangent in C order."""
    ran: list[Any] = []
    run = blocks.run_in_blocks
    monkeypatch.setattr(blocks, "run_in_blocks", lambda *args: ran.append(args[2]) or run(*args))
    f = lambda x, y: np.where(x > 0, np.where(x == 1, 0.5 * y, y), 0) * 2
    x = RNG.normal(size=(32, 40, 40, 8)).transpose(0, 3, 1, 2)
    y = RNG.normal(size=x.shape)
    jitted = tg.jit(f)
    for a, b in ((x, y), (y, x), (x, y[:, ::-1]), (x, x)):
        got, expected = jitted(a, b), f(a, b)
        same_bits(got, expected)
        assert got.strides == expected.strides
    assert ran == [x.shape] * 3  # backwards is left to NumPy
    g = lambda x, y: (f(x, y), np.sin(x) + x * x)  # of which one lies as x
    got, expected = tg.jit(g)(x, y), g(x, y)
    same_bits(got, expected)
    assert [a.strides for a in got] == [a.strides for a in expected]


def test_other_equations_between_those_of_a_chain() -> None:
    def f(x: Any, y: Any) -> Any:
        a = np.sin(x) * 2.0
        m = np.mean(y)  # needs nothing of the chain, and so comes before it
        b = (a + m) * x - np.cos(a)
        n = np.sum(b)  # needs what the chain makes, and ends it
        c = np.tanh(b * n) + x * y
        return a, c - b, n, np.sort(c)

    x, y = RNG.normal(size=(2, blocks.SHARED))
    same_bits(tg.jit(f)(x, y), f(x, y))
    assert tg.jit(f).lower(x, y).as_text().count("def chain") == 2


def test_gradients() -> None:
    x = RNG.normal(size=blocks.SHARED + 7)
    loss = lambda x: np.sum(chain(x, x * x, 0.3)[0])
    for f in (tg.grad(loss), tg.value_and_grad(loss)):
        for got, expected in zip(np.atleast_2d(tg.jit(f)(x)[-1]), np.atleast_2d(f(x)[-1]), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_results_are_the_callers_own() -> None:
    x = RNG.normal(size=blocks.SHARED)
    f = tg.jit(chain)
    first = f(x, x, 1.0)
    kept = tuple([r.copy() for r in first])
    for i, r in enumerate(first):
        assert r.flags.writeable
        assert r.flags.owndata
        assert not any(np.shares_memory(r, o) for o in (x, *first[i + 1 :]))
    f(x + 1.0, x, 1.0)
    same_bits(first, kept)


def test_floating_point_errors_are_handled_as_the_caller_asked_in_every_thread() -> None:
    x = np.ones(blocks.SHARED * 2)
    x[-1] = 0.0  # in the last block, which the calling thread does not run where there are several
    f = tg.jit(lambda x: np.sin(1.0 / x * 0.0 + x) * 2.0)
    with pytest.warns(RuntimeWarning, match="divide by zero|invalid value"):
        f(x)
    with np.errstate(all="ignore"):
        assert np.isnan(f(x)[-1])
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero"):
        f(x)
    x[-1] = 1.0
    np.testing.assert_array_equal(f(x), np.sin(0.0 + x) * 2.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.* was called:RuntimeWarning")
def test_after_a_fork() -> None:
    x = RNG.normal(size=blocks.SHARED * 2)
    f = tg.jit(chain)
    expected = f(x, x, 1.0)[1]
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(f(x, x, 1.0)[1], expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
