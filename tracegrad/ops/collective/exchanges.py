"""What examples give each other: all values to each, portions, or their values in another order."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.axes import Axis
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.op import Op, Params
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.collective.named_axes import (
    AxisName,
    applied,
    bound_axes,
    example_count,
    linear_collective,
    of_leaves,
    one_axis,
)
from tracegrad.ops.collective.reductions import total_of_all
from tracegrad.ops.families import normalize_axis
from tracegrad.typing import PyTree

# ---------------------------------------------------------------------------------------------------------------------
# All values in each example, and its transpose.


def _whole(size: int, batched: Sequence[bool], x: Any) -> Any:
    """All examples' values of x on axis 0."""
    return x if batched[0] else np.broadcast_to(x, (size, *type_of(x).shape))


def _gathered_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType((params["axis_name"].size, *types[0].shape), types[0].dtype)


all_gather_op: Op = linear_collective(
    "all_gather",
    lambda ct, x, index, **params: bind(psum_scatter_op, (ct, index), params),
    lambda size, batched, inputs, params: (_whole(size, batched, inputs[0]), False),
    _gathered_type,
    after=True,
)


def _laid_out(stacked: Any, axis: int, tiled: bool) -> Any:
    """What is stacked along axis 0, along another axis, or concatenated along it."""
    moved = np.moveaxis(stacked, 0, axis)
    if not tiled:
        return moved
    shape = moved.shape
    return np.reshape(moved, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))


def all_gather(
    x: Any, axis_name: AxisName, *, axis_index_groups: Any = None, axis: int = 0, tiled: bool = False
) -> PyTree:
    """The values of all examples of a named axis, in every one of them.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis that is being mapped over, or a tuple of names, the last counting fastest.
        axis_index_groups: not supported.
        axis: the axis of the result along which the examples' values lie: a new one, or with `tiled` one of x.
        tiled: whether the values are concatenated rather than stacked.

    Returns:
        For x of shape (a, b), axis=0 and n examples: shape (n, a, b), or (n * a, b) with `tiled`.

    Raises:
        NameError: no axis of this name is being mapped over.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import all_gather
    >>> tg.vmap(lambda x: all_gather(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [[1.0, 3.0], [1.0, 3.0]]
    """
    axes = bound_axes(axis_name, "all_gather", axis_index_groups)

    def gathered(leaf: Any) -> Any:
        shape = type_of(leaf).shape
        place = normalize_axis(axis, len(shape) + (not tiled), "all_gather")
        for named in reversed(axes):
            if type(leaf) is Tracer:
                leaf = applied(all_gather_op, leaf, named)
            else:
                leaf = np.broadcast_to(leaf, (named.size, *type_of(leaf).shape))
        return _laid_out(np.reshape(leaf, (example_count(axes), *shape)), place, tiled)

    return of_leaves("all_gather", gathered, x)


def _scattered_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(types[0].shape[1:], types[0].dtype)


psum_scatter_op: Op = linear_collective(
    "psum_scatter",
    lambda ct, x, index, **params: bind(all_gather_op, (ct, index), params),
    lambda size, batched, inputs, params: (total_of_all(size, inputs[0], batched[0]), True),
    _scattered_type,
    before=True,
)


def _portions(function: str, x: Any, axis: int, axes: Sequence[Axis], tiled: bool) -> Any:
    """x with as many portions as there are examples stacked along axis 0, that axis cut into one for each mapped axis."""
    t, count = type_of(x), example_count(axes)
    axis = normalize_axis(axis, t.ndim, function)
    n = t.shape[axis]
    if n % count if tiled else n != count:
        names = ", ".join([repr(a.name) for a in axes])
        wanted = f"a multiple of {count}" if tiled else f"{count}"
        hint = "" if tiled or n % count else ", or pass tiled=True"
        raise ShapeError(
            f"{function}{at(user_source())}: axis {axis} of {t} must have size {wanted}, the number of examples of "
            f"{names}; it has {n}. Reshape the array{hint}"
        )
    rest = t.shape[axis + 1 :]
    x = np.reshape(x, (*t.shape[:axis], *[a.size for a in axes], *((n // count,) if tiled else ()), *rest))
    return np.moveaxis(x, tuple(range(axis, axis + len(axes))), tuple(range(len(axes))))


def psum_scatter(
    x: Any, axis_name: AxisName, *, scatter_dimension: int = 0, axis_index_groups: Any = None, tiled: bool = False
) -> PyTree:
    """The sum over all examples of a named axis, of which each example keeps a portion: `psum(x)[axis_index]`.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis that is being mapped over, or a tuple of names, the last counting fastest.
        scatter_dimension: the axis of x that is cut into portions, one for each of the n examples.
        axis_index_groups: not supported.
        tiled: whether a portion is a slice, of 1/n of the axis, rather than an element, for which its size must be n.

    Returns:
        For x of shape (n, b): shape (b,); with `tiled`, for shape (n * a, b): shape (a, b).

    Raises:
        NameError: no axis of this name is being mapped over. ShapeError: the axis of x does not fit.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import psum_scatter
    >>> tg.vmap(lambda x: psum_scatter(x, "i"), axis_name="i")(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [4.0, 6.0]
    """
    axes = bound_axes(axis_name, "psum_scatter", axis_index_groups)

    def scattered(leaf: Any) -> Any:
        leaf = _portions("psum_scatter", leaf, scatter_dimension, axes, tiled)
        for named in axes:
            leaf = applied(psum_scatter_op, leaf, named)
        return leaf

    return of_leaves("psum_scatter", scattered, x)


# ---------------------------------------------------------------------------------------------------------------------
# Portions exchanged.


all_to_all_op: Op = linear_collective(
    "all_to_all",
    lambda ct, x, index, **params: bind(all_to_all_op, (ct, index), params),
    lambda size, batched, inputs, params: (np.swapaxes(_whole(size, batched, inputs[0]), 0, 1), True),
    before=True,
    after=True,
)


def all_to_all(
    x: Any,
    axis_name: AxisName,
    split_axis: int,
    concat_axis: int,
    *,
    axis_index_groups: Any = None,
    tiled: bool = False,
) -> PyTree:
    """Each example gives a portion to every other: example i gets from each j the i-th portion of j's x.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis that is being mapped over, or a tuple of names, the last counting fastest.
        split_axis: the axis of x that is cut into portions, one for each of the n examples; its size must be n, and it
            is gone from the result.
        concat_axis: where the axis of the portions received goes in the result.
        axis_index_groups: not supported.
        tiled: whether portions are slices, of 1/n of split_axis, that are concatenated along concat_axis.

    Returns:
        For x of shape (n, b), split_axis=0 and concat_axis=1: shape (b, n); with `tiled`, for shape (n * a, b):
        shape (a, n * b).

    Raises:
        NameError: no axis of this name is being mapped over. ShapeError: split_axis does not fit.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import all_to_all
    >>> tg.vmap(lambda x: all_to_all(x, "i", 0, 0), axis_name="i")(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    axes = bound_axes(axis_name, "all_to_all", axis_index_groups)

    def exchanged(leaf: Any) -> Any:
        place = normalize_axis(concat_axis, type_of(leaf).ndim, "all_to_all")
        leaf = _portions("all_to_all", leaf, split_axis, axes, tiled)
        for i, named in enumerate(axes):
            leaf = np.moveaxis(applied(all_to_all_op, np.moveaxis(leaf, i, 0), named), 0, i)
        return _laid_out(np.reshape(leaf, (example_count(axes), *leaf.shape[len(axes) :])), place, tiled)

    return of_leaves("all_to_all", exchanged, x)


def pswapaxes(x: Any, axis_name: AxisName, axis: int, *, axis_index_groups: Any = None) -> PyTree:
    """The named axis and an axis of x of the same size exchanged: `all_to_all(x, axis_name, axis, axis)`.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pswapaxes
    >>> tg.vmap(lambda x: pswapaxes(x, "i", 0), axis_name="i")(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    return all_to_all(x, axis_name, axis, axis, axis_index_groups=axis_index_groups)


# ---------------------------------------------------------------------------------------------------------------------
# Examples in another order.


def _permuted(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> tuple[Any, bool]:
    x, perm = inputs[0], params["perm"]
    complete = len(perm) == size
    if complete and not batched[0]:
        return x, False
    source = np.zeros(size, int)
    receives = np.zeros(size, bool)
    for sender, receiver in perm:
        source[receiver] = sender
        receives[receiver] = True
    moved = np.take(x, source, axis=0) if batched[0] else _whole(size, batched, x)
    if complete:
        return moved, True
    return np.where(np.reshape(receives, (size, *(1,) * (len(moved.shape) - 1))), moved, 0), True


def _backwards(ct: Any, x: Any, index: Any, axis_name: Axis, perm: tuple[tuple[int, int], ...]) -> Any:
    back = tuple([(receiver, sender) for sender, receiver in perm])
    return bind(ppermute_op, (ct, index), {"axis_name": axis_name, "perm": back})


ppermute_op: Op = linear_collective("ppermute", _backwards, _permuted)


def ppermute(x: Any, axis_name: AxisName, perm: Sequence[tuple[int, int]]) -> PyTree:
    """The values of a named axis' examples sent from one to the other.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis that is being mapped over.
        perm: pairs (sender, receiver) of indices in the axis. None sends twice or receives twice. An example to which
            nothing is sent gets zeros.

    Returns:
        A pytree like `x`.

    Raises:
        NameError: no axis of this name is being mapped over. ValueError: perm is no such list.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import ppermute
    >>> shift = [(0, 1), (1, 2)]
    >>> tg.vmap(lambda x: ppermute(x, "i", shift), axis_name="i")(np.array([1.0, 3.0, 5.0])).tolist()
    [0.0, 1.0, 3.0]
    """
    axis = one_axis(axis_name, "ppermute")
    try:
        pairs = tuple([(operator.index(sender), operator.index(receiver)) for sender, receiver in perm])
    except (TypeError, ValueError):
        raise ValueError(
            f"ppermute{at(user_source())}: perm must hold pairs of ints (sender, receiver), got {perm!r}"
        ) from None
    for what, indices in zip(("sends", "receives"), zip(*pairs, strict=True), strict=False):
        for i in indices:
            if not 0 <= i < axis.size:
                raise ValueError(
                    f"ppermute{at(user_source())}: perm names the example {i}, but the axis {axis.name!r} has "
                    f"{axis.size}, counted from 0"
                )
            if indices.count(i) > 1:
                raise ValueError(
                    f"ppermute{at(user_source())}: the example {i} {what} twice in perm={list(pairs)!r}; name each "
                    "at most once on either side"
                )
    return of_leaves("ppermute", lambda leaf: applied(ppermute_op, leaf, axis, perm=pairs), x)


def pshuffle(x: Any, axis_name: AxisName, perm: Sequence[int]) -> PyTree:
    """The values of a named axis' examples in another order: example i gets that of example `perm[i]`.

    Raises:
        NameError: no axis of this name is being mapped over. ValueError: perm does not name each example once.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pshuffle
    >>> tg.vmap(lambda x: pshuffle(x, "i", [2, 0, 1]), axis_name="i")(np.array([1.0, 3.0, 5.0])).tolist()
    [5.0, 1.0, 3.0]
    """
    axis = one_axis(axis_name, "pshuffle")
    if sorted(perm) != list(range(axis.size)):
        raise ValueError(
            f"pshuffle{at(user_source())}: perm must name each of the {axis.size} examples of {axis.name!r} once, got "
            f"{perm!r}"
        )
    return ppermute(x, axis_name, list(zip(perm, range(axis.size), strict=True)))
