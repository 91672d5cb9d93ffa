"""np.where of large arrays, by the bits of numbers.

NumPy goes through a condition number by number with a branch for each, which processors cannot foresee where it is that of relu: 3.5 ns
a number. The bits of a number, taken or not by those of a mask, take a twentieth, and are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

BLOCK = 1 << 15  # numbers at once, which stay in the cache
_BITS = {size: np.dtype(f"i{size}") for size in (1, 2, 4, 8)}


def chosen(condition: Any, x: Any, y: Any) -> Any:
    """np.where(condition, x, y): by bits where one of x and y is Python's zero and the other of the condition's shape, and where both are of
    one dtype and that shape and all lie in C order without gaps."""
    of = x if type(x) is ndarray else y
    if (
        type(condition) is type(of) is ndarray
        and condition.shape == of.shape
        and condition.dtype.char == "?"
        and of.dtype.kind in "fiuc"
        and (bits := _BITS.get(of.dtype.itemsize)) is not None
    ):
        is_block = condition.flags.c_contiguous and of.flags.c_contiguous
        if _is_zero(x, of) or _is_zero(y, of):
            if not is_block:  # laid out as NumPy lays out what it makes of the two
                return np.bitwise_and(_mask(condition, of is x, bits), of.view(bits)).view(of.dtype)
            other = None
        elif is_block and _is_like(x, of) and _is_like(y, of):
            other = y.reshape(-1).view(bits)
        else:
            return np.where(condition, x, y)
        out = np.empty(of.shape, of.dtype)
        flat, holds, first = out.reshape(-1).view(bits), condition.reshape(-1), of.reshape(-1).view(bits)
        for start in range(0, flat.size, BLOCK):
            part = slice(start, start + BLOCK)
            mask, to = _mask(holds[part], of is x, bits), flat[part]
            if other is None:
                np.bitwise_and(mask, first[part], to)
            else:
                np.bitwise_xor(first[part], other[part], to)
                np.bitwise_and(to, mask, to)
                np.bitwise_xor(to, other[part], to)
        return out
    return np.where(condition, x, y)


def _mask(condition: Any, where: bool, bits: np.dtype[Any]) -> Any:
    """All bits where a condition is that. What holds may be any number but 0 in memory."""
    mask = np.logical_not(condition).view(np.int8)
    return (np.subtract(mask, 1, mask) if where else np.negative(mask, mask)).astype(bits, copy=False)


def _is_zero(x: Any, beside: Any) -> bool:
    """Whether it is Python's zero of a kind that the dtype of the other array holds, and whose bits are none."""
    return (type(x) is int or (type(x) is float and beside.dtype.kind in "fc")) and x == 0 and str(x)[0] != "-"


def _is_like(x: Any, beside: Any) -> bool:
    return type(x) is ndarray and x.dtype is beside.dtype and x.shape == beside.shape and x.flags.c_contiguous
