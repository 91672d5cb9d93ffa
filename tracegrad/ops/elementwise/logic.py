"""Comparisons, logic, and integers by their bits: locally constant, all of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.samples import binary_samples, integer_samples, unary_samples
from tracegrad.ops.families import elementwise


def constant(
    ufunc: np.ufunc, kinds: str, samples: Callable[[], Iterable[Sample]], python: Callable[..., Any] | None = None
) -> Op:
    """Declare a ufunc without a derivative."""
    return elementwise(ufunc.__name__, ufunc, kinds=kinds, samples=samples, python=python)


equal = constant(np.equal, "biufc", binary_samples(-2, 2), operator.eq)
not_equal = constant(np.not_equal, "biufc", binary_samples(-2, 2), operator.ne)
less = constant(np.less, "biufc", binary_samples(-2, 2), operator.lt)
less_equal = constant(np.less_equal, "biufc", binary_samples(-2, 2), operator.le)
greater = constant(np.greater, "biufc", binary_samples(-2, 2), operator.gt)
greater_equal = constant(np.greater_equal, "biufc", binary_samples(-2, 2), operator.ge)
logical_and, logical_or, logical_xor = [
    constant(f, "biufc", binary_samples(-2, 2)) for f in (np.logical_and, np.logical_or, np.logical_xor)
]
logical_not = constant(np.logical_not, "biufc", unary_samples(-2, 2))
bitwise_and = constant(np.bitwise_and, "biu", integer_samples(2), operator.and_)
bitwise_or = constant(np.bitwise_or, "biu", integer_samples(2), operator.or_)
bitwise_xor = constant(np.bitwise_xor, "biu", integer_samples(2), operator.xor)
left_shift = constant(np.left_shift, "iu", integer_samples(2), operator.lshift)
right_shift = constant(np.right_shift, "iu", integer_samples(2), operator.rshift)
gcd, lcm = [constant(f, "iu", integer_samples(2)) for f in (np.gcd, np.lcm)]


def _invert_number(x: Any) -> Any:
    """Of a Python bool, too, it turns all bits of an int: ~True is -2."""
    return ~(x + 0)


invert = constant(np.invert, "biu", integer_samples(1), _invert_number)
bitwise_count = constant(np.bitwise_count, "iu", integer_samples(1))
