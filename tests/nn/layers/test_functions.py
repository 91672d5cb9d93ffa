"""PReLU against flax, Lambda, LoRA."""

from __future__ import annotations

import flax.linen as linen
import flax.nnx as nnx
import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.nn.parity import agree_with_flax, drawn, safe_in_half_floats
from tracegrad import nn

X = np.random.default_rng(0).normal(size=(3, 5))


def test_prelu() -> None:
    agree_with_flax(nn.PReLU(), linen.PReLU, np.concatenate([X, np.zeros((1, 5))]))
    assert nn.PReLU(0.25).init(0, (2,)) == {"negative_slope": np.float32(0.25)}
    safe_in_half_floats(nn.PReLU(), X)


def test_lambda() -> None:
    net = nn.serial(nn.Lambda(np.tanh), nn.Lambda(lambda x: x * 2, "twice"), nn.Lambda(lambda x: x + 1))
    near(net({}, X), np.tanh(X) * 2 + 1)
    assert net.init(0, X) == {}
    assert repr(net) == "serial(tanh, twice, lambda)"
    with pytest.raises(TypeError, match=r"Lambda at .*: function is a function, got 3"):
        nn.Lambda(3)


def test_lora() -> None:
    net = nn.lora(nn.Dense(4), 2, alpha=6.0)
    x = X.astype(np.float32)
    params = net.init(0, x)
    assert tg.tree.tree_map(np.shape, params) == {"base": {"kernel": (5, 4), "bias": (4,)}, "a": (5, 2), "b": (2, 4)}
    near(net(params, x), nn.Dense(4)(params["base"], x))
    params = drawn(params)
    theirs = nnx.LoRA(5, 2, 4, rngs=nnx.Rngs(0))
    theirs.lora_a[...], theirs.lora_b[...] = jax.numpy.asarray(params["a"]), jax.numpy.asarray(params["b"])
    expected = nn.Dense(4)(params["base"], x) + 3 * np.asarray(theirs(x))
    for f in (net, tg.jit(net), tg.jit(net, backend="xla")):
        near(np.asarray(f(params, x)), expected, 1e-5)
    near(nn.lora(nn.Dense(4), 2)(params, x), nn.Dense(4)(params["base"], x) + np.asarray(theirs(x)), 1e-5)
    gradient = tg.grad(lambda change: np.sum(net({**params, **change}, x) ** 2))({"a": params["a"], "b": params["b"]})
    assert all(g.any() for g in gradient.values())
    assert repr(net) == "lora(Dense(4), 2, alpha=6.0)"
