"""Small arrays of a loop's steps side by side in memory, so that one call of NumPy's does to several what is done to each.

A call for an array of a hundred numbers takes as long as for one of two hundred, and a method for differential equations does the same
to angles and speeds. Where equations of a step do the same elementwise, what they read and make is laid into one strip of memory, each
array at a place of its own for the whole loop: the angles before the speeds before the slopes. Two neighbours are read, or written,
as one array, and nothing is copied but a carry, at the beginning of a step. Elementwise results depend on nothing beside them, so every bit stays.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, exactly, replace
from tracegrad.core.op import Op
from tracegrad.core.types import ArrayType
from tracegrad.lower.numpy.memory import size_of

SMALL = 1 << 11  # bytes of an array that is laid beside another at most
MANY = 400  # equations of a body that is looked at at most
# What a step takes, a call of NumPy's being 1, to copy an array to its place.
_COPIED = 0.35


def _beside(*arrays: Any) -> Any:
    return np.concatenate(arrays)


def _window(x: Any, start: int, stop: int) -> Any:
    return x[start:stop]


def _strides(inputs: Any, types: Any, params: Any) -> Any:
    return (1,)  # as all arrays of one axis in a strip


# Neighbours as one array, and one of those again: nothing is done for it where they lie in a strip. No transform ever meets these.
beside_op = Op(
    "beside",
    evaluate=_beside,
    infer=lambda types, params: ArrayType((sum([t.shape[0] for t in types]),), types[0].dtype),
    strides=_strides,
    kinds="",
)
window_op = Op(
    "window",
    evaluate=_window,
    infer=lambda types, params: ArrayType((params["stop"] - params["start"],), types[0].dtype),
    strides=_strides,
    kinds="",
)
# A carry at its place.
laid_op = Op(
    "laid", evaluate=np.copy, infer=lambda types, params: types[0], strides=_strides, never_aliases=True, kinds=""
)


class Strips(NamedTuple):
    """The Graph of a step with joined equations; how long the strips are; the parts of them that it computes in, as (strip, start, stop);
    and in which of these the variables lie."""

    graph: Graph
    strips: Sequence[ArrayType]
    windows: Sequence[tuple[int, int, int]]
    placed: dict[Var, int]


def in_strips(graph: Graph, turns: Sequence[int], fills: int) -> Strips | None:
    """The Graph of a step that returns carries, and fills so many outputs behind them. `turns` are the inputs that it is given
    in the next step what it returns for."""
    if not 2 <= len(graph.eqns) <= MANY:
        return None
    laying = _Laying(graph, turns, fills)
    return laying.strips() if laying.join() else None


class _Laying:
    """Finds out which equations are joined and what lies beside what."""

    def __init__(self, graph: Graph, turns: Sequence[int], fills: int) -> None:
        self.graph = graph
        self.turns = turns
        self.returned = graph.outputs[: len(graph.outputs) - fills]
        self.filled = set(graph.outputs[len(graph.outputs) - fills :])
        self.makers: dict[Any, int] = {v: i for i, e in enumerate(graph.eqns) for v in e.outputs}
        self.groups: list[tuple[int, ...]] = [(i,) for i in range(len(graph.eqns))]  # by the first of its equations
        self.following: dict[Any, Any] = {}  # what lies beside a variable, behind it
        self.preceding: dict[Any, Any] = {}
        carried = {graph.inputs[i] for i in turns}
        self.placeable = {v for v in graph.inputs if _is_small(v.type)}
        self.placeable.update([e.outputs[0] for e in graph.eqns if _fits(e)])
        # What is returned lies where the next step writes. So that step copies it at once, and nothing else may lie there.
        views = carried.union([v for v in self.placeable if v in self.makers])
        for e in graph.eqns:
            if not e.op.never_aliases and not views.isdisjoint(e.inputs):
                views.update(e.outputs)
        for i, a in zip(turns, self.returned, strict=True):
            v: Any = graph.inputs[i]
            is_made = a in self.placeable and a in self.makers
            if not is_made and a in views:
                self.placeable = set()
            elif not is_made or v not in self.placeable or v.type != a.type:
                self.placeable.discard(a)

    def join(self) -> bool:
        """Join equations as long as it pays, and say whether there were any."""
        eqns = self.graph.eqns
        kinds: dict[Any, list[int]] = {}
        for i, e in enumerate(eqns):
            if e.outputs and e.outputs[0] in self.placeable and _fits(e):
                where = e.source
                kinds.setdefault((e.op, where and where[:2], e.outputs[0].type), []).append(i)
        alike = [numbers for numbers in kinds.values() if len(numbers) > 1]
        if not alike:
            return False
        self.before = self.ancestors()
        is_joined = False
        for numbers in sorted(alike):
            left = list(numbers)
            while left:
                first = left.pop(0)
                while True:
                    tried = [
                        (self.neighbours(a, b), a, b) for k in left for a, b in ((first, k), (k, first))
                        if not (self.depends(a, b) or self.depends(b, a))
                    ]  # fmt: skip
                    # Those first of which most lies beside each other anyhow.
                    best = next((t for t in sorted(tried, key=lambda t: -t[0]) if self.try_to_join(t[1], t[2])), None)
                    if best is None:
                        break
                    is_joined = True
                    _, a, b = best
                    left.remove(b if a == first else a)
                    first = a
        return is_joined

    def ancestors(self) -> list[int]:
        """Of each equation those that it needs, itself among them, as bits."""
        found: list[int] = []
        for i, e in enumerate(self.graph.eqns):
            bits = 1 << i
            for a in e.inputs:
                if a in self.makers:
                    bits |= found[self.makers[a]]
            found.append(bits)
        return found

    def depends(self, a: int, b: int) -> bool:
        return bool(self.before[a] >> b & 1)

    def ordered(self) -> list[tuple[int, ...]]:
        """The groups in an order in which each comes behind those that it needs."""
        eqns = self.graph.eqns
        home = {i: g[0] for g in self.groups if g for i in g}
        needs = {
            g[0]: {home[self.makers[a]] for i in g for a in eqns[i].inputs if a in self.makers}
            for g in self.groups
            if g
        }
        readers: dict[int, list[int]] = {}
        for k, others in needs.items():
            for o in others:
                readers.setdefault(o, []).append(k)
        waiting = {k: len(others) for k, others in needs.items()}
        ready = [(min(self.groups[k]), k) for k, n in waiting.items() if not n]
        heapq.heapify(ready)
        found = []
        while ready:
            _, k = heapq.heappop(ready)
            found.append(self.groups[k])
            for r in readers.get(k, ()):
                waiting[r] -= 1
                if not waiting[r]:
                    heapq.heappush(ready, (min(self.groups[r]), r))
        return found

    def pairs(self, a: int, b: int) -> list[tuple[Any, Any]] | None:
        """What has to lie beside what to have the group that begins with one equation run before another in one call."""
        last, first = self.graph.eqns[self.groups[a][-1]], self.graph.eqns[b]
        found: list[tuple[Any, Any]] = []
        for x, y in zip(last.inputs, first.inputs, strict=True):
            if x.type != y.type:
                return None
            if x.type.shape:
                found.append((x, y))
            elif not (x is y or (type(x) is type(y) is Literal and exactly(x.value) == exactly(y.value))):
                return None
        return [*found, (last.outputs[0], first.outputs[0])]

    def neighbours(self, a: int, b: int) -> int:
        return sum([self.following.get(x) is y for x, y in self.pairs(a, b) or ()])

    def try_to_join(self, a: int, b: int) -> bool:
        pairs = self.pairs(a, b)
        if pairs is None:
            return False
        linked: list[tuple[Any, Any]] = []
        price = 0.0
        for x, y in pairs:
            if self.following.get(x) is y:
                continue
            price += self.price(x, linked) + self.price(y, linked)
            if not self.may_link(x, y):
                price = float("inf")
                break
            self.following[x], self.preceding[y] = y, x
            linked.append((x, y))
        if price < 1:
            self.groups[a] += self.groups[b]
            self.groups[b] = ()
            # Whatever needs one of them needs what all of them need.
            members, needed = sum([1 << i for i in self.groups[a]]), self.before[a] | self.before[b]
            self.before = [bits | needed if bits & members else bits for bits in self.before]
            return True
        for x, y in linked:
            del self.following[x], self.preceding[y]
        return False

    def may_link(self, x: Any, y: Any) -> bool:
        if x not in self.placeable or y not in self.placeable or x in self.following or y in self.preceding:
            return False
        end = y
        while end in self.following:
            end = self.following[end]
        return end is not x

    def price(self, v: Any, linked: Sequence[tuple[Any, Any]]) -> float:
        """What it takes to have a variable lie in a strip."""
        if self.is_laid(v):
            return 0
        price = _COPIED * (v in self.filled)
        if v not in self.makers:
            return price + _COPIED
        for i, a in zip(self.turns, self.returned, strict=True):
            if a is v and not self.is_laid(self.graph.inputs[i]):
                price += _COPIED
        return price

    def is_laid(self, v: Any) -> bool:
        return v in self.following or v in self.preceding

    def strips(self) -> Strips:
        graph = self.graph
        place: dict[Any, tuple[int, int]] = {}
        strips: list[ArrayType] = []

        def lay(v: Any) -> None:
            n = 0
            of = v.type
            while v is not None:
                place[v] = len(strips), n
                v, n = self.following.get(v), n + of.shape[0]
            strips.append(ArrayType((n,), of.dtype))

        for v in dict.fromkeys([*graph.inputs, *self.makers]):
            if v in self.following and v not in self.preceding:
                lay(v)
        for i, a in zip(self.turns, self.returned, strict=True):
            if a in place and graph.inputs[i] not in place:
                lay(graph.inputs[i])
        windows: dict[tuple[int, int, int], int] = {}
        placed: dict[Var, int] = {}
        whole: dict[Any, Var] = {}  # the variables of several that lie beside each other
        eqns: list[Eqn] = []
        laid: dict[Atom, Atom] = {}

        def put(v: Var, first: Any, size: int) -> Var:
            strip, start = place[first]
            placed[v] = windows.setdefault((strip, start, start + size), len(windows))
            return v

        sources = {v: e.raw_source for e in graph.eqns[::-1] for v in (*e.inputs, *e.outputs)}
        for v in graph.inputs:
            if v in place:
                laid[v] = put(Var(v.type), v, v.type.size)
                eqns.append(Eqn(laid_op, (v,), {}, (laid[v],), sources.get(v)))  # type: ignore[arg-type]
        for group in self.ordered():
            some = [graph.eqns[i] for i in group]
            first = some[0]
            if len(some) == 1:
                for v in first.outputs:
                    if v in place:
                        put(v, v, v.type.size)
                eqns.append(replace(first, inputs=tuple([laid.get(a, a) for a in first.inputs])))
                continue
            inputs: list[Atom] = []
            for operands in zip(*[e.inputs for e in some], strict=True):
                if not operands[0].type.shape:
                    inputs.append(operands[0])
                    continue
                if operands not in whole:
                    of = operands[0].type
                    joint = whole[operands] = Var(ArrayType((of.shape[0] * len(some),), of.dtype))
                    put(joint, operands[0], joint.type.size)
                    eqns.append(
                        Eqn(beside_op, tuple([laid.get(a, a) for a in operands]), {}, (joint,), first.raw_source)
                    )
                inputs.append(whole[operands])
            made = tuple([e.outputs[0] for e in some])
            n = made[0].type.shape[0]
            joint = whole[made] = Var(ArrayType((n * len(some),), made[0].type.dtype))
            put(joint, made[0], joint.type.size)
            eqns.append(replace(first, inputs=tuple(inputs), outputs=(joint,)))
            for k, v in enumerate(made):
                put(v, v, n)
                cut = {"start": n * k, "stop": n * (k + 1)}
                eqns.append(Eqn(window_op, (joint,), cut, (v,), first.raw_source))
        outputs = tuple([laid.get(a, a) for a in graph.outputs])
        return Strips(replace(graph, eqns=tuple(eqns), outputs=outputs), strips, list(windows), placed)


def _is_small(of: ArrayType) -> bool:
    return len(of.shape) == 1 and not of.weak and 0 < size_of(of) <= SMALL and of.dtype.isbuiltin == 1


def _fits(eqn: Eqn) -> bool:
    """Whether an equation is one of a ufunc, of small arrays of one shape and of numbers."""
    if len(eqn.outputs) != 1 or eqn.params:
        return False
    evaluate, of = eqn.op.evaluate, eqn.outputs[0].type
    is_ufunc = isinstance(evaluate, np.ufunc) and evaluate.signature is None
    return is_ufunc and _is_small(of) and all([a.type.shape in ((), of.shape) for a in eqn.inputs])
