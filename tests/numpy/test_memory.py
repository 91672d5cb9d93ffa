"""Other dtypes for the same bytes, and memory that is shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg

jax.config.update("jax_enable_x64", True)
X = np.array([1.0, -2.0, 3.0])


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_views_of_another_dtype(backend: str) -> None:
    for x, dtype in [(X, "i8"), (X, "u8"), (X.astype("f4"), "i4"), (np.arange(3), "f8"), (X.astype("f2"), "u2")]:
        found = tg.jit(lambda x, dtype=dtype: x.view(dtype), backend=backend)(x)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, x.view(dtype))
    assert not tg.grad(lambda x: np.sum(x.view("i8").view("f8")))(X).any()


def test_views_of_the_same_dtype() -> None:
    f = lambda x: np.sum(x.view() ** 2 + x.view(float) + x.view(np.ndarray))
    assert tg.grad(f)(X).tolist() == [4.0, -2.0, 8.0]


def test_views_are_views() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        whole, bits = y.view(), y.view("i8")
        whole[0] = 7.0
        return y, bits

    for g in (f, tg.jit(f)):
        y, bits = g(X)
        assert y[0] == 7.0 and bits[0] == np.array(7.0).view("i8")

    def written(x: Any) -> Any:
        x = x.copy()
        x.view("i8")[0] = 3
        return x

    with pytest.raises(ValueError, match="read-only"):
        tg.make_graph(written)(X)


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: x.view(complex), r"x\[..., 0::2\] \+ 1j \* x\[..., 1::2\]"),
    (lambda x: (x + 0j).view(float), r"np\.stack\(\[x\.real, x\.imag\], -1\)"),
    (lambda x: x.view("f4"), "bitcast_convert_type"),
    (lambda x: (x > 0).view("i1"), "write x != 0"),
    (lambda x: x.view(np.recarray), "is a plain ndarray: write x"),
    (lambda x: x.byteswap(inplace=True), r"write x = x\.byteswap\(\)"),
]


@pytest.mark.parametrize("f, said", REFUSED)
def test_views_that_are_refused(f: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        tg.make_graph(f)(X)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u1", "?", "c16", "c8"])
def test_byteswap(dtype: str) -> None:
    x = np.array([1, 2, 3]).astype(dtype)
    for found in (tg.jit(lambda x: x.byteswap())(x), tg.jit(lambda x: x.byteswap(), backend="xla")(x)):
        assert np.asarray(found).tobytes() == x.byteswap().tobytes()


def test_shared_memory() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        assert np.shares_memory(y, y[1:]) and np.shares_memory(y[:2], y[1:]) and np.may_share_memory(y, y.view())
        assert not np.shares_memory(y, x) and not np.shares_memory(y[:1], y[1:]) and not np.may_share_memory(y, X)
        return y

    tg.grad(lambda x: np.sum(f(x)))(X)
    tg.jit(f)(X)
