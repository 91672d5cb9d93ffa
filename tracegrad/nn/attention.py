"""Attention and the encodings of positions that go with it, as functions of arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.nn.activations import softmax
from tracegrad.numpy import arange
from tracegrad.ops.elementwise.casting import widened
from tracegrad.typing import Array, ArrayLike


def dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: ArrayLike | None = None,
    key_value_seq_lengths: ArrayLike | None = None,
    local_window_size: int | tuple[int, int] | None = None,
) -> Array:
    """softmax(query @ key^T * scale + bias) @ value, for each head. Names and arguments are those of
    jax.nn.dot_product_attention.

    Args:
        query: [..., T, N, H]: T places, N heads of size H.
        key: [..., S, K, H]. K divides N: each head of keys and values serves N / K heads of queries, one after the other.
        value: [..., S, K, H].
        bias: added to the logits; it broadcasts against [..., N, T, S].
        mask: where to look, booleans that broadcast against [..., N, T, S].
        scale: of the logits, 1 / sqrt(H) by default.
        is_causal: whether a place sees itself and those before it alone.
        query_seq_lengths: how many places of each query count, integers [...].
        key_value_seq_lengths: how many places of each key, integers [...].
        local_window_size: how many places before and after its own a place sees: one number, or one for each side.

    Returns:
        [..., T, N, H], in the dtype of `query`. The weights are computed in float32 at least. A place that sees nothing gets
        zeros (jax gives the mean of the values there).

    Raises:
        ShapeError: shapes that do not fit together.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017; Ainslie et al. 2023 for K < N; Beltagy et al. 2020 for
    windows.

    >>> q = k = v = np.arange(8.0).reshape(4, 1, 2)
    >>> dot_product_attention(q, k, v, is_causal=True)[0].tolist()
    [[0.0, 1.0]]
    """
    query, key, value = as_array(query), as_array(key), as_array(value)
    if key.shape != value.shape:
        raise ShapeError(
            f"dot_product_attention{at(user_source())} takes keys and values of one shape, got {key.shape} and {value.shape}"
        )
    seen = (
        _seen(
            query.shape[-3], key.shape[-3], mask, is_causal, query_seq_lengths, key_value_seq_lengths, local_window_size
        )
        if query.ndim > 2 and key.ndim > 2
        else None
    )
    weights = attention_weights(query, key, bias, seen, scale)
    return weighted(weights, value).astype(query.dtype)


def attention_weights(query: Any, key: Any, bias: Any, seen: Any, scale: float | None) -> Any:
    """How much each place takes of each, [..., N, T, S], in float32 at least."""
    *batch, T, N, H = query.shape if query.ndim > 2 else (0, 0, 0)
    *others, S, K, size = key.shape if key.ndim > 2 else (0, 0, 0)
    if not K or batch != others or size != H or N % K:
        raise ShapeError(
            f"dot_product_attention{at(user_source())} takes query [..., T, N, H], key and value [..., S, K, H] with a K that "
            f"divides N, got query {query.shape} and key {key.shape}"
        )
    query, key = widened(query), widened(key)
    scaled = query * np.asarray(1 / math.sqrt(H) if scale is None else scale, query.dtype)
    # Heads that share keys stand beside each other: [..., K, N / K, T, H] @ [..., K, 1, H, S].
    grouped = np.moveaxis(np.reshape(scaled, (*batch, T, K, N // K, H)), -4, -2)
    logits = np.reshape(grouped @ np.expand_dims(np.moveaxis(key, -3, -1), -3), (*batch, N, T, S))
    if bias is not None:
        logits = logits + as_array(bias).astype(logits.dtype)
    if seen is None:
        return softmax(logits, -1)
    # Far below all others, and finite, so that a row of nothing else has no NaN.
    weights = softmax(np.where(seen, logits, np.asarray(-0.7 * float(np.finfo(logits.dtype).max), logits.dtype)), -1)
    return np.where(seen, weights, np.zeros((), weights.dtype))


def weighted(weights: Any, value: Any) -> Any:
    """Values [..., S, K, H] by weights [..., N, T, S]: [..., T, N, H]."""
    *batch, N, T, S = weights.shape
    K, H = value.shape[-2:]
    grouped = np.reshape(weights, (*batch, K, N // K, T, S))
    out = grouped @ np.expand_dims(np.moveaxis(widened(value), -3, -2), -3)
    return np.reshape(np.moveaxis(out, -2, -4), (*batch, T, N, H))


def _seen(T: int, S: int, mask: Any, is_causal: bool, query_lengths: Any, key_lengths: Any, window: Any) -> Any:
    """Which places see which, as one mask against [..., N, T, S]; None where all see all."""
    masks = [] if mask is None else [as_array(mask)]
    rows, columns = arange(T)[:, None], arange(S)
    if is_causal:
        masks.append(columns <= rows)
    if window is not None:
        before, after = window if isinstance(window, tuple) else (window, window)
        masks.append((columns >= rows - before) & (columns <= rows + after))
    if query_lengths is not None:
        masks.append(rows < as_array(query_lengths)[..., None, None, None])
    if key_lengths is not None:
        masks.append(columns < as_array(key_lengths)[..., None, None, None])
    seen = None
    for each in masks:
        seen = each if seen is None else np.logical_and(seen, each)
    return seen


def rotary(x: ArrayLike, positions: ArrayLike, base: float = 10000.0) -> Array:
    """Each pair (x[i], x[i + H/2]) turned by the angle position * base^(-2i/H), so that products of queries and keys depend on how
    far apart they are.

    Args:
        x: [..., T, N, H], H even.
        positions: [..., T] or [T].
        base: the wavelengths go from 2 pi to 2 pi base.

    Returns:
        An array like x, computed in float32 at least.

    Source: Su et al., "RoFormer", 2021, arXiv:2104.09864, with the pairs half of H apart, as in Llama's and NeoX's weights.

    >>> rotary(np.ones((1, 1, 2)), [0.0]).tolist()
    [[[1.0, 1.0]]]
    """
    x = as_array(x)
    size = x.shape[-1]
    if x.ndim < 3 or size % 2:
        raise ShapeError(f"rotary{at(user_source())} takes [..., T, N, H] with an even H, got {x.shape}")
    dtype = x.dtype
    wide = np.result_type(dtype, np.float32)
    frequencies = np.asarray(base ** (-np.arange(0, size, 2) / size), wide)
    angles = as_array(positions).astype(wide)[..., None, None] * frequencies
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = np.split(x.astype(wide), 2, -1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(dtype)


def sinusoidal(length: int, features: int, base: float = 10000.0) -> Array:
    """The encoding of positions by sines and cosines: sin(position base^(-2i/features)) in the even columns, cos in the odd ones.

    Args:
        length: how many positions.
        features: how many columns, even.

    Returns:
        float32 [length, features].

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.5.

    >>> sinusoidal(2, 4).round(3).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.8410000205039978, 0.5400000214576721, 0.009999999776482582, 1.0]]
    """
    if features % 2:
        raise ShapeError(f"sinusoidal{at(user_source())} takes an even number of features, got {features}")
    angles = np.arange(length)[:, None] * base ** (-np.arange(0, features, 2) / features)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(length, features).astype(np.float32)
