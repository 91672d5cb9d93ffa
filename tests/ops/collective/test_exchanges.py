"""What examples give each other."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
import tracegrad.ops.collective as lax
from tests.compare import near
from tests.ops.collective.test_collective import N, W, X


def test_a_permutation_that_leaves_some_out_gives_them_zeros() -> None:
    for perm in ([(0, 1), (1, 2)], [(3, 0)], []):
        expected = np.zeros_like(X)
        for sender, receiver in perm:
            expected[receiver] = X[sender]
        near(tg.vmap(lambda x: lax.ppermute(x, "i", perm), axis_name="i")(X), expected)
        shared = tg.vmap(lambda x: lax.ppermute(W[0], "i", perm), axis_name="i")(X)
        received = [receiver for _, receiver in perm]
        near(shared, [W[0] if i in received else 0 * W[0] for i in range(N)])


def test_linear_transpose_inside() -> None:
    for f, transposed in (
        (lambda x: lax.psum(x, "i"), lambda c: np.broadcast_to(c.sum(axis=0), c.shape)),
        (lambda x: lax.ppermute(x, "i", [(0, 1)]), lambda c: np.stack([c[1], *[0 * c[0]] * 3])),
        (lambda x: lax.all_to_all(x, "i", 0, 0), lambda c: c.T),
    ):
        got = tg.vmap(lambda x, c: tg.linear_transpose(f, x)(c)[0], axis_name="i")(X, W)
        near(got, transposed(W))
