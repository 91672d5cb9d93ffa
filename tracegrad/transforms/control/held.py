"""Ops that hold Graphs: what they have in common.

A Graph's derivatives and batches are Graphs again, made from it once and kept with it. The reverse derivative is two: a
forward part that also returns residuals, what the other needs besides inputs and outputs, and a backward part of these and of
cotangents. A reverse trace (`Trace.reverse`) evaluates the forward part where the op is called (`Held.forward`), and keeps the
residuals in its equation; `backward` hands them to the backward part (`Held.pull`). Both are applied as any op is, one level
down, so that where that level is a reverse trace too it keeps residuals of its own: no order of derivative computes anything
again.

An op says of what `Parts` its reverse derivative is, and `keeping` makes the rest of them. Here is also all of an op that is one
Graph: a call (`call.py`) and a checkpoint (`checkpoint.py`). Loops and branches are made of the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.axes import Axis
from tracegrad.core.context import context
from tracegrad.core.errors import DifferentiationError, at
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, closed, evaluate, remembered, replace, silenced, silent
from tracegrad.core.op import Forward, Held, Inlining, Op, Params, Pull, Wanted, Written
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import needed, trace_graph, tracer_inputs
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.lower.numpy.lines import assigned
from tracegrad.lower.numpy.writer import compiled
from tracegrad.lower.passes import eliminate_dead_code, simplify
from tracegrad.ops.collective import axis_index_op
from tracegrad.ops.masks import Masked, filled
from tracegrad.transforms.batch import Batched, batch_graph, batched_types, rows_or_shared, with_batch
from tracegrad.transforms.control.zeros import call_nonzero, without
from tracegrad.transforms.linear import at_positions, pull_back, pushforward, strong

Graphs = tuple[Graph, ...]

# ---------------------------------------------------------------------------------------------------------------------
# The reverse derivative of a Graph.


class Reverse(NamedTuple):
    """The reverse derivative of a Graph, in two Graphs.

    forward     inputs -> the outputs, then the residuals
    backward    what it needs, then the cotangents of the floating outputs -> cotangents of inputs
    needs       where each array that the backward part needs is: (0, i) among the inputs, (1, i) among what forward returns
    given       the positions of the floating outputs
    found       the positions of the inputs that get a cotangent; the others get a structural zero
    """

    forward: Graph
    backward: Graph
    needs: tuple[tuple[int, int], ...]
    given: tuple[int, ...]
    found: tuple[int, ...]

    def needed(self, inputs: Sequence[Any], results: Sequence[Any]) -> list[Any]:
        """What the backward part needs, among the inputs and what the forward part made of them."""
        return [(inputs, results)[which][i] for which, i in self.needs]

    def pull(
        self, needed: Sequence[Any], cts: Sequence[Any], apply: Callable[[Graph, Sequence[Any]], Sequence[Any]]
    ) -> dict[int, Any]:
        """Cotangents by the positions of inputs, for those of the outputs (None: zero). `apply` evaluates a Graph."""
        arrays = [*needed, *[cts[i] for i in self.given]]
        rest = without(self.backward, tuple([i for i, x in enumerate(arrays) if x is None]))
        if not rest.found:
            return {}
        found = apply(rest.graph, [arrays[i] for i in rest.left])
        return {self.found[k]: ct for k, ct in zip(rest.found, found, strict=True)}


# Of a Graph of values and derivatives and of the forward part of it: the numbers of the equations of that whose outputs the
# backward part may have, None for all.
Choice = Callable[[Graph, Graph], "Sequence[int] | None"]


def reverse(
    graph: Graph, wanted: Wanted, key: Hashable = None, choose: Choice | None = None, carries: int | None = None
) -> Reverse:
    """The derivative with respect to the inputs `wanted`. What is handed over is what `choose` says, known by its `key`. Of the body
    of a loop with so many carries it is what `_ready` makes of that."""

    def make() -> Reverse:
        joint, found = joint_of(graph, wanted, floating(graph))
        saved = None if choose is None else choose(joint, forward_part(joint, graph))
        return partition(joint, graph, found, saved, carries)

    return remembered(graph, ("reverse", wanted, key, carries), make)


def joint_of(graph: Graph, wanted: Wanted, given: tuple[int, ...]) -> tuple[Graph, tuple[int, ...]]:
    """The Graph from inputs and the cotangents of the outputs `given` to outputs and the cotangents of the inputs `wanted`,
    and of which of these: a structural zero is not among its outputs."""
    count = len(graph.inputs)
    found: list[int] = []

    def values_and_cotangents(*arrays: Any) -> list[Any]:
        inputs = list(arrays[:count])
        trace = Trace("vjp", graph, reverse=True)
        tracers = tracer_inputs(trace, [inputs[i] for i in wanted])
        for i, t in zip(wanted, tracers, strict=True):
            inputs[i] = t
        outputs, eqns = trace.recorded(evaluate, graph, inputs)
        cts = at_positions(len(outputs), given, arrays[count:])
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


def forward_part(joint: Graph, graph: Graph) -> Graph:
    """What the outputs need of a Graph of values and derivatives: its equations as they are, since the residuals that some of
    them give are still to be read."""
    inputs, outputs = joint.inputs[: len(graph.inputs)], joint.outputs[: len(graph.outputs)]
    of_cotangents = set(joint.inputs[len(graph.inputs) :])
    acting = []
    for eqn in joint.eqns:
        if not of_cotangents.isdisjoint(eqn.inputs):
            of_cotangents.update(eqn.outputs)
        elif eqn.op.acts(eqn.params):
            acting.append(id(eqn))
    return replace(joint, inputs=inputs, outputs=outputs, eqns=_live(joint.eqns, outputs, acting))


def _live(eqns: Sequence[Eqn], outputs: Sequence[Atom], acting: Collection[int] = ()) -> tuple[Eqn, ...]:
    live: set[Atom] = set(outputs)
    found = []
    for eqn in reversed(eqns):
        if not live.isdisjoint(eqn.outputs) or id(eqn) in acting:
            found.append(eqn)
            live.update(eqn.inputs)
    return tuple(found[::-1])


def partition(
    joint: Graph,
    graph: Graph,
    found: tuple[int, ...],
    saved: Sequence[int] | None = None,
    carries: int | None = None,
) -> Reverse:
    """Cut a Graph of values and derivatives between what the values need and the rest. Of what the values need, only
    what the equations numbered `saved` make goes over (None: all); the backward part computes again, from this and the
    inputs, what else it needs, each value just before it is first read."""
    inputs, outputs = len(graph.inputs), len(graph.outputs)
    forward = forward_part(joint, graph)
    if carries is not None:
        forward = _ready(joint, graph, forward, carries)
    # What is not pure, and whose results are needed, would give others if it were run again.
    done = {id(e) for i, e in enumerate(forward.eqns) if saved is None or i in saved or acts_anyway(e)}
    derivatives = joint.outputs[outputs:]
    rest: Sequence[Eqn] = _live([eqn for eqn in joint.eqns if id(eqn) not in done], derivatives)
    if saved is not None:
        rest = list(map(silenced, _lazily(rest, forward, derivatives)))
    made = {v for e in rest for v in e.outputs} | {*joint.inputs[inputs:], *joint.consts}
    needed = dict.fromkeys([a for e in rest for a in e.inputs] + list(derivatives))
    needed_vars = [a for a in needed if type(a) is Var and a not in made]
    places: dict[Any, tuple[int, int]] = {v: (0, i) for i, v in enumerate(joint.inputs[:inputs])}
    for i, a in enumerate(forward.outputs):
        places.setdefault(a, (1, i))
    numbers = {v: (i, j) for i, e in enumerate(forward.eqns) for j, v in enumerate(e.outputs)}
    kept = sorted([v for v in needed_vars if v not in places], key=numbers.__getitem__)
    places |= {v: (1, outputs + i) for i, v in enumerate(kept)}
    forward = replace(forward, outputs=(*forward.outputs, *kept), name=f"{graph.name}_forward")
    heads = (*needed_vars, *joint.inputs[inputs:])
    backward = Graph(heads, tuple(rest), derivatives, joint.consts, f"{graph.name}_backward")
    needs = tuple([places[v] for v in needed_vars])
    return Reverse(eliminate_dead_code(forward), eliminate_dead_code(backward), needs, floating(graph), found)


def _ready(joint: Graph, graph: Graph, forward: Graph, carries: int) -> Graph:
    """The forward part of a loop's body, with those equations of the rest that no cotangent goes into where their results take no more
    room than what they are made of, which then goes over no longer: in each step cos(x) beside sin(x). What the loop has anyhow takes
    none, its elements, constants, and what the steps give."""
    known = {*joint.inputs[: len(graph.inputs)], *[v for e in forward.eqns for v in e.outputs]}
    free = {*joint.inputs[carries : len(graph.inputs)], *joint.outputs[carries : len(graph.outputs)]}
    done = set(map(id, forward.eqns))
    rest = _live([e for e in joint.eqns if id(e) not in done], joint.outputs[len(graph.outputs) :])
    made: set[Atom] = set()  # by equations without cotangents
    ready: list[Eqn] = []
    read: set[Atom] = set(joint.outputs[len(graph.outputs) :])  # by others
    for eqn in rest:
        if all([a in made or a in known or a in joint.consts for a in eqn.inputs if type(a) is Var]):
            ready.append(eqn)
            made.update(eqn.outputs)
        else:
            read.update(eqn.inputs)
    # Equations belong together that read one array which nothing else reads, or what one of them makes.
    groups: dict[Atom, tuple[list[Atom], list[Eqn]]] = {}
    group: tuple[list[Atom], list[Eqn]]
    for eqn in ready:
        new: list[Atom] = [*eqn.outputs]
        group = [], [eqn]
        for a in dict.fromkeys(eqn.inputs):
            if a not in groups:
                new += [a] if a in known and a not in free and a not in read else []
            elif groups[a] is not group:
                fewer, group = sorted([group, groups[a]], key=lambda group: len(group[0]))
                new += fewer[0]
                group[1].extend(fewer[1])
        group[0].extend(new)
        groups.update(dict.fromkeys(new, group))
    for atoms, eqns in {id(group[0]): group for group in groups.values()}.values():
        room_before = sum([a.type.size * a.type.dtype.itemsize for a in atoms if a in known])
        room_after = sum([a.type.size * a.type.dtype.itemsize for a in atoms if a in made and a in read])
        if room_after <= room_before:
            done.update(map(id, eqns))
    return replace(forward, eqns=tuple([e for e in joint.eqns if id(e) in done]))


def acts_anyway(eqn: Eqn) -> bool:
    """Whether an equation does more than its outputs say, also where it is run for these alone."""
    return eqn.op.acts(eqn.params) and silenced(eqn).op.acts(silenced(eqn).params)


def again(graph: Graph) -> Graph:
    """The Graph as a derivative computes it that has not kept what it made: it does nothing besides, and has no results that would
    not be the same."""
    found = silent(graph)
    if found.effects:
        eqn = next(e for e in found.eqns if e.op.acts(e.params))
        raise DifferentiationError(
            f"this derivative{at(context.source)} computes once more what {graph.name!r} computes, in which what is called{at(eqn.raw_source)} "
            "is not pure, and would have other results; take what it returns as an argument, or reverse mode of a lax.scan, which "
            "keeps it"
        )
    return found


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


def floating(graph: Graph) -> tuple[int, ...]:
    return tuple([i for i, t in enumerate(graph.out_types) if is_inexact(t.dtype)])


# ---------------------------------------------------------------------------------------------------------------------
# Masks. Where the derivative of a Graph may have to know what does not count, cotangents are pulled back through the Graph with
# outputs that the masks choose, all computed again, in one Graph in which masks go all the way.


def is_singular(graph: Graph) -> bool:
    return bool(remembered(graph, "singular", lambda: any(map(_is_singular, graph.eqns))))


def _is_singular(eqn: Eqn) -> bool:
    if eqn.op.held is not None and type(inner := eqn.params.get("graph")) is Graph:
        return is_singular(inner)
    by_numbers = frozenset((0,)) in eqn.op.linear and all([type(a) is Literal and a.value for a in eqn.inputs[1:]])
    return eqn.op.masked is not None and eqn.op.masked.singular and not by_numbers


def pull_masked(
    graph: Graph, wanted: Wanted, cts: Sequence[Any], primals: Sequence[Any], apply: Callable[..., Sequence[Any]]
) -> dict[int, Any]:
    """Cotangents by the positions of inputs, for those of the outputs."""
    given = tuple([i for i, ct in enumerate(cts) if ct is not None])
    masked = tuple([i for i in given if type(cts[i]) is Masked])
    pull, found = remembered(graph, ("pull", wanted, given, masked), lambda: _pull(graph, wanted, given, masked))
    masks = [np.broadcast_to(cts[i].mask.array, cts[i].value.shape) for i in masked]
    values = [cts[i].value if i in masked else cts[i] for i in given]
    return dict(zip(found, apply(pull, [*primals, *masks, *values]), strict=True))


def _pull(
    graph: Graph, wanted: Wanted, given: tuple[int, ...], masked: tuple[int, ...]
) -> tuple[Graph, tuple[int, ...]]:
    """The Graph from inputs, masks and the cotangents that are given to cotangents, and of which inputs these are."""
    count = len(graph.inputs)

    def chosen(*arrays: Any) -> list[Any]:
        outputs = evaluate(again(graph), arrays[:count])
        for i, mask in zip(masked, arrays[count:], strict=True):
            outputs[i] = np.where(mask, outputs[i], 0)
        return outputs

    types = [*graph.in_types, *[ArrayType(graph.out_types[i].shape, np.dtype(bool)) for i in masked]]
    joint, found = joint_of(_derived(graph, chosen, types, "chosen"), wanted, given)
    return eliminate_dead_code(replace(joint, outputs=joint.outputs[len(graph.outputs) :])), found


# ---------------------------------------------------------------------------------------------------------------------
# Its forward derivative, and batches.


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
    graph = again(graph)
    trace = Trace("jvp", graph)
    tracers = dict(zip(tangents, tracer_inputs(trace, [inputs[i] for i in tangents]), strict=True))
    outputs, eqns = trace.recorded(evaluate, graph, [tracers.get(i, x) for i, x in enumerate(inputs)])
    if trace.prunes:
        eqns = needed(eqns, outputs, derivative=True)
    pushed = pushforward(eqns, {id(t): tangents[i] for i, t in tracers.items()}, outputs)
    values = [o.value if type(o) is Tracer and o.origin is trace else o for o in outputs]
    return values, [filled(pushed.get(id(o))) for o in outputs]


def batch_of(graph: Graph, size: int, batched: Sequence[bool]) -> Graph:
    """The Graph for batches of inputs; each output is a batch."""
    return batched_graph(graph, size, batched, [True] * len(graph.outputs))[0]


def batched_graph(
    graph: Graph, size: int, batched: Sequence[bool], wanted: Sequence[bool] | None = None
) -> tuple[Graph, tuple[bool, ...]]:
    """The Graph for batches of inputs, and which of its outputs are batches: those that depend on these, and those that are
    wanted so."""

    def make() -> tuple[Graph, tuple[bool, ...]]:
        found: list[bool] = []

        def rows(*arrays: Any) -> list[Any]:
            results = batch_graph(graph, size, arrays, batched)
            found[:] = [type(r) is Batched for r in results]
            if wanted is not None:
                found[:] = [f or w for f, w in zip(found, wanted, strict=True)]
            return [with_batch(r, size) if f else r for r, f in zip(results, found, strict=True)]

        return _derived(graph, rows, batched_types(graph, size, batched), "vmap"), tuple(found)

    axis = (context.batching, context.start) if context.batching in graph.axes else None
    key = "batch", size, tuple(batched), None if wanted is None else tuple(wanted), axis
    return remembered(graph, key, make)


# ---------------------------------------------------------------------------------------------------------------------
# What passes do to the Graphs that an op holds.


def once(graphs: Graphs, key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` returns, kept with the first Graph. The others are kept there too, so their ids stay theirs."""
    return remembered(graphs[0], (key, *map(id, graphs)), lambda: (graphs[1:], make()))[1]


def pruned(graphs: Graphs, outputs: tuple[int, ...], inputs: Collection[int] = ()) -> tuple[Graphs, tuple[int, ...]]:
    """Graphs of the same inputs and outputs with these outputs alone, and with the inputs that any of them then needs, or
    that are among `inputs`; and which inputs these are."""

    def make() -> tuple[Graphs, tuple[int, ...]]:
        small = [eliminate_dead_code(replace(g, outputs=tuple([g.outputs[i] for i in outputs]))) for g in graphs]
        read = [{a for e in g.eqns for a in e.inputs}.union(g.outputs) for g in small]
        # An axis is tied by an input that nothing reads.
        left = tuple([
            i for i in range(len(graphs[0].inputs))
            if i in inputs or any([g.axes or g.inputs[i] in r for g, r in zip(small, read, strict=True)])
        ])  # fmt: skip
        return tuple([replace(g, inputs=tuple([g.inputs[i] for i in left])) for g in small]), left

    found: tuple[Graphs, tuple[int, ...]] = once(graphs, ("pruned", outputs, tuple(inputs)), make)
    return found


def axis_indices(axes: Iterable[Axis]) -> list[Any]:
    """The index in each of these named axes. An equation that has them for inputs belongs to the traces that map over the
    axes, whatever its other inputs depend on."""
    return [bind(axis_index_op, (), {"axis_name": axis}) for axis in sorted(axes, key=lambda axis: axis.depth)]


# ---------------------------------------------------------------------------------------------------------------------
# An op that is its own reverse derivative, of other Graphs.


class Parts(NamedTuple):
    """The reverse derivative of an op as the op twice again, with other params.

    forward     those that it has for the forward part
    consts      the inputs of that part after the op's own
    outputs     how many of its outputs are the op's; residuals come after them
    backward    those for the backward part
    takes       the inputs of that part: (0, i) is input i of the op, (1, i) what the forward part gave, (2, i) a cotangent of
                an output, (3, x) the constant x, None a zero
    types       those of the first of them, which are taken even where they are zero
    found       the inputs of the op whose cotangents it gives
    """

    forward: Params
    consts: tuple[Any, ...]
    outputs: int
    backward: Params
    takes: Sequence[tuple[int, Any] | None]
    types: Sequence[ArrayType]
    found: Sequence[int]

    def pull(self, op: Op, inputs: Sequence[Any], results: Sequence[Any], cts: Sequence[Any]) -> dict[int, Any]:
        """Cotangents by the positions of inputs, for those of the outputs (None: zero)."""
        arrays = (inputs, results, cts)
        given = [None if p is None else p[1] if p[0] == 3 else arrays[p[0]][p[1]] for p in self.takes]
        found = call_nonzero(op, given, self.backward, self.types, len(self.found))
        return dict(zip(self.found, found, strict=True))


def keeping(op: Callable[[], Op], parts: Callable[[Params, Wanted], Parts | None]) -> tuple[Forward, Pull]:
    """How such an op keeps residuals. It has none where there are no parts (None)."""

    def forward(wanted: Wanted, values: Sequence[Any], params: Params) -> tuple[Sequence[Any], Any]:
        found = parts(params, wanted)
        if found is None:
            return bind(op(), tuple(values), params), None
        results = bind(op(), (*values, *found.consts), found.forward)
        return results[: found.outputs], results[found.outputs :]

    def pull(
        wanted: Wanted, cts: Any, residuals: Any, out: Any, primals: Sequence[Any], params: Params
    ) -> Sequence[Any]:
        found = parts(params, wanted)
        assert found is not None
        pulled = found.pull(op(), primals, (*out, *residuals), list(map(filled, cts)))
        return [pulled.get(i) for i in wanted]

    return forward, pull


# ---------------------------------------------------------------------------------------------------------------------
# An op that is one Graph.


def holding_one(
    name: str,
    apply: Callable[[Graph, Sequence[Any], Params], Sequence[Any]],
    partition_by: Callable[[Graph, Wanted, Params], Reverse],
    inline: Inlining,
    params_of_parts: Callable[[Params], Params] = lambda params: params,
) -> Op:
    """Declare an op that is a Graph, its param `graph`. Its other params say how derivatives are taken: `partition_by` cuts the
    reverse one by them. `apply(graph, inputs, params)` applies a Graph that was made of it, which may have constants, in the same
    way, and `params_of_parts` are those of the parts of the reverse derivative."""

    def parts_of(params: Params, wanted: Wanted) -> Parts:
        how = [(k, x) for k, x in params.items() if k != "graph"]
        found: Parts = remembered(params["graph"], ("parts", name, wanted, *how), lambda: make_parts(params, wanted))
        return found

    def make_parts(params: Params, wanted: Wanted) -> Parts:
        graph = params["graph"]
        parted = partition_by(graph, wanted, params)
        backward, consts = closed(parted.backward)
        takes = [*parted.needs, *[(2, i) for i in parted.given], *[(3, x) for x in consts]]
        if backward.axes:  # which what nothing reads ties the equation to
            read = {a for e in graph.eqns for a in e.inputs}.union(graph.outputs)
            ties = [i for i, v in enumerate(graph.inputs) if v not in read]
            backward = replace(backward, inputs=(*backward.inputs, *[Var(graph.inputs[i].type) for i in ties]))
            takes += [(0, i) for i in ties]
        how = params_of_parts(params)
        forward, outputs = {**how, "graph": parted.forward}, len(graph.outputs)
        return Parts(forward, (), outputs, {**how, "graph": backward}, takes, (), parted.found)

    def pull(
        wanted: Wanted, cts: Sequence[Any], residuals: Any, out: Any, primals: Sequence[Any], params: Params
    ) -> Sequence[Any]:
        graph = params["graph"]
        if not (Masked in map(type, cts) and is_singular(graph)):
            return pull_kept(wanted, cts, residuals, out, primals, params)
        how = params_of_parts(params)
        found = pull_masked(graph, wanted, cts, primals, lambda pull, inputs: apply(pull, inputs, how))
        return [found.get(i) for i in wanted]

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        active = tuple([i for i, t in enumerate(tangents) if t is not None])
        graph, found = tangents_of(params["graph"], active)
        results = iter(apply(graph, [*primals, *[tangents[i] for i in active]], params))
        return [next(results) if i in found else None for i in range(len(out))]

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        graph, found = batched_graph(params["graph"], size, batched)
        return rows_or_shared(apply(graph, inputs, params), found)

    def without_zeros(params: Params, zeros: tuple[int, ...]) -> tuple[Params, Any, Any, tuple[Any, ...]]:
        rest = without(params["graph"], zeros)
        graph, consts = closed(rest.graph)
        return {**params, "graph": graph}, rest.left, rest.found, consts

    def prune(inputs: tuple[Any, ...], params: Params, used: Sequence[bool]) -> tuple[Any, Params, Sequence[int]]:
        outputs = tuple([i for i, flag in enumerate(used) if flag])
        (graph,), left = pruned((params["graph"],), outputs)
        return tuple([inputs[i] for i in left]), {**params, "graph": graph}, outputs

    forward, pull_kept = keeping(lambda: op, parts_of)
    op: Op = Op(
        name,
        evaluate=lambda *arrays, graph, **_: tuple(compiled(graph)(*arrays)),
        infer=lambda types, params: params["graph"].out_types,
        jvp=jvp,
        batch=batch,
        held=Held(expand_linear, forward, pull, without_zeros, inline, prune, _replay, write=_write, flows=_flows),
        multiple_results=True,
        never_aliases=True,
        kinds="",
    )
    return op


def _replay(run: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    found: Sequence[Any] = run("", params["graph"], inputs)
    return found


def _flows(walk: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    found: Sequence[Any] = walk(params["graph"], inputs)
    return found


def _write(types: Sequence[ArrayType], params: Params) -> Written:
    return written_call(params["graph"])


def written_call(graph: Graph) -> Written:
    """A Graph as a function that is called."""
    return Written([graph], lambda functions, inputs, outputs, fresh: [assigned(outputs, functions[0], inputs)])


def expand_linear(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    """A linear map is transposed op by op."""
    return evaluate(params["graph"], inputs) if trace.linear else None
