"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, Shape, number_kind
from tracegrad.xla.values import cast


@lowers("conv_general_dilated")
def _conv(out: ArrayType, x: Any, w: Any, **geometry: Any) -> Any:
    """Groups are told apart by the features, which XLA takes to be one axis."""
    # Of bools, whether a product is not zero.
    dtype = np.dtype(np.float32) if number_kind(out.dtype) == "b" else out.dtype
    x, w = cast(x, dtype), cast(w, dtype)
    if 0 in (*x.shape, *w.shape):  # XLA refuses windows of no elements
        return lax.full(out.shape, 0, dtype)
    groups, last = x.shape[0], len(x.shape) - 2
    x, w = [_joined(v, (*range(1, last + 1), 0, last + 1)) for v in (x, w)]
    images = (0, last, *range(1, last))
    numbers = lax.ConvDimensionNumbers(images, (last, last - 1, *range(last - 1)), images)
    geometry["window_strides"] = geometry.pop("strides")
    y = lax.conv_general_dilated(x, w, **geometry, dimension_numbers=numbers, feature_group_count=groups)
    if groups == 1:
        return lax.reshape(y, out.shape)
    apart = lax.reshape(y, (*y.shape[:-1], groups, out.shape[-1]))
    return lax.transpose(apart, (last, *range(last), last + 1))


def _joined(x: Any, order: Shape) -> Any:
    """(group, ..., features) as (..., group * features)."""
    groups, *rest, features = x.shape
    if groups > 1:
        x = lax.transpose(x, order)
    return lax.reshape(x, (*rest, groups * features))
