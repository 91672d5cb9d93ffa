"""NumPy's elementwise functions. Each op is one call: its ufunc, then for each input the map that multiplies by the
partial derivative, `(d, out, *inputs) -> d * partial`. Rounding, comparisons and logic are next door, in
`rounding_and_logic.py`.

Conventions at kinks and singular points: ties and kinks are JAX's (abs has derivative 1 at 0, max of equals gives half
to each). A partial may be infinite, and 0 * inf is NaN; the branch that `where` did not take adds nothing all the same, for its
zeros are structural (see `masks.py`). Outside of a function's domain, where evaluation has warned of its NaN, the
derivative does not warn again.
"""

from __future__ import annotations

import cmath
import importlib
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.memory import new_strides
from tracegrad.core.op import OPS, Definitions, Op, Params, Sample, Simplification, View, Wanted
from tracegrad.core.trace import FUNCTIONS, UFUNCS, Tracer, as_array, bind
from tracegrad.core.types import (
    PYTHON_SCALARS,
    ArrayType,
    float_limits,
    is_inexact,
    number_kind,
    scalar_type,
    type_of,
)
from tracegrad.ops.families import (
    broadcast_shapes,
    conform,
    declare,
    elementwise,
    elementwise_batch,
    else_numpy,
    implements,
    is_tracer,
    neutral,
    ufunc_type,
)
from tracegrad.ops.masks import Mask, parted

LN2 = math.log(2.0)
LN10 = math.log(10.0)


def unary_samples(low: float, high: float, *, seed: int = 0) -> Callable[[], Iterable[Sample]]:
    """Samples of one input: a matrix, a scalar, an empty array, with values in (low, high)."""

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(seed)
        yield Sample((rng.uniform(low, high, (2, 3)),))
        yield Sample((rng.uniform(low, high),))
        yield Sample((np.zeros((0, 2)) + (low + high) / 2,))

    return samples


def binary_samples(
    low: float, high: float, low2: float | None = None, high2: float | None = None
) -> Callable[[], Iterable[Sample]]:
    """Samples of two inputs, with every way of broadcasting, the second in (low2, high2)."""
    low2 = low if low2 is None else low2
    high2 = high if high2 is None else high2

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(1)
        for left, right in [((2, 3), (2, 3)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((), (3,)), ((2, 2), ())]:
            yield Sample((rng.uniform(low, high, left), rng.uniform(low2, high2, right)))

    return samples


def integer_samples(inputs: int, low: int = 0, high: int = 6) -> Callable[[], Iterable[Sample]]:
    """Samples of integer inputs."""

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(2)
        yield Sample(tuple([rng.integers(low, high, (2, 3)) for _ in range(inputs)]))
        if inputs == 2:
            yield Sample((rng.integers(low, high, (2, 1)), rng.integers(low, high, 3)))

    return samples


# ---------------------------------------------------------------------------------------------------------------------
# Lowering to XLA.


# ---------------------------------------------------------------------------------------------------------------------
# What jit may replace arithmetic by, exactly (`simplify`) or with another rounding (`hasten`). The ops stand below.


def _number(x: Any) -> float | None:
    """The value of a literal that is a finite real number."""
    value = getattr(x, "value", None)
    if value is None or isinstance(value, complex | np.complexfloating):
        return None
    if type(value) is int:
        return value if abs(value) < 2**63 else None
    return value if np.isfinite(value) else None


def _in_dtype_of(x: Any, c: Any, op: Op) -> Any:
    """A literal's number in the floating dtype that the op computes in beside `x`, whatever dtype it has itself; None where
    that has not all of its digits, or is no floating dtype."""
    dtype = op.infer([x.type, c.type], {}).dtype  # type: ignore[union-attr]
    if number_kind(dtype) != "f" or _number(c) is None:
        return None
    found = dtype.type(c.value)
    return found if _is_normal(found) and found == c.value else None


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


def _is_power_of_two(c: float) -> bool:
    """One whose reciprocal is exact in every float dtype."""
    return abs(math.frexp(c)[0]) == 0.5 and 2.0**-13 <= abs(c) <= 2.0**13


def _is_normal(c: np.floating[Any]) -> bool:
    """Whether a number has all the digits of its dtype: it is neither infinite nor zero nor near that."""
    limits = float_limits(c.dtype)
    return bool(limits.tiny <= abs(c) <= limits.max)


def _literal(new: np.floating[Any], old: Any) -> Any:
    """A number that takes the place of a literal: weak like that, or else in the dtype that the operation computes in."""
    return type(old)(float(new) if old.type.weak and float(new) == new else new)


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
            with np.errstate(over="ignore", under="ignore"):
                factor = first * second
            if _is_normal(factor):
                return multiply, (y, _literal(factor, a if b.type.weak else b)), params
    return None


def _small_power(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """x**3 and x**4 as products."""
    x, p = inputs[0], _number(inputs[1])
    if p not in (3, 4) or not is_inexact(x.type.dtype):
        return None
    square = (multiply, (x, x), params)
    return multiply, (square, x if p == 3 else square), params


def _negated(x: Any, definitions: Definitions, beside: Any = None) -> Any:
    """What `x` is the negative of, if it is one, of a real float that lies in memory as the negative does, and beside
    nothing complex: there a real number has an imaginary zero, whose sign would be another."""
    made = definitions.get(x)
    if made is None or made.op is not negative or number_kind(x.type.dtype) != "f":
        return None
    is_alone = beside is None or number_kind(beside.type.dtype) != "c"
    return made.inputs[0] if is_alone and definitions.is_dense(made.inputs[0]) else None


def _odd(op: Callable[[], Op]) -> Simplification:
    """f(-x, -y) as f(x, y), and f(-x, y) or f(x, -y) as -f(x, y), for real floats: signs come together and cancel."""

    def simpler(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
        x, y = inputs
        if number_kind(x.type.dtype) not in "fiu" or number_kind(y.type.dtype) not in "fiu":
            return None
        plain_x, plain_y = _negated(x, definitions), _negated(y, definitions)
        if plain_x is None and plain_y is None:
            return None
        plain = (op(), (x if plain_x is None else plain_x, y if plain_y is None else plain_y), params)
        return plain if plain_x is not None and plain_y is not None else (negative, (plain,), params)

    return simpler


def _minus_one(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    for x, c in (inputs, inputs[::-1]):
        if _number(c) == -1 and number_kind(x.type.dtype) == "f":
            return negative, (x,), params
    return None


def _sum_with_negative(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """x + (-y) as x - y."""
    for x, y in (inputs, inputs[::-1]):
        plain = _negated(y, definitions, x)
        if plain is not None:
            return subtract, (x, plain), params
    return None


def _minus_negative(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """x - (-y) as x + y."""
    plain = _negated(inputs[1], definitions, inputs[0])
    return None if plain is None else (add, (inputs[0], plain), params)


def first_of(*rules: Simplification) -> Simplification:
    """The first rule that has an answer."""

    def simpler(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
        for rule in rules:
            if (found := rule(inputs, params, definitions)) is not None:
                return found
        return None

    return simpler


by_convention_op = elementwise(
    "by_convention",
    lambda x, flag: x if np.shape(x) == np.shape(flag) else np.where(flag, x, x),
    lambda d, out, x, flag: d * np.where(flag, np.nan, 1).astype(d.dtype),
    None,
    infer=lambda types, params: ArrayType(broadcast_shapes("by_convention", types), types[0].dtype),
    linear=[{0}],
    samples=lambda: [Sample((np.array([0.5, -2.0]), np.array([False, False])))],
)


def by_convention(x: Any, flag: Any) -> Any:
    """`x`, of which the elements with the flag are what they are by convention alone and have no derivative: NaN. For a
    first derivative that is said to be zero at a kink, so that a second one does not take it for zero around that."""
    return bind(by_convention_op, (x, flag)) if is_tracer(x) else x


def share(x: Any, size: Any) -> Any:
    """x / size, and 0 of 0: the derivative of a length, of which that is the subgradient that favours no direction."""
    zero = np.equal(size, 0)
    return by_convention(x / np.where(zero, 1, size), zero)


def _domain(x: Any, outside: Any) -> Any:
    """`x` with NaN where `outside` holds: the argument of a root or logarithm, which then does not warn."""
    return np.where(outside, x * math.nan, x)


def _real_dtype(x: Any) -> bool:
    return number_kind(type_of(x).dtype) != "c"


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic. What is left out of it is exact: x - 0 is x, but x + 0 is not where x is -0.0.


def _minus_zero(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    zero = getattr(inputs[1], "value", None)
    return inputs[0] if type(zero) in (int, float) and zero == 0 and math.copysign(1.0, zero) > 0 else None


def _double_negative(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    made = definitions.get(inputs[0])
    return made.inputs[0] if made is not None and made.op is negative else None


add = elementwise(
    "add", np.add, lambda d, out, x, y: d, lambda d, out, x, y: d,
    linear=[{0, 1}], python=operator.add, kinds="biufc", samples=binary_samples(-2, 2), simplify=_sum_with_negative,
)  # fmt: skip
subtract = elementwise(
    "subtract", np.subtract, lambda d, out, x, y: d, lambda d, out, x, y: -d,
    linear=[{0, 1}], python=operator.sub, kinds="iufc", samples=binary_samples(-2, 2),
    simplify=first_of(_minus_zero, _minus_negative),
)  # fmt: skip
multiply = elementwise(
    "multiply", np.multiply, lambda d, out, x, y: d * y, lambda d, out, x, y: d * x,
    linear=[{0}, {1}], python=operator.mul, kinds="biufc", samples=binary_samples(-2, 2),
    simplify=first_of(neutral(0, 1), neutral(1, 1), _minus_one, _odd(lambda: multiply)),
    hasten=_one_factor,
)  # fmt: skip
divide = elementwise(
    "divide", np.divide,
    lambda d, out, x, y: d / y, lambda d, out, x, y: -(d * out) / y,
    linear=[{0}], python=else_numpy(operator.truediv, np.divide), kinds="iufc", samples=binary_samples(0.5, 2),
    simplify=first_of(neutral(1, 1), _by_reciprocal(exactly=True), _odd(lambda: divide)),
    hasten=_by_reciprocal(exactly=False), neutral=1,
)  # fmt: skip
negative: Op = elementwise(
    "negative", np.negative, lambda d, out, x: -d, linear=[{0}], python=operator.neg, kinds="iufc",
    samples=unary_samples(-2, 2), simplify=_double_negative,
)  # fmt: skip
positive = elementwise(
    "positive", np.positive, lambda d, out, x: d, linear=[{0}], python=operator.pos, kinds="iufc",
    samples=unary_samples(-2, 2),
    simplify=lambda inputs, params, definitions: None if hasattr(inputs[0], "value") else inputs[0],
)  # fmt: skip
reciprocal = elementwise(
    "reciprocal", np.reciprocal, lambda d, out, x: -(d * out) / x,
    samples=unary_samples(0.5, 2), neutral=1,
)  # fmt: skip
square = elementwise("square", np.square, lambda d, out, x: 2 * d * x, kinds="iufc", samples=unary_samples(-2, 2))
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
    lambda d, out, x, y: d, lambda d, out, x, y: -d * np.trunc(x / y),
    neutral=1, kinds="iuf", samples=binary_samples(1.3, 1.4, -0.6, -0.55),
)  # fmt: skip


def _power_of_scalars(x: Any, p: Any) -> Any:
    """As of Python's numbers, but of reals it is real, and of integers an integer: that must not depend on the values."""
    found = _python_power(x, p)
    if type(found) is float and not isinstance(x, float | complex) and not isinstance(p, float | complex):
        raise ValueError(
            f"power{at(user_source())}: the int {x} to the traced int {p} would be a float in plain Python, and an int for "
            "other values; write float(x) ** n or 2.0 ** n"
        )
    return found


_python_power = else_numpy(operator.pow, np.power)


def _power_base(d: Any, out: Any, x: Any, p: Any) -> Any:
    """d * p * x**(p-1), which needs no guard for a Python exponent that keeps the power finite for all x."""
    if type(p) is int or type(p) is float:
        if p == 2:
            return 2 * d * x
        if p == 0:
            return None
        if p >= 1 and p == int(p):
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
    log = np.log(_domain(base, np.less(base, 0)) if _real_dtype(x) else base)
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
    samples=binary_samples(0.5, 2), hasten=_small_power, neutral=1,
)  # fmt: skip
float_power = elementwise(
    "float_power",
    np.float_power,
    _power_base,
    _power_exponent,
    samples=binary_samples(0.5, 2),
    neutral=1,
)


# ---------------------------------------------------------------------------------------------------------------------
# Exponentials, logarithms, roots.

exp = elementwise("exp", np.exp, lambda d, out, x: d * out, neutral=1, samples=unary_samples(-2, 2))
exp2 = elementwise("exp2", np.exp2, lambda d, out, x: d * (out * LN2), neutral=1, samples=unary_samples(-2, 2))
expm1 = elementwise("expm1", np.expm1, lambda d, out, x: d * np.exp(x), neutral=1, samples=unary_samples(-2, 2))
log = elementwise("log", np.log, lambda d, out, x: d / x, neutral=1, samples=unary_samples(0.3, 3))
log2 = elementwise("log2", np.log2, lambda d, out, x: d / (x * LN2), neutral=1, samples=unary_samples(0.3, 3))
log10 = elementwise(
    "log10", np.log10, lambda d, out, x: d / (x * LN10), neutral=1, samples=unary_samples(0.3, 3),
)  # fmt: skip
log1p = elementwise("log1p", np.log1p, lambda d, out, x: d / (x + 1), neutral=1, samples=unary_samples(-0.5, 2))
sqrt = elementwise("sqrt", np.sqrt, lambda d, out, x: d / (2 * out), neutral=1, samples=unary_samples(0.3, 3))
cbrt = elementwise(
    "cbrt", np.cbrt, lambda d, out, x: d / (3 * out * out), neutral=1, kinds="f", samples=unary_samples(0.3, 3)
)


# ---------------------------------------------------------------------------------------------------------------------
# Trigonometric and hyperbolic functions and their inverses.

sin = elementwise("sin", np.sin, lambda d, out, x: d * np.cos(x), samples=unary_samples(-2, 2))
cos = elementwise("cos", np.cos, lambda d, out, x: -d * np.sin(x), samples=unary_samples(-2, 2))
tan = elementwise("tan", np.tan, lambda d, out, x: d * (1 + out * out), samples=unary_samples(-1.2, 1.2))
sinh = elementwise("sinh", np.sinh, lambda d, out, x: d * np.cosh(x), neutral=1, samples=unary_samples(-2, 2))
cosh = elementwise("cosh", np.cosh, lambda d, out, x: d * np.sinh(x), neutral=1, samples=unary_samples(-2, 2))


def _sech_squared(x: Any, out: Any = None) -> Any:
    if number_kind(x.dtype if type(x) is np.ndarray else type_of(x).dtype) == "c":
        e = np.exp(2 * np.where(np.real(x) >= 0, -x, x))
        return 4 * e / np.square(1 + e)
    with np.errstate(over="ignore"):  # of cosh, where the result is zero
        root = np.cosh(x, out)
    if type(root) is not np.ndarray:
        root = np.reciprocal(root)
        return root * root
    np.reciprocal(root, root)
    return np.multiply(root, root, root)


def _spelled_sech_squared(args: Sequence[str], types: Sequence[ArrayType], views: Any, params: Params) -> str | None:
    t = types[0]
    return f"sech_squared({args[0]}{{out}})" if t.shape and number_kind(t.dtype) == "f" else None


_sech_squared_op = elementwise(
    "sech_squared", _sech_squared, lambda d, out, x: d * out * (-2 * np.tanh(x)),
    infer=ufunc_type(np.tanh), fresh=True, samples=unary_samples(-2, 2), spell=_spelled_sech_squared,
)  # fmt: skip


def sech_squared(x: Any) -> Any:
    """1 / cosh(x)**2, the derivative of tanh. From x: what tanh itself tells of it, 1 - tanh(x)**2, is 0 from x = 19 on."""
    return _sech_squared(x) if type(x) is np.ndarray else bind(_sech_squared_op, (x,))


tanh = elementwise("tanh", np.tanh, lambda d, out, x: d * sech_squared(x), samples=unary_samples(-2, 2))

# 1 - x**2, as a product near its zeros, with a derivative that does not cancel near that of its own.
_one_minus_square_op = elementwise(
    "one_minus_square", lambda x: np.subtract(1, x) * np.add(1, x), lambda d, out, x: -2 * d * x,
    infer=ufunc_type(np.sqrt), fresh=True, samples=unary_samples(-2, 2),
)  # fmt: skip


def _one_minus_square(x: Any) -> Any:
    return bind(_one_minus_square_op, (x,))


def _root_of_one_minus_square(x: Any) -> Any:
    """sqrt(1 - x**2), the derivative of the inverse sine's denominator."""
    if _real_dtype(x):
        x = _domain(x, np.greater(np.abs(x), 1))
    return np.sqrt(_one_minus_square(x))


def _root_of_square_minus_one(x: Any) -> Any:
    """sqrt(x**2 - 1) on the branch where x = cosh(y) gives sinh(y)."""
    if _real_dtype(x):
        x = _domain(x, np.less(x, 1))
    return np.sqrt(x - 1) * np.sqrt(x + 1)


def _arctan_partial(d: Any, out: Any, x: Any) -> Any:
    """d / (1 + x**2), for real x without the overflow of its square."""
    if not _real_dtype(x):
        return d / (1 + x * x)
    length = np.hypot(x, 1)
    return d / length / length


def _arctan2_partial(d: Any, x: Any, y: Any) -> Any:
    """d * x / (x**2 + y**2), without overflow or underflow of the squares; NaN at the origin, as in JAX."""
    length = np.hypot(x, y)
    return d * (x / length) / length


arcsin = elementwise(
    "arcsin",
    np.arcsin,
    lambda d, out, x: d / _root_of_one_minus_square(x),
    neutral=0.5,
    samples=unary_samples(-0.9, 0.9),
)
arccos = elementwise(
    "arccos",
    np.arccos,
    lambda d, out, x: -d / _root_of_one_minus_square(x),
    neutral=0.5,
    samples=unary_samples(-0.9, 0.9),
)
arctan = elementwise("arctan", np.arctan, _arctan_partial, samples=unary_samples(-2, 2))
arcsinh = elementwise(
    "arcsinh", np.arcsinh,
    lambda d, out, x: d / np.hypot(x, 1) if _real_dtype(x) else d / np.sqrt(x * x + 1),
    samples=unary_samples(-2, 2),
)  # fmt: skip
arccosh = elementwise(
    "arccosh", np.arccosh, lambda d, out, x: d / _root_of_square_minus_one(x), samples=unary_samples(1.2, 3), neutral=2
)
arctanh = elementwise(
    "arctanh", np.arctanh, lambda d, out, x: d / _one_minus_square(x), samples=unary_samples(-0.9, 0.9), neutral=0.5
)
arctan2 = elementwise(
    "arctan2", np.arctan2,
    lambda d, out, y, x: _arctan2_partial(d, x, y), lambda d, out, y, x: -_arctan2_partial(d, y, x),
    kinds="f", neutral=1, samples=binary_samples(0.3, 2, -2, -0.3),
)  # fmt: skip


def _hypot_slope(xp: Any, x: Any, y: Any) -> Any:
    """x / hypot(x, y), and 0 at the origin."""
    length = xp.hypot(x, y)
    return x / xp.where(length == 0, 1, length)


def _hypot_slope_partials() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(y / length)**2 / length and -x y / length**3: of terms that do not cancel where x or y is all of the length. (Of two
    divisions by a length XLA makes one by its square, which overflows.)"""

    def other(x: Any, y: Any) -> tuple[Any, Any]:
        length = np.hypot(x, y)  # NaN at the origin: the slope is 0 there by convention alone
        return bind(_hypot_slope_op, (y, x)), 1 / np.where(np.equal(length, 0), math.nan, length)

    def along_x(d: Any, out: Any, x: Any, y: Any) -> Any:
        slope, over_length = other(x, y)
        return d * slope * (slope * over_length)

    def along_y(d: Any, out: Any, x: Any, y: Any) -> Any:
        slope, over_length = other(x, y)
        return -d * out * (slope * over_length)

    return along_x, along_y


_hypot_slope_op: Op = elementwise(
    "hypot_slope", lambda x, y: _hypot_slope(np, x, y), *_hypot_slope_partials(),
    infer=ufunc_type(np.hypot), fresh=True, kinds="f", neutral=1, samples=binary_samples(0.3, 2, -2, -0.3),
)  # fmt: skip
hypot = elementwise(
    "hypot", np.hypot,
    lambda d, out, x, y: d * bind(_hypot_slope_op, (x, y)), lambda d, out, x, y: d * bind(_hypot_slope_op, (y, x)),
    kinds="f", neutral=1, samples=binary_samples(0.3, 2, -2, -0.3),
)  # fmt: skip


def _scaling(ufunc: np.ufunc, factor: float) -> Op:
    return elementwise(
        ufunc.__name__, ufunc, lambda d, out, x: d * factor, linear=[{0}], kinds="f", samples=unary_samples(-2, 2),
    )  # fmt: skip


deg2rad, radians = [_scaling(f, math.pi / 180) for f in (np.deg2rad, np.radians)]
rad2deg, degrees = [_scaling(f, 180 / math.pi) for f in (np.rad2deg, np.degrees)]


# ---------------------------------------------------------------------------------------------------------------------
# Size, sign, complex parts. On complex numbers these are linear over the reals only; the family takes the real part of
# a tangent wherever the output is real, which makes each map below the right one in both directions.


def _absolute_partial(d: Any, out: Any, x: Any) -> Any:
    """d times 1 or -1; at a real zero 1, at a complex zero 0, as in JAX."""
    if _real_dtype(x):
        return np.where(np.greater_equal(x, 0), d, -d)
    return d * share(np.conjugate(x), out)


def _sign_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    """Constant on the reals. A complex z / |z| turns with z: (t - out**2 conj(t)) / 2|z|, and is zero at zero."""
    (z,), (t,) = primals, tangents
    if _real_dtype(out):
        return None
    return (t - out * out * np.conjugate(t)) / (2 * _modulus_or_infinity(z))


def _sign_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    if _real_dtype(out):
        return [None]
    return [(ct - np.conjugate(out * out * ct)) / (2 * _modulus_or_infinity(primals[0]))]


def _modulus_or_infinity(z: Any) -> Any:
    return np.abs(np.where(np.equal(z, 0), math.inf, z))


absolute = elementwise(
    "absolute", np.absolute, _absolute_partial, python=else_numpy(abs, np.absolute), kinds="iufc", samples=unary_samples(0.3, 2),
)  # fmt: skip
fabs = elementwise("fabs", np.fabs, _absolute_partial, kinds="f", samples=unary_samples(-2, -0.3))
sign: Op = declare(
    "sign", evaluate=np.sign, infer=ufunc_type(np.sign), jvp=_sign_jvp, vjp=_sign_vjp,
    batch=elementwise_batch(lambda: sign), kinds="iufc", samples=unary_samples(0.3, 2),
)  # fmt: skip
UFUNCS[np.sign] = sign
conjugate = elementwise(
    "conjugate",
    np.conjugate,
    lambda d, out, x: np.conjugate(d),
    linear=[{0}],
    python=lambda x: x.conjugate(),
    kinds="iufc",
    samples=unary_samples(-2, 2),
)


def _part_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    if t.weak:
        return scalar_type(operator.attrgetter("real"), types, params)
    return ArrayType(t.shape, np.zeros((), t.dtype).real.dtype)


def _from_parts(x: Any, y: Any) -> Any:
    """The complex numbers of these parts, what is written into views of whose parts."""
    importlib.import_module("tracegrad.ops.clamp_and_bits")
    return bind(OPS["complex"], (x, y))


def _has_parts(x: Any) -> bool:
    """Whether the parts of an array are views of it."""
    return x.ndim > 0 and number_kind(x.dtype) == "c"


real_op = elementwise(
    "real", lambda x: np.asarray(x).real[()], lambda d, out, x: d,
    infer=_part_type, linear=[{0}], python=operator.attrgetter("real"), kinds="iufc", samples=unary_samples(-2, 2),
    strides=lambda inputs, types, params: None if number_kind(types[0].dtype) == "c" else inputs[0],
    view=View(lambda x, v: _from_parts(v, np.imag(x)), lambda x: x.real if _has_parts(x) else None),
)  # fmt: skip
imag_op = elementwise(
    "imag", lambda x: np.array(np.asarray(x).imag)[()], lambda d, out, x: None if _real_dtype(x) else d * -1j,
    infer=_part_type, linear=[{0}], python=operator.attrgetter("imag"), kinds="iufc", samples=unary_samples(-2, 2),
    view=View(lambda x, v: _from_parts(np.real(x), v), lambda x: x.imag if _has_parts(x) else None),
)  # fmt: skip


@implements(np.real)
def real(val: Any) -> Any:
    """The real part; a real array is its own."""
    val = as_array(val)
    found = type_of(val)
    return val if number_kind(found.dtype) != "c" and not found.weak else bind(real_op, (val,))


@implements(np.imag)
def imag(val: Any) -> Any:
    """The imaginary part; zeros for a real array."""
    return bind(imag_op, (as_array(val),))


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """The argument of complex numbers, in (-pi, pi], or in degrees. It has no derivative at zero: NaN."""
    z = as_array(z)
    result = np.arctan2(0, z) if _real_dtype(z) else np.arctan2(np.imag(z), np.real(z))
    return np.rad2deg(result) if deg else result


copysign = elementwise(
    "copysign", np.copysign, lambda d, out, x, y: np.where(np.equal(np.less(x, 0), np.signbit(y)), d, -d), None,
    kinds="f", samples=binary_samples(0.3, 2, -2, -0.3),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The larger and the smaller: half of the derivative to each of two equals, as in JAX.


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
# Choosing by a condition, changing dtype.


def _where_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    dtype = np.result_type(*[t.weight for t in types[1:]])
    return ArrayType(broadcast_shapes("where", types), dtype)


def _where_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(3)
    for shapes in [((2, 3), (2, 3), (2, 3)), ((3,), (2, 1), ()), ((2, 1), (3,), (2, 3))]:
        condition, x, y = [rng.uniform(-1, 1, s) for s in shapes]
        yield Sample((condition > 0, x, y))


where_op = elementwise(
    "where", np.where,
    None, lambda d, out, c, x, y: d, lambda d, out, c, x, y: d,
    taken=lambda out, c, x, y: (None, *parted(lambda: c)), infer=_where_type, linear=[{1, 2}], kinds="biufc", samples=_where_samples, fresh=True,
    strides=lambda inputs, types, params: None if None in inputs else new_strides(np.broadcast_shapes(*[t.shape for t in types]), inputs),
)  # fmt: skip


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """`x` where the condition holds, `y` elsewhere; of a condition alone, the places where it holds."""
    if x is None and y is None:
        return np.nonzero(condition)
    return bind(where_op, (condition, x, y))


def _astype_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(types[0].shape, params["dtype"])


def _astype_samples() -> Iterable[Sample]:
    x = np.array([[-1.25, 2.5, 0.75]])
    for dtype in ("float32", "float64", "complex128"):
        yield Sample((x,), {"dtype": np.dtype(dtype)})


def _astype(x: Any, dtype: np.dtype[Any]) -> Any:
    x = np.asarray(x)
    return (x.real if number_kind(x.dtype) == "c" and number_kind(dtype) not in "cb" else x).astype(dtype)[()]


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """Whether every number of the one dtype is one of the other: int64 and float64 are "safe" for NumPy, and not that."""
    exact = not (
        number_kind(narrow) in "iu" and narrow.itemsize == 8 and is_inexact(wide) and wide.type is not np.longdouble
    )
    return exact and np.can_cast(narrow, wide, "safe")


def _simpler_cast(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """A cast to the dtype that is there already is none, and one on the way to another leaves no trace if it loses
    nothing."""
    (x,) = inputs
    made = definitions.get(x)
    if made is not None and made.op is astype_op:
        (first,) = made.inputs
        if not first.type.weak and _holds(x.type.dtype, first.type.dtype):
            return astype_op, made.inputs, params
    return x if x.type.dtype == params["dtype"] and not x.type.weak else None


astype_op: Op = elementwise(
    "astype",
    _astype,
    lambda d, out, x, dtype: d,
    infer=_astype_type,
    linear=[{0}],
    kinds="biufc",
    samples=_astype_samples,
    simplify=_simpler_cast,
)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """`x` with another dtype. From complex to real the imaginary part goes. The derivative is cast the same way."""
    dtype = np.dtype(dtype)
    if number_kind(dtype) not in "biu" and not is_inexact(dtype):
        raise DtypeError(f"astype: {dtype} is not a dtype of numbers")
    found = type_of(x)
    if found.dtype == dtype and not found.weak:
        return x
    return bind(astype_op, (x,), {"dtype": dtype})


def _item(x: Any, dtype: np.dtype[Any]) -> Any:
    return _ITEMS[number_kind(dtype)](np.asarray(x).item())


_ITEMS: dict[str, type] = {number_kind(dtype): kind for kind, dtype in PYTHON_SCALARS.items()}


def _item_samples() -> Iterable[Sample]:
    yield Sample((np.array(1.25),), {"dtype": np.dtype(np.float64)})


def _item_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return astype(tangents[0], params["dtype"]) if is_inexact(params["dtype"]) else None


def _item_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    return [conform(ct, primals[0]) if is_inexact(params["dtype"]) else None]


# A number as a Python number, whose dtype, one of PYTHON_SCALARS, yields to an array's. In a batch it is one of that dtype.
item_op: Op = declare(
    "item",
    evaluate=_item,
    infer=lambda types, params: ArrayType((), params["dtype"], True),
    jvp=_item_jvp,
    vjp=_item_vjp,
    linear=[{0}],
    batch=lambda size, batched, inputs, params: bind(astype_op, tuple(inputs), params),
    kinds="f",
    samples=_item_samples,
    python=_item,
    fresh=True,
)


def widened(x: Any) -> Any:
    """float16 and other narrow floats as float32, where a count of elements has a place, and so has a sum of many (float16
    ends at 65504); anything else as it is."""
    dtype = type_of(x).dtype
    return astype(x, np.float32) if is_narrow(dtype) else x


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether it is a float dtype narrower than float32."""
    return dtype.itemsize < 4 and is_inexact(dtype)


def _astype_copying(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """The same in memory of its own, as users get it."""
    found = astype(x, dtype)
    return bind(OPS["copy"], (x,), {"order": "K"}) if found is x and copy else found


FUNCTIONS[np.astype] = _astype_copying
