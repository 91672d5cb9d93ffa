"""A Graph as one equation of another: what a jitted function is where it is called while something else is traced.

Its derivatives and its batching are Graphs again, made from it once and kept with it. Loops and branches do the same
with their bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import context
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, evaluate, remembered
from tracegrad.core.op import Held, JvpRule, MaskRules, Op, Params, VjpRule, Wanted
from tracegrad.core.trace import Trace, Tracer, bind
from tracegrad.core.tracing import needed, trace_graph, tracer_inputs
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.lower.numpy.writer import compiled
from tracegrad.lower.passes import eliminate_dead_code, simplify
from tracegrad.ops.masks import Masked, filled
from tracegrad.transforms.batch import batch_graph, with_batch
from tracegrad.transforms.linear import pull_back, pushforward, strong


class Reverse(NamedTuple):
    """The reverse derivative of a Graph, in two Graphs.

    forward     inputs -> the outputs, and what the backward part needs besides
    backward    what is needed, then the cotangents of the given outputs -> cotangents of inputs
    needs       where each array that the backward part needs is: (0, i) among the inputs, (1, i) among what forward returns
    kept        what forward returns besides the outputs: the numbers of an equation and of an output of that
    found       the positions of the inputs that get a cotangent; the others get a structural zero
    """

    forward: Graph
    backward: Graph
    needs: tuple[tuple[int, int], ...]
    kept: tuple[tuple[int, int], ...]
    found: tuple[int, ...]


def reverse(graph: Graph, wanted: Wanted, given: tuple[int, ...]) -> Reverse:
    """The derivative with respect to the inputs `wanted` for cotangents of the outputs `given`."""
    return remembered(graph, ("reverse", wanted, given), lambda: _reverse(graph, wanted, given))


def _reverse(graph: Graph, wanted: Wanted, given: tuple[int, ...]) -> Reverse:
    joint, found = joint_of(graph, wanted, given)
    return cut(joint, len(graph.inputs), len(graph.outputs), found, graph.name)


def joint_of(graph: Graph, wanted: Wanted, given: tuple[int, ...]) -> tuple[Graph, tuple[int, ...]]:
    """The Graph from inputs and the cotangents of the outputs `given` to outputs and the cotangents of the inputs `wanted`,
    and of which of these: a structural zero is not among its outputs."""
    count = len(graph.inputs)
    found: list[int] = []

    def values_and_cotangents(*arrays: Any) -> list[Any]:
        trace = Trace("vjp", graph, reverse=True)
        inputs = list(arrays[:count])
        tracers = tracer_inputs(trace, [inputs[i] for i in wanted])
        for i, t in zip(wanted, tracers, strict=True):
            inputs[i] = t
        try:
            outputs = evaluate(graph, inputs)
            eqns = trace.finish()
        finally:
            trace.end()
        cts: list[Any] = [None] * len(outputs)
        for i, ct in zip(given, arrays[count:], strict=True):
            cts[i] = ct
        results = pull_back(trace, eqns, tracers, outputs, cts)
        found.extend([i for i, r in zip(wanted, results, strict=True) if r is not None])
        plain = [o.value if type(o) is Tracer and o.origin is trace else o for o in outputs]
        return [*plain, *[r for r in results if r is not None]]

    types = [*graph.in_types, *[strong(graph.out_types[i]) for i in given]]
    return _derived(graph, values_and_cotangents, types, "vjp"), tuple(found)


def _derived(graph: Graph, function: Callable[..., Any], types: Sequence[ArrayType], transform: str) -> Graph:
    def name(i: int) -> str:
        return (graph.inputs[i].name or f"input {i}") if i < len(graph.inputs) else "a derivative"

    traced = trace_graph(function, types, transform=transform, user_function=graph, names=name)
    return simplify(replace(traced, name=f"{graph.name}_{transform}"))


def forward_part(joint: Graph, inputs: int, outputs: int) -> Graph:
    """What the outputs need of a Graph of values and derivatives."""
    return eliminate_dead_code(replace(joint, inputs=joint.inputs[:inputs], outputs=joint.outputs[:outputs]))


def cut(
    joint: Graph,
    inputs: int,
    outputs: int,
    found: tuple[int, ...],
    name: str,
    saved: Sequence[int] | None = None,
) -> Reverse:
    """Cut a Graph of values and derivatives between what the values need and the rest. Of what the values need, only
    what the equations numbered `saved` make goes over (None: all); the backward part computes again, from this and the
    inputs, what else it needs, each value just before it is first read."""
    forward = forward_part(joint, inputs, outputs)
    done = set(map(id, forward.eqns if saved is None else [forward.eqns[i] for i in saved]))
    derivatives = joint.outputs[outputs:]
    live: set[Atom] = set(derivatives)
    rest: list[Eqn] = []
    for eqn in reversed(joint.eqns):
        if id(eqn) not in done and not live.isdisjoint(eqn.outputs):
            rest.append(eqn)
            live.update(eqn.inputs)
    rest = rest[::-1] if saved is None else _lazily(rest[::-1], forward, derivatives)
    made = {v for e in rest for v in e.outputs} | {*joint.inputs[inputs:], *joint.consts}
    needed = dict.fromkeys([a for e in rest for a in e.inputs] + list(derivatives))
    needed_vars = [a for a in needed if type(a) is Var and a not in made]
    places: dict[Any, tuple[int, int]] = {v: (0, i) for i, v in enumerate(joint.inputs[:inputs])}
    for i, a in enumerate(forward.outputs):
        places.setdefault(a, (1, i))
    numbers = {v: (i, j) for i, e in enumerate(forward.eqns) for j, v in enumerate(e.outputs)}
    kept = sorted([v for v in needed_vars if v not in places], key=numbers.__getitem__)
    places |= {v: (1, outputs + i) for i, v in enumerate(kept)}
    forward = replace(forward, outputs=(*forward.outputs, *kept), name=f"{name}_forward")
    heads = (*needed_vars, *joint.inputs[inputs:])
    backward = Graph(heads, tuple(rest), derivatives, joint.consts, f"{name}_backward")
    return Reverse(
        forward,
        eliminate_dead_code(backward),
        tuple([places[v] for v in needed_vars]),
        tuple([numbers[v] for v in kept]),
        found,
    )


def _lazily(eqns: Sequence[Eqn], forward: Graph, outputs: Sequence[Atom]) -> list[Eqn]:
    """The equations with those of the forward part each just before it is first needed."""
    computed = set(map(id, forward.eqns))
    again = [e for e in eqns if id(e) in computed]
    rest = [e for e in eqns if id(e) not in computed]
    makers = {v: i for i, e in enumerate(again) for v in e.outputs}
    reads = [[makers[a] for a in atoms if type(a) is Var and a in makers] for atoms in
             (*[e.inputs for e in again], *[e.inputs for e in rest], outputs)]  # fmt: skip
    both = [*again, *rest]
    return [both[i] for i in lazy_order(reads, len(again)) if i < len(both)]


def lazy_order(reads: Sequence[Sequence[int]], count: int) -> list[int]:
    """An order in which to compute things numbered 0, 1, ...: those from `count` on one after the other, and of those
    before that what these read, directly or not, as late as may be. `reads[i]` are those below `count` that i reads."""
    placed = [False] * count
    order: list[int] = []
    for i in range(count, len(reads)):
        waiting = [j for j in reads[i] if not placed[j]]
        needed = []
        while waiting:
            j = waiting.pop()
            if not placed[j]:
                placed[j] = True
                needed.append(j)
                waiting += [k for k in reads[j] if not placed[k]]
        order += sorted(needed)
        order.append(i)
    return order


def tangents_of(graph: Graph, active: Wanted) -> tuple[Graph, tuple[int, ...]]:
    """The Graph from inputs and the tangents of those at `active` to tangents of outputs, and of which outputs."""
    return remembered(graph, ("tangents", active), lambda: _tangents_of(graph, active))


def _tangents_of(graph: Graph, active: Wanted) -> tuple[Graph, tuple[int, ...]]:
    count = len(graph.inputs)
    found: list[int] = []

    def tangents(*arrays: Any) -> list[Any]:
        _, results = with_tangents(graph, arrays[:count], dict(zip(active, arrays[count:], strict=True)))
        found.extend([i for i, r in enumerate(results) if r is not None])
        return [r for r in results if r is not None]

    types = [*graph.in_types, *[strong(graph.in_types[i]) for i in active]]
    return _derived(graph, tangents, types, "jvp"), tuple(found)


def with_tangents(graph: Graph, inputs: Sequence[Any], tangents: Mapping[int, Any]) -> tuple[list[Any], list[Any]]:
    """What a Graph makes of inputs, some of which have tangents, and the tangents of that, None for zeros."""
    trace = Trace("jvp", graph)
    tracers = dict(zip(tangents, tracer_inputs(trace, [inputs[i] for i in tangents]), strict=True))
    try:
        outputs = evaluate(graph, [tracers.get(i, x) for i, x in enumerate(inputs)])
        eqns = trace.finish()
    finally:
        trace.end()
    if trace.prunes:
        eqns = needed(eqns, outputs, derivative=True)
    pushed = pushforward(eqns, {id(t): tangents[i] for i, t in tracers.items()})
    values = [o.value if type(o) is Tracer and o.origin is trace else o for o in outputs]
    return values, [filled(pushed.get(id(o))) for o in outputs]


def batch_of(graph: Graph, size: int, batched: Sequence[bool]) -> Graph:
    """The Graph for batches of inputs; each output is a batch."""

    def make() -> Graph:
        def rows(*arrays: Any) -> list[Any]:
            return [with_batch(r, size) for r in batch_graph(graph, size, arrays, batched)]

        types = [ArrayType((size, *t.shape), t.dtype) if b else t for t, b in zip(graph.in_types, batched, strict=True)]
        return _derived(graph, rows, types, "vmap")

    axis = (context.batching, context.start) if context.batching in graph.axes else None
    return remembered(graph, ("batch", size, tuple(batched), axis), make)


def closed(graph: Graph) -> tuple[Graph, tuple[Any, ...]]:
    """The Graph with its constants for further inputs, and the constants."""
    if not graph.consts:
        return graph, ()
    inputs = (*graph.inputs, *graph.consts)
    whole = remembered(graph, "closed", lambda: Graph(inputs, graph.eqns, graph.outputs, {}, graph.name))
    return whole, tuple(graph.consts.values())


def call(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """Apply a Graph: as a compiled function on arrays, as one equation on tracers. One that names an axis is recorded
    equation by equation, since the trace that maps over that may not be among those of the inputs."""
    if graph.axes:
        return evaluate(graph, inputs)
    whole, consts = closed(graph)
    return list(bind(call_op, (*inputs, *consts), {"graph": whole}))


def _expand(top: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    graph = params["graph"]
    if top.linear:
        return evaluate(graph, inputs)  # a linear map is transposed op by op
    if not top.reverse or "of" in params:
        return None
    # The backward pass will need what is computed now: keep it.
    wanted = tuple([i for i, x in enumerate(inputs) if type(x) is Tracer and x.origin is top])
    forward = reverse(graph, wanted, floating(graph)).forward
    return bind(call_op, inputs, {"graph": forward, "of": graph, "wanted": wanted})[: len(graph.outputs)]


def floating(graph: Graph) -> tuple[int, ...]:
    return tuple([i for i, t in enumerate(graph.out_types) if is_inexact(t.dtype)])


def _evaluate(*arrays: Any, graph: Graph, of: Graph | None = None, wanted: Wanted = ()) -> tuple[Any, ...]:
    return tuple(compiled(graph)(*arrays))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    active = tuple([i for i, t in enumerate(tangents) if t is not None])
    graph, found = tangents_of(params["graph"], active)
    results = iter(call(graph, [*primals, *[tangents[i] for i in active]]))
    return [next(results) if i in found else None for i in range(len(out))]


def _vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    given = tuple([i for i, ct in enumerate(cts) if ct is not None])
    parts = needs = None
    of = params.get("of")
    if of is not None and wanted == params["wanted"] and max(given) < len(of.outputs):
        parts = reverse(of, wanted, given)
        needs = places(parts, reverse(of, wanted, floating(of)), len(of.outputs))
    if parts is None or needs is None:
        # Not what was foreseen when it was called, as in a second derivative: what is needed is computed again.
        parts = reverse(params["graph"], wanted, given)
        needs = parts.needs
        out = call(parts.forward, primals)
    kept = [(primals, out)[which][i] for which, i in needs]
    found = dict(zip(parts.found, call(parts.backward, [*kept, *[cts[i] for i in given]]), strict=True))
    return [found.get(i) for i in wanted]


def through_masks(
    jvp: JvpRule, vjp: VjpRule, apply: Callable[[Graph, Sequence[Any], Params], Sequence[Any]]
) -> MaskRules:
    """How masks enter a Graph that is one equation with these rules. Where its derivative may have to know what does not
    count, the cotangents are pulled back through the Graph with outputs that the masks choose, all computed again by
    `apply`, in one Graph in which masks go all the way. Forward, they end here."""

    def masked_vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        graph: Graph = params.get("of", params["graph"])
        if not remembered(graph, "singular", lambda: any(map(_is_singular, graph.eqns))):
            return vjp(wanted, [filled(ct) for ct in cts], out, primals, params)
        given = tuple([i for i, ct in enumerate(cts[: len(graph.outputs)]) if ct is not None])
        masked = tuple([i for i in given if type(cts[i]) is Masked])
        pull, found = remembered(graph, ("pull", wanted, given, masked), lambda: _pull(graph, wanted, given, masked))
        masks = [np.broadcast_to(cts[i].mask.array, cts[i].value.shape) for i in masked]
        values = [cts[i].value if i in masked else cts[i] for i in given]
        results = dict(zip(found, apply(pull, [*primals, *masks, *values], params), strict=True))
        return [results.get(i) for i in wanted]

    def masked_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return jvp(primals, [filled(t) for t in tangents], out, params)

    return MaskRules(masked_jvp, masked_vjp)


def _pull(
    graph: Graph, wanted: Wanted, given: tuple[int, ...], masked: tuple[int, ...]
) -> tuple[Graph, tuple[int, ...]]:
    """The Graph from inputs, masks and the cotangents that are given to cotangents, and of which inputs these are."""
    count = len(graph.inputs)

    def chosen(*arrays: Any) -> list[Any]:
        outputs = evaluate(graph, arrays[:count])
        for i, mask in zip(masked, arrays[count:], strict=True):
            outputs[i] = np.where(mask, outputs[i], 0)
        return outputs

    types = [*graph.in_types, *[ArrayType(graph.out_types[i].shape, np.dtype(bool)) for i in masked]]
    joint, found = joint_of(_derived(graph, chosen, types, "chosen"), wanted, given)
    return eliminate_dead_code(replace(joint, outputs=joint.outputs[len(graph.outputs) :])), found


def _is_singular(eqn: Eqn) -> bool:
    by_numbers = frozenset((0,)) in eqn.op.linear and all([type(a) is Literal and a.value for a in eqn.inputs[1:]])
    return eqn.op.masked is not None and eqn.op.masked.singular and not by_numbers


def places(parts: Reverse, called: Reverse, outputs: int) -> Sequence[tuple[int, int]] | None:
    """Where what is needed for some of the cotangents is, if the forward part for all of them was run; None if it does
    not return it. Both have the equations that the outputs need."""
    if parts is called:
        return parts.needs
    if [e.op for e in parts.forward.eqns] != [e.op for e in called.forward.eqns]:
        return None
    found = []
    for which, i in parts.needs:
        if which == 1 and i >= outputs:
            place = parts.kept[i - outputs]
            if place not in called.kept:
                return None
            i = outputs + called.kept.index(place)
        found.append((which, i))
    return found


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return tuple(call(batch_of(params["graph"], size, batched), inputs))


call_op = Op(
    "call",
    evaluate=_evaluate,
    infer=lambda types, params: params["graph"].out_types,
    jvp=_jvp,
    vjp=_vjp,
    masked=through_masks(_jvp, _vjp, lambda graph, arrays, params: call(graph, arrays)),
    batch=_batch,
    several=True,
    fresh=True,
    kinds="",
    held=Held(expand=_expand, inline=lambda inputs, params: (params["graph"], inputs)),
)
