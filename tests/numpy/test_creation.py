"""Creation of arrays; questions about types and shapes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.notes import Notes
from tracegrad.core.errors import (
    DtypeError,
    ShapeError,
    UnexpectedTracerError,
)
from tracegrad.numpy import creation

jax.config.update("jax_enable_x64", True)


def traced(function: Callable[..., Any], *args: Any) -> Any:
    """The result of evaluating the Graph of the function: what its traced version computes."""
    results = tg.make_graph(function)(*args)(*args)
    return results[0] if len(results) == 1 else results


def same(ours: Any, theirs: Any, **tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), **{"rtol": 1e-12, "atol": 1e-300, **tolerance})


def same_as_numpy(function: Callable[..., Any], *args: Any, exact: bool = True) -> None:
    """The traced function computes what NumPy does: shape, dtype and values."""
    ours, plain = traced(function, *args), function(*args)
    for a, b in zip(
        ours if isinstance(plain, tuple) else [ours], plain if isinstance(plain, tuple) else [plain], strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b) if exact else np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14)


def test_questions_about_dtypes_have_plain_answers() -> None:
    def f(x: Any) -> Any:
        assert np.iscomplexobj(x) is False and np.isrealobj(x) is True
        assert np.iscomplexobj(x + 1j) is True
        return np.sum(x)

    tg.grad(f)(np.ones(2))


def test_array_of_nested_lists_with_tracers() -> None:
    def f(x: Any) -> Any:
        a = creation.array([[x, 2 * x, 1.0], (np.float64(3.0), x * x, 0)])
        assert a.shape == (2, 3) and a.dtype == np.float64
        return np.sum(a * np.arange(6.0).reshape(2, 3))

    same(tg.grad(f)(2.0), 0 + 2 + 4 * 4)
    x = np.array([1.0, 2.0], np.float32)
    for g in (
        lambda x: creation.array([x, 2 * x]),
        lambda x: creation.array([x, 2 * x], dtype=np.float64),
        lambda x: creation.array(x, ndmin=3),
        lambda x: creation.asarray([x[0], 1.0, 2]),
        lambda x: creation.asarray(x, np.complex128),
        lambda x: creation.array([[x[0]], [x[1]]]),
        lambda x: creation.ascontiguousarray(x[0]),
    ):
        same_as_numpy(g, x)
    assert creation.array([1, 2]).dtype == np.int64
    with pytest.raises(ShapeError, match=r"different shapes, f32\[2\], f32\[\]"):
        tg.grad(lambda x: np.sum(creation.array([x, x[0]])))(x)


@pytest.mark.parametrize("f", [np.zeros_like, np.ones_like, np.empty_like], ids=lambda f: f.__name__)
def test_arrays_like_a_tracer(f: Any) -> None:
    def check(x: Any) -> Any:
        for options in ({}, {"dtype": np.float32}, {"shape": (4,)}, {"shape": 2}):
            new, plain = f(x, **options), f(np.zeros((2, 3), np.float16), **options)
            assert (new.shape, new.dtype) == (plain.shape, plain.dtype)
            if f is not np.empty_like:
                assert np.array_equal(np.asarray(new), plain)
            new[0] = x[0, 0]
            assert float(tg.stop_gradient(new[(0,) * new.ndim])) == 1.0 if type(x.value) is np.ndarray else True
        return np.sum(x)

    tg.grad(check)(np.ones((2, 3), np.float16))
    tg.eval_shape(check, tg.ShapeDtypeStruct((2, 3), np.float16))


def test_full_like_a_tracer_or_of_one() -> None:
    x = np.ones((2, 3), np.float32)
    same_as_numpy(lambda x: np.full_like(x, 7), x)
    same_as_numpy(lambda x: np.full_like(x, 7.5, dtype=int), x)
    same_as_numpy(lambda x: np.full_like(x, np.arange(3)), x)
    same(tg.grad(lambda v: np.sum(creation.full_like(x, v)))(2.0), 6.0)
    same(tg.grad(lambda v: np.sum(creation.full((2, 4), v) ** 2))(3.0), 48.0)
    same(tg.grad(lambda v: np.sum(creation.full(3, [v, 1.0, v * v])))(3.0), 7.0)
    assert creation.full((2,), 1.5).tolist() == [1.5, 1.5]


RANGES: dict[str, Callable[..., Any]] = {
    "linspace": lambda a, b: np.linspace(a, b, 7),
    "linspace without end": lambda a, b: np.linspace(a, b, 7, endpoint=False),
    "linspace of one": lambda a, b: np.linspace(a, b, 1),
    "linspace of none": lambda a, b: np.linspace(a, b, 0),
    "linspace step": lambda a, b: np.linspace(a, b, 5, retstep=True),
    "linspace last axis": lambda a, b: np.linspace(a * np.ones(2), b, 3, axis=-1),
    "linspace dtype": lambda a, b: np.linspace(a, b, 4, dtype=np.float32),
    "linspace integers": lambda a, b: np.linspace(a, 10 * b, 4, dtype=int),
    "logspace": lambda a, b: np.logspace(a, b, 6),
    "logspace base": lambda a, b: np.logspace(a, b, 6, endpoint=False, base=2.0),
    "geomspace": lambda a, b: np.geomspace(a, b, 6),
    "geomspace down": lambda a, b: np.geomspace(-b, -a, 6, endpoint=False),
    "geomspace arrays": lambda a, b: np.geomspace(a, b * np.array([1.0, 2.0]), 4, axis=1),
}


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name: str) -> None:
    f = RANGES[name]
    a, b = 0.3, 2.2
    same_as_numpy(f, a, b, exact=False)
    g = lambda a, b: f(a, b)[0] if isinstance(f(a, b), tuple) else f(a, b)
    if "integers" in name:
        return
    h = 1e-5
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if "dtype" in name else {"rtol": 1e-7, "atol": 1e-8}
    if "dtype" in name:
        h = 1e-2
    for t in [(1.0, 0.0), (0.0, 1.0)]:
        _, tangent = tg.jvp(g, (a, b), t)
        numeric = (g(a + h * t[0], b + h * t[1]) - g(a - h * t[0], b - h * t[1])) / (2 * h)
        same(tangent, numeric, **tolerance)


def test_linspace_ends_exactly() -> None:
    rng = np.random.default_rng(0)
    for a, b in rng.uniform(-1, 1, (20, 2)):
        values = traced(lambda a, b: np.linspace(a, b, 11), a, b)
        np.testing.assert_array_equal(values, np.linspace(a, b, 11))
        assert values[-1] == b
    same_as_numpy(lambda a: np.linspace(a, 1, 5), np.float32(0.25))
    same_as_numpy(lambda a: np.linspace(a, 4, 5), 2)
    same_as_numpy(lambda a: np.linspace(a, 1, 5), 1j)


def test_arange_needs_known_integers() -> None:
    assert creation.arange(3).tolist() == [0, 1, 2]
    seen = []
    tg.make_graph(lambda n: seen.append(creation.arange(n)) or n)(4)
    assert seen[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(DtypeError, match=r"start \+ step \* np\.arange\(n\)"):
        tg.grad(lambda x: np.sum(creation.arange(x)))(3.0)


@pytest.mark.parametrize("options", [{}, {"indexing": "ij"}, {"sparse": True}, {"sparse": True, "indexing": "ij"}])
def test_meshgrid(options: dict[str, Any]) -> None:
    x, y = np.arange(3.0), np.arange(4.0)
    same_as_numpy(lambda x: np.meshgrid(x, y, **options), x)
    same_as_numpy(lambda x: np.meshgrid(x, **options)[0], x)
    same_as_numpy(lambda x: np.meshgrid(x, y, 2.0, **options), x)
    f = lambda x, y: np.sum(np.meshgrid(x, y, **options)[0] * np.meshgrid(x, y, **options)[1])
    same(tg.grad(f)(x, y), np.full(3, 6.0))


def test_types_and_shapes_have_plain_answers() -> None:
    def f(x: Any) -> Any:
        assert np.shape(x) == (2, 3) and creation.shape([x, x]) == (2, 2, 3)
        assert np.ndim(x) == 2 and np.size(x) == 6 and np.size(x, 1) == 3 and np.size(x, -2) == 2
        assert np.result_type(x, 1.0) == np.float32
        assert np.result_type(x, np.float64) == np.float64
        assert np.result_type(2.0 * np.sum(x), np.float16) == np.float32
        assert np.can_cast(x, np.float64) and not np.can_cast(x, np.int64)
        assert np.common_type(x, np.zeros(2)) is np.float64
        assert np.copy(x) is not x and x.copy() is not x
        return np.sum(x)

    tg.grad(f)(np.ones((2, 3), np.float32))
    tg.eval_shape(f, tg.ShapeDtypeStruct((2, 3), np.float32))


TABLE = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_plain_table_is_indexed_by_traced_indices(backend: str) -> None:
    def look_up(i: Any) -> Any:
        return tnp.asarray(TABLE)[i, np.flip(i)]

    i = np.array([0, 2])
    assert np.array_equal(tg.jit(look_up, backend=backend)(i), TABLE[i, i[::-1]])
    table = TABLE.copy()  # of which the program knows that it is read anew
    f = tg.jit(lambda i: tnp.asarray(table)[i], backend=backend)
    assert np.array_equal(f(i), TABLE[i])
    table[0] = -1.0
    assert np.array_equal(f(i), table[i])

    def scaled(x: Any) -> Any:
        return np.sum(tnp.asarray([1.0, 10.0, 100.0])[np.argsort(x)] * x)

    assert np.array_equal(tg.jit(tg.grad(scaled), backend=backend)(np.array([0.3, 0.1, 0.2])), [10.0, 100.0, 1.0])


def test_a_plain_table_in_vmap_and_in_loops() -> None:
    i = np.array([2, 0])
    assert np.array_equal(tg.vmap(lambda i: tnp.asarray(TABLE)[i])(i), TABLE[i])
    assert np.array_equal(tg.lax.scan(lambda c, i: (c, tnp.asarray(TABLE)[i]), 0.0, i)[1], TABLE[i])
    assert tg.lax.fori_loop(0, 3, lambda i, c: c + tnp.asarray(TABLE[:, 0])[i], 0.0) == 12.0


def test_the_value_of_a_traced_table_is_there() -> None:
    table = np.array([1, 2, 3])

    def f(x: Any) -> Any:
        known = tnp.asarray(table)
        assert known.shape == (3,) and known.dtype == int
        return np.asarray(known) * x, x[: len(known)]

    jitted = tg.jit(f)
    x = np.arange(3.0)
    assert np.array_equal(jitted(x)[0], table * x)
    table[0] = 7
    assert np.array_equal(jitted(x)[0], table * x)  # traced anew, since the value was looked at
    assert type(tnp.asarray(table)) is np.ndarray and type(tnp.asarray([[1, 2]])) is np.ndarray
    assert tg.jit(lambda x: tnp.asarray(2.0) * x)(3.0) == 6.0


def test_what_is_written_into_a_traced_table_stays_there() -> None:
    def f(x: Any) -> Any:
        table = tnp.asarray(TABLE)
        table[0, 0] = x
        return np.sum(table)

    assert tg.jit(f)(5.0) == 71.0 and tg.jit(tg.grad(f))(5.0) == 1.0 and TABLE[0, 0] == 0.0


LIKE: dict[str, Callable[[Any], Any]] = {
    "asarray": lambda i: np.asarray(TABLE, like=i)[i],
    "asarray of two": lambda i: np.asarray(TABLE, like=i)[i, np.flip(i)],
    "asarray of ours": lambda i: tnp.asarray(TABLE, like=i)[i],
    "asarray of a dtype": lambda i: np.asarray(TABLE, np.float32, like=i)[i],
    "asanyarray": lambda i: np.asanyarray(TABLE, like=i)[i],
    "ascontiguousarray": lambda i: np.ascontiguousarray(TABLE.T, like=i)[i],
    "array": lambda i: np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], like=i)[i],
    "array of what is traced": lambda i: np.array([i[0], 7], like=i),
    "zeros": lambda i: np.zeros((3, 2), np.float32, like=i)[i],
    "ones": lambda i: np.ones(3, like=i)[i],
    "full": lambda i: np.full((3, 2), i, like=i)[i],
    "arange": lambda i: np.arange(3, 9, 2, like=i)[i],
    "eye": lambda i: np.eye(3, like=i)[i],
    "number": lambda i: i * np.asarray(2.5, like=i),
}


@pytest.mark.parametrize("name", LIKE)
def test_what_is_made_like_a_tracer_is_traced(name: str) -> None:
    f, i = LIKE[name], np.array([2, 0])
    expected = f(i)
    for found in (
        tg.jit(f)(i),
        tg.jit(f, backend="xla")(i),
        tg.vmap(f)(np.stack([i, i]))[1],
        tg.jit(tg.vmap(f))(np.stack([i, i]))[1],
        tg.make_graph(f)(i)(i)[0],
        tg.vjp(lambda x: f(i * np.floor(x).astype(int)) * x[0].astype(expected.dtype), np.ones(2))[0],
    ):
        assert np.array_equal(found, expected) and found.dtype == expected.dtype
    if name == "asarray of ours":
        assert np.array_equal(f(jnp.asarray(i)), expected)


def test_what_is_made_like_a_tracer_can_be_written_into() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(3, like=x)
        y[0] = x
        y[1:] = np.array([2.0 * x, x * x], like=x)
        return np.sum(y * np.asarray(TABLE, like=x)[1, :3])  # 4 x + 10 x + 6 x^2

    for d in (tg.grad(f), tg.jit(tg.grad(f)), tg.jit(tg.grad(f), backend="xla"), lambda x: tg.jvp(f, (x,), (1.0,))[1]):
        assert d(1.5) == 32.0
    assert tg.grad(tg.grad(f))(1.5) == 12.0 == tg.jit(tg.hessian(f))(1.5)
    assert tg.vmap(tg.grad(f))(np.array([0.0, 1.5])).tolist() == [14.0, 32.0]
    assert f(np.asarray(1.5)) == 34.5  # like a plain array are plain ones


def test_what_is_made_like_a_tracer_is_read_anew_by_a_program() -> None:
    table = TABLE.copy()
    f = tg.jit(lambda i: np.asarray(table, like=i)[i])
    assert f(1).tolist() == [4.0, 5.0, 6.0, 7.0]
    table[1] = 9.0
    assert f(1).tolist() == [9.0] * 4


def test_nothing_is_made_like_a_tracer_that_leaked() -> None:
    leaked = Notes()
    tg.jit(lambda x: leaked.append(x) or x)(1.0)
    with pytest.raises(UnexpectedTracerError, match="a tracer leaked: the input x"):
        np.asarray(TABLE, like=leaked[0])


# ---------------------------------------------------------------------------------------------------------------------
# What a traced function makes can be written into.

PLAIN = np.array([0.5, -1.0, 2.0, 3.0])
MADE: dict[str, Callable[[], Any]] = {
    "zeros": lambda: tnp.zeros(4),
    "zeros of a shape": lambda: tnp.zeros((4, 1), order="F")[:, 0],
    "float32": lambda: tnp.zeros(4, np.float32),
    "complex": lambda: tnp.ones(4, complex),
    "ones": lambda: tnp.ones(shape=4),
    "empty": lambda: tnp.empty(4) * 0,
    "full": lambda: tnp.full(4, 2.5),
    "zeros_like": lambda: tnp.zeros_like(PLAIN),
    "ones_like": lambda: tnp.ones_like(PLAIN),
    "full_like": lambda: tnp.full_like(PLAIN, 7),
    "eye": lambda: tnp.eye(4)[1],
    "identity": lambda: tnp.identity(4)[2],
    "array of numbers": lambda: tnp.array([1.0, 2.0, 3.0, 4.0]),
    "array of an array": lambda: tnp.array(PLAIN),
    "array of a dtype": lambda: tnp.array([1, 2, 3, 4], dtype=float),
    "asarray of a list": lambda: tnp.asarray([1.0, 2.0, 3.0, 4.0]),
    "copy": lambda: tnp.copy(PLAIN),
}


def _written(make: Callable[[], Any]) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        y = make()
        y[0] = x
        v = y[2:]
        v[...] = x * x
        v *= 2.0
        return np.sum(np.real(y) * np.arange(1.0, 5.0) * y.real)

    return f


@pytest.mark.parametrize("name", MADE)
def test_what_a_traced_function_makes_is_written_into(name: str) -> None:
    f = _written(MADE[name])
    plain = f(1.5)  # outside of any trace everything is NumPy's own
    assert type(MADE[name]()) is np.ndarray
    slope, curve = 2 * 1.5 + 7 * 4 * 4 * 1.5**3, 2 + 7 * 4 * 4 * 3 * 1.5**2
    tolerance = {"rtol": 1e-6} if name == "float32" else {}
    for value in (tg.jit(f)(1.5), tg.jit(f, backend="xla")(1.5), tg.vmap(f)(np.array([0.0, 1.5]))[1]):
        same(value, plain, **tolerance)
    for d in (
        tg.grad(f), tg.jit(tg.grad(f)), tg.grad(tg.jit(f)), tg.jit(tg.grad(f), backend="xla"),
        lambda x: tg.jvp(f, (x,), (1.0,))[1], lambda x: tg.vmap(tg.grad(f))(np.array([x, 0.0]))[0],
        lambda x: tg.grad(lambda xs: np.sum(tg.vmap(f)(xs)))(np.array([x, 0.0]))[0],
        lambda x: tg.jit(tg.vmap(tg.grad(f)), backend="xla")(np.array([x, 0.0]))[0],
        tg.grad(tg.checkpoint(f)),
    ):  # fmt: skip
        same(d(1.5), slope, **tolerance)
    for dd in (tg.grad(tg.grad(f)), tg.hessian(f), tg.jit(tg.hessian(f)), tg.jit(tg.hessian(f), backend="xla")):
        same(dd(1.5), curve, **tolerance)
    assert np.array_equal(PLAIN, [0.5, -1.0, 2.0, 3.0])


@pytest.mark.parametrize("backend", [None, "numpy", "xla"])
def test_what_a_body_makes_is_written_into(backend: str | None) -> None:
    def body(c: Any, x: Any) -> Any:
        y = tnp.zeros(2)
        y[0] = c
        y[1] = x * c
        return np.sum(y * y), y

    def scanned(x: Any) -> Any:
        return tg.lax.scan(body, x, np.array([1.0, 2.0]))[0]  # 5 (2 x^2)^2

    def chosen(x: Any) -> Any:
        def one(x: Any) -> Any:
            y = tnp.zeros(2)
            y[0] = x**3
            return y

        def other(x: Any) -> Any:
            y = tnp.ones_like(PLAIN)[:2]
            y[1] = 2 * x
            return y

        return np.sum(tg.lax.cond(x > 1, one, other, x))

    def looped(x: Any) -> Any:
        table = tnp.zeros(3)
        table[1] = x

        def step(i: Any, c: Any) -> Any:
            new = tnp.copy(c)
            new[0] = c[0] + table[i] * c[1]
            return new

        return tg.lax.fori_loop(0, 3, step, tnp.array([1.0, 2.0]))[0]

    for f, slope in ((scanned, 80 * 1.5**3), (chosen, 3 * 1.5**2), (lambda x: chosen(x - 1), 2.0), (looped, 2.0)):
        d = tg.grad(f) if backend is None else tg.jit(tg.grad(f), backend=backend)
        same(d(1.5), slope)
        same(tg.vmap(d)(np.array([1.5, 1.5]))[1], slope)


def test_integers_and_truth_values_that_are_given_stay_plain() -> None:
    def f(x: Any) -> Any:
        for made in (
            tnp.array([1, 2]), tnp.array([True, False]), tnp.arange(3), tnp.asarray([1, 2]), tnp.copy(np.arange(3)),
            tnp.array(PLAIN, dtype=int), tnp.array("text"), tnp.linspace(0.0, 1.0, 3), tnp.asarray(PLAIN),
        ):  # fmt: skip
            assert type(made) is np.ndarray
        return x * 1.0

    tg.grad(f)(1.0)


def test_a_constant_of_a_traced_function_is_read_as_a_plain_one() -> None:
    seen = Notes()

    def f(x: Any) -> Any:
        coefficients = tnp.array([1.0, -2.0, 0.0])
        count = tnp.zeros(2, int)
        seen.append((float(coefficients[0] * 2), int(count[1]), np.asarray(2 * coefficients).tolist()))
        for c in coefficients:
            if c > 0:
                x = x * c
        while count[0] < 3:
            count[0] += 1
        coefficients[0] = x
        with pytest.raises(TypeError, match=r"lose its derivative|knows only its type|needs the value"):
            float(coefficients[0])
        return x * count[0]

    jitted = tg.jit(f, branches="error")
    for run in (tg.grad(f), jitted, tg.jit(tg.grad(f)), lambda x: tg.vmap(f)(np.array([x])), tg.grad(tg.grad(f))):
        seen.clear()
        run(1.0)
        assert seen[0] == (2.0, 0, [2.0, -4.0, 0.0])


def test_a_constant_that_depends_on_the_place_in_an_axis_is_none() -> None:
    with pytest.raises(TypeError, match="needs the value"):
        tg.vmap(lambda x: x * float(tg.lax.axis_index("i") + tnp.zeros(1)[0]), axis_name="i")(np.ones(2))


def test_an_array_that_is_copied_is_read_anew_by_a_program() -> None:
    table = PLAIN.copy()

    def f(x: Any) -> Any:
        y = tnp.array(table)
        y[0] = x
        return np.sum(y)

    for run, expected in (
        (tg.jit(f), 5.0),
        (tg.jit(f, backend="xla"), 5.0),
        (tg.jit(tg.value_and_grad(f)), (5.0, 1.0)),
    ):
        table[:] = PLAIN
        assert run(1.0) == expected
        table[1] = 10.0
        assert run(1.0) == (16.0 if expected == 5.0 else (16.0, 1.0))
        assert table[0] == 0.5


def test_what_is_made_and_not_written_into_is_not_in_the_graph() -> None:
    def f(x: Any) -> Any:
        tnp.zeros(1000), tnp.ones((3, 3)), tnp.array([1.0])
        return 2.0 * x

    assert [eqn.op.name for eqn in tg.make_graph(f)(1.0).eqns] == ["multiply"]
    graph = tg.jit(_written(MADE["zeros"])).lower(1.0).graph
    assert "copy" not in str(graph) and "broadcast_to" not in str(graph)


def test_how_what_is_made_lies_in_memory_decides_what_is_a_view() -> None:
    def f(x: Any, order: str, like: bool) -> Any:
        y = np.asarray(np.zeros((2, 3), order=order), like=x) if like else tnp.zeros((2, 3), order=order)
        flat = y.reshape(-1)
        flat[1] = x
        return y

    for order in "CF":
        for like in (False, True):
            expected = f(np.float64(5.0), order, False)
            for run in (tg.jit(f, static_argnums=(1, 2)), lambda *a: tg.jvp(lambda x: f(x, *a[1:]), (5.0,), (1.0,))[0]):
                assert np.array_equal(run(5.0, order, like), expected), (order, like)


def test_what_is_made_in_another_thread_is_of_that_threads_trace() -> None:
    barrier = threading.Barrier(2)
    found: dict[int, Any] = {}

    def f(x: Any) -> Any:
        barrier.wait()
        y = tnp.zeros(2)
        y[0] = x * x
        barrier.wait()
        return np.sum(y)

    def run(i: int) -> None:
        found[i] = tg.grad(f)(float(i))

    threads = [threading.Thread(target=run, args=(i,)) for i in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {1: 2.0, 2: 4.0}
