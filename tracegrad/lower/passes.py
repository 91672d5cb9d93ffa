"""Passes from Graph to Graph that leave every bit of every result as it was.

Each walks the equations once. What a pass knows of an op it reads off the op's record.

NumPy adds up elements in the order in which they lie in memory, and lays out results like operands. So a pass that is told
`any_layout` leaves it as it is how an array lies, whatever the layout of the inputs. Where they are known to be in C order
(`simplify_in_order`), or nobody looks at layouts (XLA), passes may do more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.constants import is_immutable
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, exact_params, exactly, replace
from tracegrad.core.memory import axes_of
from tracegrad.core.op import OPS, Definitions, Op, Simplification
from tracegrad.core.quiet import strictly
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.lower.numpy.layouts import Layouts

Pass = Callable[[Graph], Graph]


class _Computed(Definitions):
    """Where inputs may lie in any way: what ufuncs have computed from them is dense."""

    def is_dense(self, x: Atom) -> bool:
        made = self.get(x)
        is_computed = made is not None and made.op.elementwise and isinstance(made.op.evaluate, np.ufunc)
        return is_computed or axes_of(x.type.shape) == 0

    def is_in_c_order(self, x: Atom) -> bool:
        return False


def simplify(graph: Graph, fast: bool = False, any_layout: bool = True, inline: bool = True) -> Graph:
    """All passes, in the order in which each finds most. With `fast`, those too that change how results are rounded; without
    `inline`, calls stay calls."""
    one: Any
    before = graph = inline_calls(graph) if inline else graph
    for one in FAST_PASSES if fast else PASSES:
        if one is inline_calls and not inline:
            continue
        graph = one(graph, any_layout) if one in _HEEDING_LAYOUTS else one(graph)
    return keep_apart(graph, before) if any_layout else graph


def simplify_in_order(graph: Graph) -> tuple[Graph, int]:
    """A simplified Graph once more, for inputs in C order without gaps; and which inputs have to be for the results to have
    the same bits, a bit for each."""
    before = graph
    simpler, assumed = absorb_copies(graph)
    if simpler is not graph:
        simpler, more = _algebra_in_order(simpler)
        simpler = absorb_broadcasts(simpler, any_layout=True)
        assumed |= more
    simpler, more = _algebra_in_order(simpler)
    if simpler.eqns != graph.eqns:
        simpler = keep_apart(eliminate_dead_code(merge_common_subexpressions(simpler)), before)
    return simpler, assumed | more


def _algebra_in_order(graph: Graph) -> tuple[Graph, int]:
    layouts = Layouts(graph)
    return with_rules(graph, lambda op: op.simplify, layouts), layouts.assumed


def rewritten(graph: Graph, rule: Callable[[Eqn], Atom | Eqn | list[Eqn]]) -> Graph:
    """The graph with each equation, its inputs already rewritten, replaced by another, by several of which the last has
    its outputs, or by an atom in its place."""
    found: dict[Var, Atom] = {}

    eqns = []
    for eqn in graph.eqns:
        if found and not found.keys().isdisjoint(eqn.inputs):
            eqn = replace(eqn, inputs=tuple([found.get(a, a) for a in eqn.inputs]))  # type: ignore[arg-type]
        result = rule(eqn)
        if isinstance(result, list):
            eqns += result
        elif isinstance(result, Eqn):
            eqns.append(result)
            if result.outputs is not eqn.outputs:
                found.update(zip(eqn.outputs, result.outputs, strict=True))
        else:
            found[eqn.outputs[0]] = result
    outputs = tuple([found.get(a, a) for a in graph.outputs])  # type: ignore[arg-type]
    return Graph(graph.inputs, tuple(eqns), outputs, graph.consts, graph.name)


def inline_calls(graph: Graph) -> Graph:
    """With the equations of the Graphs that it calls, and of those that they call, in place of the calls."""
    if not any([e.op.held and e.op.held.inline for e in graph.eqns]):
        return graph
    consts = dict(graph.consts)
    eqns: list[Eqn] = []
    # Innermost last: a Graph, those of its equations that are left, what its variables are called outside, and what the
    # call gives.
    calls: list[tuple[Graph, Iterator[Eqn], dict[Atom, Atom], tuple[Var, ...]]] = [(graph, iter(graph.eqns), {}, ())]
    while True:
        body, rest, names, results = calls[-1]
        for eqn in rest:
            inputs = tuple([names.get(a, a) for a in eqn.inputs])
            held = eqn.op.held
            found = held.inline(inputs, eqn.params) if held is not None and held.inline is not None else None
            if found:
                inner, given = found
                consts.update(inner.consts)
                calls.append((inner, iter(inner.eqns), dict(zip(inner.inputs, given, strict=True)), eqn.outputs))
                break
            if body is not graph:  # may be called more than once
                names.update([(v, Var(v.type)) for v in eqn.outputs])
            outs = tuple([names.get(v, v) for v in eqn.outputs])
            eqns.append(replace(eqn, inputs=inputs, outputs=outs))
        else:
            outputs = tuple([names.get(a, a) for a in body.outputs])
            calls.pop()
            if not calls:
                return Graph(graph.inputs, tuple(eqns), outputs, consts, graph.name)
            calls[-1][2].update(zip(results, outputs, strict=True))


def ahead_of_loops(graph: Graph) -> Graph:
    """With what steps of loops need not compute ahead of the loops and behind them, for NumPy."""
    if not any([e.op.held and e.op.held.ahead for e in graph.eqns]):
        return graph

    def rule(eqn: Eqn) -> Eqn | list[Eqn]:
        ahead = eqn.op.held and eqn.op.held.ahead
        return (ahead and ahead(eqn)) or eqn

    changed = rewritten(graph, rule)
    return graph if changed.eqns == graph.eqns else eliminate_dead_code(inline_calls(changed))


def eliminate_dead_code(graph: Graph) -> Graph:
    """Without equations and constants that no output needs, nor outputs of loops that are not used. What does more than its
    outputs say stays as it is."""
    live: set[Atom] = set(graph.outputs)
    eqns = []
    for eqn in reversed(graph.eqns):
        acts = eqn.op.multiple_results and eqn.op.acts(eqn.params)
        if acts or not live.isdisjoint(eqn.outputs):
            held = eqn.op.held
            if held is not None and held.prune is not None and not (acts or live.issuperset(eqn.outputs)):
                inputs, params, left = held.prune(eqn.inputs, eqn.params, [v in live for v in eqn.outputs])
                eqn = replace(eqn, inputs=inputs, params=params, outputs=tuple([eqn.outputs[i] for i in left]))
            eqns.append(eqn)
            live.update(eqn.inputs)
    consts = {v: x for v, x in graph.consts.items() if v in live}
    return Graph(graph.inputs, tuple(reversed(eqns)), graph.outputs, consts, graph.name)


def merge_common_subexpressions(graph: Graph) -> Graph:
    """With one equation in place of several with the same op, params and inputs."""
    known: dict[Any, Eqn] = {}

    def rule(eqn: Eqn) -> Atom | Eqn:
        if eqn.op.runs_user_code or eqn.op.acts(eqn.params):
            return eqn
        key = (eqn.op.name, tuple(map(_same, eqn.inputs)), exact_params(eqn.params))
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
    return atom if isinstance(atom, Var) else exactly(atom.value)


def apply_algebra(graph: Graph, any_layout: bool = False) -> Graph:
    """With what the ops' own `simplify` rules make of their inputs: x * 1, a transpose of a transpose, a cast of a
    cast."""
    return with_rules(graph, lambda op: op.simplify, _Computed() if any_layout else Definitions())


def apply_fast_algebra(graph: Graph) -> Graph:
    """With what the ops' own `fast_math` rules make of their inputs, where results may be rounded otherwise: products in
    place of quotients by numbers and of small powers, one factor in place of two."""
    return with_rules(graph, lambda op: op.fast_math, Definitions())


def with_rules(graph: Graph, rule_of: Callable[[Op], Simplification | None], definitions: Definitions) -> Graph:
    """With what rules make of each equation, by what `definitions` are told of the equations before it."""

    def rule(eqn: Eqn) -> Atom | Eqn | list[Eqn]:
        before: list[Eqn] = []
        while (simpler := rule_of(eqn.op)) is not None:
            result = simpler(eqn.inputs, eqn.params, definitions)
            if result is None:
                break
            if isinstance(result, Var | Literal):
                # What an elementwise op makes is dense, and so must be what takes its place.
                if result.type == eqn.outputs[0].type and (not eqn.op.elementwise or definitions.is_dense(result)):
                    return result
                break
            op, parts, params = result
            added: list[Eqn] = []
            inputs = tuple([_built(part, eqn, added, definitions) for part in parts])
            if op is not eqn.op and op.infer([a.type for a in inputs], params) != eqn.outputs[0].type:
                break
            before += added
            eqn = replace(eqn, op=op, inputs=inputs, params=params)
        for v in eqn.outputs:
            definitions[v] = eqn
        return [*before, eqn] if before else eqn

    return rewritten(graph, rule)


def _built(part: Any, eqn: Eqn, before: list[Eqn], definitions: Definitions) -> Atom:
    """An operand of a rule's result: an atom, or what an equation of its own computes before."""
    if isinstance(part, Var | Literal):
        return part
    op, parts, params = part
    inputs = tuple([_built(p, eqn, before, definitions) for p in parts])
    out = Var(op.infer([a.type for a in inputs], params))
    before.append(Eqn(op, inputs, params, (out,), eqn.raw_source))
    definitions[out] = before[-1]
    return out


def collapse_constants(graph: Graph) -> Graph:
    """With a broadcast of one element in place of each constant that is a view of nothing else, and with that element
    written into the graph where nobody can change it. The cotangent of a sum is such a constant."""
    heads: list[Eqn] = []
    consts: dict[Var, Any] = {}
    for v, x in graph.consts.items():
        if type(x) is not ndarray or x.size < 2 or any(x.strides):
            consts[v] = x
            continue
        element = x[(0,) * x.ndim + (...,)]  # a view, which is read anew at each call like x itself
        source: Atom
        if is_immutable(element):
            source = Literal(element[()])
        else:
            source = Var(type_of(element))
            consts[source] = element
        heads.append(Eqn(OPS["broadcast_to"], (source,), {"shape": x.shape}, (v,)))
    return Graph(graph.inputs, (*heads, *graph.eqns), graph.outputs, consts, graph.name) if heads else graph


def fold_constants(graph: Graph) -> Graph:
    """With the results of equations on nothing but literals, where these are scalars, and computing them warns of
    nothing."""

    def rule(eqn: Eqn) -> Atom | Eqn:
        if any([type(a) is Var for a in eqn.inputs]) or eqn.op.runs_user_code or eqn.op.multiple_results:
            return eqn
        if eqn.outputs[0].type.shape or eqn.op.collective is not None:  # the index in an axis has no inputs at all
            return eqn
        try:
            found = Literal(strictly(bind, eqn.op, tuple([a.value for a in eqn.inputs]), eqn.params))  # type: ignore[union-attr]
        except (ArithmeticError, ValueError):
            return eqn
        return found if found.type == eqn.outputs[0].type else eqn

    return rewritten(graph, rule)


def absorb_broadcasts(graph: Graph, any_layout: bool = False) -> Graph:
    """Without a broadcast whose readers broadcast themselves, as elementwise ops do. What is elementwise in nothing but
    broadcasts is computed before them; where layouts count, a copy of the broadcast stands for the result."""
    sources: dict[Atom, Atom] = {}
    copied: dict[Atom, Atom] = {}  # the same for copies of broadcasts
    numbers: dict[Atom, Atom] = {}  # and for numbers that have been given axes of one element
    definitions = _Computed() if any_layout else Definitions()
    copy = OPS["positive"]

    def rule(eqn: Eqn) -> Eqn | list[Eqn]:
        for v in eqn.outputs:
            definitions[v] = eqn
        if eqn.op.broadcasts:
            sources[eqn.outputs[0]] = eqn.inputs[0]
            return eqn
        if eqn.op is OPS["reshape"] and not eqn.inputs[0].type.shape:
            numbers[eqn.outputs[0]] = eqn.inputs[0]
            return eqn
        if eqn.op.elementwise and numbers and not numbers.keys().isdisjoint(eqn.inputs):
            bare = tuple([numbers.get(a, a) for a in eqn.inputs])
            is_same = eqn.op.infer([a.type for a in bare], eqn.params) == eqn.outputs[0].type
            if is_same and number_kind(eqn.outputs[0].type.dtype) in "iuf":
                eqn = replace(eqn, inputs=bare)
        if not eqn.op.elementwise or not any([a in sources or a in copied for a in eqn.inputs]):
            return eqn
        wanted = eqn.outputs[0].type
        inputs = [sources.get(a, a) for a in eqn.inputs]
        smallest = [copied.get(a, a) for a in inputs]
        found = eqn.op.infer([a.type for a in smallest], eqn.params)
        if isinstance(found, ArrayType) and found != wanted and found.dtype == wanted.dtype and not found.weak:
            small = Var(found)
            before = replace(eqn, inputs=tuple(smallest), outputs=(small,))
            params = {"shape": wanted.shape}
            if not any_layout:
                sources[eqn.outputs[0]] = small
                return [before, Eqn(OPS["broadcast_to"], (small,), params, eqn.outputs, eqn.raw_source)]
            # One axis can lie in one way only. (The bits of some functions depend on whether they go forwards, those of
            # complex ones on whether they have one element.)
            is_plain = (
                axes_of(found.shape) <= 1
                and number_kind(wanted.dtype) in "iuf"
                and all(map(definitions.is_dense, smallest))
            )
            if is_plain and eqn.op is copy:
                copied[eqn.outputs[0]] = smallest[0]
                return eqn
            if is_plain:
                definitions[small] = before
                copied[eqn.outputs[0]] = small
                view = Var(wanted)
                spread = Eqn(OPS["broadcast_to"], (small,), params, (view,), eqn.raw_source)
                return [before, spread, Eqn(copy, (view,), {}, eqn.outputs, eqn.raw_source)]
        if tuple(inputs) == eqn.inputs:
            return eqn
        for tried in [
            inputs,
            *[[*inputs[:i], a, *inputs[i + 1 :]] for i, a in enumerate(eqn.inputs)],
        ]:  # or some of them
            if (found if tried == smallest else eqn.op.infer([a.type for a in tried], eqn.params)) == wanted:
                return replace(eqn, inputs=tuple(tried))
        return eqn

    return rewritten(graph, rule)


def absorb_copies(graph: Graph) -> tuple[Graph, int]:
    """For inputs in C order without gaps: without copies, and views of such, whose readers are elementwise and lay out their
    results as they would without them. And of which inputs it was taken for granted, a bit for each."""
    first = {id(eqn): copied for eqn in graph.eqns if (copied := _copied(eqn)) is not None}
    if not first:
        return graph, 0
    layouts = Layouts(graph)
    copies: dict[Atom, Atom] = {}
    assumed = 0

    def rule(eqn: Eqn) -> Eqn | list[Eqn]:
        nonlocal assumed
        op = eqn.op
        if op.strides is not None and not op.never_aliases and len(eqn.inputs) == 1 and eqn.inputs[0] in copies:
            twin = replace(eqn, inputs=(copies[eqn.inputs[0]],), outputs=(Var(eqn.outputs[0].type),))
            copies[eqn.outputs[0]] = twin.outputs[0]
            layouts[eqn.outputs[0]], layouts[twin.outputs[0]] = eqn, twin
            return [twin, eqn]
        if op.elementwise and len(eqn.outputs) == 1:
            copied = first.get(id(eqn))
            if copies and not copies.keys().isdisjoint(eqn.inputs):
                inputs = tuple([copies.get(a, a) for a in eqn.inputs])
                without = replace(eqn, inputs=inputs)
                before, after = layouts.made_by(eqn), layouts.made_by(without)
                if before.strides == after.strides and all(map(layouts.goes_forwards, inputs)):
                    eqn = without
                    copied = _copied(eqn)
                    assumed |= before.assumed | after.assumed
            if copied is not None:
                copies[eqn.outputs[0]] = copied
        for v in eqn.outputs:
            layouts[v] = eqn
        return eqn

    return rewritten(graph, rule), assumed | layouts.assumed


def _copied(eqn: Eqn) -> Atom | None:
    """What an elementwise equation is a copy of, if it is one: x * 1."""
    op = eqn.op
    found = op.simplify(eqn.inputs, eqn.params, Definitions()) if op.elementwise and op.simplify is not None else None
    return found if isinstance(found, Var | Literal) and found.type == eqn.outputs[0].type else None


def keep_apart(graph: Graph, before: Graph) -> Graph:
    """With a copy of one factor of a product where both lie in the same memory now, and did not before: for an array times
    its own transpose, BLAS has another function."""
    apart = {e.outputs[0] for e, x, y in _products(before) if x is not y}
    if not apart:
        return graph
    together = {e.outputs[0] for e, x, y in _products(graph) if x is y} & apart
    if not together:
        return graph

    def rule(eqn: Eqn) -> Eqn | list[Eqn]:
        if eqn.outputs[0] not in together:
            return eqn
        x, y = eqn.inputs
        twin = Var(y.type)
        return [Eqn(OPS["positive"], (y,), {}, (twin,), eqn.raw_source), replace(eqn, inputs=(x, twin))]

    return rewritten(graph, rule)


def _products(graph: Graph) -> list[tuple[Eqn, Atom, Atom]]:
    """The products of two matrices that may be each other's transpose, and in whose memory each of them lies."""
    roots: dict[Atom, Atom] = {}
    found = []
    for eqn in graph.eqns:
        op, inputs = eqn.op, eqn.inputs
        if len(inputs) == 1 and not op.never_aliases and not op.elementwise:
            roots[eqn.outputs[0]] = roots.get(inputs[0], inputs[0])
        elif op.contraction is not None and len(inputs) == 2 and inputs[0].type.dtype == inputs[1].type.dtype:
            x, y = inputs
            if x.type.size == y.type.size and x.type.dtype.char in "fdFD":
                found.append((eqn, roots.get(x, x), roots.get(y, y)))
    return found


PASSES: tuple[Pass, ...] = (
    inline_calls,
    collapse_constants,
    absorb_broadcasts,
    eliminate_dead_code,  # of the broadcasts, so that what follows has the fewer equations to look at
    fold_constants,
    inline_calls,  # a branch whose index has become a constant
    apply_algebra,
    absorb_broadcasts,
    merge_common_subexpressions,
    eliminate_dead_code,
)
_HEEDING_LAYOUTS = (absorb_broadcasts, apply_algebra)
FAST_PASSES = (*PASSES[:-1], apply_fast_algebra, *PASSES[-3:])
