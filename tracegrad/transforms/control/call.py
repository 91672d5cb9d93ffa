"""A Graph as one equation of another: what a jitted function is where it is called while something else is traced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracegrad.core.context import context
from tracegrad.core.graph import Graph, closed, evaluate, in_scope
from tracegrad.core.op import Wanted
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer, in_graph
from tracegrad.transforms.control.held import again, holding_one, reverse


def call(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """Apply a Graph: as a compiled function on arrays, as one equation on tracers. One that names an axis is recorded
    equation by equation, since the trace that maps over that may not be among those of the inputs; and so is one that does more than
    its outputs say, of which a derivative is not to do anything again."""
    if graph.axes or (graph.effects and (context.trace is not None or any([type(x) is Tracer for x in inputs]))):
        return evaluate(graph, inputs)
    scope = context.scope
    if scope and any(map(in_graph, inputs)):
        graph = in_scope(graph, scope)
    whole, consts = closed(graph)
    return list(bind(call_op, (*inputs, *consts), {"graph": whole}))


def pull_call(graph: Graph, wanted: Wanted, inputs: Sequence[Any], cts: Sequence[Any]) -> dict[int, Any]:
    """Cotangents by the positions of inputs, for those of the outputs, of a Graph of which nothing was kept."""
    parts = reverse(graph, wanted)
    return parts.pull(parts.needed(inputs, call(again(parts.forward), inputs)), cts, call)


call_op = holding_one(
    "call",
    apply=lambda graph, inputs, params: call(graph, inputs),
    partition_by=lambda graph, wanted, params: reverse(graph, wanted),
    inline=lambda inputs, params: (params["graph"], inputs),
)
