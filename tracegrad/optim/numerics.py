"""Norms whose derivatives are finite at 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.boxes import accepting_jax
from tracegrad.optim.base import cast
from tracegrad.optim.tree import abs_squared, in_float32
from tracegrad.typing import Array, ArrayLike


@accepting_jax
def safe_norm(
    x: ArrayLike,
    min_norm: ArrayLike,
    ord: Any = None,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
) -> Array:
    """`np.linalg.norm(x, ord, axis, keepdims)`, but at least `min_norm`, with a derivative of 0 where that holds.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda x: safe_norm(x, 0.0))(np.zeros(2))
    array([0., 0.])
    """
    norm = np.linalg.norm(x, ord, axis, keepdims=True)
    small = norm <= min_norm
    safe = np.linalg.norm(np.where(small, np.ones_like(x), x), ord, axis, keepdims=keepdims)
    if not keepdims:
        small = np.squeeze(small, axis)
    return np.where(small, cast(min_norm, safe), safe)


@accepting_jax
def safe_root_mean_squares(x: ArrayLike, min_rms: ArrayLike) -> Array:
    """The root mean square of all elements, but at least `min_rms`, with a derivative of 0 where that holds.

    >>> float(safe_root_mean_squares(np.array([3.0, -3.0]), 1e-3)), float(safe_root_mean_squares(np.zeros(2), 1e-3))
    (3.0, 0.001)
    """
    small = np.sqrt(np.mean(abs_squared(in_float32(x)))) <= min_rms
    safe = in_float32(np.where(small, np.ones_like(x), x))
    found = cast(np.sqrt(np.mean(abs_squared(safe))), x)
    return np.where(small, cast(min_rms, found), found)
