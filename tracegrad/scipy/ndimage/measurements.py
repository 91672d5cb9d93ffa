"""Sums over the parts of an array that have the same label."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.index import at as places_of
from tracegrad.scipy.calling import of_scipy
from tracegrad.scipy.ndimage.boundaries import computed
from tracegrad.scipy.ndimage.interpolation import grid
from tracegrad.typing import Array, ArrayLike

ndimage = of_scipy("scipy.ndimage")


def _sums(name: str, x: Any, labels: Any, index: Any) -> tuple[Any, Any]:
    """The sum of each part of plain `labels`, and how many elements there are in it."""
    x = computed(x)
    if labels is None:
        return np.sum(x), np.float64(x.size)
    labels = np.asarray(labels)
    try:
        labels = np.broadcast_to(labels, x.shape)
    except ValueError:
        raise ShapeError(
            f"{name}{at(user_source())}: labels must be of input's shape, got {type_of(labels)} for {type_of(x)}"
        ) from None
    if index is None:
        inside = labels > 0
        return np.sum(np.where(inside, x, 0)), np.float64(inside.sum())
    wanted = np.asarray(index)
    known, place = np.unique(labels, return_inverse=True)
    place = place.reshape(labels.shape)
    sums = places_of(np.zeros(len(known), x.dtype))[place].add(x)
    counts = np.bincount(place.ravel(), minlength=len(known)).astype(np.float64)
    at_known = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    found = known[at_known] == wanted
    return np.where(found, sums[at_known], 0), np.where(found, counts[at_known], 0.0)


@ndimage
def sum_labels(input: ArrayLike, labels: ArrayLike | None = None, index: Any = None) -> Array:
    """The sum of all elements, of those where the plain `labels` are positive, or of those that have each label of `index`.

    >>> sum_labels(np.array([1.0, 2.0, 4.0]), [1, 1, 2], [1, 2]).tolist()
    [3.0, 4.0]
    """
    return _sums("sum_labels", input, labels, index)[0]


@ndimage
def mean(input: ArrayLike, labels: ArrayLike | None = None, index: Any = None) -> Array:
    """The mean of those elements of which `sum_labels` has the sum.

    >>> mean(np.array([1.0, 2.0, 4.0]), [1, 1, 2], [1, 2]).tolist()
    [1.5, 4.0]
    """
    total, count = _sums("mean", input, labels, index)
    return total / count


@ndimage
def center_of_mass(input: ArrayLike, labels: ArrayLike | None = None, index: Any = None) -> Any:
    """The mean of coordinates, weighted by the elements: a tuple of a number for each axis, or a list of such for a list of labels.

    >>> [float(c) for c in center_of_mass(np.array([[0.0, 1.0], [0.0, 1.0]]))]
    [0.5, 1.0]
    """
    x = as_array(input)
    total = _sums("center_of_mass", x, labels, index)[0]
    centre = [_sums("center_of_mass", x * g, labels, index)[0] / total for g in grid(x.shape)]
    if len(np.shape(index)) == 0:
        return tuple(centre)
    return [tuple([c[i] for c in centre]) for i in range(len(index))]
