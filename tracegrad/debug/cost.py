"""What a function will cost, before it is run: `tg.debug.cost`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import Source, clip, require_callable
from tracegrad.core.graph import Eqn, Graph, Var, graphs_of, replace
from tracegrad.core.types import is_inexact
from tracegrad.debug.flops import flops_of, steps_of_loop
from tracegrad.debug.residuals import residuals_of
from tracegrad.lower.numpy.memory import bytes_moved, is_view, size_of
from tracegrad.lower.numpy.peak import peak_of
from tracegrad.lower.numpy.writer import Part, compiled, steps_of
from tracegrad.lower.passes import simplify
from tracegrad.transforms.jit.numpy import Jitted, jit
from tracegrad.transforms.signatures import Backend


@dataclass(frozen=True)
class LineCost:
    """What a line of the user's costs.

    source      the line; None for what has none
    ops         its operations, in order, with how often each occurs
    flops       floating-point operations
    moved       bytes that its operations read and write
    kept        bytes that it makes and a backward pass keeps
    at_peak     bytes of what it makes, or works with, that are held when most is
    """

    source: Source | None
    ops: dict[str, int]
    flops: int
    moved: int
    kept: int
    at_peak: int


@dataclass(frozen=True)
class Cost:
    """What a function costs: `lines`, in the order in which they stand in their files, and of all together `flops`, `moved`, `kept`
    and `peak`, in bytes. str() of it is a table."""

    lines: tuple[LineCost, ...]
    flops: int
    moved: int
    kept: int
    peak: int

    def __str__(self) -> str:
        head = ("flops", "moved", "kept", "at peak", "line", "")
        rows = [
            (_count(x.flops), _bytes(x.moved), _bytes(x.kept), _bytes(x.at_peak), *place_of(x.source, 72))
            for x in self.lines
        ]
        foot = (_count(self.flops), _bytes(self.moved), _bytes(self.kept), _bytes(self.peak), "in all", "")
        return table([head, *rows, foot], right=4)

    __repr__ = __str__


def table(rows: Sequence[Sequence[str]], right: int) -> str:
    """Rows in columns, the first `right` of which are numbers."""
    widths = [max([len(row[i]) for row in rows]) for i in range(len(rows[0]))]
    return "\n".join(
        [
            "  ".join(
                [f"{x:>{w}}" if i < right else f"{x:<{w}}" for i, (x, w) in enumerate(zip(row, widths, strict=True))]
            ).rstrip()
            for row in rows
        ]
    )


def place_of(source: Source | None, width: int) -> tuple[str, str]:
    """A line, and what stands there; where there is no text, as at Python's prompt, the function that it is of."""
    return ("", "") if source is None else (source.short, clip(source.text or f"(in {source.function})", width))


def line_of(source: Source | None) -> Any:
    """What tells lines apart: where there is no text, several functions may have one of the same number."""
    return source[:2] if source is not None and source.text else source


def _count(n: int) -> str:
    for unit, name in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= unit:
            return f"{n / unit:.3g} {name}"
    return str(n)


def _bytes(n: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if n >= unit:
            return f"{n / unit:.4g} {name}"
    return f"{n} B" if n else "0"


def cost(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Cost:
    """What `fun` will cost on NumPy under `jit`, by line of the user's, without running it.

    It is read off the simplified Graph and the program that `jit` makes of it, which is gone through with what each line makes, writes
    over and lets go. `peak` is the most that is held at a time of what the program makes, results included, without arguments, nor what
    is written over those of a jitted function that are donated: what tracemalloc measures of a call, within a tenth. What an operation takes that consists of several NumPy calls is found by
    trying it on made-up arrays, smaller ones where its own are large. `kept` is what a
    backward pass keeps of what the function computes: the one in it, if there is one, as in `tg.grad(loss)`, and
    otherwise the one that its derivative would have. How operations are counted says `flops_of`: two for each product that
    is summed, one for each element that an elementwise operation makes. A loop counts as often as it runs, a `while_loop`, of which
    that is not known, once; but as often as it goes round for arrays, which is found by running what it depends on and the loop, if it
    is in no other loop. Of branches the dearest counts. Of the memory that they take, rows of a batch are taken to choose theirs in
    turn; but as they do for arrays, which is found likewise.

    Args:
        fun: a function of arrays and pytrees of them, jitted or not.
        *args, **kwargs: its arguments, arrays or `ShapeDtypeStruct`s. Where `fun` branches on values, arrays: what is said is of
            the path that these go.

    Returns:
        `Cost(lines, flops, moved, kept, peak)`, where `lines` are `LineCost(source, ops, flops, moved, kept, at_peak)`.

    >>> import tracegrad as tg, numpy as np
    >>> found = tg.debug.cost(lambda x, y: np.tanh(x @ y), *[tg.ShapeDtypeStruct((100, 100), "float64")] * 2)
    >>> found.flops, found.peak
    (2010000, 80000)
    """
    require_callable(fun, "debug.cost", "(f, x)")
    jitted, backend = jitted_on_numpy(fun)
    entry = jitted.signatures.entry_for(args, kwargs, backend, jitted.follows is not None, with_asked=True)
    graph = entry.graph
    lines: dict[Any, _Sums] = {}

    def of(source: Source | None) -> _Sums:
        return lines.setdefault(line_of(source), _Sums(source))

    _, dynamic, named, _ = jitted.signatures.without_static(args, kwargs)
    rounds = _rounds(graph, tree.tree_leaves((dynamic, named)))
    donated = jitted.donated(args, kwargs)
    for eqn, times, moved in _run(steps_of(graph, entry.settled, donated).steps, 1, rounds):
        sums = of(eqn.source)
        sums.ops[eqn.op.name] = sums.ops.get(eqn.op.name, 0) + 1
        sums.flops += times * flops_of(eqn)
        sums.moved += times * moved
    peak = peak_of(graph, entry.settled, rounds, donated)
    for eqn, held in peak.by.items():
        of(eqn.source).at_peak += held
    results = simplify(replace(graph, outputs=graph.outputs[: entry.out_tree.num_leaves]))
    for source, held in _kept(results) or _kept_by_derivative(results):
        of(source).kept += held
    found = [LineCost(s.source, s.ops, s.flops, s.moved, s.kept, s.at_peak) for s in lines.values()]
    found.sort(key=lambda x: x.source[:2] if x.source else ("", 0))
    flops, moved, kept = [sum([getattr(x, name) for x in found]) for name in ("flops", "moved", "kept")]
    return Cost(tuple(found), flops, moved, kept, peak.bytes)


@dataclass
class _Sums:
    """A `LineCost` that is being added up."""

    source: Source | None
    ops: dict[str, int] = field(default_factory=dict)
    flops: int = 0
    moved: int = 0
    kept: int = 0
    at_peak: int = 0


def jitted_on_numpy(fun: Callable[..., Any]) -> tuple[Jitted[..., Any], Backend]:
    """What is traced for signatures, and what its Graphs are made ready for: NumPy, whatever it is jitted for."""
    return fun if isinstance(fun, Jitted) else jit(fun), Backend("numpy", simplify)


def _rounds(graph: Graph, leaves: Sequence[Any]) -> dict[Var, Any]:
    """How often loops go round that end by a condition, and which Graph each row of a batch chooses, by the first outputs of their
    equations: of those that are not inside of others, for arrays. It is found by running what they depend on, and the loops; not
    where that would call functions of the user's."""
    loops = [eqn for eqn in graph.eqns if eqn.op.held is not None and eqn.op.held.steps is not None]
    choices = [eqn for eqn in graph.eqns if eqn.op.held is not None and eqn.op.held.by_rows and graphs_of(eqn.params)]
    if (
        not (loops or choices)
        or graph.effects
        or not all([isinstance(x, np.ndarray | np.generic | int | float | complex) for x in leaves])
    ):
        return {}
    read = (*[a for eqn in loops for a in eqn.inputs], *[eqn.inputs[0] for eqn in choices])
    values = iter(compiled(simplify(replace(graph, outputs=read)))(*leaves))
    found: dict[Var, Any] = {}
    for eqn in loops:
        given = [next(values) for _ in eqn.inputs]
        found[eqn.outputs[0]] = eqn.op.held.steps(given, eqn.params)  # type: ignore[union-attr, misc]
    found.update(zip([eqn.outputs[0] for eqn in choices], values, strict=True))
    return found


def _run(steps: Iterable[Any], times: int, rounds: Mapping[Var, Any]) -> Iterable[tuple[Eqn, int, int]]:
    """The equations that a program runs, those inside of others too, with how often it does, and the bytes that each moves."""
    for step in steps:
        eqn = step.eqn
        part = eqn.params.get("function")
        if type(part) is Part:  # what is made inside of a chain stays in the cache
            inside = {*part.graph.inputs, *part.graph.outputs}
            for e in part.graph.eqns:
                yield e, times, sum([size_of(v.type) for v in (*e.inputs, *e.outputs) if v in inside])
        elif graphs := graphs_of(eqn.params):
            for graph in graphs if "carries" in eqn.params else [max(graphs, key=lambda g: sum(map(flops_of, g.eqns)))]:
                is_known = eqn.op.held is not None and eqn.op.held.steps is not None and eqn.outputs[0] in rounds
                often = rounds[eqn.outputs[0]] if is_known else steps_of_loop(eqn)
                yield from _run(steps_of(graph).steps, times * often, rounds)
        else:
            yield eqn, times, 0 if step.views else bytes_moved(eqn)


def _kept(graph: Graph) -> list[tuple[Source | None, int]]:
    """What equations of a derivative read of what others made before."""
    makers = {v: eqn for eqn in graph.eqns if not eqn.phase for v in eqn.outputs}
    read = dict.fromkeys([a for e in graph.eqns if e.phase for a in e.inputs if type(a) is Var and a in makers])
    return [(makers[v].source, size_of(v.type)) for v in read if not is_view(makers[v])]


def _kept_by_derivative(graph: Graph) -> list[tuple[Source | None, int]]:
    """What the derivative of a function would keep of what that makes."""
    if any([eqn.phase for eqn in graph.eqns]) or not any([is_inexact(t.dtype) for t in graph.in_types]):
        return []
    return [(r.source, r.bytes) for r in residuals_of(graph) if r.source is not None]
