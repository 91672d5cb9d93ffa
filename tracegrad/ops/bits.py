"""Numbers as the bits that they are stored in: what jax.lax has of these and NumPy has not."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.op import Op, Params, Sample, View
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.elementwise.samples import integer_samples
from tracegrad.ops.families import along_axis, elementwise, locally_constant, normalize_axes, same_type
from tracegrad.ops.reduce.sums import reduced, reduction_type
from tracegrad.typing import Array, ArrayLike, DType


def unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The unsigned dtype of the same size."""
    return np.dtype(f"u{dtype.itemsize}")


def _bitcast(x: Any, dtype: np.dtype[Any]) -> Any:
    x = np.asarray(x)
    whole = np.ascontiguousarray(x)
    if dtype.itemsize > x.dtype.itemsize:
        return whole.view(dtype).reshape(x.shape[:-1])[()]
    # One axis more, so that NumPy has one to divide.
    parts = whole.reshape(*x.shape, 1).view(dtype)
    return parts.reshape(x.shape)[()] if dtype.itemsize == x.dtype.itemsize else parts


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


def _seen_as(x: Any, dtype: np.dtype[Any]) -> Any:
    """The view that NumPy makes; other sizes of elements are copied."""
    return x.view(dtype) if dtype.itemsize == x.dtype.itemsize else None


# What is written into such a view would take the derivative from the rest of the array, so it is read-only.
bitcast_op: Op = locally_constant(
    "bitcast_convert_type", _bitcast, infer=_bitcast_type, batch=_bitcast_batch, kinds="f", samples=_bitcast_samples,
    view=View(None, _seen_as),
)  # fmt: skip


def bitcast_convert_type(operand: ArrayLike, new_dtype: DType) -> Array:
    """The bits of `operand` read as another dtype of integers or floats. A smaller one divides each element along a new
    last axis; a larger one merges the elements along the last axis, which must be that long. No derivative.

    Raises:
        DtypeError: booleans or complex numbers, of another dtype than the new one.
        ShapeError: a last axis of another length.

    >>> import numpy as np
    >>> hex(bitcast_convert_type(np.float32(1.0), np.uint32))
    '0x3f800000'
    """
    x, dtype = as_array(operand), np.dtype(new_dtype)
    if type_of(x).dtype == dtype:
        return x
    _bitcast_type([type_of(x)], {"dtype": dtype})
    return bind(bitcast_op, (x,), {"dtype": dtype})


def _leading_zeros(x: Any) -> Any:
    x = np.asarray(x)
    bits = 8 * x.dtype.itemsize
    below = x.astype(unsigned(x.dtype))
    shift = 1
    while shift < bits:  # sets every bit below the highest
        below = below | (below >> shift)
        shift *= 2
    return (bits - np.bitwise_count(below)).astype(x.dtype)[()]


clz_op = elementwise("clz", _leading_zeros, infer=same_type, kinds="iu", samples=integer_samples(1))


def clz(x: ArrayLike) -> Array:
    """The number of zero bits before the first one.

    >>> import numpy as np
    >>> clz(np.array([0, 7, -1], np.int8)).tolist()
    [8, 5, 0]
    """
    return bind(clz_op, (integers("clz", x),))


def integers(name: str, *values: Any) -> Any:
    """The values as arrays; DtypeError unless all are integers."""
    arrays = [as_array(x) for x in values]
    for x in arrays:
        if number_kind(type_of(x).dtype) not in "iu":
            raise DtypeError(f"{name} takes integers, got {type_of(x)}{at(user_source())}; write x.astype(int)")
    return arrays if len(arrays) > 1 else arrays[0]


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
        functools.partial(reduced, ufunc),
        infer=reduction_type(lambda dtype: dtype),
        batch=along_axis(name),
        kinds="biu",
        samples=_bit_samples,
    )


_BIT_REDUCTIONS: dict[np.ufunc, Op] = {
    f: _bit_reduction(name, f)
    for name, f in (("reduce_and", np.bitwise_and), ("reduce_or", np.bitwise_or), ("reduce_xor", np.bitwise_xor))
}


def reduce_bits(ufunc: np.ufunc, operand: ArrayLike, axes: Sequence[int]) -> Array:
    """np.bitwise_and, bitwise_or or bitwise_xor over all elements along the axes, of booleans or integers."""
    x, op = as_array(operand), _BIT_REDUCTIONS[ufunc]
    t = type_of(x)
    if number_kind(t.dtype) not in "biu":
        raise DtypeError(f"{op.name} takes booleans and integers, got {t}{at(user_source())}; write x != 0")
    return bind(op, (x,), {"axes": normalize_axes(tuple(axes), len(t.shape), op.name), "keepdims": False})
