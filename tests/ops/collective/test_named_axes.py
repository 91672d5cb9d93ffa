"""An example's index, and that an axis must be there."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
import tracegrad.numpy as tnp
import tracegrad.ops.collective as lax
from tests.compare import near
from tests.ops.collective.test_collective import N, W, X


def test_the_index_needs_no_argument() -> None:
    near(tg.vmap(lambda: lax.axis_index("i"), axis_name="i", axis_size=3)(), [0, 1, 2])
    near(tg.vmap(lambda x: lax.axis_index("i"), None, axis_name="i", axis_size=3)(1.0), [0, 1, 2])
    got = tg.vmap(lambda x: tnp.take(W, lax.axis_index("i"), 0) + x, axis_name="i")(np.zeros(N))
    near(got, W)
    near(tg.vmap(lambda x: lax.axis_index("i"), axis_name="i", batch_size=3)(X), np.arange(N))
