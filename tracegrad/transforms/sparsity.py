"""Which elements of a linear function's outputs depend on which elements of its inputs, read off its Graph.

What flows along the variables of the Graph is, for each element, the set of the inputs' elements that it may depend on. No
value of what is differentiated has a part in it: `where` lets both of its branches through, and what depends on an index that is not
known depends on all that it could choose. So the pattern holds for all values on the same path through the program, and is never
too small. It is exact where ops are (`Op.elementwise`, `Op.moves`, `Op.reach`), but for sums that cancel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.graph import Graph, Var
from tracegrad.core.op import Along, Op, Pairs, Params
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, Shape, is_inexact


class Sets:
    """For each of some rows a set of columns, in compressed form: row i has `columns[starts[i]:starts[i + 1]]`, ascending."""

    __slots__ = ("columns", "count", "starts")

    def __init__(self, starts: Any, columns: Any, count: int) -> None:
        self.starts = starts
        self.columns = columns
        self.count = count  # of all columns

    def __len__(self) -> int:
        return len(self.starts) - 1

    @staticmethod
    def of_pairs(rows: Any, columns: Any, length: int, count: int) -> Sets:
        """From pairs in any order, which may come more than once."""
        keys = np.sort(rows * count + columns)
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
        rows, columns = np.divmod(keys, max(count, 1))
        return Sets(np.searchsorted(rows, np.arange(length + 1)), columns, count)

    def rows(self) -> Any:
        """The row of each element."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, rows: Any) -> Sets:
        """The sets of these rows, one after the other; -1 for an empty one."""
        real = rows >= 0
        lengths = (
            np.where(real, self.starts[rows + 1] - self.starts[rows], 0) if len(self) else np.zeros(len(rows), int)
        )
        starts = np.concatenate([[0], np.cumsum(lengths)])
        first = np.where(real, self.starts[rows], 0) if len(self) else starts[:-1]
        where = np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1])
        return Sets(starts, self.columns[where], self.count)

    def grouped(self, groups: Any, length: int) -> Sets:
        """For each of `length` groups the union of the rows that belong to it; -1 for none."""
        lengths = np.diff(self.starts)
        of_each = np.repeat(groups, lengths)
        real = of_each >= 0
        return Sets.of_pairs(of_each[real], self.columns[real], length, self.count)

    def related(self, rows: Any, of: Any, length: int) -> Sets:
        """For each of `length` rows the union of those that it is related to, by pairs."""
        return self.take(of).grouped(rows, length)

    def united(self, other: Sets) -> Sets:
        """Row by row."""
        if self == other:
            return self
        rows = np.concatenate([self.rows(), other.rows()])
        return Sets.of_pairs(rows, np.concatenate([self.columns, other.columns]), len(self), self.count)

    def below(self, other: Sets) -> Sets:
        """These rows, then those of the other."""
        starts = np.concatenate([self.starts, other.starts[1:] + self.starts[-1]])
        return Sets(starts, np.concatenate([self.columns, other.columns]), self.count)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Sets)
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.columns, other.columns)
        )

    __hash__ = None  # type: ignore[assignment]


class Flow:
    """What is known of a variable: the sets of its elements, None if it depends on nothing that is differentiated; then its
    value, if that depends on no argument either."""

    __slots__ = ("sets", "type", "value")

    def __init__(self, type: ArrayType, sets: Sets | None = None, value: Any = None) -> None:
        self.type = type
        self.sets = sets
        self.value = value

    def at(self, i: int) -> Flow:
        """Element i of axis 0."""
        type = ArrayType(self.type.shape[1:], self.type.dtype)
        sets = None if self.sets is None else self.sets.take(np.arange(i * type.size, (i + 1) * type.size))
        return Flow(type, sets, None if self.value is None else np.asarray(self.value[i]))

    def merged(self, other: Flow) -> Flow:
        """What may be the one or the other."""
        if self.sets is None or other.sets is None:
            return Flow(self.type, other.sets if self.sets is None else self.sets)
        return Flow(self.type, self.sets.united(other.sets))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flow) and self.sets == other.sets

    __hash__ = None  # type: ignore[assignment]

    @staticmethod
    def stacked(rows: Sequence[Flow], type: ArrayType) -> Flow:
        """An array of this type, whose elements of axis 0 these are."""
        counts = [r.sets.count for r in rows if r.sets is not None]
        if not counts:
            return Flow(type)
        lengths = [np.zeros(r.type.size, np.intp) if r.sets is None else np.diff(r.sets.starts) for r in rows]
        columns = [r.sets.columns for r in rows if r.sets is not None]
        starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        return Flow(type, Sets(starts, np.concatenate(columns), counts[0]))


def pattern_of(graph: Graph) -> Sets:
    """The pattern of a linear Graph: the rows are all elements of its outputs, one output after the other, the columns those of
    its inputs. Constants that are tracers depend on arguments, so that nothing is known of them."""
    count = sum([v.type.size for v in graph.inputs])
    flows, start = [], 0
    for v in graph.inputs:
        n = v.type.size
        flows.append(Flow(v.type, Sets(np.arange(n + 1), np.arange(start, start + n), count)))
        start += n
    outs = _walk(graph, flows)
    whole = Flow.stacked(
        [Flow(ArrayType((o.type.size,), o.type.dtype), o.sets) for o in outs], ArrayType((0,), np.dtype(bool))
    ).sets
    if whole is None:
        return Sets(np.zeros(sum([o.type.size for o in outs]) + 1, np.intp), np.zeros(0, np.intp), count)
    return whole


def _walk(graph: Graph, inputs: Sequence[Flow]) -> list[Flow]:
    env: dict[Any, Flow] = dict(zip(graph.inputs, inputs, strict=True))
    for v, x in graph.consts.items():
        env[v] = Flow(v.type, None, None if isinstance(x, Tracer) else x)

    def flow(atom: Any) -> Flow:
        return env[atom] if type(atom) is Var else Flow(atom.type, None, atom.value)

    for eqn in graph.eqns:
        given = [flow(a) for a in eqn.inputs]
        env.update(zip(eqn.outputs, _applied(eqn.op, given, [v.type for v in eqn.outputs], eqn.params), strict=True))
    return [flow(a) for a in graph.outputs]


def _applied(op: Op, given: Sequence[Flow], types: Sequence[ArrayType], params: Params) -> Sequence[Flow]:
    """The flows of an op's outputs, of these types."""
    if all([x.value is not None for x in given]):
        values = bind(op, tuple([x.value for x in given]), params)
        return [Flow(t, None, v) for t, v in zip(types, values if op.multiple_results else (values,), strict=True)]
    if op.held is not None and op.held.flows is not None:
        return op.held.flows(_walk, given, params)
    active = [i for i, x in enumerate(given) if x.sets is not None]
    if not active:
        return [Flow(t) for t in types]
    known = [None if x.sets is not None else x.value for x in given]
    chosen = [i in active or known[i] is not None or op.is_linear_in((i,), params) for i in range(len(given))]
    if op.moves and not op.elementwise and all(chosen):
        return _moved(op, active, given, types, params)
    if op.multiple_results:
        sets = [_everything(op, active, given, t) for t in types]
    else:
        found = [_reached(op, i, given, types[0], params, known) for i in active]
        total = found[0]
        for other in found[1:]:
            total = total.united(other)
        sets = [total]
    return [Flow(t, s if is_inexact(t.dtype) else None) for t, s in zip(types, sets, strict=True)]


def _moved(
    op: Op, active: Sequence[int], given: Sequence[Flow], types: Sequence[ArrayType], params: Params
) -> Sequence[Flow]:
    """Of an op that moves elements: it moves their numbers, counted from 1, and has zeros where no element comes."""
    rows: Sets | None = None
    inputs: list[Any] = []
    dtype = np.dtype(np.intp if "i" in op.kinds else float)  # both hold all numbers of elements that there are
    for i, x in enumerate(given):
        if i not in active:
            inputs.append(x.value if not op.is_linear_in((i,), params) else np.zeros(x.type.shape, dtype))
            continue
        start = 0 if rows is None else len(rows)
        assert x.sets is not None
        inputs.append(np.arange(start + 1, start + 1 + x.type.size, dtype=dtype).reshape(x.type.shape))
        rows = x.sets if rows is None else rows.below(x.sets)
    assert rows is not None
    out = op.evaluate(*inputs, **params)
    outs = out if op.multiple_results else (out,)
    return [Flow(t, rows.take(np.asarray(o).reshape(-1).astype(np.intp) - 1)) for t, o in zip(types, outs, strict=True)]


def _everything(op: Op, active: Sequence[int], given: Sequence[Flow], type: ArrayType) -> Sets:
    """All elements of the output depend on all of all inputs."""
    total: Sets | None = None
    for i in active:
        sets = given[i].sets
        assert sets is not None
        whole = sets.grouped(np.zeros(len(sets), np.intp), 1)
        total = whole if total is None else total.united(whole)
    assert total is not None
    return total.take(np.zeros(type.size, np.intp))


def _reached(op: Op, i: int, given: Sequence[Flow], out: ArrayType, params: Params, known: Sequence[Any]) -> Sets:
    """What an output depends on by its input i."""
    sets, shape = given[i].sets, given[i].type.shape
    assert sets is not None
    if op.elementwise:
        if shape == out.shape:
            return sets
        return sets.take(np.broadcast_to(np.arange(len(sets)).reshape(shape), out.shape).reshape(-1))
    found = None if op.reach is None else op.reach(i, [x.type for x in given], out, params, known)
    if type(found) is Pairs:
        return sets.related(found.outputs, found.inputs, out.size)
    if type(found) is Along:
        return _along(sets, found, shape, out.shape)
    return _everything(op, [i], given, out)


def _along(sets: Sets, along: Along, shape: Shape, out: Shape) -> Sets:
    """An output by the axes that go together with one of the input; over the input's others is summed, along the output's
    others repeated."""
    ins, outs = [shape[a] for a, _, _ in along.axes], [out[b] for _, b, _ in along.axes]
    groups = _numbers(shape, [a for a, _, _ in along.axes])
    if len(along.axes) == len(shape):
        by_axes = np.empty(len(sets), np.intp)
        by_axes[groups] = np.arange(len(sets))
        sets = sets.take(by_axes)
    else:
        sets = sets.grouped(groups, math.prod(ins))
    if any([places is not None for _, _, places in along.axes]):
        rows, of = np.zeros(1, np.intp), np.zeros(1, np.intp)
        for (_, _, places), m, n in zip(along.axes, outs, ins, strict=True):
            to, by = (np.arange(m), np.arange(n)) if places is None else places
            rows = np.add.outer(rows * m, to).reshape(-1)
            of = np.add.outer(of * n, by).reshape(-1)
        sets = sets.related(rows, of, math.prod(outs))
    return sets.take(_numbers(out, [b for _, b, _ in along.axes]))


def _numbers(shape: Shape, axes: Sequence[int]) -> Any:
    """For each element of an array of this shape, its number in one that has these axes alone, in this order."""
    number = np.zeros((1,) * len(shape), np.intp)
    for a in axes:
        number = number * shape[a] + np.arange(shape[a]).reshape([-1 if a == b else 1 for b in range(len(shape))])
    return np.broadcast_to(number, shape).reshape(-1)
