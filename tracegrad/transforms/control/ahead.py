"""What the steps of a loop compute of its elements and constants alone, computed ahead of the loop for all steps at once.

Of small arrays NumPy's calls take longer than what they compute, so a hundred steps that each invert a matrix they were given take
longer than one inversion of a hundred matrices. No bit may change by that: what is computed ahead is of ops that work element by element
or matrix by matrix, and what the steps are then given lies in memory as it would if they made it.

It is done where a Graph is written out for NumPy. No transform ever meets it, and XLA fuses what a step computes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Eqn, Graph, Var, remembered, replace
from tracegrad.core.memory import in_c_order
from tracegrad.core.op import OPS, Op, Params
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import number_kind
from tracegrad.lower.numpy.layouts import Layouts
from tracegrad.lower.numpy.memory import size_of
from tracegrad.lower.passes import simplify
from tracegrad.transforms.batch import Batched, batch_graph, batched_types
from tracegrad.transforms.control.call import call_op

FEW = 4  # steps from which on it pays
SMALL = 1 << 12  # bytes of an array of a step at most,
TOGETHER = 1 << 18  # and of those of all steps, which stay in the cache
# Of a stack NumPy computes each matrix by itself: the same calls of LAPACK.
_BY_MATRICES = frozenset(["inv", "solve"])

# So do stacks lie that steps are computed ahead from, whatever lay in any other way.
in_c_order_op = Op(
    "in_c_order",
    evaluate=np.ascontiguousarray,
    infer=lambda types, params: types[0],
    strides=lambda inputs, types, params: in_c_order(types[0].shape),
    kinds="",
)


class _Ahead(NamedTuple):
    """A loop in two parts: the Graph to be run ahead of it, of inputs of the loop with these numbers; and the body of (the carries that
    change, elements, constants), where those inputs have these numbers, and the outputs of the first Graph follow, the stacked ones
    behind the elements. `kept` are the carries that no step changes."""

    first: Graph | None
    given: Sequence[int]
    body: Graph
    carries: Sequence[int]
    elements: Sequence[int]
    consts: Sequence[int]
    stacked: int
    kept: Sequence[int]


def ahead_of_scan(eqn: Eqn) -> list[Eqn] | None:
    """The equations in place of a scan, itself the last of them; None where nothing is to be done ahead of it."""
    params = eqn.params
    body, carries, elements, length = params["body"], params["carries"], params["elements"], params["length"]
    if length < FEW or body.consts:
        return None
    kept = tuple([
        i for i, (v, a) in enumerate(zip(body.inputs[:carries], body.outputs, strict=False))
        if a is v and eqn.inputs[i].type == v.type == eqn.outputs[i].type and number_kind(v.type.dtype) in "iufc"
    ])  # fmt: skip
    parts: _Ahead | None = remembered(body, ("ahead", carries, elements, length, kept), lambda: _parts(params, kept))
    if parts is None:
        return None
    eqns: list[Eqn] = []
    made: tuple[Var, ...] = ()
    if parts.first is not None:
        made = tuple([Var(t) for t in parts.first.out_types])
        given = tuple([eqn.inputs[i] for i in parts.given])
        eqns.append(Eqn(call_op, given, {"graph": parts.first}, made, eqn.raw_source))
    for i in parts.kept:  # which the loop gives as it was given it
        eqns.append(Eqn(OPS["positive"], (eqn.inputs[i],), {}, (eqn.outputs[i],), eqn.raw_source))
    carry, xs, consts = [[eqn.inputs[i] for i in part] for part in (parts.carries, parts.elements, parts.consts)]
    changed = {**params, "body": parts.body, "carries": len(carry), "elements": len(xs) + parts.stacked}
    inputs = (*carry, *xs, *made[: parts.stacked], *consts, *made[parts.stacked :])
    outputs = tuple([v for i, v in enumerate(eqn.outputs) if i not in parts.kept])
    return [*eqns, replace(eqn, inputs=inputs, params=changed, outputs=outputs)]


def _parts(params: Params, kept: Sequence[int]) -> _Ahead | None:
    body: Graph = params["body"]
    carries, length, inputs = params["carries"], params["length"], body.inputs
    ends = carries + params["elements"]
    varying, fixed = set(inputs[carries:ends]), {*inputs[ends:], *[inputs[i] for i in kept]}
    lying = Layouts(body, any_order=True)
    lying.update((v, e) for e in body.eqns for v in e.outputs)
    eqns: Sequence[Eqn] = body.eqns
    while True:
        eqns, shared = _computable(eqns, varying, fixed, length)
        rest, needed = _rest(body, eqns)
        # What a step is given lies in C order, and so must what it would make.
        left = {v for v in needed if v not in shared and not _is_in_c_order(lying, v)}
        if not left:
            break
        eqns = [e for e in eqns if left.isdisjoint(e.outputs)]
    outputs = tuple([a for i, a in enumerate(body.outputs) if i not in kept])
    while True:
        read = {a for e in rest for a in e.inputs}.union(outputs)
        elements = [i for i in range(carries, ends) if inputs[i] in read]
        stacked = [v for v in needed if v not in shared]
        # To be given an array takes a step half as long as a call of NumPy's.
        calls = len([e for e in eqns if not is_view(e.op)])
        if not eqns or 2 * calls + ends - carries > len(elements) + len(stacked):
            break
        eqns, rest, needed = [], body.eqns, []
    if not eqns and not kept:
        return None
    needed = [*stacked, *[v for v in needed if v in shared]]
    used = {a for e in eqns for a in e.inputs}
    given = [i for i, v in enumerate(inputs) if v in used]
    first = of_all_steps(
        Graph(tuple([inputs[i] for i in given]), tuple(eqns), tuple(needed), {}, f"{body.name}_ahead"), varying, length
    )
    moving = [i for i in range(carries) if i not in kept]
    consts = [i for i in (*range(ends, len(inputs)), *kept) if inputs[i] in read]
    order = [inputs[i] for i in (*moving, *elements)] + stacked + [inputs[i] for i in consts] + needed[len(stacked) :]
    return _Ahead(
        first, given, Graph(tuple(order), rest, outputs, {}, body.name), moving, elements, consts, len(stacked), kept
    )


def _computable(
    eqns: Sequence[Eqn], varying: Collection[Var], fixed: Collection[Var], length: int
) -> tuple[list[Eqn], set[Var]]:
    """The equations that can be computed ahead of all steps, and what they make that is the same in each."""
    found: list[Eqn] = []
    rows, shared = set(varying), set(fixed)
    for eqn in eqns:
        variables = [a for a in eqn.inputs if type(a) is Var]
        if eqn.op.held is not None or eqn.op.collective is not None or eqn.op.acts(eqn.params):
            continue
        if shared.issuperset(variables):
            if not any([v.type.weak for v in eqn.outputs]):
                found.append(eqn)
                shared.update(eqn.outputs)
        elif all([v in rows or v in shared for v in variables]) and is_by_rows(eqn, rows, length):
            found.append(eqn)
            rows.update(eqn.outputs)
    return found, shared


def is_by_rows(eqn: Eqn, rows: Collection[Var], length: int) -> bool:
    """Whether NumPy gives the same bits for all steps at once, in little enough memory."""
    op, types = eqn.op, [a.type for a in (*eqn.inputs, *eqn.outputs)]
    of = types[-1]
    if len(eqn.outputs) != 1 or size_of(of) > SMALL or size_of(of) * length > TOGETHER:
        return False
    if op.name in _BY_MATRICES:
        return all([a in rows for a in eqn.inputs])
    # (Bits of complex functions depend on whether there is one element.)
    if any([(t.weak and t.shape) or number_kind(t.dtype) not in "biuf" for t in types]):
        return False
    is_ufunc = isinstance(op.evaluate, np.ufunc) and op.evaluate.signature is None and not eqn.params
    return not of.weak and (is_ufunc or is_view(op) or op.name == "outer")


def is_view(op: Op) -> bool:
    return op.view is not None or op.broadcasts


def _is_in_c_order(lying: Layouts, v: Var) -> bool:
    return lying.of(v).strides == in_c_order(v.type.shape)


def _rest(body: Graph, eqns: Sequence[Eqn]) -> tuple[tuple[Eqn, ...], list[Var]]:
    """What is left of a step where equations are computed ahead, with views of what these make, which cost next to nothing; and what of
    theirs that reads."""
    ahead = set(map(id, eqns))
    read = set(body.outputs)
    rest = []
    needed = []
    for eqn in reversed(body.eqns):
        if id(eqn) not in ahead or (is_view(eqn.op) and not read.isdisjoint(eqn.outputs)):
            rest.append(eqn)
            read.update(eqn.inputs)
        else:
            needed += [v for v in eqn.outputs if v in read]
    return tuple(rest[::-1]), needed[::-1]


def of_all_steps(graph: Graph, varying: Collection[Var], length: int) -> Graph | None:
    """The Graph for stacks of those of its inputs that differ from step to step."""
    if not graph.eqns:
        return None
    flags = [v in varying for v in graph.inputs]

    def all_steps(*arrays: Any) -> list[Any]:
        outs = batch_graph(graph, length, arrays, flags)
        return [x.value if type(x) is Batched else x for x in outs]

    types = batched_types(graph, length, flags)
    found = trace_graph(all_steps, types, transform="vmap", user_function=graph, abstract=True)
    found = simplify(replace(found, name=graph.name))
    sources: dict[Any, Any] = {v: e.raw_source for e in graph.eqns for v in e.outputs}
    laid: list[Eqn] = []
    outputs = list(found.outputs)
    for i, (a, v) in enumerate(zip(found.outputs, graph.outputs, strict=True)):
        if a.type.shape != v.type.shape:  # a stack
            out = outputs[i] = Var(a.type)
            laid.append(Eqn(in_c_order_op, (a,), {}, (out,), sources[v]))
    return replace(found, eqns=(*found.eqns, *laid), outputs=tuple(outputs))
