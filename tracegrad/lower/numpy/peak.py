"""How much memory a program takes, before it is run: what its lines make, write over and let go, gone through one by one."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Eqn, Graph, Var, graphs_in, graphs_of
from tracegrad.core.memory import common_order, in_c_order, is_dense
from tracegrad.lower.numpy.blocks import BLOCK, SHARED, chain_op, workers
from tracegrad.lower.numpy.memory import size_of
from tracegrad.lower.numpy.steps import memory_of_steps
from tracegrad.lower.numpy.trial import tried
from tracegrad.lower.numpy.writer import Part, Step, steps_of


class Held(NamedTuple):
    """What is held when most is: how many bytes, and by which equations, the bytes of what each has made or works with."""

    bytes: int
    by: dict[Eqn, int]


def peak_of(
    graph: Graph | Part,
    settled: Collection[Var] = (),
    rounds: Mapping[Var, Any] = MappingProxyType({}),
    donated: Sequence[int] = (),
) -> Held:
    """The most that the program of a Graph, in which such constants are settled, holds at a time, of what it makes itself, results
    included: what its arguments hold does not count, nor what is written over those that are `donated`. How often loops go round that
    end by a condition say the `rounds`, by their first outputs (once, if they do not), and of batches, which Graph each row chooses
    (in turn, if they do not)."""
    steps, returned, given = steps_of(graph, settled, donated)
    consts: Mapping[Var, Any] = {} if type(graph) is Part else {v: graph.consts[v] for v in settled}  # type: ignore[union-attr]
    taken = [taken_by(step, consts, rounds) for step in steps]
    memory = _Memory(given)
    totals = []
    for step, takes in zip(steps, taken, strict=True):
        memory.makes(step, takes)
        totals.append(memory.total + sum(takes.beside.values()))
        memory.lets_go(step)
    outputs = () if type(graph) is Part else graph.outputs  # type: ignore[union-attr]
    copies = 0
    for a, text in zip(outputs, returned, strict=False):
        is_copied = text.startswith("own(") and a in memory.views  # a view, or an argument itself
        copies += size_of(a.type) if is_copied or text.startswith("compact(") else 0
    totals.append(memory.total + copies)
    at = totals.index(max(totals))
    memory = _Memory(given)
    for step, takes in zip(steps[:at], taken, strict=False):
        memory.makes(step, takes)
        memory.lets_go(step)
    by = dict(taken[at].beside) if at < len(steps) else {}
    if at < len(steps):
        memory.makes(steps[at], taken[at])
    for eqn, size in memory.held.values():
        by[eqn] = by.get(eqn, 0) + size
    return Held(max(totals), by)


class Taken(NamedTuple):
    """What a line takes: the bytes held while it runs besides its results, by equations; and for each result the bytes that it
    holds, which argument it lies in the memory of (-1: none), and whether it is a view."""

    beside: dict[Eqn, int]
    made: tuple[int, ...]
    shares: tuple[int, ...]
    is_view: tuple[bool, ...]


class _Memory:
    """The arrays that are held, gone through line by line. The `given` names are those of arrays that may be written over, but were
    there before."""

    def __init__(self, given: Sequence[str]) -> None:
        self.total = 0
        self.held: dict[int, tuple[Eqn, int]] = {}  # by number, with who made them
        self.views: set[Any] = set()  # variables that are a view, or an argument
        self._names: dict[str, int] = {}  # which array a name refers to,
        self._counts: dict[int, int] = {}  # and how many names do
        self._called: dict[Any, str] = {}
        self._numbers = itertools.count()
        for name in given:
            number = self._names[name] = next(self._numbers)
            self._counts[number] = 1

    def makes(self, step: Step, takes: Taken) -> None:
        names, inputs = self._names, step.eqn.inputs
        for v, name, size, shared, is_view in zip(
            step.eqn.outputs, step.made, takes.made, takes.shares, takes.is_view, strict=True
        ):
            self._called[v] = name
            array = -1
            if step.over or name in names:  # what it is written over goes by its new name
                array = names.get(step.over or name, -1)
                if array in self.held:
                    self.held[array] = step.eqn, self.held[array][1]
            elif shared >= 0:
                array = names.get(self._called.get(inputs[shared], ""), -1)
                if is_view or inputs[shared] in self.views or array < 0:
                    self.views.add(v)
            else:
                if is_view:
                    self.views.add(v)
                if size:
                    array = next(self._numbers)
                    self.held[array] = step.eqn, size
                    self.total += size
            if array >= 0 and name not in names:
                names[name] = array
                self._counts[array] = self._counts.get(array, 0) + 1

    def lets_go(self, step: Step) -> None:
        for name in step.gone:
            array = self._names.pop(name, -1)
            if array >= 0:
                self._counts[array] -= 1
                if not self._counts[array] and array in self.held:
                    self.total -= self.held.pop(array)[1]


def taken_by(step: Step, settled: Mapping[Var, Any], rounds: Mapping[Var, Any]) -> Taken:
    """What a line takes in a program that has these constants for good."""
    eqn, count = step.eqn, len(step.eqn.outputs)
    sizes, own, new = tuple([size_of(v.type) for v in eqn.outputs]), (-1,) * count, (False,) * count
    if step.views:
        return Taken({}, (0,), (0,), (True,))
    if eqn.op is chain_op or (graphs_of(eqn.params) and not _may_be_tried(eqn)):
        return Taken(beside(step, rounds), sizes, own, new)
    kinds = {a.type.dtype for a in (*eqn.inputs, *eqn.outputs) if a.type.shape}
    if (isinstance(eqn.op.evaluate, np.ufunc) and len(kinds) == 1) or eqn.op.runs_user_code or eqn.op.acts(eqn.params):
        return Taken({}, sizes, own, new)  # a user's function is called when the user calls
    chosen = rounds.get(eqn.outputs[0]) if eqn.op.held is not None and eqn.op.held.by_rows else None
    found = tried(eqn, step.lying, settled, chosen)
    return Taken({eqn: found.extra} if found.extra else {}, found.held, found.shares, found.is_view)


def _may_be_tried(eqn: Eqn) -> bool:
    """Whether Graphs are run op by op, end whatever the numbers are, and call nothing of the user's."""
    if eqn.op.held is None or not eqn.op.held.by_rows or eqn.op.acts(eqn.params):
        return False
    held = [e.op.held for g in graphs_in(Graph((), (eqn,), (), {})) for e in g.eqns if e.op.held is not None]
    return not any([h.steps is not None or h.runs_user_code for h in held])


def beside(step: Step, rounds: Mapping[Var, Any]) -> dict[Eqn, int]:
    """What the equation of a line takes while it is run, besides its results, in bytes, and which equations do: those inside, if it
    holds Graphs."""
    eqn = step.eqn
    if eqn.op is chain_op:
        part: Part = eqn.params["function"]
        made = eqn.outputs[0].type
        large = [(a, x) for a, x in zip(eqn.inputs, step.lying, strict=True) if a.type.shape]
        mixed = common_order(made.shape, [x for _, x in large]) is None
        lying = tuple([x if a.type.shape else () for a, x in zip(eqn.inputs, step.lying, strict=True)])
        if mixed and not eqn.params["whole"].ends_in_c_order(lying):
            return _without_results(eqn, peak_of(Part(part.graph, 0)))
        # (One number everywhere is as good as an array.)
        ordered = in_c_order(made.shape)
        fit = [x == ordered if mixed else is_dense(made.shape, x) for _, x in large]
        copied = sum([size_of(a.type) for (a, x), fits in zip(large, fit, strict=True) if any(x) and not fits])
        inner, size = peak_of(part), made.size
        count = workers() if size >= SHARED else 1
        length = -(-size // (count * -(-size // (count * BLOCK))))
        found = {e: n * length * count // size for e, n in inner.by.items()}
        found[eqn] = copied
        return found
    graphs = graphs_of(eqn.params)
    if "carries" in eqn.params:
        if eqn.op.held is not None and eqn.op.held.keeps is not None:
            kept, once = eqn.op.held.keeps(eqn.params, rounds.get(eqn.outputs[0], 1))
        else:
            kept, once = memory_of_steps(eqn.params["body"], eqn.params["carries"])
        found = dict(peak_of(once).by)
        found[eqn] = found.get(eqn, 0) + kept
        return found
    return _without_results(eqn, max([peak_of(g) for g in graphs], key=lambda held: held.bytes))


def _without_results(eqn: Eqn, most: Held) -> dict[Eqn, int]:
    """What a Graph inside of an equation holds, but for what is returned."""
    twice = min(most.bytes, sum([size_of(v.type) for v in eqn.outputs]))
    return {e: n - n * twice // max(most.bytes, 1) for e, n in most.by.items()}
