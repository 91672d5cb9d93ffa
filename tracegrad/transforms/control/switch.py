"""cond and switch: functions of which one is run, chosen by a value.

Where the choice is known, the function is called. Where only its type is, all are traced, and the choice is one equation,
`switch`, that holds them as Graphs. Its derivatives and its batches are switches between Graphs that are made of those,
once, and kept with them. Where each example of a batch chooses for itself, that is `switch_rows`: each branch is run once,
on the examples that chose it and no others, so what is infinite in a branch not taken is never computed.

The rules of the two ops are the same, since both hold the Graphs of one example.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import entered
from tracegrad.core.context import context
from tracegrad.core.errors import DifferentiationError, DtypeError, ShapeError, at, clip, described, user_source
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, evaluate, remembered
from tracegrad.core.names import leaf_names, output_name
from tracegrad.core.op import OPS, Held, Op, Params, Wanted
from tracegrad.core.trace import Trace, Tracer, bind, in_graph, plain_value
from tracegrad.core.tracing import arrays_of, trace_graph, tracer_inputs
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.core.views import own_traced
from tracegrad.lower.numpy.writer import compiled, own
from tracegrad.lower.passes import eliminate_dead_code, simplify
from tracegrad.ops.collective import axis_index_op
from tracegrad.ops.families import total
from tracegrad.transforms.batch import batch_graph, own_arrays, with_batch
from tracegrad.transforms.control.call import (
    Reverse,
    batch_of,
    call,
    call_op,
    closed,
    floating,
    places,
    reverse,
    tangents_of,
)
from tracegrad.transforms.linear import is_zero, pull_back, require_linear, require_no_offset, strong

Graphs = tuple[Graph, ...]
# For each branch its outputs, None where it has none and gives zeros.
Outputs = Sequence[Sequence[Atom | None]]


class Branches(NamedTuple):
    """Graphs without constants, of the same input and output types, and the constants: further inputs of each."""

    graphs: Graphs
    consts: tuple[Any, ...] = ()


class Tangents(NamedTuple):
    """inputs, tangents of some -> tangents of the outputs `found`."""

    branches: Branches
    found: tuple[int, ...]


class Forward(NamedTuple):
    """inputs -> outputs, then slots with what the backward parts need: `slots` says in which each branch puts what it
    keeps (`Reverse.kept`)."""

    branches: Branches
    slots: tuple[tuple[int, ...], ...]


class Pulled(NamedTuple):
    """what is needed, cotangents of the given outputs -> cotangents of the inputs `found`. Needed are (0, i) inputs and
    (1, i) outputs of the forward part."""

    branches: Branches
    needs: tuple[tuple[int, int], ...]
    found: tuple[int, ...]


# ---------------------------------------------------------------------------------------------------------------------
# Branches made to agree, and Graphs made of theirs.


def _once(graphs: Graphs, key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` returns, kept with the first Graph. The others are kept there too, so their ids stay theirs."""
    return remembered(graphs[0], (key, *map(id, graphs)), lambda: (graphs, make()))[1]


def _common_type(types: Sequence[ArrayType]) -> ArrayType:
    """What NumPy promotes these types to; they have one shape."""
    if all([t == types[0] for t in types]):
        return types[0]
    return ArrayType(types[0].shape, np.result_type(*[t.weight for t in types]))


def _with_outputs(graphs: Graphs, outputs: Outputs) -> Branches:
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
    return _with_outputs(graphs, [[k.get(i) for i in union] for k in known]), union


def _tangents(graphs: Graphs, active: Wanted) -> Tangents:
    def make() -> Tangents:
        pairs = [tangents_of(g, active) for g in graphs]
        return Tangents(*_united(tuple([g for g, _ in pairs]), [found for _, found in pairs]))

    return _once(graphs, ("tangents", active), make)


def _forward(graphs: Graphs, wanted: Wanted, given: tuple[int, ...]) -> Forward:
    return _once(graphs, ("forward", wanted, given), lambda: _make_forward(graphs, wanted, given))


def _make_forward(graphs: Graphs, wanted: Wanted, given: tuple[int, ...]) -> Forward:
    parts = [reverse(g, wanted, given).forward for g in graphs]
    count = len(graphs[0].outputs)
    types: list[ArrayType] = []  # of the slots, which branches share where they keep the same types
    slots: list[tuple[int, ...]] = []
    for part in parts:
        free = list(range(len(types)))
        own = []
        for atom in part.outputs[count:]:
            slot = next((j for j in free if types[j] == atom.type), len(types))
            if slot == len(types):
                types.append(atom.type)
            else:
                free.remove(slot)
            own.append(slot)
        slots.append(tuple(own))
    outputs = []
    for part, own_slots in zip(parts, slots, strict=True):
        kept = dict(zip(own_slots, part.outputs[count:], strict=True))
        outputs.append([*part.outputs[:count], *[kept.get(j) for j in range(len(types))]])
    return Forward(_with_outputs(tuple(parts), outputs), tuple(slots))


def _pulled(graphs: Graphs, wanted: Wanted, given: tuple[int, ...], called: tuple[int, ...]) -> Pulled | None:
    """The backward part for these cotangents, after the forward part for those of `called`; None if that does not keep
    what is needed."""
    return _once(graphs, ("pulled", wanted, given, called), lambda: _make_pulled(graphs, wanted, given, called))


def _make_pulled(graphs: Graphs, wanted: Wanted, given: tuple[int, ...], called: tuple[int, ...]) -> Pulled | None:
    count = len(graphs[0].outputs)
    parts, needs = [], []
    for graph, slots in zip(graphs, _forward(graphs, wanted, called).slots, strict=True):
        part = reverse(graph, wanted, given)
        own = places(part, reverse(graph, wanted, called), count)
        if own is None:
            return None
        parts.append(part)
        needs.append([(1, count + slots[i - count]) if (which, i) >= (1, count) else (which, i) for which, i in own])
    return _backward(parts, needs)


def _backward(parts: Sequence[Reverse], needs: Sequence[Sequence[tuple[int, int]]]) -> Pulled:
    """The backward parts as one, which takes what any of them needs."""
    union = tuple(sorted(set().union(*needs)))
    types = {
        p: v.type
        for part, needed in zip(parts, needs, strict=True)
        for p, v in zip(needed, part.backward.inputs, strict=False)
    }
    graphs = []
    for part, needed in zip(parts, needs, strict=True):
        heads = dict(zip(needed, part.backward.inputs, strict=False))
        inputs = (*[heads[p] if p in heads else Var(types[p]) for p in union], *part.backward.inputs[len(needed) :])
        graphs.append(replace(part.backward, inputs=inputs))
    branches, found = _united(tuple(graphs), [part.found for part in parts])
    return Pulled(branches, union, found)


def _transposed(graphs: Graphs, wanted: Wanted, given: tuple[int, ...]) -> Pulled | None:
    """The transposes of branches that are linear in the inputs `wanted`, for cotangents of the outputs `given`; None if
    one of the branches is not. No values of those inputs are needed, nor anything that the branches compute of them."""

    def make() -> Pulled | None:
        try:
            parts = [_transpose(g, wanted, given) for g in graphs]
        except DifferentiationError:
            return None
        return _backward(parts, [part.needs for part in parts])

    return _once(graphs, ("transposed", wanted, given), make)


def _transpose(graph: Graph, wanted: Wanted, given: tuple[int, ...]) -> Reverse:
    others = [i for i in range(len(graph.inputs)) if i not in wanted]
    found: list[int] = []

    def cotangents(*arrays: Any) -> list[Any]:
        trace = Trace("linear_transpose", graph, abstract=True)
        trace.linear = True
        inputs = dict(zip(others, arrays, strict=False))
        tracers = tracer_inputs(trace, [strong(graph.in_types[i]) for i in wanted])
        inputs.update(zip(wanted, tracers, strict=True))
        try:
            outputs = evaluate(graph, [inputs[i] for i in range(len(inputs))])
        finally:
            eqns = trace.finish()
            trace.end()
        require_linear(eqns)
        require_no_offset(eqns, ())
        if not all([(type(o) is Tracer and o.origin is trace) or is_zero(o) for o in outputs]):
            raise DifferentiationError(f"linear_transpose: an output of {graph.name!r} is not linear")
        cts: list[Any] = [None] * len(outputs)
        for i, ct in zip(given, arrays[len(others) :], strict=True):
            cts[i] = ct
        results = pull_back(trace, eqns, tracers, outputs, cts)
        found.extend([i for i, r in zip(wanted, results, strict=True) if r is not None])
        return [r for r in results if r is not None]

    types = [*[graph.in_types[i] for i in others], *[strong(graph.out_types[i]) for i in given]]
    traced = trace_graph(
        cotangents, types, transform="linear_transpose", user_function=graph, names=lambda i: f"input {i}"
    )
    backward = simplify(replace(traced, name=f"{graph.name}_transpose"))
    return Reverse(graph, backward, tuple([(0, i) for i in others]), (), tuple(found))


def _batched(graphs: Graphs, size: int, batched: tuple[bool, ...]) -> Branches:
    axis = (context.batching, context.start) if _speak_of(context.batching, graphs) else None

    def make() -> Branches:
        made = tuple([batch_of(g, size, batched) for g in graphs])
        return _with_outputs(made, [g.outputs for g in made])

    return _once(graphs, ("batched", size, batched, axis), make)


def _speak_of(axis: Any, graphs: Graphs) -> bool:
    return any([axis in g.axes for g in graphs])


# ---------------------------------------------------------------------------------------------------------------------
# The ops. Inputs are the index and the operands; `branches` are Graphs of the operands. `switch_rows` has an index for
# each row, rows on axis 0 of the operands that are `batched`, and of all outputs.


def _known(x: Any, what: str) -> Any:
    """The plain value under a tracer, or None."""
    return plain_value(x, what)


def _nearest(index: Any, branches: Sequence[Any]) -> Any:
    """The branch of this number, or the nearest to it."""
    return branches[min(max(int(index), 0), len(branches) - 1)]


def _run(branches: Branches, index: Any, operands: Sequence[Any], batched: Sequence[bool] | None) -> list[Any]:
    """One of the branches, or, for `batched` operands, one for each row."""
    inputs = (index, *operands, *branches.consts)
    if not branches.graphs[0].outputs:
        return []
    if batched is None:
        return list(bind(switch_op, inputs, {"branches": branches.graphs}))
    flags = (*batched, *[False] * len(branches.consts))
    return list(bind(switch_rows_op, inputs, {"branches": branches.graphs, "batched": flags}))


def _expand(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    index = _known(inputs[0], "switch")
    if index is not None:
        return call(_nearest(index, params["branches"]), inputs[1:])
    return _recorded(trace, switch_op, inputs, params)


def _expand_rows(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    if not any(map(in_graph, inputs)):
        index = _known(inputs[0], "switch")
        if index is not None:
            return _by_rows(index, inputs[1:], params["branches"], params["batched"])
    return _recorded(trace, switch_rows_op, inputs, params)


def _by_rows(index: Any, operands: Sequence[Any], graphs: Graphs, batched: Sequence[bool]) -> list[Any]:
    """Each branch on the rows that choose it, equation by equation: where the choices are known, what is traced needs no
    more than an ordinary function to be differentiated."""
    parts = list(_parts(index, operands, graphs, batched))
    if len(parts) == 1:
        return parts[0][1]
    back = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return [np.concatenate(column)[back] for column in zip(*[results for _, results in parts], strict=True)]


def _parts(
    index: Any, operands: Sequence[Any], graphs: Graphs, batched: Sequence[bool]
) -> Iterator[tuple[Any, list[Any]]]:
    """For each branch that rows choose, these rows and what it makes of them. One branch is run on no rows if there are
    none."""
    size = len(index)
    chosen = np.clip(index.astype(np.int64), 0, len(graphs) - 1)
    for k in np.unique(chosen) if size else [0]:
        rows = np.flatnonzero(chosen == k)
        picked = [x[rows] if b and rows.size < size else x for x, b in zip(operands, batched, strict=True)]
        with entered(context.bound):
            results = _all(graphs[k], rows.size, picked, batched)
        yield rows, results


def _recorded(top: Trace, op: Op, inputs: tuple[Any, ...], params: Params) -> Any:
    """Where there will be a backward pass, what that will need is among the outputs."""
    graphs = params["branches"]
    if not top.reverse or "of" in params:
        return None
    wanted = tuple([i for i, x in enumerate(inputs[1:]) if type(x) is Tracer and x.origin is top])
    batched = params.get("batched")
    if not wanted or not (batched is None or all([batched[i] for i in wanted])):
        return None  # see _pull_shared
    branches = _forward(graphs, wanted, floating(graphs[0])).branches
    params = {**params, "branches": branches.graphs, "of": graphs, "wanted": wanted}
    if batched is not None:
        params["batched"] = (*batched, *[False] * len(branches.consts))
    return bind(op, (*inputs, *branches.consts), params)[: len(graphs[0].outputs)]


def _evaluate(index: Any, *operands: Any, branches: Graphs, **_: Any) -> tuple[Any, ...]:
    # The zeros that a branch gives may be a view of one number. Who reads them may write over them.
    return tuple([own(x, ()) for x in compiled(_nearest(index, branches))(*operands)])


def _evaluate_rows(
    index: Any, *operands: Any, branches: Graphs, batched: tuple[bool, ...], **_: Any
) -> tuple[Any, ...]:
    outs = [np.empty((len(index), *t.shape), t.dtype) for t in branches[0].out_types]
    for rows, results in _parts(index, operands, branches, batched):
        for out, found in zip(outs, results, strict=True):
            out[rows] = found
    return tuple(outs)


def _infer(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    return params["branches"][0].out_types


def _infer_rows(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    return tuple([ArrayType((*types[0].shape, *t.shape), t.dtype) for t in params["branches"][0].out_types])


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    active = tuple([i for i, t in enumerate(tangents[1:]) if t is not None])
    if not active:
        return [None] * len(out)
    branches, found = _tangents(params["branches"], active)
    batched = params.get("batched")
    flags = None if batched is None else [*batched, *[batched[i] for i in active]]
    results = iter(_run(branches, primals[0], [*primals[1:], *[tangents[i + 1] for i in active]], flags))
    return [next(results) if i in found else None for i in range(len(out))]


def _vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    own = tuple([i - 1 for i in wanted if i > 0])
    if not own:
        return [None] * len(wanted)
    given = tuple([i for i, ct in enumerate(cts) if ct is not None])
    batched = params.get("batched")
    # In the trace of a linear map there are no values.
    has_values = not any([type(x) is Tracer and x.origin.ended for x in primals])
    if batched is not None and has_values and not all([batched[i] for i in own]):
        found = _pull_shared(own, given, [*primals, *[cts[i] for i in given]], params)
    else:
        found = _pull(own, given, cts, out, primals, params)
    return [found.get(i - 1) for i in wanted]


def _pull(
    own: Wanted, given: tuple[int, ...], cts: Any, out: Any, primals: Sequence[Any], params: Params
) -> dict[int, Any]:
    """The cotangents of operands, from one switch of the branches' backward parts."""
    (index, *operands), batched = primals, params.get("batched")
    graphs, of = params["branches"], params.get("of")
    pulled = None
    if of is not None and own == params["wanted"] and max(given) < len(of[0].outputs):
        pulled = _pulled(of, own, given, floating(of[0]))
    if pulled is None:
        pulled = _transposed(graphs, own, given)
    if pulled is None:
        # Not what was foreseen when it was called, as in a second derivative: what is needed is computed again.
        pulled = _pulled(graphs, own, given, given)
        assert pulled is not None
        out = _run(_forward(graphs, own, given).branches, index, operands, batched)
    inputs = [*[(operands, out)[which][i] for which, i in pulled.needs], *[cts[i] for i in given]]
    flags = None
    if batched is not None:
        flags = [*[batched[i] if which == 0 else True for which, i in pulled.needs], *[True] * len(given)]
    results = _run(pulled.branches, index, inputs, flags)
    if batched is not None:
        results = [r if batched[i] else total(r, 0) for i, r in zip(pulled.found, results, strict=True)]
    return dict(zip(pulled.found, results, strict=True))


def _pull_shared(own: Wanted, given: tuple[int, ...], inputs: Sequence[Any], params: Params) -> dict[int, Any]:
    """The same where rows share an operand. A cotangent of it for each row, to be summed, may be too much to hold: that
    of a matrix is an outer product. So this is an equation of its own, which differentiates what is run on all rows of a
    branch together, where a matrix product sums. Its derivatives and batches are those of a Graph that does hold one
    for each row."""
    graphs, batched = params["branches"], params["batched"]
    count = len(batched) + 1
    types = [type_of(x) for x in inputs]

    def make() -> tuple[Graph, tuple[int, ...]]:
        found: list[int] = []

        def cotangents(*arrays: Any) -> list[Any]:
            cts: list[Any] = [None] * len(graphs[0].outputs)
            for i, ct in zip(given, arrays[count:], strict=True):
                cts[i] = ct
            results = _pull(own, given, cts, None, arrays[:count], _without_of(params))
            found.extend(results)
            return list(results.values())

        traced = trace_graph(cotangents, types, transform="vjp", user_function=graphs[0], names=lambda i: f"input {i}")
        return simplify(replace(traced, name=f"{graphs[0].name}_by_rows")), tuple(found)

    graph, found = _once(graphs, ("shared", own, given, batched, *types), make)
    if not found:
        return {}
    whole, consts = closed(graph)
    held = {"graph": whole, "branches": graphs, "batched": batched, "wanted": found, "given": given}
    return dict(zip(found, bind(pull_rows_op, (*inputs, *consts), held), strict=True))


def _expand_pull(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    return evaluate(params["graph"], inputs) if trace.linear else None


def _evaluate_pull(
    index: Any,
    *arrays: Any,
    graph: Graph,
    branches: Graphs,
    batched: tuple[bool, ...],
    wanted: Wanted,
    given: tuple[int, ...],
) -> tuple[Any, ...]:
    operands = list(arrays[: len(batched)])
    trace = Trace("vjp", graph, reverse=True)
    tracers = tracer_inputs(trace, [operands[i] for i in wanted])
    for i, t in zip(wanted, tracers, strict=True):
        operands[i] = t
    try:
        outs = _by_rows(index, operands, branches, batched)
        eqns = trace.finish()
    finally:
        trace.end()
    cts: list[Any] = [None] * len(outs)
    for i, ct in zip(given, arrays[len(batched) :], strict=False):  # constants of the graph come last
        cts[i] = ct
    results = pull_back(trace, eqns, tracers, outs, cts)
    return tuple(own_arrays(results, tracers, [index, *arrays]))


def _is_linear(positions: Iterable[int], params: Params) -> bool:
    wanted = tuple(sorted([i - 1 for i in positions]))
    graphs = params["branches"]
    return -1 not in wanted and _transposed(graphs, wanted, floating(graphs[0])) is not None


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    (index, *operands), (apart, *flags), graphs = inputs, batched, params["branches"]
    if apart and _speak_of(context.batching, graphs):
        # A collective needs all examples, so each branch is run on all of them.
        return _select(index, [_all(g, size, operands, flags) for g in graphs])
    if apart:
        return tuple(_run(Branches(graphs), index, operands, flags))
    if (known := _known(index, "switch")) is not None:
        return tuple(_all(_nearest(known, graphs), size, operands, flags))
    return tuple(_run(_batched(graphs, size, tuple(flags)), index, operands, None))


def _all(graph: Graph, size: int, operands: Sequence[Any], batched: Sequence[bool]) -> list[Any]:
    return [with_batch(r, size) for r in batch_graph(graph, size, operands, batched)]


def _select(index: Any, results: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Of what the branches return for all examples, for each example that which it chose."""
    outs = list(results[-1])
    for k in range(len(results) - 2, -1, -1):
        for j, r in enumerate(results[k]):
            chosen = np.reshape(index <= k, (*index.shape, *[1] * (r.ndim - index.ndim)))
            outs[j] = np.where(chosen, r, outs[j])
    return tuple(outs)


def _batch_rows(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    (index, *operands), (apart, *flags), graphs, rowwise = inputs, batched, params["branches"], params["batched"]
    if not apart:
        # Each row is a batch of its own, all of whose examples choose alike.
        fronted = [np.moveaxis(x, 0, 1) if b and f else x for x, b, f in zip(operands, rowwise, flags, strict=True)]
        results = _run(_batched(graphs, size, tuple(flags)), index, fronted, rowwise)
        return tuple([np.moveaxis(r, 0, 1) for r in results])
    rows = index.shape[1]
    if _speak_of(context.batching, graphs):
        with entered(context.bound):
            whole = [batch_of(g, rows, rowwise) for g in graphs]
        return _select(index, [_all(g, size, operands, flags) for g in whole])
    # The rows of all examples, one after the other.
    flat = []
    for x, b, f in zip(operands, rowwise, flags, strict=True):
        if b or f:
            shape = type_of(x).shape[b + f :]
            x = x if b else x[:, None]
            x = np.reshape(np.broadcast_to(x, (size, rows, *shape)), (size * rows, *shape))
        flat.append(x)
    either = [b or f for b, f in zip(rowwise, flags, strict=True)]
    results = _run(Branches(graphs), np.reshape(index, (size * rows,)), flat, either)
    return tuple([np.reshape(r, (size, rows, *r.shape[1:])) for r in results])


def _prune(
    inputs: tuple[Any, ...], params: Params, kept: Sequence[bool]
) -> tuple[tuple[Any, ...], Params, Sequence[int]]:
    """With the outputs that are read, and the operands that these need."""
    graphs = params["branches"]

    def make() -> tuple[Graphs, list[bool]]:
        chosen = [tuple([a for a, k in zip(g.outputs, kept, strict=True) if k]) for g in graphs]
        small = [eliminate_dead_code(replace(g, outputs=atoms)) for g, atoms in zip(graphs, chosen, strict=True)]
        used = [{a for a in (*[a for e in g.eqns for a in e.inputs], *g.outputs)} for g in small]
        # An axis is tied by an operand that nothing reads.
        needed = [
            any([g.axes or g.inputs[i] in u for g, u in zip(small, used, strict=True)]) for i in range(len(inputs) - 1)
        ]
        made = [replace(g, inputs=tuple([v for v, n in zip(g.inputs, needed, strict=True) if n])) for g in small]
        return tuple(made), needed

    branches, needed = _once(graphs, ("pruned", tuple(kept)), make)
    left = {"branches": branches}
    if "batched" in params:
        left["batched"] = tuple([b for b, n in zip(params["batched"], needed, strict=True) if n])
    inputs = (inputs[0], *[x for x, n in zip(inputs[1:], needed, strict=True) if n])
    return inputs, left, [i for i, k in enumerate(kept) if k]


def _forgotten(inputs: Sequence[Any], params: Params, definitions: Mapping[Any, Any]) -> Any:
    """Without what only the trace that was differentiated needs to know."""
    if "of" not in params:
        return None
    return (switch_rows_op if "batched" in params else switch_op), inputs, _without_of(params)


def _without_of(params: Params) -> Params:
    return {k: v for k, v in params.items() if k not in ("of", "wanted")}


def _inlined(inputs: Sequence[Any], params: Params) -> tuple[Graph, Sequence[Any]] | None:
    if not isinstance(inputs[0], Literal):
        return None
    return _nearest(inputs[0].value, params["branches"]), inputs[1:]


switch_op: Op = Op(
    "switch",
    evaluate=_evaluate,
    infer=_infer,
    jvp=_jvp,
    vjp=_vjp,
    batch=_batch,
    held=Held(expand=_expand, inline=_inlined, prune=_prune),
    several=True,
    fresh=True,
    kinds="",
    linear_if=_is_linear,
    simplify=_forgotten,
)

switch_rows_op: Op = Op(
    "switch_rows",
    evaluate=_evaluate_rows,
    infer=_infer_rows,
    jvp=_jvp,
    vjp=_vjp,
    batch=_batch_rows,
    held=Held(expand=_expand_rows, prune=_prune),
    several=True,
    fresh=True,
    kinds="",
    linear_if=_is_linear,
    simplify=_forgotten,
)

pull_rows_op: Op = Op(
    "pull_rows",
    evaluate=_evaluate_pull,
    infer=lambda types, params: params["graph"].out_types,
    jvp=call_op.jvp,
    vjp=call_op.vjp,
    batch=call_op.batch,
    held=Held(expand=_expand_pull),
    several=True,
    fresh=True,
    kinds="",
)


# ---------------------------------------------------------------------------------------------------------------------
# The functions.

_MISSING: Any = type("_Missing", (), {"__repr__": lambda self: "<missing>"})()


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = _MISSING,
) -> Any:
    """`true_fun(*operands)` if `pred` holds, else `false_fun(*operands)`.

    Where the predicate's value is known, this is an `if`: only the function that is chosen is called. Under `jit` and
    `vmap`, which know types only, both are traced, once, and one of them is run. `vmap` over the predicate runs each
    function on the examples that choose it.

    Args:
        pred: a boolean or a number (zero is false) of shape ().
        true_fun, false_fun: functions of the operands. What they close over may be traced, too.
        operands: arrays and pytrees of them.
        operand: the one operand, in place of `operands`.

    Returns:
        What the function returns. Where both are traced, they must return one structure and the same shapes; dtypes are
        promoted as NumPy does.

    Raises:
        ShapeError: a predicate that is an array; results of different shapes.
        TypeError: a predicate that is no number; results of different structures.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda x: tg.lax.cond(x > 0, np.sqrt, lambda x: 0.0 * x, x)
    >>> float(f(4.0)), float(tg.jit(f)(4.0)), tg.vmap(tg.grad(f))(np.array([4.0, -1.0])).tolist()
    (2.0, 2.0, [0.25, 0.0])
    """
    operands = _operands("cond", operands, operand)
    for name, fun in (("true_fun", true_fun), ("false_fun", false_fun)):
        _require_function("cond", name, fun)
    found = _choice_type("cond", "the predicate", pred, "np.all(pred) or np.any(pred)")
    if number_kind(found.dtype) not in "biuf":
        raise DtypeError(
            f"cond{at(user_source())}: the predicate must be a boolean or a real number, got {found}; write pred != 0"
        )
    known = _known(pred, "cond")
    if known is not None:
        return (true_fun if known else false_fun)(*own_traced(operands))
    index = pred if number_kind(found.dtype) == "b" else pred != 0
    return _traced_switch("cond", index, {"true_fun": true_fun, "false_fun": false_fun}, operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any, operand: Any = _MISSING) -> Any:
    """`branches[index](*operands)`, with the nearest branch for an index out of range. Otherwise as `cond`.

    Args:
        index: an integer of shape ().
        branches: functions of the operands.
        operands: arrays and pytrees of them.
        operand: the one operand, in place of `operands`.

    Returns:
        What the branch returns; see `cond`.

    Raises:
        ShapeError: an index that is an array; results of different shapes.
        TypeError: an index that is no integer; results of different structures.
        ValueError: no branches.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda i, x: tg.lax.switch(i, [np.sin, np.cos, np.square], x)
    >>> [float(tg.jit(f)(i, 3.0)) for i in (2, 7)]
    [9.0, 9.0]
    """
    operands = _operands("switch", operands, operand)
    branches = list(branches)
    if not branches:
        raise ValueError(f"switch{at(user_source())} got no branches; give a list of at least one function")
    for i, fun in enumerate(branches):
        _require_function("switch", f"branches[{i}]", fun)
    found = _choice_type("switch", "the index", index, "np.argmax(x)")
    if number_kind(found.dtype) not in "iu":
        instead = "int(index), or tg.lax.cond" if number_kind(found.dtype) == "b" else "index.astype(int)"
        raise DtypeError(f"switch{at(user_source())}: the index must be an integer, got {found}; write {instead}")
    known = _known(index, "switch")
    if known is not None or len(branches) == 1:
        return _nearest(0 if known is None else known, branches)(*own_traced(operands))
    return _traced_switch("switch", index, {f"branches[{i}]": fun for i, fun in enumerate(branches)}, operands)


def _operands(function: str, operands: tuple[Any, ...], operand: Any) -> tuple[Any, ...]:
    if operand is _MISSING:
        return operands
    if operands:
        raise TypeError(
            f"{function}{at(user_source())} got operands both by position and as operand=; give all by position"
        )
    return (operand,)


def _require_function(function: str, name: str, fun: Any) -> None:
    if not callable(fun):
        call = (
            "cond(pred, true_fun, false_fun, *operands)" if function == "cond" else "switch(index, branches, *operands)"
        )
        raise TypeError(
            f"{function}{at(user_source())}: {name} must be a function, got the {type(fun).__name__} {clip(repr(fun))}; "
            f"write tg.lax.{call}, with functions that return what is to be had"
        )


def _choice_type(function: str, what: str, x: Any, instead: str) -> ArrayType:
    (array,) = arrays_of([x], lambda _: f"{function}: {what}")
    found = type_of(array)
    if found.shape:
        raise ShapeError(
            f"{function}{at(user_source())}: {what} must be one number, of shape (), got {found}; write {instead} for "
            f"one number of it, or tg.vmap of the {function} to choose for each element"
        )
    return found


def _traced_switch(function: str, index: Any, functions: dict[str, Any], operands: tuple[Any, ...]) -> Any:
    """The functions' Graphs, and one equation that chooses among them. A predicate as an index is 0 where it is false."""
    found, in_tree = tree.tree_flatten(operands)
    leaves = arrays_of(found, lambda i: f"{function}: operand{tree.keystr(tree.tree_leaves_with_path(operands)[i][0])}")
    types = [type_of(x) for x in leaves]
    graphs, skeletons = [], []
    for label, fun in functions.items():
        graph, out_tree = _traced(function, label, fun, types, in_tree)
        graphs.append(graph)
        skeletons.append(tree.tree_unflatten(out_tree, list(graph.out_types)))
    _require_agreement(function, functions, skeletons)
    if not graphs[0].outputs:
        return tree.tree_unflatten(out_tree, [])
    if function == "cond":
        graphs.reverse()
    branches = _with_outputs(tuple(graphs), [g.outputs for g in graphs])
    # The index in an axis that the branches speak of ties the equation to the trace that maps over it, whatever the
    # operands depend on. The branches find it themselves.
    axes = sorted(frozenset().union(*[g.axes for g in graphs]), key=lambda axis: axis.depth)
    ties = [bind(axis_index_op, (), {"axis_name": axis}) for axis in axes]
    tied = [replace(g, inputs=(*g.inputs, *[Var(t.type) for t in ties])) for g in branches.graphs]
    results = _run(Branches(tuple(tied)), index, [*leaves, *branches.consts, *ties], None)
    return tree.tree_unflatten(out_tree, results)


def _traced(
    function: str, label: str, fun: Any, types: Sequence[ArrayType], in_tree: tree.PyTreeDef
) -> tuple[Graph, tree.PyTreeDef]:
    out_tree: Any = None

    def flat(*tracers: Any) -> list[Any]:
        nonlocal out_tree
        out = fun(*tree.tree_unflatten(in_tree, tracers))
        outputs, out_tree = tree.tree_flatten(out)
        return arrays_of(outputs, lambda i: output_name(fun, out, i))

    names = leaf_names(fun, in_tree)
    graph = trace_graph(flat, types, transform=function, user_function=fun, names=names, abstract=True, captures=True)
    name = graph.name if graph.name.isidentifier() else label.replace("[", "_").replace("]", "")
    return simplify(replace(graph, name=name)), out_tree


def _require_agreement(function: str, functions: dict[str, Any], skeletons: Sequence[Any]) -> None:
    """All functions must return one structure, and each leaf in one shape."""
    (label, fun), *others = functions.items()
    first = skeletons[0]
    for (other_label, other), skeleton in zip(others, skeletons[1:], strict=True):
        one, two = tree.tree_structure(first), tree.tree_structure(skeleton)
        if one != two:
            missing = [n for n, t in ((label, one), (other_label, two)) if not t.num_leaves]
            raise TypeError(
                f"{function}{at(user_source())}: its functions must return the same structure, but {label}, "
                f"{described(fun)}, returns {one} and {other_label}, {described(other)}, returns {two}; "
                + (
                    f"is a return missing in {missing[0]}?"
                    if missing
                    else "return the same containers, keys and lengths"
                )
            )
        for (path, a), (_, b) in zip(
            tree.tree_leaves_with_path(first), tree.tree_leaves_with_path(skeleton), strict=True
        ):
            if a.shape != b.shape:
                raise ShapeError(
                    f"{function}{at(user_source())}: its functions must return equal shapes, but "
                    f"output{tree.keystr(path)} is {a} from {label}, {described(fun)}, and {b} from {other_label}, "
                    f"{described(other)}; {_widened(label, a, other_label, b)}"
                )


def _widened(label: str, a: ArrayType, other_label: str, b: ArrayType) -> str:
    for name, small, large in ((label, a, b), (other_label, b, a)):
        try:
            fits = np.broadcast_shapes(small.shape, large.shape) == large.shape
        except ValueError:
            break
        if fits:
            return f"write np.broadcast_to(x, {large.shape}) in {name}"
    return "reshape, pad or cut one of them"
