"""Which row of a batch an element is in. Where a function is run for an explanation (`context.explains`), `vmap` notes with each
equation that it maps how many rows there are, as a scope that no user can open."""

from __future__ import annotations

from collections.abc import Sequence

from tracegrad.core.graph import Eqn, Graph, in_scope, replace

_MARK = "\0rows "  # how many rows, and the phase of the equation when it was mapped


def in_rows(graph: Graph, size: int, batched: Sequence[bool]) -> Graph:
    """The Graph with this noted in all equations that depend on the inputs that are batched."""
    varies = {v for v, b in zip(graph.inputs, batched, strict=True) if b}
    eqns = []
    for i, eqn in enumerate(graph.eqns):
        if not varies.isdisjoint(eqn.inputs):
            varies.update(eqn.outputs)
            eqn = in_scope(graph, (f"{_MARK}{size} {eqn.phase}",)).eqns[i]
        eqns.append(eqn)
    return replace(graph, eqns=tuple(eqns))


def rows_of(eqn: Eqn, index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """In which rows of the batches an element of what an equation computes is, those of the outermost `vmap` first; as many as the
    first axes are known to be rows."""
    marks = [name.removeprefix(_MARK).split(" ") for name in eqn.scope if name.startswith(_MARK)]
    sizes = tuple([int(size) for size, _ in marks])
    # What a derivative rule makes of an equation that was mapped before may be a sum over rows.
    certain = eqn.op.elementwise or all([int(phase) == eqn.phase for _, phase in marks])
    return index[: len(sizes)] if certain and shape[: len(sizes)] == sizes else ()


def without_rows(scope: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes that the user opened."""
    return tuple([name for name in scope if not name.startswith(_MARK)])
