"""Sums, products, and what all reductions over axes share.

The ops take `axes`, a sorted tuple counted from the front, and `keepdims`. A product has its exact derivative at zeros.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.errors import ShapeError
from tracegrad.core.memory import Strides, reduced_strides
from tracegrad.core.op import EVERY, Op, Params, Sample, StrideRule, TypeRule, VjpRule, Wanted
from tracegrad.core.programs import bind_constant
from tracegrad.core.symbols import Symbol
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, Shape, is_added, is_inexact, is_numpy_scalar, type_of
from tracegrad.ops.cumulative import product_of_others
from tracegrad.ops.elementwise import astype, is_narrow, widened
from tracegrad.ops.families import along_axis, cast, implements, is_of_a_scalar, normalize_axes, require_held, shape_of
from tracegrad.ops.masks import Mask, Masked
from tracegrad.ops.reach import of_kept_axes
from tracegrad.ops.reduce.pooled import may_be_pooled, pooled
from tracegrad.ops.shape import broadcast_to_op
from tracegrad.typing import Array, ArrayLike, Axis, DType


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


def prepared(function: Any, a: Any, dtype: Any, where: Any, neutral: Any) -> Any:
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


def reduced(ufunc: np.ufunc, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return ufunc.reduce(x, axes, keepdims=keepdims)


def over_axes(op: Op, a: Any, axis: Any, keepdims: Any) -> Any:
    """The reduction over an axis argument of NumPy's."""
    axes = reduced_axes(axis, len(shape_of(a)), op.name)
    return bind(op, (a,), {"axes": axes, "keepdims": bool(keepdims)})


def evaluate_sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return pooled(np.add, x, axes, keepdims)


def cotangent_of_sum(ct: Any, x: Any, params: Params) -> Any:
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
def axis_params(name: str, axis: int | None, ndim: int, keepdims: Any) -> Params:
    return {"axes": (reduced_axes if name == "sum" else normalize_axes)(axis, ndim, name), "keepdims": bool(keepdims)}


def spelled_sum(
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
    call = f"add_pooled({args[0]}, " if may_be_pooled(types[0], axes) else f"add_reduce({args[0]}, "
    return f"{call}{axes}{', keepdims=True' if params['keepdims'] else ''})"


sum_op = additive(
    "sum",
    evaluate_sum,
    lambda wanted, ct, out, primals, params: (cotangent_of_sum(ct, primals[0], params),),
    infer=reduction_type(promoted_by(np.add)),
    kinds="biufc",
    code=spelled_sum,
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
        return bind(sum_op, (a,), axis_params("sum", axis, ndim, keepdims))
    return _totalled(sum_op, np.add, prepared(np.sum, a, dtype, where, 0), axis, dtype, keepdims, initial)


def _totalled(op: Op, ufunc: np.ufunc, a: Any, axis: Any, dtype: Any, keepdims: Any, initial: Any) -> Any:
    """A sum or product with NumPy's further keywords."""
    total = over_axes(op, a, axis, keepdims)
    if dtype is not None:
        total = astype(total, dtype)  # the op promoted small integers
    if initial is None:
        return total
    require_held(initial, total.dtype, f"np.{op.name}(x, initial=v)")
    return ufunc(total, astype(as_array(initial), total.dtype))


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
    partial(reduced, np.multiply),
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
    a = prepared(np.prod, a, dtype, where, 1)
    return _totalled(prod_op, np.multiply, a, axis, dtype, keepdims, initial)


def divided(d: Any, count: Any) -> Any:
    """A tangent or cotangent divided by a count of elements, in its own dtype, whether or not that has the count."""
    if type(count) is Symbol or issubclass(type(count), int):
        return d / count if not is_narrow(d.dtype) else cast(widened(d) / count, d.dtype)
    wide = widened(d)
    return cast(wide / cast(count, wide.dtype), d.dtype)
