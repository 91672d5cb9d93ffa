"""Order: sorting, searching, distinct values, quantiles, interpolation, counting.

Sorting is a permutation, found anew where a derivative asks for it: the derivative is permuted alike. Equal elements
keep their order, so that each has its own derivative, as in JAX.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.trace import Tracer, as_array, bind, concrete
from tracegrad.core.types import ArrayType, is_added, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import (
    along_axis,
    implements,
    is_of_a_scalar,
    is_tracer,
    linear,
    locally_constant,
    normalize_axes,
    normalize_axis,
    reject,
    same_type,
    shape_of,
)
from tracegrad.ops.index import take  # np.take does not see a tracer among the indices

_INTP = np.dtype(np.intp)

# ---------------------------------------------------------------------------------------------------------------------
# Sorting.


def _axis_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).permutation(24).reshape(2, 4, 3) / 8 - 1.4
    for axis in range(3):
        yield Sample((x,), {"axis": axis})
    yield Sample((np.zeros((2, 0)),), {"axis": 1})


def _order(x: Any, axis: int) -> Any:
    return bind(argsort_op, (x,), {"axis": axis})


def _sort_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    axis = params["axis"]
    return np.take_along_axis(tangents[0], _order(primals[0], axis), axis)


def _sort_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    # Back by the inverse permutation: the order of the order.
    axis = params["axis"]
    return (np.take_along_axis(ct, _order(_order(primals[0], axis), axis), axis),)


argsort_op: Op = locally_constant(
    "argsort",
    lambda x, axis: np.argsort(x, axis, kind="stable"),
    infer=lambda types, params: ArrayType(types[0].shape, _INTP),
    batch=along_axis("argsort"),
    samples=_axis_samples,
)
sort_op: Op = Op(
    "sort",
    evaluate=lambda x, axis: np.sort(x, axis),
    infer=same_type,
    jvp=_sort_jvp,
    vjp=_sort_vjp,
    nonnegative=True,
    batch=along_axis("sort"),
    kinds="biufc",
    samples=_axis_samples,
)


def _flat_or_axis(name: str, a: Any, axis: int | None) -> tuple[Any, int]:
    a = as_array(a)
    return (np.reshape(a, -1), 0) if axis is None else (a, normalize_axis(axis, len(shape_of(a)), name))


@implements(np.sort)
def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    """`a` in ascending order along the axis, flattened first where it is None; NaN last. `kind` makes no difference."""
    reject(np.sort, order=order)
    a, axis = _flat_or_axis("sort", a, axis)
    return bind(sort_op, (a,), {"axis": axis})


@implements(np.sort_complex)
def sort_complex(a: Any) -> Any:
    """`a` sorted along its last axis by real, then imaginary parts, as complex numbers."""
    a = as_array(a)
    dtype = type_of(a).dtype
    if number_kind(dtype) != "c":
        dtype = np.dtype({"g": np.clongdouble}.get(dtype.char, np.complex64 if dtype.char in "bhBH" else np.complex128))
    return np.sort(astype(a, dtype), -1)


@implements(np.argsort)
def argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    """The places that sort `a` along the axis. Equal elements keep their order whatever `kind` says."""
    reject(np.argsort, order=order)
    a = as_array(a)
    a, axis = _flat_or_axis("argsort", a, None if is_of_a_scalar(axis, len(shape_of(a))) else axis)
    return bind(argsort_op, (a,), {"axis": axis})


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """The places that sort by the last of the keys, equals by the one before it, and so on."""
    keys = [as_array(k) for k in keys]
    if not keys or shape_of(keys[0]) == ():
        raise ShapeError("lexsort: needs a sequence of keys, each an array; write np.argsort for one key")
    axis = normalize_axis(axis, len(keys[0].shape), "lexsort")
    found = _order(keys[0], axis)
    for key in keys[1:]:
        found = np.take_along_axis(found, _order(np.take_along_axis(key, found, axis), axis), axis)
    return found


def _kth_samples() -> Iterable[Sample]:
    x = np.random.default_rng(1).permutation(20).reshape(4, 5) / 8 - 1.2
    for axis, kth in [(0, (1,)), (1, (0, 3)), (1, (4,))]:
        yield Sample((x,), {"axis": axis, "kth": kth})


argpartition_op: Op = locally_constant(
    "argpartition",
    lambda x, axis, kth: np.argpartition(x, kth, axis),
    infer=lambda types, params: ArrayType(types[0].shape, _INTP),
    batch=along_axis("argpartition"),
    samples=_kth_samples,
)


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: int | None = -1, kind: Any = "introselect", order: Any = None) -> Any:
    """The places that bring the kth smallest along the axis to its place, smaller ones before it, larger behind."""
    reject(np.argpartition, order=order)
    a, axis = _flat_or_axis("argpartition", a, axis)
    n = a.shape[axis]
    places = []
    for k in kth if isinstance(kth, tuple | list | np.ndarray) and np.ndim(kth) else (kth,):
        k = operator.index(k)
        if not -n <= k < n:
            raise ShapeError(f"argpartition: there is no place kth={k} among {n} along axis {axis} of {type_of(a)}")
        places.append(k % n)
    return bind(argpartition_op, (a,), {"axis": axis, "kth": tuple(places)})


@implements(np.partition)
def partition(a: Any, kth: Any, axis: int | None = -1, kind: Any = "introselect", order: Any = None) -> Any:
    """`a` with the kth smallest along the axis in its place, smaller ones before it, larger behind, in some order."""
    reject(np.partition, order=order)
    a, axis = _flat_or_axis("partition", a, axis)
    return np.take_along_axis(a, argpartition(a, kth, axis), axis)


def _top_places(x: Any, axis: int, k: int) -> Any:
    """The places of the k largest, found in linear time: what is larger than the k-th largest, and of its equals the
    first; then these few in order."""
    x = np.moveaxis(x, axis, -1)
    n = x.shape[-1]
    if 0 < k < n:
        is_nan = np.isnan(x) if number_kind(x.dtype) == "f" else np.zeros(x.shape, bool)
        level = np.partition(x, n - k, -1)[..., n - k, None]
        level_is_nan = level != level
        equal = np.where(level_is_nan, is_nan, x == level)
        above = (x > level) | (is_nan & ~level_is_nan)
        room = k - np.add.reduce(above, -1, keepdims=True)
        chosen = above | (equal & (np.add.accumulate(equal, -1, dtype=np.intp) <= room))
        places = chosen.nonzero()[-1].reshape(*x.shape[:-1], k)
    else:
        places = np.broadcast_to(np.arange(n)[:k], (*x.shape[:-1], k))
    # Descending, equals in order: the ascending order of the mirrored places, mirrored.
    mirrored = np.take_along_axis(x, places, -1)[..., ::-1]
    order = k - 1 - np.argsort(mirrored, -1, kind="stable")[..., ::-1]
    return np.moveaxis(np.take_along_axis(places, order, -1), -1, axis).astype(np.int32)


def _top_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    shape, axis = types[0].shape, params["axis"]
    return ArrayType((*shape[:axis], params["k"], *shape[axis + 1 :]), np.dtype(np.int32))


def _top_samples() -> Iterable[Sample]:
    x = np.random.default_rng(2).permutation(24).reshape(2, 4, 3) / 8 - 1.4
    for axis, k in [(0, 1), (1, 2), (1, 4), (2, 0)]:
        yield Sample((x,), {"axis": axis, "k": k})


top_places_op: Op = locally_constant(
    "top_places",
    _top_places,
    infer=_top_type,
    batch=along_axis("top_places"),
    kinds="biuf",
    samples=_top_samples,
)


def top_k(operand: Any, k: int, *, axis: int = -1) -> tuple[Any, Any]:
    """The `k` largest along the axis in descending order, and their places (int32); of equals (0.0 and -0.0
    are) the first come first, and NaN counts as largest. Takes linear time, and the derivative goes to the elements that were taken.

    >>> import numpy as np
    >>> values, places = top_k(np.array([3.0, 1.0, 4.0, 4.0]), 3)
    >>> values.tolist(), places.tolist()
    ([4.0, 4.0, 3.0], [2, 3, 0])
    """
    x, k = as_array(operand), operator.index(k)
    found = type_of(x)
    axis = normalize_axis(axis, len(found.shape), "top_k")
    if number_kind(found.dtype) == "c":
        raise DtypeError(f"top_k of {found}: complex numbers have no order")
    if not 0 <= k <= found.shape[axis]:
        raise ShapeError(f"top_k: there are no k={k} largest among {found.shape[axis]} along axis {axis} of {found}")
    places = bind(top_places_op, (x,), {"axis": axis, "k": k})
    return np.take_along_axis(x, places, axis), places


# ---------------------------------------------------------------------------------------------------------------------
# Searching.


def _search_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, v = types
    if len(a.shape) != 1:
        raise ShapeError(f"searchsorted in {a}: the sorted array must have one dimension; map over others with tg.vmap")
    return ArrayType(v.shape, _INTP)


def _search_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    a, v = inputs
    if not batched[0]:
        return bind(searchsorted_op, (a, v), params)
    # Rows differ: sort each together with what is sought in it, then count the row's own elements that come before.
    left = params["side"] == "left"
    v = v if batched[1] else np.broadcast_to(v, (size, *shape_of(v)))
    sought = np.reshape(v, (size, math.prod(v.shape[1:])))
    n, m = a.shape[1], sought.shape[1]
    order = _order(np.concatenate([sought, a] if left else [a, sought], 1), 1)
    own = np.greater_equal(order, m) if left else np.less(order, n)
    before = np.cumsum(own, 1)
    places = _order(order, 1)
    places = places[:, :m] if left else places[:, n:]
    return np.reshape(np.take_along_axis(before, places, 1), v.shape)


def _search_samples() -> Iterable[Sample]:
    a = np.array([-1.0, 0.0, 0.5, 0.5, 2.0])
    for side in ("left", "right"):
        yield Sample((a, np.array([[0.2, 0.5, -3.0], [3.0, 0.0, 1.0]])), {"side": side})
        yield Sample((a, 0.5), {"side": side})
        yield Sample((np.zeros(0), np.array([0.5])), {"side": side})


searchsorted_op = locally_constant(
    "searchsorted",
    lambda a, v, side: np.searchsorted(a, v, side),
    infer=_search_type,
    batch=_search_batch,
    samples=_search_samples,
)


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where the elements of `v` would go in the sorted vector `a`: before equals ("left") or behind them ("right")."""
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    a = as_array(a)
    if sorter is not None:
        a = take(a, sorter)
    return _search(a, as_array(v), side)


def _search(a: Any, v: Any, side: str) -> Any:
    return bind(searchsorted_op, (a, v), {"side": side})


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """The number of the bin that each element is in, between the edges `bins`, ascending or descending."""
    x, bins = as_array(x), as_array(bins)
    if number_kind(type_of(x).dtype) == "c":
        raise DtypeError(f"digitize of {type_of(x)}: complex numbers are in no bin")
    side = "left" if right else "right"
    if type(bins) is not Tracer:
        steps = np.diff(bins)
        if np.all(steps >= 0):
            return _search(bins, x, side)
        if np.any(steps > 0):
            raise ValueError("digitize: bins must ascend or descend")
    elif bins.shape[0] < 2:
        return _search(bins, x, side)
    descending = bins.shape[0] - _search(bins[::-1], x, side)
    if type(bins) is not Tracer:
        return descending
    return np.where(np.less_equal(bins[0], bins[-1]), _search(bins, x, side), descending)


# ---------------------------------------------------------------------------------------------------------------------
# Distinct values.


@implements(np.unique)
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The distinct elements in order, taken from where each occurs first, which has the derivative. Needs values."""
    ar = as_array(ar)
    plain = concrete(ar, "np.unique", "find the distinct values outside and pass them in")
    _, index, inverse, counts = np.unique(plain, True, True, True, axis, equal_nan=equal_nan)
    values = take(ar, index, axis=axis)
    more = [x for x, wanted in ((index, return_index), (inverse, return_inverse), (counts, return_counts)) if wanted]
    return (values, *more) if more else values


# ---------------------------------------------------------------------------------------------------------------------
# Quantiles.


def _hyndman_fan(alpha: float, beta: float) -> Callable[[Any, Any], Any]:
    return lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1


def _cut(q: Any, n: Any, rounded: Callable[[Any], Any]) -> Any:
    return rounded((n - 1) * q)


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
    found = type_of(a)
    if number_kind(found.dtype) == "c":
        raise DtypeError(f"{name} of {found}: complex numbers have no order")
    axes = normalize_axes(axis, len(found.shape), name)
    if 0 in [found.shape[i] for i in axes]:
        raise ShapeError(f"{name} of {found} over axes {axes}: nothing to take it of")
    return np.sort(_axes_last(a, axes), -1), axes


def _restored(value: Any, shape: Sequence[int], axes: tuple[int, ...], keepdims: Any, lead: int = 0) -> Any:
    """With `keepdims`, the reduced axes again, of size one, behind `lead` new ones."""
    if not keepdims:
        return value
    return np.reshape(value, (*value.shape[:lead], *[1 if i in axes else n for i, n in enumerate(shape)]))


def _quantile(name: str, a: Any, q: Any, axis: Any, method: str, keepdims: Any, skip_nan: bool) -> Any:
    """Quantiles `q` of shape Q over the axes: of shape Q, then what is left of the shape of `a`.

    As in NumPy 2.4, a Python number `q` leaves the array its precision, and an integer one, 0 or 1, all of its dtype.
    """
    if method not in _PLACES:
        raise ValueError(f"{name}: method must be one of {', '.join(map(repr, _PLACES))}; got {method!r}")
    if not is_tracer(q) and not np.all((q >= 0) & (q <= 1)):
        raise ValueError(f"{name}: quantiles lie from 0 to 1 (percentiles from 0 to 100)")
    weak = type(q) in (int, float)
    if number_kind(type_of(q).dtype) != "f" and method == "linear":
        method = "lower"  # there is nothing to interpolate
    if number_kind(type_of(q).dtype) != "f" or weak:
        q = astype(q, np.float64)
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


def _quantile_arguments(function: Any, a: Any, q: Any, scale: int, **rejected: Any) -> tuple[Any, Any]:
    """The array, of which there are quantiles, and the quantiles, from 0 to 1."""
    reject(function, **rejected)
    a = as_array(a)
    dtype = type_of(a).dtype
    if number_kind(dtype) == "b":
        raise DtypeError(f"{function.__name__} of {type_of(a)}: booleans cannot be interpolated; use a.astype(int)")
    if type(q) in (int, float):
        return a, q / scale if scale != 1 else q
    return a, np.true_divide(q, scale) if scale != 1 else as_array(q)


@implements(np.quantile)
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> Any:
    """The quantiles `q`, from 0 to 1, over the axes; the shape of `q` comes first in that of the result.

    Between elements, `method` says how to interpolate, as for `np.quantile`. Differentiable in `q` too.
    """
    a, q = _quantile_arguments(np.quantile, a, q, 1, out=out, weights=weights)
    return _quantile("quantile", a, q, axis, method, keepdims, skip_nan=False)


@implements(np.percentile)
def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> Any:
    """`quantile` with `q` from 0 to 100."""
    a, q = _quantile_arguments(np.percentile, a, q, 100, out=out, weights=weights)
    return _quantile("percentile", a, q, axis, method, keepdims, skip_nan=False)


@implements(np.nanquantile)
def nanquantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> Any:
    """`quantile` of the elements that are not NaN; NaN where there are none."""
    a, q = _quantile_arguments(np.nanquantile, a, q, 1, out=out, weights=weights)
    return _quantile("nanquantile", a, q, axis, method, keepdims, skip_nan=True)


@implements(np.nanpercentile)
def nanpercentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> Any:
    """`percentile` of the elements that are not NaN; NaN where there are none."""
    a, q = _quantile_arguments(np.nanpercentile, a, q, 100, out=out, weights=weights)
    return _quantile("nanpercentile", a, q, axis, method, keepdims, skip_nan=True)


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """The middle element over the axes, or the mean of the middle two."""
    reject(np.median, out=out)
    a = as_array(a)
    ordered, axes = _sorted_last("median", a, axis)
    n = ordered.shape[-1]
    value = np.mean(ordered[..., (n - 1) // 2 : n // 2 + 1], -1)
    if number_kind(ordered.dtype) == "f":
        value = np.where(np.isnan(ordered[..., -1]), ordered[..., -1], value)
    return _restored(value, a.shape, axes, keepdims)


@implements(np.nanmedian)
def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """The median of the elements that are not NaN; NaN where there are none."""
    reject(np.nanmedian, out=out)
    a = as_array(a)
    if number_kind(type_of(a).dtype) != "f":
        return np.median(a, axis, keepdims=keepdims)
    ordered, axes = _sorted_last("nanmedian", a, axis)
    n = np.sum(np.logical_not(np.isnan(ordered)), -1, keepdims=True)
    middle = np.concatenate([np.maximum(n - 1, 0) // 2, n // 2], -1)
    value = np.mean(np.take_along_axis(ordered, middle, -1), -1)
    return _restored(value, a.shape, axes, keepdims)


# ---------------------------------------------------------------------------------------------------------------------
# Interpolation and counting.


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """The piecewise linear function through the points (xp, fp), xp ascending, at `x`.

    Outside it is `left` and `right` (by default the outermost values), or repeats with `period`. Differentiable in `x`,
    where at a corner it is the slope to the right, and in `xp` and `fp`.
    """
    x, xp, fp = [as_array(v) for v in (x, xp, fp)]
    complex_values = number_kind(type_of(fp).dtype) == "c"
    x, xp, fp = (
        astype(x, np.float64),
        astype(xp, np.float64),
        astype(fp, np.complex128 if complex_values else np.float64),
    )
    if len(shape_of(xp)) != 1 or shape_of(xp) != shape_of(fp) or xp.shape[0] == 0:
        raise ShapeError(
            f"interp: xp is {type_of(xp)} and fp {type_of(fp)}; they must be vectors of one length, not empty"
        )
    if period is not None:
        if not is_tracer(period) and period == 0:
            raise ValueError("interp: the period must not be zero")
        period = np.abs(period)
        left = right = None
        x, xp = np.remainder(x, period), np.remainder(xp, period)
        order = np.argsort(xp)
        xp, fp = take(xp, order), take(fp, order)
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    n = xp.shape[0]
    if n == 1:
        value = np.broadcast_to(fp, (*shape_of(x), 1))[..., 0]
    else:
        i = np.minimum(np.maximum(np.searchsorted(xp, x, "right"), 1), n - 1)
        x0, f0 = take(xp, i - 1), take(fp, i - 1)
        width = take(xp, i) - x0
        none = np.equal(width, 0)
        value = f0 + np.where(none, 0, x - x0) / np.where(none, 1, width) * (take(fp, i) - f0)
    value = np.where(np.less(x, xp[0]), fp[0] if left is None else left, value)
    value = np.where(np.greater(x, xp[-1]), fp[-1] if right is None else right, value)
    return np.where(np.isnan(x), x, value)


def _bincount_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    weights, x = types
    if len(x.shape) != 1 or weights.shape != x.shape:
        raise ShapeError(f"bincount: numbers {x} and weights {weights} must be vectors of one length; use np.ravel")
    return ArrayType((params["length"],), np.dtype(np.float64))


def _bincount_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    length = params["length"]
    weights, x = [v if b else np.broadcast_to(v, (size, *v.shape)) for v, b in zip(inputs, batched, strict=True)]
    # Each row counts in places of its own.
    apart = x + length * np.arange(size)[:, None]
    total = bind(bincount_op, (np.reshape(weights, -1), np.reshape(apart, -1)), {"length": size * length})
    return np.reshape(total, (size, length))


def _bincount_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(2)
    yield Sample((rng.uniform(-1, 1, 6), np.array([0, 3, 1, 3, 0, 0])), {"length": 5})
    yield Sample((np.zeros(0), np.zeros(0, int)), {"length": 3})


bincount_op: Op = linear(
    "bincount",
    # Of nothing, NumPy counts in integers.
    lambda weights, x, length: np.bincount(x, weights, length).astype(np.float64, copy=False),
    lambda ct, weights, x, length: astype(take(ct, x), weights.dtype),
    infer=_bincount_type,
    batch=_bincount_batch,
    linear=[{0}],
    kinds="biuf",
    samples=_bincount_samples,
)


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """How often each of the numbers 0, 1, … occurs in `x`, or the sum of the weights of its occurrences.

    The length of the result depends on the values of `x`, which must be known. Linear in `weights`.
    """
    plain = concrete(x, "np.bincount", "give the number of bins a size: write np.zeros(n).at[x].add(weights)")
    if weights is None:
        return np.bincount(plain, minlength=minlength)
    if number_kind(type_of(as_array(weights)).dtype) == "c":
        raise DtypeError("bincount: complex weights are not taken; count real and imaginary parts apart")
    length = max(int(np.max(plain)) + 1 if np.size(plain) else 0, minlength)
    return bind(bincount_op, (as_array(weights), as_array(x)), {"length": length})


@implements(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> tuple[Any, Any]:
    """Counts of the elements between edges, and the edges. Needs the values of `a`.

    Counts are locally constant in `a`, and linear in `weights`. Edges that are not given follow the smallest and the
    largest element, derivative included, and a density follows the edges.
    """
    a = as_array(a)
    plain = np.reshape(concrete(a, "np.histogram", "sort into given edges: np.searchsorted(edges, a)"), -1)
    bins = as_array(bins) if isinstance(bins, list | tuple) else bins
    fixed = concrete(bins, "np.histogram", "give the edges as a plain array") if is_tracer(bins) else bins
    if isinstance(fixed, str) and weights is not None:
        raise TypeError(f"histogram: the number of bins is not estimated ({fixed!r}) from data with weights; give it")
    plain_edges = np.histogram_bin_edges(plain, fixed, range)
    edges: Any = plain_edges
    if np.ndim(fixed):
        edges = bins
    elif (
        type(a) is Tracer
        and number_kind(type_of(a).dtype) == "f"
        and not isinstance(fixed, str)
        and range is None
        and plain.size
    ):
        low: Any = np.min(a)
        high: Any = np.max(a)
        if np.min(plain) == np.max(plain):
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, fixed + 1)
    if weights is None:
        total = np.histogram(plain, plain_edges)[0]
    else:
        weights = np.reshape(as_array(weights), -1)
        count = len(plain_edges) - 1
        within = (plain >= plain_edges[0]) & (plain <= plain_edges[-1])
        number = np.clip(np.searchsorted(plain_edges, plain, "right") - 1, 0, count - 1)
        total = np.bincount(number, np.where(within, weights, 0), count)
    if density:
        total = total / np.diff(edges) / np.sum(total)
    return total, edges
