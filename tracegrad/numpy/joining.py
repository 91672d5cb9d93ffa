"""Arrays joined along axes, and cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.trace import as_array, strengthened
from tracegrad.core.types import type_of
from tracegrad.ops.families import implements, shape_of
from tracegrad.ops.join import array_split, concatenate, list_of
from tracegrad.typing import Array, ArrayLike, DType


@implements(np.vstack)
def vstack(tup: Sequence[ArrayLike], *, dtype: DType = None, casting: Any = None) -> Array:
    """The arrays as rows, one below the other.

    >>> vstack([np.ones(2), np.zeros(2)]).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    return concatenate([np.atleast_2d(x) for x in list_of(tup, "vstack")], 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Sequence[ArrayLike], *, dtype: DType = None, casting: Any = None) -> Array:
    """The arrays side by side: along axis 1, or axis 0 if they are vectors.

    >>> hstack([np.ones(1), np.zeros(2)]).tolist()
    [1.0, 0.0, 0.0]
    """
    found = [np.atleast_1d(x) for x in list_of(tup, "hstack")]
    return concatenate(found, 0 if found[0].ndim == 1 else 1, dtype=dtype)


@implements(np.dstack)
def dstack(tup: Sequence[ArrayLike]) -> Array:
    """The arrays along a third axis.

    >>> dstack([np.ones(2), np.zeros(2)]).shape
    (1, 2, 2)
    """
    return concatenate([np.atleast_3d(x) for x in list_of(tup, "dstack")], 2)


@implements(np.column_stack)
def column_stack(tup: Sequence[ArrayLike]) -> Array:
    """Vectors as the columns of a matrix; matrices side by side.

    >>> column_stack([[1, 2], [3, 4]]).tolist()
    [[1, 3], [2, 4]]
    """
    found = list_of(tup, "column_stack")
    return concatenate([np.reshape(x, (-1, 1)) if len(shape_of(x)) < 2 else x for x in found], 1)


@implements(np.block)
def block(arrays: Sequence[ArrayLike]) -> Array:
    """An array put together from nested lists of blocks, the innermost along the last axis, and so on outwards. ValueError for
    lists that are not nested equally deep.

    >>> block([[np.eye(2, dtype=int), np.zeros((2, 1), int)], [np.ones((1, 2), int), 5]]).tolist()
    [[1, 0, 0], [0, 1, 0], [1, 1, 5]]
    """
    leaves: list[Any] = []
    depth = _depth_of(arrays, leaves)
    return _joined(arrays, -depth, max(depth, max([len(shape_of(x)) for x in leaves])))


def _depth_of(a: Any, leaves: list[Any]) -> int:
    """How deep the lists of blocks are nested; the blocks go into `leaves`."""
    if not isinstance(a, list):
        leaves.append(as_array(a))
        return 0
    depths = {_depth_of(b, leaves) for b in a}
    if len(depths) != 1:
        raise ValueError("block: lists must be nested equally deep everywhere, and none may be empty")
    return depths.pop() + 1


def _joined(a: Any, axis: int, ndim: int) -> Any:
    if isinstance(a, list):
        return concatenate([_joined(b, axis + 1, ndim) for b in a], axis)
    a = as_array(a)
    return np.reshape(a, (*(1,) * (ndim - len(shape_of(a))), *shape_of(a)))


@implements(np.append)
def append(arr: ArrayLike, values: ArrayLike, axis: int | None = None) -> Array:
    """`arr`, then `values`, along `axis`; both flattened if that is None.

    >>> append(np.array([3.0, 1.0, 2.0]), 4.0).tolist()
    [3.0, 1.0, 2.0, 4.0]
    """
    if axis is None:  # NumPy makes arrays of both, in which a Python number is one of its own dtype
        arr, values = [strengthened(as_array(x)) for x in (arr, values)]
    return concatenate([arr, values], axis)


@implements(np.split)
def split(ary: ArrayLike, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Cut `ary` along `axis`: into so many parts of equal size, or before each of the indices. ShapeError for a size that has
    no equal division.

    >>> [part.tolist() for part in split(np.arange(6), [1, 4])]
    [[0], [1, 2, 3], [4, 5]]
    """
    if np.ndim(indices_or_sections) == 0 and ary.shape[axis] % indices_or_sections:
        raise ShapeError(
            f"split: axis {axis} of {type_of(ary)} has no equal division into {indices_or_sections} parts; write "
            "np.array_split for parts of nearly equal size"
        )
    return array_split(ary, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: ArrayLike, indices_or_sections: Any) -> list[Array]:
    """np.split along axis 1, or axis 0 of a vector.

    >>> [x.shape for x in hsplit(np.ones((2, 4)), 2)]
    [(2, 2), (2, 2)]
    """
    return split(ary, indices_or_sections, 1 if len(ary.shape) > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: ArrayLike, indices_or_sections: Any) -> list[Array]:
    """np.split along axis 0, of at least two.

    >>> [x.shape for x in vsplit(np.ones((4, 2)), 2)]
    [(2, 2), (2, 2)]
    """
    if len(ary.shape) < 2:
        raise ValueError(f"vsplit needs two or more dimensions, got {type_of(ary)}")
    return split(ary, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: ArrayLike, indices_or_sections: Any) -> list[Array]:
    """np.split along axis 2.

    >>> [x.shape for x in dsplit(np.ones((2, 2, 4)), 2)]
    [(2, 2, 2), (2, 2, 2)]
    """
    if len(ary.shape) < 3:
        raise ValueError(f"dsplit needs three or more dimensions, got {type_of(ary)}")
    return split(ary, indices_or_sections, 2)
