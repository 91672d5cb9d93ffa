"""NumPy's functions of indices that are made of indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.trace import as_array, concrete
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.ops.index.expression import wide
from tracegrad.ops.index.ops import getitem
from tracegrad.typing import Array, ArrayLike, Shape


@implements(np.take_along_axis)
def take_along_axis(arr: ArrayLike, indices: ArrayLike, axis: int | None = -1) -> Array:
    """For each place along the other axes, its own elements along `axis`: out[i, j] = arr[i, indices[i, j]]. `arr` and `indices`
    have as many axes, or `arr` is flattened if `axis` is None. IndexError out of range, where the index is known.

    >>> take_along_axis(np.array([[3, 1, 2], [7, 9, 8]]), np.array([[0], [2]]), 1).tolist()
    [[3], [8]]
    """
    arr, indices = as_array(arr), as_array(indices)
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    shape = arr.shape
    ndim = len(shape)
    if len(indices.shape) != ndim:
        raise ValueError(
            "take_along_axis: `indices` and `arr` must have the same number of dimensions, "
            f"got {type_of(indices)} and {type_of(arr)}"
        )
    axis = normalize_axis(axis, ndim, "take_along_axis")
    places = [np.reshape(np.arange(n), (-1, *(1,) * (ndim - i - 1))) for i, n in enumerate(shape)]
    return getitem(arr, (*places[:axis], indices, *places[axis + 1 :]))


_MASK = "write `np.where(condition, x, 0)`, whose shape does not depend on values"


@implements(np.compress)
def compress(condition: ArrayLike, a: ArrayLike, axis: int | None = None, out: Array | None = None) -> Array:
    """The slices of `a` along `axis` where `condition` holds, whose values must be known."""
    return np.take(as_array(a), np.flatnonzero(concrete(as_array(condition), "np.compress", _MASK)), axis)


@implements(np.extract)
def extract(condition: ArrayLike, arr: ArrayLike) -> Array:
    """The elements of `arr` where `condition` holds, whose values must be known."""
    return np.take(as_array(arr), np.flatnonzero(concrete(as_array(condition), "np.extract", _MASK)))


@implements(np.nonzero)
def nonzero(a: ArrayLike) -> tuple[Array, ...]:
    """The indices of the elements that are not zero, whose values must be known."""
    return np.nonzero(concrete(as_array(a), "np.nonzero", _MASK))


@implements(np.flatnonzero)
def flatnonzero(a: ArrayLike) -> Array:
    """The positions in a.ravel() of the elements that are not zero, whose values must be known."""
    return np.flatnonzero(concrete(as_array(a), "np.flatnonzero", _MASK))


@implements(np.argwhere)
def argwhere(a: ArrayLike) -> Array:
    """The indices of the elements that are not zero, one a row. Values must be known."""
    return np.argwhere(concrete(as_array(a), "np.argwhere", _MASK))


# ---------------------------------------------------------------------------------------------------------------------
# Functions of indices.


@implements(np.ix_)
def ix_(*args: ArrayLike) -> tuple[Array, ...]:
    """Index arrays that pick a grid: x[np.ix_(rows, columns)] has the shape (len(rows), len(columns)). Masks must be known.

    >>> [i.shape for i in ix_([0, 2], [1, 3, 4])]
    [(2, 1), (1, 3)]
    """
    found = []
    for i, a in enumerate(map(as_array, args)):
        if len(shape_of(a)) != 1:
            raise ValueError(f"ix_: each argument must have one dimension, got {type_of(a)}")
        if number_kind(type_of(a).dtype) == "b":
            (a,) = np.nonzero(a)
        elif a.shape == (0,):
            a = np.zeros(0, np.intp)
        found.append(np.reshape(a, (*(1,) * i, -1, *(1,) * (len(args) - i - 1))))
    return tuple(found)


@implements(np.unravel_index)
def unravel_index(indices: ArrayLike, shape: Shape, order: str = "C") -> tuple[Array, ...]:
    """Positions in the flat array as one index for each axis of `shape`.

    >>> [i.tolist() for i in unravel_index([4, 1], (2, 3))]
    [[1, 0], [1, 1]]
    """
    sizes = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    indices = wide(as_array(indices))
    found = []
    for n in sizes[::-1] if order == "C" else sizes:
        found.append(np.remainder(indices, n))
        indices = np.floor_divide(indices, n)
    return tuple(found[::-1] if order == "C" else found)


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Shape, mode: Any = "raise", order: str = "C") -> Array:
    """One index for each axis of `dims` as positions in the flat array. `mode`, or one for each axis, says what becomes of those out
    of range: "clip" and "wrap" move them; "raise", by default, does not look at traced ones.

    >>> ravel_multi_index(([1, 0], [1, 1]), (2, 3)).tolist()
    [4, 1]
    """
    sizes = (dims,) if np.ndim(dims) == 0 else tuple(dims)
    modes = (mode,) * len(sizes) if isinstance(mode, str) else tuple(mode)
    parts = list(zip(multi_index, sizes, modes, strict=True))
    flat: Any = 0
    for i, n, how in parts if order == "C" else parts[::-1]:
        i = wide(i)
        if how == "clip":
            i = np.clip(i, 0, n - 1)
        elif how == "wrap":
            i = np.remainder(i, n)
        flat = np.add(np.multiply(flat, n), i)
    return flat


@implements(np.diag_indices_from)
def diag_indices_from(arr: ArrayLike) -> tuple[Array, ...]:
    """The indices of the diagonal of `arr`, all of whose axes are of one size."""
    if len(arr.shape) < 2 or len(set(arr.shape)) != 1:
        raise ValueError(f"diag_indices_from needs two or more dimensions, all of one size, got {type_of(arr)}")
    return np.diag_indices(arr.shape[0], len(arr.shape))


@implements(np.tril_indices_from)
def tril_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Array, ...]:
    """The indices of the lower triangle of the matrix `arr`."""
    return np.tril_indices(arr.shape[-2], k, arr.shape[-1])


@implements(np.triu_indices_from)
def triu_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Array, ...]:
    """The indices of the upper triangle of the matrix `arr`."""
    return np.triu_indices(arr.shape[-2], k, arr.shape[-1])
