"""Collectives: what the examples of a named axis do together, under `vmap(f, axis_name="i")`. Names, arguments and
meanings are those of jax.lax, and every function takes a pytree of arrays.

Each op is over one named axis. Its inputs are the array and the example's index in that axis, which says nothing that
the op would not know, but ties it to the trace that maps over the axis, whatever the array depends on. What becomes of
it there, its rule `collective` says; under another axis' `vmap` it goes on to its own by its batching rule.

A derivative taken inside `vmap` is that of the sum of all examples' results: example j gets from each i the cotangent of
what i made of j's value. So psum is its own transpose, that of all_gather is psum_scatter, and all is as if the
derivative had been taken outside.

An axis may be jax's as well (`jax.shard_map`, `jax.vmap`), around a function of ours on jax's tracers: the ops then are
jax's collectives, by their rules in `xla/rules/`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import OF_JAX, Axis, lookup, unbound
from tracegrad.core.backends import xla
from tracegrad.core.boxes import out_of_boxes
from tracegrad.core.context import context
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.op import CollectiveRule, Op, Params, TypeRule, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.elementwise import astype, is_narrow, widened
from tracegrad.ops.families import linear, normalize_axis
from tracegrad.ops.structural import unchanged
from tracegrad.typing import Array, PyTree

AxisName = Hashable | Sequence[Hashable]  # a name, or several

# ---------------------------------------------------------------------------------------------------------------------
# Named axes. A public function is over one of them or several, an op over one.


def _bound_axes(axis_name: AxisName, function: str, groups: Any = None) -> list[Axis]:
    """The bound axes of these names, a name or a tuple or list of names, outermost first as the caller orders them."""
    if groups is not None:
        raise NotImplementedError(
            f"{function}{at(user_source())} with axis_index_groups= is not supported, got {groups!r}; map over two "
            "named axes, of the groups and within a group, and name the inner one"
        )
    names = axis_name if isinstance(axis_name, tuple | list) else (axis_name,)
    axes = [lookup(name, function) for name in names]
    if len(set(axes)) != len(axes):
        raise ValueError(f"{function}{at(user_source())}: an axis is named twice in {axis_name!r}; name each once")
    return axes


def _one_axis(axis_name: AxisName, function: str) -> Axis:
    axes = _bound_axes(axis_name, function)
    if len(axes) != 1:
        raise ValueError(
            f"{function}{at(user_source())} permutes the examples of one axis, got the names {axis_name!r}; name one"
        )
    return axes[0]


def _count(axes: Sequence[Axis]) -> int:
    return math.prod([a.size for a in axes])


def _of_leaves(function: str, apply: Callable[[Any], Any], x: Any) -> Any:
    """`apply` to each leaf of a tree."""
    leaves, structure = tree.tree_flatten_with_path(x)
    arrays = arrays_of([leaf for _, leaf in leaves], lambda i: f"{function}: x{tree.keystr(leaves[i][0])}")
    return tree.tree_unflatten(structure, [apply(array) for array in arrays])


# ---------------------------------------------------------------------------------------------------------------------
# The example's index in an axis, an op without inputs; and how many there are.


def _index_in_trace(axis_name: Axis) -> Tracer:
    """No array decides to which trace an index belongs, so it is recorded here: in the innermost trace of types, which
    must have begun while the axis was bound. An axis of jax's lies outside of all traces, and has an index without one."""
    trace = context.trace
    if trace is None and axis_name.depth == OF_JAX:
        index = xla().execute(axis_index_op, (), {"axis_name": axis_name})
        return out_of_boxes(index)
    if trace is None or (axis_name not in trace.axes and axis_name.depth != OF_JAX):
        raise unbound(axis_name.name, "axis_index")
    index = Tracer(trace, None, user_source(), _INDEX)
    trace.record((axis_index_op, (), (), {"axis_name": axis_name}, index, (), None))
    return index


_INDEX = ArrayType((), np.dtype(np.int64))

axis_index_op = Op(
    "axis_index",
    evaluate=_index_in_trace,
    infer=lambda types, params: _INDEX,
    jvp=lambda primals, tangents, out, params: None,
    batch=lambda size, batched, inputs, params: bind(axis_index_op, (), params),
    collective=lambda size, batched, inputs, params: (np.arange(context.start, context.start + size), True),
    kinds="",
)


def axis_index(axis_name: AxisName) -> Array:
    """The example's index in a named axis, from 0: an int64 scalar. In a tuple of names the last counts fastest.

    Raises:
        NameError: no axis of this name is being mapped over.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import axis_index
    >>> tg.vmap(lambda x: x * axis_index("i"), axis_name="i")(np.array([1.0, 3.0, 5.0])).tolist()
    [0.0, 3.0, 10.0]
    """
    axes = _bound_axes(axis_name, "axis_index")
    index: Any = None
    for axis in axes:
        here = bind(axis_index_op, (), {"axis_name": axis})
        index = here if index is None else index * axis.size + here
    return np.int64(0) if index is None else index


def axis_size(axis_name: AxisName) -> int:
    """The number of examples in a named axis, a Python int; of a tuple of names, the product.

    Raises:
        NameError: no axis of this name is being mapped over.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import axis_size
    >>> tg.vmap(lambda x: x / axis_size("i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [0.5, 1.5]
    """
    return _count(_bound_axes(axis_name, "axis_size"))


def _applied(op: Op, x: Any, axis: Axis, **params: Any) -> Any:
    return bind(op, (x, bind(axis_index_op, (), {"axis_name": axis})), {"axis_name": axis, **params})


# ---------------------------------------------------------------------------------------------------------------------
# How the others are declared. Where an op brings examples and an array's axis together, that is axis 0.


def _out_of_place(x: Any, index: Any, axis_name: Axis, *, op: str, **params: Any) -> Any:
    """What an op with an index evaluates to where there is none: nothing."""
    raise unbound(axis_name.name, op)


def _of_all(name: str, rule: CollectiveRule) -> CollectiveRule:
    """A rule that needs all examples at once, with the error for being given some of them."""

    def collective(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> tuple[Any, bool]:
        axis = params["axis_name"]
        if size != axis.size:
            raise ShapeError(
                f"{name}{at(user_source())} over {axis.name!r} needs all {axis.size} examples at once, but vmap with "
                f"batch_size runs {size} at a time; leave batch_size out"
            )
        return rule(size, batched, inputs, params)

    return collective


def _linear(
    name: str,
    transpose: Callable[..., Any],
    collective: CollectiveRule,
    infer: TypeRule = unchanged,
    before: bool = False,
    after: bool = False,
) -> Op:
    """A linear collective. `before` and `after`: the input, the output has the examples on axis 0, so that the batch
    of another axis has to give way."""

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        x, index = inputs
        out = bind(op, (np.swapaxes(x, 0, 1) if before else x, index), params)
        return np.swapaxes(out, 0, 1) if after else out

    op = linear(
        name, partial(_out_of_place, op=name), transpose,
        infer=infer, batch=batch, linear=[{0}], kinds="", collective=_of_all(name, collective),
    )  # fmt: skip
    return op


# ---------------------------------------------------------------------------------------------------------------------
# Sums.


def _total(size: int, x: Any, batched: bool) -> Any:
    """The sum over all examples, of x's own dtype: as many times x, where all have the same."""
    t = type_of(x)
    if batched:
        total = np.sum(x, axis=0)
        return total if total.dtype == t.dtype else astype(total, t.dtype)
    if number_kind(t.dtype) in "iu" and not t.weak:
        return astype(np.multiply(astype(x, np.int64), size), t.dtype)  # which wraps around, as a sum does
    return x * size


psum_op: Op = _linear(
    "psum",
    lambda ct, x, index, **params: bind(psum_op, (ct, index), params),
    lambda size, batched, inputs, params: (_total(size, inputs[0], batched[0]), False),
)


def _sum_over(x: Any, axes: Sequence[Axis]) -> Any:
    t = type_of(x)
    if number_kind(t.dtype) == "b":
        x = int(x) if t.weak else astype(x, np.int64)
    for axis in axes:
        x = _applied(psum_op, x, axis) if type(x) is Tracer else _total(axis.size, x, False)
    return x


def psum(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> PyTree:
    """The sum over all examples of a named axis.

    Args:
        x: an array or a pytree of them. What does not depend on the axis is multiplied by its size: psum(1, "i") is
            the size, a Python int. Booleans are counted.
        axis_name: the name that a `vmap` around the call gives with `axis_name=`, or a tuple of such names.
        axis_index_groups: not supported.

    Returns:
        A pytree like `x`, of the same shapes and dtypes, and equal in all examples.

    Raises:
        NameError: no axis of this name is being mapped over.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import psum
    >>> tg.vmap(lambda x: x / psum(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [0.25, 0.75]
    """
    axes = _bound_axes(axis_name, "psum", axis_index_groups)
    return _of_leaves("psum", lambda leaf: _sum_over(leaf, axes), x)


def pmean(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> PyTree:
    """The mean over all examples of a named axis: `psum(x)` by the size. Arguments and errors as for `psum`.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pmean
    >>> tg.vmap(lambda x: x - pmean(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    axes = _bound_axes(axis_name, "pmean", axis_index_groups)

    def mean(leaf: Any) -> Any:
        mean = np.true_divide(_sum_over(widened(leaf), axes), _count(axes))
        return astype(mean, type_of(leaf).dtype) if is_narrow(type_of(leaf).dtype) else mean

    return _of_leaves("pmean", mean, x)


# ---------------------------------------------------------------------------------------------------------------------
# Extremes.


def _extreme_of_all(name: str, reduce: Callable[..., Any], loses: np.ufunc) -> Op:
    """The largest or smallest over the examples; equal ones share the derivative equally, as in a reduction."""

    def share(x: Any, index: Any, out: Any, params: Params) -> Any:
        """Each example's part in the extreme."""
        wins = astype(np.logical_not(loses(x, out)), type_of(widened(x)).dtype)
        return astype(wins / bind(psum_op, (wins, index), params), type_of(x).dtype)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        x, index = primals
        return bind(psum_op, (np.multiply(share(x, index, out, params), tangents[0]), index), params)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        x, index = primals
        return [np.multiply(share(x, index, out, params), bind(psum_op, (ct, index), params))]

    def collective(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> tuple[Any, bool]:
        return reduce(inputs[0], axis=0) if batched[0] else inputs[0], False

    op = Op(
        name, evaluate=partial(_out_of_place, op=name), infer=unchanged, jvp=jvp, vjp=vjp,
        batch=lambda size, batched, inputs, params: bind(op, tuple(inputs), params),
        collective=_of_all(name, collective), kinds="",
    )  # fmt: skip
    return op


pmax_op = _extreme_of_all("pmax", np.max, np.less)
pmin_op = _extreme_of_all("pmin", np.min, np.greater)


def _extreme_over(op: Op, x: Any, axes: Sequence[Axis]) -> Any:
    for axis in axes:
        x = _applied(op, x, axis) if type(x) is Tracer else x
    return x


def pmax(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> PyTree:
    """The largest over all examples of a named axis, elementwise. Arguments and errors as for `psum`. Equal largest
    ones share the derivative equally, as for `np.max` (jax has none for pmax).

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pmax
    >>> tg.vmap(lambda x: x - pmax(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [-2.0, 0.0]
    """
    axes = _bound_axes(axis_name, "pmax", axis_index_groups)
    return _of_leaves("pmax", lambda leaf: _extreme_over(pmax_op, leaf, axes), x)


def pmin(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> PyTree:
    """The smallest over all examples of a named axis, elementwise. See `pmax`.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pmin
    >>> tg.vmap(lambda x: x - pmin(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [0.0, 2.0]
    """
    axes = _bound_axes(axis_name, "pmin", axis_index_groups)
    return _of_leaves("pmin", lambda leaf: _extreme_over(pmin_op, leaf, axes), x)


# ---------------------------------------------------------------------------------------------------------------------
# All values in each example, and its transpose.


def _whole(size: int, batched: Sequence[bool], x: Any) -> Any:
    """All examples' values of x on axis 0."""
    return x if batched[0] else np.broadcast_to(x, (size, *type_of(x).shape))


def _gathered_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType((params["axis_name"].size, *types[0].shape), types[0].dtype)


all_gather_op: Op = _linear(
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
    axes = _bound_axes(axis_name, "all_gather", axis_index_groups)

    def gathered(leaf: Any) -> Any:
        shape = type_of(leaf).shape
        place = normalize_axis(axis, len(shape) + (not tiled), "all_gather")
        for named in reversed(axes):
            if type(leaf) is Tracer:
                leaf = _applied(all_gather_op, leaf, named)
            else:
                leaf = np.broadcast_to(leaf, (named.size, *type_of(leaf).shape))
        return _laid_out(np.reshape(leaf, (_count(axes), *shape)), place, tiled)

    return _of_leaves("all_gather", gathered, x)


def _scattered_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(types[0].shape[1:], types[0].dtype)


psum_scatter_op: Op = _linear(
    "psum_scatter",
    lambda ct, x, index, **params: bind(all_gather_op, (ct, index), params),
    lambda size, batched, inputs, params: (_total(size, inputs[0], batched[0]), True),
    _scattered_type,
    before=True,
)


def _portions(function: str, x: Any, axis: int, axes: Sequence[Axis], tiled: bool) -> Any:
    """x with as many portions as there are examples stacked along axis 0, that axis cut into one for each mapped axis."""
    t, count = type_of(x), _count(axes)
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
    axes = _bound_axes(axis_name, "psum_scatter", axis_index_groups)

    def scattered(leaf: Any) -> Any:
        leaf = _portions("psum_scatter", leaf, scatter_dimension, axes, tiled)
        for named in axes:
            leaf = _applied(psum_scatter_op, leaf, named)
        return leaf

    return _of_leaves("psum_scatter", scattered, x)


# ---------------------------------------------------------------------------------------------------------------------
# Portions exchanged.


all_to_all_op: Op = _linear(
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
    axes = _bound_axes(axis_name, "all_to_all", axis_index_groups)

    def exchanged(leaf: Any) -> Any:
        place = normalize_axis(concat_axis, type_of(leaf).ndim, "all_to_all")
        leaf = _portions("all_to_all", leaf, split_axis, axes, tiled)
        for i, named in enumerate(axes):
            leaf = np.moveaxis(_applied(all_to_all_op, np.moveaxis(leaf, i, 0), named), 0, i)
        return _laid_out(np.reshape(leaf, (_count(axes), *leaf.shape[len(axes) :])), place, tiled)

    return _of_leaves("all_to_all", exchanged, x)


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


ppermute_op: Op = _linear("ppermute", _backwards, _permuted)


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
    axis = _one_axis(axis_name, "ppermute")
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
    return _of_leaves("ppermute", lambda leaf: _applied(ppermute_op, leaf, axis, perm=pairs), x)


def pshuffle(x: Any, axis_name: AxisName, perm: Sequence[int]) -> PyTree:
    """The values of a named axis' examples in another order: example i gets that of example `perm[i]`.

    Raises:
        NameError: no axis of this name is being mapped over. ValueError: perm does not name each example once.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pshuffle
    >>> tg.vmap(lambda x: pshuffle(x, "i", [2, 0, 1]), axis_name="i")(np.array([1.0, 3.0, 5.0])).tolist()
    [5.0, 1.0, 3.0]
    """
    axis = _one_axis(axis_name, "pshuffle")
    if sorted(perm) != list(range(axis.size)):
        raise ValueError(
            f"pshuffle{at(user_source())}: perm must name each of the {axis.size} examples of {axis.name!r} once, got "
            f"{perm!r}"
        )
    return ppermute(x, axis_name, list(zip(perm, range(axis.size), strict=True)))


__all__ = [
    "all_gather", "all_to_all", "axis_index", "axis_size", "pmax", "pmean", "pmin", "ppermute", "pshuffle", "psum",
    "psum_scatter", "pswapaxes",
]  # fmt: skip
