"""The body of a loop, compiled to run many times: the memory that it computes in is made once for a run of the loop.

What a step stacks it writes where it belongs; a carry it writes into one of two arrays in turn, since it reads that of the
step before; what dies within the step goes into spare arrays (see `lower/numpy/writer.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.graph import Graph, Var, replace
from tracegrad.core.memory import Strides, in_c_order, strides_of
from tracegrad.lower.numpy.memory import MEDIUM, size_of
from tracegrad.lower.numpy.writer import Lowered, Part, lower_step

# (carry, elements, arrays to stack into) -> the next carry.
Step = Callable[[Sequence[Any], Sequence[Any], Sequence[Any]], Sequence[Any]]


def loop_step(body: Graph, carries: int, consts: Sequence[Any], first: Sequence[Any] = ()) -> Step:
    """One step, for one run of a loop, of a body of (carry, elements, constants) that gives (carry, what is stacked). The
    carry that it gives may be written over by the next step. All elements lie like the `first` ones, if these are given."""
    doubled, step = prepared(body, carries, tuple([_layout(x) for x in (*first, *consts)]))
    function = step.function
    spares = [np.empty(t.shape, t.dtype) for t in step.spares]
    spares += [spares[k][start:stop] for k, start, stop in step.windows]
    now, then = [[np.empty(body.out_types[i].shape, body.out_types[i].dtype) for i in doubled] for _ in range(2)]
    last = (*consts,)
    if not doubled:
        return lambda carry, elements, rows: function(*carry, *elements, *last, *rows, *spares) or ()
    returned = iter(range(carries))
    # Where each carry is in what the function returns and, behind that, the arrays that it writes into.
    places = [carries - len(doubled) + doubled.index(i) if i in doubled else next(returned) for i in range(carries)]
    in_order = places == list(range(carries))

    def turning(carry: Sequence[Any], elements: Sequence[Any], rows: Sequence[Any]) -> Sequence[Any]:
        nonlocal now, then
        rest = function(*carry, *elements, *last, *now, *rows, *spares)
        found = [*rest, *now] if rest else now
        now, then = then, now
        return found if in_order else [found[i] for i in places]

    return turning


def memory_of_steps(body: Graph, carries: int) -> tuple[int, Part]:
    """How many bytes a run of the loop holds besides its results, and the program of a step."""
    doubled, step = prepared(body, carries)
    return sum([size_of(body.out_types[i]) for i in doubled]) + sum(map(size_of, step.spares)), _part(
        body, carries, doubled
    )


def _layout(x: Any) -> Strides | None:
    """How a constant of a loop lies, or each of its elements, which is asked once for a run of it."""
    if type(x) is not np.ndarray or x.flags.c_contiguous:
        return in_c_order(np.shape(x))
    return strides_of(x)


def prepared(body: Graph, carries: int, lying: tuple[Strides | None, ...] = ()) -> tuple[list[int], Lowered]:
    """Which carries are double-buffered, and the function, which returns the others, for constants that lie like that, and
    maybe elements, which come before these."""
    found = body.memo.get(("steps", carries, lying))
    if found is None:
        doubled = _doubled(body, carries)
        part = _part(body, carries, doubled)
        turns = [i for i in range(carries) if i not in doubled]
        found = body.memo["steps", carries, lying] = doubled, lower_step(part.graph, part.fills, lying, turns)
    return found


def _part(body: Graph, carries: int, doubled: Sequence[int]) -> Part:
    others = [a for i, a in enumerate(body.outputs[:carries]) if i not in doubled]
    outputs = (*others, *[body.outputs[i] for i in doubled], *body.outputs[carries:])
    return Part(replace(body, outputs=outputs), len(outputs) - len(others), takes_spares=True)


def _doubled(body: Graph, carries: int) -> list[int]:
    """The carries to double-buffer, which are written into two arrays in turn: those that a ufunc makes, if nothing that
    lies in the memory of a carry is handed on, since the array is written over in the step after the next."""
    makers: dict[Any, Any] = {v: e for e in body.eqns for v in e.outputs}
    outputs = body.outputs
    doubled = [
        i
        for i, a in enumerate(outputs[:carries])
        if a in makers
        and isinstance(makers[a].op.evaluate, np.ufunc)
        and len(makers[a].outputs) == 1
        and size_of(a.type) >= MEDIUM
        and outputs.count(a) == 1
    ]
    # What may lie in the memory of a carry other than one that is handed on as it is.
    lying = {v for v, a in zip(body.inputs[:carries], outputs, strict=False) if a is not v}
    for e in body.eqns:
        if not e.op.never_aliases and not lying.isdisjoint(e.inputs):
            lying.update(e.outputs)
    handed = [a for i, a in enumerate(outputs[:carries]) if i not in doubled]
    return [] if any([type(a) is Var and a in lying for a in handed]) else doubled
