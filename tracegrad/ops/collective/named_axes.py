"""Named axes, an example's index in one, how many there are, and how collectives over them are declared. A public function is over
one of them or several, an op over one."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import OF_JAX, Axis, lookup, unbound
from tracegrad.core.backends import xla
from tracegrad.core.boxes import out_of_boxes
from tracegrad.core.context import context, sizing
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.op import CollectiveRule, Op, Params, TypeRule
from tracegrad.core.sizes import let_out
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import ArrayType
from tracegrad.ops.families import linear
from tracegrad.ops.structural import unchanged
from tracegrad.typing import Array

AxisName = Hashable | Sequence[Hashable]  # a name, or several


def bound_axes(axis_name: AxisName, function: str, groups: Any = None) -> list[Axis]:
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


def one_axis(axis_name: AxisName, function: str) -> Axis:
    axes = bound_axes(axis_name, function)
    if len(axes) != 1:
        raise ValueError(
            f"{function}{at(user_source())} permutes the examples of one axis, got the names {axis_name!r}; name one"
        )
    return axes[0]


def example_count(axes: Sequence[Axis]) -> int:
    return math.prod([a.size for a in axes])


def of_leaves(function: str, apply: Callable[[Any], Any], x: Any) -> Any:
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
    axes = bound_axes(axis_name, "axis_index")
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
    found = example_count(bound_axes(axis_name, "axis_size"))
    if sizing:
        let_out([(found,)])
    return found


def applied(op: Op, x: Any, axis: Axis, **params: Any) -> Any:
    return bind(op, (x, bind(axis_index_op, (), {"axis_name": axis})), {"axis_name": axis, **params})


# ---------------------------------------------------------------------------------------------------------------------
# How the others are declared. Where an op brings examples and an array's axis together, that is axis 0.


def out_of_place(x: Any, index: Any, axis_name: Axis, *, op: str, **params: Any) -> Any:
    """What an op with an index evaluates to where there is none: nothing."""
    raise unbound(axis_name.name, op)


def of_all_examples(name: str, rule: CollectiveRule) -> CollectiveRule:
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


def linear_collective(
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
        name, partial(out_of_place, op=name), transpose,
        infer=infer, batch=batch, linear=[{0}], kinds="", collective=of_all_examples(name, collective),
    )  # fmt: skip
    return op
