"""What is computed of samples: ranks, the most frequent value, and the standard error of the mean."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import is_inexact, type_of
from tracegrad.typing import Array, ArrayLike, Axis

_METHODS = ("average", "min", "max", "dense", "ordinal")


class ModeResult(NamedTuple):
    """The most frequent values, and how often they are there."""

    mode: Array
    count: Array


def _first_axis(a: Any, axis: int | None) -> tuple[Any, int]:
    """The array with the axis last, flattened if there is none; and where that was."""
    a = as_array(a)
    if axis is None:
        return np.reshape(a, -1), 0
    return np.moveaxis(a, axis, -1), axis


def _propagating(name: str, nan_policy: str) -> None:
    if nan_policy != "propagate":
        raise NotImplementedError(
            f"{name}{at(user_source())} has no nan_policy={nan_policy!r}; leave it out, and leave out NaNs: {name}(a[~np.isnan(a)])"
        )


def _runs(ordered: Any) -> tuple[Any, Any]:
    """Where runs of equal numbers begin, along the last axis of what is sorted; and the positions."""
    n = np.shape(ordered)[-1]
    places = np.broadcast_to(np.arange(n), np.shape(ordered))
    changes = np.not_equal(ordered[..., 1:], ordered[..., :-1])
    return np.concatenate([np.ones((*np.shape(ordered)[:-1], 1), bool), changes], axis=-1), places


def rankdata(a: ArrayLike, method: str = "average", *, axis: int | None = None, nan_policy: str = "propagate") -> Array:
    """The rank of each number, from 1 on, along `axis`, of all if that is None.

    Args:
        a: an array.
        method: what equal numbers get: the "average" of their ranks, their "min" or "max", one rank that is one less than the next
            ("dense"), or ranks in the order in which they stand ("ordinal").
        axis: along which numbers are compared.

    Returns:
        An array of the shape of `a`, or 1-dimensional without an axis; in floating point as in SciPy for "average", of integers
        otherwise. Ranks do not change where numbers do: derivatives are zero. A NaN makes all of
        the average ranks NaN; it comes last by the other methods.

    >>> import numpy as np
    >>> rankdata(np.array([30.0, 10.0, 10.0])).tolist()
    [3.0, 1.5, 1.5]
    """
    _propagating("rankdata", nan_policy)
    if method not in _METHODS:
        raise ValueError(
            f"rankdata{at(user_source())} has no method={method!r}; write one of {', '.join(map(repr, _METHODS))}"
        )
    x, place = _first_axis(a, axis)
    n = np.shape(x)[-1]
    order = np.argsort(x, axis=-1, kind="stable")
    back = np.argsort(order, axis=-1, kind="stable")
    if method == "ordinal":
        ranks = back + 1
    else:
        begins, places = _runs(np.take_along_axis(x, order, axis=-1))
        if method == "dense":
            ranks = np.cumsum(begins, axis=-1)
        else:
            first = np.maximum.accumulate(np.where(begins, places, 0), axis=-1)
            ends = np.concatenate([begins[..., 1:], np.ones((*np.shape(begins)[:-1], 1), bool)], axis=-1)
            last = np.flip(np.minimum.accumulate(np.flip(np.where(ends, places, n), -1), axis=-1), -1)
            ranks = {"min": first + 1, "max": last + 1, "average": 0.5 * (first + last) + 1}[method]
        ranks = np.take_along_axis(ranks, back, axis=-1)
        if method == "average" and is_inexact(type_of(x).dtype):
            ranks = np.where(np.any(np.isnan(x), axis=-1, keepdims=True), np.nan, ranks)
    return ranks if axis is None else np.moveaxis(ranks, -1, place)


def mode(a: ArrayLike, axis: int | None = 0, nan_policy: str = "propagate", keepdims: bool = False) -> ModeResult:
    """The most frequent value along `axis`, the least of those that are as frequent, and how often it is there.

    Args:
        a: an array.
        axis: along which values are counted; None for all.
        keepdims: keep the axis, with a size of 1.

    Returns:
        `ModeResult(mode, count)`. The derivative of `mode` goes to one of the equal values.

    >>> import numpy as np
    >>> found = mode(np.array([3.0, 1.0, 3.0]))
    >>> float(found.mode), int(found.count)
    (3.0, 2)
    """
    _propagating("mode", nan_policy)
    x, place = _first_axis(a, axis)
    ordered = np.sort(x, axis=-1)
    begins, places = _runs(ordered)
    counts = places - np.maximum.accumulate(np.where(begins, places, 0), axis=-1) + 1
    at_most = np.expand_dims(np.argmax(counts, axis=-1), -1)
    found = [np.take_along_axis(y, at_most, axis=-1) for y in (ordered, counts)]
    if not keepdims:
        return ModeResult(*[y[..., 0] for y in found])
    if axis is None:
        return ModeResult(*[np.reshape(y, (1,) * np.ndim(a)) for y in found])
    return ModeResult(*[np.moveaxis(y, -1, place) for y in found])


def sem(a: ArrayLike, axis: Axis = 0, ddof: int = 1, nan_policy: str = "propagate", *, keepdims: bool = False) -> Array:
    """The standard error of the mean: the standard deviation, with n - `ddof`, by the square root of n.

    >>> import numpy as np
    >>> sem(np.arange(5.0)).round(6)
    np.float64(0.707107)
    """
    _propagating("sem", nan_policy)
    a = as_array(a)
    count = (
        np.size(a) if axis is None else np.prod([np.shape(a)[i] for i in (axis if type(axis) is tuple else (axis,))])
    )
    return np.std(a, axis=axis, ddof=ddof, keepdims=keepdims) / float(np.sqrt(count))
