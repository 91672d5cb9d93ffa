"""Matrix products of integers, and of what BLAS does not read."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
from tests.ops.contract.test_contract import array


def test_integers_take_no_derivative() -> None:
    counts = np.array([[1, 2], [3, 4]])
    g = tg.grad(lambda x: np.sum(counts @ x) + np.einsum("ij,j->", counts, x))(np.ones(2))
    np.testing.assert_array_equal(g, [8.0, 12.0])
    assert tg.eval_shape(lambda x: x @ x, counts).dtype == np.int64
    assert tg.eval_shape(lambda x: np.einsum("i->", x), np.ones(3, np.int8)).dtype == np.int8


def test_a_gradient_through_a_sum_reaches_blas() -> None:
    """The cotangent of a sum is a broadcast view, on which np.matmul falls back to a loop; ours copies it first."""
    x, w = array(40, 30), array(30, 20)
    gx, gw = tg.grad(lambda x, w: np.sum(x @ w), (0, 1))(x, w)
    np.testing.assert_allclose(gx, np.broadcast_to(w.sum(1), x.shape), rtol=1e-12)
    np.testing.assert_allclose(gw, np.broadcast_to(x.sum(0)[:, None], w.shape), rtol=1e-12)
