"""The batching interpreter: a Graph of one example, run on whole batches. Batches lie on axis 0 throughout, which on
NumPy costs only views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.axes import within
from tracegrad.core.boxes import is_boxed, unboxed
from tracegrad.core.context import context
from tracegrad.core.errors import at
from tracegrad.core.graph import Eqn, Graph, axes_of, evaluate, interpret
from tracegrad.core.memory import compact
from tracegrad.core.op import Op, Params
from tracegrad.core.programs import lifted
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, float0, is_inexact, type_of
from tracegrad.core.views import own
from tracegrad.ops.structural import to_xla_op


class Batched:
    """A value whose axis 0 is the batch. It is `weak` if each example is a Python scalar, whose dtype yields to an array's."""

    __slots__ = ("value", "weak")

    def __init__(self, value: Any, weak: bool = False) -> None:
        self.value = value
        self.weak = weak


class Shared:
    """What a batching rule of several outputs gives for one that all examples share, as it is for one of them."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def rows_or_shared(results: Sequence[Any], batched: Sequence[bool]) -> tuple[Any, ...]:
    """Outputs as a batching rule gives them."""
    return tuple([r if b else Shared(r) for r, b in zip(results, batched, strict=True)])


class Whole:
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
        if op.multiple_results:
            return tuple([o.value if type(o) is Shared else Batched(o) for o in out])
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
    made that way (`Whole`). Results that are traced are joined at the end instead."""
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
        results = within(context.bound, context.batching, start, batch_graph, graph, count, rows, batched)
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
                    wholes[i] = Whole(np.empty((*shape[:axis], size, *shape[axis:]), r.value.dtype))
                np.moveaxis(wholes[i].value, axis, 0)[start : start + count] = r.value
    return [Batched(np.concatenate(p)) if p else w for p, w in zip(parts, wholes, strict=True)]


def batched_types(graph: Graph, size: int, batched: Sequence[bool]) -> list[ArrayType]:
    """The types of a Graph's inputs, where some of them carry a batch in front."""
    return [ArrayType((size, *t.shape), t.dtype) if b else t for t, b in zip(graph.in_types, batched, strict=True)]


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
