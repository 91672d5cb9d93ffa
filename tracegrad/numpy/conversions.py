"""Arrays from what is given under NumPy's further names: `asanyarray`, `require`, `asarray_chkfinite`, `fromiter`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.trace import as_array, contains_tracer
from tracegrad.core.tracer import concrete
from tracegrad.core.types import is_inexact, type_of
from tracegrad.numpy.creation import array, asarray, ascontiguousarray, asfortranarray
from tracegrad.ops.families import implements
from tracegrad.typing import Array, ArrayLike, DType


def asanyarray(
    a: ArrayLike, dtype: DType = None, order: Any = None, *, device: Any = None, copy: Any = None, like: Any = None
) -> Array:
    """What `asarray` makes of `a`, since what is traced has no class but ndarray; on plain arrays `np.asanyarray`.

    >>> asanyarray([1, 2]).tolist()
    [1, 2]
    """
    if isinstance(a, np.ndarray) and type(a) is not np.ndarray and not contains_tracer(a):
        given = {"device": device, "copy": copy, "like": like}
        return np.asanyarray(a, dtype, order, **{k: v for k, v in given.items() if v is not None})
    return asarray(a, dtype, order, device=device, copy=copy, like=like)


@implements(np.asarray_chkfinite)
def asarray_chkfinite(a: ArrayLike, dtype: DType = None, order: Any = None) -> Array:
    """`a` as an array, or ValueError where it has infinities or NaN: its values must be known.

    >>> asarray_chkfinite([1, 2]).tolist()
    [1, 2]
    """
    x = asarray(a, dtype, order)
    if is_inexact(type_of(x).dtype):
        known = concrete(x, "np.asarray_chkfinite", "write tnp.asarray(x), and look at np.isfinite(x)")
        if not np.all(np.isfinite(known)):
            raise ValueError(f"array must not contain infs or NaNs{at(user_source())}")
    return x


@implements(np.require)
def require(
    a: ArrayLike, dtype: DType = None, requirements: str | Sequence[str] | None = None, *, like: Any = None
) -> Array:
    """`a` as an array of this dtype that meets the requirements: "C" or "F" for the order in memory, "A", "W", "O", "E", which what is
    traced meets anyway.

    >>> require(np.array([[1, 2]]).T, float, "F").flags.f_contiguous
    True
    """
    names = {str(r).upper() for r in requirements or ()}
    known = {
        "C",
        "C_CONTIGUOUS",
        "CONTIGUOUS",
        "F",
        "F_CONTIGUOUS",
        "FORTRAN",
        "A",
        "ALIGNED",
        "W",
        "WRITEABLE",
        "O",
        "OWNDATA",
    }
    if unknown := names - known - {"E", "ENSUREARRAY"}:
        raise KeyError(sorted(unknown)[0])
    if names & {"C", "C_CONTIGUOUS", "CONTIGUOUS"}:
        return ascontiguousarray(a, dtype)
    if names & {"F", "F_CONTIGUOUS", "FORTRAN"}:
        return asfortranarray(a, dtype)
    return asarray(a, dtype)


def fromiter(iter: Iterable[Any], dtype: DType, count: int = -1, *, like: Any = None) -> Array:
    """A vector of what is iterated over, traced or not, of this dtype: the first `count`, or all.

    >>> fromiter((k * k for k in range(4)), float).tolist()
    [0.0, 1.0, 4.0, 9.0]

    Raises:
        ValueError: where there are fewer than `count`.
    """
    items = list(iter if count < 0 else itertools.islice(iter, count))
    if len(items) < count:
        raise ValueError(f"iterator too short: Expected {count} but iterator had only {len(items)} items.")
    if not contains_tracer(items):
        return np.fromiter(items, dtype)
    return array([as_array(x) for x in items], dtype, like=like)
