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
    eqns = graph.eqns
    alike, readers = _alike(graph)
    if not alike:
        return graph, 0
    makers = {v: i for i, e in enumerate(eqns) for v in e.outputs}
    layouts = Layouts(graph)
    layouts.update((v, e) for e in eqns for v in e.outputs)
    sets: dict[int, list[Sequence[_Lane]]] = {}  # by the equation that they come before
    gone: set[int] = set()
    for lanes in alike:
        begin = _begin(graph, lanes, makers, readers)
        if begin is not None and _lie_in_c_order(lanes, layouts):
            sets.setdefault(begin, []).append(lanes)
            gone.update([i for lane in lanes for i in lane.eqns])
    found: list[Eqn] = []
    for i, eqn in enumerate(eqns):
        for lanes in sets.get(i, ()):
            found += _laid_together(graph, lanes)
        if i not in gone:
            found.append(eqn)
    return replace(graph, eqns=tuple(found)), layouts.assumed


def _fits(eqn: Eqn) -> bool:
    """Whether an equation is one of a ufunc, of small arrays of one shape and of numbers."""
    if len(eqn.outputs) != 1:
        return False
    evaluate, of = eqn.op.evaluate, eqn.outputs[0].type
    if not of.shape or of.weak or eqn.params or not 0 < size_of(of) <= SMALL:
        return False
    is_ufunc = isinstance(evaluate, np.ufunc) and evaluate.signature is None
    return is_ufunc and all([a.type.shape in ((), of.shape) for a in eqn.inputs])


def _alike(graph: Graph) -> tuple[list[Sequence[_Lane]], dict[Var, list[int]]]:
    """Sets of lanes that do the same, where it pays to lay them together; and the equations that read what lanes make."""
    readers: dict[Var, list[int]] = {}
    fitting = [i for i, e in enumerate(graph.eqns) if _fits(e)]
    if len(fitting) < FEW * 3:
        return [], readers
    # By a variable: the numbers of the equations that belong with that which makes it.
    lane_of: dict[Any, list[int]] = {}
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
    for i, eqn in enumerate(graph.eqns):
        for a in eqn.inputs:
            if type(a) is Var and a in lane_of:
                readers.setdefault(a, []).append(i)
    found: dict[Any, list[_Lane]] = {}
    for numbers in {id(x): x for x in lane_of.values()}.values():
        key, lane = _key(graph, sorted(numbers), returned, readers)
        # Of each line NumPy's call is saved; an array that is laid beside others takes some of that time, and one that is cut out more than all.
        if 4 * len(lane.eqns) > 3 * len(lane.given) + 5 * len(lane.made):
            found.setdefault(key, []).append(lane)
    sets = []
    for lanes in found.values():
        at_once = TOGETHER // size_of(lanes[0].given[0].type)
        sets += [lanes[k : k + at_once] for k in range(0, len(lanes), at_once)]
    return [lanes for lanes in sets if len(lanes) >= FEW], readers


def _key(graph: Graph, numbers: Sequence[int], returned: set[Var], readers: dict[Var, list[int]]) -> tuple[Any, _Lane]:
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
        where = eqn.source
        key.append((eqn.op, where and where[:2], v.type, is_read))
        places[v] = place
        if is_read:
            made.append(v)
    return tuple(key), _Lane(numbers, tuple(given), tuple(made))


def _begin(graph: Graph, lanes: Sequence[_Lane], makers: dict[Var, int], readers: dict[Var, list[int]]) -> int | None:
    """The first equation before which all is there that the lanes need; None where one of them needs what comes of another.

    No two lanes read each other's arrays, else they were one: what stands between them is in no lane, and does not move. So each set
    finds its place for itself.
    """
    own = {i for lane in lanes for i in lane.eqns}
    needed = [makers[a] for i in own for a in graph.eqns[i].inputs if a in makers and makers[a] not in own]
    begin = max(needed, default=-1) + 1
    is_late = any([i < begin for lane in lanes for v in lane.made for i in readers.get(v, ()) if i not in own])
    return None if is_late else begin


def _lie_in_c_order(lanes: Sequence[_Lane], layouts: Layouts) -> bool:
    """Whether all arrays that are read lie so; what that assumes of inputs is assumed only then."""
    before = layouts.assumed
    given = [v for lane in lanes for v in lane.given]
    if all([axes_of(v.type.shape) <= 1 or layouts.is_in_c_order(v) for v in given]):
        return True
    layouts.assumed = before
    return False


def _laid_together(graph: Graph, lanes: Sequence[_Lane]) -> Iterator[Eqn]:
    first = lanes[0]
    shape = graph.eqns[first.eqns[0]].outputs[0].type.shape
    n = shape[0]

    def whole(v: Var) -> Var:
        return Var(ArrayType((n * len(lanes), *shape[1:]), v.type.dtype))

    sources: dict[Any, Any] = {}  # of what is read the first reader's line
    for i in first.eqns:
        eqn = graph.eqns[i]
        for v in (*eqn.inputs, *eqn.outputs):
            sources.setdefault(v, eqn.raw_source)
    laid: dict[Any, Var] = {}
    for k, v in enumerate(first.given):
        laid[v] = whole(v)
        yield Eqn(concatenate_op, tuple([lane.given[k] for lane in lanes]), {"axis": 0}, (laid[v],), sources[v])
    for i in first.eqns:
        eqn = graph.eqns[i]
        laid[eqn.outputs[0]] = whole(eqn.outputs[0])
        inputs = tuple([laid.get(a, a) for a in eqn.inputs])
        yield replace(eqn, inputs=inputs, outputs=(laid[eqn.outputs[0]],))
    for k, v in enumerate(first.made):
        for j, lane in enumerate(lanes):
            yield Eqn(cut_op, (laid[v],), {"start": n * j, "stop": n * (j + 1)}, (lane.made[k],), sources[v])
