"""What depends on the order of what an unknown mask selects: sums and products of all before, and what is sorted, with those that are
not selected behind all others."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.types import number_kind
from tracegrad.ops.families import normalize_axes
from tracegrad.ops.index.selected import ORDERED, Selected


def _accumulated(x: Selected, function: Any, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Sums or products of what comes before, of which those of the other rows are nobody's."""
    if a is not x or out is not None or (axis is None and x.ndim > 1):
        x.refuse(f"np.{function.__name__}")
    (axis,) = normalize_axes(0 if axis is None else axis, x.ndim, function.__name__)
    if axis:
        return x.wrapped(function(x.filling(), axis, dtype))
    rows = np.where(x.held(), x.rows, x.dtype.type(function is np.cumprod))
    return Selected(function(rows, 0, dtype), x.mask, x.source)


def _sorted(
    x: Selected, function: Any, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, **given: Any
) -> Any:
    """Those that are selected in front and sorted, NaN last, and which they are: as many as there were."""
    if a is not x or x.ndim > 1 or axis is None or order is not None:
        x.refuse("np.sort")
    normalize_axes(axis, 1, "sort")
    held = x.held()  # of one axis, as the rows, of whatever axes the mask is
    places = np.lexsort((x.rows, ~held))
    return Selected(np.take(x.rows, places, 0), np.take(held, places, 0), x.source)


def _numbers(x: Selected, name: str, a: Any, axis: Any, refused: bool) -> Any:
    """What is selected of one axis as floats, NaN in place of what is not."""
    if a is not x or x.ndim > 1 or refused or number_kind(x.dtype) not in "biuf":
        x.refuse(f"np.{name}")
    normalize_axes(axis, 1, name)
    rows = x.rows if number_kind(x.dtype) == "f" else np.astype(x.rows, np.float64)
    return np.where(x.held(), rows, np.asarray(np.nan, rows.dtype))


def _or_nan(x: Selected, found: Any) -> Any:
    """What was found, NaN where one of those that are selected is."""
    if number_kind(x.dtype) != "f":
        return found
    return np.where(np.any(np.isnan(x.rows), where=x.held()), np.asarray(np.nan, found.dtype), found)


def _median(
    x: Selected,
    function: Any,
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Any:
    """The mean of the two in the middle."""
    numbers = _numbers(x, "median", a, axis, out is not None or keepdims)
    if not numbers.shape[0]:
        return np.asarray(np.nan, numbers.dtype)[()]
    count = np.count_nonzero(x.mask)
    ordered = np.sort(numbers)
    low, high = [np.take(ordered, np.maximum(i, 0)) for i in ((count - 1) // 2, count // 2)]
    return _or_nan(x, np.where(count % 2 == 1, low, np.mean(np.stack([low, high]))))


def _quantile(
    x: Selected,
    function: Any,
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    **given: Any,
) -> Any:
    """That of all but NaN. Of integers it is a float, by the only method that makes one of them."""
    name = function.__name__
    is_exact = number_kind(x.dtype) == "b" or (number_kind(x.dtype) != "f" and method != "linear")
    numbers = _numbers(x, name, a, axis, out is not None or keepdims or bool(given) or is_exact)
    return _or_nan(x, (np.nanquantile if function is np.quantile else np.nanpercentile)(numbers, q, method=method))


ORDERED.update({
    np.cumsum: _accumulated, np.cumprod: _accumulated, np.sort: _sorted, np.median: _median, np.quantile: _quantile,
    np.percentile: _quantile,
})  # fmt: skip
