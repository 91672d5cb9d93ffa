"""Ops that change shapes without computing: reshaping, permuting axes, broadcasting, copying.

All are linear, and views in NumPy where they can be. Each has another as its transpose: reshape has reshape,
transpose has transpose, broadcast_to has sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.memory import copied as laid_out_alike
from tracegrad.core.memory import is_dense, is_merged, reshaped, reshaped_strides
from tracegrad.core.op import EVERY, Definitions, Op, Params, Sample, View
from tracegrad.core.symbols import as_index
from tracegrad.core.trace import as_array, bind, strengthened
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, Shape, type_of
from tracegrad.ops.families import (
    implements,
    linear,
    shape_of,
    unbroadcast,
)
from tracegrad.typing import Array, ArrayLike, Axis
from tracegrad.typing import Shape as ShapeLike


def shape_tuple(shape: Any) -> Shape:
    """A shape argument (an int or a sequence of them) as a tuple of ints."""
    if type(shape) is not tuple:
        shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    for n in shape:
        if type(n) is not int:
            return tuple([as_index(n) for n in shape])
    return shape


# ---------------------------------------------------------------------------------------------------------------------
# Reshape.


def _reshape(x: Any, shape: Shape) -> Any:
    return reshaped(x, shape) if type(x) is np.ndarray else np.reshape(x, shape)


def _reshape_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    t, shape = types[0], params["shape"]
    if t.size != math.prod(shape):
        rests = [math.prod(shape[:i] + shape[i + 1 :]) for i in range(len(shape))]
        fits = any([rest and t.size % rest == 0 for rest in rests])
        raise ShapeError(
            f"reshape: {t} has {t.size} elements, the shape {shape} has {math.prod(shape)}"
            + ("; write -1 for one size to have it found" if fits else "")
        )
    return ArrayType(shape, t.dtype)


def _reshape_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(reshape_op, tuple(inputs), {"shape": (size, *params["shape"])})


def _reshape_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2))
    for shape in [(12,), (4, 3), (1, 2, 3, 1, 2)]:
        yield Sample((x,), {"shape": shape})
    yield Sample((np.array(0.5),), {"shape": (1, 1)})
    yield Sample((0.5,), {"shape": (1,)})
    yield Sample((np.zeros((0, 3)),), {"shape": (3, 0, 2)})


def _is_view(x: Any, shape: Shape, definitions: Definitions) -> bool:
    """Whether the reshape of an array to this shape is a view of it: a copy is in C order."""
    longer = [[n for n in s if n != 1] for s in (x.type.shape, shape)]
    return longer[0] == longer[1] or len(longer[0]) <= 1 or definitions.is_in_c_order(x)


def _simpler_reshape(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """Of two reshapes only the last counts, and none where the shape is right already. A scalar that was repeated is
    repeated to the new shape at once."""
    (x,) = inputs
    made = definitions.get(x)
    if made is not None and made.op is reshape_op and _is_view(made.inputs[0], made.params["shape"], definitions):
        return reshape_op, made.inputs, params
    if made is not None and made.op is broadcast_to_op and made.inputs[0].type.shape == ():
        return broadcast_to_op, made.inputs, params
    return x if x.type.shape == params["shape"] and not x.type.weak else None


def _reshape_layout(x: Any, shape: Shape) -> Any:
    """A number has no memory that an array could share."""
    view = x.reshape(shape)
    return view if x.ndim and np.may_share_memory(view, x) else None


def _reshape_transpose(ct: Any, x: Any, shape: Shape) -> Any:
    return reshaped(ct, shape_of(x)) if type(ct) is np.ndarray else ct.reshape(shape_of(x))


def _spelled_reshape(
    args: Sequence[str], types: Sequence[ArrayType], is_block: Callable[[int], bool], params: Params
) -> str | None:
    (t,), shape = types, params["shape"]
    if t.weak:
        return None
    repeats = is_merged(t.shape, shape) and not is_block(0)
    return f"reshaped({args[0]}, {shape})" if repeats else f"{args[0]}.reshape({shape})"


reshape_op: Op = linear(
    "reshape", _reshape, _reshape_transpose,
    infer=_reshape_type, batch=_reshape_batch, kinds="biufc", samples=_reshape_samples, moves=True,
    strides=lambda inputs, types, params: None if inputs[0] is None else reshaped_strides(types[0].shape, inputs[0], params["shape"]),
    code=_spelled_reshape, simplify=_simpler_reshape, view=View(lambda x, v, shape: v.reshape(x.shape), _reshape_layout),
)  # fmt: skip


@implements(np.reshape)
def reshape(a: ArrayLike, /, shape: ShapeLike, order: str = "C", *, copy: bool | None = None) -> Array:
    """`a` in another shape; one size may be -1 and is then found from the others. The elements are read and put in C order, or
    Fortran's for order="F". ShapeError if there are more of them than places, or fewer.

    >>> reshape([1, 2, 3, 4, 5, 6], (-1, 2), order="F").tolist()
    [[1, 4], [2, 5], [3, 6]]
    """
    shape = shape_tuple(shape)
    old = shape_of(a)
    if order == "F" or (order == "A" and is_fortran(a, order)):
        if len(shape) > 1 or len(old) > 1:
            return np.transpose(np.reshape(np.transpose(a), shape[::-1]))
    elif order not in ("C", "A"):
        raise ValueError(f"reshape: order must be 'C', 'F' or 'A', got {order!r}")
    if -1 in shape:
        shape = _without_unknown(shape, type_of(a))
    if shape == old and type(a) is Tracer and not a.type.weak:
        return a
    return no_number(bind(reshape_op, (a,), {"shape": shape}))


def no_number(x: Any) -> Any:
    """A new value, which is an array to `x op= y` if it has no axes, and not a number."""
    if type(x) is Tracer and not x.shape:
        x.state = None
    return x


def is_fortran(a: Any, order: str) -> bool:
    """Whether order="A" (or "K") means "F": that depends on the memory layout, which a traced array does not have. Where at
    most one axis is longer than 1, all orders are one."""
    if type(a) is Tracer and len([n for n in a.shape if n != 1]) > 1:
        raise ValueError(
            f"order={order!r}{at(user_source())} depends on memory layout, which a traced array has not, such as "
            f"{a.described()}; write order='C' or order='F'"
        )
    return False


def _without_unknown(shape: Shape, found: ArrayType) -> Shape:
    rest = math.prod([n for n in shape if n != -1])
    if shape.count(-1) > 1 or rest == 0 or found.size % rest:
        raise ShapeError(f"reshape: {found} has {found.size} elements, which do not fit the shape {shape}")
    return tuple([found.size // rest if n == -1 else n for n in shape])


# ---------------------------------------------------------------------------------------------------------------------
# Transpose.


def _transpose(x: Any, axes: tuple[int, ...]) -> Any:
    return x.transpose(axes)


@lru_cache(maxsize=1024)
def inverse_permutation(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes this one."""
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _transpose_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,), axes = types, params["axes"]
    if sorted(axes) != list(range(t.ndim)):
        raise ShapeError(f"transpose: axes {axes} do not name each axis of {t} once")
    return ArrayType(tuple([t.shape[i] for i in axes]), t.dtype)


def _transpose_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(transpose_op, tuple(inputs), {"axes": (0, *[a + 1 for a in params["axes"]])})


def _transpose_samples() -> Iterable[Sample]:
    yield Sample((np.random.default_rng(0).uniform(-1, 1, (2, 3, 4)),), {"axes": (2, 0, 1)})
    yield Sample((np.random.default_rng(0).uniform(-1, 1, (2, 3)),), {"axes": (1, 0)})
    yield Sample((np.zeros((2, 0)),), {"axes": (1, 0)})


def _simpler_transpose(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """Two transposes are one, and none where the axes are in order."""
    (x,) = inputs
    axes = params["axes"]
    made = definitions.get(x)
    if made is not None and made.op is transpose_op:
        return transpose_op, made.inputs, {"axes": tuple([made.params["axes"][i] for i in axes])}
    return x if axes == tuple(range(len(axes))) else None


transpose_op: Op = linear(
    "transpose", _transpose, lambda ct, x, axes: ct.transpose(inverse_permutation(axes)),
    infer=_transpose_type, batch=_transpose_batch, kinds="biufc", samples=_transpose_samples, moves=True,
    strides=lambda inputs, types, params: None if inputs[0] is None else tuple([inputs[0][i] for i in params["axes"]]),
    code=lambda args, types, is_block, params: f"{args[0]}.T" if params["axes"] == (1, 0) else f"{args[0]}.transpose({params['axes']})",
    simplify=_simpler_transpose,
    view=View(lambda x, v, axes: v.transpose(inverse_permutation(axes)), lambda x, axes: x.transpose(axes)),
)  # fmt: skip


@implements(np.transpose)
def transpose(a: ArrayLike, axes: Axis = None) -> Array:
    """`a` with its axes reversed, or in the order `axes`.

    >>> permute_dims(np.ones((2, 3)), (1, 0)).shape
    (3, 2)
    """
    a = strengthened(as_array(a))
    ndim = len(a.shape)
    if axes is None:
        if ndim < 2:
            return a
        return bind(transpose_op, (a,), {"axes": (1, 0) if ndim == 2 else tuple(range(ndim - 1, -1, -1))})
    axes = shape_tuple(axes)
    if len(axes) != ndim:
        raise ShapeError(f"transpose: axes {axes} do not name each axis of {type_of(a)} once")
    for i in axes:
        if i < 0:
            axes = tuple([i + ndim if -ndim <= i < 0 else i for i in axes])
            break
    if axes == tuple(range(ndim)):
        return a
    return bind(transpose_op, (a,), {"axes": axes})


permute_dims = transpose


# ---------------------------------------------------------------------------------------------------------------------
# Broadcast.


def _broadcast_to(x: Any, shape: Shape) -> Any:
    """np.broadcast_to, a read-only view, in a quarter of its 2 us for what lies contiguous in memory."""
    if type(x) is np.ndarray and not x.flags.c_contiguous:
        return np.broadcast_to(x, shape)
    x = np.asarray(x)
    old = x.shape
    extra = len(shape) - len(old)
    if extra < 0 or any([n != m and n != 1 for n, m in zip(old, shape[extra:], strict=True)]):
        return np.broadcast_to(x, shape)  # NumPy's error
    strides = [s if n == m else 0 for s, n, m in zip(x.strides, old, shape[extra:], strict=True)]
    view = np.ndarray(shape, x.dtype, x, 0, (0,) * extra + tuple(strides)) if x.size else np.broadcast_to(x, shape)
    view.flags.writeable = False
    return view


def _broadcast_to_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,), shape = types, params["shape"]
    extra = len(shape) - t.ndim
    if extra < 0 or any([n != m and n != 1 for n, m in zip(t.shape, shape[extra:], strict=True)]):
        raise ShapeError(
            f"broadcast_to: {t} does not broadcast to the shape {shape}; trailing sizes must be equal or 1 (write "
            "x[:, None] or np.expand_dims to line them up)"
        )
    return ArrayType(shape, t.dtype)


def _broadcast_to_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    (x,), shape = inputs, params["shape"]
    lined_up = np.reshape(x, (size, *(1,) * (len(shape) + 1 - len(x.shape)), *x.shape[1:]))
    return bind(broadcast_to_op, (lined_up,), {"shape": (size, *shape)})


def _broadcast_to_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for old, new in [((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 3, 1), (4, 2, 3, 2)), ((), (2, 2)), ((1,), (0,))]:
        yield Sample((rng.uniform(-1, 1, old),), {"shape": new})
    yield Sample((rng.uniform(-1, 1, (4, 1)).T,), {"shape": (3, 4)})
    yield Sample((0.5,), {"shape": (3,)})


def _same_shape(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    (x,) = inputs
    return x if x.type.shape == params["shape"] and not x.type.weak else None


broadcast_to_op = linear(
    "broadcast_to", _broadcast_to, lambda ct, x, shape: unbroadcast(ct, shape_of(x)),
    infer=_broadcast_to_type, batch=_broadcast_to_batch, kinds="biufc", samples=_broadcast_to_samples, broadcasts=True,
    simplify=_same_shape, moves=True, view=View(None, np.broadcast_to),
    strides=lambda inputs, types, params: None if inputs[0] is None else (0,) * (len(params["shape"]) - types[0].ndim) + inputs[0],
)  # fmt: skip


@implements(np.broadcast_to)
def broadcast_to(array: ArrayLike, shape: ShapeLike, subok: bool = False) -> Array:
    """`array` repeated along new axes and those of size 1, as if of this shape. A view: nothing is copied.

    >>> broadcast_to(np.arange(2.0), (2, 2)).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    shape = shape_tuple(shape)
    if type(array) is Tracer and array.shape == shape and not array.type.weak:
        return array
    return bind(broadcast_to_op, (array,), {"shape": shape})


# ---------------------------------------------------------------------------------------------------------------------
# The same values. What differs is memory, which matters to code that writes into arrays (views.py).


def _same(name: str, evaluate: Callable[..., Any], view: View | None = None, **params: Any) -> Op:
    op = Op(
        name,
        evaluate=evaluate,
        infer=lambda types, params: types[0],
        jvp=lambda primals, tangents, out, params: tangents[0],
        vjp=lambda wanted, ct, out, primals, params: [ct],
        linear=(EVERY,),
        batch=lambda size, batched, inputs, params: bind(op, tuple(inputs), params),
        python=lambda x, **_: x,
        moves=True,
        samples=lambda: [Sample((np.array([[1.0, -2.0, 0.5]]),), params)],
        kinds="biufc",
        # A copy may have smaller gaps.
        strides=lambda inputs, types, params: inputs[0] if inputs[0] and is_dense(types[0].shape, inputs[0]) else None,
        code=lambda args, types, is_block, params: args[0],
        simplify=lambda inputs, params, definitions: inputs[0],
        same=True,
        view=view,
    )
    return op


def _copy(x: Any, order: str) -> Any:
    return laid_out_alike(x) if type(x) is np.ndarray else x


def _contiguous(x: Any, order: str) -> Any:
    return x


def _contiguous_layout(x: Any, order: str) -> Any:
    return x if (x.flags.c_contiguous if order == "C" else x.flags.f_contiguous) else None


# In memory of its own, of the order "C", or "K" for that of the input: so NumPy does it, and so it is known what is a view of
# it. The values lie as they did, in a Graph and out of it.
copy_op = _same("copy", _copy, order="C")
# A copy, unless it lies in this order already.
contiguous_op = _same("contiguous", _contiguous, View(lambda x, v, order: v, _contiguous_layout), order="C")


def copied(x: Any, order: str = "C") -> Any:
    """A traced array in memory of its own, so that what is written into it leaves the other as it is."""
    return bind(copy_op, (x,), {"order": order})
