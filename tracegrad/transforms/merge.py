"""A pass for XLA alone: many small products as few large ones. What an unrolled loop adds up, step by step, is one product
of all steps' factors side by side. Sums are rounded in another order, as XLA's own are; NumPy's lowering, whose promise is
the same bits, has no such pass. XLA has fewer ops to compile, and large products run faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tracegrad.graph import Atom, Eqn, Graph, Var
from tracegrad.op import OPS, Op
from tracegrad.transforms.simplify import eliminate_dead_code

FEW = 4  # fewer than that are left alone

Side = tuple[tuple[Atom, ...], int]  # arrays to be put side by side, and the axis along which


class Group(NamedTuple):
    """Products, or sums, of equal types and params, and the sides that the one in their place is made of."""

    eqns: list[Eqn]
    sides: tuple[Side, ...]


def merge_products(graph: Graph) -> Graph:
    """With one product of factors side by side in place of a sum of many products, a.T @ b + c.T @ d + ..., and one sum
    in place of a sum of many sums."""
    makers = {v: e for e in graph.eqns for v in e.outputs}
    readers: dict[Atom, list[Eqn | None]] = {a: [None] for a in graph.outputs}
    for e in graph.eqns:
        for a in e.inputs:
            readers.setdefault(a, []).append(e)
    # Additions that go into another and nowhere else. What is left are the sums as a whole.
    parts = {
        e.outputs[0]
        for e in graph.eqns
        if _adds(e) and [r and _adds(r) for r in readers.get(e.outputs[0], ())] == [True]
    }
    groups = {
        e.outputs[0]: _groups(_terms(e, makers, parts), makers, readers)
        for e in graph.eqns
        if _adds(e) and e.outputs[0] not in parts
    }
    # Factors are held until they are multiplied; they must not be more than the products that are not made. What is held
    # for a product can as well be summed.
    held: set[Side] = set()
    for total, (found, _) in groups.items():
        for group in found:
            if sum([a.type.size for a in group.eqns[0].inputs]) <= 2 * total.type.size:
                held.update(group.sides)
    joined: dict[Side, Atom] = {}
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        if eqn.outputs[0] in groups:
            found, rest = groups[eqn.outputs[0]]
            eqns += _merged(eqn, [g for g in found if held.issuperset(g.sides)], found, rest, makers, joined)
        else:
            eqns.append(eqn)
    return eliminate_dead_code(replace(graph, eqns=tuple(eqns)))


def _adds(eqn: Eqn) -> bool:
    return eqn.op.name == "add" and all([a.type == eqn.outputs[0].type for a in eqn.inputs])


def _terms(total: Eqn, makers: dict[Var, Eqn], parts: set[Var]) -> list[Atom]:
    """What an addition and those that go into it add up, the last first: backward passes go down the steps of a loop."""
    found: list[Atom] = []
    waiting: list[Any] = list(total.inputs)
    while waiting:
        a = waiting.pop()
        if a in parts:
            waiting += makers[a].inputs
        else:
            found.append(a)
    return found


def _groups(terms: Sequence[Atom], makers: dict[Var, Eqn], readers: Any) -> tuple[list[Group], list[Atom]]:
    """The products and sums among the terms that can be merged, those of a kind together, and the other terms."""
    alike: dict[Any, list[Eqn]] = {}
    rest: list[Atom] = []
    for a in terms:
        made = makers.get(a) if isinstance(a, Var) and len(readers[a]) == 1 else None
        axes = None if made is None else _contracted(made)
        if made is None or axes is None:
            rest.append(a)
        else:
            key = (axes, made.op.name, tuple(sorted(made.params.items())), tuple([x.type for x in made.inputs]))
            alike.setdefault(key, []).append(made)
    groups = []
    for (axes, *_), eqns in alike.items():
        if len(eqns) < FEW:
            rest += [e.outputs[0] for e in eqns]
        else:
            columns = zip(*[e.inputs for e in eqns], strict=True)
            groups.append(Group(eqns, tuple(zip(columns, axes, strict=True))))
    return groups, rest


def _merged(
    total: Eqn, merged: Sequence[Group], groups: Sequence[Group], rest: Sequence[Atom], makers: Any, joined: Any
) -> list[Eqn]:
    """The equations for a sum, of which some of the groups are merged."""
    if not merged:
        return [total]
    terms = [*rest, *[e.outputs[0] for g in groups if g not in merged for e in g.eqns]]
    eqns: list[Eqn] = []
    for group in merged:
        for side in group.sides:
            if side not in joined:
                eqns.append(_side_by_side(*side, makers, total))
                joined[side] = eqns[-1].outputs[0]
        one = group.eqns[0]
        eqns.append(_equation(one.op, [joined[side] for side in group.sides], one.params, total))
        terms.append(eqns[-1].outputs[0])
    if len(terms) == 1:
        return [*eqns[:-1], replace(eqns[-1], outputs=total.outputs)]
    for a in terms[1:-1]:
        eqns.append(_equation(total.op, (terms[0], a), {}, total))
        terms[0] = eqns[-1].outputs[0]
    return [*eqns, replace(total, inputs=(terms[0], terms[-1]))]


def _contracted(eqn: Eqn) -> tuple[int, ...] | None:
    """For each input of a product or a sum, the axis along which it sums; None for other equations."""
    if eqn.op.name in ("matmul", "matmul_of_transposes") and all([a.type.ndim == 2 for a in eqn.inputs]):
        return 0 if eqn.params.get("left") else 1, 1 if eqn.params.get("right") else 0
    return eqn.params["axes"][:1] if eqn.op.name == "sum" and eqn.params["axes"] else None


def _side_by_side(arrays: tuple[Atom, ...], axis: int, makers: dict[Var, Eqn], like: Eqn) -> Eqn:
    """All arrays in one along an axis: a reshape, where they are the rows of one in order."""
    slices = [makers.get(a) for a in arrays if isinstance(a, Var)]
    first = slices[0] if slices else None
    if axis == 0 and first is not None and all([e is not None and _is_row(e) for e in slices]):
        whole = first.inputs[0]
        rows = [e.params["index"][0] for e in slices if e is not None and e.inputs[0] is whole]
        if rows == list(range(whole.type.shape[0])) and len(rows) == len(arrays):
            shape = (whole.type.shape[0] * whole.type.shape[1], whole.type.shape[2])
            return _equation(OPS["reshape"], (whole,), {"shape": shape}, like)
    return _equation(OPS["concatenate"], arrays, {"axis": axis}, like)


def _is_row(eqn: Eqn) -> bool:
    """Whether it is xs[i] of an array of matrices."""
    if eqn.op.name != "slice" or eqn.inputs[0].type.ndim != 3:
        return False
    index = eqn.params["index"]
    return len(index) == 1 and type(index[0]) is int


def _equation(op: Op, inputs: Sequence[Atom], params: Any, like: Eqn) -> Eqn:
    """An equation of its own, with the source of another."""
    found: Any = op.infer([a.type for a in inputs], params)
    return Eqn(op, tuple(inputs), params, (Var(found),), like.raw_source)
