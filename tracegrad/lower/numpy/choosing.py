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


def chosen(condition: Any, x: Any, y: Any, out: Any = None) -> Any:
    """np.where(condition, x, y): by bits where all are of one shape, and x and y of one dtype or one of them Python's zero. `out` is an
    array to write it into, of the type and layout of what NumPy makes."""
    of, other = (x, y) if type(x) is ndarray else (y, x)
    if (
        not type(condition) is type(of) is ndarray
        or condition.shape != of.shape
        or condition.dtype.char != "?"
        or of.dtype.kind not in "fiuc"
        or not of.dtype.isnative
        or (bits := _BITS.get(of.dtype.itemsize)) is None
        or not (_is_like(other, of) or _is_zero(other, of))
    ):
        found = np.where(condition, x, y)
        if out is None:
            return found
        out[...] = found
        return out
    # Where x is not taken other is, whose bits are none if it is zero.
    given = [condition, of] if type(other) is not ndarray else [condition, of, other]
    if all([a.flags.c_contiguous for a in given]) and (out is None or out.flags.c_contiguous):
        if out is None:
            out = np.empty(of.shape, of.dtype)
        holds, first, *others, result = [a.reshape(-1) for a in (*given, out)]
    else:
        flags: Any = [*[["readonly"]] * len(given), ["writeonly", "allocate"]]
        dtypes: Any = [*[a.dtype for a in given], of.dtype]
        # Laid out as NumPy lays out what it makes of them all.
        if out is None:
            out = np.nditer([*given, None], ["zerosize_ok"], flags, dtypes).operands[-1]
        holds, first, *others, result = *given, out
    first, result, others = first.view(bits), result.view(bits), [a.view(bits) for a in others]
    step = max(1, BLOCK * len(holds) // max(out.size, 1))
    for start in range(0, len(holds), step):
        part = slice(start, start + step)
        to = result[part]
        if (
            others and not holds[part].any()
        ):  # as where two numbers are equal, which is asked for the derivative of relu
            to[...] = others[0][part]
            continue
        mask = _mask(holds[part], of is x, bits)
        if others:
            np.bitwise_xor(first[part], others[0][part], to)
            np.bitwise_and(to, mask, to)
            np.bitwise_xor(to, others[0][part], to)
        else:
            np.bitwise_and(mask, first[part], to)
    return out


def _mask(condition: Any, where: bool, bits: np.dtype[Any]) -> Any:
    """All bits where a condition is that. What holds may be any number but 0 in memory."""
    mask = np.logical_not(condition).view(np.int8)
    return (np.subtract(mask, 1, mask) if where else np.negative(mask, mask)).astype(bits, copy=False)


def _is_zero(x: Any, beside: Any) -> bool:
    """Whether it is Python's zero of a kind that the dtype of the other array holds, and whose bits are none."""
    return (type(x) is int or (type(x) is float and beside.dtype.kind in "fc")) and x == 0 and str(x)[0] != "-"


def _is_like(x: Any, beside: Any) -> bool:
    return type(x) is ndarray and x.dtype is beside.dtype and x.shape == beside.shape
