"""Axes that jax maps over, which are asked for without importing it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.transforms.jit.test_xla import COLLECTIVE, same

jax = pytest.importorskip("jax")

import tracegrad as tg  # noqa: E402

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")

X = np.linspace(-1.0, 2.0, 6).reshape(2, 3)


@pytest.mark.parametrize("name", COLLECTIVE)
def test_collectives_over_an_axis_of_jax(name: str) -> None:
    f = COLLECTIVE[name]
    x = np.arange(8.0).reshape(4, 2) + 0.5
    with jax.enable_x64(True):
        same(jax.jit(jax.vmap(f, axis_name="i"))(x), tg.vmap(f, axis_name="i")(x))


def test_an_axis_that_nobody_maps_over_is_an_error() -> None:
    with pytest.raises(NameError, match=r"psum at .*test_jax_arrays.py.*no axis named 'j' is being mapped over"):
        jax.vmap(lambda x: tg.lax.psum(x, "j"), axis_name="i")(X)
    with pytest.raises(NameError, match=r"no axis named 'j' is being mapped over"):
        tg.jit(lambda x: tg.lax.psum(x, "j"), backend="xla")(X)


def test_a_jax_that_another_thread_is_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has nothing yet: neither arrays nor axes."""
    monkeypatch.setitem(sys.modules, "jax", ModuleType("jax"))

    def f(x: Any) -> Any:
        return np.sum(np.sin(x))

    cos = np.cos(X)
    np.testing.assert_array_equal(tg.grad(f)(X), cos)
    np.testing.assert_array_equal(tg.grad(lambda x, s: f(x) * s)(X, 1.0), cos)
    np.testing.assert_array_equal(tg.jit(tg.grad(f))(X), cos)
    np.testing.assert_array_equal(tg.vjp(f, X)[1](1.0)[0], cos)
    np.testing.assert_array_equal(tg.vmap(tg.grad(f))(X), cos)
    np.testing.assert_array_equal(tg.linearize(np.sin, X)[1](np.ones_like(X)), cos)
    np.testing.assert_array_equal(tg.grad(tg.checkpoint(f))(X), cos)
    np.testing.assert_array_equal(tg.grad(lambda x: tg.lax.cond(True, f, np.max, x))(X), cos)
    np.testing.assert_array_equal(tg.vmap(lambda x: tg.lax.psum(x, "i"), axis_name="i")(X), [X.sum(0)] * 2)
    assert tg.tree.tree_map(np.shape, {"a": X, "b": [1.0]}) == {"a": (2, 3), "b": [()]}
    with pytest.raises(NameError, match="no axis named 'j' is being mapped over"):
        tg.lax.psum(X, "j")
