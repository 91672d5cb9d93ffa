"""Attention with its projections, against flax's."""

from __future__ import annotations

from typing import Any

import flax.linen as linen
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.nn.parity import agree_with_flax
from tracegrad import nn
from tracegrad.core.errors import ShapeError

rng = np.random.default_rng(0)
X, CONTEXT = rng.normal(size=(2, 5, 8)), rng.normal(size=(2, 7, 6))


@pytest.mark.parametrize(
    "options, theirs",
    [
        ({}, {}),
        (
            {"use_bias": False, "qkv_features": 12, "out_features": 5},
            {"use_bias": False, "qkv_features": 12, "out_features": 5},
        ),
        ({"normalize_qk": True}, {"normalize_qk": True}),
    ],
)
def test_attention_is_that_of_flax(options: Any, theirs: Any) -> None:
    heads = 4 if options.get("qkv_features") else 2
    agree_with_flax(
        nn.MultiHeadAttention(heads, **options), lambda **o: linen.MultiHeadDotProductAttention(heads, **theirs, **o), X
    )


def test_attention_to_a_context_with_a_mask() -> None:
    mask = rng.random((2, 1, 5, 7)) < 0.7
    mask[..., 0] = True

    class Theirs(linen.Module):
        param_dtype: Any

        @linen.compact
        def __call__(self, x: Any, context: Any) -> Any:
            return linen.MultiHeadDotProductAttention(2, param_dtype=self.param_dtype)(x, context, mask=mask)

    ours = nn.layer(
        lambda p, x, context: p(nn.MultiHeadAttention(2), x, context, mask, name="MultiHeadDotProductAttention_0")
    )
    agree_with_flax(ours, Theirs, X, CONTEXT, batched=False)


def test_causal_attention_sees_nothing_later() -> None:
    net = nn.SelfAttention(2, causal=True, rotary=10000.0, num_kv_heads=1)
    params = net.init(0, X)
    assert params["key"]["kernel"].shape == (8, 1, 4) and params["query"]["kernel"].shape == (8, 2, 4)
    whole = net(params, X)
    near(net(params, X[:, :3]), whole[:, :3], 1e-5)
    gradient = tg.grad(lambda x: np.sum(net(params, x)[:, 1]))(X)
    assert gradient[:, :2].any() and not gradient[:, 2:].any()


@pytest.mark.parametrize("options", [{}, {"rotary": 10000.0, "num_kv_heads": 2}])
def test_decoding_step_by_step_is_the_whole_at_once(options: Any) -> None:
    whole = nn.SelfAttention(4, causal=True, **options)
    steps = nn.SelfAttention(4, causal=True, decode=6, **options)
    params = whole.init(0, X)
    expected = whole(params, X)
    state = steps.init_state(X[:, :1])
    assert state["keys"].shape == (2, 6, options.get("num_kv_heads", 4), 2)
    call = tg.jit(steps.apply)
    first, state = call(params, X[:, :2], state=state)
    near(first, expected[:, :2], 1e-5)
    for i in range(2, 5):
        y, state = call(params, X[:, i : i + 1], state=state)
        near(y, expected[:, i : i + 1], 1e-5)
    assert state["index"] == 5


def test_weights_are_dropped_in_training_alone() -> None:
    net = nn.SelfAttention(2, dropout_rate=0.5)
    params = net.init(0, X)
    plain = nn.SelfAttention(2)(params, X)
    near(net(params, X), plain)
    dropped = net(params, X, key=tg.random.key(0), train=True)
    assert not np.allclose(dropped, plain)
    near(tg.jit(lambda x: net(params, x, key=tg.random.key(0), train=True), backend="xla")(X), dropped, 1e-5)
    with pytest.raises(
        ValueError, match=r"MultiHeadAttention\.Dropout_0 at .*: draws random numbers in training; pass key="
    ):
        net(params, X, train=True)


def test_errors() -> None:
    with pytest.raises(ShapeError, match="3 heads must divide 8 features"):
        nn.SelfAttention(3).init(0, X)
    with pytest.raises(ShapeError, match=r"takes \[\.\.\., places, features\], got \(3,\)"):
        nn.SelfAttention(1).init(0, (3,))
