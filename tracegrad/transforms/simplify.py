"""Passes from Graph to Graph that leave every bit of every result as it was.

Each walks the equations once. What a pass knows of an op it reads off the op's record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tracegrad.graph import Atom, Eqn, Graph, Literal, Var

Pass = Callable[[Graph], Graph]


def simplify(graph: Graph) -> Graph:
    """All passes, in the order in which each finds most."""
    for one in PASSES:
        graph = one(graph)
    return graph


def rewritten(graph: Graph, rule: Callable[[Eqn], Atom | Eqn]) -> Graph:
    """The graph with each equation, its inputs already rewritten, replaced by another or by an atom in its place."""
    found: dict[Var, Atom] = {}

    eqns = []
    for eqn in graph.eqns:
        if found and not found.keys().isdisjoint(eqn.inputs):
            eqn = replace(eqn, inputs=tuple([found.get(a, a) for a in eqn.inputs]))  # type: ignore[arg-type]
        result = rule(eqn)
        if isinstance(result, Eqn):
            eqns.append(result)
            if result.outputs is not eqn.outputs:
                found.update(zip(eqn.outputs, result.outputs, strict=True))
        else:
            found[eqn.outputs[0]] = result
    outputs = tuple([found.get(a, a) for a in graph.outputs])  # type: ignore[arg-type]
    return Graph(graph.inputs, tuple(eqns), outputs, graph.consts, graph.name)


def eliminate_dead_code(graph: Graph) -> Graph:
    """Without equations and constants that no output needs."""
    live: set[Atom] = set(graph.outputs)
    eqns = []
    for eqn in reversed(graph.eqns):
        if not live.isdisjoint(eqn.outputs):
            eqns.append(eqn)
            live.update(eqn.inputs)
    consts = {v: x for v, x in graph.consts.items() if v in live}
    return Graph(graph.inputs, tuple(reversed(eqns)), graph.outputs, consts, graph.name)


def merge_common_subexpressions(graph: Graph) -> Graph:
    """With one equation in place of several with the same op, params and inputs."""
    known: dict[Any, Eqn] = {}

    def rule(eqn: Eqn) -> Atom | Eqn:
        if eqn.op.runs_user_code:
            return eqn
        key = (eqn.op.name, tuple(map(_same, eqn.inputs)), tuple(sorted(eqn.params.items())))
        first = known.setdefault(key, eqn)
        if first is eqn:
            return eqn
        return first.outputs[0] if len(first.outputs) == 1 else first

    merged = rewritten(graph, rule)
    seen: set[int] = set()
    eqns = [e for e in merged.eqns if id(e) not in seen and not seen.add(id(e))]  # type: ignore[func-returns-value]
    return Graph(merged.inputs, tuple(eqns), merged.outputs, merged.consts, merged.name)


def _same(atom: Atom) -> Any:
    """Equal for atoms that are the same value: a variable is itself, a literal its type and bits (0.0 is not -0.0)."""
    if isinstance(atom, Var):
        return atom
    value = np.asarray(atom.value)
    return type(atom.value), value.dtype.str, value.tobytes()


def apply_algebra(graph: Graph) -> Graph:
    """With what the ops' own `simplify` rules make of their inputs: x * 1, a transpose of a transpose."""
    definitions: dict[Var, Eqn] = {}

    def rule(eqn: Eqn) -> Atom | Eqn:
        while eqn.op.simplify is not None:
            result = eqn.op.simplify(eqn.inputs, eqn.params, definitions)
            if result is None:
                break
            if isinstance(result, Var | Literal):
                if result.type == eqn.outputs[0].type:
                    return result
                break
            eqn = replace(eqn, inputs=tuple(result[0]), params=result[1])
        for v in eqn.outputs:
            definitions[v] = eqn
        return eqn

    return rewritten(graph, rule)


def absorb_broadcasts(graph: Graph) -> Graph:
    """Without a broadcast whose readers broadcast themselves, as elementwise ops do."""
    sources: dict[Atom, Atom] = {}

    def rule(eqn: Eqn) -> Atom | Eqn:
        if eqn.op.repeats:
            sources[eqn.outputs[0]] = eqn.inputs[0]
            return eqn
        if not eqn.op.elementwise:
            return eqn
        if sources.keys().isdisjoint(eqn.inputs):
            return eqn
        inputs = list(eqn.inputs)
        for i, a in enumerate(inputs):
            if a in sources:
                tried = [*inputs[:i], sources[a], *inputs[i + 1 :]]
                if eqn.op.infer([t.type for t in tried], eqn.params) == eqn.outputs[0].type:
                    inputs = tried
        return replace(eqn, inputs=tuple(inputs))

    return rewritten(graph, rule)


PASSES: tuple[Pass, ...] = (
    apply_algebra,
    merge_common_subexpressions,
    absorb_broadcasts,
    eliminate_dead_code,
)
