"""Branches: Graphs of which one is run, made to agree, and what is made of them for `switch` (`switch.py`) and for
`switch_rows` (`switch_rows.py`).

The derivatives and the batches of a choice among Graphs are choices among Graphs that are made of those, once, and kept with
them. The rules of the two ops are the same, since both hold the Graphs of one example: inputs are the index and the operands;
`branches` are Graphs of the operands. `switch_rows` has an index for each row, rows on axis 0 of the operands that are
`batched`, and of all outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import context
from tracegrad.core.errors import DifferentiationError
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, evaluate, replace
from tracegrad.core.op import OPS, Op, Params, Wanted
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import trace_graph, tracer_inputs
from tracegrad.core.types import ArrayType, type_of
from tracegrad.lower.passes import simplify
from tracegrad.ops.families import total
from tracegrad.transforms.batch import batch_graph, with_batch
from tracegrad.transforms.control.held import (
    Graphs,
    Parts,
    Reverse,
    batched_graph,
    floating,
    once,
    pruned,
    reverse,
    tangents_of,
)
from tracegrad.transforms.control.zeros import without
from tracegrad.transforms.linear import at_positions, is_zero, pull_back, require_linear, require_no_offset, strong

# For each branch its outputs, None where it has none and gives zeros.
Outputs = Sequence[Sequence[Atom | None]]


class Branches(NamedTuple):
    """Graphs without constants, of the same input and output types, and the constants: further inputs of each."""

    graphs: Graphs
    consts: tuple[Any, ...] = ()


# ---------------------------------------------------------------------------------------------------------------------
# Branches made to agree, and Graphs made of theirs.


def _common_type(types: Sequence[ArrayType]) -> ArrayType:
    """What NumPy promotes these types to; they have one shape."""
    if all([t == types[0] for t in types]):
        return types[0]
    return ArrayType(types[0].shape, np.result_type(*[t.weight for t in types]))


def with_outputs(graphs: Graphs, outputs: Outputs) -> Branches:
    """The Graphs with other outputs of theirs, cast to common types and with zeros where there is none, and with all
    their constants for further inputs."""
    types = [_common_type([a.type for a in column if a is not None]) for column in zip(*outputs, strict=True)]
    made = []
    for graph, atoms in zip(graphs, outputs, strict=True):
        eqns = list(graph.eqns)
        results = tuple(
            [_cast(a, t, eqns) if a is not None else _zero(t, eqns) for a, t in zip(atoms, types, strict=True)]
        )
        made.append(replace(graph, eqns=tuple(eqns), outputs=results))
    return _closed(made)


def _cast(atom: Atom, to: ArrayType, eqns: list[Eqn]) -> Atom:
    if atom.type == to:
        return atom
    if isinstance(atom, Literal):
        return Literal(to.dtype.type(atom.value))
    out = Var(to)
    eqns.append(Eqn(OPS["astype"], (atom,), {"dtype": to.dtype}, (out,)))
    return out


def _zero(of: ArrayType, eqns: list[Eqn]) -> Atom:
    zero = Literal(of.dtype.type(0).item() if of.weak else of.dtype.type(0))
    if not of.shape:
        return zero
    out = Var(of)
    eqns.append(Eqn(OPS["broadcast_to"], (zero,), {"shape": of.shape}, (out,)))
    return out


def _closed(graphs: Sequence[Graph]) -> Branches:
    consts = {id(x): x for graph in graphs for x in graph.consts.values()}
    made = []
    for graph in graphs:
        own = {id(x): v for v, x in graph.consts.items()}
        further = [own[i] if i in own else Var(type_of(x)) for i, x in consts.items()]
        made.append(Graph((*graph.inputs, *further), graph.eqns, graph.outputs, {}, graph.name))
    return Branches(tuple(made), tuple(consts.values()))


def _united(graphs: Graphs, found: Sequence[tuple[int, ...]]) -> tuple[Branches, tuple[int, ...]]:
    """The Graphs, each of which gives some of a number of results, with all that any of them gives."""
    union = tuple(sorted(set().union(*found)))
    known = [dict(zip(own, g.outputs, strict=True)) for g, own in zip(graphs, found, strict=True)]
    return with_outputs(graphs, [[k.get(i) for i in union] for k in known]), union


def with_inputs(graphs: Sequence[Graph], positions: Sequence[Sequence[Any]]) -> tuple[Graphs, list[Any]]:
    """The Graphs, each of which has inputs for some of a number of positions, and further ones, with inputs for all that any of
    them has."""
    union = sorted(set().union(*positions))
    types = {p: v.type for g, own in zip(graphs, positions, strict=True) for p, v in zip(own, g.inputs, strict=False)}
    made = []
    for graph, own in zip(graphs, positions, strict=True):
        heads = dict(zip(own, graph.inputs, strict=False))
        inputs = [heads[p] if p in heads else Var(types[p]) for p in union]
        made.append(replace(graph, inputs=(*inputs, *graph.inputs[len(own) :])))
    return tuple(made), union


def tangents(graphs: Graphs, active: Wanted) -> tuple[Branches, tuple[int, ...]]:
    """inputs, tangents of some -> tangents of outputs, and of which."""

    def make() -> tuple[Branches, tuple[int, ...]]:
        pairs = [tangents_of(g, active) for g in graphs]
        return _united(tuple([g for g, _ in pairs]), [found for _, found in pairs])

    found: tuple[Branches, tuple[int, ...]] = once(graphs, ("tangents", active), make)
    return found


def parts_of(params: Params, wanted: Wanted) -> Parts | None:
    """The reverse derivative of a choice, where rows do not share what is wanted (see `switch_rows._pull_shared`)."""
    own, batched = operands_of(wanted), params.get("batched")
    if not own or not (batched is None or all([batched[i] for i in own])):
        return None
    found: Parts = once(params["branches"], ("parts", own, batched), lambda: _parts(params, own))
    return found


def operands_of(wanted: Wanted) -> Wanted:
    """The positions among the operands; the index has no derivative."""
    return tuple([i - 1 for i in wanted if i > 0])


def _parts(params: Params, wanted: Wanted) -> Parts:
    graphs: Graphs = params["branches"]
    parts = [reverse(g, wanted) for g in graphs]
    count = len(graphs[0].outputs)
    types: list[ArrayType] = []  # of the slots, which branches share where they keep the same types
    outputs, needs = [], []
    for part in parts:
        free = list(range(len(types)))
        slots = []
        for atom in part.forward.outputs[count:]:
            slot = next((j for j in free if types[j] == atom.type), len(types))
            if slot == len(types):
                types.append(atom.type)
            else:
                free.remove(slot)
            slots.append(slot)
        outputs.append((part.forward.outputs[:count], dict(zip(slots, part.forward.outputs[count:], strict=True))))
        needs.append(
            [(1, count + slots[i - count]) if (which, i) >= (1, count) else (which, i) for which, i in part.needs]
        )
    columns = [[*own, *[kept.get(j) for j in range(len(types))]] for own, kept in outputs]
    return _joined(params, with_outputs(tuple([p.forward for p in parts]), columns), parts, needs)


def _joined(
    params: Params, forward: Branches, parts: Sequence[Reverse], needs: Sequence[Sequence[tuple[int, int]]]
) -> Parts:
    """With the backward parts as one, which takes what any of them needs."""
    batched = params.get("batched")
    graphs, union = with_inputs([part.backward for part in parts], needs)
    backward, found = _united(graphs, [part.found for part in parts])
    given, flags = parts[0].given, None
    if batched is not None:
        flags = [*[batched[i] if which == 0 else True for which, i in union], *[True] * len(given)]
    takes = [(0, 0), *[(which, i + (which == 0)) for which, i in union], *[(2, i) for i in given]]
    takes += [(3, x) for x in backward.consts]
    return Parts(
        choice(forward, batched)[1], forward.consts, len(params["branches"][0].outputs), choice(backward, flags)[1], takes,
        (), [i + 1 for i in found],
    )  # fmt: skip


def transposed(params: Params, wanted: Wanted) -> Parts | None:
    """The transposes of branches that are linear in the inputs `wanted`; None if one of the branches is not. No values of
    those inputs are needed, nor anything that the branches compute of them."""
    graphs: Graphs = params["branches"]

    def make() -> Parts | None:
        try:
            parts = [_transpose(g, wanted) for g in graphs]
        except DifferentiationError:
            return None
        return _joined(params, Branches(graphs), parts, [part.needs for part in parts])

    found: Parts | None = once(graphs, ("transposed", wanted, params.get("batched")), make)
    return found


def _transpose(graph: Graph, wanted: Wanted) -> Reverse:
    given = floating(graph)
    others = [i for i in range(len(graph.inputs)) if i not in wanted]
    found: list[int] = []

    def cotangents(*arrays: Any) -> list[Any]:
        inputs = dict(zip(others, arrays, strict=False))
        trace = Trace("linear_transpose", graph, abstract=True)
        trace.linear = True
        tracers = tracer_inputs(trace, [strong(graph.in_types[i]) for i in wanted])
        inputs.update(zip(wanted, tracers, strict=True))
        outputs, eqns = trace.recorded(evaluate, graph, [inputs[i] for i in range(len(inputs))])
        require_linear(eqns)
        require_no_offset(eqns, ())
        if not all([(type(o) is Tracer and o.origin is trace) or is_zero(o) for o in outputs]):
            raise DifferentiationError(f"linear_transpose: an output of {graph.name!r} is not linear")
        cts = at_positions(len(outputs), given, arrays[len(others) :])
        results = pull_back(trace, eqns, tracers, outputs, cts)
        found.extend([i for i, r in zip(wanted, results, strict=True) if r is not None])
        return [r for r in results if r is not None]

    types = [*[graph.in_types[i] for i in others], *[strong(graph.out_types[i]) for i in given]]
    traced = trace_graph(
        cotangents, types, transform="linear_transpose", user_function=graph, names=lambda i: f"input {i}"
    )
    backward = simplify(replace(traced, name=f"{graph.name}_transpose"))
    return Reverse(graph, backward, tuple([(0, i) for i in others]), given, tuple(found))


def batched_branches(
    graphs: Graphs, size: int, batched: tuple[bool, ...], every: bool = True
) -> tuple[Branches, tuple[bool, ...]]:
    """The branches for batches, and which of the outputs are such: those that are in one of them, or `every` one."""
    axis = (context.batching, context.start) if speak_of(context.batching, graphs) else None

    def make() -> tuple[Branches, tuple[bool, ...]]:
        flags = [every] * len(graphs[0].outputs)
        if not every:
            found = [batched_graph(g, size, batched)[1] for g in graphs]
            flags = [any(column) for column in zip(*found, strict=True)]
        made = tuple([batched_graph(g, size, batched, flags)[0] for g in graphs])
        return with_outputs(made, [g.outputs for g in made]), tuple(flags)

    found: tuple[Branches, tuple[bool, ...]] = once(graphs, ("batched", size, batched, axis, every), make)
    return found


def speak_of(axis: Any, graphs: Graphs) -> bool:
    return any([axis in g.axes for g in graphs])


# ---------------------------------------------------------------------------------------------------------------------
# What `switch` and `switch_rows` do alike.


def nearest(index: Any, branches: Sequence[Any]) -> Any:
    """The branch of this number, or the nearest to it."""
    return branches[min(max(int(index), 0), len(branches) - 1)]


def run(branches: Branches, index: Any, operands: Sequence[Any], batched: Sequence[bool] | None) -> list[Any]:
    """One of the branches, or, for `batched` operands, one for each row."""
    inputs = (index, *operands, *branches.consts)
    if not branches.graphs[0].outputs:
        return []
    op, params = choice(branches, batched)
    return list(bind(op, inputs, params))


def choice(branches: Branches, batched: Sequence[bool] | None) -> tuple[Op, Params]:
    if batched is None:
        return OPS["switch"], {"branches": branches.graphs}
    return OPS["switch_rows"], {"branches": branches.graphs, "batched": (*batched, *[False] * len(branches.consts))}


def jvp(primals: Sequence[Any], moved: Sequence[Any], out: Any, params: Params) -> Any:
    active = tuple([i for i, t in enumerate(moved[1:]) if t is not None])
    if not active:
        return [None] * len(out)
    branches, found = tangents(params["branches"], active)
    batched = params.get("batched")
    flags = None if batched is None else [*batched, *[batched[i] for i in active]]
    results = iter(run(branches, primals[0], [*primals[1:], *[moved[i + 1] for i in active]], flags))
    return [next(results) if i in found else None for i in range(len(out))]


def pull_anew(wanted: Wanted, cts: Sequence[Any], primals: Sequence[Any], params: Params) -> dict[int, Any]:
    """Cotangents by the positions of inputs, where nothing was kept. What is linear needs nothing."""
    own, batched, results = operands_of(wanted), params.get("batched"), []
    if not own:
        return {}
    op, _ = choice(Branches(params["branches"]), batched)
    parts = transposed(params, own)
    if parts is None:
        parts = once(params["branches"], ("parts", own, batched), lambda: _parts(params, own))
        results = bind(op, (*primals, *parts.consts), parts.forward)
    found = parts.pull(op, primals, results, cts)
    if batched is not None:  # what rows share gets the sum of theirs
        found = {i: ct if ct is None or batched[i - 1] else total(ct, 0) for i, ct in found.items()}
    return found


def is_linear(positions: Iterable[int], params: Params) -> bool:
    wanted = tuple(sorted([i - 1 for i in positions]))
    return -1 not in wanted and transposed(params, wanted) is not None


def without_zeros(params: Params, zeros: tuple[int, ...]) -> tuple[Params, Any, Any, tuple[Any, ...]]:
    graphs = params["branches"]

    def make() -> tuple[Branches, tuple[int, ...], list[int]]:
        rests = [without(g, [i - 1 for i in zeros]) for g in graphs]
        aligned, left = with_inputs([rest.graph for rest in rests], [rest.left for rest in rests])
        return *_united(aligned, [rest.found for rest in rests]), left

    branches, found, left = once(graphs, ("without", zeros), make)
    return _with_operands(params, branches, left), (0, *[i + 1 for i in left]), found, branches.consts


def prune(
    inputs: tuple[Any, ...], params: Params, used: Sequence[bool]
) -> tuple[tuple[Any, ...], Params, Sequence[int]]:
    """With the outputs that are read, and the operands that these need."""
    outputs = tuple([i for i, flag in enumerate(used) if flag])
    graphs, left = pruned(params["branches"], outputs)
    return (inputs[0], *[inputs[i + 1] for i in left]), _with_operands(params, Branches(graphs), left), outputs


def _with_operands(params: Params, branches: Branches, left: Sequence[int]) -> Params:
    """The params of a choice among these, of these operands."""
    batched = params.get("batched")
    return choice(branches, None if batched is None else [batched[i] for i in left])[1]


def shared_operands(graphs: Graphs, batched: Sequence[bool]) -> dict[int, int]:
    """The outputs that are the same operand in each branch, one that all examples share, and which."""
    places = [{v: i for i, v in enumerate(g.inputs) if not batched[i]} for g in graphs]
    columns = [
        {p.get(a) for p, a in zip(places, column, strict=True)}
        for column in zip(*[g.outputs for g in graphs], strict=True)
    ]
    found = {j: column.pop() for j, column in enumerate(columns) if len(column) == 1}
    return {j: i for j, i in found.items() if i is not None}


def all_rows(graph: Graph, size: int, operands: Sequence[Any], batched: Sequence[bool]) -> list[Any]:
    return [with_batch(r, size) for r in batch_graph(graph, size, operands, batched)]


def select(index: Any, results: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Of what the branches return for all examples, for each example that which it chose."""
    outs = list(results[-1])
    for k in range(len(results) - 2, -1, -1):
        for j, r in enumerate(results[k]):
            chosen = np.reshape(index <= k, (*index.shape, *[1] * (r.ndim - index.ndim)))
            outs[j] = np.where(chosen, r, outs[j])
    return tuple(outs)
