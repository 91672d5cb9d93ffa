"""jax.lax's elementwise functions that are neither NumPy's nor an op by themselves, and choosing among cases."""

from __future__ import annotations

import enum
import operator
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.bits import integers, unsigned
from tracegrad.ops.elementwise import astype, round_away_from_zero
from tracegrad.typing import Array, ArrayLike, DType


def fails(name: str, why: str) -> ShapeError:
    """The error of a function of this namespace, with the user's line."""
    return ShapeError(f"{name}: {why}{at(user_source())}")


def dtype_of(x: ArrayLike) -> np.dtype[Any]:
    """The dtype of an array, traced or not, or of a number."""
    return type_of(as_array(x)).dtype


# ---------------------------------------------------------------------------------------------------------------------
# Elementwise functions that are not NumPy's.


class RoundingMethod(enum.IntEnum):
    """Where `round` takes halves."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def round(x: ArrayLike, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO) -> Array:
    """The nearest integer, in the dtype of `x`; halves go away from zero, or to the even one. The derivative is zero.

    >>> round(np.array([0.5, 1.5, -2.5])).tolist(), round(2.5, RoundingMethod.TO_NEAREST_EVEN)
    ([1.0, 2.0, -3.0], np.float64(2.0))
    """
    if RoundingMethod(rounding_method) is RoundingMethod.AWAY_FROM_ZERO:
        return round_away_from_zero(x)
    return np.rint(as_array(x))


def mul(x: ArrayLike, y: ArrayLike, *, out_dtype: DType = None) -> Array:
    """x * y, which broadcast together, computed in `out_dtype` if that is given.

    >>> mul(2.0, 3.0)
    np.float64(6.0)
    """
    return np.multiply(x, y) if out_dtype is None else np.multiply(astype(x, out_dtype), astype(y, out_dtype))


def div(x: ArrayLike, y: ArrayLike) -> Array:
    """x / y; of integers, the quotient without its fraction, which rounds towards zero (NumPy's // rounds down).

    >>> int(div(-7, 2)), float(div(7.0, 2.0))
    (-3, 3.5)
    """
    if number_kind(dtype_of(x)) in "iu" and number_kind(dtype_of(y)) in "iu":
        return np.floor_divide(np.subtract(x, np.fmod(x, y)), y)
    return np.divide(x, y)


def integer_pow(x: ArrayLike, y: int) -> Array:
    """x to the power of a Python integer, in the dtype of `x`.

    Raises:
        TypeError: a power that is not an integer.

    >>> float(integer_pow(2.0, -2))
    0.25
    """
    return np.power(x, operator.index(y))


def conj(x: ArrayLike) -> Array:
    """The complex conjugate, of a real number too a complex one.

    >>> conj(np.array([1 + 2j])).tolist()
    [(1-2j)]
    """
    x = as_array(x)
    dtype = dtype_of(x)
    return np.conjugate(x) if number_kind(dtype) == "c" else astype(x, np.result_type(dtype, np.complex64))


def convert_element_type(operand: ArrayLike, new_dtype: DType) -> Array:
    """`operand` in another dtype. From complex to real the imaginary part goes.

    >>> convert_element_type(np.ones(2), np.float32).dtype.name
    'float32'
    """
    return astype(as_array(operand), new_dtype)


def population_count(x: ArrayLike) -> Array:
    """The number of one bits, in the dtype of `x`. (np.bitwise_count counts those of the absolute value.)

    >>> import numpy as np
    >>> population_count(np.array([7, -1], np.int8)).tolist()
    [3, 8]
    """
    x = integers("population_count", x)
    dtype = type_of(x).dtype
    return astype(np.bitwise_count(astype(x, unsigned(dtype))), dtype)


def shift_right_logical(x: ArrayLike, y: ArrayLike) -> Array:
    """`x` shifted right by `y` bits, zeros coming in at the left; 0 for shifts beyond its width.

    >>> import numpy as np
    >>> int(shift_right_logical(np.int8(-4), np.int8(1)))
    126
    """
    x, y = integers("shift_right_logical", x, y)
    dtype = np.result_type(type_of(x).dtype, type_of(y).dtype)
    bits = [astype(astype(v, dtype), unsigned(dtype)) for v in (x, y)]
    return astype(np.right_shift(*bits), dtype)


def shift_right_arithmetic(x: ArrayLike, y: ArrayLike) -> Array:
    """`x` shifted right by `y` bits, the highest bit repeated at the left, also of an unsigned number.

    >>> import numpy as np
    >>> int(shift_right_arithmetic(np.int8(-4), np.int8(1))), int(shift_right_arithmetic(np.uint8(200), np.uint8(1)))
    (-2, 228)
    """
    x, y = integers("shift_right_arithmetic", x, y)
    dtype = np.result_type(type_of(x).dtype, type_of(y).dtype)
    bits = [astype(astype(v, dtype), np.dtype(f"i{dtype.itemsize}")) for v in (x, y)]
    return astype(np.right_shift(*bits), dtype)


def select_n(which: ArrayLike, *cases: ArrayLike) -> Array:
    """For each element the case of that number: `cases[which[i]][i]`. `which` is a scalar or of the shape of the cases,
    boolean for two of them (False takes the first). Numbers out of range take the nearest case.

    Raises:
        DtypeError: `which` is neither boolean nor integer, or boolean for more than two cases.
        ShapeError: cases of several shapes, or `which` of another one.

    >>> select_n(np.array([2, 0, 1]), np.zeros(3), np.ones(3), np.full(3, 5.0)).tolist()
    [5.0, 0.0, 1.0]
    """
    w, arrays = as_array(which), [as_array(c) for c in cases]
    chooser, types = type_of(w), [type_of(c) for c in arrays]
    if not arrays:
        raise ValueError("select_n: no cases; give at least one")
    if number_kind(chooser.dtype) not in "biu":
        raise DtypeError(f"select_n: which must be boolean or integer, got {chooser}{at(user_source())}")
    if number_kind(chooser.dtype) == "b" and len(arrays) > 2:
        raise DtypeError(f"select_n: a boolean chooses among 2 cases, not {len(arrays)}; write which.astype(int)")
    if len({t.shape for t in types}) > 1 or chooser.shape not in ((), types[0].shape):
        raise fails(
            "select_n",
            f"cases must be of one shape, and which of this or a scalar; got {chooser} for {', '.join(map(str, types))}",
        )
    chosen = arrays[-1]
    for i, case in reversed(list(enumerate(arrays[:-1]))):
        chosen = np.where(np.logical_not(w) if number_kind(chooser.dtype) == "b" else np.less_equal(w, i), case, chosen)
    return chosen


def select(pred: ArrayLike, on_true: ArrayLike, on_false: ArrayLike) -> Array:
    """`on_true` where `pred` holds, else `on_false`: `select_n` with the cases in the other order, and its errors.

    >>> select(np.array([True, False]), np.ones(2), np.zeros(2)).tolist()
    [1.0, 0.0]
    """
    if number_kind(dtype_of(pred)) != "b":
        raise DtypeError(f"select: pred must be boolean, got {type_of(as_array(pred))}; write pred != 0")
    return select_n(pred, on_false, on_true)
