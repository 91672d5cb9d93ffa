"""Kaiser's window and the function in it, and windows that slide."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.testing import check_grads

mpmath = pytest.importorskip("mpmath")
jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("order", range(5))
def test_i0_and_its_derivatives(order: int, backend: str) -> None:
    points = np.array([0.0, 1e-3, 0.5, -3.0, 20.0, -300.0])
    f = tnp.i0
    for _ in range(order):
        f = (lambda f: tg.grad(lambda x: np.sum(f(x))))(f)
    exact = [float(mpmath.diff(lambda t: mpmath.besseli(0, t), t, order)) for t in points]
    np.testing.assert_allclose(tg.jit(f, backend=backend)(points), exact, rtol=1e-13, atol=1e-16)


def test_i0_beyond_what_floats_hold() -> None:
    with np.errstate(over="ignore"):
        assert tg.grad(tnp.i0)(720.0) == np.inf == -tg.grad(tnp.i0)(-720.0)
    for dtype in ("f2", "f4", "i1", "?"):
        x = np.array([0, 1], dtype)
        assert tg.eval_shape(np.i0, x).dtype == np.i0(x).dtype


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_kaiser(count: int) -> None:
    f = lambda beta: tnp.kaiser(count, beta)
    for backend in ("numpy", "xla"):
        np.testing.assert_allclose(tg.jit(f, backend=backend)(3.0), np.kaiser(count, 3.0), rtol=1e-13)
    if count > 1:
        check_grads(f, (3.0,))


WINDOWS: list[Any] = [((2, 2),), (3, 1), (2, 0), ((2, 3), (0, 1)), ((2, 2), (0, 0)), ((2, 2), (-1, 0)), ((1,), (-1,))]


@pytest.mark.parametrize("arguments", WINDOWS, ids=str)
def test_sliding_windows(arguments: Any) -> None:
    x = np.arange(20.0).reshape(4, 5)
    f = lambda x: sliding_window_view(x, *arguments)
    np.testing.assert_array_equal(tg.jit(f)(x), f(x))
    np.testing.assert_array_equal(tg.vmap(f)(np.stack([x, 2 * x])), [f(x), f(2 * x)])
    check_grads(f, (x,), order=1)


@pytest.mark.parametrize(
    "arguments, said",
    [((3,), "a size for each axis"), (((5, 1),), "5 along axis 0 of")],
)
def test_windows_that_do_not_fit(arguments: Any, said: str) -> None:
    x = np.zeros((4, 5))
    with pytest.raises(ValueError, match=r"axis|larger|window"):
        sliding_window_view(x, *arguments)
    with pytest.raises(ValueError, match=said):
        tg.make_graph(lambda x: sliding_window_view(x, *arguments))(x)


def test_windows_are_not_written_through() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tg.make_graph(lambda x: sliding_window_view(x, 2, writeable=True))(np.zeros(3))


def test_windows_see_what_is_written() -> None:
    def late(x: Any) -> Any:
        y = x * 1
        windows = sliding_window_view(y, 2)
        y[0] = 100.0
        return windows

    def within(x: Any) -> Any:
        y = x * 1
        sliding_window_view(y, 2)[0] = 1.0
        return y

    x = np.arange(3.0)
    np.testing.assert_array_equal(tg.jit(late)(x), late(x))
    for f in (within, tg.jit(within)):
        with pytest.raises(ValueError, match="read-only"):
            f(x)
