"""What a function and its derivative rules close over of enclosing traces.

That is further inputs of the call, since the rules may be run when those traces have ended and others stand for these values (a
batch of them, the elements of a loop). The rules know no derivative with respect to them, so whoever takes one is told to make an
argument of it.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

from tracegrad import tree
from tracegrad.core.boxes import is_boxed
from tracegrad.core.errors import UnexpectedTracerError
from tracegrad.core.graph import Graph, evaluate
from tracegrad.core.trace import is_lent
from tracegrad.core.tracer import Tracer, present
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import DIRECT, type_of
from tracegrad.transforms.custom.rules import Later, Rules, pull_of, without_none


class ClosesOver(UnexpectedTracerError):
    """What a call raises that is seen to close over something. `closed` is that, and `call` a function of all inputs, of
    which it has the last."""

    def __init__(self, name: str, closed: Sequence[Any], call: Callable[..., Sequence[Any]]) -> None:
        super().__init__(
            f"the function {name!r} with custom derivatives uses {described_first(closed)} from outside; pass it as an argument"
        )
        self.closed = closed
        self.call = call


def described_first(closed: Sequence[Any]) -> str:
    return next((x.described() for x in closed if type(x) is Tracer), "an array")


def with_closed(rules: Rules, own: int, ties: tuple[Any, ...], closed: tuple[Any, ...], call: Any) -> Rules:
    """The rules for further inputs than their `own`: what stands for that over which they close, and, the last of these, what they
    leave aside."""
    run, jvp, fwd, bwd = rules.call, rules.jvp, rules.fwd, rules.bwd
    ends = own + len(closed)

    def moved(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> Sequence[Any]:
        assert jvp is not None
        rule = lambda arrays: jvp(arrays[:own], arrays[own : 2 * own], arrays[2 * own :])
        return _through(closed, primals[own:ends], rule, [*primals[:own], *tangents[:own], *out])

    def forward(
        primals: Sequence[Any], perturbed: Sequence[bool], out: Sequence[Any]
    ) -> tuple[Sequence[Any] | None, Any]:
        assert fwd is not None
        if _are_themselves(closed, primals[own:ends]):
            return fwd(primals[:own], perturbed[:own], out)
        return None, Later(tuple(perturbed[:own]), out)

    def pulled(residuals: Any, primals: Sequence[Any], cts: Sequence[Any]) -> Sequence[Any]:
        assert fwd is not None and bwd is not None
        if type(residuals) is Later:
            rule = pull_of(fwd, bwd, own, residuals)
            found = _through(closed, primals[own:ends], rule, [*primals[:own], *residuals.out, *cts])
        else:
            found = bwd(residuals, primals[:own], cts)
        return [*found, *[None] * (len(primals) - own)]

    @functools.wraps(run)
    def called(*inputs: Any) -> Sequence[Any]:
        if call is not None:
            found: Sequence[Any] = call(*inputs[:ends])
            return found
        return run(*inputs[:own])

    found = Rules(
        rules.name, rules.own, called, None if jvp is None else moved, None if fwd is None else forward,
        None if bwd is None else pulled, (*rules.closed, *ties, *closed),
        acts=rules.acts, reads=rules.reads if call is None else ends,
    )  # fmt: skip
    found.remake = (with_closed, rules, own, ties, closed, call)
    return found


def _are_themselves(closed: Sequence[Any], given: Sequence[Any]) -> bool:
    return all([x is c for x, c in zip(given, closed, strict=True)])


def _through(
    closed: Sequence[Any], given: Sequence[Any], rule: Callable[[Sequence[Any]], Sequence[Any]], arrays: Sequence[Any]
) -> Sequence[Any]:
    """What a rule makes of arrays, with `given` in the place of that over which it closes."""
    if _are_themselves(closed, given):
        return rule(arrays)
    tracers = [c for c in closed if type(c) is Tracer]

    def run(flat: Callable[..., Sequence[Any]], known: Sequence[int]) -> Sequence[Any]:
        inputs = [arrays[i] for i in known]
        graph = trace_graph(
            flat,
            [type_of(x) for x in inputs],
            transform="call",
            user_function=rule,
            abstract=True,
            captures=True,
            lent=tracers,
        )
        stand_ins = {id(c): x for c, x in zip(closed, given, strict=True)}
        heads = {v: stand_ins[id(x)] for v, x in graph.consts.items() if id(x) in stand_ins}
        rest = {v: x for v, x in graph.consts.items() if v not in heads}
        whole = Graph((*graph.inputs, *heads), graph.eqns, graph.outputs, rest, graph.name)
        return evaluate(whole, [*inputs, *heads.values()])

    return without_none(rule, arrays, run)


class HoldsFunctions:
    """What has functions among its attributes, which are called when it is."""


def closed_over(functions: Sequence[Any]) -> list[Tracer]:
    """The tracers that functions hold: in their cells and defaults, in what they are bound to, in functions among these.
    That is for the rules, which are run later; what the function itself uses is seen when it is called."""
    found: dict[int, Tracer] = {}
    seen: dict[int, Any] = {}
    waiting = list(functions)
    while waiting:
        x = waiting.pop()
        if id(x) in seen:
            continue
        seen[id(x)] = x
        if isinstance(x, Tracer):
            x = x if type(x) is Tracer else present(x)
            if not is_boxed(x) and (not x.origin.ended or is_lent(x)):
                found[id(x)] = x
        elif isinstance(x, types.FunctionType):
            cells = [cell.cell_contents for cell in x.__closure__ or () if cell != _EMPTY]
            waiting += [*cells, *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()]
        elif isinstance(x, types.MethodType):
            waiting += [x.__func__, *getattr(x.__self__, "__dict__", {}).values()]
        elif isinstance(x, functools.partial):
            waiting += [x.func, *x.args, *x.keywords.values()]
        elif isinstance(x, HoldsFunctions):
            waiting += vars(x).values()
        elif isinstance(x, dict):
            waiting += x.values()
        elif isinstance(x, list | tuple):
            waiting += x
        elif type(x) not in DIRECT:
            waiting += tree.tree_leaves(x)
    return list(found.values())


_EMPTY = types.CellType()


def closing(name: str, outputs: Sequence[Any]) -> ClosesOver:
    """For outputs that depend on more than arguments. They have been computed, and are what is closed over themselves."""
    places = {i: k for k, i in enumerate([i for i, o in enumerate(outputs) if type(o) is Tracer and not is_boxed(o)])}

    def call(*inputs: Any) -> list[Any]:
        given = inputs[len(inputs) - len(places) :]
        return [given[places[i]] if i in places else o for i, o in enumerate(outputs)]

    return ClosesOver(name, [outputs[i] for i in places], call)
