"""Comparisons, logic, and integers by their bits: locally constant, all of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.samples import binary_samples, integer_samples, unary_samples
from tracegrad.ops.families import elementwise


def _constant(
    ufunc: np.ufunc, kinds: str, samples: Callable[[], Iterable[Sample]], python: Callable[..., Any] | None = None
) -> Op:
    return elementwise(ufunc.__name__, ufunc, kinds=kinds, samples=samples, python=python)


equal = _constant(np.equal, "biufc", binary_samples(-2, 2), operator.eq)
not_equal = _constant(np.not_equal, "biufc", binary_samples(-2, 2), operator.ne)
less = _constant(np.less, "biufc", binary_samples(-2, 2), operator.lt)
less_equal = _constant(np.less_equal, "biufc", binary_samples(-2, 2), operator.le)
greater = _constant(np.greater, "biufc", binary_samples(-2, 2), operator.gt)
greater_equal = _constant(np.greater_equal, "biufc", binary_samples(-2, 2), operator.ge)
logical_and, logical_or, logical_xor = [
    _constant(f, "biufc", binary_samples(-2, 2)) for f in (np.logical_and, np.logical_or, np.logical_xor)
]
logical_not = _constant(np.logical_not, "biufc", unary_samples(-2, 2))
bitwise_and = _constant(np.bitwise_and, "biu", integer_samples(2), operator.and_)
bitwise_or = _constant(np.bitwise_or, "biu", integer_samples(2), operator.or_)
bitwise_xor = _constant(np.bitwise_xor, "biu", integer_samples(2), operator.xor)
left_shift = _constant(np.left_shift, "iu", integer_samples(2), operator.lshift)
right_shift = _constant(np.right_shift, "iu", integer_samples(2), operator.rshift)
gcd, lcm = [_constant(f, "iu", integer_samples(2)) for f in (np.gcd, np.lcm)]


def _invert_number(x: Any) -> Any:
    """Of a Python bool, too, it turns all bits of an int: ~True is -2."""
    return ~(x + 0)


invert = _constant(np.invert, "biu", integer_samples(1), _invert_number)
bitwise_count = _constant(np.bitwise_count, "iu", integer_samples(1))
