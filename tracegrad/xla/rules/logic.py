"""Rounding, comparisons, logic, bits, and floats taken apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.xla.rules.elementwise import applied, copy_sign, in_order, is_nan, like, sign_bit
from tracegrad.xla.values import cast, select, together

# ---------------------------------------------------------------------------------------------------------------------
# Rounding.


def _truncated(x: Any) -> Any:
    return select(lax.lt(x, like(x, 0)), lax.ceil(x), lax.floor(x))


@lowers("trunc")
def _trunc(out: ArrayType, x: Any) -> Any:
    return _truncated(x) if number_kind(x.dtype) == "f" else x


def _rounded(x: Any) -> Any:
    """To whole numbers, halves to even; of a complex number both parts."""
    if number_kind(x.dtype) == "c":
        return lax.complex(_rounded(lax.real(x)), _rounded(lax.imag(x)))
    return lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)


lowers("rint")(applied(_rounded))


@lowers("round_away")
def _round_away(out: ArrayType, x: Any) -> Any:
    return lax.round(cast(x, out.dtype), lax.RoundingMethod.AWAY_FROM_ZERO)


@lowers("round")
def _round(out: ArrayType, x: Any, decimals: int) -> Any:
    if number_kind(out.dtype) in "iu":
        if decimals >= 0:
            return cast(x, out.dtype)
        x = cast(x, np.dtype(np.float64))
    else:
        x = cast(x, out.dtype)
    if decimals == 0:
        return _rounded(x)
    there, back = (lax.mul, lax.div) if decimals > 0 else (lax.div, lax.mul)
    factor = like(x, 10.0 ** abs(decimals))
    return back(_rounded(there(x, factor)), factor)


# ---------------------------------------------------------------------------------------------------------------------
# Floats taken apart, and questions about them.


@lowers("spacing")
def _spacing(out: ArrayType, x: Any) -> Any:
    beyond = lax.full(out.shape, math.inf, out.dtype)
    if out.dtype != np.float16:  # where NumPy looks upwards, and away from zero elsewhere
        beyond = copy_sign(beyond, x)
    return lax.sub(lax.nextafter(x, beyond), x)


@lowers("modf")
def _modf(out: tuple[ArrayType, ...], x: Any) -> Any:
    whole = _truncated(x)
    rest = select(lax.eq(x, whole), lax.full(x.shape, 0, x.dtype), lax.sub(x, whole))  # of infinity 0
    return copy_sign(rest, x), whole


lowers("signbit")(applied(sign_bit))
lowers("isnan")(applied(is_nan))


@lowers("heaviside")
def _heaviside(out: ArrayType, x: Any, h: Any) -> Any:
    x, h = together((x, h), out)
    zero = like(x, 0)
    return select(lax.eq(x, zero), h, lax.max(lax.sign(x), zero))


@lowers("isinf")
def _isinf(out: ArrayType, x: Any) -> Any:
    if number_kind(x.dtype) == "c":
        return lax.bitwise_or(_isinf(out, lax.real(x)), _isinf(out, lax.imag(x)))
    return lax.eq(lax.abs(x), like(x, math.inf)) if number_kind(x.dtype) == "f" else lax.full(out.shape, False)


@lowers("isfinite")
def _isfinite(out: ArrayType, x: Any) -> Any:
    if number_kind(x.dtype) == "c":
        return lax.bitwise_and(lax.is_finite(lax.real(x)), lax.is_finite(lax.imag(x)))
    return lax.is_finite(x) if number_kind(x.dtype) == "f" else lax.full(out.shape, True)


# ---------------------------------------------------------------------------------------------------------------------
# Comparisons and logic.


def _comparison(compare: Callable[..., Any], less: bool, greater: bool) -> Callable[..., Any]:
    """The rule of a comparison that holds of these where the first is the less, or the greater."""

    def rule(out: ArrayType, x: Any, y: Any) -> Any:
        if x.dtype != y.dtype:  # integers
            dtype = np.result_type(x.dtype, y.dtype)
            if number_kind(dtype) == "f":
                return of_both_signs(x, y, np.dtype(np.uint64))
            return compare(cast(x, dtype), cast(y, dtype))
        if number_kind(x.dtype) == "c" and less != greater:
            return in_order(compare, x, y)
        return compare(x, y)

    def of_both_signs(x: Any, y: Any, dtype: np.dtype[Any]) -> Any:
        """int64 with uint64: no dtype holds both, but a negative one is the smaller."""
        is_first = number_kind(x.dtype) == "i"
        is_negative = lax.lt(x, like(x, 0)) if is_first else lax.lt(y, like(y, 0))
        found = compare(cast(x, dtype), cast(y, dtype))
        if less if is_first else greater:
            return lax.bitwise_or(is_negative, found)
        return lax.bitwise_and(lax.bitwise_not(is_negative), found)

    return rule


lowers("equal")(_comparison(lax.eq, less=False, greater=False))
lowers("not_equal")(_comparison(lax.ne, less=True, greater=True))
lowers("less")(_comparison(lax.lt, less=True, greater=False))
lowers("less_equal")(_comparison(lax.le, less=True, greater=False))
lowers("greater")(_comparison(lax.gt, less=False, greater=True))
lowers("greater_equal")(_comparison(lax.ge, less=False, greater=True))


def _logical(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of numbers, those are true that are not zero."""
    return lambda out, *inputs: function(*[cast(x, out.dtype) for x in inputs])


lowers("logical_and")(_logical(lax.bitwise_and))
lowers("logical_or")(_logical(lax.bitwise_or))
lowers("logical_xor")(_logical(lax.bitwise_xor))
lowers("logical_not")(_logical(lax.bitwise_not))


# ---------------------------------------------------------------------------------------------------------------------
# Integers and their bits.


def _sizes(x: Any, y: Any, out: ArrayType) -> list[Any]:
    """Absolute values of integers, unsigned, which holds that of the least one."""
    found = together((x, y), out)
    dtype = np.dtype(f"u{out.dtype.itemsize}")
    return found if out.dtype == dtype else [cast(lax.abs(x), dtype) for x in found]


def _of_sizes(x: Any, y: Any) -> Any:
    """The greatest common divisor of unsigned integers, by Euclid. (jnp.gcd does not end for the least of the signed ones.)"""
    zero, axes = like(x, 0), tuple(range(len(x.shape)))

    def step(state: Any) -> Any:
        x, y = state
        is_done = lax.eq(y, zero)
        return select(is_done, x, y), select(is_done, y, lax.rem(x, y))

    return lax.while_loop(lambda state: lax.gt(lax.reduce_max(state[1], axes), zero), step, (x, y))[0]


@lowers("gcd")
def _gcd(out: ArrayType, x: Any, y: Any) -> Any:
    return _of_sizes(*_sizes(x, y, out))


@lowers("lcm")
def _lcm(out: ArrayType, x: Any, y: Any) -> Any:
    x, y = _sizes(x, y, out)
    return lax.mul(lax.div(x, _of_sizes(x, y)), y)  # whatever 0 / 0 is, y is 0


@lowers("bitwise_count")
def _bitwise_count(out: ArrayType, x: Any) -> Any:
    return lax.population_count(lax.abs(x) if number_kind(x.dtype) == "i" else x)


lowers("clz")(applied(lax.clz))


def _bit_reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda out, x, *, axes, keepdims: lax.reshape(function(x, axes), out.shape)


lowers("reduce_and")(_bit_reduction(lax.reduce_and))
lowers("reduce_or")(_bit_reduction(lax.reduce_or))
lowers("reduce_xor")(_bit_reduction(lax.reduce_xor))
