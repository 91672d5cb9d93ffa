"""What `r_` and `c_` join."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp

jax.config.update("jax_enable_x64", True)
X = np.array([1.0, 2.0, 3.0])

JOINED: list[Callable[[Any, Any], Any]] = [
    lambda np, x: np.r_[x, 1, 2:3:4j],
    lambda np, x: np.r_[x, 0, 1:4, [5, 6], x[:2]],
    lambda np, x: np.r_[x[0], 1j],
    lambda np, x: np.r_[x.astype("float32"), 1.5],
    lambda np, x: np.r_["-1", x, x],
    lambda np, x: np.r_["0,2", x, x],
    lambda np, x: np.r_["1,2,0", x, x],
    lambda np, x: np.r_["0,3,-1", x, x],
    lambda np, x: np.r_["0,3,1", x, x],
    lambda np, x: np.c_[x, x * 2],
    lambda np, x: np.c_[x, x[:, None], [7, 8, 9], 0:3],
    lambda np, x: np.c_[x[None], x[None]],
    lambda np, x: np.c_[x[0], 2, 3],
]


@pytest.mark.parametrize("number", range(len(JOINED)))
@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_joined_as_numpy_does(number: int, backend: str) -> None:
    f = JOINED[number]
    found, wanted = tg.jit(lambda x: f(tnp, x), backend=backend)(X), f(np, X)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    assert type(f(tnp, X)) is np.ndarray
    np.testing.assert_array_equal(f(tnp, X), wanted)


def test_gradients_of_what_is_joined() -> None:
    assert tg.grad(lambda x: np.sum(tnp.r_[x, 2 * x[:1]] ** 2))(X).tolist() == [10.0, 4.0, 6.0]
    assert tg.grad(lambda x: np.sum(tnp.c_[x, x] ** 2))(X).tolist() == [4.0, 8.0, 12.0]


def test_directives() -> None:
    with pytest.raises(TypeError, match="makes a matrix"):
        tg.make_graph(lambda x: tnp.r_["c", x])(X)
    with pytest.raises(ValueError, match="unknown special directive '!'"):
        tg.make_graph(lambda x: tnp.r_["!", x])(X)
    assert len(tnp.r_) == len(np.r_) == 0
