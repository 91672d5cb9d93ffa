"""Dense against flax."""

from __future__ import annotations

import flax.linen
import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import nn


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_is_flax_dense(dtype: type, use_bias: bool) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(dtype)
    ours, theirs = nn.Dense(4, use_bias=use_bias), flax.linen.Dense(4, use_bias=use_bias, param_dtype=dtype)
    with jax.enable_x64(True):
        params = jax.tree.map(np.asarray, theirs.init(jax.random.PRNGKey(0), x))["params"]
        expected, pull = jax.vjp(lambda p: theirs.apply({"params": p}, x), params)
        gradient = pull(np.ones_like(expected))[0]
    types = tg.tree.tree_map(lambda t: (t.shape, t.dtype), ours.shapes(x, dtype=dtype))
    assert types == tg.tree.tree_map(lambda a: (a.shape, a.dtype), params)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    near(ours(params, x), expected, tolerance)
    near(tg.jit(ours, backend="xla")(params, x), expected, tolerance)
    for name, found in tg.grad(lambda p: np.sum(ours(p, x)))(params).items():
        near(found, gradient[name], tolerance)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("net", [nn.Dense(3), nn.SelfAttention(2)], ids=repr)
def test_halves_stay_halves(net: nn.Layer, dtype: str) -> None:
    pytest.importorskip("ml_dtypes")
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    params = net.init(0, x, dtype=np.dtype(dtype))
    expected = net(nn.cast(params, np.float64), x)
    for backend in ("numpy", "xla"):
        got = tg.jit(net, backend=backend)(params, x)
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_allclose(np.asarray(got, float), expected, atol=5e-2)
