"""Elementwise ops that jax.lax has and NumPy has not: clamping, reciprocal roots, rounding away from zero, complex numbers
from their parts; and numbers as the bits that they are stored in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, float_limits, number_kind, type_of
from tracegrad.ops.elementwise import astype, integer_samples, unary_samples
from tracegrad.ops.families import (
    along_axis,
    broadcast_shapes,
    elementwise,
    locally_constant,
    normalize_axes,
    shape_of,
    ufunc_type,
)
from tracegrad.ops.masks import Mask
from tracegrad.ops.reduce import reduction_type

# ---------------------------------------------------------------------------------------------------------------------
# Clamping, roots, rounding.


def _clamp_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    low, x, high = types
    dtype = np.maximum.resolve_dtypes((x.promotion, low.promotion, None))[-1]
    dtype = np.minimum.resolve_dtypes((dtype, high.promotion, None))[-1]
    return ArrayType(broadcast_shapes("clamp", types), dtype)


def _clamp_samples() -> Iterable[Sample]:
    x = np.array([[-1.5, 0.2, 1.3], [0.4, -0.7, 2.1]])
    yield Sample((np.array(-0.9), x, np.array(0.8)))
    yield Sample((np.array([-1.0, 0.1, 0.3]), x, x + 0.6))
    yield Sample((np.array([-1.0, 0.1, 2.3]), x, np.array(0.7)))  # limits that cross: the upper one rules


clamp_op = elementwise(
    "clamp",
    lambda low, x, high: np.minimum(np.maximum(x, low), high),
    *[lambda d, out, low, x, high: d] * 3,
    taken=lambda out, low, x, high: (
        Mask(lambda: np.logical_and(np.greater(low, x), np.less(low, high))),
        Mask(lambda: np.logical_and(np.greater(x, low), np.less(x, high))),
        Mask(lambda: np.less(high, np.maximum(x, low))),
    ),
    infer=_clamp_type,
    kinds="biuf",
    samples=_clamp_samples,
)


def clamp(min: Any, x: Any, max: Any) -> Any:
    """`x` limited to the interval from `min` to `max`, each a scalar or of the shape of `x`. An element that equals a
    limit has derivative zero, and so has the limit there, as in JAX.

    >>> import numpy as np
    >>> clamp(0.0, np.array([-1.0, 0.5, 3.0]), 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    low, x, high = [as_array(v) for v in (min, x, max)]
    shape = shape_of(x)
    for name, limit in (("min", low), ("max", high)):
        if shape_of(limit) not in ((), shape):
            raise ShapeError(
                f"clamp: {name} must be a scalar or of the shape of x, got {type_of(limit)} for {type_of(x)}"
                f"{at(user_source())}; write np.broadcast_to({name}, x.shape)"
            )
    return bind(clamp_op, (low, x, high))


rsqrt_op = elementwise(
    "rsqrt",
    lambda x: 1 / np.sqrt(x),
    lambda d, out, x: d * out / (-2 * x),
    neutral=1,
    infer=ufunc_type(np.sqrt),
    samples=unary_samples(0.3, 3),
)


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x).

    >>> float(rsqrt(4.0))
    0.5
    """
    return bind(rsqrt_op, (x,))


def _same_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(types[0].shape, types[0].dtype)


def _round_away(x: Any) -> Any:
    whole = np.trunc(x)
    with np.errstate(invalid="ignore"):  # inf - inf
        return np.where(np.abs(x - whole) >= 0.5, whole + np.sign(x), whole)[()]


round_away_op = elementwise(
    "round_away", _round_away, infer=_same_type, kinds="f", samples=unary_samples(0.6, 0.9),
)  # fmt: skip


def round_away_from_zero(x: Any) -> Any:
    """Rounded to the nearest integer, halves away from zero; integers as they are. The derivative is zero.

    >>> import numpy as np
    >>> round_away_from_zero(np.array([-0.5, 0.5, 2.5])).tolist()
    [-1.0, 1.0, 3.0]
    """
    x = as_array(x)
    return bind(round_away_op, (x,)) if number_kind(type_of(x).dtype) == "f" else x


# ---------------------------------------------------------------------------------------------------------------------
# A complex number from its parts. `x + 1j * y` would make NaN of an infinite part.


def _from_parts(x: Any, y: Any) -> Any:
    found = _from_parts_type([type_of(x), type_of(y)], {})
    out = np.empty(found.shape, found.dtype)
    out.real, out.imag = x, y
    return out[()]


def _from_parts_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    if any([number_kind(t.dtype) == "c" for t in types]):
        raise DtypeError(f"complex: real and imaginary part must be real, got {types[0]} and {types[1]}")
    dtype = np.result_type(*[t.weight for t in types], np.complex64)
    return ArrayType(broadcast_shapes("complex", types), dtype)


def _parts_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for left, right in [((2, 3), (2, 3)), ((3,), (2, 1)), ((), (3,))]:
        yield Sample((rng.uniform(-1, 1, left), rng.uniform(-1, 1, right)))


complex_op = elementwise(
    "complex",
    _from_parts,
    lambda d, out, x, y: d,
    lambda d, out, x, y: d * 1j,
    infer=_from_parts_type,
    linear=[{0, 1}],
    kinds="f",
    samples=_parts_samples,
)


def from_parts(x: Any, y: Any) -> Any:
    """The complex number x + iy.

    >>> complex(from_parts(1.0, -2.0))
    (1-2j)
    """
    return bind(complex_op, (as_array(x), as_array(y)))


# ---------------------------------------------------------------------------------------------------------------------
# Less precision.


def _reduce_precision(x: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    x = np.asarray(x)
    own = float_limits(x.dtype)
    wide = x.astype(np.result_type(x, np.float64))
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        out = wide
        if mantissa_bits < own.nmant:
            fraction, exponent = np.frexp(wide)
            kept = np.rint(np.ldexp(fraction, mantissa_bits + 1))
            out = np.where(np.isfinite(wide), np.ldexp(kept, exponent - (mantissa_bits + 1)), wide)
        if exponent_bits < own.nexp:
            bias = 2 ** (exponent_bits - 1) - 1
            largest = (2 - 2.0**-mantissa_bits) * 2.0**bias
            out = np.where(np.abs(out) > largest, np.copysign(np.inf, out), out)
            out = np.where(np.abs(out) < 2.0 ** (1 - bias), np.copysign(0, out), out)
        return out.astype(x.dtype)[()]


def _precision_samples() -> Iterable[Sample]:
    # So many bits that differences of neighbours are seen.
    yield Sample((np.array([[1.1, -2.3], [0.7, 5.9]]),), {"exponent_bits": 8, "mantissa_bits": 48})
    yield Sample((1.1,), {"exponent_bits": 11, "mantissa_bits": 50})


reduce_precision_op: Op = elementwise(
    "reduce_precision",
    _reduce_precision,
    lambda d, out, x, **bits: bind(reduce_precision_op, (d,), bits),
    infer=_same_type,
    kinds="f",
    samples=_precision_samples,
)


def reduce_precision(operand: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    """`operand` rounded to a float format of so many bits, in the dtype that it has. What is too large there becomes
    infinite, what is too small zero. Tangents and cotangents are rounded alike, as in JAX.

    >>> float(reduce_precision(1.1, 5, 10))
    1.099609375
    """
    x = as_array(operand)
    if number_kind(type_of(x).dtype) != "f":
        raise DtypeError(f"reduce_precision takes floats, got {type_of(x)}{at(user_source())}")
    if exponent_bits < 1 or mantissa_bits < 0:
        raise ValueError(
            f"reduce_precision: needs at least 1 exponent bit and 0 mantissa bits, got {exponent_bits} and {mantissa_bits}"
        )
    return bind(reduce_precision_op, (x,), {"exponent_bits": exponent_bits, "mantissa_bits": mantissa_bits})


# ---------------------------------------------------------------------------------------------------------------------
# Bits.


def unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The unsigned dtype of the same size."""
    return np.dtype(f"u{dtype.itemsize}")


def signed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The signed dtype of the same size."""
    return np.dtype(f"i{dtype.itemsize}")


def _bitcast(x: Any, dtype: np.dtype[Any]) -> Any:
    x = np.asarray(x)
    shape = _bitcast_type([type_of(x)], {"dtype": dtype}).shape
    # One axis more, so that NumPy has one to divide or to merge.
    flat = (
        np.ascontiguousarray(x).reshape(*x.shape, 1) if dtype.itemsize <= x.dtype.itemsize else np.ascontiguousarray(x)
    )
    return flat.view(dtype).reshape(shape)[()]


def _bitcast_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,), dtype = types, params["dtype"]
    old, new = t.dtype.itemsize, dtype.itemsize
    if number_kind(t.dtype) not in "iuf" or number_kind(dtype) not in "iuf":
        raise DtypeError(f"bitcast_convert_type takes integers and floats, got {t} and {dtype}")
    if new == old:
        return ArrayType(t.shape, dtype)
    if new < old:
        return ArrayType((*t.shape, old // new), dtype)
    if t.shape[-1:] != (new // old,):
        raise ShapeError(
            f"bitcast_convert_type of {t} to {dtype}: {new // old} elements make one of these, so the last axis must be "
            f"that long"
        )
    return ArrayType(t.shape[:-1], dtype)


def _bitcast_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(bitcast_op, tuple(inputs), params)


def _bitcast_samples() -> Iterable[Sample]:
    x = np.array([[1.5, -2.0], [0.1, 3.25]])
    yield Sample((x,), {"dtype": np.dtype("int16")})
    yield Sample((x[0, 0],), {"dtype": np.dtype("uint8")})
    yield Sample((np.zeros((0, 2)),), {"dtype": np.dtype("uint8")})
    yield Sample((x.view("int32").reshape(4, 2),), {"dtype": np.dtype("float64")})


bitcast_op: Op = locally_constant(
    "bitcast_convert_type", _bitcast, infer=_bitcast_type, batch=_bitcast_batch, kinds="f", samples=_bitcast_samples,
)  # fmt: skip


def bitcast_convert_type(operand: Any, new_dtype: Any) -> Any:
    """The bits of `operand` read as another dtype of integers or floats. A smaller one divides each element along a new
    last axis; a larger one merges the elements along the last axis, which must be that long. No derivative.

    >>> import numpy as np
    >>> hex(bitcast_convert_type(np.float32(1.0), np.uint32))
    '0x3f800000'
    """
    x, dtype = as_array(operand), np.dtype(new_dtype)
    return x if type_of(x).dtype == dtype else bind(bitcast_op, (x,), {"dtype": dtype})


def _leading_zeros(x: Any) -> Any:
    x = np.asarray(x)
    bits = 8 * x.dtype.itemsize
    below = x.astype(unsigned(x.dtype))
    shift = 1
    while shift < bits:  # sets every bit below the highest
        below = below | (below >> shift)
        shift *= 2
    return (bits - np.bitwise_count(below)).astype(x.dtype)[()]


clz_op = elementwise("clz", _leading_zeros, infer=_same_type, kinds="iu", samples=integer_samples(1))


def clz(x: Any) -> Any:
    """The number of zero bits before the first one.

    >>> import numpy as np
    >>> clz(np.array([0, 7, -1], np.int8)).tolist()
    [8, 5, 0]
    """
    return bind(clz_op, (_integers("clz", x),))


def _integers(name: str, *values: Any) -> Any:
    """The values as arrays; DtypeError unless all are integers."""
    found = [as_array(x) for x in values]
    for x in found:
        if number_kind(type_of(x).dtype) not in "iu":
            raise DtypeError(f"{name} takes integers, got {type_of(x)}{at(user_source())}; write x.astype(int)")
    return found if len(found) > 1 else found[0]


def population_count(x: Any) -> Any:
    """The number of one bits, in the dtype of `x`. (np.bitwise_count counts those of the absolute value.)

    >>> import numpy as np
    >>> population_count(np.array([7, -1], np.int8)).tolist()
    [3, 8]
    """
    x = _integers("population_count", x)
    dtype = type_of(x).dtype
    return astype(np.bitwise_count(astype(x, unsigned(dtype))), dtype)


def shift_right_logical(x: Any, y: Any) -> Any:
    """`x` shifted right by `y` bits, zeros coming in at the left; 0 for shifts beyond its width.

    >>> import numpy as np
    >>> int(shift_right_logical(np.int8(-4), np.int8(1)))
    126
    """
    x, y = _integers("shift_right_logical", x, y)
    dtype = np.result_type(type_of(x).dtype, type_of(y).dtype)
    bits = [astype(astype(v, dtype), unsigned(dtype)) for v in (x, y)]
    return astype(np.right_shift(*bits), dtype)


def shift_right_arithmetic(x: Any, y: Any) -> Any:
    """`x` shifted right by `y` bits, the highest bit repeated at the left, also of an unsigned number.

    >>> import numpy as np
    >>> int(shift_right_arithmetic(np.int8(-4), np.int8(1))), int(shift_right_arithmetic(np.uint8(200), np.uint8(1)))
    (-2, 228)
    """
    x, y = _integers("shift_right_arithmetic", x, y)
    dtype = np.result_type(type_of(x).dtype, type_of(y).dtype)
    bits = [astype(astype(v, dtype), signed(dtype)) for v in (x, y)]
    return astype(np.right_shift(*bits), dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Reductions of bits.


def _bit_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).integers(0, 8, (2, 3, 2))
    for axes in [(0, 1, 2), (1,), (0, 2), ()]:
        for keepdims in (False, True):
            yield Sample((x,), {"axes": axes, "keepdims": keepdims})


def _bit_reduction(name: str, ufunc: np.ufunc) -> Op:
    return locally_constant(
        name,
        lambda x, axes, keepdims: ufunc.reduce(x, axes, keepdims=keepdims),
        infer=reduction_type(lambda dtype: dtype),
        batch=along_axis(name),
        kinds="biu",
        samples=_bit_samples,
    )


_BIT_REDUCTIONS: dict[np.ufunc, Op] = {
    f: _bit_reduction(name, f)
    for name, f in (("reduce_and", np.bitwise_and), ("reduce_or", np.bitwise_or), ("reduce_xor", np.bitwise_xor))
}


def reduce_bits(ufunc: np.ufunc, operand: Any, axes: Any) -> Any:
    """np.bitwise_and, bitwise_or or bitwise_xor over all elements along the axes, of booleans or integers."""
    x, op = as_array(operand), _BIT_REDUCTIONS[ufunc]
    found = type_of(x)
    if number_kind(found.dtype) not in "biu":
        raise DtypeError(f"{op.name} takes booleans and integers, got {found}{at(user_source())}; write x != 0")
    return bind(op, (x,), {"axes": normalize_axes(tuple(axes), len(found.shape), op.name), "keepdims": False})
