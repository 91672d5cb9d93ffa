"""Arrays that a derivative needs later count as they were when they were used, whoever writes into them."""

from __future__ import annotations

import threading
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad.core.constants import Constants, is_immutable

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_later_writes_do_not_change_a_derivative() -> None:
    x, c = X.copy(), np.array([1.0, 2.0, 3.0])
    f = lambda x: c * x**2
    out, pull = tg.vjp(f, x)
    _, push = tg.linearize(f, x)
    linear = tg.linear_transpose(lambda x: c * x, x)
    expected = 2 * c * x
    x[:] = 7.0
    c[:] = 8.0
    out[:] = 9.0
    near(pull(np.ones(3))[0], expected)
    near(push(np.ones(3)), expected)
    near(linear(np.ones(3))[0], np.array([1.0, 2.0, 3.0]))
    pull(np.ones(3))[0][:] = 5.0
    push(np.ones(3))[:] = 5.0
    near(pull(np.ones(3))[0], expected)
    near(push(np.ones(3)), expected)


def test_outputs_that_are_residuals_may_be_written_into() -> None:
    out, pull = tg.vjp(np.exp, X)  # the output is what the derivative multiplies by
    expected = np.exp(X)
    out[:] = 0.0
    near(pull(np.ones(3))[0], expected)
    out, push = tg.linearize(np.exp, X)
    out[:] = 0.0
    near(push(np.ones(3)), expected)


SIZES = [1, 1000]  # rows of three: up to the size that is copied anew at each use, and beyond


def rows(size: int) -> Any:
    return np.tile([1.0, 2.0, 3.0], (size, 1))


@pytest.mark.parametrize("size", SIZES)
def test_writing_into_a_constant_while_traced_changes_no_derivative(size: int) -> None:
    c = rows(size)

    def f(x: Any) -> Any:
        y = x * c
        c[0] += 100.0
        return np.sum(y)

    for derive in (
        lambda: tg.grad(f)(X), lambda: tg.jacrev(f)(X), lambda: tg.jacfwd(f)(X), lambda: tg.vjp(f, X)[1](1.0)[0],
        lambda: tg.jvp(tg.grad(f), (X,), (X,))[0], lambda: tg.linearize(tg.grad(f), X)[0],
        lambda: tg.vmap(tg.grad(f))(X[None])[0], lambda: tg.vmap(tg.jacfwd(f))(X[None])[0],
        lambda: tg.jit(tg.grad(f))(X), lambda: tg.grad(tg.jit(f))(X), lambda: tg.grad(tg.checkpoint(f))(X),
        lambda: np.asarray(tg.jit(tg.grad(f), backend="xla")(X)),
    ):  # fmt: skip
        c[:] = rows(size)
        near(derive(), size * np.array([1.0, 2.0, 3.0]))
        assert c[0, 0] == 101.0 and c.flags.writeable


@pytest.mark.parametrize("size", SIZES)
def test_writing_into_a_constant_of_a_graph_while_traced_changes_no_graph(size: int) -> None:
    c = rows(size)

    def f(x: Any) -> Any:
        y = x * c
        c[0] += 100.0
        return y

    expected = X * c
    for result in (
        lambda: tg.vmap(f, 0)(X[None])[0], lambda: tg.make_graph(f)(X)(X)[0], lambda: tg.jit(f)(X),
        lambda: tg.make_graph(f)(tg.ShapeDtypeStruct((3,), "f8"))(X)[0], lambda: tg.jit(f, backend="xla")(X),
        lambda: tg.lax.scan(lambda carry, row: (carry, f(row)), 0.0, X[None])[1][0],
        lambda: tg.linear_transpose(f, X)(np.ones((size, 3)))[0] * X / size * np.ones((size, 1)),
    ):  # fmt: skip
        c[:] = rows(size)
        near(np.asarray(result()), expected)
        assert c[0, 0] == 101.0 and c.flags.writeable
    graph = tg.make_graph(lambda x: x + c)(X)
    expected = X + c
    c[0] = 100.0
    near(graph(X)[0], expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("once", [False, True])
def test_an_array_that_is_used_anew_with_other_values_counts_as_it_was_each_time(size: int, once: bool) -> None:
    outer = rows(size)

    def f(x: Any) -> Any:
        buffer = np.empty((size, 3)) if once else outer
        total = 0.0
        for k in (1.0, 2.0, 1.0):  # which ends as it began
            buffer[:] = k
            total = total + np.sum(x * buffer * np.sin(x * buffer[0]))
        return total

    expected = size * sum([k * np.sin(k * X) + k * k * X * np.cos(k * X) for k in (1.0, 2.0, 1.0)])
    jitted = [tg.jit(tg.grad(f)), tg.jit(tg.grad(f), backend="xla")]
    for derive in (
        tg.grad(f), lambda x: tg.vjp(f, x)[1](1.0)[0], lambda x: tg.vmap(tg.grad(f))(x[None])[0], tg.jacfwd(f),
        tg.grad(tg.jit(f)), lambda x: tg.hessian(lambda s: f(s * x))(1.0) * expected / sum(x * x * second(x, size)),
        *jitted, *jitted,
    ):  # fmt: skip
        near(np.asarray(derive(X)), expected)
    for j in jitted:
        assert len(j.trace_log) == (1 if once else 2)
        assert once or j.trace_log[0].endswith("which it closes over, was written into meanwhile"), j.trace_log


def second(x: Any, size: int) -> Any:
    """The second derivative of what stands in the sum above."""
    return size * sum([2 * k * k * np.cos(k * x) - k**3 * x * np.sin(k * x) for k in (1.0, 2.0, 1.0)])


def test_a_jitted_function_that_writes_into_what_it_closes_over_does_so_at_each_call() -> None:
    for backend in ("numpy", "xla"):
        c = np.array([1.0, 2.0, 3.0])

        def f(x: Any, c: Any = c) -> Any:
            y = x * c
            c[0] += 1.0
            return y

        jitted = tg.jit(lambda x: f(x), backend=backend)
        for k in range(3):
            near(np.asarray(jitted(X)), X * np.array([1.0 + k, 2.0, 3.0]))
        assert jitted.trace_log[-1].endswith("f64[3], which it closes over, was written into meanwhile")
    for backend in ("numpy", "xla"):
        repeats = np.array([1, 2, 0])

        def g(x: Any, repeats: Any = repeats) -> Any:
            y = np.repeat(x, repeats)
            repeats[2] += 1
            return y

        jitted = tg.jit(lambda x: g(x), backend=backend)
        for k in range(3):
            near(np.asarray(jitted(X)), np.repeat(X, [1, 2, k]))


def test_writing_into_the_argument_itself_while_traced_changes_no_derivative() -> None:
    x = X.copy()

    def f(t: Any) -> Any:
        y = np.sin(t)
        x[0] = 100.0
        return np.sum(y * y)

    expected = np.sin(2.0 * X)
    near(tg.grad(f)(x), expected)
    assert x[0] == 100.0
    x[:] = X
    near(tg.grad(lambda p: f(p["x"]))({"x": x}), {"x": expected})
    x[:] = X
    near(tg.jvp(f, (x,), (np.ones(3),))[1], np.sum(expected))


def test_constants_are_writeable_again() -> None:
    base = np.arange(12.0).reshape(3, 4)
    views = [base, base[1:], base.T, base[:, 0], base.reshape(-1)[3:6]]
    frozen = np.ones(3)
    frozen.flags.writeable = False

    def f(x: Any) -> Any:
        total = np.sum(x * frozen)
        for v in views:
            total = total + np.sum(x[0] * v) + np.sum(np.sin(x[1]) * v)
        return total

    def fails(x: Any) -> Any:
        f(x)
        raise RuntimeError("on purpose")

    tg.grad(f)(X)
    tg.hessian(f)(X)
    tg.vjp(f, X)[1](1.0)
    tg.vmap(tg.grad(f))(np.stack([X, X]))
    with pytest.raises(RuntimeError, match="on purpose"):
        tg.grad(fails)(X)
    with pytest.raises(RuntimeError, match="on purpose"):
        tg.grad(lambda x: np.sum(tg.grad(fails)(x)))(X)
    assert all(v.flags.writeable for v in views)
    assert not frozen.flags.writeable


def test_the_constants_of_an_outer_level_are_kept_when_an_inner_one_has_ended() -> None:
    c = rows(1000)

    def f(x: Any) -> Any:
        y = np.sum(tg.grad(lambda y: np.sum(y * c * x * x))(x))
        c[:] = 100.0  # the outer derivative still needs it
        return y

    near(tg.grad(f)(X), 2000.0 * X * np.array([1.0, 2.0, 3.0]))


def test_other_threads_write_as_they_like() -> None:
    c = np.ones((1000, 3))
    stop = threading.Event()
    errors: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                c[:] = np.random.default_rng().uniform()
        except BaseException as error:
            errors.append(error)

    f = lambda x: np.sum(np.sum(x * c, axis=1) ** 2)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            value, gradient = tg.value_and_grad(f)(X)
            near(np.dot(gradient, X), 2.0 * value, 1e-9)  # f is of degree two in x, for whatever c
            (value,), pull = tg.vjp(lambda x: (f(x),), X)
            near(np.dot(pull((1.0,))[0], X), 2.0 * value, 1e-9)
            tg.jit(f)(X)
            tg.vmap(tg.grad(f))(X[None])
    finally:
        stop.set()
        writer.join()
    assert not errors and c.flags.writeable


def test_an_array_that_nobody_can_write_into_is_not_copied() -> None:
    c, data = np.ones((1000, 3)), np.zeros(24000, "u1").tobytes()
    c.flags.writeable = False
    read_only = c.view()
    for array in (c, read_only, c[1:].T, np.frombuffer(data), np.frombuffer(memoryview(data))):
        assert is_immutable(array)
        assert Constants().copy_of(array) is array
    changing, buffer = np.ones(3), bytearray(24)
    view = changing.view()
    view.flags.writeable = False
    for array in (changing, view, np.frombuffer(buffer), np.frombuffer(memoryview(buffer).toreadonly())):
        assert not is_immutable(array)
        assert Constants().copy_of(array) is not array
    with pytest.raises(ValueError, match="read-only"):
        np.frombuffer(memoryview(buffer).toreadonly())[0] = 1.0


LAYOUTS = [np.ascontiguousarray, np.asfortranarray, lambda a: a[::2, ::-1], lambda a: np.broadcast_to(a[:1], a.shape)]


@pytest.mark.parametrize("lay_out", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "c16", "c8", "i1", "?", np.longdouble, np.clongdouble])
def test_copies_are_found_again_while_their_content_is_the_same(lay_out: Any, dtype: Any) -> None:
    base = np.arange(6000.0).reshape(100, 60).astype(dtype)
    array = lay_out(base)
    constants = Constants()
    copy = constants.copy_of(array)
    assert is_immutable(copy)
    assert constants.copy_of(copy) is copy
    assert constants.copy_of(array[:]) is copy
    base[0, 1] = 77
    other = constants.copy_of(array)
    assert other is not copy or not (array != copy).any()
    np.testing.assert_array_equal(other, array)


@pytest.mark.parametrize("write", [
    lambda c: np.negative(c, out=c), lambda c: np.multiply(c, 2.0, out=c), lambda c: c.fill(-0.0), lambda c: c.sort(axis=0),
    lambda c: c.__setitem__(-1, np.nan), lambda c: c.__setitem__(slice(None), c[::-1].copy()),
])  # fmt: skip
def test_all_that_may_be_done_to_an_array_is_seen(write: Any) -> None:
    c = np.random.default_rng(0).standard_normal((4096, 4))
    c[0] = 0.0
    constants = Constants()
    copy, before = constants.copy_of(c), c.tobytes()
    write(c)
    assert (constants.copy_of(c) is copy) == (c.tobytes() == before)
    assert constants.copy_of(c).tobytes() == c.tobytes()
