"""Reductions over axes: sums, products, extremes and where they are, logic, means, log-sum-exp.

The ops take `axes`, a sorted tuple counted from the front, and `keepdims`. Conventions: equal extremes share the
derivative equally, as in JAX; a product has its exact derivative at zeros; a standard deviation of zero has derivative
zero.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.memory import Strides, reduced_strides
from tracegrad.core.op import EVERY, Op, Params, Sample, StrideRule, TypeRule, VjpRule, Wanted
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import Tracer, as_array, bind, bind_constant
from tracegrad.core.types import ArrayType, Shape, is_added, is_inexact, is_numpy_scalar, number_kind, type_of
from tracegrad.ops.cumulative import product_of_others
from tracegrad.ops.elementwise import astype, is_narrow, share, widened
from tracegrad.ops.elementwise.products import times_exp
from tracegrad.ops.families import (
    along_axis,
    cast,
    elementwise,
    implements,
    is_of_a_scalar,
    locally_constant,
    normalize_axes,
    normalize_axis,
    shape_of,
    ufunc_type,
)
from tracegrad.ops.masks import Mask, Masked
from tracegrad.ops.reach import of_kept_axes
from tracegrad.ops.shape import broadcast_to_op
from tracegrad.ops.softmax import shares_op
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.typing import Array, ArrayLike, Axis, DType

# ---------------------------------------------------------------------------------------------------------------------
# Tools.


@functools.lru_cache(maxsize=4096)
def reduced_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    """The shape that is left of `shape` when the axes are reduced."""
    if keepdims:
        return tuple([1 if i in axes else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in axes])


@functools.lru_cache(maxsize=4096)
def reduced_size(shape: Shape, axes: tuple[int, ...]) -> int:
    """How many elements are reduced to one."""
    return math.prod([shape[i] for i in axes])


def expand_reduced(d: Any, shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Any:
    """What was reduced, with the reduced axes as axes of size one, so that it broadcasts against the input."""
    return d if keepdims or d.shape == () else d.reshape(reduced_shape(shape, axes, True))


def reduction_type(dtype: Callable[[np.dtype[Any]], np.dtype[Any]]) -> TypeRule:
    """The type rule of a reduction, given how it changes the dtype."""

    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        (t,) = types
        return ArrayType(reduced_shape(t.shape, params["axes"], params["keepdims"]), dtype(t.dtype))

    return infer


def promoted_by(ufunc: np.ufunc) -> Callable[[np.dtype[Any]], np.dtype[Any]]:
    """The dtype that NumPy adds or multiplies up in: small integers become int64 or uint64."""
    return lambda dtype: dtype if is_inexact(dtype) else ufunc.reduce(np.zeros(0, dtype)).dtype


def reduction_strides(inputs: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Strides | None:
    """The layout of what a ufunc reduces an array to."""
    return None if inputs[0] is None else reduced_strides(types[0].shape, inputs[0], params["axes"], params["keepdims"])


def axis_samples() -> Iterable[Sample]:
    """One array with every kind of axis argument."""
    x = np.random.default_rng(0).uniform(0.5, 2.0, (2, 3, 2))
    for axes in [(0, 1, 2), (1,), (0, 2), ()]:
        for keepdims in (False, True):
            yield Sample((x,), {"axes": axes, "keepdims": keepdims})
    yield Sample((1.5,), {"axes": (), "keepdims": False})


# Multiplies by the partial derivative: (d, out, x, axes) -> d * d out / d x, with d and out broadcast against x.
Scale = Callable[[Any, Any, Any, tuple[int, ...]], Any]


def reduction(
    name: str,
    evaluate: Callable[..., Any],
    scale: Scale,
    *,
    infer: TypeRule,
    taken: Callable[[Any, Any], Any] | None = None,
    kinds: str = "fc",
    samples: Callable[[], Iterable[Sample]] = axis_samples,
    strides: StrideRule | None = None,
) -> Op:
    """Declare a reduction by its partial derivatives, one for each element of the input.

    `scale` serves both directions: a tangent is scaled and then summed, a cotangent broadcast and then scaled.
    `taken(out, x)` tells the elements that the output depends on: of the others the partial is zero.
    """

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        (x,), (t,) = primals, tangents
        out = expand_reduced(out, shape_of(x), params["axes"], params["keepdims"])
        return _in_float32(sum_op, scale(t, out, x, params["axes"]), params)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        (x,) = primals
        ct, out = [expand_reduced(d, shape_of(x), params["axes"], params["keepdims"]) for d in (ct, out)]
        d = scale(ct, out, x, params["axes"])
        return (d if taken is None else Masked(d, Mask(lambda: taken(out, x)), True),)

    return Op(
        name,
        evaluate=evaluate,
        infer=infer,
        jvp=jvp,
        vjp=vjp,
        batch=along_axis(name),
        kinds=kinds,
        samples=samples,
        nonnegative=taken is not None,
        strides=strides,
    )


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What to add up in: float32 for float16 and bfloat16, as NumPy does along contiguous axes, and jax."""
    return np.dtype(np.float32) if is_narrow(dtype) else dtype


def _prepared(function: Any, a: Any, dtype: Any, where: Any, neutral: Any) -> Any:
    """The array that is left to reduce: cast, and with the neutral element where `where` does not hold."""
    a = as_array(a)
    if dtype is not None:
        a = astype(a, dtype)
    return masked(function.__name__, a, where, neutral)


def masked(name: str, a: Any, where: Any, neutral: Any) -> Any:
    """The array with the neutral element where `where` does not hold, an argument of the function that is named."""
    if where is None or where is True:
        return a
    check_mask(name, a, where)
    return np.where(where, a, neutral)


def check_mask(name: str, a: Any, where: Any) -> None:
    """Raise unless a mask broadcasts to the array."""
    shape = shape_of(a)
    mask = np.shape(where) if type(where) is not Tracer else where.shape
    if len(mask) > len(shape) or any_of([m not in (1, n) for m, n in zip(mask[::-1], shape[::-1], strict=False)]):
        raise ShapeError(f"{name}: where, of shape {mask}, does not broadcast to {type_of(a)}")


def any_of(flags: Sequence[bool]) -> bool:
    """Python's `any`, whose name NumPy's has here."""
    return True in flags


def reduced_axes(axis: Any, ndim: int, name: str) -> tuple[int, ...]:
    """The axes of a reduction that NumPy lets scalars have an axis for."""
    return () if is_of_a_scalar(axis, ndim) else normalize_axes(axis, ndim, name)


def _reduced(ufunc: np.ufunc, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return ufunc.reduce(x, axes, keepdims=keepdims)


def over_axes(op: Op, a: Any, axis: Any, keepdims: Any) -> Any:
    """The reduction over an axis argument of NumPy's."""
    axes = reduced_axes(axis, len(shape_of(a)), op.name)
    return bind(op, (a,), {"axes": axes, "keepdims": bool(keepdims)})


# ---------------------------------------------------------------------------------------------------------------------
# Sums.


def _sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return np.add.reduce(x, axes, keepdims=True) if keepdims else np.add.reduce(x, axes)


def _spread(ct: Any, x: Any, params: Params) -> Any:
    """A sum's cotangent at each element of `x`: a view, always, since results next to it are laid out by it."""
    if type(x) is ndarray and issubclass(type(ct), np.generic) and x.size:
        return ndarray(x.shape, ct.dtype, ct, 0, (0,) * x.ndim)  # what `broadcast_to` returns, in a sixth of its 2 us
    if type(x) is ndarray and type(ct) is ndarray and ct.flags.c_contiguous and x.size:
        steps = iter(ct.strides)
        axes, keepdims = params["axes"], params["keepdims"]
        strides = []
        for i in range(x.ndim):
            step = next(steps) if keepdims or i not in axes else 0
            strides.append(0 if i in axes else step)
        view = ndarray(x.shape, ct.dtype, ct, 0, strides)
        view.flags.writeable = False
        return view
    shape = shape_of(x)
    if type(x) is Tracer and is_numpy_scalar(ct):
        return bind_constant(broadcast_to_op, ct, {"shape": shape}, beside=x)
    if type(ct) is Tracer and not ct.shape:
        return bind(broadcast_to_op, (ct,), {"shape": shape})
    return np.broadcast_to(expand_reduced(ct, shape, params["axes"], params["keepdims"]), shape)


def _in_float32(op: Op, t: Any, params: Params) -> Any:
    """The op of a tangent, added up as `families.total` does."""
    dtype = type_of(t).dtype
    if is_added(dtype):
        return astype(bind(op, (astype(t, np.float32),), params), dtype)
    return bind(op, (t,), params)


def additive(name: str, evaluate: Callable[..., Any], vjp: VjpRule, *, infer: TypeRule, kinds: str, code: Any) -> Op:
    """Declare a reduction that is linear."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return _in_float32(op, tangents[0], params)

    op = Op(
        name,
        evaluate=evaluate,
        infer=infer,
        jvp=jvp,
        vjp=vjp,
        linear=(EVERY,),
        nonnegative=True,
        batch=along_axis(name),
        kinds=kinds,
        samples=axis_samples,
        never_aliases=True,
        code=code,
        strides=reduction_strides,
        reach=of_kept_axes,
    )
    return op


@functools.lru_cache(maxsize=1024)
def _axis_params(name: str, axis: int | None, ndim: int, keepdims: Any) -> Params:
    return {"axes": (reduced_axes if name == "sum" else normalize_axes)(axis, ndim, name), "keepdims": bool(keepdims)}


def _spelled_sum(
    args: Sequence[str], types: Sequence[ArrayType], is_block: Callable[[int], bool], params: Params
) -> str | None:
    if not types[0].shape:
        return None
    shape, axes = types[0].shape, params["axes"]
    is_short = len(axes) == 1 and shape[axes[0]] == 2 and types[0].dtype.char in "fdFD"
    if is_short and (axes[0] == len(shape) - 1 or types[0].size <= 4096) and (len(shape) == 2 or is_block(0)):
        # NumPy takes twice as long for many sums of two. It starts from zero, so that of -0.0 and -0.0 it makes 0.0.
        before = ":, " * axes[0]
        first, second = [
            f"{args[0]}[{before}{i}:{i + 1}]" if params["keepdims"] else f"{args[0]}[{before}{i}]" for i in (0, 1)
        ]
        return f"add(add({first}, {second}), zero_{types[0].dtype.char})"
    is_narrow = len(shape) == 2 and axes == (0,) and 32 <= shape[0] <= 2048 and 2 <= shape[1] <= 3
    if is_narrow and types[0].dtype.char in "fdFD" and not params["keepdims"]:
        # NumPy enters its inner loop for each short row; running sums go down the columns, in the same order of addition.
        totals = f"add(add_accumulate({args[0]})[-1], zero_{types[0].dtype.char})"
        return f"({totals} if {args[0]}.flags.c_contiguous else add_reduce({args[0]}, (0,)))"
    return f"add_reduce({args[0]}, {params['axes']}{', keepdims=True' if params['keepdims'] else ''})"


sum_op = additive(
    "sum",
    _sum,
    lambda wanted, ct, out, primals, params: (_spread(ct, primals[0], params),),
    infer=reduction_type(promoted_by(np.add)),
    kinds="biufc",
    code=_spelled_sum,
)


@implements(np.sum)
def sum(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """The sum over the axes (None: all of them), plus `initial`, of the elements where `where` holds.
    Small integers and booleans are added up as int64 or uint64, unless `dtype` says otherwise.

    >>> float(sum(np.ones((2, 3)), where=[True, False, True], initial=0.5))
    4.5
    >>> sum(np.ones((2, 3)), 1, keepdims=True).shape
    (2, 1)
    """
    if dtype is initial is where is None and type(a) is Tracer and (axis is None or type(axis) is int):
        ndim = a.value.ndim if type(a.value) is ndarray else len(a.shape)
        return bind(sum_op, (a,), _axis_params("sum", axis, ndim, keepdims))
    return _totalled(sum_op, np.add, _prepared(np.sum, a, dtype, where, 0), axis, dtype, keepdims, initial)


def _totalled(op: Op, ufunc: np.ufunc, a: Any, axis: Any, dtype: Any, keepdims: Any, initial: Any) -> Any:
    """A sum or product with NumPy's further keywords."""
    total = over_axes(op, a, axis, keepdims)
    if dtype is not None:
        total = astype(total, dtype)  # the op promoted small integers
    return total if initial is None else ufunc(total, astype(as_array(initial), total.dtype))


# ---------------------------------------------------------------------------------------------------------------------
# Products. The partial derivative is the product of all the others, found without dividing.


def _scale_prod(d: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    shape = shape_of(x)
    if not axes:
        return d
    if len(axes) == 1:
        return d * product_of_others(x, axes[0])
    kept = tuple([i for i in range(len(shape)) if i not in axes])
    order = (*kept, *axes)
    merged = np.reshape(np.transpose(x, order), (*[shape[i] for i in kept], math.prod([shape[i] for i in axes])))
    others = np.reshape(product_of_others(merged, len(kept)), tuple([shape[i] for i in order]))
    return d * np.transpose(others, tuple(np.argsort(order).tolist()))


def _prod_samples() -> Iterable[Sample]:
    yield from axis_samples()
    zeros = np.array([[0.5, 0.0, -2.0], [0.0, 1.5, 0.0], [0.7, 0.0, 1.1]])
    for axes in [(0,), (1,), (0, 1)]:
        yield Sample((zeros,), {"axes": axes, "keepdims": False})
    yield Sample((np.zeros((2, 0)),), {"axes": (1,), "keepdims": False})


prod_op = reduction(
    "prod",
    partial(_reduced, np.multiply),
    _scale_prod,
    infer=reduction_type(promoted_by(np.multiply)),
    kinds="biufc",
    samples=_prod_samples,
    strides=reduction_strides,
)


@implements(np.prod)
def prod(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """The product over the axes. Derivatives of all orders are exact, however many factors are zero.

    >>> import tracegrad as tg
    >>> tg.grad(np.prod)(np.array([2.0, 0.0, 3.0])).tolist()
    [0.0, 6.0, 0.0]
    """
    a = _prepared(np.prod, a, dtype, where, 1)
    return _totalled(prod_op, np.multiply, a, axis, dtype, keepdims, initial)


def _divided(d: Any, count: Any) -> Any:
    """A tangent or cotangent divided by a count of elements, in its own dtype, whether or not that has the count."""
    if type(count) is int:
        return d / count if not is_narrow(d.dtype) else cast(widened(d) / count, d.dtype)
    wide = widened(d)
    return cast(wide / cast(count, wide.dtype), d.dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Extremes. Equal extremes share the derivative equally.


def _extreme(better: np.ufunc, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """What NumPy's reduction gives, which takes 70 ns for each row, short as it may be: of many short rows the columns are compared
    instead. (From nine on, NumPy may take a zero of the other sign.)"""
    width = x.shape[-1] if type(x) is ndarray and axes == (x.ndim - 1,) else 0
    if not 1 < width <= 8 or x.size < 16 * width * width or x.dtype.char not in "fd" or not x.flags.c_contiguous:
        return better.reduce(x, axes, keepdims=keepdims)
    out = better(x[..., 0], x[..., 1])
    for i in range(2, width):
        better(out, x[..., i], out=out)
    return out[..., None] if keepdims else out


def _extreme_reduction(name: str, better: np.ufunc, loses: np.ufunc, kinds: str) -> Op:
    """The largest or smallest. `loses(x, out)` tells the elements that are not the extreme; if that is NaN, since a
    comparison with NaN is false, all elements share the derivative."""

    def scale(d: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
        lost = loses(x, out)
        shape = shape_of(x)
        winners = math.prod([shape[a] for a in axes]) - bind(sum_op, (lost,), {"axes": axes, "keepdims": True})
        # None wins where `loses` is "differs" and the extreme is NaN.
        return np.where(lost, 0, _divided(d, np.maximum(winners, 1)))

    return reduction(
        name,
        partial(_extreme if better in (np.maximum, np.minimum) else _reduced, better),
        scale,
        strides=reduction_strides,
        infer=reduction_type(lambda dtype: dtype),
        taken=lambda out, x: np.logical_not(loses(x, out)),
        kinds=kinds,
    )


max_op = _extreme_reduction("max", np.maximum, np.less, "biufc")
min_op = _extreme_reduction("min", np.minimum, np.greater, "biufc")
nanmax_op = _extreme_reduction("nanmax", np.fmax, np.not_equal, "fc")
nanmin_op = _extreme_reduction("nanmin", np.fmin, np.not_equal, "fc")


def _extreme_of(
    op: Op, ufunc: np.ufunc, function: Any, a: Any, axis: Any, keepdims: Any, initial: Any, where: Any
) -> Any:
    a = as_array(a)
    t = type_of(a)
    if initial is not None:
        initial = astype(as_array(initial), t.dtype)
    elif where is not None and where is not True:
        raise ValueError(f"{function.__name__} with where= needs initial=, the value where nothing is left; give both")
    a = masked(function.__name__, a, where, initial)
    axes = reduced_axes(axis, len(t.shape), op.name)
    empty = 0 in [t.shape[i] for i in axes]
    if empty and initial is None:
        raise ShapeError(
            f"{op.name} of {t} over axes {axes}: there is no largest or smallest of nothing; give initial="
        )
    if empty:
        return np.broadcast_to(initial, reduced_shape(t.shape, axes, bool(keepdims)))
    value = bind(op, (a,), {"axes": axes, "keepdims": bool(keepdims)})
    return value if initial is None else ufunc(value, initial)


@implements(np.max, np.amax)
def max(
    a: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """The largest over the axes, or `initial` if that is larger. Equal largest share the derivative, as in JAX.

    >>> import tracegrad as tg
    >>> tg.grad(np.max)(np.array([1.0, 3.0, 3.0])).tolist()
    [0.0, 0.5, 0.5]

    Raises:
        ShapeError: of nothing, without `initial`.
        ValueError: with `where` and without `initial`.
    """
    return _extreme_of(max_op, np.maximum, np.max, a, axis, keepdims, initial, where)


@implements(np.min, np.amin)
def min(
    a: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """The smallest over the axes, or `initial` if that is smaller. Equal smallest share the derivative, as in JAX.

    >>> min(np.array([3.0, 1.0, 2.0])).item()
    1.0
    """
    return _extreme_of(min_op, np.minimum, np.min, a, axis, keepdims, initial, where)


amax = max
amin = min


@implements(np.nanmax, np.fmax.reduce)
def nanmax(
    a: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """`max` that passes over NaN; NaN where there is nothing else.

    >>> nanmax(np.array([1.0, np.nan, 3.0])).item()
    3.0
    """
    op = nanmax_op if is_inexact(type_of(as_array(a)).dtype) else max_op
    return _extreme_of(op, np.fmax, np.nanmax, a, axis, keepdims, initial, where)


@implements(np.nanmin, np.fmin.reduce)
def nanmin(
    a: ArrayLike,
    axis: Axis = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = None,
) -> Array:
    """`min` that passes over NaN; NaN where there is nothing else.

    >>> nanmin(np.array([1.0, np.nan, 3.0])).item()
    1.0
    """
    op = nanmin_op if is_inexact(type_of(as_array(a)).dtype) else min_op
    return _extreme_of(op, np.fmin, np.nanmin, a, axis, keepdims, initial, where)


def _position_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(reduced_shape(types[0].shape, (params["axis"],), False), np.dtype(np.intp))


def _position_samples() -> Iterable[Sample]:
    x = np.random.default_rng(3).uniform(-1, 1, (2, 3, 2))
    for axis in range(3):
        yield Sample((x,), {"axis": axis})


def _position(function: Any) -> Op:
    """The op of a function that finds where along an axis an extreme is: the first of equals."""

    name = function.__name__
    return locally_constant(
        name,
        function,
        infer=_position_type,
        batch=along_axis(name),
        samples=_position_samples,
    )


argmax_op, argmin_op, nanargmax_op, nanargmin_op = [
    _position(f) for f in (np.argmax, np.argmin, np.nanargmax, np.nanargmin)
]


def _position_of(op: Op, a: Any, axis: int | None, keepdims: Any) -> Any:
    a = as_array(a)
    shape = shape_of(a)
    if axis is None or is_of_a_scalar(axis, len(shape)):
        place = bind(op, (np.reshape(a, -1),), {"axis": 0})
        return np.reshape(place, (1,) * len(shape)) if keepdims else place
    axis = normalize_axis(axis, len(shape), op.name)
    if shape[axis] == 0:
        raise ShapeError(f"{op.name} of {type_of(a)} over axis {axis}: there is nothing to find a place in")
    place = bind(op, (a,), {"axis": axis})
    return np.expand_dims(place, axis) if keepdims else place


@implements(np.argmax)
def argmax(a: ArrayLike, axis: int | None = None, out: Array | None = None, *, keepdims: bool = False) -> Array:
    """The place of the largest along the axis (None: in the flattened array), the first of equals or of NaN. int64,
    without a derivative; ShapeError of nothing.

    >>> argmax(np.array([[1, 5, 5], [2, 0, 1]]), 1).tolist()
    [1, 0]
    """
    return _position_of(argmax_op, a, axis, keepdims)


@implements(np.argmin)
def argmin(a: ArrayLike, axis: int | None = None, out: Array | None = None, *, keepdims: bool = False) -> Array:
    """The place of the smallest along the axis (None: in the flattened array), the first of equals.

    >>> argmin(np.array([3.0, 1.0, 2.0])).item()
    1
    """
    return _position_of(argmin_op, a, axis, keepdims)


@implements(np.nanargmax)
def nanargmax(a: ArrayLike, axis: int | None = None, out: Array | None = None, *, keepdims: bool = False) -> Array:
    """`argmax` that passes over NaN; ValueError where there is nothing else.

    >>> nanargmax(np.array([1.0, np.nan, 3.0])).item()
    2
    """
    return _position_of(nanargmax_op, a, axis, keepdims)


@implements(np.nanargmin)
def nanargmin(a: ArrayLike, axis: int | None = None, out: Array | None = None, *, keepdims: bool = False) -> Array:
    """`argmin` that passes over NaN; ValueError where there is nothing else.

    >>> nanargmin(np.array([1.0, np.nan, 3.0])).item()
    0
    """
    return _position_of(nanargmin_op, a, axis, keepdims)


# ---------------------------------------------------------------------------------------------------------------------
# Logic.


def _logic(name: str, ufunc: np.ufunc) -> Op:
    return locally_constant(
        name,
        partial(_reduced, ufunc),
        infer=reduction_type(lambda dtype: np.dtype(np.bool_)),
        batch=along_axis(name),
        samples=axis_samples,
    )


any_op = _logic("any", np.logical_or)
all_op = _logic("all", np.logical_and)


@implements(np.any)
def any(
    a: ArrayLike, axis: Axis = None, out: Array | None = None, keepdims: bool = False, *, where: ArrayLike = None
) -> Array:
    """Whether some element along the axes is not zero.

    >>> any(np.array([True, False])).item()
    True
    """
    return over_axes(any_op, _prepared(np.any, a, None, where, 0), axis, keepdims)


@implements(np.all)
def all(
    a: ArrayLike, axis: Axis = None, out: Array | None = None, keepdims: bool = False, *, where: ArrayLike = None
) -> Array:
    """Whether all elements along the axes are not zero.

    >>> all(np.array([True, False])).item()
    False
    """
    return over_axes(all_op, _prepared(np.all, a, None, where, 1), axis, keepdims)


# ---------------------------------------------------------------------------------------------------------------------
# Means, and the root of a variance.


def _sqrt(x: Any) -> Any:
    return np.sqrt(x)


safe_sqrt_op = elementwise(
    "safe_sqrt",
    _sqrt,
    lambda d, out, x: d * (0.5 * share(out, x)),
    neutral=1,
    infer=ufunc_type(np.sqrt),
    samples=lambda: [Sample((np.array([[0.3, 1.0, 2.5]]),)), Sample((0.7,))],
)


def safe_sqrt(x: Any) -> Any:
    """`sqrt(x)` with derivative zero at zero: the smallest of the subgradients of a norm at its kink."""
    return bind(safe_sqrt_op, (x,))


def mean_dtype(a: Any, dtype: Any) -> np.dtype[Any]:
    """The dtype in which a mean is taken: the one asked for, else float64 for integers."""
    if dtype is not None:
        return np.dtype(dtype)
    own = type_of(a).dtype
    return own if is_inexact(own) else np.dtype(np.float64)


def count_of(name: str, a: Any, axes: tuple[int, ...], keepdims: Any, where: Any) -> Any:
    """How many elements each mean is over: a number, or an array where a mask decides."""
    shape = shape_of(a)
    if where is None or where is True:
        return np.int64(math.prod([shape[i] for i in axes]))
    check_mask(name, a, where)
    return np.sum(np.broadcast_to(where, shape), axes, keepdims=bool(keepdims))


def over(total: Any, count: Any) -> Any:
    """The total divided by a count, in the total's own precision."""
    dtype = type_of(total).dtype
    if is_numpy_scalar(count) and dtype != np.float16:
        return total / count.item()
    return astype(total / count, dtype)


def _spelled_mean(
    args: Sequence[str], types: Sequence[ArrayType], is_block: Callable[[int], bool], params: Params
) -> str | None:
    total = None if types[0].dtype.char == "e" else _spelled_sum(args, types, is_block, params)
    return None if total is None else f"{total} / {math.prod([types[0].shape[i] for i in params['axes']])}"


def _mean(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if type(x) is ndarray and x.dtype.char == "e":
        return np.mean(x, axes, keepdims=keepdims)  # which adds up in float32
    return _sum(x, axes, keepdims) / (reduced_size(x.shape, axes) if axes else 1)


def _mean_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (x,) = primals
    return (_spread(_divided(ct, reduced_size(shape_of(x), params["axes"])), x, params),)


mean_op = additive(
    "mean",
    _mean,
    _mean_vjp,
    infer=reduction_type(lambda dtype: dtype),
    kinds="fc",
    code=_spelled_mean,
)


@implements(np.mean)
def mean(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DType = None,
    out: Array | None = None,
    keepdims: bool = False,
    *,
    where: ArrayLike = None,
) -> Array:
    """The mean over the axes, of the elements where `where` holds. Integers have a float64 mean; float16 is summed in
    float32, as in NumPy.

    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0).tolist()
    [2.0, 3.0]
    """
    if dtype is where is None and type(a) is Tracer and (axis is None or type(axis) is int):
        if not is_inexact(a.dtype):
            a = astype(a, np.float64)
        return bind(mean_op, (a,), _axis_params("mean", axis, len(a.shape), keepdims))
    a = as_array(a)
    axes = normalize_axes(axis, len(shape_of(a)), "mean")
    result = mean_dtype(a, dtype)
    if dtype is where is None:
        return bind(mean_op, (astype(a, result),), {"axes": axes, "keepdims": bool(keepdims)})
    a = astype(a, np.float32 if dtype is None and result == np.float16 else result)
    total = over_axes(sum_op, masked("mean", a, where, 0), axes, keepdims)
    if type_of(total).dtype != type_of(a).dtype:
        total = astype(total, type_of(a).dtype)  # the op promoted small integers
    return astype(over(total, count_of("mean", a, axes, keepdims, where)), result)


# ---------------------------------------------------------------------------------------------------------------------
# The logarithm of a sum of exponentials.


def _logsumexp(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if is_added(np.asarray(x).dtype):
        return _logsumexp(x.astype(np.float32), axes, keepdims).astype(x.dtype)
    largest = np.maximum.reduce(x, axes, keepdims=True, initial=-np.inf)
    level = np.where(np.isfinite(largest), largest, 0)
    terms = np.exp(x - level)
    total = np.add.reduce(terms, axes, accumulator(terms.dtype), keepdims=True)
    out = quietly(("divide",), np.log, total).astype(terms.dtype) + level
    return out if keepdims else np.reshape(out, reduced_shape(np.shape(x), axes, False))[()]


def _scale_logsumexp(d: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return d * bind(shares_op, (x,), {"axes": axes})


logsumexp_op = reduction(
    "logsumexp",
    _logsumexp,
    _scale_logsumexp,
    infer=reduction_type(lambda dtype: dtype),
    kinds="f",
)


def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: ArrayLike = None,
) -> Array:
    """`log(sum(b * exp(a)))` over the axes without overflow, as `jax.nn.logsumexp` and `scipy.special.logsumexp`.

    Args:
        a: array of real numbers.
        axis: the axes to sum over; None for all.
        b: factors of the terms, of a shape that broadcasts to that of `a`; 1 where not given. A factor of zero takes its
            term out, however large, and has a derivative like any other.
        keepdims: keep the axes that are summed over, with size 1.
        return_sign: return `(log(|sum|), sign(sum))`; without it a negative sum gives NaN.
        where: mask of the entries to include.

    Where all of `a` is -inf so is the result, with derivative zero.

    >>> bool(logsumexp(np.array([1000.0, 1000.0])) == 1000 + np.log(2))
    True
    """
    a = as_array(a)
    dtype = type_of(a).dtype
    if number_kind(dtype) == "c":
        raise DtypeError(f"logsumexp of {type_of(a)}: complex numbers are not taken; write np.log(np.sum(np.exp(a)))")
    if number_kind(dtype) != "f":
        a = astype(a, np.float64)
    a = masked("logsumexp", a, where, -np.inf)
    if b is None:
        value = over_axes(logsumexp_op, a, axis, keepdims)
        return (value, np.where(np.isneginf(value), 0, np.ones((), value.dtype))) if return_sign else value
    a, b = np.broadcast_arrays(a, as_array(b))
    axes = normalize_axes(axis, len(a.shape), "logsumexp")
    largest = np.max(np.where(np.equal(b, 0), -np.inf, a), axes, keepdims=True, initial=-np.inf)
    level = bind(stop_gradient_op, (np.where(np.isfinite(largest), largest, 0),))
    # A term without weight may be larger than all that count: it must not overflow.
    total = np.sum(widened(times_exp(b, a - level)), axes, keepdims=True)
    value = astype(quietly(("divide", "invalid"), np.log, np.abs(total) if return_sign else total), level.dtype) + level
    sign = np.sign(astype(total, level.dtype))
    if not keepdims:
        value, sign = [np.reshape(v, reduced_shape(a.shape, axes, False)) for v in (value, sign)]
    return (value, sign) if return_sign else value
