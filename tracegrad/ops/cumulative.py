"""Functions along one axis: running sums and products, differences, and sums over a sliding window.

What is not linear here rests on one op, the linear recurrence. It is closed under differentiation and never divides, so
that derivatives of every order are exact, at zeros too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, Shape, in_known_dtype, is_added, is_inexact, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import (
    along_axis,
    conform,
    elementwise_batch,
    implements,
    is_of_a_scalar,
    linear,
    multilinear,
    normalize_axes,
    normalize_axis,
    reject,
    same_type,
    shape_of,
)

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


def _accumulated(ufunc: np.ufunc, x: Any, axis: int, reverse: bool) -> Any:
    """`ufunc.accumulate`, from the end with `reverse`."""
    if not reverse:
        return ufunc.accumulate(x, axis)
    backward = along(axis, x.ndim, slice(None, None, -1))
    return ufunc.accumulate(x[backward], axis)[backward]


def _accumulation_type(ufunc: np.ufunc) -> Callable[[Sequence[ArrayType], Params], ArrayType]:
    """The type rule of an accumulation: small integers are added and multiplied as int64, as NumPy does."""

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


def _of_axis(a: Any, axis: int | None, name: str) -> tuple[Any, int]:
    """The array and the axis counted from the front; all axes as one where it is None."""
    a = as_array(a)
    if axis is None:
        return np.reshape(a, -1), 0
    return a, normalize_axis(axis, len(shape_of(a)), name)


# ---------------------------------------------------------------------------------------------------------------------
# Running sums.

cumsum_op: Op = linear(
    "cumsum",
    lambda x, axis, reverse: _accumulated(np.add, x, axis, reverse),
    lambda ct, x, axis, reverse: bind(cumsum_op, (ct,), {"axis": axis, "reverse": not reverse}),
    infer=_accumulation_type(np.add),
    batch=along_axis("cumsum"),
    nonnegative=True,
    kinds="biufc",
    samples=_axis_samples,
)


def _accumulate(op: Op, function: Any, a: Any, axis: int | None, dtype: Any, out: Any) -> Any:
    reject(function, out=out)
    a = as_array(a)
    a, axis = _of_axis(a, None if is_of_a_scalar(axis, len(shape_of(a))) else axis, function.__name__)
    if dtype is None:
        return bind(op, (a,), {"axis": axis, "reverse": False})
    return astype(bind(op, (astype(a, dtype),), {"axis": axis, "reverse": False}), dtype)


@implements(np.cumsum)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    """Sums of everything up to each place along the axis, of the flattened array where it is None."""
    return _accumulate(cumsum_op, np.cumsum, a, axis, dtype, out)


def _with_initial(y: Any, axis: int, initial: int) -> Any:
    edge = np.full(along_shape(y.shape, axis, 1), initial, y.dtype)
    return np.concatenate([edge, y], axis)


def _array_api_accumulate(
    op: Op, function: Any, x: Any, axis: int | None, dtype: Any, out: Any, include_initial: bool, initial: int
) -> Any:
    x = as_array(x)
    if axis is None:
        if len(shape_of(x)) > 1:
            raise ShapeError(f"{function.__name__} of {type_of(x)} needs an axis; write axis=0, or np.ravel(x)")
        axis = 0
    y = _accumulate(op, function, x, axis, dtype, out)
    return _with_initial(y, normalize_axis(axis, len(y.shape), function.__name__), initial) if include_initial else y


@implements(np.cumulative_sum)
def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Any:
    """`cumsum` under its name in the array API, with a zero in front if `include_initial`."""
    return _array_api_accumulate(cumsum_op, np.cumulative_sum, x, axis, dtype, out, include_initial, 0)


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
        # After each round, out[j] holds the terms of the last `step` places, and a[j] the product of their factors.
        a = a.astype(dtype)
        step = 1
        with np.errstate(over="ignore", invalid="ignore"):
            while step < n:
                carried = np.zeros_like(out[step:])
                # A product of factors may overflow where nothing is carried: that must not make inf * 0.
                np.multiply(a[step:], out[:-step], out=carried, where=out[:-step] != 0)
                out[step:] += carried
                a[step:] *= a[:-step].copy()
                step *= 2
    return np.moveaxis(out[turn], 0, axis)


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
    samples=_recurrence_samples,
)


def linear_recurrence(a: Any, b: Any, axis: int = 0, reverse: bool = False) -> Any:
    """`y[j] = a[j] * y[j-1] + b[j]` along an axis, starting from zero: an exponential average, a first-order filter.

    With `reverse` it runs from the end. `a` and `b` have one shape; `a[0]` is not used.

    >>> linear_recurrence(np.full(3, 0.5), np.ones(3)).tolist()
    [1.0, 1.5, 1.75]

    Source: Blelloch, Prefix Sums and Their Applications (1990), section 1.4.1.
    """
    b, axis = _of_axis(b, axis, "linear_recurrence")
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


cumprod_op: Op = Op(
    "cumprod",
    evaluate=lambda x, axis, reverse: _accumulated(np.multiply, x, axis, reverse),
    infer=_accumulation_type(np.multiply),
    jvp=_cumprod_jvp,
    vjp=_cumprod_vjp,
    batch=along_axis("cumprod"),
    kinds="biufc",
    samples=_cumprod_samples,
)


@implements(np.cumprod)
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    """Products of everything up to each place along the axis. Derivatives of all orders are exact, at zeros too."""
    return _accumulate(cumprod_op, np.cumprod, a, axis, dtype, out)


@implements(np.cumulative_prod)
def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Any:
    """`cumprod` under its name in the array API, with a one in front if `include_initial`."""
    return _array_api_accumulate(cumprod_op, np.cumulative_prod, x, axis, dtype, out, include_initial, 1)


def product_of_others(x: Any, axis: int) -> Any:
    """For each place the product of all other places along the axis: of those before it and of those behind it."""
    before = bind(cumprod_op, (x,), {"axis": axis, "reverse": False})
    behind = bind(cumprod_op, (x,), {"axis": axis, "reverse": True})
    return shifted(before, axis, 1) * shifted(behind, axis, 1, True)


def without_nan(a: Any, fill: float) -> Any:
    """`fill` in place of NaN."""
    a = as_array(a)
    return np.where(np.isnan(a), fill, a) if is_inexact(type_of(a).dtype) else a


@implements(np.nancumsum)
def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    """`cumsum` with NaN taken for 0."""
    return _accumulate(cumsum_op, np.nancumsum, without_nan(a, 0), axis, dtype, out)


@implements(np.nancumprod)
def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    """`cumprod` with NaN taken for 1."""
    return _accumulate(cumprod_op, np.nancumprod, without_nan(a, 1), axis, dtype, out)


# ---------------------------------------------------------------------------------------------------------------------
# Running extremes, and the logarithm of a running sum of exponentials.


def _running_extreme(name: str, better: np.ufunc, loses: np.ufunc) -> Op:
    def winners(x: Any, out: Any, params: Params) -> Any:
        """The place along the axis that holds the extreme so far: of equals, the last one met."""
        axis, reverse = params["axis"], params["reverse"]
        n = x.shape[axis]
        numbers = np.arange(n).reshape(along_shape((1,) * len(x.shape), axis, n))
        met = np.where(loses(x, out), 0, n - 1 - numbers if reverse else numbers)
        latest = bind(OPS_OF_EXTREMES[np.maximum], (met,), params)
        return n - 1 - latest if reverse else latest

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return np.take_along_axis(tangents[0], winners(primals[0], out, params), params["axis"])

    return Op(
        name,
        evaluate=lambda x, axis, reverse: _accumulated(better, x, axis, reverse),
        infer=same_type,
        jvp=jvp,
        batch=along_axis(name),
        kinds="biuf",
        samples=_axis_samples,
    )


OPS_OF_EXTREMES = {
    np.maximum: _running_extreme("cummax", np.maximum, np.less),
    np.minimum: _running_extreme("cummin", np.minimum, np.greater),
}


def cummax(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The largest so far along the axis, as `jax.lax.cummax`. Of equals, the last has the derivative."""
    operand, axis = _of_axis(operand, axis, "cummax")
    return bind(OPS_OF_EXTREMES[np.maximum], (operand,), {"axis": axis, "reverse": bool(reverse)})


def cummin(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The smallest so far along the axis, as `jax.lax.cummin`. Of equals, the last has the derivative."""
    operand, axis = _of_axis(operand, axis, "cummin")
    return bind(OPS_OF_EXTREMES[np.minimum], (operand,), {"axis": axis, "reverse": bool(reverse)})


def _cumlogsumexp_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    level = np.where(np.isneginf(out), 0, out)
    factors = np.exp(shifted(out, params["axis"], -np.inf, params["reverse"]) - level)
    return bind(linear_recurrence_op, (factors, np.exp(primals[0] - level) * tangents[0]), params)


cumlogsumexp_op: Op = Op(
    "cumlogsumexp",
    evaluate=lambda x, axis, reverse: _accumulated(np.logaddexp, x, axis, reverse),
    infer=same_type,
    jvp=_cumlogsumexp_jvp,
    batch=along_axis("cumlogsumexp"),
    kinds="f",
    samples=_axis_samples,
)


def cumlogsumexp(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """`log(cumsum(exp(x)))` along the axis without overflow, as `jax.lax.cumlogsumexp`."""
    operand, axis = _of_axis(operand, axis, "cumlogsumexp")
    return bind(cumlogsumexp_op, (operand,), {"axis": axis, "reverse": bool(reverse)})


# ---------------------------------------------------------------------------------------------------------------------
# Differences and integrals.


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along the axis, `n` times over; of booleans, whether they differ."""
    if n < 0:
        raise ValueError(f"diff: the order n must not be negative, got {n}")
    a, axis = _of_axis(a, axis, "diff")
    ndim = len(a.shape)
    edges = [
        None if e is None else np.broadcast_to(e, along_shape(a.shape, axis, 1)) if shape_of(as_array(e)) == () else e
        for e in (prepend, append)
    ]
    parts = [part for part in (edges[0], a, edges[1]) if part is not None]
    if n == 0:
        return a
    if len(parts) > 1:
        a = np.concatenate(parts, axis)
    later, earlier = along(axis, ndim, slice(1, None)), along(axis, ndim, slice(None, -1))
    step = np.not_equal if number_kind(a.dtype) == "b" else np.subtract
    for _ in range(n):
        a = step(a[later], a[earlier])
    return a


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours of the flattened array, between `to_begin` and `to_end`."""
    a = np.reshape(as_array(ary), -1)
    parts = [None if e is None else np.reshape(astype(as_array(e), a.dtype), -1) for e in (to_begin, to_end)]
    found = [part for part in (parts[0], a[1:] - a[:-1], parts[1]) if part is not None]
    return found[0] if len(found) == 1 else np.concatenate(found)


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of `y` along the axis by the trapezoidal rule, over the points `x` or at spacing `dx`."""
    y, axis = _of_axis(y, axis, "trapezoid")
    ndim = len(y.shape)
    if x is not None:
        x = as_array(x)
        if len(x.shape) == 1:
            steps = x[1:] - x[:-1]
            dx = np.reshape(steps, along_shape((1,) * ndim, axis, steps.shape[0]))
        else:
            dx = np.diff(x, axis=axis)
    sums = y[along(axis, ndim, slice(1, None))] + y[along(axis, ndim, slice(None, -1))]
    return np.sum(dx * sums / 2.0, axis)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Derivatives of sampled values along the axes by differences of second order, one-sided at the ends.

    Spacings are numbers, or arrays of coordinates along an axis; one for all axes or one for each.
    """
    f = as_array(f)
    shape = shape_of(f)
    axes = [axis] if isinstance(axis, int) else range(len(shape)) if axis is None else axis
    axes = [normalize_axis(a, len(shape), "gradient") for a in axes]
    normalize_axes(tuple(axes), len(shape), "gradient")
    spacings = list(varargs) or [1.0]
    if len(spacings) == 1:
        spacings *= len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(varargs)} spacings for {len(axes)} axes; give none, one, or one for each axis")
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    if not is_inexact(f.dtype):
        f = astype(f, np.float64)
    found = [_gradient_along(f, a, h, edge_order) for a, h in zip(axes, spacings, strict=True)]
    if is_added(f.dtype):  # of which np.gradient does not know that they are floats
        found = [astype(d, np.float64) for d in found]
    return found[0] if len(found) == 1 else tuple(found)


def _gradient_along(f: Any, axis: int, spacing: Any, edge_order: int) -> Any:
    n, ndim = f.shape[axis], len(f.shape)
    if n < edge_order + 1:
        raise ShapeError(
            f"gradient: {type_of(f)} has {n} along axis {axis}; edge_order={edge_order} needs {edge_order + 1}"
        )
    at = [f[along(axis, ndim, slice(k, n - 2 + k))] for k in range(3)] if n > 2 else []
    first = [f[along(axis, ndim, slice(k, k + 1))] for k in range(edge_order + 1)]
    last = [f[along(axis, ndim, slice(n - 1 - k, n - k))] for k in range(edge_order + 1)]
    spacing = as_array(spacing)
    if shape_of(spacing) == ():
        interior = [(at[2] - at[0]) / (2.0 * spacing)] if at else []
        weights = [[-1.0, 1.0], [-1.5, 2.0, -0.5]][edge_order - 1]
        begin = _combined(weights, first) / spacing
        end = -(_combined(weights, last) / spacing)
        return np.concatenate([begin, *interior, end], axis)
    if shape_of(spacing) != (n,):
        raise ShapeError(
            f"gradient: the spacing is {type_of(spacing)}; it must be a number or {n} coordinates for axis {axis}"
        )
    if number_kind(spacing.dtype) in "iu":
        spacing = astype(spacing, np.float64)
    steps = spacing[1:] - spacing[:-1]
    h = np.reshape(steps, along_shape((1,) * ndim, axis, n - 1))
    interior = []
    if at:
        left, right = h[along(axis, ndim, slice(None, -1))], h[along(axis, ndim, slice(1, None))]
        weights = [-right / (left * (left + right)), (right - left) / (left * right), left / (right * (left + right))]
        interior = [_combined(weights, at)]
    ends = []
    # Seen from either end inward: steps of h1, then h2, away from it.
    for points, sign, (i, j) in ((first, 1, (0, 1)), (last, -1, (-1, -2))):
        h1 = steps[i]
        if edge_order == 1:
            ends.append(sign * (points[1] - points[0]) / h1)
        else:
            h2 = steps[j]
            weights = [-(2.0 * h1 + h2) / (h1 * (h1 + h2)), (h1 + h2) / (h1 * h2), -h1 / (h2 * (h1 + h2))]
            ends.append(sign * _combined(weights, points))
    return np.concatenate([ends[0], *interior, ends[1]], axis)


def _combined(weights: Sequence[Any], points: Sequence[Any]) -> Any:
    total = weights[0] * points[0]
    for w, p in zip(weights[1:], points[1:], strict=True):
        total = total + w * p
    return total


# ---------------------------------------------------------------------------------------------------------------------
# Convolution. Two bilinear ops over the last axis, leading axes broadcast, each the other's transpose:
#     convolve:   out[i] = sum_k a[i - k] v[k], at all n + m - 1 places where the two overlap
#     slide:      out[i] = sum_k a[i + k] v[k], at the n - m + 1 places where v lies within a


def _windows_type(name: str, size: Callable[[int, int], int]) -> Callable[[Sequence[ArrayType], Params], ArrayType]:
    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        a, v = types
        if not (a.shape and v.shape and a.shape[-1] and v.shape[-1]) or size(a.shape[-1], v.shape[-1]) < 1:
            raise ShapeError(
                f"{name} of {a} and {v}: both need a last axis that is not empty, the second not the longer"
            )
        lead = np.broadcast_shapes(a.shape[:-1], v.shape[:-1])
        return ArrayType((*lead, size(a.shape[-1], v.shape[-1])), np.result_type(a.dtype, v.dtype))

    return infer


def _slide(a: Any, v: Any) -> Any:
    if a.ndim == v.ndim == 1:
        return np.convolve(a, v[::-1], "valid")
    windows = np.lib.stride_tricks.sliding_window_view(in_known_dtype(a), v.shape[-1], axis=-1)
    found = np.einsum("...ik,...k->...i", windows, in_known_dtype(v))
    return found.astype(np.result_type(a, v), copy=False)


def _convolve(a: Any, v: Any) -> Any:
    if a.ndim == v.ndim == 1:
        return np.convolve(a, v)
    extra = v.shape[-1] - 1
    return _slide(np.pad(a, [(0, 0)] * (a.ndim - 1) + [(extra, extra)]), v[..., ::-1])


def _window_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(2)
    for a, v in [((5,), (3,)), ((4,), (4,)), ((2, 5), (2,)), ((2, 1, 4), (3, 3)), ((1,), (1,))]:
        yield Sample((rng.uniform(-1, 1, a), rng.uniform(-1, 1, v)))


convolve_op: Op = multilinear(
    "convolve",
    _convolve,
    lambda i: (lambda ct, a, v: bind(slide_op, (ct, v))) if i == 0 else (lambda ct, a, v: bind(slide_op, (ct, a))),
    infer=_windows_type("convolve", lambda n, m: n + m - 1),
    batch=elementwise_batch(lambda: convolve_op),
    kinds="biufc",
    samples=_window_samples,
)
slide_op: Op = multilinear(
    "slide",
    _slide,
    lambda i: (lambda ct, a, v: bind(convolve_op, (ct, v))) if i == 0 else (lambda ct, a, v: bind(slide_op, (a, ct))),
    infer=_windows_type("slide", lambda n, m: n - m + 1),
    batch=elementwise_batch(lambda: slide_op),
    kinds="biufc",
    samples=_window_samples,
)


def _vectors(name: str, a: Any, v: Any) -> tuple[Any, Any]:
    pair = []
    for x in (as_array(a), as_array(v)):
        shape = shape_of(x)
        if len(shape) > 1 or 0 in shape:
            raise ShapeError(f"{name} of {type_of(a)} and {type_of(v)}: both must be vectors that are not empty")
        pair.append(x if shape else np.reshape(x, 1))
    return pair[0], pair[1]


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The convolution of two vectors: all of it ("full"), as long as the longer ("same"), or where they overlap fully
    ("valid")."""
    a, v = _vectors("convolve", a, v)
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    n, m = a.shape[0], v.shape[0]
    if mode == "full":
        return bind(convolve_op, (a, v))
    if mode == "valid":
        return bind(slide_op, (a, v[::-1]))
    if mode == "same":
        return bind(convolve_op, (a, v))[(m - 1) // 2 : (m - 1) // 2 + n]
    raise ValueError(f"convolve: mode must be 'full', 'same' or 'valid', got {mode!r}")


def _conjugate(x: Any) -> Any:
    """The conjugate, with booleans left as they are."""
    return np.conjugate(x) if number_kind(x.dtype) == "c" else x


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """The correlation of two vectors, `sum_n a[n + k] conj(v[n])`, at the shifts that `mode` says, as in `convolve`."""
    a, v = _vectors("correlate", a, v)
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"correlate: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if a.shape[0] >= v.shape[0]:
        return convolve(a, _conjugate(v[::-1]), mode)
    # NumPy correlates the longer with the shorter, then turns the result round: which differs in where "same" lies.
    return _conjugate(convolve(v, _conjugate(a[::-1]), mode)[::-1])
