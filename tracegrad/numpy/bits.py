"""Bits in bytes: packed eight to one, and taken apart."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.typing import Array, ArrayLike


def _places(bitorder: str) -> Any:
    """By how many places each of the eight bits of a byte is shifted."""
    if bitorder not in ("big", "little"):
        raise ValueError(f"bitorder{at(user_source())} is 'big' or 'little', got {bitorder!r}")
    places = np.arange(8, dtype=np.uint8)
    return places[::-1] if bitorder == "big" else places


def _axis_last(a: Any, axis: int | None, name: str) -> tuple[Any, int]:
    """With this axis last, all axes as one where it is None; and the axis."""
    if axis is None:
        return np.reshape(a, -1), 0
    ndim = len(shape_of(a))
    axis = normalize_axis(axis, ndim, name)
    return np.moveaxis(a, axis, -1), axis


@implements(np.packbits)
def packbits(a: ArrayLike, /, axis: int | None = None, bitorder: str = "big") -> Array:
    """Eight elements of booleans or integers along `axis` as the bits of one byte, uint8: set where an element is not zero. The last byte
    is filled up with zeros. No derivative.

    >>> packbits(np.array([1, 0, 0, 0, 0, 0, 1, 1, 1])).tolist()
    [131, 128]
    """
    x = as_array(a)
    if number_kind(type_of(x).dtype) not in "biu":
        raise DtypeError(f"packbits{at(user_source())} takes integers and booleans, got {type_of(x)}; write x != 0")
    x, back = _axis_last(x, axis, "packbits")
    bits = astype(np.not_equal(x, 0), np.uint8)
    *lead, count = bits.shape
    whole = -(-count // 8)
    bits = np.concatenate([bits, np.zeros((*lead, 8 * whole - count), np.uint8)], -1)
    parts: Any = np.left_shift(np.reshape(bits, (*lead, whole, 8)), _places(bitorder))
    packed: Any = np.sum(parts, -1, dtype=np.uint8)
    return np.moveaxis(packed, -1, back)


@implements(np.unpackbits)
def unpackbits(a: ArrayLike, /, axis: int | None = None, count: int | None = None, bitorder: str = "big") -> Array:
    """The bits of bytes, uint8, along `axis`: eight times as many zeros and ones; of these the first `count`, or without the last ones
    where that is negative, filled up with zeros where it is more. No derivative.

    >>> unpackbits(np.array([131], np.uint8)).tolist()
    [1, 0, 0, 0, 0, 0, 1, 1]
    """
    x = as_array(a)
    if type_of(x).dtype != np.uint8:
        raise DtypeError(f"unpackbits{at(user_source())} takes uint8, got {type_of(x)}; write x.astype(np.uint8)")
    x, back = _axis_last(x, axis, "unpackbits")
    bits = np.bitwise_and(np.right_shift(np.expand_dims(x, -1), _places(bitorder)), np.uint8(1))
    *lead, size, _ = bits.shape
    bits = np.reshape(bits, (*lead, 8 * size))
    if count is not None:
        count = operator.index(count)
        if count < -8 * size:
            raise ValueError(
                f"unpackbits{at(user_source())}: -count larger than number of elements, {-count} of {8 * size}"
            )
        more = count - 8 * size
        bits = np.concatenate([bits, np.zeros((*lead, more), np.uint8)], -1) if more > 0 else bits[..., :count]
    return np.moveaxis(bits, -1, back)
