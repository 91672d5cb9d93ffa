"""Attention with its projections."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.arguments import Count, Positive, Share, whole
from tracegrad.core.errors import ShapeError
from tracegrad.lax import dynamic_update_slice
from tracegrad.nn import initializers
from tracegrad.nn.attention import attention_weights, weighted
from tracegrad.nn.attention import rotary as rotated
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.layers.dropout import Dropout
from tracegrad.nn.layers.norms import LayerNorm
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Init, Scope


@maker
def MultiHeadAttention(
    num_heads: Count,
    *,
    qkv_features: Count | None = None,
    out_features: Count | None = None,
    num_kv_heads: Count | None = None,
    dropout_rate: Share = 0.0,
    use_bias: bool = True,
    normalize_qk: bool = False,
    causal: bool = False,
    rotary: Positive | None = None,
    decode: Count | None = None,
    kernel_init: Init = initializers.lecun_normal(),
    bias_init: Init = initializers.zeros,
) -> Layer:
    """Attention of places to places, with projections to queries, keys and values and of what comes out.

    Called `(x, context=None, mask=None)`: x [..., T, d] asks, context [..., S, e] (x itself, if there is none) answers; mask is
    booleans that broadcast against [..., heads, T, S], True where to look. The result is [..., T, out_features].

    Args:
        num_heads: how many heads.
        qkv_features: of all heads together; as x has by default.
        out_features: of the result; as x has by default.
        num_kv_heads: how many heads keys and values have, each for several of the queries (Ainslie et al. 2023).
        dropout_rate: of the weights in training, drawn once for all examples and heads, as in flax.
        use_bias: whether the projections have biases.
        normalize_qk: whether queries and keys go through LayerNorm (Dehghani et al. 2023).
        causal: whether a place sees itself and those before it alone.
        rotary: 10000.0 for rotary positions (see `nn.rotary`).
        decode: of how many places to keep the keys and values from call to call, as state: each call's x are the next places.
        kernel_init: of the kernels, given as matrices: (d, heads * size), and (heads * size, out_features).
        bias_init: of the biases.

    Parameters: query, key, value: kernel (d, heads, size), bias (heads, size); out: kernel (heads, size, out_features), bias
    (out_features,). Names and shapes are flax's.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.MultiHeadAttention(2, causal=True)
    >>> params = net.init(0, (1, 5, 8))
    >>> params["query"]["kernel"].shape, net(params, np.ones((1, 5, 8))).shape
    ((8, 2, 4), (1, 5, 8))
    """

    whole(num_heads, "MultiHeadAttention", "num_heads", 1)

    @layer("MultiHeadAttention")
    def attention(p: Scope, x: Any, context: Any = None, mask: Any = None) -> Any:
        if x.ndim < 2:
            raise ShapeError(f"{p.place()}: takes [..., places, features], got {x.shape}")
        context = x if context is None else context
        features = x.shape[-1] if qkv_features is None else qkv_features
        shared = num_heads if num_kv_heads is None else num_kv_heads
        if features % num_heads or num_heads % shared:
            raise ShapeError(
                f"{p.place()}: {num_heads} heads must divide {features} features, and "
                f"{shared} heads of keys and values must divide {num_heads}"
            )
        size = features // num_heads
        query = p(_projection((num_heads, size), 1, use_bias, kernel_init, bias_init), x, name="query")
        key = p(_projection((shared, size), 1, use_bias, kernel_init, bias_init), context, name="key")
        value = p(_projection((shared, size), 1, use_bias, kernel_init, bias_init), context, name="value")
        if normalize_qk:
            query = p(LayerNorm(use_bias=False), query, name="query_ln")
            key = p(LayerNorm(use_bias=False), key, name="key_ln")
        start: Any = 0
        if decode is not None:
            start = p.state("index", initializers.zeros, (), np.int32)
        if rotary is not None:
            query = rotated(query, start + np.arange(query.shape[-3]), rotary)
            key = rotated(key, start + np.arange(key.shape[-3]), rotary)
        if decode is not None:
            key, value = _remembered(p, "keys", key, start, decode), _remembered(p, "values", value, start, decode)
            p.update("index", start + x.shape[-2])
            places = np.arange(decode) <= start + np.arange(x.shape[-2])[:, None]
            mask = places if mask is None else np.logical_and(mask, places)
        seen = mask
        if causal and decode is None:
            places = np.arange(key.shape[-3]) <= np.arange(query.shape[-3])[:, None]
            seen = places if mask is None else np.logical_and(mask, places)
        weights = attention_weights(query, key, None, seen, None)
        if dropout_rate and p.train:
            weights = p(Dropout(dropout_rate, broadcast_dims=tuple(range(weights.ndim - 2))), weights)
        out = weighted(weights, value).astype(query.dtype)
        width = x.shape[-1] if out_features is None else out_features
        return p(_projection((width,), 2, use_bias, kernel_init, bias_init), out, name="out")

    return attention


@maker
def SelfAttention(num_heads: Count, **options: Any) -> Layer:
    """`MultiHeadAttention` of places to themselves. Arguments are the same.

    >>> from tracegrad import nn
    >>> sorted(nn.SelfAttention(2).init(0, (1, 5, 8)))
    ['key', 'out', 'query', 'value']
    """
    return MultiHeadAttention(num_heads, **options)


@maker
def _projection(features: tuple[int, ...], count: int, use_bias: bool, kernel_init: Init, bias_init: Init) -> Layer:
    """A product over the last `count` axes, to some of these sizes. The kernel is drawn as the matrix that it is."""

    @layer("Projection")
    def projection(p: Scope, x: Any) -> Any:
        inner, matrix = x.shape[x.ndim - count :], (math.prod(x.shape[x.ndim - count :]), math.prod(features))

        def init(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
            return np.reshape(kernel_init(key, matrix, dtype), shape)

        kernel = p.param("kernel", init, (*inner, *features))
        rows = np.reshape(p.cast(x, kernel.dtype), (*x.shape[: x.ndim - count], matrix[0]))
        y = np.reshape(p.cast(rows @ np.reshape(kernel, matrix), kernel.dtype), (*x.shape[: x.ndim - count], *features))
        return y + p.param("bias", bias_init, features) if use_bias else y

    return projection


def _remembered(p: Scope, name: str, new: Any, start: Any, length: int) -> Any:
    """All keys or values so far, with the new ones at their places, and zeros at those to come."""
    shape = (*new.shape[:-3], length, *new.shape[-2:])
    kept = p.state(name, initializers.zeros, shape, new.dtype)
    kept = dynamic_update_slice(kept, new, (*(0,) * (new.ndim - 3), start, 0, 0))
    p.update(name, kept)
    return kept
