"""Statistics: counts, sums without NaN, means, variances and covariances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.symbols import Symbol
from tracegrad.core.trace import as_array
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.ops.cumulative import without_nan
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axes, shape_of
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
    count = count_of("var", a, axes, keepdims, where) - _degrees(ddof, correction)
    count = max(count, 0) if type(count) is Symbol else np.maximum(count, 0)
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
