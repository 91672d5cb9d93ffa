"""Passes for XLA alone: many small products as few large ones. XLA has fewer kernels to compile, and large products run
faster.

What an unrolled loop adds up, step by step, is one product of all steps' factors side by side (`merge_products`), and what
its steps read of one array is multiplied for several steps at once (`merge_rows`); a system whose matrix is a triangle is
solved as one (`solve_by_triangles`). Sums are rounded in another order, as
XLA's own are; NumPy's lowering, whose promise is the same bits, has no such passes.

And what XLA computes twice it may round twice, in two ways: `name_extremes` sees to it that every maximum is somebody's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Atom, Eqn, Graph, Var, exact_params, replace
from tracegrad.core.op import OPS, Op
from tracegrad.core.types import type_of
from tracegrad.lower.passes import eliminate_dead_code
from tracegrad.ops.index import slice_entry

FEW = 4  # fewer than that are left alone

Side = tuple[tuple[Atom, ...], int]  # arrays to be put side by side, and the axis along which


class Group(NamedTuple):
    """Products, or sums, of equal types and params, and the sides that the one in their place is made of."""

    eqns: list[Eqn]
    sides: tuple[Side, ...]


class Row(NamedTuple):
    """The part at one place along an axis of an array: `xs[i]`, `xs[:, i]`."""

    whole: Atom
    axis: int
    place: int


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
        if next(iter(eqn.outputs), None) in groups:
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
            key = (axes, made.op.name, exact_params(made.params), tuple([x.type for x in made.inputs]))
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
    if eqn.op.name == "matmul" and all([a.type.ndim == 2 for a in eqn.inputs]):
        return 0 if eqn.params.get("left") else 1, 1 if eqn.params.get("right") else 0
    return eqn.params["axes"][:1] if eqn.op.name == "sum" and eqn.params["axes"] else None


def _side_by_side(arrays: tuple[Atom, ...], axis: int, makers: dict[Var, Eqn], like: Eqn) -> Eqn:
    """All arrays in one along an axis: a reshape, where they are the rows of one in order."""
    rows = [_row(a, makers) for a in arrays]
    if axis == 0 and rows[0] is not None and rows[0].whole.type.ndim == 3:
        whole = rows[0].whole
        if rows == [Row(whole, 0, i) for i in range(whole.type.shape[0])]:
            shape = (whole.type.shape[0] * whole.type.shape[1], whole.type.shape[2])
            return _equation(OPS["reshape"], (whole,), {"shape": shape}, like)
    return _equation(OPS["concatenate"], arrays, {"axis": axis}, like)


def _row(a: Atom, makers: dict[Var, Eqn]) -> Row | None:
    """Which row of an array it is, if it is one."""
    eqn = makers.get(a) if isinstance(a, Var) else None
    if eqn is None or eqn.op.name != "slice":
        return None
    *before, place = eqn.params["index"]
    return Row(eqn.inputs[0], len(before), place) if type(place) is int and set(before) <= {":"} else None


def merge_rows(graph: Graph) -> Graph:
    """With one product for several of xs[0] @ w, xs[1] @ w, ..., and its rows in place of theirs.

    Of n rows, about sqrt(n) in a row are multiplied at once. XLA compiles equal kernels once, but reading another row makes
    another kernel, be it a row of xs or of a product: so there are about 2 sqrt(n) of them, where n products have n, and one
    product for all of xs would have n again.
    """
    makers = {v: e for e in graph.eqns for v in e.outputs}
    alike: dict[Any, dict[int, Eqn]] = {}  # the products of one array's rows with one factor, by the place of the row
    for eqn in graph.eqns:
        row = _row(eqn.inputs[0], makers) if eqn.op.name == "matmul" and not eqn.params.get("left") else None
        if row is not None and row.axis < row.whole.type.ndim - 1 and eqn.inputs[1].type.ndim <= 2:
            key = (row.whole, row.axis, eqn.inputs[1], eqn.op.name, exact_params(eqn.params))
            alike.setdefault(key, {}).setdefault(row.place, eqn)
    instead: dict[Var, list[Eqn]] = {}
    for (whole, axis, *_), products in alike.items():
        count = math.isqrt(len(products))
        blocks: dict[int, dict[int, Eqn]] = {}
        for place, eqn in products.items():
            blocks.setdefault(place // count, {})[place] = eqn
        for number, block in blocks.items():
            if len(block) == count > 1:
                instead.update({eqn.outputs[0]: [] for eqn in block.values()})
                instead[next(iter(block.values())).outputs[0]] = _at_once(Row(whole, axis, number * count), block)
    eqns = [e for eqn in graph.eqns for e in (instead.get(eqn.outputs[0], (eqn,)) if eqn.outputs else (eqn,))]
    return eliminate_dead_code(replace(graph, eqns=tuple(eqns)))


def _at_once(first: Row, products: dict[int, Eqn]) -> list[Eqn]:
    """Products of the rows from the first on, as rows of one product."""
    whole, axis, start = first
    like = next(iter(products.values()))
    before = (":",) * axis
    span = slice_entry(start, start + len(products), None, whole.type.shape[axis])
    rows = _equation(OPS["slice"], (whole,), {"index": (*before, span)}, like)
    product = _equation(like.op, (rows.outputs[0], like.inputs[1]), like.params, like)
    return [rows, product] + [
        replace(eqn, op=OPS["slice"], inputs=product.outputs, params={"index": (*before, place - start)})
        for place, eqn in products.items()
    ]


# A comparison that says which elements are not the extreme, and the search for one that is.
_LOST = {
    "max": ("less", "argmax"),
    "min": ("greater", "argmin"),
    "nanmax": ("not_equal", "nanargmax"),  # which on XLA is -1 where there is nothing but NaN: none wins there
    "nanmin": ("not_equal", "nanargmin"),
}


def name_extremes(graph: Graph) -> Graph:
    """With one element that is the extreme at least, where the derivative of a maximum (or minimum) asks which are.

    `x < max(x)` leaves out one element or more, unless x is computed once for the maximum and again for the comparison, with
    a product and a sum in one rounding (fma) here and in two there: XLA does so, and a barrier does not keep it from that. The
    maximum is then larger than all elements, and its derivative would be zero. Where all elements lose, the one that
    argmax finds does not.
    """
    extremes: dict[Any, Eqn] = {}
    consts = dict(graph.consts)
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        eqns.append(eqn)
        if eqn.op.name in _LOST and eqn.params["axes"]:
            extremes[eqn.outputs[0]] = eqn
        elif eqn.op.name == "reshape" and eqn.inputs[0] in extremes:
            extremes[eqn.outputs[0]] = extremes[eqn.inputs[0]]
        made = extremes.get(eqn.inputs[-1]) if len(eqn.inputs) == 2 else None
        if made is None or eqn.inputs[0] is not made.inputs[0] or eqn.op.name != _LOST[made.op.name][0]:
            continue
        (x,), axes = made.inputs, made.params["axes"]
        shape = x.type.shape
        kept = tuple([1 if i in axes else n for i, n in enumerate(shape)])
        against = eqn.inputs[1].type.shape
        if (1,) * (len(shape) - len(against)) + against != kept:
            continue
        (verdict,) = eqn.outputs

        def then(name: str, *inputs: Atom, like: Eqn = eqn, **params: Any) -> Var:
            eqns.append(_equation(OPS[name], inputs, params, like))
            return eqns[-1].outputs[0]

        eqns[-1] = replace(eqn, outputs=(lost := Var(verdict.type),))
        rows = then("transpose", x, axes=(*[i for i in range(len(shape)) if i not in axes], *axes))
        size = math.prod([shape[i] for i in axes])
        rows = then("reshape", rows, shape=(*[n for i, n in enumerate(shape) if i not in axes], size))
        place = then("reshape", then(_LOST[made.op.name][1], rows, axis=rows.type.ndim - 1), shape=kept)
        numbers = np.arange(size, dtype=place.type.dtype).reshape([n if i in axes else 1 for i, n in enumerate(shape)])
        consts[number := Var(type_of(numbers))] = numbers
        here = then("logical_and", then("equal", number, place), then("all", lost, axes=axes, keepdims=True))
        last = _equation(OPS["logical_and"], (lost, then("logical_not", here)), {}, eqn)
        eqns.append(replace(last, outputs=(verdict,)))
    return replace(graph, eqns=tuple(eqns), consts=consts)


def solve_by_triangles(graph: Graph) -> Graph:
    """With substitution in place of elimination where a system's matrix is a Cholesky factor, or the transpose of one."""
    # The factor that a variable is, and whether transposed.
    factors: dict[Atom, tuple[Atom, bool]] = {}
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        out = eqn.outputs[0]
        if eqn.op.name == "cholesky" and out.type.ndim == 2:
            factors[out] = out, False
        elif eqn.op.name == "transpose" and eqn.inputs[0] in factors and eqn.params["axes"] == (1, 0):
            factor, turned = factors[eqn.inputs[0]]
            factors[out] = factor, not turned
        if eqn.op.name != "solve" or eqn.inputs[0] not in factors or eqn.inputs[1].type.ndim > 2:
            eqns.append(eqn)
            continue
        factor, turned = factors[eqn.inputs[0]]
        b = eqn.inputs[1]
        columns = None
        if b.type.ndim == 1:
            columns = _equation(OPS["reshape"], (b,), {"shape": (*b.type.shape, 1)}, eqn)
            eqns.append(columns)
        params = {
            "left_side": True, "lower": True, "transpose_a": turned, "conjugate_a": False, "unit_diagonal": False,
        }  # fmt: skip
        solved = _equation(OPS["triangular_solve"], (factor, b if columns is None else columns.outputs[0]), params, eqn)
        if columns is None:
            eqns.append(replace(solved, outputs=eqn.outputs))
        else:
            eqns += [solved, replace(eqn, op=OPS["reshape"], inputs=solved.outputs, params={"shape": b.type.shape})]
    return replace(graph, eqns=tuple(eqns))


def _equation(op: Op, inputs: Sequence[Atom], params: Any, like: Eqn) -> Eqn:
    """An equation of its own, with the source of another."""
    found: Any = op.infer([a.type for a in inputs], params)
    return Eqn(op, tuple(inputs), params, (Var(found),), like.raw_source)
