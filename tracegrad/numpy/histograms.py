"""Histograms. How many elements lie between edges is locally constant in them, and linear in their weights. Edges that are not given
follow the smallest and the largest element, derivative included, and a density follows the edges.

Under `jit` the number of bins must be known; "auto" and its like, which estimate it, need the elements' values.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import Tracer, concrete, plain_value
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.bincount import bincount
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, is_tracer, shape_of
from tracegrad.typing import Array, ArrayLike

Range = tuple[float, float] | None


def _flat(a: Any) -> Any:
    a = as_array(a)
    return a if len(shape_of(a)) == 1 else np.ravel(a)


def _known(x: Any) -> Any:
    """The values under a tracer where there are any."""
    return plain_value(x, "np.histogram")


def _edges(name: str, a: Any, bins: Any, range: Range) -> Any:
    """The edges of the bins of a vector: given, or so many bins of one width from the smallest to the largest element."""
    if isinstance(bins, str):
        advice = "give the number of bins"
        return np.histogram_bin_edges(concrete(a, f"np.{name} with bins={bins!r}", advice), bins, range)
    bins = as_array(bins) if isinstance(bins, list | tuple) else bins
    if len(shape_of(bins if is_tracer(bins) else np.asarray(bins))) == 1:
        known = _known(bins)
        if known is not None and np.any(known[:-1] > known[1:]):
            raise ValueError(f"{name}: edges of bins must ascend, got {known}")
        return bins if is_tracer(bins) else np.asarray(bins)
    count = operator.index(concrete(bins, f"np.{name}", "give the number of bins as a plain int"))
    if count < 1:
        raise ValueError(f"{name}: there must be at least one bin, got {count}")
    if name == "histogramdd" and (range is not None or not a.shape[0]):
        a = np.zeros(0)  # there the dtype of the points does not count
    if type(a) is not Tracer or range is not None or number_kind(a.dtype) != "f" or not a.shape[0]:
        values = _known(a)
        if values is not None or range is not None or not a.shape[0]:
            return np.histogram_bin_edges(np.zeros(0, a.dtype) if values is None else values, count, range)
    low: Any = np.min(a)
    high: Any = np.max(a)
    same = np.equal(low, high)
    return np.linspace(np.where(same, low - 0.5, low), np.where(same, high + 0.5, high), count + 1)


def _places(x: Any, edges: Any) -> Any:
    """In which bin each element is: 0 below all of them, then from 1 on. The last one has its upper edge."""
    places = np.searchsorted(edges, x, "right")
    return places - np.equal(x, edges[-1])


@implements(np.histogram_bin_edges)
def histogram_bin_edges(
    a: ArrayLike, bins: int | str | ArrayLike = 10, range: Range = None, weights: ArrayLike | None = None
) -> Array:
    """The edges that `histogram` counts between.

    >>> histogram_bin_edges(np.array([0.0, 0.1, 1.0]), 2).tolist()
    [0.0, 0.5, 1.0]
    """
    return _edges("histogram_bin_edges", _flat(a), bins, range)


@implements(np.histogram)
def histogram(
    a: ArrayLike,
    bins: int | str | ArrayLike = 10,
    range: Range = None,
    density: bool | None = None,
    weights: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Counts of the elements between edges, and the edges.

    Args:
        a: the elements, of any shape.
        bins: how many bins of one width, a rule that says how many ("auto"), or the edges, ascending.
        range: where the first bin begins and the last one ends; the smallest and the largest element by default.
        density: whether to divide by the widths of the bins and by the sum.
        weights: what each element counts, in the shape of `a`.

    >>> [x.tolist() for x in histogram(np.array([0.0, 0.1, 1.0]), 2)]
    [[2, 1], [0.0, 0.5, 1.0]]

    Raises:
        TypeError: for a number of bins that is to be estimated ("auto") from data with weights.
    """
    if isinstance(bins, str) and weights is not None:
        raise TypeError(f"histogram: the number of bins is not estimated ({bins!r}) from data with weights; give it")
    a = as_array(a)
    if weights is not None:
        weights = as_array(weights)
        if shape_of(weights) != shape_of(a):
            raise ValueError(f"histogram: weights are of the shape of a, got {type_of(weights)} for {type_of(a)}")
        weights = np.ravel(weights)
    a = _flat(a)
    edges = _edges("histogram", a, bins, range)
    count = shape_of(edges)[0] - 1
    known, at = _known(a), _known(edges)
    if weights is None and known is not None and at is not None:
        total = np.histogram(known, at)[0]
    else:
        total = bincount(_places(a, edges) - 1, weights, length=count)
        total = total if weights is None else astype(total, weights.dtype)
    if density:
        total = total / astype(np.diff(edges), np.float64) / np.sum(total)
    return total, edges


@implements(np.histogramdd)
def histogramdd(
    sample: Any,
    bins: Any = 10,
    range: Sequence[Range] | None = None,
    density: bool | None = None,
    weights: ArrayLike | None = None,
) -> tuple[Array, tuple[Array, ...]]:
    """Counts of N points in D dimensions, as floats in an array with an axis for each dimension, and the edges of each.

    Args:
        sample: the points, (N, D); or D vectors of coordinates.
        bins: a number of bins or the edges for each dimension, or one number for all.
        range: where the bins begin and end, for each dimension.
        density: whether to divide by the volumes of the bins and by the sum.
        weights: what each point counts, (N,).

    >>> histogramdd(np.array([[0.0, 0.0], [1.0, 0.2], [1.0, 1.0]]), 2)[0].tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    if isinstance(sample, list | tuple):
        sample = np.stack([as_array(x) for x in sample], -1)
    elif len(shape_of(sample)) != 2:
        raise ShapeError(f"histogramdd: the sample is (N, D), or D vectors, got {type_of(sample)}")
    dimensions = sample.shape[1]
    try:
        given = len(bins)
    except TypeError:
        bins, given = [bins] * dimensions, dimensions
    if given != dimensions or (range is not None and len(range) != dimensions):
        raise ValueError(
            f"histogramdd: bins and range have one entry for each of {dimensions} dimensions, got {given} and "
            f"{dimensions if range is None else len(range)}"
        )
    edges, flat, sizes = [], 0, []
    for i, columns in enumerate(np.moveaxis(sample, 1, 0)):
        edges.append(_edges("histogramdd", columns, bins[i], None if range is None else range[i]))
        sizes.append(shape_of(edges[i])[0] + 1)  # with those below and above
        flat = flat * sizes[i] + _places(columns, edges[i])
    total = bincount(flat, weights, length=math.prod(sizes))
    total = np.reshape(total, sizes)[(slice(1, -1),) * dimensions]
    total = astype(total, np.float64)
    if density:
        sum = np.sum(total)
        for i, e in enumerate(edges):
            total = total / np.reshape(np.diff(e), [-1 if j == i else 1 for j in np.arange(dimensions)])
        total = total / sum
    return total, tuple(edges)


@implements(np.histogram2d)
def histogram2d(
    x: ArrayLike,
    y: ArrayLike,
    bins: Any = 10,
    range: Sequence[Range] | None = None,
    density: bool | None = None,
    weights: ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """`histogramdd` of points in the plane: counts, edges of `x`, edges of `y`. `bins` is one number or the edges for both, or a pair.

    >>> histogram2d(np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.2, 1.0]), 2)[0].tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    x, y = as_array(x), as_array(y)
    if shape_of(x) != shape_of(y) or len(shape_of(x)) != 1:
        raise ShapeError(f"histogram2d: x and y are vectors of one length, got {type_of(x)} and {type_of(y)}")
    if not np.isscalar(bins) and len(bins) not in (1, 2):
        bins = [bins, bins]
    elif not np.isscalar(bins) and len(bins) == 1:
        bins = [bins[0], bins[0]]
    total, edges = histogramdd(np.stack([x, y], -1), bins, range, density, weights)
    return total, edges[0], edges[1]
