"""NumPy's functions of indices that are made of indexing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.symbols import numbers_up_to
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import concrete
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.ops.index.expression import wide
from tracegrad.ops.index.gathers import filled, getitem
from tracegrad.typing import Array, ArrayLike, Shape


@implements(np.take_along_axis, further=["mode", "fill_value"])
def take_along_axis(
    arr: ArrayLike,
    indices: ArrayLike,
    axis: int | None = -1,
    *,
    mode: str = "raise",
    fill_value: ArrayLike | None = None,
) -> Array:
    """For each place along the other axes, its own elements along `axis`: out[i, j] = arr[i, indices[i, j]]. `arr` and `indices`
    have as many axes, or `arr` is flattened if `axis` is None. IndexError out of range, where the index is known, or what `mode` and
    `fill_value` say, as in `take`.

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
    places = [np.reshape(numbers_up_to(n), (-1, *(1,) * (ndim - i - 1))) for i, n in enumerate(shape)]
    n = shape[axis]
    there = None
    if mode == "fill":
        there = (indices >= -n) & (indices < n)
        indices = np.where(there, indices, 0)
    elif mode == "clip":
        indices = wide(indices)
        indices = np.clip(np.where(indices < 0, indices + n, indices), 0, n - 1)
    elif mode == "wrap":
        indices = np.remainder(wide(indices), n)
    elif mode != "raise":
        raise ValueError(f"take_along_axis: mode must be 'raise', 'wrap', 'clip' or 'fill', got {mode!r}")
    taken = getitem(arr, (*places[:axis], indices, *places[axis + 1 :]))
    return taken if there is None else filled(there, taken, fill_value, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Where something holds: as many places as there are, whose values must be known, or as many as `size=` says.

SIZED = ("size", "fill_value")


def _known(condition: Any, name: str) -> Any:
    advice = (
        "write `np.where(condition, x, 0)`, whose shape does not depend on values, or say how many there are: "
        f"tnp.{name}(..., size=n), with `import tracegrad.numpy as tnp`"
    )
    return concrete(as_array(condition), f"np.{name}", advice)


def first_places(mask: Any, size: int) -> Any:
    """The places of the first `size` elements of a vector that are True; its length, where there are no more."""
    return np.searchsorted(np.cumsum(mask), np.arange(1, size + 1))


def _holds(x: Any) -> Any:
    x = np.ravel(as_array(x))
    return x if number_kind(type_of(x).dtype) == "b" else np.not_equal(x, 0)


@implements(np.compress, further=SIZED)
def compress(
    condition: ArrayLike,
    a: ArrayLike,
    axis: int | None = None,
    out: Array | None = None,
    *,
    size: int | None = None,
    fill_value: ArrayLike = 0,
) -> Array:
    """The slices of `a` along `axis` where `condition` holds; with `size`, so many, cropped or filled up with `fill_value`.

    >>> compress([True, False, True], np.array([3.0, 1.0, 2.0])).tolist()
    [3.0, 2.0]
    """
    a = as_array(a)
    if size is None:
        return np.take(a, np.flatnonzero(_known(condition, "compress")), axis)
    if axis is None:
        a, axis = np.ravel(a), 0
    axis = normalize_axis(axis, len(a.shape), "compress")
    places = first_places(_holds(condition), size)
    there = np.reshape(places < shape_of(condition)[0], (-1, *(1,) * (len(a.shape) - axis - 1)))
    taken = np.take(a, np.minimum(places, a.shape[axis] - 1), axis)
    return np.where(there, taken, as_array(fill_value))


@implements(np.extract, further=SIZED)
def extract(condition: ArrayLike, arr: ArrayLike, *, size: int | None = None, fill_value: ArrayLike = 0) -> Array:
    """The elements of `arr` where `condition` holds; with `size`, so many, cropped or filled up with `fill_value`.

    >>> extract(np.array([True, False, True]), np.array([1, 2, 3]), size=3, fill_value=-1).tolist()
    [1, 3, -1]
    """
    if size is not None:
        return compress(np.ravel(as_array(condition)), np.ravel(as_array(arr)), 0, size=size, fill_value=fill_value)
    return np.take(as_array(arr), np.flatnonzero(_known(condition, "extract")))


@implements(np.nonzero, further=SIZED)
def nonzero(a: ArrayLike, *, size: int | None = None, fill_value: Any = None) -> tuple[Array, ...]:
    """The indices of the elements that are not zero, an array for each axis.

    With `size` these are so many, whatever the values: cropped, or filled up with `fill_value`, one number or one for each axis; 0
    by default.

    >>> [i.tolist() for i in nonzero(np.eye(2), size=3, fill_value=-1)]
    [[0, 1, -1], [0, 1, -1]]
    """
    if size is None:
        return np.nonzero(_known(a, "nonzero"))
    a = as_array(a)
    shape = shape_of(a)
    if not shape:
        raise ValueError("nonzero: a scalar has no indices; write np.atleast_1d(a)")
    fills = fill_value if isinstance(fill_value, tuple) else (0 if fill_value is None else fill_value,) * len(shape)
    if len(fills) != len(shape):
        raise ValueError(f"nonzero: fill_value has {len(fills)} numbers for the {len(shape)} axes of {type_of(a)}")
    total = math.prod(shape)
    places = first_places(_holds(a), size)
    there = places < total
    found = np.unravel_index(np.minimum(places, max(total - 1, 0)), shape) if total else [places] * len(shape)
    return tuple([np.where(there, i, fill).astype(np.intp) for i, fill in zip(found, fills, strict=True)])


@implements(np.flatnonzero, further=SIZED)
def flatnonzero(a: ArrayLike, *, size: int | None = None, fill_value: Any = None) -> Array:
    """The positions in a.ravel() of the elements that are not zero; with `size`, so many, as in `nonzero`.

    >>> flatnonzero(np.array([0, 1, 2])).tolist()
    [1, 2]
    """
    if size is None:
        return np.flatnonzero(_known(a, "flatnonzero"))
    return nonzero(np.ravel(as_array(a)), size=size, fill_value=fill_value)[0]


@implements(np.argwhere, further=SIZED)
def argwhere(a: ArrayLike, *, size: int | None = None, fill_value: Any = None) -> Array:
    """The indices of the elements that are not zero, one a row; with `size`, so many, as in `nonzero`.

    >>> argwhere(np.array([[0, 1], [1, 0]])).tolist()
    [[0, 1], [1, 0]]
    """
    if size is None:
        return np.argwhere(_known(a, "argwhere"))
    return np.stack(nonzero(a, size=size, fill_value=fill_value), -1)


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
    """The indices of the diagonal of `arr`, all of whose axes are of one size.

    >>> [i.tolist() for i in diag_indices_from(np.array([[1.0, 2.0], [3.0, 4.0]]))]
    [[0, 1], [0, 1]]
    """
    if len(arr.shape) < 2 or len(set(arr.shape)) != 1:
        raise ValueError(f"diag_indices_from needs two or more dimensions, all of one size, got {type_of(arr)}")
    return np.diag_indices(arr.shape[0], len(arr.shape))


@implements(np.tril_indices_from)
def tril_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Array, ...]:
    """The indices of the lower triangle of the matrix `arr`.

    >>> [i.tolist() for i in tril_indices_from(np.array([[1.0, 2.0], [3.0, 4.0]]))]
    [[0, 1, 1], [0, 0, 1]]
    """
    return np.tril_indices(arr.shape[-2], k, arr.shape[-1])


@implements(np.triu_indices_from)
def triu_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Array, ...]:
    """The indices of the upper triangle of the matrix `arr`.

    >>> [i.tolist() for i in triu_indices_from(np.array([[1.0, 2.0], [3.0, 4.0]]))]
    [[0, 0, 1], [0, 1, 1]]
    """
    return np.triu_indices(arr.shape[-2], k, arr.shape[-1])
