"""Statistics: counts, means, variances and covariances, quantiles, histograms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import plain_value
from tracegrad.core.types import is_added, is_inexact, number_kind, type_of
from tracegrad.ops.cumulative import without_nan
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, is_tracer, normalize_axes, normalize_axis, shape_of
from tracegrad.ops.reduce import means, sums
from tracegrad.ops.reduce.means import count_of, mean_dtype, over, safe_sqrt
from tracegrad.ops.reduce.sums import check_mask, masked, over_axes, reduced_axes, sum_op
from tracegrad.typing import Array, ArrayLike, Axis, DType

# ---------------------------------------------------------------------------------------------------------------------
# Counts, and sums without NaN.


@implements(np.count_nonzero)
def count_nonzero(a: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """How many elements are not zero: int64, without a derivative.

    >>> int(count_nonzero(np.array([0, 1, 2])))
    2
    """
    a = as_array(a)
    return over_axes(sum_op, a if number_kind(type_of(a).dtype) == "b" else np.not_equal(a, 0), axis, keepdims)


@implements(np.nansum)
def nansum(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """`sum` with NaN taken for 0.

    >>> nansum(np.array([1.0, np.nan, 3.0])).item()
    4.0
    """
    return sums.sum(masked("nansum", without_nan(a, 0), where, 0), axis, dtype, None, keepdims, initial)


@implements(np.nanprod)
def nanprod(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """`prod` with NaN taken for 1.

    >>> nanprod(np.array([1.0, np.nan, 3.0])).item()
    3.0
    """
    return sums.prod(masked("nanprod", without_nan(a, 1), where, 1), axis, dtype, None, keepdims, initial)


@implements(np.ptp)
def ptp(a: ArrayLike, axis: Axis = None, out: Array | None = None, keepdims: bool = False) -> Array:
    """The largest less the smallest ("peak to peak").

    >>> ptp(np.array([3.0, 1.0, 2.0])).item()
    2.0
    """
    a = as_array(a)
    return np.max(a, axis, keepdims=keepdims) - np.min(a, axis, keepdims=keepdims)


# ---------------------------------------------------------------------------------------------------------------------
# Means and variances.


@implements(np.average)
def average(
    a: ArrayLike, axis: Axis = None, weights: ArrayLike = None, returned: bool = False, *, keepdims: bool = False
) -> Array | tuple[Array, Array]:
    """The mean weighted by `weights`, of the shape of `a` or of its axes; with `returned` also the sum of weights.

    >>> float(average(np.array([1.0, 2.0]), weights=[3, 1]))
    1.25

    Raises:
        ShapeError: for weights of another shape.
    """
    a = as_array(a)
    shape = shape_of(a)
    axes = normalize_axes(axis, len(shape), "average")
    if weights is None:
        value = np.mean(a, axes, keepdims=keepdims)
        count = math.prod([shape[i] for i in axes])
        return (value, np.full(value.shape, count, value.dtype)[()]) if returned else value
    weights = as_array(weights)
    if shape_of(weights) != shape:
        given = axes if axis is None else axis if isinstance(axis, tuple) else (axis,)
        order = [i % len(shape) for i in given]
        if axis is None or shape_of(weights) != tuple([shape[i] for i in order]):
            raise ShapeError(
                f"average of {type_of(a)} over axis {axis} with weights of {type_of(weights)}: the weights must have "
                "the shape of the array, or of its axes that are averaged over"
            )
        weights = np.transpose(weights, tuple(np.argsort(order).tolist()))
        weights = np.reshape(weights, tuple([n if i in axes else 1 for i, n in enumerate(shape)]))
    dtype = np.result_type(type_of(a).dtype, type_of(weights).dtype)
    if number_kind(type_of(a).dtype) in "biu":
        dtype = np.result_type(dtype, np.float64)
    a, weights = astype(a, dtype), astype(weights, dtype)
    total = np.sum(weights, axes, keepdims=keepdims)
    value = np.sum(a * weights, axes, keepdims=keepdims) / total
    return (value, np.broadcast_to(total, value.shape)) if returned else value


def _squares(x: Any) -> Any:
    return np.square(x) if number_kind(type_of(x).dtype) != "c" else np.square(np.real(x)) + np.square(np.imag(x))


def _degrees(ddof: Any, correction: Any) -> Any:
    if correction is None:
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction are two names for one thing; give one of them")
    return correction


@implements(np.var)
def var(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: ArrayLike = None,
    mean: ArrayLike = None,
    correction: float | None = None,
) -> Array:
    """The variance over the axes: squared distances from the mean, summed and divided by `n - ddof`. Integers have a float64
    variance, complex numbers a real one.

    >>> float(var(np.array([1.0, 3.0]))), float(var(np.array([1.0, 3.0]), ddof=1))
    (1.0, 2.0)

    Raises:
        ValueError: for `ddof` and `correction` together, which are two names for one thing.
    """
    a = as_array(a)
    axes = normalize_axes(axis, len(shape_of(a)), "var")
    # The dtype is that of the sums, and of the quotients of them; the distances are those of `a` itself.
    given, dtype = dtype, mean_dtype(a, dtype)
    if mean is None:
        total = over_axes(sum_op, astype(masked("var", a, where, 0), dtype), axes, True)
        mean = astype(over(astype(total, dtype), count_of("var", a, axes, True, where)), dtype)
    squares = masked("var", _squares(a - mean), where, 0)
    if number_kind(type_of(a).dtype) == "c" and given is None:
        dtype = type_of(squares).dtype
    total = astype(over_axes(sum_op, astype(squares, dtype), axes, keepdims), dtype)
    count = np.maximum(count_of("var", a, axes, keepdims, where) - _degrees(ddof, correction), 0)
    return astype(over(total, count), dtype)


@implements(np.std)
def std(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: ArrayLike = None,
    mean: ArrayLike = None,
    correction: float | None = None,
) -> Array:
    """The standard deviation over the axes: the square root of `var`, its derivative zero where all are equal.

    >>> import tracegrad as tg
    >>> tg.grad(np.std)(np.ones(3)).tolist()
    [0.0, 0.0, 0.0]
    """
    a = as_array(a)
    variance = var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    dtype = type_of(variance).dtype
    return safe_sqrt(variance) if is_inexact(dtype) else astype(np.sqrt(variance), dtype)


def _present(name: str, a: Any, where: Any) -> Any:
    """A mask of the elements that count: those that are not NaN, and where `where` holds."""
    mask = np.logical_not(np.isnan(a))
    if where is None or where is True:
        return mask
    check_mask(name, a, where)
    return np.logical_and(mask, where)


def _inexact_dtype(name: str, a: Any, dtype: Any) -> np.dtype[Any]:
    """The dtype to add up in: that of the array, unless another one is asked for."""
    if dtype is None:
        return type_of(a).dtype
    if not is_inexact(np.dtype(dtype)):
        raise DtypeError(f"{name} of {type_of(a)}: dtype must be floating or complex, got {np.dtype(dtype)}")
    return np.dtype(dtype)


@implements(np.nanmean)
def nanmean(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    keepdims: bool = False,
    *,
    where: ArrayLike = None,
) -> Array:
    """The mean of the elements that are not NaN; NaN where there are none. Of floats `dtype` must be inexact, else DtypeError.

    >>> nanmean(np.array([1.0, np.nan, 3.0])).item()
    2.0
    """
    a = as_array(a)
    if not is_inexact(type_of(a).dtype):
        return means.mean(a, axis, dtype, None, keepdims, where=where)
    axes = reduced_axes(axis, len(shape_of(a)), "nanmean")
    a = astype(a, _inexact_dtype("nanmean", a, dtype))
    present = _present("nanmean", a, where)
    count = np.sum(present, axes, keepdims=keepdims)
    return over(over_axes(sum_op, np.where(present, a, 0), axes, keepdims), np.where(np.equal(count, 0), np.nan, count))


@implements(np.nanvar)
def nanvar(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: ArrayLike = None,
    mean: ArrayLike = None,
    correction: float | None = None,
) -> Array:
    """The variance of the elements that are not NaN; NaN where no more than `ddof` are left.

    >>> nanvar(np.array([1.0, np.nan, 3.0])).item()
    1.0
    """
    a = as_array(a)
    if not is_inexact(type_of(a).dtype):
        return var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    axes = reduced_axes(axis, len(shape_of(a)), "nanvar")
    # As in `var`, the dtype is that of the sums; the distances are those of `a` itself, and in its dtype.
    given, dtype = dtype, _inexact_dtype("nanvar", a, dtype)
    present = _present("nanvar", a, where)
    known = np.where(present, a, 0)
    count = np.sum(present, axes, keepdims=True)
    if mean is None:
        mean = over(over_axes(sum_op, astype(known, dtype), axes, True), np.maximum(count, 1))
    squares = np.where(present, _squares(astype(known - mean, known.dtype)), 0)
    squares = squares if given is None else astype(squares, dtype)
    left = count - _degrees(ddof, correction)
    left = np.where(np.greater(left, 0), left, np.nan)
    total = over_axes(sum_op, squares, axes, keepdims)
    return over(total, left if keepdims else np.reshape(left, total.shape))


@implements(np.nanstd)
def nanstd(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: ArrayLike = None,
    mean: ArrayLike = None,
    correction: float | None = None,
) -> Array:
    """The standard deviation of the elements that are not NaN.

    >>> nanstd(np.array([1.0, np.nan, 3.0])).item()
    1.0
    """
    return safe_sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))


# ---------------------------------------------------------------------------------------------------------------------
# Covariances.


@implements(np.cov)
def cov(
    m: ArrayLike,
    y: ArrayLike = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: ArrayLike = None,
    aweights: ArrayLike = None,
    *,
    dtype: DType = None,
) -> Array:
    """The covariance matrix of variables in rows (`rowvar`) or columns, with those of `y` if given.

    Observations count `fweights` times (integers) and weigh `aweights`. The sums are divided by the number of observations
    less `ddof`: 1 by default, 0 with `bias`. float64, or complex128, unless `dtype` says otherwise.

    >>> cov(np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]])).tolist()
    [[1.0, 2.0], [2.0, 4.0]]

    Raises:
        ShapeError: for more than two dimensions, or weights that do not fit.
    """
    if ddof is not None and int(ddof) != ddof:
        raise ValueError(f"cov: ddof must be an integer, got {ddof}")
    sets = [as_array(s) for s in (m, y) if s is not None]
    if True in [len(shape_of(s)) > 2 for s in sets]:
        raise ShapeError(f"cov: {', '.join([str(type_of(s)) for s in sets])} must have one or two dimensions")
    dtype = np.result_type(*[type_of(s).dtype for s in sets], np.float64) if dtype is None else np.dtype(dtype)
    rows = []
    for k, s in enumerate(sets):
        shape = shape_of(s)
        s = astype(s, dtype)
        s = s if len(shape) == 2 else np.reshape(s, (1, *(shape or (1,))))
        rows.append(s if rowvar or (s.shape[0] == 1 and (k or len(shape) < 2)) else np.transpose(s))
    x = rows[0] if len(rows) == 1 else np.concatenate(rows, 0)
    if ddof is None:
        ddof = 0 if bias else 1
    w = None
    for name, weights in (("fweights", fweights), ("aweights", aweights)):
        if weights is not None:
            weights = as_array(weights)
            if shape_of(weights) != x.shape[1:]:
                raise ShapeError(
                    f"cov: {name} is {type_of(weights)}; it needs one number for each of {x.shape[1]} observations"
                )
            w = weights if w is None else w * weights
    if w is None:
        total: Any = x.shape[1]
        centred = x - np.mean(x, 1, keepdims=True)
        weighted = centred
        left: Any = total - ddof
    else:
        total = np.sum(w)
        centred = x - np.sum(x * w, 1, keepdims=True) / total
        weighted = centred * w
        left = total - ddof if aweights is None else total if ddof == 0 else total - ddof * np.sum(w * aweights) / total
    return np.squeeze(np.matmul(centred, np.conjugate(np.transpose(weighted))) / left)


@implements(np.corrcoef)
def corrcoef(x: ArrayLike, y: ArrayLike = None, rowvar: bool = True, *, dtype: DType = None) -> Array:
    """The matrix of Pearson's correlation coefficients of the variables that `cov` describes.

    >>> corrcoef([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).round(3).tolist()
    [[1.0, 0.982], [0.982, 1.0]]
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if c.shape == ():
        return c / c
    deviations = np.sqrt(np.real(np.diagonal(c)))
    c = c / deviations[:, None] / deviations[None, :]
    # Rounding may lead a little beyond 1.
    if number_kind(c.dtype) != "c":
        return np.clip(c, -1, 1)
    return np.clip(np.real(c), -1, 1) + 1j * np.clip(np.imag(c), -1, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Quantiles.


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
    """The middle element over the axes, or the mean of the middle two.

    >>> median(np.array([3.0, 1.0, 2.0])).item()
    2.0
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
