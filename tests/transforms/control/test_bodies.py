"""Bodies of loops: carries of every kind, what they close over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import lax
from tracegrad.core.errors import DtypeError

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
W, U, XS, H = RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=(5, 2)), RNG.normal(size=3)


def test_carries_of_several_kinds() -> None:
    """A counter, a flag, something that is not used and something that is handed on."""

    def make(np: Any, scan: Any) -> Callable[[Any], Any]:
        def step(c: Any, _: Any) -> Any:
            n, flag, x, y = c
            return (n + 1, ~flag, np.where(flag, x * n, x + y), y), n

        return lambda x: scan(step, (0, True, x, 2.0 * x), None, length=4)

    near(make(np, lax.scan)(1.5)[0][2], make(jnp, jax.lax.scan)(1.5)[0][2])
    for t in ("grad", "jacfwd"):
        f, g = [lambda x, f=f: f(x)[0][2] for f in (make(np, lax.scan), make(jnp, jax.lax.scan))]
        near(getattr(tg, t)(f)(1.5), getattr(jax, t)(g)(1.5))
    near(
        tg.vmap(make(np, lax.scan))(np.array([1.0, 2.0]))[0][2],
        jax.vmap(make(jnp, jax.lax.scan))(np.array([1.0, 2.0]))[0][2],
    )


def test_the_carrys_dtype_is_widened() -> None:
    total, _ = lax.scan(lambda c, x: (c + x, None), 0, np.ones(3, "float32"))
    assert (total, np.asarray(total).dtype) == (3.0, np.float32)
    (a, b), ys = lax.scan(lambda c, x: ((c[1] * x, c[0]), c[1]), (np.float32(1), 1), np.full(3, 2.0))
    assert (np.asarray(a).dtype, np.asarray(b).dtype, ys.dtype) == ("float64", "float64", "float64")
    assert (a, b) == (4.0, 2.0)
    assert lax.scan(lambda c, _: (c + 1, c * 2), 0, None, length=3)[0] == 3
    x = np.ones(2, "float32")
    for start in (0, 0.0):
        c, ys = lax.scan(lambda c, _: (c + 0.5, c * x), start, None, length=2)
        (y,) = tg.make_graph(lambda s: lax.scan(lambda c, _: (c + 0.5, c * x), s, None, length=2)[1])(start).out_types
        assert (c, ys.dtype) == (1.0, y.dtype)


def test_arrays_closed_over_are_inputs() -> None:
    c = np.array([1.0, 2.0])
    f = tg.jit(lambda x: lax.scan(lambda h, _: (h * c, None), x, None, length=2)[0])
    np.testing.assert_array_equal(f(np.ones(2)), c**2)
    c[:] = 3.0
    np.testing.assert_array_equal(f(np.ones(2)), c**2)
    near(
        tg.grad(lambda s: np.sum(lax.scan(lambda h, _: (h * s, None), np.ones(2), None, length=3)[0]))(2.0),
        np.float64(24.0),
    )


def test_an_error_in_a_body_leaves_nothing_behind() -> None:
    def step(c: Any, x: Any) -> Any:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        lax.scan(step, 0.0, XS)
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        lax.scan(lambda c, _: (np.linalg.inv(c), None), np.zeros((2, 2)), None, length=2)
    near(lax.scan(lambda c, _: (c + 1.0, None), 0.0, None, length=2)[0], np.float64(2.0))


# ---------------------------------------------------------------------------------------------------------------------
# What a batch shares stays one.

SHARED, ROWS = np.arange(3.0), np.array([1.0, 2.0, 3.0, 4.0])


def read_by_scan(w: Any, x: Any) -> Any:
    (w, total), (squares, ys) = tg.lax.scan(
        lambda c, e: ((c[0], c[1] + e * np.sum(c[0])), (e * e, c[1])), (w, x), np.array([1.0, 2.0])
    )
    return (w, squares), (total, ys)


def read_by_while(w: Any, x: Any) -> Any:
    w, _, total = tg.lax.while_loop(lambda c: c[1] < 3, lambda c: (c[0], c[1] + 1, c[2] + np.sum(c[0])), (w, 0, x))
    return w, total


def read_by_while_of_rows(w: Any, x: Any) -> Any:
    return tg.lax.while_loop(lambda c: c[1] < 9, lambda c: (c[0], c[1] + np.sum(c[0])), (w, x))


def read_by_cond(w: Any, x: Any) -> Any:
    return tg.lax.cond(np.sum(w) > 0, lambda w, x: (w * 2, x), lambda w, x: (w + 1, x * 3), w, x)


def read_by_cond_of_rows(w: Any, x: Any) -> Any:
    return tg.lax.cond(x > 2, lambda w, x: (w, x), lambda w, x: (w, x * 3), w, x)


def closed_over_by_cond(w: Any, x: Any) -> Any:
    return tg.lax.cond(x > 2, lambda x: (w, x), lambda x: (w, np.sum(w) * x), x)


def alone_in_cond(w: Any, x: Any) -> Any:
    return tg.lax.cond(x > 2, lambda: w, lambda: w), x


def switched(w: Any, x: Any) -> Any:
    return tg.lax.switch(x.astype(int), [lambda w: (w, 1.0), lambda w: (w, 2.0), lambda w: (w, np.sum(w))], w)


SHARING = [
    read_by_scan, read_by_while, read_by_while_of_rows, read_by_cond, read_by_cond_of_rows, closed_over_by_cond, alone_in_cond,
    switched, tg.jit(read_by_scan), tg.checkpoint(read_by_while), tg.jit(lambda w, x: (w * 2, x)),
]  # fmt: skip


@pytest.mark.parametrize("f", SHARING)
@pytest.mark.parametrize("jit", [lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")])
def test_what_a_batch_only_reads_stays_one(f: Any, jit: Any) -> None:
    shared, rows = jit(tg.vmap(f, in_axes=(None, 0), out_axes=(None, 0)))(SHARED, ROWS)
    expected = [f(SHARED, x) for x in ROWS]
    for k, leaf in enumerate(tg.tree.leaves(shared)):
        assert np.array_equal(leaf, tg.tree.leaves(expected[0][0])[k])
    for k, leaf in enumerate(tg.tree.leaves(rows)):
        assert np.array_equal(leaf, [tg.tree.leaves(e[1])[k] for e in expected])
    every = jit(tg.vmap(f, in_axes=(None, 0)))(SHARED, ROWS)
    for k, leaf in enumerate(tg.tree.leaves(every)):
        assert np.array_equal(leaf, [tg.tree.leaves(e)[k] for e in expected])


@pytest.mark.parametrize("f", SHARING)
def test_derivatives_of_what_a_batch_shares(f: Any) -> None:
    def total(w: Any, x: Any) -> Any:
        return sum([np.sum(np.sin(leaf)) for leaf in tg.tree.leaves(f(w, x))])

    looped = sum([np.asarray(tg.grad(total)(SHARED, x)) for x in ROWS])
    assert np.allclose(tg.grad(lambda w: np.sum(tg.vmap(total, (None, 0))(w, ROWS)))(SHARED), looped)
    if f is not switched:
        each = [tg.grad(total, (0, 1))(SHARED, x) for x in ROWS]
        found = tg.vmap(tg.grad(total, (0, 1)), (None, 0))(SHARED, ROWS)
        assert all(np.allclose(found[k], [e[k] for e in each]) for k in (0, 1))


def test_a_carry_that_is_read_takes_no_memory_for_each_row() -> None:
    w, x = np.ones(1000), np.ones(1000)
    for f in (read_by_scan, read_by_while, read_by_while_of_rows, read_by_cond_of_rows):
        graph = tg.make_graph(tg.vmap(f, (None, 0), (None, 0)))(w, x)
        assert max(v.type.size for eqn in graph.eqns for v in eqn.outputs) <= 2000


# ---------------------------------------------------------------------------------------------------------------------
# Dtypes of carries.


@pytest.mark.parametrize("count", [1, 7, 8, 9, 20])
def test_a_carry_is_widened_however_long_it_takes(count: int) -> None:
    init = (np.complex128(1), *[np.float32(1)] * count)
    step = lambda c: (c[0], *c[:-1])
    last, _ = tg.lax.scan(lambda c, _: (step(c), None), init, None, length=count)
    assert [x.dtype for x in last] == [np.complex128] * (count + 1)
    assert [x.dtype for x in tg.lax.while_loop(lambda c: False, step, init)] == [np.complex128] * (count + 1)


def test_a_carry_that_goes_back_and_forth() -> None:
    other = {"float32": "float64", "float64": "float32"}
    text = r"the carry\['v'\] changes its dtype from step to step: .*turn' .* makes f64\[\] of f32\[\] and f32\[\] of f64\[\]; "

    def turn(c: Any) -> Any:
        return {"i": c["i"] + 1, "v": c["v"].astype(other[c["v"].dtype.name])}

    init = {"i": 0, "v": np.float32(1)}
    with pytest.raises(DtypeError, match=text + r"return it in one dtype, as by \.astype\('float64'\)"):
        tg.lax.while_loop(lambda c: c["i"] < 3, turn, init)
    with pytest.raises(DtypeError, match=text.replace("turn", "<lambda>")):
        tg.lax.scan(lambda c, _: (turn(c), None), init, None, length=3)
