"""The named axes that vmap has bound, in this thread."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.ops.collective as lax
from tests.compare import near
from tests.notes import Notes

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

N = 4
RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 2.0, (N, N))
Y = RNG.uniform(0.5, 2.0, (2, 3, 4, 3))  # axes i, j, k, then the example's own


def test_an_inner_axis_hides_one_of_the_same_name() -> None:
    x = np.arange(6.0).reshape(2, 3)
    inner = tg.vmap(lambda x: lax.psum(x, "i") + 100 * lax.axis_index("i"), axis_name="i")
    expected = x.sum(axis=1, keepdims=True) + 100 * np.arange(3)
    near(tg.vmap(inner, axis_name="i")(x), expected)
    near(tg.vmap(tg.jit(inner), axis_name="i")(x), expected)
    # What the outer function made of its own axis stays with that.
    pulled = tg.vmap(
        lambda row: tg.vmap(tg.vjp(lambda t: lax.psum(t, "i"), row[0])[1], axis_name="i")(row), axis_name="i"
    )
    near(pulled(x), (np.broadcast_to(x.sum(axis=0), x.shape),))
    # A value of the outer example, summed over the inner axis.
    near(
        tg.vmap(lambda a: tg.vmap(lambda b: lax.psum(a[0], "i"), axis_name="i")(a), axis_name="i")(x),
        3 * x[:, :1] + 0 * x,
    )


def test_an_unnamed_vmap_in_between() -> None:
    y = Y[0]
    f = lambda x: lax.psum(x, "i") * x
    near(tg.vmap(tg.vmap(f), axis_name="i")(y), y.sum(axis=0) * y)
    near(tg.vmap(tg.vmap(f, 1, 1), axis_name="i")(y), y.sum(axis=0) * y)
    near(tg.vmap(tg.vmap(f, axis_name="i"))(y), y.sum(axis=1, keepdims=True) * y)
    gathered = tg.vmap(tg.vmap(lambda x: lax.all_gather(x, "i")), axis_name="i")(y)
    near(gathered, np.broadcast_to(np.swapaxes(y, 0, 1), (3, *np.swapaxes(y, 0, 1).shape)))
    chunked = tg.vmap(tg.vmap(f, batch_size=2), axis_name="i")(y)
    near(chunked, y.sum(axis=0) * y)


def test_jit_has_a_program_for_each_size_of_the_axis() -> None:
    traces = Notes()

    @tg.jit
    def f(x: Any) -> Any:
        traces.append(1)
        return x * lax.psum(1.0, "i") + lax.axis_index("i")

    mapped = tg.vmap(f, axis_name="i")
    for n in (2, 3, 2, 3):
        near(mapped(np.ones(n)), n + np.arange(float(n)))
    assert len(traces) == 2
    assert f.trace_log[1] == "the named axes around the call: ('i':3,), before ('i':2,)"
    near(tg.vmap(lambda y: f(2.0), axis_name="i")(np.ones(3)), 6.0 + np.arange(3))  # traced once more: x is weak now
    near(tg.vmap(lambda y: f(2.0), axis_name="i")(np.ones(4)), 8.0 + np.arange(4))
    with pytest.raises(NameError, match="no axis named 'i'"):
        f(1.0)
    # A function that knows of no axis, called inside and outside.
    plain = tg.jit(lambda x: np.sin(x))
    near(plain(X[0]), np.sin(X[0]))
    near(tg.vmap(lambda x: x + plain(X[0]), axis_name="i")(X), X + np.sin(X[0]))


def test_axes_belong_to_the_thread() -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        def f(x: Any) -> Any:
            barrier.wait(10)
            with pytest.raises(NameError, match=f"only '{number}'"):
                lax.psum(x, str((number + 1) % 4))
            return lax.psum(x, str(number))

        try:
            for _ in range(5):
                near(tg.vmap(f, axis_name=str(number))(np.ones(number + 1)), np.full(number + 1, number + 1.0))
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_the_axis_is_unbound_again_after_an_error() -> None:
    def fails(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        tg.vmap(fails, axis_name="i")(X)
    with pytest.raises(NameError, match="nor is any other"):
        lax.psum(1.0, "i")
