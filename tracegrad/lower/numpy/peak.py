"""How much memory a program takes, before it is run: what its lines make, write over and let go, gone through one by one."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Eqn, Graph, Var
from tracegrad.core.quiet import quietly
from tracegrad.core.types import ArrayType
from tracegrad.lower.numpy.blocks import BLOCK, SHARED, chain_op, workers
from tracegrad.lower.numpy.memory import size_of
from tracegrad.lower.numpy.steps import memory_of_steps
from tracegrad.lower.numpy.writer import Part, Step, lower, steps_of

# An operation of several NumPy calls is tried on arrays of about so many elements, to see what it takes besides its results.
TRIED = 1 << 17  # of which NumPy writes results over temporary arrays, as it does with large ones


class Held(NamedTuple):
    """What is held when most is: how many bytes, and by which equations, the bytes of what each has made or works with."""

    bytes: int
    by: dict[Eqn, int]


def peak_of(graph: Graph | Part) -> Held:
    """The most that the program of a Graph holds at a time, of what it makes itself, results included: what its arguments
    hold does not count."""
    steps, returned = steps_of(graph)
    made = {v: step.eqn for step in steps for v in step.eqn.outputs}
    outputs = () if type(graph) is Part else graph.outputs  # type: ignore[union-attr]
    copies = 0
    for a, text in zip(outputs, returned, strict=False):
        is_copied = text.startswith("own(") and a in made and made[a].op.view is not None  # a view, or one of a copy
        copies += size_of(a.type) if is_copied or text.startswith("compact(") else 0
    besides: list[dict[Eqn, int]] = [*[{} if step.views else beside(step.eqn) for step in steps], {}]
    totals = [total + sum(more.values()) for (total, _), more in zip(_held(steps), besides, strict=True)]
    totals[-1] += copies
    most = max(totals)
    at = totals.index(most)
    _, held = next(itertools.islice(_held(steps), at, None))
    by = besides[at]
    for eqn, size in held.values():
        by[eqn] = by.get(eqn, 0) + size
    return Held(most, by)


def _held(steps: Sequence[Step]) -> Iterator[tuple[int, dict[int, tuple[Eqn, int]]]]:
    """What is held behind each line before it lets go of anything, and behind all of them: in all, and the arrays by number,
    with who made them."""
    held: dict[int, tuple[Eqn, int]] = {}
    names: dict[str, int] = {}  # which array a name refers to,
    counts: dict[int, int] = {}  # and how many names do
    called: dict[Any, str] = {}
    total = 0
    numbers = itertools.count()
    for eqn, made, over, gone, views in steps:
        for v, name in zip(eqn.outputs, made, strict=True):
            called[v] = name
            array = -1
            if over or name in names:  # what it is written over goes by its new name
                array = names.get(over or name, -1)
                if array >= 0:
                    held[array] = eqn, held[array][1]
            elif views:
                array = names.get(called.get(eqn.inputs[0], ""), -1)
            elif size_of(v.type):
                array = next(numbers)
                held[array] = eqn, size_of(v.type)
                total += size_of(v.type)
            if array >= 0 and name not in names:
                names[name] = array
                counts[array] = counts.get(array, 0) + 1
        yield total, held
        for name in gone:
            array = names.pop(name, -1)
            if array >= 0:
                counts[array] -= 1
                if not counts[array]:
                    total -= held.pop(array)[1]
    yield total, held


def beside(eqn: Eqn) -> dict[Eqn, int]:
    """What an equation takes while it is run, besides its results, in bytes, and which equations do: those inside, if it holds
    Graphs."""
    if eqn.op is chain_op:
        part: Part = eqn.params["function"]
        inner, size = peak_of(part), eqn.outputs[0].type.size
        count = workers() if size >= SHARED else 1
        length = -(-size // (count * -(-size // (count * BLOCK))))
        return {e: n * length * count // size for e, n in inner.by.items()}
    graphs = [g for x in eqn.params.values() for g in (x if type(x) is tuple else (x,)) if type(g) is Graph]
    if graphs and "carries" in eqn.params:
        kept, step = memory_of_steps(eqn.params["body"], eqn.params["carries"])
        found = dict(peak_of(step).by)
        found[eqn] = found.get(eqn, 0) + kept
        return found
    if graphs:
        most = max([peak_of(g) for g in graphs], key=lambda held: held.bytes)
        twice = min(most.bytes, sum([size_of(v.type) for v in eqn.outputs]))  # what is made inside is what is returned
        return {e: n - n * twice // max(most.bytes, 1) for e, n in most.by.items()}
    if isinstance(eqn.op.evaluate, np.ufunc):
        return {}
    moved = sum([size_of(t) for t in (*[a.type for a in eqn.inputs], *[v.type for v in eqn.outputs])])
    extra = int(_extra(eqn) * moved) if moved > TRIED else 0
    return {eqn: extra} if extra else {}


def _extra(eqn: Eqn) -> float:
    """What an operation takes besides its results, in bytes for each byte of its arguments and results: what more it takes on
    arrays of one size than on those of half of it."""
    try:
        (more, large), (less, small) = [_tried(eqn, size) for size in (TRIED, TRIED // 2)]
    except Exception:  # sizes that its params do not fit, numbers that it does not like: there is no telling
        return 0.0
    found = (more - less) / (large - small) if large > small else 0.0
    return found if found > 0.02 else 0.0


def _tried(eqn: Eqn, size: int) -> tuple[int, int]:
    """What it takes besides its results on arrays of so many elements, and the bytes of its arguments and results."""
    types = [a.type for a in eqn.inputs]
    most = max([t.ndim for t in types], default=0)
    small = {n: min(n, max(round(size ** (1 / most)), 2)) for t in types for n in t.shape}
    inputs = tuple([Var(ArrayType(tuple([small[n] for n in t.shape]), t.dtype, t.weak)) for t in types])
    made: Any = eqn.op.infer([v.type for v in inputs], eqn.params)
    outputs = tuple([Var(t) for t in (made if eqn.op.multiple_results else (made,))])
    if any([small.get(n, n) != n for v in outputs for n in v.type.shape]):
        raise ValueError("a size is in the params")
    function = lower(Graph(inputs, (eqn._replace(inputs=inputs, outputs=outputs),), outputs, {}, "tried")).function
    arrays = [
        v.type.python_kind(1) if v.type.weak and v.type.python_kind else np.ones(v.type.shape, v.type.dtype)
        for v in inputs
    ]
    quietly(("all",), function, *arrays)
    taken = _most_held(lambda: quietly(("all",), function, *arrays))
    results = sum([size_of(v.type) for v in outputs])
    return taken - results, results + sum([size_of(v.type) for v in inputs])


def _most_held(function: Callable[[], Any]) -> int:
    """The most that is held while a function is run, besides what was held before."""
    was_on = tracemalloc.is_tracing()
    try:
        if not was_on:
            tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        kept = function()
        _, most = tracemalloc.get_traced_memory()
        del kept
        return most - before
    finally:
        if not was_on:
            tracemalloc.stop()
