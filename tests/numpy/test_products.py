"""Products under NumPy's names."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.ops.contract.test_contract import array
from tracegrad.core.errors import ShapeError
from tracegrad.numpy import products
from tracegrad.ops import contract

jax.config.update("jax_enable_x64", True)


def test_functions_of_plain_arrays_are_numpys() -> None:
    a, b = array(2, 3), array(3, 2)
    assert type(contract.matmul(a, b)) is np.ndarray
    out = np.empty((2, 2))
    assert products.dot(a, b, out=out) is out
    assert contract.einsum("ij,jk", a, b, order="F").flags.f_contiguous
    assert products.vecdot(a, a, axis=0).shape == (3,)


@pytest.mark.parametrize("name, axes", [("vecdot", (-1, -1)), ("matvec", (-1, -1)), ("vecmat", (-1, -2))])
def test_axes_that_are_summed_over_are_of_one_length(name: str, axes: tuple[int, int]) -> None:
    """One of a single element is not repeated, in NumPy neither."""
    function = getattr(np, name, None)
    if function is None:
        pytest.skip("NumPy has no such function")
    one, other = np.ones((3, 3)), np.ones((3, 3))
    for a, b in ((one[:, :1] if axes[0] == -1 else one, other), (one, other[:1] if axes[1] == -2 else other[:, :1])):
        if a.shape[axes[0]] == b.shape[axes[1]]:
            continue
        with pytest.raises(ValueError, match="mismatch"):
            function(a, b)
        with pytest.raises(
            ShapeError, match=f"{name}: axis -1 of f64.* and axis {axes[1]} of f64.*must be of one length"
        ):
            tg.vjp(function, a, b)
        with pytest.raises(ShapeError, match="must be of one length"):
            tg.make_graph(function)(a, b)


def test_einsum_path() -> None:
    a, b = array(2, 3), array(3, 4)
    found = []
    tg.eval_shape(lambda a: found.append(np.einsum_path("ij,jk", a, b)[0]) or a, a)
    assert found == [np.einsum_path("ij,jk", a, b)[0]]


def test_multi_dot_takes_the_cheapest_order() -> None:
    a, b, c = array(10, 100), array(100, 5), array(5, 50)
    graph = tg.make_graph(lambda a, b, c: np.linalg.multi_dot([a, b, c]))(a, b, c)
    assert [v.type.shape for e in graph.eqns for v in e.outputs] == [(10, 5), (10, 50)]
    graph = tg.make_graph(lambda a, b, c: np.linalg.multi_dot([a, b, c]))(b.T, a.T, array(10, 2))
    assert [v.type.shape for e in graph.eqns for v in e.outputs] == [(100, 2), (5, 2)]


def test_cross_of_vectors_in_the_plane() -> None:
    """Which NumPy refuses from 2.5 on."""
    a, b, c = array(4, 2), array(4, 2, seed=1), array(4, 3)
    in_space = lambda x: np.concatenate([x, np.zeros((4, 3 - x.shape[1]))], axis=1)
    for x, y in ((a, b), (a, c), (c, b)):
        product = np.cross(in_space(x), in_space(y))
        expected = product[:, 2] if x.shape == y.shape else product
        np.testing.assert_allclose(tg.vjp(np.cross, x, y)[0], expected)
