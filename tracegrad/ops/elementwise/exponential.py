"""Exponentials, logarithms, roots."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.trace import bind
from tracegrad.ops.elementwise.samples import unary_samples
from tracegrad.ops.families import elementwise, ufunc_type
from tracegrad.typing import Array, ArrayLike

LN2 = math.log(2.0)
LN10 = math.log(10.0)

exp = elementwise("exp", np.exp, lambda d, out, x: d * out, neutral=1, samples=unary_samples(-2, 2))
exp2 = elementwise("exp2", np.exp2, lambda d, out, x: d * (out * LN2), neutral=1, samples=unary_samples(-2, 2))
expm1 = elementwise("expm1", np.expm1, lambda d, out, x: d * np.exp(x), neutral=1, samples=unary_samples(-2, 2))
log = elementwise("log", np.log, lambda d, out, x: d / x, neutral=1, samples=unary_samples(0.3, 3))
log2 = elementwise("log2", np.log2, lambda d, out, x: d / (x * LN2), neutral=1, samples=unary_samples(0.3, 3))
log10 = elementwise("log10", np.log10, lambda d, out, x: d / (x * LN10), neutral=1, samples=unary_samples(0.3, 3))
log1p = elementwise("log1p", np.log1p, lambda d, out, x: d / (x + 1), neutral=1, samples=unary_samples(-0.5, 2))
sqrt = elementwise("sqrt", np.sqrt, lambda d, out, x: d / (2 * out), neutral=1, samples=unary_samples(0.3, 3))
cbrt = elementwise(
    "cbrt", np.cbrt, lambda d, out, x: d / (3 * out * out), neutral=1, kinds="f", samples=unary_samples(0.3, 3)
)


def _rsqrt(x: Any) -> Any:
    return 1 / np.sqrt(x)


rsqrt_op = elementwise(
    "rsqrt", _rsqrt, lambda d, out, x: d * out / (-2 * x), neutral=1, infer=ufunc_type(np.sqrt),
    samples=unary_samples(0.3, 3),
)  # fmt: skip


def rsqrt(x: ArrayLike) -> Array:
    """1 / sqrt(x).

    >>> float(rsqrt(4.0))
    0.5
    """
    return bind(rsqrt_op, (x,))
