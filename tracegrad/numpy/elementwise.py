"""NumPy's functions of elements that are made of several ops: limits, choices, angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, strengthened
from tracegrad.core.tracer import Tracer, concrete, plain_value
from tracegrad.core.types import PYTHON_SCALARS, is_added, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, reject, shape_of
from tracegrad.typing import Array, ArrayLike, DType


@implements(np.angle)
def angle(z: ArrayLike, deg: bool = False) -> Array:
    """The argument of complex numbers, in (-pi, pi], or in degrees. It has no derivative at zero: NaN.

    >>> angle(np.array([1j, -1.0]), deg=True).tolist()
    [90.0, 180.0]
    """
    z = as_array(z)
    result = np.arctan2(0, z) if number_kind(type_of(z).dtype) != "c" else np.arctan2(np.imag(z), np.real(z))
    return np.rad2deg(result) if deg else result


@implements(np.real_if_close)
def real_if_close(a: ArrayLike, tol: float = 100) -> Array:
    """The real parts, if all imaginary ones are below `tol` machine epsilons (or below `tol`, if that is not above 1); else the array.
    Which of the two it is depends on the values, so they must be known.

    >>> real_if_close(np.array([1 + 1e-16j])).tolist()
    [1.0]
    """
    z = as_array(a)
    if number_kind(type_of(z).dtype) != "c":
        return z
    known = concrete(z, "np.real_if_close", "write x.real")
    limit = tol * np.finfo(known.dtype).eps if tol > 1 else tol
    return np.real(z) if np.all(np.abs(np.imag(known)) < limit) else z


@implements(np.unwrap)
def unwrap(p: ArrayLike, discont: ArrayLike | None = None, axis: int = -1, *, period: float = 2 * math.pi) -> Array:
    """Jumps of more than `discont` (default: half a period) along the axis are made up for by whole periods.

    >>> unwrap(np.array([0, 170, -170, -10]), period=360).tolist()
    [0, 170, 190, 350]
    """
    p = as_array(p)
    if is_added(type_of(p).dtype):
        p = astype(p, np.float64)
    steps = np.diff(p, axis=axis)
    half = period / 2
    wrapped = np.remainder(steps + half, period) - half
    wrapped = np.where(np.logical_and(np.equal(wrapped, -half), np.greater(steps, 0)), half, wrapped)
    limit = half if discont is None else np.maximum(discont, half)
    jumps = np.where(np.less(np.abs(steps), limit), 0, wrapped - steps)
    first = tuple([slice(None)] * (axis % len(p.shape)) + [slice(0, 1)])
    rest = tuple([slice(None)] * (axis % len(p.shape)) + [slice(1, None)])
    return np.concatenate([p[first], p[rest] + np.cumsum(jumps, axis=axis)], axis=axis)


@implements(np.divmod)
def divmod(
    x1: ArrayLike, x2: ArrayLike, /, out: Array | None = None, *, where: ArrayLike = True
) -> tuple[Array, Array]:
    """`(x1 // x2, x1 % x2)`.

    >>> divmod(7, np.array([2, -2]))
    (array([ 3, -4]), array([ 1, -1]))
    """
    reject(np.divmod, out=out, where=None if where is True else where)
    return np.floor_divide(x1, x2), np.remainder(x1, x2)


@implements(np.fix)
def fix(x: ArrayLike, out: Array | None = None) -> Array:
    """Rounded towards zero. The derivative is zero.

    >>> fix(np.array([-1.5, 1.5])).tolist()
    [-1.0, 1.0]
    """
    reject(np.fix, out=out)
    return np.trunc(as_array(x))


_NOT_GIVEN: Any = object()


@implements(np.clip)
def clip(
    a: ArrayLike, a_min: ArrayLike = None, a_max: ArrayLike = None, out: Array | None = None, *, min: ArrayLike = _NOT_GIVEN, max: ArrayLike = _NOT_GIVEN,
    dtype: DType = None, where: ArrayLike = None,
) -> Array:  # fmt: skip
    """Limited to the interval from `a_min` (or `min`) to `a_max` (or `max`), which broadcast against `a`; None means no limit
    on that side. An element that equals a limit shares the derivative with it, half to each.

    Raises:
        ValueError: a limit given under both names.

    >>> clip(np.array([-2.0, 0.5, 9.0]), 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    reject(np.clip, dtype=dtype, where=where)
    low = a_min if min is _NOT_GIVEN else min
    high = a_max if max is _NOT_GIVEN else max
    if (a_min is not None and min is not _NOT_GIVEN) or (a_max is not None and max is not _NOT_GIVEN):
        raise ValueError("clip: a limit is given twice; pass a_min or min, a_max or max")
    a = strengthened(as_array(a))
    dtype = type_of(a).dtype
    if number_kind(dtype) in "iu":  # to which a Python int need not belong
        limits = np.iinfo(dtype)
        low = None if type(low) is int and low <= limits.min else low
        high = None if type(high) is int and high >= limits.max else high
        if type(low) is Tracer and low.type.weak:
            low = np.maximum(low, limits.min).item()
        if type(high) is Tracer and high.type.weak and limits.max < 2**63:
            high = np.minimum(high, limits.max).item()
    if low is None and high is None:
        return np.positive(a)
    given = [type_of(as_array(x)).weight for x in (a, low, high) if x is not None]
    if len(given) == 3 and is_added(dtype):
        given[0] = np.float32  # np.clip with both limits is a ufunc that has no bfloat16
    a = astype(a, np.result_type(*given))  # which depends on all of them, not on two at a time
    if low is not None:
        a = np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


@implements(np.nan_to_num)
def nan_to_num(
    x: ArrayLike, copy: bool = True, nan: ArrayLike = 0.0, posinf: ArrayLike = None, neginf: ArrayLike = None
) -> Array:
    """NaN replaced by `nan`, infinities by `posinf` and `neginf` (None: the largest finite numbers of the dtype).

    The derivative of what was replaced is zero. Of complex numbers both parts are replaced; integers are as they were.

    >>> nan_to_num(np.array([np.nan, -np.inf, 2.0]), neginf=-1).tolist()
    [0.0, -1.0, 2.0]
    """
    x = strengthened(as_array(x))
    dtype = type_of(x).dtype
    if number_kind(dtype) == "c":
        return nan_to_num(np.real(x), True, nan, posinf, neginf) + 1j * nan_to_num(
            np.imag(x), True, nan, posinf, neginf
        )
    if not issubclass(dtype.type, np.floating):  # nor is bfloat16 one to NumPy
        return x
    limits = np.finfo(dtype)
    high, low = [
        (limit if np.isinf(float(limit)) else float(limit)) if given is None else given  # a long double is no float
        for given, limit in ((posinf, limits.max), (neginf, limits.min))
    ]
    for replaced, replacement in [(np.isnan(x), nan), (np.isposinf(x), high), (np.isneginf(x), low)]:
        # NumPy copies the replacement into an array of this dtype.
        x = np.where(replaced, replacement if type(replacement) is float else astype(replacement, dtype), x)
    return x


@implements(np.select)
def select(condlist: Sequence[ArrayLike], choicelist: Sequence[ArrayLike], default: ArrayLike = 0) -> Array:
    """For each element the choice of the first condition that holds there, else the default. All broadcast together.

    Raises:
        ValueError: no conditions, or not as many choices.
        DtypeError: a condition that is not boolean.

    >>> x = np.array([-2.0, 0.5, 3.0])
    >>> select([x < 0, x > 1], [0.0, 1.0], x).tolist()
    [0.0, 0.5, 1.0]
    """
    if len(condlist) != len(choicelist):
        raise ValueError(f"select: {len(condlist)} conditions for {len(choicelist)} choices; give one for each")
    if not len(condlist):
        raise ValueError("select: no conditions; give at least one")
    conditions = [as_array(c) for c in condlist]
    for i, c in enumerate(conditions):
        if number_kind(type_of(c).dtype) != "b":
            raise DtypeError(f"select: condition {i} is {type_of(c)}, not boolean; write a comparison, such as x != 0")
    values = [as_array(x) for x in (*choicelist, default)]
    # Of all of them together, where the conditions would give that of two at a time.
    dtype = np.result_type(*[type_of(x).weight for x in values])
    values = [x if type_of(x).weak else astype(x, dtype) for x in values]
    *choices, result = values
    choices[-1] = dtype.type(choices[-1]) if type(choices[-1]) in PYTHON_SCALARS else astype(choices[-1], dtype)
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = np.where(condition, choice, result)
    return result


@implements(np.choose)
def choose(a: ArrayLike, choices: Sequence[ArrayLike] | Array, out: Array | None = None, mode: str = "raise") -> Array:
    """`choices[a[i]][i]` for each element i, after broadcasting: `a` selects one of few arrays.

    `mode` says what an index outside of range(len(choices)) does: "raise" (wherever its value is known), "wrap" around,
    or be limited ("clip").

    Raises:
        DtypeError: an index that is not of integers.
        ValueError: an index out of range, or no such mode.

    >>> choose(np.array([1, 0, 1]), [[1, 2, 3], [10, 20, 30]]).tolist()
    [10, 2, 30]
    """
    a = as_array(a)
    count = shape_of(choices)[0] if type(choices) is Tracer else len(choices)
    if number_kind(type_of(a).dtype) not in "biu":
        raise DtypeError(f"choose: the index is {type_of(a)}, not an array of integers")
    if mode == "wrap":
        a = np.remainder(a, count)
    elif mode == "raise" and (value := plain_value(a, "np.choose")) is not None:
        if np.any(value < 0) or np.any(value >= count):
            raise ValueError(f"choose: index {value} is out of range for {count} choices{at(user_source())}")
    elif mode not in ("raise", "clip"):
        raise ValueError(f"choose: mode must be 'raise', 'wrap' or 'clip', not {mode!r}")
    result = choices[count - 1]
    for i in reversed(range(count - 1)):
        result = np.where(np.less_equal(a, i), choices[i], result)
    return np.broadcast_to(result, broadcast_shapes(shape_of(a), shape_of(result)))
