"""switch_rows: a choice among Graphs that each row of a batch makes for itself.

Each branch is run once, on the rows that chose it and no others, so what is infinite in a branch not taken is never computed.
The cotangent of what rows share is pulled back through all rows of a branch together, `pull_rows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tracegrad.core.axes import within
from tracegrad.core.context import context
from tracegrad.core.graph import Graph, closed, replace
from tracegrad.core.op import Held, Op, Params, Wanted
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import Tracer, in_graph, plain_value
from tracegrad.core.tracing import trace_graph, tracer_inputs
from tracegrad.core.types import ArrayType, type_of
from tracegrad.lower.passes import simplify
from tracegrad.transforms.batch import own_arrays
from tracegrad.transforms.control.bodies import LOOPS
from tracegrad.transforms.control.branches import (
    Branches,
    all_rows,
    batched_branches,
    is_linear,
    jvp,
    nearest,
    operands_of,
    parts_of,
    prune,
    pull_anew,
    run,
    select,
    speak_of,
    without_zeros,
)
from tracegrad.transforms.control.call import call_op, pull_call
from tracegrad.transforms.control.held import Graphs, batch_of, expand_linear, keeping, once
from tracegrad.transforms.control.zeros import without
from tracegrad.transforms.linear import at_positions, pull_back


def _expand(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    """Each branch on the rows that choose it, equation by equation: where the choices are known, what is traced needs no
    more than an ordinary function to be differentiated."""
    if any(map(in_graph, inputs)):
        return None
    index = plain_value(inputs[0], "switch")
    return None if index is None else _by_rows(index, inputs[1:], params["branches"], params["batched"])


def _by_rows(index: Any, operands: Sequence[Any], graphs: Graphs, batched: Sequence[bool]) -> list[Any]:
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
        yield rows, within(context.bound, None, 0, all_rows, graphs[k], rows.size, picked, batched)


LOOPS[_parts.__code__] = "", "k"


def _evaluate(index: Any, *operands: Any, branches: Graphs, batched: tuple[bool, ...]) -> tuple[Any, ...]:
    outs = [np.empty((len(index), *t.shape), t.dtype) for t in branches[0].out_types]
    for rows, results in _parts(index, operands, branches, batched):
        for out, found in zip(outs, results, strict=True):
            out[rows] = found
    return tuple(outs)


def _replay(run: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    index, *operands = inputs
    rows = [
        run(
            f"row {i}",
            nearest(chosen, params["branches"]),
            [x[i] if b else x for x, b in zip(operands, params["batched"], strict=True)],
        )
        for i, chosen in enumerate(index)
    ]
    return [np.stack(column) for column in zip(*rows, strict=True)]


def _infer(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    return tuple([ArrayType((*types[0].shape, *t.shape), t.dtype) for t in params["branches"][0].out_types])


def _vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    batched = params["batched"]
    # In the trace of a linear map there are no values.
    has_values = not any([type(x) is Tracer and x.origin.ended for x in primals])
    if has_values and not all([batched[i] for i in operands_of(wanted)]):
        found = _pull_shared(wanted, cts, primals, params)
    else:
        found = pull_anew(wanted, cts, primals, params)
    return [found.get(i) for i in wanted]


def _pull_shared(wanted: Wanted, cts: Sequence[Any], primals: Sequence[Any], params: Params) -> dict[int, Any]:
    """The same where rows share an operand. A cotangent of it for each row, to be summed, may be too much to hold: that
    of a matrix is an outer product. So this is an equation of its own, which differentiates what is run on all rows of a
    branch together, where a matrix product sums. Its derivatives and batches are those of a Graph that does hold one
    for each row."""
    graphs, batched = params["branches"], params["batched"]
    count = len(primals)
    given = tuple([i for i, ct in enumerate(cts) if ct is not None])
    inputs = [*primals, *[cts[i] for i in given]]
    types = [type_of(x) for x in inputs]

    def make() -> tuple[Graph, tuple[int, ...]]:
        found: list[int] = []

        def cotangents(*arrays: Any) -> list[Any]:
            cts = at_positions(len(graphs[0].outputs), given, arrays[count:])
            results = pull_anew(wanted, cts, arrays[:count], params)
            found.extend([i for i, r in results.items() if r is not None])
            return [results[i] for i in found]

        traced = trace_graph(cotangents, types, transform="vjp", user_function=graphs[0], names=lambda i: f"input {i}")
        return simplify(replace(traced, name=f"{graphs[0].name}_by_rows")), tuple(found)

    graph, found = once(graphs, ("shared", wanted, given, batched, *types), make)
    if not found:
        return {}
    whole, consts = closed(graph)
    operands = tuple([i - 1 for i in found])
    held = {"graph": whole, "branches": graphs, "batched": batched, "wanted": operands, "given": given}
    return dict(zip(found, bind(pull_rows_op, (*inputs, *consts), held), strict=True))


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
    outs, eqns = trace.recorded(_by_rows, index, operands, branches, batched)
    count = len(batched)  # constants of the graph come last
    cts = at_positions(len(outs), given, arrays[count : count + len(given)])
    results = pull_back(trace, eqns, tracers, outs, cts)
    return tuple(own_arrays(results, tracers, [index, *arrays]))


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    (index, *operands), (apart, *flags), graphs, rowwise = inputs, batched, params["branches"], params["batched"]
    if not apart:
        # Each row is a batch of its own, all of whose examples choose alike.
        fronted = [np.moveaxis(x, 0, 1) if b and f else x for x, b, f in zip(operands, rowwise, flags, strict=True)]
        results = run(batched_branches(graphs, size, tuple(flags))[0], index, fronted, rowwise)
        return tuple([np.moveaxis(r, 0, 1) for r in results])
    rows = index.shape[1]
    if speak_of(context.batching, graphs):
        whole = [within(context.bound, None, 0, batch_of, g, rows, rowwise) for g in graphs]
        return select(index, [all_rows(g, size, operands, flags) for g in whole])
    # The rows of all examples, one after the other.
    flat = []
    for x, b, f in zip(operands, rowwise, flags, strict=True):
        if b or f:
            shape = type_of(x).shape[b + f :]
            x = x if b else x[:, None]
            x = np.reshape(np.broadcast_to(x, (size, rows, *shape)), (size * rows, *shape))
        flat.append(x)
    either = [b or f for b, f in zip(rowwise, flags, strict=True)]
    results = run(Branches(graphs), np.reshape(index, (size * rows,)), flat, either)
    return tuple([np.reshape(r, (size, rows, *r.shape[1:])) for r in results])


switch_rows_op: Op = Op(
    "switch_rows",
    evaluate=_evaluate,
    infer=_infer,
    jvp=jvp,
    vjp=_vjp,
    batch=_batch,
    held=Held(_expand, *keeping(lambda: switch_rows_op, parts_of), without_zeros, None, prune, _replay, by_rows=True),
    multiple_results=True,
    never_aliases=True,
    kinds="",
    linear_if=is_linear,
)


def _pull_vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    found = pull_call(params["graph"], wanted, primals, cts)
    return [found.get(i) for i in wanted]


def _pull_without(params: Params, zeros: tuple[int, ...]) -> tuple[Params, Any, Any, tuple[Any, ...]]:
    """For zeros among the cotangents."""
    start = len(params["batched"]) + 1
    count = len(params["graph"].inputs)
    rest = without(params["graph"], zeros, [i for i in range(count) if i not in zeros])
    graph, consts = closed(rest.graph)
    wanted = tuple([params["wanted"][k] for k in rest.found])
    given = tuple([k for i, k in enumerate(params["given"], start) if i not in zeros])
    return {**params, "graph": graph, "wanted": wanted, "given": given}, rest.left, rest.found, consts


pull_rows_op: Op = Op(
    "pull_rows",
    evaluate=_evaluate_pull,
    infer=lambda types, params: params["graph"].out_types,
    jvp=call_op.jvp,
    vjp=_pull_vjp,
    batch=call_op.batch,
    held=Held(expand_linear, without=_pull_without, by_rows=True),
    multiple_results=True,
    never_aliases=True,
    kinds="",
)
