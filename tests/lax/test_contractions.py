"""Products over axes, against jax.lax."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.lax.test_lax import leaves
from tracegrad import lax

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)


@pytest.mark.parametrize("seed", range(24))
def test_dot_general_of_drawn_axes(seed: int) -> None:
    """Any axes in any order, against an einsum that names them."""
    generator = np.random.default_rng(seed)
    batch, summed, left, right = [int(n) for n in generator.integers(0, 3, 4)]
    letters = iter("abcdefgh")
    names = [[next(letters) for _ in range(n)] for n in (batch, summed, left, right)]
    sizes = {c: int(generator.integers(1, 4)) for part in names for c in part}
    x_axes = generator.permutation([*names[0], *names[1], *names[2]]).tolist()
    y_axes = generator.permutation([*names[0], *names[1], *names[3]]).tolist()
    places = lambda axes, part: tuple([axes.index(c) for c in part])
    numbers = (
        (places(x_axes, names[1]), places(y_axes, names[1])),
        (places(x_axes, names[0]), places(y_axes, names[0])),
    )
    output = [*names[0], *[c for c in x_axes if c in names[2]], *[c for c in y_axes if c in names[3]]]
    subscripts = f"{''.join(x_axes)},{''.join(y_axes)}->{''.join(output)}"
    x, y = [generator.normal(size=[sizes[c] for c in axes]) for axes in (x_axes, y_axes)]
    ours, named = lambda x, y: lax.dot_general(x, y, numbers), lambda x, y: np.einsum(subscripts, x, y)
    same(ours(x, y), np.asarray(named(x, y)), 1e-13)
    gradient = lambda f: tg.jvp(
        tg.grad(lambda x, y: np.sum(np.sin(f(x, y))), (0, 1)), (x, y), (y.sum() * x, x.sum() * y)
    )
    same(leaves(gradient(ours)), leaves(gradient(named)), 1e-11)
    xs, ys = np.stack([x, -2 * x]), np.stack([y, y * y])
    same(tg.vmap(ours)(xs, ys), np.stack([named(*pair) for pair in zip(xs, ys, strict=True)]), 1e-13)


def test_derivatives_of_products_run_on_blas() -> None:
    """No einsum: a transpose, a reshape, a matrix product."""
    x, y = rng.normal(size=(5, 6, 7)), rng.normal(size=(7, 5, 8))
    numbers = (((2,), (0,)), ((0,), (1,)))
    graph = tg.make_graph(tg.grad(lambda x, y: np.sum(lax.dot_general(x, y, numbers) ** 2), (0, 1)))(x, y)
    names = {e.op.name for e in graph.eqns}
    assert "matmul" in names and "einsum" not in names
    same(lax.dot_general(x, y, numbers), np.einsum("bik,kbj->bij", x, y), 1e-13)
