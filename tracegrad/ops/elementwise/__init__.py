"""Elementwise functions, most of them NumPy's. Each op is one call: its ufunc, then for each input the map that multiplies by the
partial derivative, `(d, out, *inputs) -> d * partial`. What jit may replace an op by stands beside it.

Conventions at kinks and singular points: ties and kinks are JAX's (abs has derivative 1 at 0, max of equals gives half
to each). A partial may be infinite, and 0 * inf is NaN; the branch that `where` did not take adds nothing all the same, for its
zeros are structural (see `masks.py`). Outside of a function's domain, where evaluation has warned of its NaN, the
derivative does not warn again.
"""

from tracegrad.ops.elementwise import (
    activations,
    arithmetic,
    casting,
    choosing,
    conventions,
    error_function,
    exponential,
    extrema,
    logic,
    parts,
    products,
    rounding,
    trigonometric,
)
from tracegrad.ops.elementwise.casting import astype, astype_op, is_narrow, widened
from tracegrad.ops.elementwise.choosing import where
from tracegrad.ops.elementwise.conventions import by_convention, share
from tracegrad.ops.elementwise.parts import imag, real
from tracegrad.ops.elementwise.rounding import round, round_away_from_zero
from tracegrad.ops.elementwise.samples import binary_samples, integer_samples, unary_samples

__all__ = [
    "activations",
    "arithmetic",
    "astype",
    "astype_op",
    "binary_samples",
    "by_convention",
    "casting",
    "choosing",
    "conventions",
    "error_function",
    "exponential",
    "extrema",
    "imag",
    "integer_samples",
    "is_narrow",
    "logic",
    "parts",
    "products",
    "real",
    "round",
    "round_away_from_zero",
    "rounding",
    "share",
    "trigonometric",
    "unary_samples",
    "where",
    "widened",
]
