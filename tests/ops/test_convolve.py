"""np.convolve and np.correlate."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.ops.reduce import agrees, traced
from tracegrad.core.errors import ShapeError

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("n, m", [(5, 3), (3, 5), (4, 4), (6, 1), (1, 4), (6, 4), (4, 6), (7, 2), (2, 7)])
def test_convolve_and_correlate(mode: str, n: int, m: int) -> None:
    a, v = rng.uniform(-1, 1, n), rng.uniform(-1, 1, m)
    agrees(lambda xp, a, v: xp.convolve(a, v, mode), a, v)
    f = lambda a, v: np.correlate(a, v, mode)
    same(traced(f, a, v), f(a, v), 1e-13)
    z = v * (1 + 0.5j)
    same(traced(f, a, z), f(a, z), 1e-13)
    if n >= m or mode != "same":
        agrees(lambda xp, a, v: xp.correlate(a, v, mode), a, v)


def test_convolve_under_vmap_and_its_errors() -> None:
    a, v = rng.uniform(-1, 1, (3, 6)), rng.uniform(-1, 1, (3, 4))
    for f in (np.convolve, lambda a, v: np.correlate(a, v, "same")):
        np.testing.assert_allclose(tg.vmap(f)(a, v), np.stack([f(*p) for p in zip(a, v, strict=True)]))
        np.testing.assert_allclose(tg.vmap(f, (0, None))(a, v[0]), np.stack([f(p, v[0]) for p in a]))
        both = tg.vmap(tg.vmap(f, (None, 0)), (0, None))(a, v)
        np.testing.assert_allclose(both[1, 2], f(a[1], v[2]))
    with pytest.raises(ShapeError, match="vectors"):
        tg.grad(lambda a: np.sum(np.convolve(a, v[0])))(a)
    with pytest.raises(ValueError, match="mode"):
        tg.grad(lambda a: np.sum(np.convolve(a, v[0], "all")))(a[0])
