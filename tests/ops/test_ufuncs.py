"""Methods of ufuncs."""

from __future__ import annotations

import jax
import numpy as np

from tests.compare import same
from tests.ops.test_reduce import traced

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))


def test_ufunc_methods_and_tracer_methods() -> None:
    for f in (
        lambda x: np.add.reduce(x, 0),
        lambda x: np.add.reduce(x),
        lambda x: np.maximum.reduce(x, axis=None),
        lambda x: np.minimum.reduce(x, axis=(0, 1), keepdims=True),
        lambda x: np.multiply.reduce(x, -1, initial=2.0),
        lambda x: np.multiply.accumulate(x),
        lambda x: np.add.accumulate(x, 1),
        lambda x: np.logical_or.reduce(x > 1, 1),
        lambda x: np.logical_and.reduce(x > -1),
        lambda x: x.sum(axis=1),
        lambda x: x.sum((0, 2), keepdims=True),
        lambda x: x.mean(),
        lambda x: x.std(ddof=1),
        lambda x: x.var(0, ddof=1),
        lambda x: x.prod(-1),
        lambda x: x.max(0),
        lambda x: x.min(axis=1, keepdims=True),
        lambda x: x.cumsum(0),
        lambda x: x.cumprod(),
        lambda x: x.argmax(),
        lambda x: x.argmin(2),
        lambda x: (x > -9).all(),
        lambda x: (x > 9).any(axis=0),
    ):
        same(traced(f, X), f(X), 1e-13)
