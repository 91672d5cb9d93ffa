"""Attention of arrays against jax.nn's, positions against their formulas."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import nn
from tracegrad.core.errors import ShapeError

rng = np.random.default_rng(0)
q = rng.normal(size=(2, 5, 4, 6))
k, v = rng.normal(size=(2, 2, 7, 2, 6))
mask = rng.random((2, 1, 5, 7)) < 0.7
bias = rng.normal(size=(1, 4, 5, 7))
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "mask and bias": {"mask": mask, "bias": bias},
    "causal": {"is_causal": True, "scale": 0.3},
    "window": {"local_window_size": (2, 1)},
    "one window": {"local_window_size": 2},
    "lengths": {"query_seq_lengths": np.array([5, 3], np.int32), "key_value_seq_lengths": np.array([7, 2], np.int32)},
}


@pytest.mark.parametrize("name", CASES)
def test_dot_product_attention_is_that_of_jax(name: str) -> None:
    options = CASES[name]
    # Rows beyond the length of a query, of which jax makes what it likes, count for nothing.
    rows = np.arange(5) < np.asarray(options.get("query_seq_lengths", [5, 5]))[:, None]

    def loss(f: Any, xp: Any) -> Any:
        return lambda q, k, v: xp.sum(xp.sin(f(q, k, v)) * rows[..., None, None])

    with jax.enable_x64(True):
        expected = jax.nn.dot_product_attention(q, k, v, **options)
        theirs = lambda q, k, v: jax.nn.dot_product_attention(q, k, v, **options)
        gradients = jax.grad(loss(theirs, jax.numpy), (0, 1, 2))(q, k, v)
    ours = lambda q, k, v: nn.dot_product_attention(q, k, v, **options)
    for call in (ours, tg.jit(ours), tg.jit(ours, backend="xla")):
        near(np.asarray(call(q, k, v)) * rows[..., None, None], np.asarray(expected) * rows[..., None, None], 1e-6)
    near(
        tg.grad(loss(ours, np), (0, 1, 2))(q, k, v), tuple(map(np.asarray, gradients)), 2e-6
    )  # jax takes softmax in float32
    near(nn.dot_product_attention(q[0], k[0], v[0]), nn.dot_product_attention(q, k, v)[0], 1e-12)
    near(tg.vmap(nn.dot_product_attention)(q, k, v), nn.dot_product_attention(q, k, v), 1e-12)


def test_weights_of_doubles_are_doubles() -> None:
    weights = np.exp(np.einsum("btnh,bsnh->bnts", q, np.repeat(k, 2, 2)) / np.sqrt(6))
    expected = np.einsum("bnts,bsnh->btnh", weights / weights.sum(-1, keepdims=True), np.repeat(v, 2, 2))
    near(nn.dot_product_attention(q, k, v), expected, 1e-12)


def test_a_place_that_sees_nothing_gets_zeros() -> None:
    nothing = np.zeros((1, 1, 5, 7), bool)
    assert not nn.dot_product_attention(q, k, v, mask=nothing).any()
    gradient = tg.grad(lambda q, k, v: np.sum(nn.dot_product_attention(q, k, v, mask=nothing)), (0, 1, 2))(q, k, v)
    assert not any(g.any() for g in gradient)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_floats_do_not_overflow(dtype: str) -> None:
    pytest.importorskip("ml_dtypes")
    large = (300 * np.ones((1, 3, 1, 64))).astype(np.dtype(dtype))
    for backend in ("numpy", "xla"):
        out = tg.jit(lambda x: nn.dot_product_attention(x, x, x), backend=backend)(large)
        assert out.dtype == large.dtype
        np.testing.assert_array_equal(np.asarray(out, float), 300)


def test_rotary_products_depend_on_distance_alone() -> None:
    a, b = rng.normal(size=(2, 1, 1, 8))
    dots = [nn.rotary(a, [i]).ravel() @ nn.rotary(b, [i + 3]).ravel() for i in (0, 5, 11)]
    near(np.array(dots), np.full(3, dots[0]), 1e-10)
    assert nn.rotary(a.astype(np.float32), [3]).dtype == np.float32
    near(
        nn.rotary(a, [2], base=100.0)[0, 0, 1],
        a[0, 0, 1] * np.cos(2 * 100**-0.25) - a[0, 0, 5] * np.sin(2 * 100**-0.25),
    )
    near(tg.jit(nn.rotary)(q, np.arange(5)), nn.rotary(q, np.arange(5)))


def test_sinusoidal() -> None:
    table = nn.sinusoidal(50, 16)
    assert table.dtype == np.float32
    for position in (0, 7, 49):
        for i in range(8):
            angle = position / 10000 ** (2 * i / 16)
            np.testing.assert_allclose(
                table[position, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], rtol=1e-5, atol=1e-7
            )


def test_errors() -> None:
    with pytest.raises(
        ShapeError, match=r"query \[\.\.\., T, N, H\].* got query \(2, 5, 4, 6\) and key \(2, 7, 3, 6\)"
    ):
        nn.dot_product_attention(q, np.ones((2, 7, 3, 6)), np.ones((2, 7, 3, 6)))
    with pytest.raises(ShapeError, match="keys and values of one shape"):
        nn.dot_product_attention(q, k, v[:, :3])
    with pytest.raises(ShapeError, match="with an even H"):
        nn.rotary(np.ones((1, 1, 3)), [0])
    with pytest.raises(ShapeError, match="an even number of features, got 3"):
        nn.sinusoidal(3, 3)
