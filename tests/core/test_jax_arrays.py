"""Axes that jax maps over, which are asked for without importing it."""

from __future__ import annotations

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
