"""The batching interpreter: a Graph of one example, run on whole batches. Batches lie on axis 0 throughout, which on
NumPy costs only views."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.errors import ShapeError, at, described, replay, require_callable, user_source
from tracegrad.graph import Graph, apply_op, interpret, trace_graph
from tracegrad.op import Op, Params
from tracegrad.trace import arrays_of, named_after, output_name, parameter_name
from tracegrad.types import ArrayType, float0, type_of


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
            return apply_op(op, plain, params)
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


def own_arrays(results: list[Any], like: Sequence[Any] = (), given: Sequence[Any] = ()) -> list[Any]:
    """Results as the caller gets them: arrays that are the caller's own, writeable and sharing memory neither with each
    other nor with what was given. For None, in a derivative, a zero of the type of what is in its place in `like`."""
    seen = set(map(id, given))
    for i, r in enumerate(results):
        if type(r) is np.ndarray:
            if r.base is not None or id(r) in seen or not r.flags.writeable:
                results[i] = r.copy()
            seen.add(id(r))
        elif r is None:
            found = type_of(like[i])
            results[i] = np.zeros(found.shape, found.dtype if found.dtype.kind in "fc" else float0)[()]
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
    require_callable(fun, "vmap")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    parameter = functools.cache(lambda position: parameter_name(fun, position))

    def mapped(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ShapeError(
                f"vmap{at(user_source())}: in_axes has {len(in_axes)} entr{'y' if len(in_axes) == 1 else 'ies'}, but "
                f"{described(fun)} got {len(args)} positional argument{'s' * (len(args) != 1)}; give one for each "
                "(None: "
                "not mapped)"
            )
        found, in_tree = tree.tree_flatten_with_path((args, kwargs))

        def name(leaf: int) -> str:
            kind, first, *rest = found[leaf][0]
            return (first.key if kind.idx else parameter(first.idx)) + tree.keystr(tuple(rest))

        leaves = arrays_of([x for _, x in found], name)
        axes = _axes("in_axes", in_axes, tree.tree_structure(args), lambda i: f"argument {name(i)}")
        axes += [0] * (len(leaves) - len(axes))
        size = None
        fronted, types = [], []
        for i, (x, axis) in enumerate(zip(leaves, axes, strict=True)):
            if axis is None:
                fronted.append(x)
                types.append(type_of(x))
                continue
            shape = type_of(x).shape
            if not -len(shape) <= axis < len(shape):
                raise ShapeError(
                    f"vmap{at(user_source())}: in_axes asks for axis {axis} of argument {name(i)}, which is "
                    f"{type_of(x)}; "
                    "give an axis that it has, or None to hand the whole to every example"
                )
            if size is None:
                size, first = shape[axis], i
            elif shape[axis] != size:
                raise ShapeError(
                    f"vmap{at(user_source())}: the mapped axes differ in size: axis {axes[first]} of argument "
                    f"{name(first)} has {size} ({type_of(leaves[first])}), axis {axis} of argument {name(i)} has "
                    f"{shape[axis]} ({type_of(x)}); choose the axes with in_axes, None where every example gets the "
                    "whole"
                )
            fronted.append(np.moveaxis(x, axis, 0))
            types.append(ArrayType((*shape[: axis % len(shape)], *shape[axis % len(shape) + 1 :]), x.dtype))
        if size is None:
            raise ShapeError(
                f"vmap{at(user_source())}: no argument of {described(fun)} is mapped ("
                f"{f'in_axes={in_axes!r}' if leaves else 'there are no arrays among them'}); map at least one"
            )
        out_tree: Any = None

        def flat(*tracers: Any) -> list[Any]:
            nonlocal out_tree
            call_args, call_kwargs = tree.tree_unflatten(in_tree, tracers)
            out = fun(*call_args, **call_kwargs)
            outputs, out_tree = tree.tree_flatten(out)
            return arrays_of(outputs, lambda i: output_name(fun, out, i))

        graph = trace_graph(flat, types, transform="vmap", user_function=fun, names=name)
        results = batch_graph(graph, size, fronted, [a is not None for a in axes])
        skeleton = tree.tree_unflatten(out_tree, results)

        def out_name(leaf: int) -> str:
            return output_name(fun, skeleton, leaf)

        targets = _axes("out_axes", out_axes, out_tree, out_name)
        placed = []
        for i, (r, axis) in enumerate(zip(results, targets, strict=True)):
            if axis is None:
                if type(r) is Batched:
                    raise ShapeError(
                        f"vmap{at(user_source())}: out_axes is None for {out_name(i)}, which depends on a mapped "
                        "argument; "
                        "give the axis that the examples go to"
                    )
                placed.append(r)
                continue
            r = with_batch(r, size)
            ndim = len(r.shape)
            if not -ndim <= axis < ndim:
                raise ShapeError(
                    f"vmap{at(user_source())}: out_axes asks for axis {axis} of {out_name(i)}, which has {ndim} axes "
                    "with "
                    "that of the examples"
                )
            placed.append(np.moveaxis(r, 0, axis))
        return tree.tree_unflatten(out_tree, own_arrays(placed, given=leaves))

    return named_after(mapped, fun, "vmap")


def _axes(name: str, axes: Any, structure: tree.PyTreeDef, leaf: Callable[[int], str]) -> list[int | None]:
    """`in_axes` or `out_axes`, one for each leaf of the arguments or outputs."""
    try:
        found = tree.flatten_axes(name, structure, axes)
    except ValueError as error:
        raise ShapeError(f"vmap{at(user_source())}: {error}") from None
    for i, axis in enumerate(found):
        if axis is not None and type(axis) is not int:
            try:
                found[i] = operator.index(axis)
            except TypeError:
                raise TypeError(
                    f"vmap{at(user_source())}: {name} holds ints and None, got {axis!r} for {leaf(i)}"
                ) from None
    return found
