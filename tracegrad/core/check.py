"""Is a Graph well-formed and well-typed? Run by the tests after every transform and pass."""

from __future__ import annotations

import numpy as np

from tracegrad.core.errors import GraphError
from tracegrad.core.graph import Atom, Graph, Var
from tracegrad.core.show import Names, eqn_text
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import type_of


def check(graph: Graph) -> None:
    """Raise GraphError, showing the equation and its neighbours, unless every variable is defined once and before use
    and every equation's output types are what its op's type rule infers.

    >>> import numpy as np, tracegrad as tg
    >>> check(tg.make_graph(np.sin)(np.ones(3)))
    """
    defined: set[Var] = set()

    def define(var: Var, where: int) -> None:
        if var in defined:
            fail(f"variable of type {var.type} is defined twice", where)
        defined.add(var)

    def fail(what: str, where: int) -> None:
        name = Names()
        for v in (*graph.inputs, *graph.consts):
            name(v)
        lines = [
            f"{'->' if i == where else '  '} {eqn_text(e, name)}"
            for i, e in enumerate(graph.eqns)
            if abs(i - where) <= 2
        ]
        raise GraphError("\n".join([f"graph {graph.name!r}, equation {where}: {what}", *lines]))

    def use(atom: Atom, where: int) -> None:
        if isinstance(atom, Var) and atom not in defined:
            fail(f"a variable of type {atom.type} is used before it is defined", where)

    for var in graph.inputs:
        define(var, 0)
    for var, value in graph.consts.items():
        define(var, 0)
        if not isinstance(value, np.ndarray | Tracer):
            fail(f"a constant is a {type(value).__name__}, not an array", 0)
        if type_of(value) != var.type:
            fail(f"a constant of type {type_of(value)} stands under the type {var.type}", 0)
    for i, eqn in enumerate(graph.eqns):
        for atom in eqn.inputs:
            use(atom, i)
        inferred = eqn.op.infer([a.type for a in eqn.inputs], eqn.params)
        types = inferred if isinstance(inferred, tuple) else (inferred,)
        if list(types) != [v.type for v in eqn.outputs]:
            fail(f"{eqn.op.name} gives {types}, but its outputs are {[v.type for v in eqn.outputs]}", i)
        for var in eqn.outputs:
            define(var, i)
        for value in eqn.params.values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Graph):
                    check(part)
    for atom in graph.outputs:
        use(atom, len(graph.eqns) - 1)
