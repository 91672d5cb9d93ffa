"""Arithmetic, functions of one number, sizes and signs, extremes, choosing and casting. Ops for which jax.lax has one function, the
same for every dtype that NumPy computes in, stand in a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ITEMS, ArrayType, is_inexact, is_numpy_scalar, number_kind
from tracegrad.xla.values import broadcast_to, cast, log1p, select, together, wrapping


def _absolute(x: Any) -> Any:
    """See `wrapping`: the least integer is its own absolute value."""
    return select(lax.lt(x, like(x, 0)), lax.neg(x), x)


_multiply = wrapping(lax.mul)

_LAX: dict[str, Callable[..., Any]] = {
    "subtract": lax.sub, "divide": lax.div, "negative": lax.neg, "square": wrapping(lax.square), "positive": lambda x: x,
    "exp": lax.exp, "exp2": lax.exp2, "expm1": lax.expm1, "log": lax.log, "log1p": log1p, "sqrt": lax.sqrt,
    "cbrt": lax.cbrt, "sin": lax.sin, "cos": lax.cos, "tan": lax.tan, "sinh": lax.sinh, "cosh": lax.cosh,
    "tanh": lax.tanh, "arcsin": lax.asin, "arccos": lax.acos, "arctan": lax.atan, "arcsinh": lax.asinh,
    "arccosh": lax.acosh, "arctanh": lax.atanh, "hypot": jnp.hypot, "fabs": lax.abs,
    "bitwise_and": lax.bitwise_and, "bitwise_or": lax.bitwise_or, "bitwise_xor": lax.bitwise_xor,
    "invert": lax.bitwise_not, "left_shift": lax.shift_left, "nextafter": lax.nextafter, "ldexp": jnp.ldexp,
    "frexp": jnp.frexp,
    "deg2rad": lambda x: lax.mul(x, like(x, math.pi / 180)), "rad2deg": lambda x: lax.mul(x, like(x, 180 / math.pi)),
    "radians": lambda x: lax.mul(x, like(x, math.pi / 180)), "degrees": lambda x: lax.mul(x, like(x, 180 / math.pi)),
}  # fmt: skip

# The same with another function for inputs of some dtype kinds; None: for the input itself.
_OF_KINDS: dict[str, tuple[Callable[..., Any], dict[str, Callable[..., Any] | None]]] = {
    "add": (lax.add, {"b": lax.bitwise_or}),
    "multiply": (_multiply, {"b": lax.bitwise_and}),
    "absolute": (lax.abs, {"b": None, "u": None, "i": _absolute}),
    "conjugate": (lax.conj, dict.fromkeys("biuf")),
    "floor": (lax.floor, dict.fromkeys("biu")),
    "ceil": (lax.ceil, dict.fromkeys("biu")),
    "right_shift": (lax.shift_right_arithmetic, {"u": lax.shift_right_logical}),
}


def applied(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule by a function of the inputs alone."""
    return lambda out, *inputs: function(*inputs)


def _by_kind(function: Callable[..., Any], of_kind: dict[str, Callable[..., Any] | None]) -> Callable[..., Any]:
    def rule(out: ArrayType, *inputs: Any) -> Any:
        chosen = of_kind.get(number_kind(inputs[0].dtype), function)
        return inputs[0] if chosen is None else chosen(*inputs)

    return rule


for _name, _function in _LAX.items():
    lowers(_name)(applied(_function))
for _name, _pair in _OF_KINDS.items():
    lowers(_name)(_by_kind(*_pair))


def like(x: Any, number: float) -> Any:
    """A scalar in the dtype of `x`."""
    return x.dtype.type(number)


@lowers("absolute_power")
def _absolute_power(out: ArrayType, x: Any, p: Any, odd: bool, logs: int) -> Any:
    x, p = [broadcast_to(cast(v, out.dtype), out.shape) for v in (x, p)]
    size = lax.abs(x)
    found = lax.pow(size, p)
    if logs:
        found = jnp.where((size == 0) & (p > 0), found, found * lax.integer_pow(lax.log(size), logs))
    return lax.sign(x) * found if odd else found


@lowers("arctan2")
def _arctan2(out: ArrayType, y: Any, x: Any) -> Any:
    # XLA's own is NaN where the compiler finds that both are zero (jax 0.10.2).
    y, x = jnp.broadcast_arrays(y, x)
    straight = lax.select(jnp.signbit(x), lax.full_like(x, math.pi), lax.full_like(x, 0))
    at_zero = lax.select(jnp.signbit(y), lax.neg(straight), straight)
    return lax.select((y == 0) & (x == 0), at_zero, lax.atan2(y, x))


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic.


@lowers("by_convention")
def _by_convention(out: ArrayType, x: Any, flag: Any) -> Any:
    return broadcast_to(x, out.shape)


@lowers("reciprocal")
def _reciprocal(out: ArrayType, x: Any) -> Any:
    if number_kind(x.dtype) not in "iu":
        return lax.reciprocal(x)
    return select(lax.eq(x, like(x, 0)), x, lax.div(lax.full_like(x, 1), _divisor(x)))


def _divisor(y: Any) -> Any:
    """What integers are divided by, with ones for zeros: XLA's folding of constants ends the process by a division by zero."""
    if number_kind(y.dtype) == "f" or (is_numpy_scalar(y) and y != 0):
        return y
    return type(y)(1) if is_numpy_scalar(y) else select(lax.eq(y, like(y, 0)), lax.full_like(y, 1), y)


def _sign_differs(x: Any, y: Any) -> Any:
    """Where a remainder `x` is not zero and its sign not that of the divisor `y`, which may be a scalar of NumPy's."""
    zero = like(x, 0)
    if is_numpy_scalar(y):
        return (lax.lt if y > 0 else lax.gt)(x, zero)
    return lax.bitwise_and(lax.ne(x, zero), lax.ne(lax.lt(x, zero), lax.lt(y, zero)))


@lowers("fmod")
def _fmod(out: ArrayType, x: Any, y: Any) -> Any:
    found = lax.rem(x, _divisor(y))
    if number_kind(x.dtype) == "f" or (is_numpy_scalar(y) and y != 0):
        return found
    y = broadcast_to(y, out.shape)
    return select(lax.eq(y, like(y, 0)), y, found)  # x % 0 is 0 of integers


@lowers("remainder")
def _remainder(out: ArrayType, x: Any, y: Any) -> Any:
    found = _fmod(out, x, y)
    if number_kind(x.dtype) != "u":
        found = select(_sign_differs(found, y), lax.add(found, y), found)
    if number_kind(x.dtype) != "f":
        return found
    found = lax.abs(found)  # a zero, too, gets the sign of the divisor
    if is_numpy_scalar(y):
        return found if y > 0 else lax.neg(found)
    return select(lax.lt(broadcast_to(y, out.shape), like(y, 0)), lax.neg(found), found)


@lowers("floor_divide")
def _floor_divide(out: ArrayType, x: Any, y: Any) -> Any:
    zero, one, quotient = like(x, 0), like(x, 1), lax.div(x, _divisor(y))
    rest = lax.rem(x, _divisor(y))
    if number_kind(x.dtype) == "f":
        # The quotient's floor would be wrong wherever the quotient is rounded up.
        whole = lax.div(lax.sub(x, rest), y)
        whole = lax.round(select(_sign_differs(rest, y), lax.sub(whole, one), whole))
        whole = select(lax.eq(whole, zero), lax.mul(quotient, zero), whole)  # a zero of its sign
        return select(lax.eq(broadcast_to(y, out.shape), zero), quotient, whole)
    if number_kind(x.dtype) != "u":
        quotient = select(_sign_differs(rest, y), lax.sub(quotient, one), quotient)
    if is_numpy_scalar(y) and y != 0:
        return quotient
    y = broadcast_to(y, out.shape)
    return select(lax.eq(y, zero), y, quotient)


_LARGEST_PRODUCT = 64


@lowers("power", "float_power")
def _power(out: ArrayType, x: Any, p: Any) -> Any:
    """Products for a small whole number in the Graph. Negative powers of integers, an error on NumPy, are jax's, but of none."""
    if not out.size:
        return lax.full(out.shape, 0, out.dtype)
    if is_numpy_scalar(p) and p.imag == 0 and abs(p.real) <= _LARGEST_PRODUCT and p.real == int(p.real):
        power = lambda x: lax.integer_pow(x, int(p.real))
        return (wrapping(power) if p.real > 0 else power)(x)
    if number_kind(x.dtype) == "f":
        return lax.pow(x, p)
    x, p = together((x, p), out)
    if number_kind(x.dtype) != "c":
        return _whole_power(x, p)
    is_zero = lax.bitwise_and(lax.eq(x, like(x, 0)), lax.gt(lax.real(p), like(p, 0).real))
    return select(is_zero, x, lax.pow(x, p))


def _whole_power(x: Any, p: Any) -> Any:
    """By squaring. (jnp.power looks at six bits of the exponent, and NumPy's integers wrap around by all.)"""
    zero, one = like(p, 0), like(p, 1)

    def step(state: Any) -> Any:
        p, square, found = state
        is_odd = lax.ne(lax.bitwise_and(p, one), zero)
        found = select(is_odd, lax.mul(found, square), found)
        return lax.shift_right_logical(p, one), _multiply(square, square), found

    axes = tuple(range(len(x.shape)))
    start = (p, x, lax.full(x.shape, 1, x.dtype))
    return lax.while_loop(lambda state: lax.gt(lax.reduce_max(state[0], axes), zero), step, start)[2]


# ---------------------------------------------------------------------------------------------------------------------
# Functions of one number, and lengths.


def _logarithm(base: float) -> Callable[..., Any]:
    def rule(out: ArrayType, x: Any) -> Any:
        found = lax.log(x)
        if number_kind(x.dtype) == "c":  # whose parts may be infinite: a complex divisor would make NaN of these
            unit = like(x, math.log(base)).real
            return lax.complex(lax.div(lax.real(found), unit), lax.div(lax.imag(found), unit))
        return lax.div(found, like(x, math.log(base)))

    return rule


lowers("log2")(_logarithm(2))
lowers("log10")(_logarithm(10))


@lowers("rsqrt")
def _rsqrt(out: ArrayType, x: Any) -> Any:
    return lax.rsqrt(cast(x, out.dtype))


@lowers("sech_squared")
def _sech_squared(out: ArrayType, x: Any) -> Any:
    x = cast(x, out.dtype)  # jax's cosh has an error in proportion to x
    below = lax.neg(lax.abs(x))
    if number_kind(out.dtype) == "c":
        below = select(lax.ge(lax.real(x), like(x, 0).real), lax.neg(x), x)
    e = lax.exp(lax.mul(like(x, 2), below))
    return lax.div(lax.mul(like(x, 4), e), lax.square(lax.add(like(x, 1), e)))


@lowers("one_minus_square")
def _one_minus_square(out: ArrayType, x: Any) -> Any:
    x = cast(x, out.dtype)
    return lax.mul(lax.sub(like(out, 1), x), lax.add(like(out, 1), x))


@lowers("hypot_slope")
def _hypot_slope(out: ArrayType, x: Any, y: Any) -> Any:
    length = jnp.hypot(x, y)
    return x / jnp.where(length == 0, 1, length)


# ---------------------------------------------------------------------------------------------------------------------
# Size, sign, complex parts.


@lowers("sign")
def _sign(out: ArrayType, x: Any) -> Any:
    found = lax.sign(x)
    if number_kind(x.dtype) == "c":  # x / abs(x), but where one part is infinite, the direction of that
        parts = lax.real(x), lax.imag(x)
        far = [jnp.isinf(part) for part in parts]
        ends = [select(is_far, lax.sign(part), lax.full_like(part, 0)) for is_far, part in zip(far, parts, strict=True)]
        return select(lax.bitwise_xor(*far), lax.complex(*ends), found)
    # Zero, also of -0.0, is 0.0.
    return select(lax.eq(x, like(x, 0)), lax.abs(x), found) if number_kind(x.dtype) == "f" else found


def sign_bit(x: Any) -> Any:
    """Where the sign bit of floats is set."""
    bits = np.dtype(f"i{x.dtype.itemsize}")
    return lax.lt(lax.bitcast_convert_type(x, bits), bits.type(0))


def copy_sign(x: Any, y: Any) -> Any:
    """np.copysign of floats of one shape."""
    size = lax.abs(x)
    return select(sign_bit(y), lax.neg(size), size)


@lowers("copysign")
def _copysign(out: ArrayType, x: Any, y: Any) -> Any:
    return copy_sign(*together((x, y), out))


@lowers("real")
def _real(out: ArrayType, x: Any) -> Any:
    return cast(x, out.dtype)


@lowers("imag")
def _imag(out: ArrayType, x: Any) -> Any:
    x = jnp.asarray(x)
    return lax.imag(x) if number_kind(x.dtype) == "c" else lax.full(out.shape, 0, out.dtype)


@lowers("complex")
def _complex(out: ArrayType, x: Any, y: Any) -> Any:
    dtype = np.dtype(f"f{out.dtype.itemsize // 2}")
    return lax.complex(*[broadcast_to(cast(part, dtype), out.shape) for part in (x, y)])


# ---------------------------------------------------------------------------------------------------------------------
# Extremes.


def is_nan(x: Any) -> Any:
    """np.isnan."""
    return lax.ne(x, x) if is_inexact(x.dtype) else lax.full(np.shape(x), False)


def in_order(compare: Callable[..., Any], x: Any, y: Any) -> Any:
    """A comparison, `lax.lt` and so on, of complex numbers: by the real parts, then by the imaginary ones; no NaN."""
    strictly = {lax.lt: lax.lt, lax.le: lax.lt, lax.gt: lax.gt, lax.ge: lax.gt}[compare]
    (xr, xi), (yr, yi) = [(lax.real(z), lax.imag(z)) for z in (x, y)]
    known = lax.bitwise_not(lax.bitwise_or(is_nan(xi), is_nan(yi)))
    return lax.bitwise_or(lax.bitwise_and(strictly(xr, yr), known), lax.bitwise_and(lax.eq(xr, yr), compare(xi, yi)))


def _extremum(
    function: Callable[..., Any], comparison: Callable[..., Any], *, ignoring_nan: bool = False
) -> Callable[..., Any]:
    def rule(out: ArrayType, x: Any, y: Any) -> Any:
        if number_kind(out.dtype) != "c" and not (ignoring_nan and number_kind(out.dtype) == "f"):
            return function(x, y)
        x, y = together((x, y), out)
        if number_kind(out.dtype) == "c":
            return select(lax.bitwise_or(is_nan(y if ignoring_nan else x), in_order(comparison, x, y)), x, y)
        found = select(is_nan(x), y, function(x, y))
        return select(is_nan(y), x, found)

    return rule


lowers("maximum")(_extremum(lax.max, lax.ge))
lowers("minimum")(_extremum(lax.min, lax.le))
lowers("fmax")(_extremum(lax.max, lax.ge, ignoring_nan=True))
lowers("fmin")(_extremum(lax.min, lax.le, ignoring_nan=True))


@lowers("clamp")
def _clamp(out: ArrayType, low: Any, x: Any, high: Any) -> Any:
    low, x, high = together((low, x, high), out)
    return lax.min(lax.max(x, low), high)  # lax.clamp is of numbers only


# ---------------------------------------------------------------------------------------------------------------------
# Choosing by a condition, changing dtype.


@lowers("where")
def _where(out: ArrayType, condition: Any, x: Any, y: Any) -> Any:
    condition = cast(condition, np.dtype(bool))
    if np.shape(condition) != ():
        condition = broadcast_to(condition, out.shape)
    return select(condition, *together((x, y), out))


@lowers("astype")
def _astype(out: ArrayType, x: Any, dtype: np.dtype[Any]) -> Any:
    return cast(x, dtype)


@lowers("item")
def _item(out: ArrayType, x: Any, dtype: np.dtype[Any]) -> Any:
    """To a Python type, so that the result is weak on jax, too."""
    kind = ITEMS[dtype.kind]
    return cast(x, np.dtype(bool)) if kind is bool else lax.convert_element_type(x, kind)


@lowers("reduce_precision")
def _reduce_precision(out: ArrayType, x: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    return lax.reduce_precision(cast(x, out.dtype), exponent_bits, mantissa_bits)


@lowers("bitcast_convert_type")
def _bitcast_convert_type(out: ArrayType, x: Any, dtype: np.dtype[Any]) -> Any:
    return lax.bitcast_convert_type(x, dtype)
