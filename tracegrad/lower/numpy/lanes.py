"""The same few lines for many small arrays, as an optimiser has for the arrays of a network: run for all of them together.

A call of NumPy's for an array of a few hundred numbers takes as long as for ten times as many, and Python's compiler takes as long for
each line as for the first. Where equations do the same elementwise to at least `FEW` arrays, these lanes are laid end to end in one
array, which is cut up again behind them. Elementwise results depend on nothing beside them, so every bit stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Eqn, Graph, Literal, Var, exactly, replace
from tracegrad.core.memory import axes_of, in_c_order
from tracegrad.core.op import Op
from tracegrad.core.types import ArrayType
from tracegrad.lower.numpy.layouts import Layouts
from tracegrad.lower.numpy.memory import size_of
from tracegrad.ops.join import concatenate_op


def _cut(x: Any, start: int, stop: int) -> Any:
    return x[start:stop].copy()


# What stands for an array of a lane, cut out of all of them, in a Graph that is about to be written out. No transform ever meets it.
cut_op = Op(
    "cut",
    evaluate=_cut,
    infer=lambda types, params: ArrayType((params["stop"] - params["start"], *types[0].shape[1:]), types[0].dtype),
    code=lambda args, types, is_block, params: f"{args[0]}[{params['start']}:{params['stop']}].copy()",
    strides=lambda inputs, types, params: in_c_order((params["stop"] - params["start"], *types[0].shape[1:])),
    never_aliases=True,
    kinds="",
)

FEW = 8  # lanes from which on they are laid together
SMALL = 1 << 12  # bytes of an array of a lane at most,
TOGETHER = 1 << 16  # and of those of all of them, which stay in the cache


class _Lane(NamedTuple):
    """Equations that belong together, by their numbers in the Graph; the arrays that they read from outside; and which of what they make
    somebody else reads."""

    eqns: Sequence[int]
    given: Sequence[Var]
    made: Sequence[Var]


def side_by_side(graph: Graph) -> tuple[Graph, int]:
    """The Graph with one set of equations in place of many that are alike; and which inputs have to be in C order for the results to
    lie as they would, a bit for each."""
    assumed = 0
    given_up: set[Any] = set()
    while True:
        # One set after the other, since each moves the equations behind it.
        found = next((item for item in _alike(graph).items() if item[0] not in given_up), None)
        if found is None:
            return graph, assumed
        key, lanes = found
        at_once = TOGETHER // size_of(lanes[0].given[0].type)
        changed, more = _together(graph, lanes[:at_once])
        if changed is graph:
            given_up.add(key)
        graph, assumed = changed, assumed | more


def _fits(eqn: Eqn) -> bool:
    """Whether an equation is one of a ufunc, of small arrays of one shape and of numbers."""
    evaluate, (made, *others) = eqn.op.evaluate, eqn.outputs
    of = made.type
    if others or not of.shape or of.weak or eqn.params or not 0 < size_of(of) <= SMALL:
        return False
    is_ufunc = isinstance(evaluate, np.ufunc) and evaluate.signature is None
    return is_ufunc and all([a.type.shape in ((), of.shape) for a in eqn.inputs])


def _alike(graph: Graph) -> dict[Any, list[_Lane]]:
    """Lanes by what they do, where that pays for laying them together."""
    fitting = [i for i, e in enumerate(graph.eqns) if _fits(e)]
    if len(fitting) < FEW * 3:
        return {}
    lane_of: dict[
        Any, list[int]
    ] = {}  # by a variable: the numbers of the equations that belong with that which makes it
    for i in fitting:
        eqn = graph.eqns[i]
        joined = {id(x): x for a in eqn.inputs if (x := lane_of.get(a)) is not None}.values()
        longest = max(joined, key=len, default=[])
        for x in joined:
            if x is not longest:
                longest += x
                lane_of.update({graph.eqns[k].outputs[0]: longest for k in x})
        longest.append(i)
        lane_of[eqn.outputs[0]] = longest
    returned = {a for a in graph.outputs if type(a) is Var}
    readers: dict[Any, list[int]] = {}
    for i, eqn in enumerate(graph.eqns):
        for a in eqn.inputs:
            if a in lane_of:
                readers.setdefault(a, []).append(i)
    found: dict[Any, list[_Lane]] = {}
    for numbers in {id(x): x for x in lane_of.values()}.values():
        key, lane = _key(graph, sorted(numbers), returned, readers)
        # Of each line NumPy's call is saved; an array that is laid beside others takes some of that time, and one that is cut out more than all.
        if 4 * len(lane.eqns) > 3 * len(lane.given) + 5 * len(lane.made):
            found.setdefault(key, []).append(lane)
    return {key: lanes for key, lanes in found.items() if len(lanes) >= FEW}


def _key(graph: Graph, numbers: Sequence[int], returned: set[Var], readers: dict[Any, list[int]]) -> tuple[Any, _Lane]:
    """What a lane does, to compare it by, and the lane."""
    places: dict[Any, int] = {}  # of what it makes
    given: dict[Any, int] = {}
    own = set(numbers)
    key: list[Any] = []
    made = []
    for place, i in enumerate(numbers):
        eqn = graph.eqns[i]
        (v,) = eqn.outputs
        for a in eqn.inputs:
            if type(a) is Literal:
                key.append((exactly(a.value), a.type))
            elif a in places:
                key.append(places[a])
            elif a.type.shape:
                key.append((given.setdefault(a, len(given)), a.type))
            else:
                key.append(a)
        is_read = v in returned or not own.issuperset(readers.get(v, ()))
        # (Of one line Python may give several places, once it has found out what that calls.)
        key.append((eqn.op, eqn.source and eqn.source[:2], v.type, is_read))
        places[v] = place
        if is_read:
            made.append(v)
    return tuple(key), _Lane(numbers, tuple(given), tuple(made))


def _together(graph: Graph, lanes: Sequence[_Lane]) -> tuple[Graph, int]:
    """The Graph with these lanes as one; as it is where one of them needs what comes of another, or where it is not known how arrays
    lie."""
    eqns = graph.eqns
    makers = {v: i for i, e in enumerate(eqns) for v in e.outputs}
    gone = {i for lane in lanes for i in lane.eqns}
    read = [a for i in gone for a in eqns[i].inputs if type(a) is Var and makers.get(a, -1) not in gone]
    made = {v for lane in lanes for v in lane.made}
    begin = max([makers.get(a, -1) for a in read], default=-1) + 1
    if any([i < begin and i not in gone and not made.isdisjoint(e.inputs) for i, e in enumerate(eqns)]):
        return graph, 0
    layouts = Layouts(graph)
    layouts.update((v, e) for e in eqns for v in e.outputs)
    if not all([axes_of(a.type.shape) <= 1 or layouts.is_in_c_order(a) for a in dict.fromkeys(read)]):
        return graph, 0
    whole = list(_laid_together(graph, lanes))
    rest = [
        [e for i, e in part if i not in gone] for part in (list(enumerate(eqns))[:begin], list(enumerate(eqns))[begin:])
    ]
    return replace(graph, eqns=(*rest[0], *whole, *rest[1])), layouts.assumed


def _laid_together(graph: Graph, lanes: Sequence[_Lane]) -> Iterator[Eqn]:
    first = lanes[0]
    shape = graph.eqns[first.eqns[0]].outputs[0].type.shape
    n = shape[0]

    def whole(v: Var) -> Var:
        return Var(ArrayType((n * len(lanes), *shape[1:]), v.type.dtype))

    laid: dict[Any, Var] = {}
    for k, v in enumerate(first.given):
        reader = next(graph.eqns[i] for i in first.eqns if v in graph.eqns[i].inputs)
        laid[v] = whole(v)
        yield Eqn(concatenate_op, tuple([lane.given[k] for lane in lanes]), {"axis": 0}, (laid[v],), reader.raw_source)
    for i in first.eqns:
        eqn = graph.eqns[i]
        laid[eqn.outputs[0]] = whole(eqn.outputs[0])
        inputs = tuple([laid.get(a, a) for a in eqn.inputs])
        yield replace(eqn, inputs=inputs, outputs=(laid[eqn.outputs[0]],))
    sources = {graph.eqns[i].outputs[0]: graph.eqns[i].raw_source for i in first.eqns}
    for k, v in enumerate(first.made):
        for j, lane in enumerate(lanes):
            yield Eqn(cut_op, (laid[v],), {"start": n * j, "stop": n * (j + 1)}, (lane.made[k],), sources[v])
