"""What holds by convention alone, at kinks and singular points, and helpers of partial derivatives there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.op import Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.families import broadcast_shapes, elementwise, is_tracer


def _by_convention(x: Any, flag: Any) -> Any:
    return x if np.shape(x) == np.shape(flag) else np.where(flag, x, x)


by_convention_op = elementwise(
    "by_convention", _by_convention, lambda d, out, x, flag: d * np.where(flag, np.nan, 1).astype(d.dtype), None,
    infer=lambda types, params: ArrayType(broadcast_shapes("by_convention", types), types[0].dtype), linear=[{0}],
    samples=lambda: [Sample((np.array([0.5, -2.0]), np.array([False, False])))],
)  # fmt: skip


def by_convention(x: Any, flag: Any) -> Any:
    """`x`, of which the elements with the flag are what they are by convention alone and have no derivative: NaN. For a
    first derivative that is said to be zero at a kink, so that a second one does not take it for zero around that."""
    return bind(by_convention_op, (x, flag)) if is_tracer(x) else x


def share(x: Any, size: Any) -> Any:
    """x / size, and 0 of 0: the derivative of a length, of which that is the subgradient that favours no direction."""
    zero = np.equal(size, 0)
    return by_convention(x / np.where(zero, 1, size), zero)


def domain(x: Any, outside: Any) -> Any:
    """`x` with NaN where `outside` holds: the argument of a root or logarithm, which then does not warn."""
    return np.where(outside, x * math.nan, x)


def is_real(x: Any) -> bool:
    return number_kind(type_of(x).dtype) != "c"
