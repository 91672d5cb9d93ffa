"""jax's elementwise primitives, and those that change nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad import lax
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.structural import checkpoint_name
from tracegrad.transforms.stop_gradient import stop_gradient
from tracegrad.xla.primitives.table import PRIMITIVES, binds, is_key, plain

_SAME_NAME = [
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "clamp",
    "clz", "complex", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge",
    "gt", "igamma", "igamma_grad_a", "igammac", "imag", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max",
    "min", "mul", "ne", "neg", "nextafter", "polygamma", "population_count", "real", "rem", "rsqrt", "select_n",
    "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan",
    "tanh", "zeta",
]  # fmt: skip
PRIMITIVES.update({name: plain(getattr(lax, name)) for name in _SAME_NAME})
PRIMITIVES.update(
    {
        "add": plain(lax.add),
        "add_any": plain(lax.add),  # what jax's transposes add up with
        "and": plain(lax.bitwise_and),
        "conj": plain(lax.conj),
        "not": plain(lax.bitwise_not),
        "or": plain(lax.bitwise_or),
        "regularized_incomplete_beta": plain(lax.betainc),
        "stop_gradient": plain(stop_gradient),
        "xor": plain(lax.bitwise_xor),
    }
)


@binds("copy", "sharding_constraint")
def _(x: Any, **_: Any) -> Any:
    return x


@binds("device_put", "optimization_barrier")
def _(*arrays: Any, **_: Any) -> Any:
    return arrays


@binds("name")
def _(x: Any, *, name: str) -> Any:
    return checkpoint_name(x, name)


@binds("integer_pow")
def _(x: Any, *, y: int) -> Any:
    return lax.integer_pow(x, y)


@binds("pow")
def _(x: Any, y: Any) -> Any:
    """Where the power is an integer, the dtype is that of the base."""
    return lax.pow(x, astype(y, type_of(x).dtype) if number_kind(type_of(y).dtype) in "iu" else y)


@binds("round")
def _(x: Any, *, rounding_method: Any) -> Any:
    return lax.round(x, lax.RoundingMethod(int(rounding_method)))


@binds("reduce_precision")
def _(x: Any, *, exponent_bits: int, mantissa_bits: int) -> Any:
    return lax.reduce_precision(x, exponent_bits, mantissa_bits)


@binds("convert_element_type")
def _(x: Any, *, new_dtype: Any, **_: Any) -> Any:
    """From floats to integers, what is out of range takes the nearest one, and NaN is 0, as on XLA: to NumPy this is undefined."""
    if is_key(new_dtype):
        return x
    found, wanted = type_of(x).dtype, np.dtype(new_dtype)
    if number_kind(wanted) not in "iu" or number_kind(found) not in "fc":
        return lax.convert_element_type(x, wanted)
    x = lax.real(x) if number_kind(found) == "c" else x
    info = np.iinfo(wanted)
    inside = np.logical_and(np.greater(x, float(info.min) - 1), np.less(x, 2.0 ** math.log2(int(info.max) + 1)))
    nearest = np.where(np.greater(x, 0), wanted.type(info.max), wanted.type(info.min))
    return np.where(np.isnan(x), wanted.type(0), np.where(inside, astype(np.where(inside, x, 0), wanted), nearest))


@binds("bitcast_convert_type")
def _(x: Any, *, new_dtype: Any) -> Any:
    return lax.bitcast_convert_type(x, new_dtype)


@binds("mulhi")
def _(x: Any, y: Any) -> Any:
    """The high half of a product, by quarters of 32-bit numbers and of longer ones by halves."""
    dtype = type_of(x).dtype
    bits = 8 * dtype.itemsize
    if bits < 64:
        wide = np.dtype(f"{number_kind(dtype)}8")
        return astype(np.right_shift(np.multiply(astype(x, wide), astype(y, wide)), wide.type(bits)), dtype)
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a, b = astype(x, np.uint64), astype(y, np.uint64)
    low_a, low_b, high_a, high_b = a & mask, b & mask, a >> half, b >> half
    middle = high_a * low_b + (low_a * low_b >> half)
    high = high_a * high_b + (middle >> half) + (low_a * high_b + (middle & mask) >> half)
    if number_kind(dtype) == "i":  # of negative ones, what two's complement has too much
        high = high - np.where(np.less(x, 0), b, np.uint64(0)) - np.where(np.less(y, 0), a, np.uint64(0))
    return astype(high, dtype)


def _total(x: Any) -> Any:
    """A number that orders floats as IEEE's total order does: -NaN, -inf, ..., -0, 0, ..., inf, NaN."""
    dtype = type_of(x).dtype
    if number_kind(dtype) != "f":
        return x
    whole = np.dtype(f"i{dtype.itemsize}")
    bits = lax.bitcast_convert_type(x, whole)
    return np.where(np.less(bits, 0), bits ^ whole.type(np.iinfo(whole).max), bits)


for _name, _compare in (("eq_to", lax.eq), ("le_to", lax.le), ("lt_to", lax.lt)):
    PRIMITIVES[_name] = plain(lambda x, y, compare=_compare: compare(_total(x), _total(y)))
