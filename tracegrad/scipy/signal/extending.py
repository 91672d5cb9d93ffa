"""Signals cut into segments and continued beyond their ends, along the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.ops.index import take


def moved_last(x: Any, axis: int) -> Any:
    """With this axis behind all others; numbers as vectors."""
    x = np.atleast_1d(x)
    return x if axis in (-1, len(x.shape) - 1) else np.moveaxis(x, axis, -1)


def extended(x: Any, n: int, how: str) -> Any:
    """With n elements more at both ends of the last axis: "even" mirrored at the ends, "odd" turned round them too, "constant", or
    "zeros"."""
    if n < 1:
        return x
    if how == "zeros":
        zeros = np.zeros((*x.shape[:-1], n), x.dtype)
        return np.concatenate([zeros, x, zeros], -1)
    if how == "constant":
        ends = [np.broadcast_to(end, (*x.shape[:-1], n)) for end in (x[..., :1], x[..., -1:])]
        return np.concatenate([ends[0], x, ends[1]], -1)
    length = x.shape[-1]
    if n > length - 1:
        raise ValueError(
            f"the extension by {n}{at(user_source())} is too long: it must not exceed the length along the axis less one, {length - 1}"
        )
    left, right = np.flip(x[..., 1 : n + 1], -1), np.flip(x[..., length - n - 1 : length - 1], -1)
    if how == "odd":
        left, right = 2 * x[..., :1] - left, 2 * x[..., -1:] - right
    return np.concatenate([left, x, right], -1)


def segments(x: Any, size: int, step: int) -> Any:
    """(..., n) as (..., segments, size), each beginning `step` after the one before it."""
    starts = np.arange(0, x.shape[-1] - size + 1, step)
    return take(x, starts[:, None] + np.arange(size), -1)
