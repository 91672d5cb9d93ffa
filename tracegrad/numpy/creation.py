"""Making arrays: from nested lists that hold tracers, of a tracer's shape and dtype, from ranges. And what is asked of
an array's type alone: shape, size, promotion."""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.context import context, open_traces, sizing
from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.programs import made_here
from tracegrad.core.sizes import as_sizes
from tracegrad.core.symbols import as_index, broadcast_shapes, made_of_sizes, range_length
from tracegrad.core.trace import as_array, bind, contains_tracer, strengthened
from tracegrad.core.tracer import Tracer, concrete, like_tracer
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, is_tracer, normalize_axis, shape_of
from tracegrad.ops.shape import contiguous_op, copied, no_number
from tracegrad.ops.writes import fitting
from tracegrad.typing import Array, ArrayLike, Axis, DType, F, Shape


def _writable(kinds: str) -> Callable[[F], F]:
    """Have a function that makes plain arrays make, while something is traced, such as traced values can be written into, if
    they are of these kinds of numbers. An array that it is given first it reads as one, so that a program reads that anew."""

    def register(function: F) -> F:
        @functools.wraps(function)
        def making(*args: Any, **kwargs: Any) -> Any:
            if not open_traces:
                return function(*args, **kwargs)
            if args and kinds == FLOATS and _makes_floats(*args[1:2], **kwargs):
                args = (made_here(args[0], FLOATS, is_new=False), *args[1:])
            return made_here(function(*args, **kwargs), kinds)

        same: Any = making
        return same

    return register


def _makes_floats(dtype: Any = None, **_: Any) -> bool:
    return dtype is None or isinstance(dtype, str) or number_kind(np.dtype(dtype)) in FLOATS


# Numbers that have derivatives. Arrays of integers and truth values that are given are mostly indices, shapes and masks, and stay
# plain; what is filled with zeros, or not at all, is there to be written into.
FLOATS, NUMBERS = "fc", "biufc"

# ---------------------------------------------------------------------------------------------------------------------
# Arrays from what is given.


@_writable(FLOATS)
@implements(np.array)
def array(
    object: ArrayLike,
    dtype: DType = None,
    *,
    copy: Any = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    like: Any = None,
) -> Array:
    """An array of nested lists, tuples, arrays, numbers and traced values: lists are stacked along new leading axes.

    While something is traced, an array of floats or complex numbers is one that traced values can be written into.

    >>> import numpy as np, tracegrad as tg, tracegrad.numpy as tnp
    >>> tg.grad(lambda x: np.sum(tnp.array([x, 2.0 * x, 1.0])))(1.0)
    np.float64(3.0)
    """
    copy = copy.value if isinstance(copy, enum.Enum) else copy
    result = _array(object, dtype)
    missing = ndmin - len(shape_of(result))
    if copy == 1 and result is object:
        result = no_number(copied(result, "K" if order is None else order))
    return like_tracer(np.reshape(result, (1,) * missing + shape_of(result)) if missing > 0 else result, like)


def _array(x: Any, dtype: Any = None) -> Any:
    """The same, but what is an array already is not copied."""
    if dtype is None:
        return strengthened(_stacked(x))
    found = np.dtype(dtype)
    return astype(strengthened(_stacked(x, found)), found)


def _stacked(x: Any, dtype: np.dtype[Any] | None = None) -> Any:
    """An array of what may be nested lists, of which each int fits into a dtype that the array is to have."""
    if not isinstance(x, list | tuple) or not contains_tracer(x):
        if dtype is None or number_kind(dtype) not in "iu":
            return as_array(x)
        return np.array(x, dtype) if isinstance(x, list | tuple) else fitting(as_array(x), dtype, "an array")
    parts = [_stacked(item, dtype) for item in x]
    shapes = [shape_of(p) for p in parts]
    if len(set(shapes)) > 1:
        raise ShapeError(
            f"array: the items of a list have different shapes, {', '.join([str(type_of(p)) for p in parts])}"
            f"{at(user_source())}; an array has one shape"
        )
    return np.stack(parts)


@implements(np.asarray)
def _asarray(
    a: ArrayLike, dtype: DType = None, order: Any = None, *, device: Any = None, copy: Any = None, like: Any = None
) -> Array:
    result = _array(a, dtype)
    return like_tracer(copied(result, "K") if copy and result is a else result, like)


def asarray(
    a: ArrayLike, dtype: DType = None, order: Any = None, *, device: Any = None, copy: Any = None, like: Any = None
) -> Array:
    """`a` as an array: a tracer as it is, nested lists that hold tracers stacked (as `array` does), and lists of plain floats, while
    something is traced, as arrays that traced values can be written into.

    Where types are traced (`jit`, `vmap`, the body of a loop), a plain array with axes becomes a traced constant, of which
    traced indices pick elements as they cannot of the plain one. What looks at its value still finds it; what is computed of
    it is traced. With `like=tracer` it becomes a constant of the trace of that one, as NumPy's functions that make arrays
    do with `like=` too: `np.asarray(table, like=i)[i]`, `np.zeros(3, like=x)`, into which traced values can be written.

    >>> import numpy as np, tracegrad as tg, tracegrad.numpy as tnp
    >>> table = np.array([1.0, 10.0, 100.0])
    >>> tg.jit(lambda x: tnp.asarray(table)[np.argsort(x)])(np.array([0.3, 0.1, 0.2])).tolist()
    [10.0, 100.0, 1.0]
    """
    given = {"device": device, "copy": copy, "like": like}
    result = _asarray(a, dtype, order, **{k: v for k, v in given.items() if v is not None})
    if isinstance(a, list | tuple) and open_traces:
        result = made_here(result, FLOATS)
    trace = context.trace
    if trace is None or type(result) is not np.ndarray or not result.ndim or number_kind(result.dtype) not in "biufc":
        return result
    return trace.known(result)


@implements(np.ascontiguousarray)
def ascontiguousarray(a: ArrayLike, dtype: DType = None, *, like: Any = None) -> Array:
    """`a` as an array; a copy if it would not lie in memory in C order.

    >>> ascontiguousarray(np.array([[1.0, 2.0], [3.0, 4.0]]).T).flags.c_contiguous
    True
    """
    return like_tracer(_contiguous(_array(a, dtype), "C"), like)


@implements(np.asfortranarray)
def asfortranarray(a: ArrayLike, dtype: DType = None, *, like: Any = None) -> Array:
    """`a` as an array; a copy if it would not lie in memory in Fortran's order.

    >>> asfortranarray(np.ones((2, 3))).flags.f_contiguous
    True
    """
    return like_tracer(_contiguous(_array(a, dtype), "F"), like)


def _contiguous(x: Any, order: str) -> Any:
    return bind(contiguous_op, (x,), {"order": order}) if shape_of(x) else np.reshape(x, (1,))


FUNCTIONS[np.asanyarray] = FUNCTIONS[np.asarray]


@_writable(FLOATS)
@implements(np.copy)
def copy(a: ArrayLike, order: Any = "K", subok: bool = False) -> Array:
    """`a` in memory of its own, into which traced values can be written, if it holds floats or complex numbers.

    >>> copy(np.array([3.0, 1.0, 2.0])).tolist()
    [3.0, 1.0, 2.0]
    """
    return no_number(copied(_array(a), order))


# ---------------------------------------------------------------------------------------------------------------------
# Arrays filled with one value.


def _keywords(**given: Any) -> dict[str, Any]:
    return {k: v for k, v in given.items() if v is not None}


def _filled(make: Any, shape: Any, dtype: Any, order: Any, **given: Any) -> Any:
    shape = _as_shape(shape) if sizing else shape
    return made_of_sizes(make, shape, shape, dtype, order, **_keywords(**given))


@_writable(NUMBERS)
def zeros(shape: Shape, dtype: DType = float, order: Any = "C", *, device: Any = None, like: Any = None) -> Array:
    """An array of zeros. While something is traced, traced values can be written into it.

    >>> import numpy as np, tracegrad as tg
    >>> def f(x):
    ...     y = zeros(3)
    ...     y[1:] = x**2
    ...     return np.sum(y)
    >>> tg.grad(f)(3.0)
    np.float64(12.0)
    """
    return _filled(np.zeros, shape, dtype, order, device=device, like=like)


@_writable(NUMBERS)
def ones(shape: Shape, dtype: DType = None, order: Any = "C", *, device: Any = None, like: Any = None) -> Array:
    """An array of ones. While something is traced, traced values can be written into it.

    >>> ones(2).tolist()
    [1.0, 1.0]
    """
    return _filled(np.ones, shape, dtype, order, device=device, like=like)


@_writable(NUMBERS)
def empty(shape: Shape, dtype: DType = float, order: Any = "C", *, device: Any = None, like: Any = None) -> Array:
    """An array of any values. While something is traced, these are zeros, and traced values can be written into it.

    >>> empty((2, 3)).shape
    (2, 3)
    """
    make = np.zeros if open_traces else np.empty
    return _filled(make, shape, dtype, order, device=device, like=like)


@_writable(NUMBERS)
def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: DType = float,
    order: Any = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Array:
    """Ones on the k-th diagonal, and zeros. While something is traced, traced values can be written into it.

    >>> eye(2, 3, 1).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return made_of_sizes(
        np.eye, (N, N if M is None else M), N, M, k, dtype, order, **_keywords(device=device, like=like)
    )


@_writable(NUMBERS)
def identity(n: int, dtype: DType = None, *, like: Any = None) -> Array:
    """The identity matrix. While something is traced, traced values can be written into it.

    >>> identity(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return made_of_sizes(np.identity, (n, n), n, dtype, **_keywords(like=like))


@_writable(NUMBERS)
@implements(np.full)
def full(
    shape: Shape, fill_value: ArrayLike, dtype: DType = None, order: Any = "C", *, device: Any = None, like: Any = None
) -> Array:
    """An array of this shape filled with a value, which broadcasts against it and may be traced.

    >>> full((2, 3), [1, 2, 3]).tolist()
    [[1, 2, 3], [1, 2, 3]]
    """
    return like_tracer(copied(np.broadcast_to(_array(fill_value, dtype), _as_shape(shape))), like)


def _as_shape(shape: Any) -> tuple[int, ...]:
    return tuple([as_index(n) for n in shape]) if isinstance(shape, tuple | list) else (as_index(shape),)


def _like(a: Any, dtype: Any, shape: Any) -> ArrayType:
    """The shape and dtype of a new array like `a`."""
    found = type_of(_array(a))
    return ArrayType(
        found.shape if shape is None else _as_shape(shape), found.dtype if dtype is None else np.dtype(dtype)
    )


def _like_traced(x: Any) -> Any:
    """A new array like a traced one. Derivative rules only read theirs."""
    return made_here(x) if context.source is None else x


@_writable(NUMBERS)
@implements(np.zeros_like)
def zeros_like(
    a: ArrayLike,
    dtype: DType = None,
    order: Any = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Any = None,
) -> Array:
    """An array of zeros of the shape and dtype of `a`. While something is traced, traced values can be written into it.

    >>> zeros_like(np.array([3.0, 1.0, 2.0])).tolist()
    [0.0, 0.0, 0.0]
    """
    new = _like(a, dtype, shape)
    return _like_traced(_filled(np.zeros, new.shape, new.dtype, "C"))


@_writable(NUMBERS)
@implements(np.ones_like)
def ones_like(
    a: ArrayLike,
    dtype: DType = None,
    order: Any = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Any = None,
) -> Array:
    """An array of ones of the shape and dtype of `a`. While something is traced, traced values can be written into it.

    >>> ones_like(np.array([3.0, 1.0, 2.0])).tolist()
    [1.0, 1.0, 1.0]
    """
    new = _like(a, dtype, shape)
    return _like_traced(_filled(np.ones, new.shape, new.dtype, "C"))


@_writable(NUMBERS)
@implements(np.empty_like)
def empty_like(
    prototype: ArrayLike,
    dtype: DType = None,
    order: Any = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Any = None,
) -> Array:
    """An array of the shape and dtype of `prototype`, with any values. While something is traced, traced values can be written
    into it.

    >>> empty_like(np.array([3.0, 1.0, 2.0])).shape
    (3,)
    """
    new = _like(prototype, dtype, shape)
    return _like_traced(_filled(np.zeros, new.shape, new.dtype, "C"))


@_writable(NUMBERS)
@implements(np.full_like)
def full_like(
    a: ArrayLike,
    fill_value: ArrayLike,
    dtype: DType = None,
    order: Any = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Any = None,
) -> Array:
    """An array of the shape and dtype of `a` filled with a value, which may be traced.

    >>> full_like(np.array([3.0, 1.0, 2.0]), 7).tolist()
    [7.0, 7.0, 7.0]
    """
    new = _like(a, dtype, shape)
    if is_tracer(fill_value) or contains_tracer(fill_value):
        return copied(np.broadcast_to(_array(fill_value, new.dtype), new.shape))
    return _like_traced(made_of_sizes(np.full, new.shape, new.shape, fill_value, new.dtype))


# ---------------------------------------------------------------------------------------------------------------------
# Ranges and grids.


@implements(np.arange)
def arange(
    start: ArrayLike | None = None, stop: ArrayLike | None = None, step: ArrayLike | None = None, dtype: DType = None, *,
    device: Any = None, like: Any = None,
) -> Array:  # fmt: skip
    """`np.arange`. Its length depends on its arguments, so traced ones must be integers of known value.

    >>> arange(1, 7, 2).tolist()
    [1, 3, 5]
    """
    given = (start,) if stop is None else (0 if start is None else start, stop)
    given = given if step is None else (*given, *(None,) * (2 - len(given)), step)
    for x in given:
        if type(x) is Tracer and number_kind(x.dtype) not in "iu":
            raise DtypeError(
                f"arange: {x.described()} is not an integer{at(user_source())}, and the result would lose its "
                "derivative; write start + step * np.arange(n), or tnp.linspace(start, stop, n)"
            )
    known = [concrete(x, "np.arange", "pass the number as a static argument") for x in given]
    if sizing and all([isinstance(x, int) for x in known]):
        start, stop, step = (0, *known, 1) if len(known) == 1 else (*known, 1)[:3]
        return like_tracer(made_of_sizes(np.arange, (range_length(start, stop, step),), start, stop, step, dtype), like)
    return like_tracer(np.arange(*known, dtype=dtype, device=device), like)


@implements(np.linspace)
def linspace(
    start: ArrayLike, stop: ArrayLike, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: DType = None,
    axis: int = 0, *, device: Any = None,
) -> Array:  # fmt: skip
    """`num` evenly spaced values from `start` to `stop` (without it, if not `endpoint`), along a new axis, which is `axis` of
    the result. Differentiable in both ends. With `retstep` also returns the step. ValueError for a negative `num`.

    >>> linspace(0.0, [1.0, 2.0], 3).tolist()
    [[0.0, 0.0], [0.5, 1.0], [1.0, 2.0]]
    """
    start, stop = _stacked(start), _stacked(stop)
    num = as_index(num)
    if num < 0:
        raise ValueError(f"linspace: number of samples, {num}, must be non-negative")
    kind = np.result_type(_promotable(start), _promotable(stop), 1.0)
    start, stop = astype(start, kind), astype(stop, kind)
    difference = stop - start
    count = num - 1 if endpoint else num
    step = difference / count if count > 0 else math.nan + 0 * difference
    steps = made_of_sizes(np.arange, (num,), 0, num, 1, kind).reshape((-1, *(1,) * len(shape_of(difference))))
    values = start + steps * step if count > 0 else start + steps * difference
    if endpoint and num > 1:
        values = np.where(np.equal(steps, count), stop, values)  # exactly, whatever the rounding
    if axis != 0:
        values = np.moveaxis(values, 0, normalize_axis(axis, len(shape_of(values)), "linspace"))
    if dtype is not None:
        values = astype(np.floor(values) if number_kind(np.dtype(dtype)) in "iu" else values, dtype)
    return (values, step) if retstep else values


@implements(np.logspace)
def logspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    base: ArrayLike = 10.0,
    dtype: DType = None,
    axis: int = 0,
) -> Array:
    """`base ** linspace(start, stop, num)`, differentiable in start, stop and base.

    >>> logspace(0, 2, 3).round(6).tolist()
    [1.0, 10.0, 100.0]
    """
    exponents = np.linspace(start, stop, num, endpoint, axis=axis) if is_tracer(start, stop) else None
    if exponents is None:
        exponents = linspace(start, stop, num, endpoint, axis=axis)
    if len(shape_of(_array(base))):
        base = np.expand_dims(_array(base), axis)
    values = np.power(base, exponents)
    return values if dtype is None else astype(values, dtype)


@implements(np.geomspace)
def geomspace(
    start: ArrayLike, stop: ArrayLike, num: int = 50, endpoint: bool = True, dtype: DType = None, axis: int = 0
) -> Array:
    """`num` values from `start` to `stop` in geometric progression, both of one sign; differentiable in both.

    >>> geomspace(1.0, 100.0, 3).round(6).tolist()
    [1.0, 10.0, 100.0]
    """
    start, stop = _stacked(start), _stacked(stop)
    num = as_index(num)
    kind = np.result_type(_promotable(start), _promotable(stop), np.zeros((), dtype))
    start, stop = astype(start, kind), astype(stop, kind)
    ratio = stop / start
    count = num - 1 if endpoint else num
    steps = np.arange(num).reshape((-1, *(1,) * len(shape_of(ratio))))
    fractions = (steps / max(count, 1)).astype(np.zeros(0, kind).real.dtype)
    values = start * ratio**fractions
    if num:
        values = np.where(np.equal(steps, 0), start, values)
    if endpoint and num > 1:
        values = np.where(np.equal(steps, count), stop, values)
    if axis != 0:
        values = np.moveaxis(values, 0, normalize_axis(axis, len(shape_of(values)), "geomspace"))
    return values if dtype is None else astype(values, dtype)


@implements(np.meshgrid)
def meshgrid(*xi: ArrayLike, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Array, ...]:
    """Grids of coordinates from vectors: result i varies along axis i only (axes 0 and 1 swapped for "xy").

    >>> [x.tolist() for x in meshgrid([1, 2, 3], [4, 5])]
    [[[1, 2, 3], [1, 2, 3]], [[4, 4, 4], [5, 5, 5]]]
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', not {indexing!r}")
    ndim = len(xi)
    axes = list(range(ndim))
    if indexing == "xy" and ndim > 1:
        axes[0], axes[1] = 1, 0
    vectors = [np.reshape(_array(x), (-1,)) for x in xi]
    lined_up = [
        np.reshape(v, tuple([-1 if j == a else 1 for j in range(ndim)])) for v, a in zip(vectors, axes, strict=True)
    ]
    if not sparse:
        shape = broadcast_shapes(*[shape_of(v) for v in lined_up])
        lined_up = [np.broadcast_to(v, shape) for v in lined_up]
    return tuple([copied(v) for v in lined_up] if copy else lined_up)


# ---------------------------------------------------------------------------------------------------------------------
# Questions about types, answered with plain values.


def _promotable(x: Any) -> Any:
    """What np.result_type takes for a value: its dtype, or a Python scalar for a weak one."""
    return type_of(x).weight


def _typed(x: Any) -> Any:
    return _promotable(x) if type(x) is Tracer else x


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that NumPy's promotion gives these arrays, dtypes and numbers.

    >>> result_type(np.float32, np.int32).name
    'float64'
    """
    return np.result_type(*[_typed(x) for x in arrays_and_dtypes])


@implements(np.can_cast)
def can_cast(from_: ArrayLike, to: DType, casting: Any = "safe") -> bool:
    """Whether the dtype of an array can be cast to another.

    >>> can_cast(np.int32, np.float64)
    True
    """
    return np.can_cast(type_of(from_).dtype if type(from_) is Tracer else from_, to, casting)


@implements(np.min_scalar_type)
def min_scalar_type(a: ArrayLike) -> np.dtype[Any]:
    """The dtype of a traced array: the smallest one that holds its values would depend on them.

    >>> min_scalar_type(300).name
    'uint16'
    """
    return type_of(as_array(a)).dtype


@implements(np.common_type)
def common_type(*arrays: ArrayLike) -> type[Any]:
    """The inexact scalar type that all the arrays can be cast to.

    >>> common_type(np.ones(2, np.float32)).__name__
    'float32'
    """
    return np.common_type(*[np.zeros(0, type_of(as_array(a)).dtype) for a in arrays])


@implements(np.shape)
def shape(a: ArrayLike) -> tuple[int, ...]:
    """The shape, a tuple of plain integers.

    >>> shape(np.array([[1.0, 2.0], [3.0, 4.0]]))
    (2, 2)
    """
    found = shape_of(_array(a))
    return as_sizes(found) if sizing else found


@implements(np.ndim)
def ndim(a: ArrayLike) -> int:
    """The number of axes.

    >>> ndim(np.array([[1.0, 2.0], [3.0, 4.0]]))
    2
    """
    return len(shape_of(_array(a)))


@implements(np.size)
def size(a: ArrayLike, axis: Axis = None) -> int:
    """The number of elements, or of those along the given axis or axes.

    >>> size(np.array([[1.0, 2.0], [3.0, 4.0]]))
    4
    """
    found = as_sizes(shape_of(_array(a))) if sizing else shape_of(_array(a))
    if axis is None:
        return math.prod(found)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod([found[normalize_axis(i, len(found), "size")] for i in axes])
