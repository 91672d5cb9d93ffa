"""The batching interpreter: a Graph of one example, run on whole batches. Batches lie on axis 0 throughout, which on
NumPy costs only views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.errors import ShapeError, at, described, replay, user_source
from tracegrad.graph import Graph, interpret, trace_graph
from tracegrad.op import Op, Params
from tracegrad.trace import as_array, bind
from tracegrad.types import ArrayType, type_of


class Batched:
    """A value whose axis 0 is the batch."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def batch_graph(graph: Graph, size: int, inputs: Sequence[Any], batched: Sequence[bool]) -> list[Any]:
    """Evaluate a graph on inputs of which some are batched (axis 0). Outputs are `Batched` where they depend on those."""

    def apply(op: Op, values: tuple[Any, ...], params: Params) -> Any:
        flags = [type(v) is Batched for v in values]
        plain = tuple([v.value if type(v) is Batched else v for v in values])
        if not any(flags):
            return bind(op, plain, params)
        if op.batch is None:
            raise NotImplementedError(f"{op.name}{at(replay.source)} has no batching rule; give its Op record one")
        out = op.batch(size, flags, plain, params)
        return tuple([Batched(o) for o in out]) if op.several else Batched(out)

    return interpret(graph, [Batched(x) if b else x for x, b in zip(inputs, batched, strict=True)], apply)


def with_batch(x: Any, size: int) -> Any:
    """An output of `batch_graph` with the batch axis in front, repeated where it does not depend on the batch."""
    if type(x) is Batched:
        return x.value
    return np.broadcast_to(x, (size, *type_of(x).shape))


def own_arrays(results: list[Any], given: Sequence[Any] = ()) -> list[Any]:
    """Results as the caller gets them: arrays that are the caller's own, writeable and sharing memory neither with each
    other nor with what was given."""
    seen = {id(g) for g in given} if given else set()
    for i, r in enumerate(results):
        if type(r) is np.ndarray:
            if r.base is not None or id(r) in seen or not r.flags.writeable:
                results[i] = r = r.copy()
            seen.add(id(r))
    return results


def vmap(fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """A function that maps `fun` over an axis of its arguments, as whole-array operations.

    Args:
        fun: a function of arrays and pytrees of them, written for one example.
        in_axes: the axis of each argument that is mapped: an int for all, or a tuple with one entry for each argument,
            each an int, None (not mapped: every example gets the whole) or a pytree of these that is a prefix of the
            argument. Negative axes count from the back. Keyword arguments are mapped over axis 0.
        out_axes: where the mapped axis goes in the outputs: an int or a pytree prefix of the output.

    Returns:
        A function whose arguments and results have one more axis than those of `fun`.

    Raises:
        ShapeError: mapped axes of different sizes, or none at all.

    >>> import numpy as np, tracegrad as tg
    >>> tg.vmap(np.dot)(np.ones((4, 3)), np.ones((4, 3))).tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)

    def mapped(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ShapeError(
                f"vmap: in_axes has {len(in_axes)} entries, but {described(fun)} got {len(args)} arguments"
            )
        found, in_tree = tree.tree_flatten_with_path((args, kwargs))
        leaves = [as_array(x) for _, x in found]
        names = [tree.keystr(path[1:]) for path, _ in found]
        axes = tree.broadcast_prefix((in_axes, 0), (args, kwargs), is_leaf=lambda x: x is None)
        size = None
        fronted, types = [], []
        for x, axis, name in zip(leaves, axes, names, strict=True):
            if axis is None:
                fronted.append(x)
                types.append(type_of(x))
                continue
            shape = type_of(x).shape
            if not -len(shape) <= axis < len(shape):
                raise ShapeError(f"vmap: in_axes asks for axis {axis} of argument {name}, which is {type_of(x)}")
            if size is None:
                size, first = shape[axis], name
            elif shape[axis] != size:
                raise ShapeError(
                    f"vmap{at(user_source())}: the mapped axes differ in size: {size} for argument {first}, "
                    f"{shape[axis]} for axis {axis} of argument {name}, which is {type_of(x)}"
                )
            fronted.append(np.moveaxis(x, axis, 0))
            types.append(ArrayType((*shape[: axis % len(shape)], *shape[axis % len(shape) + 1 :]), x.dtype))
        if size is None:
            raise ShapeError("vmap: no argument is mapped (in_axes has only None); map at least one")
        out_tree: Any = None

        def flat(*tracers: Any) -> list[Any]:
            nonlocal out_tree
            call_args, call_kwargs = tree.tree_unflatten(in_tree, tracers)
            outputs, out_tree = tree.tree_flatten(fun(*call_args, **call_kwargs))
            return [as_array(o) for o in outputs]

        graph = trace_graph(
            flat, types, transform="vmap", user_function=fun, names=[f"args{n}" for n in names].__getitem__
        )
        results = batch_graph(graph, size, fronted, [a is not None for a in axes])
        skeleton = tree.tree_unflatten(out_tree, results)
        targets = tree.broadcast_prefix(out_axes, skeleton, is_leaf=lambda x: x is None)
        placed = []
        for r, axis in zip(results, targets, strict=True):
            if axis is None:
                if type(r) is Batched:
                    raise ShapeError("vmap: out_axes is None for an output that depends on a mapped argument")
                placed.append(r)
            else:
                placed.append(np.moveaxis(with_batch(r, size), 0, axis))
        return tree.tree_unflatten(out_tree, own_arrays(placed, leaves))

    mapped.__name__ = f"vmap({getattr(fun, '__name__', 'f')})"
    mapped.__doc__ = getattr(fun, "__doc__", None)
    return mapped
