"""Orders, partitions and bins, made of sorting and searching."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axis, of_axis, reject, shape_of
from tracegrad.typing import Array, ArrayLike


@implements(np.sort_complex)
def sort_complex(a: ArrayLike) -> Array:
    """`a` sorted along its last axis by real, then imaginary parts, as complex numbers.

    >>> sort_complex(np.array([2, 1])).tolist()
    [(1+0j), (2+0j)]
    """
    a = as_array(a)
    dtype = type_of(a).dtype
    if number_kind(dtype) != "c":
        dtype = np.dtype({"g": np.clongdouble}.get(dtype.char, np.complex64 if dtype.char in "bhBH" else np.complex128))
    return np.sort(astype(a, dtype), -1)


@implements(np.lexsort)
def lexsort(keys: Sequence[ArrayLike], axis: int = -1) -> Array:
    """The places that sort by the last of the keys, equals by the one before it, and so on.

    >>> lexsort((np.array([2, 1, 3]), np.array([0, 0, -1]))).tolist()
    [2, 1, 0]
    """
    arrays = [as_array(k) for k in keys]
    if not arrays or shape_of(arrays[0]) == ():
        raise ShapeError("lexsort: needs a sequence of keys, each an array; write np.argsort for one key")
    axis = normalize_axis(axis, len(arrays[0].shape), "lexsort")
    order = np.argsort(arrays[0], axis, stable=True)
    for key in arrays[1:]:
        among = np.argsort(np.take_along_axis(key, order, axis), axis, stable=True)
        order = np.take_along_axis(order, among, axis)
    return order


@implements(np.partition)
def partition(
    a: ArrayLike, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect", order: None = None
) -> Array:
    """`a` with the kth smallest along the axis in its place, smaller ones before it, larger behind, in some order.

    >>> partition(np.array([3.0, 1.0, 2.0]), 0)[0].item()
    1.0
    """
    reject(np.partition, order=order)
    a, axis = of_axis(a, axis, "partition")
    return np.take_along_axis(a, np.argpartition(a, kth, axis), axis)


@implements(np.digitize)
def digitize(x: ArrayLike, bins: ArrayLike, right: bool = False) -> Array:
    """The number of the bin that each element is in, between the edges `bins`, ascending or descending: from 0 (before
    all edges) to their number (behind all).

    >>> digitize([0.5, 1.0, 9.0], np.array([1.0, 2.0])).tolist()
    [0, 1, 2]

    Raises:
        ValueError: for edges that are known neither to ascend nor to descend.
    """
    x, bins = as_array(x), as_array(bins)
    if "c" in [number_kind(type_of(v).dtype) for v in (x, bins)]:
        raise DtypeError(f"digitize of {type_of(x)} into {type_of(bins)}: complex numbers are in no bin")
    side = "left" if right else "right"
    if type(bins) is not Tracer:
        steps = np.diff(bins)
        if np.all(steps >= 0):
            return np.searchsorted(bins, x, side)
        if np.any(steps > 0):
            raise ValueError("digitize: bins must ascend or descend")
    elif bins.shape[0] < 2:
        return np.searchsorted(bins, x, side)
    descending = bins.shape[0] - np.searchsorted(bins[::-1], x, side)
    if type(bins) is not Tracer:
        return descending
    return np.where(np.less_equal(bins[0], bins[-1]), np.searchsorted(bins, x, side), descending)
