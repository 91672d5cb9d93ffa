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
