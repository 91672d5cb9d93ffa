"""Code that writes into arrays, through names and views, under every transform: what plain NumPy makes of it is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.writing import Writing

X = np.arange(1.0, 6.0)
A = np.arange(1.0, 10.0).reshape(3, 3) ** 1.5


def through_a_view(x: Any) -> Any:
    u = x.copy()
    v = u[1:-1]
    v *= 3
    return np.sum(u**2)


def test_the_given_inputs() -> None:
    assert through_a_view(X.copy()) == tg.value_and_grad(through_a_view)(X)[0] == 287
    np.testing.assert_array_equal(tg.grad(through_a_view)(X), [2, 36, 54, 72, 10])


@pytest.mark.parametrize("seed", [*range(60), 94, 1464, 2025, 3106, 13217])
def test_drawn_programs(seed: int) -> None:
    program = Writing(seed)
    x = program.x
    with np.errstate(all="ignore"):
        wanted = program(x.copy())
        got, pull = tg.vjp(program, x)
        for g, w in zip(got, wanted, strict=True):
            near(g, w)
            assert np.shape(g) == np.shape(w)
        for g, w in zip(tg.jit(program)(x), wanted, strict=True):
            near(g, w)
        t = np.random.default_rng(seed).uniform(-1, 1, x.shape)
        _, tangents = tg.jvp(program, (x,), (t,))
        cts = tuple([np.cos(np.arange(g.size)).reshape(g.shape) for g in map(np.asarray, got)])
        near(np.sum(pull(cts)[0] * t), sum([np.sum(a * b) for a, b in zip(cts, tangents, strict=True)]))
        rows = tg.vmap(program)(np.stack([x, x]))
        for g, w in zip(rows, wanted, strict=True):
            near(g, np.stack([w, w]))


def test_drawn_programs_on_xla() -> None:
    for seed in range(100, 106):
        program = Writing(seed)
        for g, w in zip(tg.jit(program, backend="xla")(program.x), program(program.x.copy()), strict=True):
            near(g, w)


# ---------------------------------------------------------------------------------------------------------------------
# Transforms inside of each other.


def test_a_buffer_of_outer_values_takes_inner_ones() -> None:
    def outer(p: Any) -> Any:
        def residual(y: Any) -> Any:
            r = np.cos(p)
            z = r * y
            r[1:] += y[1:] * z[:-1]
            r[0] = 0.0
            return np.sum(r**2 * z)

        return np.sum(tg.grad(residual)(p * 2) * p)

    def by_hand(p: Any) -> Any:
        def residual(y: Any) -> Any:
            r = np.cos(p)
            z = r * y
            r = np.concatenate([np.zeros(1), r[1:] + y[1:] * z[:-1]])
            return np.sum(r**2 * z)

        return np.sum(tg.grad(residual)(p * 2) * p)

    for got, wanted in zip(tg.value_and_grad(outer)(X), tg.value_and_grad(by_hand)(X), strict=True):
        near(got, wanted)
    near(tg.jit(tg.grad(outer))(X), tg.grad(by_hand)(X))
    near(tg.hessian(through_a_view)(X), np.diag([2.0, 18, 18, 18, 2]))


def test_a_derivative_that_lives_on_is_that_of_then() -> None:
    def f(p: Any) -> Any:
        u, c = p * 1.0, p * 2.0
        out, pull = tg.vjp(lambda y: y * y * c, u)
        _, push = tg.linearize(lambda y: y * c, u)
        graph = tg.make_graph(lambda y: y * c)(u)
        before = pull(np.ones(5))[0] + push(np.ones(5)) + graph(u * 0 + 1.0)[0]
        u[:], c[:] = 100.0, 50.0
        out *= 3
        return np.sum(before - pull(np.ones(5))[0] - push(np.ones(5)) - graph(u * 0 + 1.0)[0]) + np.sum(out * 0)

    assert f(X) == 0
    near(tg.grad(f)(X), np.zeros(5))


def test_loops_and_branches_write_into_what_is_theirs() -> None:
    def body(u: Any, i: Any) -> Any:
        u[i] = np.sin(u[i - 1])
        u[1:3] *= 1.5
        return u, np.sum(u)

    def in_a_branch(u: Any) -> Any:
        u *= 2
        return u

    def f(x: Any) -> Any:
        u, sums = tg.lax.scan(body, x, np.arange(1, 4))
        doubled = tg.lax.cond(u[0] > 0, in_a_branch, lambda u: u, u)
        return np.sum(doubled * np.sum(sums)) + np.sum(u**2)

    def plain(x: Any) -> Any:
        u, total = x.copy(), 0.0
        for i in range(1, 4):
            u, s = body(u, i)
            total += s
        return np.sum(2 * u * total) + np.sum(u**2)

    for g in (lambda x: tg.value_and_grad(f)(x)[0], tg.jit(f), tg.jit(f, backend="xla")):
        near(g(X), plain(X))
    near(tg.jit(tg.grad(f))(X), tg.grad(plain)(X))
    near(tg.grad(f)(X), tg.grad(plain)(X))


def test_custom_rules_write_into_what_is_theirs() -> None:
    @tg.custom_vjp
    def double(x: Any) -> Any:
        x *= 2
        return x

    def forward(x: Any) -> Any:
        return double(x), x.copy()

    def backward(kept: Any, ct: Any) -> Any:
        ct *= 2
        kept[:] = 0.0
        return (ct + kept,)

    double.defvjp(forward, backward)
    f = lambda x: np.sum(double(x) * x)
    near(tg.grad(f)(X), 4 * X)
    near(tg.grad(lambda x: np.sum(tg.grad(f)(x) * x))(X), 8 * X)
    near(tg.vmap(tg.grad(f))(A), 4 * A)


# ---------------------------------------------------------------------------------------------------------------------
# NumPy's rules.

# Functions whose result is a view in NumPy, and such whose result is not.
RESULTS: list[Callable[[Any], Any]] = [
    lambda a: a[:], lambda a: a[...], lambda a: a[1:], lambda a: a[:, None], lambda a: a[[0, 1]], lambda a: a[a > 3],
    lambda a: a.T, lambda a: a.reshape(9), lambda a: a.T.reshape(9), lambda a: a.ravel(), lambda a: a.T.ravel(),
    lambda a: a[::2].ravel(), lambda a: a.flatten(), lambda a: a.copy(), lambda a: np.copy(a), lambda a: +a,
    lambda a: a.squeeze(), lambda a: a.swapaxes(0, 1), lambda a: np.flip(a), lambda a: np.rot90(a), lambda a: np.rot90(a, 4),
    lambda a: np.expand_dims(a, 0), lambda a: np.moveaxis(a, 0, 1), lambda a: np.moveaxis(a, 0, 0), lambda a: a.real,
    lambda a: np.split(a, 3)[1], lambda a: np.array_split(a, 2, 1)[0], lambda a: np.atleast_3d(a), lambda a: np.atleast_2d(a),
    lambda a: a.astype(float), lambda a: a.astype(float, copy=False), lambda a: np.take(a, 1, 0), lambda a: a.take([1], 0),
    lambda a: np.roll(a, 1), lambda a: np.roll(a, 0), lambda a: np.tile(a, 1), lambda a: np.repeat(a, 1, 0),
    lambda a: np.concatenate([a]), lambda a: np.stack([a]), lambda a: np.vstack([a]), lambda a: np.clip(a, None, 99),
    lambda a: np.round(a, 20), lambda a: np.nan_to_num(a), lambda a: np.where(True, a, a), lambda a: np.sort(a), lambda a: abs(a),
    lambda a: np.cumsum(a, 0), lambda a: np.pad(a, 0), lambda a: np.triu(a), lambda a: np.conj(a), lambda a: np.permute_dims(a),
    lambda a: np.sum(a, axis=()), lambda a: np.broadcast_arrays(a, a)[0] * 1.0, lambda a: np.resize(a, (3, 3)),
    lambda a: np.matrix_transpose(a), lambda a: np.array_split(a, 1)[0], lambda a: np.unstack(a)[0], lambda a: next(iter(a)),
]  # fmt: skip


@pytest.mark.parametrize("f", RESULTS)
def test_views_and_copies_are_numpys(f: Callable[[Any], Any]) -> None:
    def program(a: Any) -> Any:
        b = f(a)
        b[0] = -7.0
        a[-1] = 50.0
        return a, b

    wanted = program(A.copy())
    eagerly = lambda a: tg.vjp(program, a)[0]
    for g in (eagerly, eagerly if f is RESULTS[5] else tg.jit(program)):  # a mask's shape is of values
        for got, w in zip(g(A), wanted, strict=True):
            np.testing.assert_array_equal(got, w)


# ---------------------------------------------------------------------------------------------------------------------
# What jit makes of it.


def test_what_is_read_again_is_not_written_over() -> None:
    def f(u: Any) -> Any:
        u = np.sin(u)
        before = u * 1.0
        kept = u.copy()
        u[0] = 5.0
        w = u.copy()
        w[1:] = u[:-1]
        w[[2, 3]] = w[[3, 2]]
        return u, before, kept, w, u[1:]

    x = np.arange(500.0)
    for got, wanted in zip(tg.jit(f)(x), f(x), strict=True):
        np.testing.assert_array_equal(got, wanted)
    first, second = tg.jit(f)(x)[0], tg.jit(f)(x)[0]
    first[:] = 0
    np.testing.assert_array_equal(second, f(x)[0])


def test_a_number_is_not_read_after_a_view_of_it_was_written_into() -> None:
    """An array without axes changes with it, NumPy's scalars do not, and a tracer stands for either."""

    def flat(y: Any) -> None:
        y.flat[0] = 4.0

    def reshaped(y: Any) -> None:
        y.reshape(-1)[0] = 4.0

    for write in (flat, reshaped):

        def f(x: Any, write: Any = write) -> Any:
            y = np.copy(x)
            write(y)
            return y

        for run in (tg.jit(f), lambda x, f=f: tg.vjp(f, x)[0]):
            with pytest.raises(
                TypeError, match=r"a view of it was written\s+into at .*write into it by `x\[...\] = v`"
            ):
                run(np.array(2.0))

    def kept(x: Any) -> Any:
        y = np.atleast_1d(np.copy(x))
        y[0] = 4.0
        return y

    assert tg.jit(kept)(np.array(2.0)).tolist() == [4.0]


@pytest.mark.parametrize(
    "write",
    [
        lambda y, x: np.copyto(y, x),
        lambda y, x: np.put(y, [0], x[:1]),
        lambda y, x: np.add(x, x, out=y),
        lambda y, x: np.cumsum(x, 0, None, y),
        lambda y, x: np.add.at(y, [0], x[:1]),
        lambda y, x: np.fill_diagonal(y[:, None], x[0]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_nothing_traced_is_lost_in_a_plain_array(write: Any, dtype: Any) -> None:
    """Not in a jitted program either, to which a plain array is a constant."""

    def f(x: Any) -> Any:
        y = np.zeros(3, dtype)
        write(y, x)
        return y

    for run in (tg.jit(f), tg.jit(f, backend="xla"), lambda x: tg.vjp(f, x)[0]):
        with pytest.raises((TypeError, ValueError)):
            run(np.ones(3))
