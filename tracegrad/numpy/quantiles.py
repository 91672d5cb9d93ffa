"""Quantiles, percentiles and medians, with NaN and without, and weighted ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import plain_value
from tracegrad.core.types import is_added, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, is_tracer, normalize_axes, normalize_axis, shape_of
from tracegrad.typing import Array, ArrayLike, Axis


def _hyndman_fan(alpha: float, beta: float) -> Callable[[Any, Any], Any]:
    return lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1


def _closest(place: Any) -> Any:
    """The nearer neighbour; half-way, of the two the one that is odd counted from one."""
    below = np.floor(place)
    return np.where(np.logical_and(np.equal(place, below), np.equal(np.remainder(below, 2), 1)), below, below + 1)


# How each method of np.quantile places the quantile q among n sorted elements: a fractional place is interpolated.
# Source: Hyndman and Fan, Sample quantiles in statistical packages, The American Statistician 50 (1996).
_PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "inverted_cdf": lambda n, q: np.ceil(n * q - 1),
    "averaged_inverted_cdf": lambda n, q: 0.5 * (np.ceil(n * q - 1) + np.floor(n * q)),
    "closest_observation": lambda n, q: _closest(n * q - 1 - 0.5),
    "interpolated_inverted_cdf": _hyndman_fan(0, 1),
    "hazen": _hyndman_fan(0.5, 0.5),
    "weibull": _hyndman_fan(0, 0),
    "linear": lambda n, q: (n - 1) * q,
    "median_unbiased": _hyndman_fan(1 / 3, 1 / 3),
    "normal_unbiased": _hyndman_fan(3 / 8, 3 / 8),
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "midpoint": lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
    "nearest": lambda n, q: np.rint((n - 1) * q),
}
_WITHOUT_BETWEEN = frozenset(["inverted_cdf", "closest_observation", "lower", "higher", "nearest"])


def _axes_last(a: Any, axes: tuple[int, ...]) -> Any:
    """The array with these axes merged into one, the last."""
    shape = a.shape
    kept = [i for i in range(len(shape)) if i not in axes]
    if (*kept, *axes) != tuple(range(len(shape))):
        a = np.transpose(a, (*kept, *axes))
    return np.reshape(a, (*[shape[i] for i in kept], math.prod([shape[i] for i in axes]))) if len(axes) != 1 else a


def _sorted_last(name: str, a: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """The array sorted over the axes, which are merged and last; and which they were."""
    t = type_of(a)
    if number_kind(t.dtype) == "c":
        raise DtypeError(f"{name} of {t}: complex numbers have no order")
    axes = normalize_axes(axis, len(t.shape), name)
    if 0 in [t.shape[i] for i in axes]:
        raise ShapeError(f"{name} of {t} over axes {axes}: nothing to take it of")
    return np.sort(_axes_last(a, axes), -1), axes


def _restored(value: Any, shape: Sequence[int], axes: tuple[int, ...], keepdims: Any, lead: int = 0) -> Any:
    """With `keepdims`, the reduced axes again, of size one, behind `lead` new ones."""
    if not keepdims:
        return value
    return np.reshape(value, (*value.shape[:lead], *[1 if i in axes else n for i, n in enumerate(shape)]))


def _quantile(
    function: Any,
    a: Any,
    q: Any,
    whole: int,
    axis: Any,
    method: str,
    keepdims: Any,
    weights: Any,
    skip_nan: bool = False,
) -> Any:
    """Quantiles `q` of shape Q, from 0 to `whole`, over the axes: of shape Q, then what is left of the shape of `a`.

    As in NumPy 2.4, a Python number `q` leaves the array its precision, and an integer one, 0 or 1, all of its dtype.
    """
    name = function.__name__
    a, weak = as_array(a), type(q) in (int, float)
    if number_kind(type_of(a).dtype) == "b":
        raise DtypeError(f"{name} of {type_of(a)}: booleans cannot be interpolated; use a.astype(int)")
    if whole != 1:
        q = q / whole if weak else np.true_divide(q, whole)
    elif not weak:
        q = as_array(q)
    if method not in _PLACES:
        raise ValueError(f"{name}: method must be one of {', '.join(map(repr, _PLACES))}; got {method!r}")
    if not is_tracer(q) and not np.all((q >= 0) & (q <= 1)):
        raise ValueError(f"{name}: quantiles lie from 0 to 1 (percentiles from 0 to 100)")
    if number_kind(type_of(q).dtype) != "f" and method == "linear":
        method = "lower"  # there is nothing to interpolate
    if number_kind(type_of(q).dtype) != "f" or weak:
        q = astype(q, np.float64)
    if weights is not None:
        return _weighted_quantile(name, a, q, axis, method, keepdims, weights, skip_nan)
    ordered, axes = _sorted_last(name, a, axis)
    floats = number_kind(ordered.dtype) == "f"
    lead = ordered.shape[:-1]
    n: Any = ordered.shape[-1]
    if skip_nan and floats:
        n = np.sum(np.logical_not(np.isnan(ordered)), -1, keepdims=True)
    where = _PLACES[method](n, np.reshape(q, -1))
    below = np.floor(where)
    last = np.maximum(n - 1, 0)
    low, high = [astype(np.minimum(np.maximum(k, 0), last), np.intp) for k in (below, below + 1)]
    if is_tracer(low) or np.ndim(low) > 1:
        places = (*lead, low.shape[-1])
        low, high = np.broadcast_to(low, places), np.broadcast_to(high, places)
        pick = lambda k: np.take_along_axis(ordered, k, -1)
    else:
        pick = lambda k: np.take(ordered, k, axis=-1)
    if method in _WITHOUT_BETWEEN:
        value = pick(low)
    else:
        # As NumPy does, from the nearer side, which is exact at both.
        own = np.dtype(np.float32) if is_added(ordered.dtype) else ordered.dtype
        a0, a1, t = pick(low), pick(high), astype(where - below, own if weak and floats else type_of(q).dtype)
        between = a1 - a0
        value = np.where(np.greater_equal(t, 0.5), a1 - between * (1 - t), a0 + between * t)
    if floats and not skip_nan:
        largest = ordered[..., -1:]
        value = np.where(np.isnan(largest), largest, value)
    value = np.reshape(np.moveaxis(value, -1, 0), (*shape_of(q), *lead))
    return _restored(value, a.shape, axes, keepdims, len(shape_of(q)))


def _weights_of(name: str, weights: Any, a: Any, axis: Any) -> Any:
    """Weights as an array of the shape of `a`: they have that, or the sizes of the axes that quantiles are taken over."""
    w = as_array(weights)
    if w.shape != a.shape:
        if axis is None:
            raise TypeError(
                f"{name}: axis must be specified when shapes of a and weights differ: {type_of(a)}, {type_of(w)}"
            )
        axes = [normalize_axis(i, a.ndim, name) for i in (axis if isinstance(axis, tuple) else (axis,))]
        if w.shape != tuple([a.shape[i] for i in axes]):
            raise ShapeError(
                f"{name}: shape of weights, {type_of(w)}, must be consistent with that of {type_of(a)} along {axis}"
            )
        w = np.transpose(w, tuple(np.argsort(axes).tolist()))
        w = np.reshape(w, tuple([n if i in axes else 1 for i, n in enumerate(a.shape)]))
        w = np.broadcast_to(w, a.shape)
    known = plain_value(w, name)
    if known is not None and not np.all(known >= 0):
        raise ValueError(f"{name}: Weights must be non-negative.")
    return w


def _weighted_quantile(
    name: str, a: Any, q: Any, axis: Any, method: str, keepdims: Any, weights: Any, skip_nan: bool
) -> Any:
    """The first element in order up to which there is a part q of the weight. Differentiable in the elements."""
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    w = _weights_of(name, weights, a, axis)
    if skip_nan and number_kind(a.dtype) == "f":
        w = np.where(np.isnan(a), 0, w)
    ordered, axes = _sorted_last(name, a, axis)
    order = np.argsort(_axes_last(a, axes), -1)
    cdf = np.cumsum(np.take_along_axis(_axes_last(w, axes), order, -1), -1, dtype=np.float64)
    whole = cdf[..., -1:]
    known = plain_value(whole, name)
    if known is not None and not skip_nan and not np.all((known > 0) & np.isfinite(known)):
        raise ValueError("Weights included NaN, inf or were all zero.")
    cdf = astype(cdf / np.where(np.equal(whole, 0), 1, whole), type_of(q).dtype)
    cdf = np.where(np.equal(cdf, 0), -1, cdf)  # so that there is none at the beginning that weighs nothing
    places = np.sum(np.less(np.expand_dims(cdf, -2), np.reshape(q, (-1, 1))), -1)
    value = np.take_along_axis(ordered, np.minimum(places, ordered.shape[-1] - 1), -1)
    if number_kind(ordered.dtype) == "f":
        largest = ordered[..., -1:]
        value = np.where(np.equal(whole, 0) if skip_nan else np.isnan(largest), largest, value)
    value = np.reshape(np.moveaxis(value, -1, 0), (*shape_of(q), *ordered.shape[:-1]))
    return _restored(value, a.shape, axes, keepdims, len(shape_of(q)))


@implements(np.quantile)
def quantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """The quantiles `q`, from 0 to 1, over the axes; the shape of `q` comes first in that of the result.

    Between elements, `method` says how to interpolate, as for `np.quantile`. Differentiable in `q` too. `overwrite_input` has
    no effect. With `weights`, of the array's shape or the axes' sizes, the method is "inverted_cdf", and has no derivative in them.

    >>> quantile(np.array([1.0, 2.0, 4.0]), [0.5, 0.75]).tolist()
    [2.0, 3.0]

    Raises:
        ValueError: for a method that there is not, or quantiles that are known to lie outside of 0 to 1.
        DtypeError: for complex numbers and booleans.
        ShapeError: for quantiles of nothing.
    """
    return _quantile(np.quantile, a, q, 1, axis, method, keepdims, weights)


@implements(np.percentile)
def percentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """`quantile` with `q` from 0 to 100.

    >>> percentile(np.array([3.0, 1.0, 2.0]), 50).item()
    2.0
    """
    return _quantile(np.percentile, a, q, 100, axis, method, keepdims, weights)


@implements(np.nanquantile)
def nanquantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """`quantile` of the elements that are not NaN; NaN where there are none.

    >>> nanquantile(np.array([1.0, np.nan, 3.0]), 0.5).item()
    2.0
    """
    return _quantile(np.nanquantile, a, q, 1, axis, method, keepdims, weights, skip_nan=True)


@implements(np.nanpercentile)
def nanpercentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """`percentile` of the elements that are not NaN; NaN where there are none.

    >>> nanpercentile(np.array([1.0, np.nan, 3.0]), 50).item()
    2.0
    """
    return _quantile(np.nanpercentile, a, q, 100, axis, method, keepdims, weights, skip_nan=True)


@implements(np.median)
def median(
    a: ArrayLike, axis: Axis = None, out: Array | None = None, overwrite_input: bool = False, keepdims: bool = False
) -> Array:
    """The middle element over the axes, or the mean of the middle two. The derivative is theirs, of equal elements that of those which
    a stable sort puts in the middle, as in JAX.

    >>> median(np.array([3.0, 1.0, 2.0])).item()
    2.0
    >>> import tracegrad as tg
    >>> tg.grad(np.median)(np.array([9.0, 2.0, 2.0, 1.0, 2.0])).tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    a = as_array(a)
    ordered, axes = _sorted_last("median", a, axis)
    n = ordered.shape[-1]
    value = np.mean(ordered[..., (n - 1) // 2 : n // 2 + 1], -1)
    if number_kind(ordered.dtype) == "f":
        value = np.where(np.isnan(ordered[..., -1]), ordered[..., -1], value)
    return _restored(value, a.shape, axes, keepdims)


@implements(np.nanmedian)
def nanmedian(
    a: ArrayLike, axis: Axis = None, out: Array | None = None, overwrite_input: bool = False, keepdims: bool = False
) -> Array:
    """The median of the elements that are not NaN; NaN where there are none.

    >>> nanmedian(np.array([1.0, np.nan, 3.0])).item()
    2.0
    """
    a = as_array(a)
    if number_kind(type_of(a).dtype) != "f":
        return np.median(a, axis, keepdims=keepdims)
    ordered, axes = _sorted_last("nanmedian", a, axis)
    n = np.sum(np.logical_not(np.isnan(ordered)), -1, keepdims=True)
    middle = np.concatenate([np.maximum(n - 1, 0) // 2, n // 2], -1)
    value = np.mean(np.take_along_axis(ordered, middle, -1), -1)
    return _restored(value, a.shape, axes, keepdims)
