"""Dropout against flax."""

from __future__ import annotations

import flax.linen as linen
import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near, same_bits
from tracegrad import nn, random

X = np.random.default_rng(0).normal(size=(64, 50)).astype(np.float32)
KEY = random.PRNGKey(3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_kept_entries(rate: float) -> None:
    y = nn.Dropout(rate)({}, X, key=KEY, train=True)
    kept = y != 0
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / X.size)
    near(y, np.where(kept, X / np.float32(1 - rate), 0), 1e-6)


def test_the_numbers_are_those_of_jax() -> None:
    """The mask of a key is jax.random.bernoulli's, as flax's is."""
    seen: list = []

    @nn.layer
    def with_key(p, x):  # type: ignore[no-untyped-def]
        child = p._child(nn.Dropout(0.3), "drop", None, (x,))
        seen.append(child.key())
        return x

    with_key({}, X, key=KEY, train=True)
    net = nn.layer(lambda p, x: p(nn.Dropout(0.3), x, name="drop"))
    with jax.enable_x64(False):
        expected = linen.Dropout(0.3, deterministic=False).apply({}, X, rng=jax.numpy.asarray(seen[0]))
    near(net({}, X, key=KEY, train=True), np.asarray(expected), 1e-6)


def test_both_backends_drop_the_same() -> None:
    net = nn.serial(nn.Dropout(0.5), nn.Dropout(0.2))
    eager = net({}, X, key=KEY, train=True)
    f = lambda x, key: net({}, x, key=key, train=True)
    same_bits(tg.jit(f)(X, KEY), eager)
    near(np.asarray(tg.jit(f, backend="xla")(X, KEY)), eager, 1e-6)
    assert not np.array_equal(eager, net({}, X, key=random.fold_in(KEY, 1), train=True))


def test_gradients() -> None:
    y = nn.Dropout(0.5)({}, X, key=KEY, train=True)
    gradient = tg.grad(lambda x: np.sum(nn.Dropout(0.5)({}, x, key=KEY, train=True)))(X)
    assert gradient.tolist() == np.where(y != 0, 2.0, 0.0).tolist()


def test_dropped_together() -> None:
    x = np.ones((5, 4, 4, 8))
    y = nn.Dropout(0.5, broadcast_dims=(1, 2))({}, x, key=KEY, train=True)
    assert (y == y[:, :1, :1]).all() and 0 < (y == 0).mean() < 1
    each = tg.vmap(lambda key, x: nn.Dropout(0.5)({}, x, key=key, train=True))(random.split(KEY, 5), x)
    near(each[2], nn.Dropout(0.5)({}, x[2], key=random.split(KEY, 5)[2], train=True))


def test_nothing_is_dropped_but_in_training() -> None:
    assert nn.Dropout(0.5)({}, X) is X
    assert nn.Dropout(0.0)({}, X, train=True) is X
    assert not nn.Dropout(1.0)({}, X, train=True).any()
    assert nn.Dropout(0.5)({}, X.astype(np.float16), key=KEY, train=True).dtype == np.float16
    assert nn.Dropout(0.5).init(0, X) == {}


def test_errors() -> None:
    net = nn.serial(nn.Dropout(0.5))
    with pytest.raises(
        ValueError,
        match=r"serial.Dropout_0.*: draws random numbers in training; pass key=, for example tg.random.fold_in\(key, step\)",
    ):
        net({}, X, train=True)
    with pytest.raises(ValueError, match="rate is the share of entries that is dropped, from 0 to 1, got 50"):
        nn.Dropout(50)
    assert repr(nn.Dropout(0.5, broadcast_dims=(1,))) == "Dropout(0.5, broadcast_dims=(1,))"
