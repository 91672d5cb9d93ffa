"""Running a function once more, equation by equation, with all values kept: what the explanations of `tg.debug` look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import is_boxed, unboxed
from tracegrad.core.context import context
from tracegrad.core.graph import Eqn, Graph, Literal, Var
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.names import parameter_name
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of, traced
from tracegrad.lower.passes import inline_calls


class Call(NamedTuple):
    """The Graph of one call of a function, the arrays that it was called with, and the tree of what it returns."""

    graph: Graph
    inputs: list[Any]
    out_tree: tree.PyTreeDef


def graph_of_call(what: str, fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Values ride along, so that Python's branches go as they do. Keyword arguments are inputs where they are arrays."""
    found, in_tree = tree.tree_flatten_with_path((args, kwargs))
    leaves = [np.asarray(x) if is_jax_array(x) else x for _, x in found]
    free = [
        i for i, (path, _) in enumerate(found) if path[0].idx == 0 or isinstance(leaves[i], np.ndarray | np.generic)
    ]

    def name(i: int) -> str:
        kind, first, *rest = found[free[i]][0]
        return (first.key if kind.idx else parameter_name(fun, first.idx)) + tree.keystr(tuple(rest))

    def call(*tracers: Any) -> Any:
        full = list(leaves)
        for i, tracer in zip(free, tracers, strict=True):
            full[i] = tracer
        own_args, own_kwargs = tree.tree_unflatten(in_tree, full)
        return fun(*own_args, **own_kwargs)

    inputs = arrays_of([leaves[i] for i in free], name)
    outer = context.explains
    try:
        context.explains = True
        graph, out_tree = quietly(("all",), lambda: traced(fun, call, inputs, transform=what, names=name))
    finally:
        context.explains = outer
    return Call(inline_calls(graph), inputs, out_tree)


class Level:
    """A Graph that was run: the value of each of its variables. `outer` and `eqn` say in which one it was, as a part of which
    equation, and `which` as which of several runs of it."""

    def __init__(
        self, graph: Graph, inputs: Sequence[Any], outer: Level | None = None, eqn: Eqn | None = None, which: str = ""
    ) -> None:
        self.graph = inline_calls(graph)
        self.outer, self.eqn, self.which = outer, eqn, which
        self.values: dict[Var, Any] = dict(zip(self.graph.inputs, inputs, strict=True))
        self.values.update(self.graph.consts)
        for eqn in self.graph.eqns:
            out = bind(eqn.op, tuple([self[a] for a in eqn.inputs]), eqn.params)
            outs = out if eqn.op.multiple_results else (out,)
            self.values.update(
                zip(eqn.outputs, [np.asarray(unboxed(x)) if is_boxed(x) else x for x in outs], strict=True)
            )

    def __getitem__(self, atom: Any) -> Any:
        return atom.value if type(atom) is Literal else self.values[atom]

    @property
    def outputs(self) -> list[Any]:
        return [self[a] for a in self.graph.outputs]

    def runs(self, eqn: Eqn, look: Callable[[Level], bool]) -> Level | None:
        """The first run of a Graph that an equation holds for which `look` says so."""
        held = eqn.op.held
        if held is None or held.replay is None:
            return None

        def run(which: str, graph: Graph, inputs: Sequence[Any]) -> list[Any]:
            level = Level(graph, inputs, self, eqn, which)
            if look(level):
                raise _Found(level)
            return level.outputs

        try:
            held.replay(run, [self[a] for a in eqn.inputs], eqn.params)
        except _Found as found:
            return found.level
        return None

    def steps(self) -> tuple[str, ...]:
        """Which runs it is within, outermost first."""
        inner = (self.which,) if self.which else ()
        return inner if self.outer is None else (*self.outer.steps(), *inner)


class _Found(Exception):
    def __init__(self, level: Level) -> None:
        self.level = level


def is_number(x: Any) -> bool:
    """Whether a value can be infinite or NaN."""
    return type(x) is not Tracer and np.asarray(x).dtype.kind not in "biuSUOMmT"
