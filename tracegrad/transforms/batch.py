"""The batching interpreter: a Graph of one example, run on whole batches. Batches lie on axis 0 throughout, which on
NumPy costs only views."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import Axis, entered
from tracegrad.core.boxes import accepting_jax, is_boxed, unboxed
from tracegrad.core.context import context
from tracegrad.core.errors import ShapeError, at, described, require_callable, user_source
from tracegrad.core.graph import Eqn, Graph, axes_of, evaluate, interpret
from tracegrad.core.memory import compact
from tracegrad.core.names import named_after, output_name, parameter_name
from tracegrad.core.op import Op, Params
from tracegrad.core.trace import Tracer, bind, lifted
from tracegrad.core.tracing import arrays_of, traced
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, float0, is_inexact, type_of
from tracegrad.core.views import own
from tracegrad.ops.structural import to_xla_op


class Batched:
    """A value whose axis 0 is the batch. It is `weak` if each example is a Python scalar, whose dtype yields to an array's."""

    __slots__ = ("value", "weak")

    def __init__(self, value: Any, weak: bool = False) -> None:
        self.value = value
        self.weak = weak


class Placed:
    """An output that is made where the caller will have it: its batch lies along the axis that `out_axes` asks for."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def batch_graph(graph: Graph, size: int, inputs: Sequence[Any], batched: Sequence[bool]) -> list[Any]:
    """Evaluate a graph on inputs of which some are batched (axis 0). Outputs are `Batched` where they depend on those, or
    on the place in the axis that is being batched (`context.batching`)."""
    axis = context.batching

    def apply(eqn: Eqn, values: tuple[Any, ...]) -> Any:
        op, params = eqn.op, eqn.params
        flags = [type(v) is Batched for v in values]
        plain = tuple([v.value if type(v) is Batched else v for v in values])
        if axis is not None and op.collective is not None and params["axis_name"] == axis:
            out, carries = op.collective(size, flags, plain, params)
            return Batched(out) if carries else out
        if not any(flags) and (axis is None or axis not in axes_of(params)):
            return bind(op, plain, params)
        if op.batch is None:
            raise NotImplementedError(f"{op.name}{at(eqn.raw_source)} has no batching rule; give its Op record one")
        has_weak = any([type(v) is Batched and v.weak for v in values])
        if has_weak:
            plain = _yielding(op, plain, [_type_of_example(v) for v in values], params)
        out = op.batch(size, flags, plain, params)
        if op.several:
            return tuple([Batched(o) for o in out])
        if not has_weak and (op.python is None or out.ndim != 1):
            return Batched(out)
        found: Any = op.infer([_type_of_example(v) for v in values], params)
        return Batched(out if out.dtype == found.dtype else np.astype(out, found.dtype), found.weak)

    pairs = zip(graph.inputs, inputs, batched, strict=True)
    return interpret(graph, [Batched(x, v.type.weak) if b else x for v, x, b in pairs], apply)


def _type_of_example(x: Any) -> ArrayType:
    if type(x) is not Batched:
        return type_of(x)
    found = type_of(x.value)
    return ArrayType(found.shape[1:], found.dtype, x.weak)


def _yielding(op: Op, values: tuple[Any, ...], types: Sequence[ArrayType], params: Params) -> tuple[Any, ...]:
    """Batches of Python scalars in the dtypes that these have where the op is applied to one example after the other."""
    if not op.elementwise:
        return values
    if isinstance(op.evaluate, np.ufunc):
        dtypes = op.computed_in(types, op.infer(types, params))
    else:
        dtypes = [np.result_type(*[t.weight for t in types])] * len(types)
    return tuple(
        [
            x if type(x) in PYTHON_SCALARS or not t.weak or x.dtype == d else np.astype(x, d)
            for x, t, d in zip(values, types, dtypes, strict=True)
        ]
    )


def without_shared(
    graph: Graph, inputs: Sequence[Any], batched: Sequence[bool]
) -> tuple[Graph, list[Any], tuple[bool, ...]]:
    """The graph without what all examples share, which is evaluated here, with inputs and flags that go with it."""
    axis = context.batching
    varies = {v for v, b in zip(graph.inputs, batched, strict=True) if b}
    shared, own = [], []
    for eqn in graph.eqns:
        if varies.isdisjoint(eqn.inputs) and (axis is None or axis not in axes_of(eqn.params)):
            shared.append(eqn)
        else:
            own.append(eqn)
            varies.update(eqn.outputs)
    if not shared:
        return graph, list(inputs), tuple(batched)
    made = {v for eqn in shared for v in eqn.outputs}
    read = {a for eqn in own for a in eqn.inputs}.union(graph.outputs)
    kept = tuple([v for v in made if v in read])
    values = evaluate(Graph(graph.inputs, tuple(shared), kept, graph.consts, graph.name), inputs)
    rest = Graph((*graph.inputs, *kept), tuple(own), graph.outputs, graph.consts, graph.name)
    return rest, [*inputs, *values], (*batched, *[False] * len(kept))


def batch_in_chunks(
    graph: Graph, size: int, chunk: int, inputs: Sequence[Any], batched: Sequence[bool], targets: Sequence[int | None]
) -> list[Any]:
    """`batch_graph` on `chunk` examples at a time, each chunk's results written where they belong in the whole: no more
    is ever alive than one chunk needs. `targets` are the axes along which the batch will lie in the outputs, which are
    made that way (`Placed`). Results that are traced are joined at the end instead."""
    graph, inputs, batched = without_shared(graph, inputs, batched)
    wholes: list[Any] = [None] * len(graph.outputs)
    parts: list[list[Any]] = [[] for _ in graph.outputs]
    starts = range(0, size, chunk)
    sizes = [min(chunk, size - start) for start in starts]
    # A tracer is cut by one op, whose derivative joins the parts again: slices would each be padded to the whole.
    cut: list[Any] = [
        np.split(x, list(starts)[1:]) if b and type(x) is Tracer else None for x, b in zip(inputs, batched, strict=True)
    ]
    for number, (start, count) in enumerate(zip(starts, sizes, strict=True)):
        rows = [
            x if not b else x[start : start + count] if c is None else c[number]
            for x, b, c in zip(inputs, batched, cut, strict=True)
        ]
        with entered(context.bound, context.batching, start):
            results = batch_graph(graph, count, rows, batched)
        for i, r in enumerate(results):
            target = targets[i]
            if type(r) is not Batched or target is None:
                wholes[i] = r
            elif type(r.value) is Tracer:
                parts[i].append(r.value)
            else:
                axis = target % r.value.ndim
                if number == 0:
                    shape = r.value.shape[1:]
                    wholes[i] = Placed(np.empty((*shape[:axis], size, *shape[axis:]), r.value.dtype))
                np.moveaxis(wholes[i].value, axis, 0)[start : start + count] = r.value
    return [Batched(np.concatenate(p)) if p else w for p, w in zip(parts, wholes, strict=True)]


def with_batch(x: Any, size: int) -> Any:
    """An output of `batch_graph` with the batch axis in front, repeated where it does not depend on the batch."""
    if type(x) is Batched:
        return x.value
    return np.broadcast_to(x, (size, *type_of(x).shape))


def own_arrays(results: list[Any], like: Sequence[Any] = (), given: Sequence[Any] = ()) -> list[Any]:
    """Results as the caller gets them: arrays that are the caller's own, writeable and sharing memory neither with each
    other nor with what was given. For None, in a derivative, a zero of the type of what is in its place in `like`."""
    seen = set(map(id, given))
    in_boxes = context.boxes > 0
    if context.trace is not None:
        results = [lifted(r, (*like, *given)) if type(r) is np.ndarray else r for r in results]
    for i, r in enumerate(results):
        if type(r) is np.ndarray:
            if r.base is not None or id(r) in seen or not r.flags.writeable:
                results[i] = compact(r)
            seen.add(id(r))
            if in_boxes and like and type(like[i]) is Tracer and is_boxed(like[i].value):
                results[i] = bind(to_xla_op, (r,))  # a derivative that depends on no value is NumPy's
        elif type(r) is Tracer:
            if id(r) in seen:
                results[i] = own(r)
            seen.add(id(r))
            if not in_boxes:
                results[i] = unboxed(results[i])
        elif r is None:
            found = type_of(like[i])
            results[i] = np.zeros(found.shape, found.dtype if is_inexact(found.dtype) else float0)[()]
    return results


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    batch_size: int | None = None,
) -> Callable[..., Any]:
    """A function that maps `fun` over an axis of its arguments, as whole-array operations.

    Args:
        fun: a function of arrays and pytrees of them, written for one example.
        in_axes: the axis of each argument that is mapped: an int for all, or a tuple with one entry for each argument,
            each an int, None (not mapped: every example gets the whole) or a pytree of these that is a prefix of the
            argument. Negative axes count from the back. Keyword arguments are mapped over axis 0.
        out_axes: where the mapped axis goes in the outputs: an int or a pytree prefix of the output.
        axis_name: a name for the mapped axis, by which collectives (`psum`, `axis_index`, ...) in `fun` speak of it.
        axis_size: the number of examples. Needed only where no argument is mapped.
        batch_size: run so many examples at a time, the last time what is left. The function is traced once all the
            same. Memory for what `fun` computes on the way is then that of `batch_size` examples, outputs aside.
            Under `grad` all examples' residuals are kept, in chunks or not; under `jit` the program has one part for
            each chunk. Of the collectives only `axis_index` and
            `axis_size` can then be had.

    Returns:
        A function whose arguments and results have one more axis than those of `fun`.

    Raises:
        ShapeError: mapped axes of different sizes, or none at all.

    >>> import numpy as np, tracegrad as tg
    >>> tg.vmap(np.dot)(np.ones((4, 3)), np.ones((4, 3))).tolist()
    [3.0, 3.0, 3.0, 3.0]
    >>> tg.vmap(np.linalg.inv, batch_size=2)(np.full((3, 1, 1), 0.5)).ravel().tolist()
    [2.0, 2.0, 2.0]
    """
    require_callable(fun, "vmap")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    declared_size = _size_option("axis_size", axis_size, 0)
    chunk = _size_option("batch_size", batch_size, 1)
    if axis_name is not None:
        _require_name(axis_name)
    parameter = functools.cache(lambda position: parameter_name(fun, position))

    def mapped(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ShapeError(
                f"vmap{at(user_source())}: in_axes has {len(in_axes)} entr{'y' if len(in_axes) == 1 else 'ies'}, but "
                f"{described(fun)} got {len(args)} positional argument{'s' * (len(args) != 1)}; give one for each "
                "(None: not mapped)"
            )
        found, in_tree = tree.tree_flatten_with_path((args, kwargs))

        def name(leaf: int) -> str:
            kind, first, *rest = found[leaf][0]
            return (first.key if kind.idx else parameter(first.idx)) + tree.keystr(tuple(rest))

        leaves = arrays_of([x for _, x in found], name)
        axes = _axes("in_axes", in_axes, tree.tree_structure(args), lambda i: f"argument {name(i)}")
        axes += [0] * (len(leaves) - len(axes))
        fronted, types, size = _fronted(leaves, axes, declared_size, name)
        if size is None:
            raise ShapeError(
                f"vmap{at(user_source())}: no argument of {described(fun)} is mapped ("
                f"{f'in_axes={in_axes!r}' if leaves else 'there are no arrays among them'}); map at least one, or say "
                "with axis_size= how many examples there are"
            )

        def call(*tracers: Any) -> Any:
            call_args, call_kwargs = tree.tree_unflatten(in_tree, tracers)
            return fun(*call_args, **call_kwargs)

        outer = context.bound
        axis = None if axis_name is None else Axis(axis_name, size, len(outer))
        bound = outer if axis is None else (*outer, axis)
        with entered(bound):
            graph, out_tree = traced(fun, call, types, transform="vmap", names=name, abstract=True)
        skeleton = tree.tree_unflatten(out_tree, list(range(out_tree.num_leaves)))

        def out_name(leaf: int) -> str:
            return output_name(fun, skeleton, leaf)

        targets = _axes("out_axes", out_axes, out_tree, out_name)
        for i, (t, target) in enumerate(zip(graph.out_types, targets, strict=True)):
            if target is not None and not -t.ndim - 1 <= target <= t.ndim:
                raise ShapeError(
                    f"vmap{at(user_source())}: out_axes asks for axis {target} of {out_name(i)}, which has "
                    f"{t.ndim + 1} axes with that of the examples"
                )
        flags = [a is not None for a in axes]
        with entered(bound, axis):
            if chunk is None or chunk >= size:
                results = batch_graph(graph, size, fronted, flags)
            else:
                results = batch_in_chunks(graph, size, chunk, fronted, flags, targets)
        placed = []
        for i, (r, target) in enumerate(zip(results, targets, strict=True)):
            if type(r) is Placed:
                placed.append(r.value)
            elif target is not None:
                whole = with_batch(r, size)
                placed.append(np.moveaxis(whole, 0, target) if target else whole)
            elif type(r) is not Batched:
                placed.append(r)
            else:
                raise ShapeError(
                    f"vmap{at(user_source())}: out_axes is None for {out_name(i)}, which depends on a mapped "
                    f"argument{'' if axis is None else f' or the index in {axis_name!r}'}; give the axis that the "
                    "examples go to"
                )
        return tree.tree_unflatten(out_tree, own_arrays(placed, given=[*leaves, *graph.consts.values()]))

    return named_after(accepting_jax(mapped), fun, "vmap")


def _fronted(
    leaves: Sequence[Any], axes: Sequence[int | None], size: int | None, name: Callable[[int], str]
) -> tuple[list[Any], list[ArrayType], int | None]:
    """The leaves with mapped axes in front, their types without those, and the axes' common size."""
    fronted, types = [], []
    first = None  # the leaf that `size` is from; None: it was declared
    for i, (x, axis) in enumerate(zip(leaves, axes, strict=True)):
        if axis is None:
            fronted.append(x)
            types.append(type_of(x))
            continue
        shape = type_of(x).shape
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(
                f"vmap{at(user_source())}: in_axes asks for axis {axis} of argument {name(i)}, which is "
                f"{type_of(x)}; give an axis that it has, or None to hand the whole to every example"
            )
        if size is None:
            size, first = shape[axis], i
        elif shape[axis] != size:
            there = f"axis {axis} of argument {name(i)} has {shape[axis]} ({type_of(x)})"
            if first is None:
                raise ShapeError(
                    f"vmap{at(user_source())}: axis_size is {size}, but {there}; leave axis_size out, or choose the "
                    "axes with in_axes, None where every example gets the whole"
                )
            raise ShapeError(
                f"vmap{at(user_source())}: the mapped axes differ in size: axis {axes[first]} of argument "
                f"{name(first)} has {size} ({type_of(leaves[first])}), {there}; choose the axes with in_axes, None "
                "where every example gets the whole"
            )
        fronted.append(np.moveaxis(x, axis, 0))
        types.append(ArrayType((*shape[: axis % len(shape)], *shape[axis % len(shape) + 1 :]), x.dtype))
    return fronted, types, size


def _size_option(option: str, value: Any, least: int) -> int | None:
    """`axis_size` or `batch_size`, None where it was not given."""
    if value is None:
        return None
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(
            f"vmap{at(user_source())}: {option} must be an int, a number of examples, got {value!r}"
        ) from None
    if size < least:
        raise ValueError(f"vmap{at(user_source())}: {option} must be at least {least}, got {size}")
    return size


def _require_name(name: Any) -> None:
    try:
        hash(name)
    except TypeError:
        pass
    else:
        if not isinstance(name, tuple):  # which collectives take as several names
            return
    raise TypeError(f"vmap{at(user_source())}: axis_name must be one hashable name, such as 'batch', got {name!r}")


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
