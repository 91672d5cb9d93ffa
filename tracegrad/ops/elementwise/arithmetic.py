"""Sums, products, quotients, remainders, powers."""

from __future__ import annotations

import cmath
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.op import OPS, Definitions, Op, Params, Simplification
from tracegrad.core.quiet import quietly
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS, float_limits, is_inexact, number_kind, type_of
from tracegrad.ops.elementwise.conventions import by_convention, domain, is_real
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.families import elementwise, else_numpy, first_of, neutral

# ---------------------------------------------------------------------------------------------------------------------
# What jit may replace arithmetic by, exactly (`simplify`) or with another rounding (`fast_math`), stands before each op. Common
# to several are numbers and negatives.


def _number(x: Any) -> float | None:
    """The value of a literal that is a finite real number."""
    value = getattr(x, "value", None)
    if value is None or isinstance(value, complex | np.complexfloating):
        return None
    if type(value) is int:
        return value if abs(value) < 2**63 else None
    return value if np.isfinite(value) else None


def _negated(x: Any, definitions: Definitions, beside: Any = None) -> Any:
    """What `x` is the negative of, if it is one, of a real float that lies in memory as the negative does, and beside
    nothing complex: there a real number has an imaginary zero, whose sign would be another."""
    made = definitions.get(x)
    if made is None or made.op is not negative or number_kind(x.type.dtype) != "f":
        return None
    is_alone = beside is None or number_kind(beside.type.dtype) != "c"
    return made.inputs[0] if is_alone and definitions.is_dense(made.inputs[0]) else None


def _odd(name: str) -> Simplification:
    """f(-x, -y) as f(x, y), and f(-x, y) or f(x, -y) as -f(x, y), for real floats: signs come together and cancel."""

    def simpler(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
        x, y = inputs
        if number_kind(x.type.dtype) not in "fiu" or number_kind(y.type.dtype) not in "fiu":
            return None
        plain_x, plain_y = _negated(x, definitions), _negated(y, definitions)
        if plain_x is None and plain_y is None:
            return None
        plain = (OPS[name], (x if plain_x is None else plain_x, y if plain_y is None else plain_y), params)
        return plain if plain_x is not None and plain_y is not None else (negative, (plain,), params)

    return simpler


# ---------------------------------------------------------------------------------------------------------------------
# Negatives and sums. What is left out is exact: x - 0 is x, but x + 0 is not where x is -0.0.


def _double_negative(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    made = definitions.get(inputs[0])
    return made.inputs[0] if made is not None and made.op is negative else None


negative: Op = elementwise(
    "negative", np.negative, lambda d, out, x: -d, linear=[{0}], python=operator.neg, kinds="iufc",
    samples=unary_samples(-2, 2), simplify=_double_negative,
)  # fmt: skip
positive = elementwise(
    "positive", np.positive, lambda d, out, x: d, linear=[{0}], python=operator.pos, kinds="iufc",
    samples=unary_samples(-2, 2), moves=True,
    simplify=lambda inputs, params, definitions: None if hasattr(inputs[0], "value") else inputs[0],
)  # fmt: skip


def _sum_with_negative(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """x + (-y) as x - y."""
    for x, y in (inputs, inputs[::-1]):
        plain = _negated(y, definitions, x)
        if plain is not None:
            return subtract, (x, plain), params
    return None


add = elementwise(
    "add", np.add, lambda d, out, x, y: d, lambda d, out, x, y: d,
    linear=[{0, 1}], python=operator.add, kinds="biufc", samples=binary_samples(-2, 2), simplify=_sum_with_negative,
)  # fmt: skip


def _minus_zero(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    zero = getattr(inputs[1], "value", None)
    return inputs[0] if type(zero) in (int, float) and zero == 0 and math.copysign(1.0, zero) > 0 else None


def _minus_negative(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """x - (-y) as x + y."""
    plain = _negated(inputs[1], definitions, inputs[0])
    return None if plain is None else (add, (inputs[0], plain), params)


subtract = elementwise(
    "subtract", np.subtract, lambda d, out, x, y: d, lambda d, out, x, y: -d,
    linear=[{0, 1}], python=operator.sub, kinds="iufc", samples=binary_samples(-2, 2),
    simplify=first_of(_minus_zero, _minus_negative),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Products and quotients.


def _in_dtype_of(x: Any, c: Any, op: Op) -> Any:
    """A literal's number in the floating dtype that the op computes in beside `x`, whatever dtype it has itself; None where
    that has not all of its digits, or is no floating dtype."""
    dtype = op.infer([x.type, c.type], {}).dtype  # type: ignore[union-attr]
    if number_kind(dtype) != "f" or _number(c) is None:
        return None
    number = dtype.type(c.value)
    return number if _is_normal(number) and number == c.value else None


def _is_normal(c: np.floating[Any]) -> bool:
    """Whether a number has all the digits of its dtype: it is neither infinite nor zero nor near that."""
    limits = float_limits(c.dtype)
    return bool(limits.tiny <= abs(c) <= limits.max)


def _literal(new: np.floating[Any], old: Any) -> Any:
    """A number that takes the place of a literal: weak like that, or else in the dtype that the operation computes in."""
    return type(old)(float(new) if old.type.weak and float(new) == new else new)


def _minus_one(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    for x, c in (inputs, inputs[::-1]):
        if _number(c) == -1 and number_kind(x.type.dtype) == "f":
            return negative, (x,), params
    return None


def _one_factor(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """(x * a) * b as x * (a * b) for numbers a and b, where both products are of the dtype of x."""
    for x, b in (inputs, inputs[::-1]):
        made = definitions.get(x)
        if _number(b) is None or made is None or made.op is not multiply or number_kind(x.type.dtype) != "f":
            continue
        for y, a in (made.inputs, made.inputs[::-1]):
            if _number(a) is None or _number(y) is not None or y.type.dtype != x.type.dtype:
                continue
            first, second = _in_dtype_of(y, a, multiply), _in_dtype_of(x, b, multiply)
            if first is None or second is None or not first.dtype == second.dtype == x.type.dtype:
                continue
            factor = quietly(("over", "under"), operator.mul, first, second)
            if _is_normal(factor):
                return multiply, (y, _literal(factor, a if b.type.weak else b)), params
    return None


multiply = elementwise(
    "multiply", np.multiply, lambda d, out, x, y: d * y, lambda d, out, x, y: d * x,
    linear=[{0}, {1}], python=operator.mul, kinds="biufc", samples=binary_samples(-2, 2),
    simplify=first_of(neutral(0, 1), neutral(1, 1), _minus_one, _odd("multiply")),
    fast_math=_one_factor,
)  # fmt: skip


def _is_power_of_two(c: float) -> bool:
    """One whose reciprocal is exact in every float dtype."""
    return abs(math.frexp(c)[0]) == 0.5 and 2.0**-13 <= abs(c) <= 2.0**13


def _by_reciprocal(exactly: bool) -> Simplification:
    """x / c as x * (1 / c), which is the same where c is a power of two, for real x."""

    def simpler(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
        x, c = inputs
        if _number(c) is None or number_kind(x.type.dtype) != "f":
            return None
        divisor = _in_dtype_of(x, c, divide)
        if divisor is None or (exactly and not _is_power_of_two(divisor)) or not _is_normal(1 / divisor):
            return None
        return multiply, (x, _literal(1 / divisor, c)), params

    return simpler


def _quotient_of_series(k: int, inputs: Sequence[Sequence[Any]], out: Sequence[Any], params: Params) -> Any:
    """Of z y = x: z_k y_0 is x_k without the other products of the sum that it is."""
    (*_, rest), y = inputs
    for j in range(1, k + 1):
        if y[j] is not None and out[k - j] is not None:
            term = y[j] * out[k - j]
            rest = -term if rest is None else rest - term
    return None if rest is None else rest / y[0]


divide = elementwise(
    "divide", np.divide,
    lambda d, out, x, y: d / y, lambda d, out, x, y: -(d * out) / y, series=_quotient_of_series,
    linear=[{0}], python=else_numpy(operator.truediv, np.divide), kinds="iufc", samples=binary_samples(0.5, 2),
    simplify=first_of(neutral(1, 1), _by_reciprocal(exactly=True), _odd("divide")),
    fast_math=_by_reciprocal(exactly=False), neutral=1,
)  # fmt: skip
reciprocal = elementwise(
    "reciprocal", np.reciprocal, lambda d, out, x: -(d * out) / x,
    samples=unary_samples(0.5, 2), neutral=1,
)  # fmt: skip
square = elementwise("square", np.square, lambda d, out, x: 2 * d * x, kinds="iufc", samples=unary_samples(-2, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Whole quotients and remainders.


floor_divide = elementwise(
    "floor_divide", np.floor_divide, python=else_numpy(operator.floordiv, np.floor_divide), kinds="iuf",
    samples=binary_samples(1.3, 1.4, 0.55, 0.6),
)  # fmt: skip
remainder = elementwise(
    "remainder", np.remainder,
    lambda d, out, x, y: d, lambda d, out, x, y: -d * np.floor_divide(x, y),
    python=else_numpy(operator.mod, np.remainder), neutral=1, kinds="iuf",
    samples=binary_samples(1.3, 1.4, 0.55, 0.6),
)  # fmt: skip
fmod = elementwise(
    "fmod", np.fmod,
    lambda d, out, x, y: d, lambda d, out, x, y: -d * np.trunc(np.divide(x, y)),
    neutral=1, kinds="iuf", samples=binary_samples(1.3, 1.4, -0.6, -0.55),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Powers.


def _small_power(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """x**3 and x**4 as products."""
    x, p = inputs[0], _number(inputs[1])
    if p not in (3, 4) or not is_inexact(x.type.dtype):
        return None
    square = (multiply, (x, x), params)
    return multiply, (square, x if p == 3 else square), params


def _power_of_scalars(x: Any, p: Any) -> Any:
    """As of Python's numbers, but of reals it is real, and of integers an integer: that must not depend on the values."""
    result = _python_power(x, p)
    if type(result) is float and not isinstance(x, float | complex) and not isinstance(p, float | complex):
        raise ValueError(
            f"power{at(user_source())}: the int {x} to the traced int {p} would be a float in plain Python, and an int for "
            "other values; write float(x) ** n or 2.0 ** n"
        )
    return result


_python_power = else_numpy(operator.pow, np.power)


def _power_base(d: Any, out: Any, x: Any, p: Any) -> Any:
    """d * p * x**(p-1), which needs no guard for a Python exponent that keeps the power finite for all x."""
    if type(p) is int or type(p) is float:
        if p == 2:
            return 2 * d * x
        if p == 0:
            return None
        if 1 <= p < math.inf and p == int(p):
            return d if p == 1 else d * (p * x ** (p - 1))
    if not is_inexact(type_of(x).dtype):
        return None
    # x**0 is 1, for x = 0 too, and does not change with x; but it does with p, and then this slope is 1/x.
    idle = np.logical_and(np.equal(p, 0), np.equal(x, 0))
    return d * by_convention(p * np.power(np.where(idle, 1, x), p - 1), idle)


def _power_exponent(d: Any, out: Any, x: Any, p: Any) -> Any:
    """d * x**p * log(x); zero at x = 0, as is the limit for p > 0. That has a derivative in x, zero again, for p > 1."""
    if type(x) in PYTHON_SCALARS:
        return d * out * _log_of_scalar(x) if x != 0 else None
    zero = np.equal(x, 0)
    base = np.where(zero, 1, x)
    log = np.log(domain(base, np.less(base, 0)) if is_real(x) else base)
    if type(x) is Tracer:
        log = by_convention(log + np.where(zero, x, 0), np.logical_and(zero, np.less_equal(np.real(p), 1)))
    return d * out * log


def _log_of_scalar(x: complex) -> complex:
    """The logarithm as a Python scalar, which leaves dtypes alone; NaN for a negative number."""
    if isinstance(x, complex):
        return cmath.log(x)
    return math.log(x) if x > 0 else math.nan


power = elementwise(
    "power", np.power, _power_base, _power_exponent, python=_power_of_scalars, kinds="iufc",
    samples=binary_samples(0.5, 2), fast_math=_small_power, neutral=1,
)  # fmt: skip
float_power = elementwise(
    "float_power", np.float_power, _power_base, _power_exponent, samples=binary_samples(0.5, 2), neutral=1,
)  # fmt: skip
