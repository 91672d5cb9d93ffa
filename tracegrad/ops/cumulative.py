"""What runs along one axis: sums, products, extremes, and the recurrence under them.

What is not linear here rests on one op, the linear recurrence. It is closed under differentiation and never divides, so
that derivatives of every order are exact, at zeros too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, Shape, is_inexact, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import (
    along_axis,
    conform,
    implements,
    is_of_a_scalar,
    linear,
    of_axis,
    same_type,
    shape_of,
)
from tracegrad.ops.reach import of_running
from tracegrad.typing import Array, ArrayLike, DType

# ---------------------------------------------------------------------------------------------------------------------
# Tools.


def along(axis: int, ndim: int, index: Any) -> tuple[Any, ...]:
    """The index that applies `index` to one axis and takes all of the others."""
    return (slice(None),) * axis + (index,) + (slice(None),) * (ndim - axis - 1)


def shifted(x: Any, axis: int, fill: float, reverse: bool = False) -> Any:
    """`x` moved on by one place along the axis, its first `fill`; with `reverse`, moved back, its last `fill`."""
    n = x.shape[axis]
    if n == 0:
        return x
    edge = np.full(along_shape(x.shape, axis, 1), fill, x.dtype)
    kept = x[along(axis, len(x.shape), slice(1, None) if reverse else slice(n - 1))]
    return np.concatenate([kept, edge] if reverse else [edge, kept], axis)


def along_shape(shape: Shape, axis: int, n: int) -> Shape:
    """The shape with another size along one axis."""
    return (*shape[:axis], n, *shape[axis + 1 :])


def _running(ufunc: np.ufunc, x: Any, axis: int, reverse: bool) -> Any:
    """`ufunc.accumulate`, from the end with `reverse`."""
    if not reverse:
        return ufunc.accumulate(x, axis)
    backward = along(axis, x.ndim, slice(None, None, -1))
    return ufunc.accumulate(x[backward], axis)[backward]


def _accumulation_type(ufunc: np.ufunc) -> Callable[[Sequence[ArrayType], Params], ArrayType]:
    """The type rule of an accumulation: small integers are added and multiplied as int64, as NumPy does, and have a
    logarithm that is a float."""

    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        (t,) = types
        return ArrayType(t.shape, t.dtype if is_inexact(t.dtype) else ufunc.accumulate(np.zeros(0, t.dtype)).dtype)

    return infer


def _axis_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(0.5, 2.0, (2, 4, 3))
    for axis in range(3):
        for reverse in (False, True):
            yield Sample((x,), {"axis": axis, "reverse": reverse})
    yield Sample((np.zeros((2, 0)),), {"axis": 1, "reverse": False})


# ---------------------------------------------------------------------------------------------------------------------
# Running sums.

cumsum_op: Op = linear(
    "cumsum",
    partial(_running, np.add),
    lambda ct, x, axis, reverse: bind(cumsum_op, (ct,), {"axis": axis, "reverse": not reverse}),
    infer=_accumulation_type(np.add),
    batch=along_axis("cumsum"),
    reach=of_running,
    nonnegative=True,
    kinds="biufc",
    samples=_axis_samples,
)


def accumulate(op: Op, function: Any, a: Any, axis: int | None, dtype: Any) -> Any:
    """An op of this file with the keywords of one of NumPy's functions."""
    a = as_array(a)
    a, axis = of_axis(a, None if is_of_a_scalar(axis, len(shape_of(a))) else axis, function.__name__)
    if dtype is None:
        return bind(op, (a,), {"axis": axis, "reverse": False})
    return astype(bind(op, (astype(a, dtype),), {"axis": axis, "reverse": False}), dtype)


@implements(np.cumsum)
def cumsum(a: ArrayLike, axis: int | None = None, dtype: DType = None, out: Array | None = None) -> Array:
    """Sums of everything up to each place along the axis, of the flattened array where it is None. Small integers and
    booleans are added up as int64 or uint64, unless `dtype` says otherwise.

    >>> cumsum(np.array([[1, 2], [3, 4]]), 0).tolist(), cumsum([[1, 2], [3, 4]]).tolist()
    ([[1, 2], [4, 6]], [1, 3, 6, 10])
    """
    return accumulate(cumsum_op, np.cumsum, a, axis, dtype)


# ---------------------------------------------------------------------------------------------------------------------
# The linear recurrence.

# One step over a row costs a call, about 1.5 us; doubling costs log2(n) calls and as many passes over everything.
_WIDE = 500


def _recurrence(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    turn = slice(None, None, -1) if reverse else slice(None)
    dtype = np.result_type(a, b)
    a = np.moveaxis(a, axis, 0)[turn]
    out = np.moveaxis(b, axis, 0)[turn].astype(dtype)
    n = len(out)
    if n * n.bit_length() <= 64 or out.size // n * n.bit_length() > _WIDE:
        for j in range(1, n):
            out[j] += a[j] * out[j - 1]
    else:
        quietly(("over", "invalid"), _doubling, a.astype(dtype), out)
    return np.moveaxis(out[turn], 0, axis)


def _doubling(a: Any, out: Any) -> None:
    """After each round, out[j] holds the terms of the last `step` places, and a[j] the product of their factors."""
    step = 1
    while step < len(out):
        carried = np.zeros_like(out[step:])
        # A product of factors may overflow where nothing is carried: that must not make inf * 0.
        np.multiply(a[step:], out[:-step], out=carried, where=out[:-step] != 0)
        out[step:] += carried
        a[step:] *= a[:-step].copy()
        step *= 2


def _recurrence_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, b = types
    if a.shape != b.shape:
        raise ShapeError(f"linear_recurrence: factors {a} and terms {b} differ in shape; broadcast one to the other")
    return ArrayType(b.shape, np.result_type(a.dtype, b.dtype))


def _recurrence_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    (a, _), (ta, tb) = primals, tangents
    if ta is not None:
        carried = ta * shifted(out, params["axis"], 0, params["reverse"])
        tb = carried if tb is None else tb + carried
    return bind(linear_recurrence_op, (a, tb), params)


def _recurrence_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    axis, reverse = params["axis"], params["reverse"]
    back = shifted(primals[0], axis, 0, not reverse)
    g = bind(linear_recurrence_op, (back, ct), {"axis": axis, "reverse": not reverse})
    return [conform(g * shifted(out, axis, 0, reverse) if i == 0 else g, primals[i]) for i in wanted]


def _recurrence_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(1)
    for shape, axis in [((5,), 0), ((2, 4), 1), ((3, 2), 0), ((40,), 0), ((2, 0), 1)]:
        for reverse in (False, True):
            yield Sample((rng.uniform(-1, 1, shape), rng.uniform(-1, 1, shape)), {"axis": axis, "reverse": reverse})


linear_recurrence_op = Op(
    "linear_recurrence",
    evaluate=_recurrence,
    infer=_recurrence_type,
    jvp=_recurrence_jvp,
    vjp=_recurrence_vjp,
    linear=[{1}],
    batch=along_axis("linear_recurrence"),
    reach=of_running,
    samples=_recurrence_samples,
)


def linear_recurrence(a: ArrayLike, b: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """`y[j] = a[j] * y[j-1] + b[j]` along an axis, starting from zero: an exponential average, a first-order filter.

    With `reverse` it runs from the end. `a` and `b` have one shape; `a[0]` is not used.

    >>> linear_recurrence(np.full(3, 0.5), np.ones(3)).tolist()
    [1.0, 1.5, 1.75]

    Source: Blelloch, Prefix Sums and Their Applications (1990), section 1.4.1.
    """
    b, axis = of_axis(b, axis, "linear_recurrence")
    return bind(linear_recurrence_op, (as_array(a), b), {"axis": axis, "reverse": bool(reverse)})


# ---------------------------------------------------------------------------------------------------------------------
# Running products. y[j] = x[j] y[j-1], so that dy[j] = x[j] dy[j-1] + y[j-1] dx[j]: a recurrence, without a division.


def _cumprod_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    terms = tangents[0] * shifted(out, params["axis"], 1, params["reverse"])
    return bind(linear_recurrence_op, (primals[0], terms), params)


def _cumprod_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    axis, reverse = params["axis"], params["reverse"]
    back = shifted(primals[0], axis, 0, not reverse)
    g = bind(linear_recurrence_op, (back, ct), {"axis": axis, "reverse": not reverse})
    return (g * shifted(out, axis, 1, reverse),)


def _cumprod_samples() -> Iterable[Sample]:
    yield from _axis_samples()
    yield Sample((np.array([0.5, 0.0, -2.0, 0.0, 1.5]),), {"axis": 0, "reverse": False})


cumprod_op = Op(
    "cumprod",
    evaluate=partial(_running, np.multiply),
    infer=_accumulation_type(np.multiply),
    jvp=_cumprod_jvp,
    vjp=_cumprod_vjp,
    batch=along_axis("cumprod"),
    kinds="biufc",
    samples=_cumprod_samples,
)


@implements(np.cumprod)
def cumprod(a: ArrayLike, axis: int | None = None, dtype: DType = None, out: Array | None = None) -> Array:
    """Products of everything up to each place along the axis, in the dtype that `cumsum` has. Derivatives of all orders are
    exact, at zeros too.

    >>> import tracegrad as tg
    >>> tg.grad(lambda x: np.cumprod(x)[-1])(np.array([2.0, 0.0, 3.0])).tolist()
    [0.0, 6.0, 0.0]
    """
    return accumulate(cumprod_op, np.cumprod, a, axis, dtype)


def product_of_others(x: Any, axis: int) -> Any:
    """For each place the product of all other places along the axis: of those before it and of those behind it."""
    before = bind(cumprod_op, (x,), {"axis": axis, "reverse": False})
    behind = bind(cumprod_op, (x,), {"axis": axis, "reverse": True})
    return shifted(before, axis, 1) * shifted(behind, axis, 1, True)


def without_nan(a: Any, fill: float) -> Any:
    """`fill` in place of NaN."""
    a = as_array(a)
    return np.where(np.isnan(a), fill, a) if is_inexact(type_of(a).dtype) else a


# ---------------------------------------------------------------------------------------------------------------------
# Running extremes, and the logarithm of a running sum of exponentials.


def _running_extreme(name: str, better: np.ufunc, loses: np.ufunc) -> Op:
    def winners(x: Any, out: Any, params: Params) -> Any:
        """The place along the axis that holds the extreme so far: of equals, the last one met."""
        axis, reverse = params["axis"], params["reverse"]
        n = x.shape[axis]
        numbers = np.arange(n).reshape(along_shape((1,) * len(x.shape), axis, n))
        met = np.where(loses(x, out), 0, n - 1 - numbers if reverse else numbers)
        latest = bind(cummax_op, (met,), params)
        return n - 1 - latest if reverse else latest

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return np.take_along_axis(tangents[0], winners(primals[0], out, params), params["axis"])

    return Op(
        name,
        evaluate=partial(_running, better),
        infer=same_type,
        jvp=jvp,
        batch=along_axis(name),
        kinds="biuf",
        samples=_axis_samples,
    )


cummax_op = _running_extreme("cummax", np.maximum, np.less)
cummin_op = _running_extreme("cummin", np.minimum, np.greater)


def cummax(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """The largest so far along the axis, or from the end with `reverse`. Of equals, the last met has the derivative.

    >>> cummax(np.array([1, 3, 2])).tolist(), cummax(np.array([1, 3, 2]), reverse=True).tolist()
    ([1, 3, 3], [3, 3, 2])
    """
    operand, axis = of_axis(operand, axis, "cummax")
    return bind(cummax_op, (operand,), {"axis": axis, "reverse": bool(reverse)})


def cummin(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """The smallest so far along the axis, or from the end with `reverse`. Of equals, the last met has the derivative."""
    operand, axis = of_axis(operand, axis, "cummin")
    return bind(cummin_op, (operand,), {"axis": axis, "reverse": bool(reverse)})


def _cumlogsumexp_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    level = np.where(np.isneginf(out), 0, out)
    factors = np.exp(shifted(out, params["axis"], -np.inf, params["reverse"]) - level)
    return bind(linear_recurrence_op, (factors, np.exp(primals[0] - level) * tangents[0]), params)


cumlogsumexp_op = Op(
    "cumlogsumexp",
    evaluate=partial(_running, np.logaddexp),
    infer=_accumulation_type(np.logaddexp),
    jvp=_cumlogsumexp_jvp,
    batch=along_axis("cumlogsumexp"),
    kinds="biuf",
    samples=_axis_samples,
)


def cumlogsumexp(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """`log(cumsum(exp(x)))` along the axis without overflow. Integers become floats as in `np.logaddexp`.

    >>> (cumlogsumexp(np.full(2, 1000.0)) - 1000).round(3).tolist()
    [0.0, 0.693]

    Raises:
        DtypeError: for complex numbers.
    """
    operand, axis = of_axis(operand, axis, "cumlogsumexp")
    if number_kind(type_of(operand).dtype) == "c":
        raise DtypeError(
            f"cumlogsumexp of {type_of(operand)}: complex numbers are not taken; write np.log(np.cumsum(np.exp(x)))"
        )
    return bind(cumlogsumexp_op, (operand,), {"axis": axis, "reverse": bool(reverse)})
