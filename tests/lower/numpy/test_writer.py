"""The generated source, as text and in what it computes."""

from __future__ import annotations

import gc
import linecache
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.numpy as tnp
import tracegrad.random
from tests.compare import same_bits
from tracegrad.lower.numpy.memory import MANY, Memory
from tracegrad.lower.numpy.writer import lower

X = np.array([0.3, -1.2, 2.0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8", "bool"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sums_of_two(axis: int, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 2, 50)) * 100
    x[:, :, :, :8] = np.array([0.0, -0.0, np.inf, -np.inf, 1e30, 1e-30, -1e30, 0.0])
    with np.errstate(all="ignore"):
        x = np.moveaxis(x, 3, 0).astype(dtype)[..., ::-1]
        for f in (
            lambda x: np.sum(x, axis + 1),
            lambda x: np.sum(x, axis + 1, keepdims=True),
            lambda x: np.sum(x[3], axis),
        ):
            same_bits(tg.jit(f)(x), f(x))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8"])
@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_sums_down_narrow_columns(columns: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30])
    with np.errstate(all="ignore"):
        for rows in (31, 32, 100, 2048, 2049):
            x = (rng.normal(size=(rows, columns)) * 100).astype(dtype)
            odd = x.copy()
            odd[rng.integers(rows, size=7), 0] = special.astype(dtype)
            for one in (x, odd, -0.0 * np.abs(x), np.asfortranarray(x), x[::-1], np.repeat(x, 2, 1)[:, ::2]):
                for f in (lambda x: np.sum(x, 0), lambda x: np.sum(x, 0, keepdims=True)):
                    same_bits(tg.jit(f)(one), f(one))
                if dtype != "complex64":  # which NumPy divides in complex128
                    same_bits(tg.jit(lambda x: np.mean(x, 0))(one), np.mean(one, 0))


def test_source() -> None:
    text = tg.jit(lambda x: np.sum(np.sin(x) * 2.0)).lower(X).as_text()
    line = test_source.__code__.co_firstlineno + 1
    assert text.splitlines() == [
        "c2_0 = array(2.0, 'float64')",
        "def compiled(a):",
        f"    b = sin(a)               # test_writer.py:{line}",
        f"    c = multiply(b, c2_0)    # test_writer.py:{line}",
        f"    d = add_reduce(c, (0,))  # test_writer.py:{line}",
        "    return d",
    ]
    # Large results go over what dies with them, or died before; the argument itself is never written to.
    large = tg.jit(lambda x: np.sin(np.cos(x) * 2.0) + np.exp(-x)).lower(tg.ShapeDtypeStruct((9999,), float)).as_text()
    assert [text.split("#")[0].strip() for text in large.splitlines()[2:]] == [
        "b = cos(a)",
        "c = multiply(b, c2_0, b); del b",
        "d = sin(c, c); del c",
        "e = negative(a)",
        "f = exp(e, e); del e",
        "g = add(d, f, d); del d, f",
        "return g",
    ]


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64", "float16", "float32", "float64", "complex64"])
def test_python_scalars_keep_their_weak_part(dtype: str) -> None:
    x = np.array([1, 2, 3], dtype)
    f = lambda x: [x * 2, x + 1, 1 + x * 1, x * True, x * 1.01, x - 0.5, -0.0 * x, x * 1j, np.hypot(x.real, 2), x > 1]
    same_bits(tg.jit(f)(x), f(x))


@pytest.mark.parametrize("z", [complex(-0.0, 1.0), complex(1.0, -0.0), complex(0.0, np.inf), complex(np.nan, -np.inf)])
def test_complex_literals(z: complex) -> None:
    x = np.array([1.0 + 2.0j, 0.0j, -0.0 - 0.0j])
    f = lambda x: (x + z, tnp.where(x == 0, z, x), z)
    with np.errstate(invalid="ignore"):
        same_bits(tg.jit(f)(x), f(x))


@pytest.mark.parametrize("link", [lambda x: np.where(x > 9.0, x, x), lambda x: x.astype(float), lambda x: x[...].T])
def test_long_chains_of_what_may_be_views(link: Callable[[Any], Any]) -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)
        z, out = y, []
        for i in range(3000):
            z = link(z)
            if i % 1000 == 0:
                out.append(z)
        return [y, *out, z, x]

    x = np.linspace(0.0, 1.0, 500)
    jitted = tg.jit(f)
    results = jitted(x)
    same_bits(results, f(x))
    for i, a in enumerate(results):
        assert not any(np.shares_memory(a, b) for b in (x, *results[i + 1 :]))
    memory = Memory(tg.make_graph(f)(tg.ShapeDtypeStruct((500,), float)), None)
    assert max(map(len, memory.roots.values())) <= MANY + 1  # or time would grow with the square of the length


def test_a_long_program() -> None:
    def f(x: Any) -> Any:
        for _ in range(20_000):
            x = np.sin(x)
        return x

    same_bits(tg.jit(f)(X), f(X))
    # Among so many names of variables are those of functions, and of Python's keywords.
    same_bits(tg.jit(tg.grad(lambda x: np.sum(f(x))))(X), tg.grad(lambda x: np.sum(f(x)))(X))


def sin(x: Any) -> Any:
    return np.sin(x) + np.cos(x)


def test_functions_that_are_called_like_ops() -> None:
    same_bits(tg.jit(sin)(X), sin(X))
    assert "def sin_2(a):" in tg.jit(sin).lower(X).as_text()


def test_out_of_maximum_is_named() -> None:
    """NumPy 2.4 warns of a positional `out` of these two, and the tests take warnings for errors."""
    x = np.linspace(-1, 1, 3000)
    f = lambda x: np.minimum(np.maximum(x * x, 0.1) * 2, 0.5) + 1
    np.testing.assert_array_equal(tg.jit(f)(x), f(x))


@pytest.mark.parametrize("shapes", [((5, 3), (3, 4)), ((2, 70), (70, 6)), ((40, 9), (9, 40))])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_products_of_every_layout_have_the_same_bits(shapes: Any, dtype: str) -> None:
    """Small ones go into BLAS by ndarray.dot, others by np.matmul."""
    rng = np.random.default_rng(0)
    x, y = [rng.normal(size=s).astype(dtype) for s in shapes]
    layouts: list[Callable[[Any], Any]] = [
        lambda a: a,
        np.asfortranarray,
        lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
        lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.broadcast_to(a[:1], a.shape),
    ]
    products: list[Callable[[Any, Any], Any]] = [lambda a, b: a @ b, lambda a, b: (b.T @ a.T).T]
    for layout in layouts:
        a, b = layout(x), layout(y)
        for product in products:
            loss = lambda a, b, product=product: np.sum(np.abs(product(a, b)))
            gradient = tg.value_and_grad(loss, (0, 1))
            same_bits(tg.jit(gradient)(a, b), gradient(a, b))
            np.testing.assert_allclose(tg.jit(product)(a, b), np.einsum("ij,jk->ik", a, b), rtol=1e-4)


def test_a_broadcast_constant_is_not_written_over() -> None:
    """It has the type of a result that comes later, and dies before that, but is read-only."""
    y = np.random.default_rng(0).normal(size=(130, 130))

    def f(x: Any, y: Any) -> Any:
        x = np.where(x > 0, np.maximum(x, -1.0), np.minimum(x, 1.0)) + y
        return np.sum(np.concatenate([x[:1], x[1:]], axis=0))

    gradient = tg.grad(f, (0, 1))
    got = tg.jit(gradient)(y, y)
    same_bits(got, gradient(y, y))


def test_lines_of_a_function_that_is_gone_go_when_nobody_walks_the_cache() -> None:
    f = lower(tg.make_graph(lambda x: np.sin(x) * 3.0)(X)).function
    name = f.__code__.co_filename
    walked = list(linecache.cache)
    del f
    gc.collect()
    assert name in walked and all(name in linecache.cache for name in walked)  # as linecache.checkcache reads them
    lower(tg.make_graph(lambda x: np.cos(x) * 5.0)(X))
    assert name not in linecache.cache


def test_many_views_of_one_array_take_a_program_linear_in_their_number() -> None:
    def sliced(count: int) -> int:
        f = tg.jit(lambda x: [x[i:] for i in range(count)])
        x = np.arange(float(count))
        found = f(x)
        found[0][-1] = -1.0
        assert found[1][-1] == x[-1] == count - 1
        return len(f.lower(x).as_text())

    assert sliced(400) < 2.2 * sliced(200)


def test_many_numbers_without_axes_are_each_an_array_of_their_own() -> None:
    found = tg.jit(lambda x: [np.reshape(x, ()) for _ in range(20)])(np.ones(1))
    for i, one in enumerate(found):
        assert not any(one is other or np.shares_memory(one, other) for other in found[:i])
