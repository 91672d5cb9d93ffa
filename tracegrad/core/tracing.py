"""From a function to a Graph: what its trace recorded, as far as the outputs need it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core import advice
from tracegrad.core.collector import uncollected
from tracegrad.core.constants import Lasting
from tracegrad.core.context import capturing, context
from tracegrad.core.errors import DtypeError, derivative, name_of, user_source
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var
from tracegrad.core.names import output_name
from tracegrad.core.reuse import draws_in
from tracegrad.core.trace import Equation, Trace, as_array, require_numbers
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, ShapeDtypeStruct, type_of


def needed(eqns: Sequence[Equation], outputs: Sequence[Any], derivative: bool = False) -> list[Equation]:
    """The recorded equations that the outputs depend on, and those that do more than their outputs say, in order; or those
    through which tangents reach them, which take no part in an input that is data (`Op.data`)."""
    live = {id(x) for x in outputs}
    kept = []
    for eqn in reversed(eqns):
        op, inputs, _, params, out, wanted, _ = eqn
        if (
            any([id(o) in live for o in out]) or (not derivative and op.acts(params))
            if op.multiple_results
            else id(out) in live
        ):
            kept.append(eqn)
            data = op.data(params) if derivative and op.data is not None else ()
            live.update([id(inputs[i]) for i in wanted if i not in data])
    return kept[::-1]


def graph_of(
    trace: Trace,
    eqns: Sequence[Equation],
    inputs: Sequence[Tracer],
    outputs: Sequence[Any],
    name: str,
    originals: Lasting | None = None,
) -> Graph:
    """The Graph of a finished trace: what its outputs need, with everything from outside as literals or consts, and with
    the originals in place of copies, if these are given."""
    variables: dict[int, Atom] = {}
    consts: dict[int, tuple[Var, Any]] = {}
    original = originals.original if originals is not None else None

    def variable(tracer: Tracer) -> Var:
        found = variables[id(tracer)] = Var(tracer.type, tracer.name)
        return found

    def atom(x: Any) -> Atom:
        if type(x) is Tracer and x.origin is trace:
            return variables[id(x)]
        if type(x) is not Tracer and not isinstance(x, np.ndarray):
            return Literal(x)
        if original is not None and type(x) is np.ndarray:
            x = original(x)
        if id(x) not in consts:
            consts[id(x)] = Var(type_of(x)), x
        return consts[id(x)][0]

    heads = tuple([variable(x) for x in inputs])
    body = []
    for op, ins, _, params, out, _, _ in needed(eqns, outputs):
        atoms = tuple([atom(x) for x in ins])
        if op.same:
            variables[id(out)] = atoms[0]
            continue
        outs = out if op.multiple_results else (out,)
        body.append(Eqn(op, atoms, params, tuple([variable(o) for o in outs]), outs[0].source if outs else None))
    tails = tuple([atom(x) for x in outputs])
    return Graph(heads, tuple(body), tails, dict(consts.values()), name)


def trace_graph(
    function: Callable[..., Sequence[Any]],
    inputs: Sequence[Any],
    *,
    transform: str,
    user_function: Any = None,
    names: Callable[[int], str] | None = None,
    abstract: bool = False,
    captures: bool = False,
    lasting: Lasting | None = None,
    lent: Sequence[Tracer] = (),
    guards: Any = None,
    repeats: bool = False,
) -> Graph:
    """The Graph of a function from flat arrays to a flat sequence of arrays.

    `inputs` are arrays, whose values ride along, or ArrayTypes, for a trace of types only (all of one kind; without any,
    `abstract` decides). With `captures` what is done to tracers from outside is part of the Graph, too. With
    `lasting` it will be run more than once, and there is noted which arrays from outside it holds for. The tracers
    `lent` may be among its constants although their traces have ended; they need `captures`. In a trace of types `guards`
    answer where values are asked for; what these were is among the outputs, behind those of the function. Who `repeats` the
    Graph runs it again and again, with what it closes over as it is.
    """
    abstract = abstract or (bool(inputs) and type(inputs[0]) is ArrayType)
    user_function = function if user_function is None else user_function
    trace = Trace(transform, user_function, abstract=abstract, for_graph=True)
    uses: list[Any] = []
    trace.drawn = uses
    trace.repeats = repeats
    if names is not None:
        trace.names = names
    outer, thread, cell = context.trace, threading.get_ident(), context.cell
    trace.lasting = outer.lasting if lasting is None and outer is not None else lasting
    captor = capturing.get(thread)
    tracers = tracer_inputs(trace, inputs)
    if guards is not None:
        guards.begin(trace, tracers)
    asked = () if guards is None else guards.asked
    try:
        if type(user_function) is Graph and transform in ("vjp", "jvp"):
            context.cell = [derivative(user_source()), False]  # what is done around the rules, such as sums
        elif lasting is not None and cell is not None and cell[0] is None:
            context.cell = None  # it will be run in other scopes, too
        if abstract:
            trace.axes = context.bound
            trace.depth = 0 if outer is None else outer.depth + 1
            context.trace = trace
        if captures:
            trace.lent = frozenset(map(id, lent)) if captor is None else captor.lent.union(map(id, lent))
            capturing[thread] = trace
        outputs, eqns = trace.recorded(lambda: [*function(*tracers), *[a.tracer for a in asked]])
    finally:
        trace.drawn = None
        context.trace = outer
        context.cell = cell
        if guards is not None:
            trace.guards = None  # they know its tracers
        if captor is not None:
            capturing[thread] = captor
        else:
            capturing.pop(thread, None)
    draws = draws_in(eqns, uses) if uses else None
    graph = uncollected(graph_of, trace, eqns, tracers, outputs, name_of(user_function), lasting)
    if draws:
        graph.memo["draws"] = draws
        if lasting is not None:
            lasting.drawn = draws
    return graph


# Flat outputs and their tree -> the outputs of the Graph.
Finish = Callable[[list[Any], tree.PyTreeDef], list[Any]]


def traced(
    function: Callable[..., Any],
    call: Callable[..., Any],
    inputs: Sequence[Any],
    finish: Finish | None = None,
    **how: Any,
) -> tuple[Graph, tree.PyTreeDef]:
    """The Graph of `call`, which calls the user's `function` with arrays that it gets as leaves, and the tree of what that
    returns. `finish` has the last word on the outputs. `how` is what `trace_graph` takes besides."""
    out_tree: Any = None

    def flat(*tracers: Any) -> list[Any]:
        nonlocal out_tree
        out = call(*tracers)
        outputs, out_tree = tree.tree_flatten(out)
        arrays = arrays_of(outputs, lambda i: output_name(function, out, i))
        return arrays if finish is None else finish(arrays, out_tree)

    return trace_graph(flat, inputs, user_function=function, **how), out_tree


def tracer_inputs(trace: Trace, values: Sequence[Any]) -> list[Tracer]:
    """One tracer for each input value, or for each ArrayType in an abstract trace."""
    if trace.abstract:
        return [Tracer(trace, None, i, t) for i, t in enumerate(values)]
    return [Tracer(trace, v, i) for i, v in enumerate(values)]


def arrays_of(leaves: Sequence[Any], names: Callable[[int], str]) -> list[Any]:
    """The leaves of arguments as arrays, or an error that names the one that is none."""
    arrays = []
    for i, x in enumerate(leaves):
        try:
            if type(x) is np.ndarray:
                require_numbers(x)
            arrays.append(as_array(x))
        except DtypeError as error:
            name = names(i)
            why = advice.for_self() if name == "self" else ""
            raise DtypeError(f"{name}: {error}{why}") from None
    return arrays


def kind_of(out: Any) -> str:
    """What a function returned, in a few words."""
    if out is None:
        return "None (is a return missing?)"
    if isinstance(out, Tracer | np.ndarray | np.generic) or type(out) in PYTHON_SCALARS:
        return str(type_of(out))
    return f"a {type(out).__name__}" + (f" of {len(out)}" if isinstance(out, tuple | list) else "")


def declared_types(leaves: Sequence[Any], names: Callable[[int], str]) -> list[ArrayType]:
    """The types of leaves that may be arrays or `ShapeDtypeStruct`s."""
    arrays = arrays_of([0 if isinstance(x, ShapeDtypeStruct) else x for x in leaves], names)
    return [x.type if isinstance(x, ShapeDtypeStruct) else type_of(a) for x, a in zip(leaves, arrays, strict=True)]
