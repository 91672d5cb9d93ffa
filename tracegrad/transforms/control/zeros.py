"""Graphs of derivatives without what is structurally zero.

A reverse derivative is cut once, for cotangents of all outputs. Where some of them are zero, `without` makes the Graph that is
left: the pass runs it on what is not zero, with `Zero`s in the place of the rest. An op that is linear in zeros alone gives
zeros (`Op.linear`); one that is linear in zeros and other inputs together, as a sum is, is what its forward rule makes of
these with no tangent in the place of a zero; any other gets an array of zeros. So the result is right for every Graph, and
small for one that is linear. What it still reads of the other inputs is a part of what the whole Graph reads, by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import context
from tracegrad.core.graph import Eqn, Graph, interpret, remembered, replace
from tracegrad.core.op import OPS, Op, Params
from tracegrad.core.trace import bind, strengthened
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.lower.passes import simplify
from tracegrad.ops.masks import Masked, filled
from tracegrad.transforms.linear import pushed, zeros_like_type


class Zero:
    """An array of zeros that is not there. One that the Graph itself writes down counts only beside another."""

    __slots__ = ("type", "written")

    def __init__(self, type: ArrayType, written: bool = False) -> None:
        self.type = type
        self.written = written


class Nonzero(NamedTuple):
    """A Graph without what is zero where some of its inputs are; which inputs it has of those of the whole, and which of the
    outputs. The others are zero."""

    graph: Graph
    left: tuple[int, ...]
    found: tuple[int, ...]


def without(graph: Graph, zeros: Sequence[int], inputs: Sequence[int] = (), outputs: Sequence[int] = ()) -> Nonzero:
    """The Graph for zeros in the place of the inputs at these positions. `inputs` and `outputs` it has in any case."""
    if not zeros:
        return Nonzero(graph, tuple(range(len(graph.inputs))), tuple(range(len(graph.outputs))))
    key = "without", tuple(zeros), tuple(inputs), tuple(outputs)
    return remembered(graph, key, lambda: _without(graph, zeros, inputs, outputs))


def _without(graph: Graph, zeros: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> Nonzero:
    missing = set(zeros)
    given = [i for i in range(len(graph.inputs)) if i not in missing]
    found: list[int] = []

    def nonzero(*arrays: Any) -> list[Any]:
        values: list[Any] = [Zero(t) for t in graph.in_types]
        for i, x in zip(given, arrays, strict=True):
            values[i] = x
        results = interpret(graph, values, _applied)
        found.extend([i for i, r in enumerate(results) if type(r) is not Zero or i in outputs])
        return [_array(results[i]) for i in found]

    types = [graph.in_types[i] for i in given]
    names = [graph.inputs[i].name or f"input {i}" for i in given]
    traced = trace_graph(nonzero, types, transform="vjp", user_function=graph, names=names.__getitem__, abstract=True)
    traced = simplify(replace(traced, name=graph.name))
    read = {a for e in traced.eqns for a in e.inputs}.union(traced.outputs)
    # An axis is tied by an input that nothing reads.
    left = {i: v for i, v in zip(given, traced.inputs, strict=True) if v in read or i in inputs or traced.axes}
    return Nonzero(replace(traced, inputs=tuple(left.values())), tuple(left), tuple(found))


def _applied(eqn: Eqn, inputs: tuple[Any, ...]) -> Any:
    op, params = eqn.op, eqn.params
    missing = {i for i, x in enumerate(inputs) if type(x) is Zero and not x.written}
    heeds_masks = op.masked is not None or op.nonnegative
    masked = {i for i, x in enumerate(inputs) if type(x) is Masked} if heeds_masks else set()
    zeros = missing | {i for i, x in enumerate(inputs) if _is_zero(x)}
    types = [v.type for v in eqn.outputs]
    if not missing and not masked:
        if op.broadcasts and zeros:
            return Zero(types[0], written=True)
        return bind(op, tuple(map(_array, inputs)), params)
    if op.held is not None and op.held.without is not None:
        given = [None if i in zeros and is_inexact(a.type.dtype) else filled(x)
                 for i, (x, a) in enumerate(zip(inputs, eqn.inputs, strict=True))]  # fmt: skip
        results = call_nonzero(op, given, params, [a.type for a in eqn.inputs], len(types), _array_of)
        return tuple([Zero(t) if r is None else r for r, t in zip(results, types, strict=True)])
    groups = [group.intersection(range(len(inputs))) for group in op.linear]
    if missing and op.is_linear_by_params(missing, params):
        groups.append(frozenset(missing))
    if any([group & missing and group <= zeros for group in groups]):
        return tuple(map(Zero, types)) if op.multiple_results else Zero(types[0])
    group = next((group for group in groups if group & (missing | masked)), None)
    if group is None:
        return bind(op, tuple(map(_array, inputs)), params)
    # The others in the group are tangents, too: what the op makes of zeros and of them is what it makes of them as such.
    tangents = [strengthened(x) if i in group and i not in zeros else None for i, x in enumerate(inputs)]
    primals = [zeros_like_type(a.type) if i in group else _array(x)
               for i, (a, x) in enumerate(zip(eqn.inputs, inputs, strict=True))]  # fmt: skip
    outs = [zeros_like_type(t) for t in types]
    moved = tuple([i for i, t in enumerate(tangents) if t is not None])
    result = pushed(op, moved, tangents, tuple(outs) if op.multiple_results else outs[0], primals, params)
    if op.multiple_results:
        return tuple([Zero(t) if r is None else r for r, t in zip(result, types, strict=True)])
    return Zero(types[0]) if result is None else result


def _is_zero(x: Any) -> bool:
    """Whether a value that flows along a Graph is zero by what is written in it."""
    return type(x) is Zero or (type(x) not in (Tracer, Masked, np.ndarray) and bool(x == 0))


def _array(x: Any) -> Any:
    return _array_of(x.type) if type(x) is Zero else filled(x)


def _array_of(type: ArrayType) -> Any:
    """Zeros, as an equation of the Graph that is being made."""
    zero = type.dtype.type(0)
    return context.trace.apply_to_constant(OPS["broadcast_to"], zero, {"shape": type.shape}) if type.shape else zero


def call_nonzero(
    op: Op,
    inputs: Sequence[Any],
    params: Params,
    types: Sequence[ArrayType],
    count: int,
    zeros: Callable[[ArrayType], Any] = zeros_like_type,
) -> list[Any]:
    """Apply an op that holds Graphs, of so many outputs, to inputs, of which some are None: zeros, and so are results. `types`
    are those of the first inputs, which it may take even where they are zero."""
    assert op.held is not None and op.held.without is not None
    missing = tuple([i for i, x in enumerate(inputs) if x is None])
    if not missing:
        return list(bind(op, tuple(inputs), params))
    results: list[Any] = [None] * count
    params, left, found, consts = op.held.without(params, missing)
    if found:
        given = [zeros(types[i]) if inputs[i] is None else inputs[i] for i in left]
        for i, r in zip(found, bind(op, (*given, *consts), params), strict=True):
            results[i] = r
    return results
