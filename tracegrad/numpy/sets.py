"""Distinct values and sets. Results are as long as there are values, which must be known; with `size=`, as in jax.numpy, as long as
that says: cropped, or filled up with `fill_value`, by default with the first of the values. Values come from where they occur
first, which has the derivative.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.trace import as_array
from tracegrad.core.tracer import concrete
from tracegrad.core.types import is_inexact, type_of
from tracegrad.numpy.indexing import first_places
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.ops.index import take  # np.take does not see a tracer among the indices
from tracegrad.typing import Array, ArrayLike

SIZED = ("size", "fill_value")


def _advice(name: str) -> str:
    return f"say how many there are: tnp.{name}(..., size=n), with `import tracegrad.numpy as tnp`"


class _Distinct(NamedTuple):
    """The distinct values of an array: where each occurs first, which of them each element is, how often each occurs, and which
    are there at all, as many as there were asked for."""

    values: Any
    index: Any
    inverse: Any
    counts: Any
    there: Any


def _distinct(rows: Any, size: int, fill_value: Any, equal_nan: bool) -> _Distinct:
    """Of vectors, in lexicographic order, by types alone."""
    n = rows.shape[0]
    if not n:
        if size and fill_value is None:
            raise ValueError(f"unique: nothing can fill up {size} values of {type_of(rows)}; pass fill_value=")
        none = np.zeros(size, np.intp)
        filled = np.broadcast_to(
            astype(as_array(0 if fill_value is None else fill_value), rows.dtype), (size, *rows.shape[1:])
        )
        return _Distinct(filled, none, np.zeros(0, np.intp), none, none.astype(bool))
    columns = np.reshape(rows, (n, -1))
    order = np.argsort(columns[:, -1], stable=True) if columns.shape[1] else np.argsort(np.zeros(n), stable=True)
    for j in reversed(range(columns.shape[1] - 1)):
        order = order[np.argsort(columns[:, j][order], stable=True)]
    inorder = columns[order]
    differ = np.not_equal(inorder[1:], inorder[:-1])
    if equal_nan and is_inexact(type_of(rows).dtype):
        differ = differ & ~(np.isnan(inorder[1:]) & np.isnan(inorder[:-1]))
    new = np.concatenate([np.ones(1, bool), np.any(differ, 1)])
    places = first_places(new, size + 1)
    there = places[:-1] < n
    index = order[np.where(there, np.minimum(places[:-1], n - 1), 0)]
    values = take(rows, index, axis=0)
    if fill_value is not None:
        filled = astype(as_array(fill_value), rows.dtype)
        values = np.where(np.reshape(there, (size, *(1,) * (len(rows.shape) - 1))), values, filled)
    inverse = (np.cumsum(new) - 1)[np.argsort(order, stable=True)]
    return _Distinct(values, index, inverse, np.diff(places), there)


@implements(np.unique, further=SIZED)
def unique(
    ar: ArrayLike,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array | tuple[Array, ...]:
    """The distinct elements of the flattened array, or slices along `axis`, in order.

    Args:
        ar: the array.
        return_index: also where each occurs first, ints.
        return_inverse: also which of them each element is: `values[inverse]` is `ar`.
        return_counts: also how often each occurs; 0 for what fills up to `size`.
        axis: slices along it are compared as wholes.
        equal_nan: whether NaN equals NaN.
        size: how many there shall be, whatever the values.
        fill_value: what stands behind the distinct ones if these are fewer; by default the first of them.

    >>> unique([3, 1, 3]).tolist(), unique([3, 1, 3], size=3, fill_value=-1).tolist()
    ([1, 3], [1, 3, -1])
    """
    ar = as_array(ar)
    if size is None:
        plain = concrete(ar, "np.unique", _advice("unique"))
        _, index, inverse, counts = np.unique(plain, True, True, True, axis, equal_nan=equal_nan)
        values = take(ar, index, axis=axis)
    else:
        axis = None if axis is None else normalize_axis(axis, len(shape_of(ar)), "unique")
        rows = np.reshape(ar, -1) if axis is None else np.moveaxis(ar, axis, 0)
        values, index, inverse, counts, _ = _distinct(rows, size, fill_value, equal_nan)
        if axis is None:
            inverse = np.reshape(inverse, shape_of(ar))
        else:
            values = np.moveaxis(values, 0, axis)
    more = [x for x, wanted in ((index, return_index), (inverse, return_inverse), (counts, return_counts)) if wanted]
    return (values, *more) if more else values


# What NumPy's namedtuples are made of is private to NumPy; the tuples themselves are not.
_ALL: Any = type(np.unique_all([0]))
_COUNTS: Any = type(np.unique_counts([0]))
_INVERSE: Any = type(np.unique_inverse([0]))


def _as_array_api(x: Any, size: int | None, fill_value: Any) -> Any:
    return unique(as_array(x), True, True, True, equal_nan=False, size=size, fill_value=fill_value)


@implements(np.unique_all, further=SIZED)
def unique_all(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> tuple[Array, Array, Array, Array]:
    """`(values, indices, inverse_indices, counts)` of the distinct elements, as `unique` has them; NaNs are all distinct.

    >>> unique_all([3, 1, 3]).counts.tolist()
    [1, 2]
    """
    return _ALL(*_as_array_api(x, size, fill_value))


@implements(np.unique_counts, further=SIZED)
def unique_counts(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> tuple[Array, Array]:
    """`(values, counts)` of the distinct elements.

    >>> [x.tolist() for x in unique_counts(np.array([2, 1, 2]))]
    [[1, 2], [1, 2]]
    """
    values, _, _, counts = _as_array_api(x, size, fill_value)
    return _COUNTS(values, counts)


@implements(np.unique_inverse, further=SIZED)
def unique_inverse(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> tuple[Array, Array]:
    """`(values, inverse_indices)` of the distinct elements.

    >>> [x.tolist() for x in unique_inverse(np.array([2, 1, 2]))]
    [[1, 2], [1, 0, 1]]
    """
    values, _, inverse, _ = _as_array_api(x, size, fill_value)
    return _INVERSE(values, inverse)


@implements(np.unique_values, further=SIZED)
def unique_values(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> Array:
    """The distinct elements; NaNs are all distinct.

    >>> sorted(unique_values(np.array([2, 1, 2])).tolist())
    [1, 2]
    """
    return _as_array_api(x, size, fill_value)[0]


# ---------------------------------------------------------------------------------------------------------------------
# Sets.


@implements(np.isin)
def isin(
    element: ArrayLike,
    test_elements: ArrayLike,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Array:
    """Whether each element is among the others; with `invert`, whether it is not. The keywords for speed make no difference.

    >>> isin([[1, 2], [3, 4]], [2, 4]).tolist()
    [[False, True], [False, True]]
    """
    x, others = as_array(element), np.ravel(as_array(test_elements))
    if others.shape[0]:
        others = np.sort(others)
        places = np.searchsorted(others, x)
        found = np.equal(take(others, np.minimum(places, others.shape[0] - 1)), x)
    else:
        found = np.zeros(shape_of(x), bool)
    return np.logical_not(found) if invert else found


def _sized(name: str, x: Any, keep: Any, size: int | None, fill_value: Any) -> Any:
    """The elements of a vector where `keep` holds; where `size` asks for more, by default the first of them."""
    if size is None:
        return take(x, np.flatnonzero(concrete(keep, f"np.{name}", _advice(name))))
    n = x.shape[0]
    if not n:
        return np.broadcast_to(astype(as_array(0 if fill_value is None else fill_value), x.dtype), (size,))
    places = first_places(keep, size)
    there = places < n
    found = x[np.minimum(places, n - 1)]
    if fill_value is None:
        fill_value = np.where(there[:1], found[:1], np.zeros((), x.dtype))
    return np.where(there, found, astype(as_array(fill_value), x.dtype))


@implements(np.union1d, further=SIZED)
def union1d(ar1: ArrayLike, ar2: ArrayLike, *, size: int | None = None, fill_value: ArrayLike | None = None) -> Array:
    """What is in one of two arrays or in both, in order.

    >>> union1d([3, 1], [2, 3]).tolist()
    [1, 2, 3]
    """
    both = np.concatenate([as_array(ar1), as_array(ar2)], axis=None)
    if size is None:
        concrete(both, "np.union1d", _advice("union1d"))
    return unique(both, size=size, fill_value=fill_value)


def _own(name: str, ar: Any, assume_unique: bool, sized: bool) -> tuple[Any, Any, Any]:
    """The distinct elements of an array, as many as it has where values are not to be asked for; which of them are there, and where."""
    x = np.ravel(as_array(ar))
    n = x.shape[0]
    if assume_unique or not n:
        return x, np.ones(n, bool), np.asarray(np.arange(n), like=x)
    if sized:
        found = _distinct(x, n, None, True)
        return found.values, found.there, found.index
    concrete(x, f"np.{name}", _advice(name))
    values, index = unique(x, True)
    return values, np.ones(len(index), bool), index


@implements(np.intersect1d, further=SIZED)
def intersect1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array | tuple[Array, Array, Array]:
    """What is in both arrays, in order, taken from the first; with `return_indices`, also where each occurs first in either. Of what
    fills up to `size` the indices are the sizes of the arrays.

    >>> intersect1d([1, 3, 4, 3], [3, 1, 2]).tolist()
    [1, 3]
    """
    first, there, places = _own("intersect1d", ar1, assume_unique, size is not None)
    others, there_too, their_places = _own("intersect1d", ar2, assume_unique, size is not None)
    if assume_unique:
        places, their_places = np.argsort(first, stable=True), np.argsort(others, stable=True)
        first, others = first[places], others[their_places]
    at = np.searchsorted(others, first) if size is None else np.argmax(np.equal(first[:, None], others) & there_too, 1)
    at = np.minimum(at, max(others.shape[0] - 1, 0))
    keep = there & (np.equal(take(others, at), first) & take(there_too, at) if others.shape[0] else False)
    both = astype(first, np.result_type(first.dtype, others.dtype))
    found = _sized("intersect1d", both, keep, size, fill_value)
    if not return_indices:
        return found
    sizes = np.size(ar1), np.size(ar2)
    theirs = take(their_places, at) if others.shape[0] else at
    return found, *[_sized("intersect1d", i, keep, size, n) for i, n in zip((places, theirs), sizes, strict=True)]


@implements(np.setdiff1d, further=SIZED)
def setdiff1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """What is in the first array and not in the second, in order; 0 is what fills up to `size` by default.

    >>> setdiff1d([3, 1, 2, 3], [2, 5]).tolist()
    [1, 3]
    """
    first, there, _ = _own("setdiff1d", ar1, assume_unique, size is not None)
    return _sized(
        "setdiff1d", first, there & isin(first, ar2, invert=True), size, 0 if fill_value is None else fill_value
    )


@implements(np.setxor1d, further=SIZED)
def setxor1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """What is in one of two arrays alone, in order.

    >>> setxor1d([3, 1], [2, 3]).tolist()
    [1, 2]
    """
    first, there, _ = _own("setxor1d", ar1, assume_unique, size is not None)
    others, there_too, _ = _own("setxor1d", ar2, assume_unique, size is not None)
    both = np.concatenate([first, others])
    keep = np.concatenate([there & isin(first, ar2, invert=True), there_too & isin(others, ar1, invert=True)])
    order = np.argsort(both, stable=True)
    return _sized("setxor1d", both[order], keep[order], size, fill_value)
