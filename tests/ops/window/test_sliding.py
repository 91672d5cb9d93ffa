"""Windows as NumPy makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import near
from tests.ops.window.test_reduce import array
from tracegrad.testing import check_grads, check_jit, check_vmap


@pytest.mark.parametrize(
    "shape, window, axis",
    [
        ((5,), 3, None),
        ((4, 5), (2, 3), None),
        ((4, 5), 2, 1),
        ((4, 5), (2, 3), (1, 0)),
        ((4, 5), (2, 2), (-1, 1)),
        ((3, 4, 2), (1, 4), (2, 1)),
        ((4,), 4, 0),
    ],
)
def test_sliding_windows(shape: tuple[int, ...], window: Any, axis: Any) -> None:
    """As NumPy has them, with their derivatives, under every transform."""
    x = array(*shape)
    f = lambda x: np.lib.stride_tricks.sliding_window_view(x, window, axis)
    assert np.array_equal(tg.vjp(f, x)[0], f(x))
    check_grads(f, (x,))
    check_jit(f, (x,), backends=("numpy", "xla"))
    check_vmap(f, (np.stack([x, 2 * x]),))
    assert np.array_equal(tnp.asarray(tg.jit(f)(np.arange(x.size).reshape(shape))), f(np.arange(x.size).reshape(shape)))


def test_sliding_windows_are_a_view() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        windows = np.lib.stride_tricks.sliding_window_view(y, 2)
        y[1] = 3.0 * x[0]
        y[2:] *= x[1]
        return windows * np.arange(6.0).reshape(3, 2)

    x = array(4)
    near(tg.vjp(f, x)[0], f(x), 0.0)
    near(tg.jit(f)(x), f(x), 0.0)
    check_grads(f, (x,))

    def written(x: Any) -> Any:
        np.lib.stride_tricks.sliding_window_view(x, 2)[0] = 1.0
        return x

    with pytest.raises(ValueError, match=r"read-only.*test_sliding\.py"):
        tg.jit(written)(x)


@pytest.mark.parametrize(
    "window, axis, text",
    [
        (-1, None, "negative"),
        (5, None, "cannot be larger than input array shape"),
        ((2, 2), None, "a size for each axis"),
        (2, 1, "axis"),
    ],
)
def test_sliding_windows_that_do_not_fit(window: Any, axis: Any, text: str) -> None:
    f = lambda x: np.lib.stride_tricks.sliding_window_view(x, window, axis)
    with pytest.raises(ValueError, match=r"window|axis"):
        f(array(4))
    with pytest.raises(ValueError, match=text):
        tg.jit(f)(array(4))
