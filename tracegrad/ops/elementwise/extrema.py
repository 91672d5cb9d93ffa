"""The larger and the smaller: half of the derivative to each of two equals, as in JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.op import Params, Sample
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.elementwise.samples import binary_samples
from tracegrad.ops.families import broadcast_shapes, elementwise, shape_of
from tracegrad.ops.masks import Mask, parted
from tracegrad.typing import Array, ArrayLike


def _half_of_equals(d: Any, x: Any, y: Any) -> Any:
    return np.where(np.equal(x, y), 0.5 * d, d)


def _taken(at_least: np.ufunc) -> Callable[..., Sequence[Mask]]:
    """Where a function depends on either input that picks the one of which this holds; on neither where one is NaN."""
    return lambda out, x, y: (Mask(lambda: at_least(x, y)), Mask(lambda: at_least(y, x)))


def _taken_ignoring_nan(better: np.ufunc) -> Callable[..., Sequence[Mask]]:
    """The same for fmax and fmin, where a NaN loses; of two equals, as in JAX, it is y that was chosen."""
    return lambda out, x, y: parted(lambda: np.logical_or(better(x, y), np.isnan(y)))


_HALVES = (lambda d, out, x, y: _half_of_equals(d, x, y), lambda d, out, x, y: _half_of_equals(d, x, y))
_WHOLE = (lambda d, out, x, y: d, lambda d, out, x, y: d)

maximum = elementwise(
    "maximum", np.maximum, *_HALVES, taken=_taken(np.greater_equal), kinds="biuf", samples=binary_samples(-2, 2),
)  # fmt: skip
minimum = elementwise(
    "minimum", np.minimum, *_HALVES, taken=_taken(np.less_equal), kinds="biuf", samples=binary_samples(-2, 2),
)  # fmt: skip
fmax = elementwise(
    "fmax", np.fmax, *_WHOLE, taken=_taken_ignoring_nan(np.greater), kinds="biuf", samples=binary_samples(-2, 2),
)  # fmt: skip
fmin = elementwise(
    "fmin", np.fmin, *_WHOLE, taken=_taken_ignoring_nan(np.less), kinds="biuf", samples=binary_samples(-2, 2),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Clamping, as jax.lax has it.


def _clamp_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    low, x, high = types
    dtype = np.maximum.resolve_dtypes((x.promotion, low.promotion, None))[-1]
    dtype = np.minimum.resolve_dtypes((dtype, high.promotion, None))[-1]
    return ArrayType(broadcast_shapes("clamp", types), dtype)


def _clamp_samples() -> Iterable[Sample]:
    x = np.array([[-1.5, 0.2, 1.3], [0.4, -0.7, 2.1]])
    yield Sample((np.array(-0.9), x, np.array(0.8)))
    yield Sample((np.array([-1.0, 0.1, 0.3]), x, x + 0.6))
    yield Sample((np.array([-1.0, 0.1, 2.3]), x, np.array(0.7)))  # limits that cross: the upper one rules


def _clamp(low: Any, x: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


clamp_op = elementwise(
    "clamp",
    _clamp,
    *[lambda d, out, low, x, high: d] * 3,
    taken=lambda out, low, x, high: (
        Mask(lambda: np.logical_and(np.greater(low, x), np.less(low, high))),
        Mask(lambda: np.logical_and(np.greater(x, low), np.less(x, high))),
        Mask(lambda: np.less(high, np.maximum(x, low))),
    ),
    infer=_clamp_type,
    kinds="biuf",
    samples=_clamp_samples,
)


def clamp(min: ArrayLike, x: ArrayLike, max: ArrayLike) -> Array:
    """`x` limited to the interval from `min` to `max`, each a scalar or of the shape of `x`. An element that equals a
    limit has derivative zero, and so has the limit there, as in JAX.

    >>> import numpy as np
    >>> clamp(0.0, np.array([-1.0, 0.5, 3.0]), 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    low, x, high = [as_array(v) for v in (min, x, max)]
    shape = shape_of(x)
    for name, limit in (("min", low), ("max", high)):
        if shape_of(limit) not in ((), shape):
            raise ShapeError(
                f"clamp: {name} must be a scalar or of the shape of x, got {type_of(limit)} for {type_of(x)}"
                f"{at(user_source())}; write np.broadcast_to({name}, x.shape)"
            )
    return bind(clamp_op, (low, x, high))
