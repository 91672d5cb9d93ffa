"""What an operation of several NumPy calls takes of memory, and whose memory its results lie in: found by running it once on arrays
like those that it will get."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Eqn, Graph, Literal, Var, graphs_of
from tracegrad.core.memory import Strides
from tracegrad.core.quiet import quietly
from tracegrad.core.types import ArrayType
from tracegrad.lower.numpy.memory import bytes_moved, size_of
from tracegrad.lower.numpy.writer import lower

# In bytes of arguments and results together: up to the first it is run on arrays of its own sizes, beyond on smaller ones, of about
# the second and half of that. These are large enough for NumPy to write results over temporary arrays, as it does with large ones, and
# for what goes block by block to have several.
WHOLE, PART = 1 << 24, 1 << 22
NOISE = 1 << 12  # bytes of headers and tuples


class Trial(NamedTuple):
    """What an operation takes.

    extra    the most that is held while it runs, besides its results, in bytes
    held     for each result how many bytes it holds when it is there
    shares   for each result which argument's memory it lies in, -1 for its own
    is_view  for each result whether it is a view, which is copied before it is returned to the user
    """

    extra: int
    held: tuple[int, ...]
    shares: tuple[int, ...]
    is_view: tuple[bool, ...]


def tried(
    eqn: Eqn, lying: Sequence[Strides] = (), settled: Mapping[Var, Any] = MappingProxyType({}), chosen: Any = None
) -> Trial:
    """What an equation takes for arguments that lie like that (C order, if it is not said), and these constants. Where the rows of a
    batch choose Graphs, `chosen` are which; in turn, if it is not said."""
    whole = bytes_moved(eqn)
    try:
        if whole <= WHOLE:
            return _found(eqn, _run(eqn, {}, lying, settled, chosen))
        for sizes, half in _smaller(eqn):
            try:
                large, small = [_run(eqn, s, lying, settled, chosen) for s in (sizes, half)]
            except Exception:  # the params are for other sizes
                continue
            if large.moved > small.moved:
                return _found(eqn, large, (whole - large.moved) / (large.moved - small.moved), small)
    except Exception:  # numbers that it does not like: there is no telling
        pass
    sizes_of_results = tuple([size_of(v.type) for v in eqn.outputs])
    return Trial(0, sizes_of_results, (-1,) * len(eqn.outputs), (False,) * len(eqn.outputs))


class _Run(NamedTuple):
    """What is seen of a run: the most held, what its results hold, the bytes of its arguments and results, and of each result
    how large it is, whose memory it shares, and whether it is a view."""

    most: int
    held: int
    moved: int
    made: tuple[int, ...]
    shares: tuple[int, ...]
    is_view: tuple[bool, ...]


def _found(eqn: Eqn, run: _Run, further: float = 0.0, before: _Run | None = None) -> Trial:
    """What a run says; where it was of smaller arrays, along the line through it and one before."""

    def grown(of: Callable[[_Run], int]) -> float:
        return of(run) + further * (of(run) - of(before)) if before is not None else of(run)

    own = [made if s < 0 else 0 for made, s in zip(run.made, run.shares, strict=True)]
    share = run.held / sum(own) if sum(own) and abs(run.held - sum(own)) > NOISE else 1.0
    extra = grown(lambda r: r.most - r.held)
    held = tuple([round(share * size_of(v.type)) if s < 0 else 0 for v, s in zip(eqn.outputs, run.shares, strict=True)])
    return Trial(int(extra) if extra > NOISE else 0, held, run.shares, run.is_view)


def _run(
    eqn: Eqn, sizes: Mapping[int, int], lying: Sequence[Strides], settled: Mapping[Var, Any], chosen: Any = None
) -> _Run:
    """Run an equation on arrays whose axes of these sizes are smaller."""
    made: dict[Any, Var] = {}
    inputs: list[Any] = []
    for a in eqn.inputs:
        if type(a) is Literal or a in settled:
            inputs.append(a)
        else:
            t = a.type
            inputs.append(
                made.setdefault(a, Var(ArrayType(tuple([sizes.get(n, n) for n in t.shape]), t.dtype, t.weak)))
            )
    found: Any = eqn.op.infer([a.type for a in inputs], eqn.params)
    outputs = tuple([Var(t) for t in (found if eqn.op.multiple_results else (found,))])
    consts = {a: settled[a] for a in inputs if a in settled}
    graph = Graph(
        tuple(made.values()), (eqn._replace(inputs=tuple(inputs), outputs=outputs),), outputs, consts, "tried"
    )
    function = lower(graph, lends=True, settled=consts.keys()).function
    strides = dict(zip(eqn.inputs, lying, strict=False))
    arrays = [_array(v.type, strides.get(a)) for a, v in made.items()]
    if eqn.op.held is not None and eqn.op.held.by_rows and (index := eqn.inputs[0]) in made:
        t = made[index].type
        rows = np.arange(t.size)
        of_rows = (
            rows % len(graphs_of(eqn.params)) if chosen is None else np.ravel(chosen)[rows * np.size(chosen) // t.size]
        )
        arrays[list(made).index(index)] = of_rows.astype(t.dtype).reshape(t.shape)
    most, held, results = _watched(lambda: quietly(("all",), function, *arrays))
    if most > sum([size_of(v.type) for v in outputs]) + NOISE:  # maybe it has made something once for all
        del results
        most, held, results = _watched(lambda: quietly(("all",), function, *arrays))
    given = [next((i for i, x in enumerate(arrays) if x is r or _owner(x) is _owner(r)), -1) for r in results]
    places = [list(eqn.inputs).index(a) for a in made]
    return _Run(
        most,
        held,
        bytes_moved(graph.eqns[0]),
        tuple([size_of(v.type) for v in outputs]),
        tuple([places[i] if i >= 0 else -1 for i in given]),
        tuple([type(r) is np.ndarray and r.base is not None for r in results]),
    )


def _smaller(eqn: Eqn) -> Iterator[tuple[dict[int, int], dict[int, int]]]:
    """Sizes to make smaller, and what they become in either run: one, along which what is held grows evenly, or else all of them."""
    types = [a.type for a in (*eqn.inputs, *eqn.outputs)]
    sizes = sorted({n for t in types for n in t.shape}, reverse=True)
    most = max([t.ndim for t in types], default=0)
    itemsize = max([t.dtype.itemsize for t in types])
    whole = bytes_moved(eqn)
    for n in sizes:
        if any([t.shape.count(n) > 1 for t in types]):
            continue
        rest = sum([size_of(t) for t in types if n not in t.shape])
        parts = [
            max(n * (part - rest) // (whole - rest), 1 + i) for i, part in zip((1, 0), (PART, PART // 2), strict=True)
        ]
        if (whole - rest) // n * parts[0] + rest <= 2 * WHOLE:
            yield {n: parts[0]}, {n: parts[1]}
    if most:
        limits = [max(round((part / len(types) / itemsize) ** (1 / most)), 2) for part in (PART, PART // 2)]
        yield tuple([{n: min(n, limit) for n in sizes} for limit in limits])  # type: ignore[misc]


def _array(t: ArrayType, lying: Strides | None) -> Any:
    """An array that lies like that, of numbers that most operations like: zeros for whole numbers, which are indices, and for truth
    values; distinct and positive, and square matrices symmetric, with large diagonals."""
    if t.weak and t.python_kind:
        return t.python_kind(1)
    shape = t.shape
    order = sorted(range(t.ndim), key=lambda i: -abs(lying[i])) if lying is not None else range(t.ndim)
    repeated = [lying is not None and not lying[i] and n > 1 for i, n in enumerate(shape)]
    memory = np.zeros([1 if repeated[i] else shape[i] for i in order], t.dtype)
    if t.dtype.kind in "fc":
        memory[...] = np.linspace(1.0, 2.0, max(memory.size, 1)).reshape(memory.shape)
    back = [0] * t.ndim
    for place, i in enumerate(order):
        back[i] = place
    x = memory.transpose(back)
    if t.dtype.kind in "fc" and t.ndim > 1 and shape[-1] == shape[-2] and not any(repeated):
        x[...] = x + np.swapaxes(x, -1, -2)
        x[..., np.arange(shape[-1]), np.arange(shape[-1])] += 4 * shape[-1]
    return np.broadcast_to(x, shape) if any(repeated) else x[()] if not shape else x


def _owner(x: Any) -> Any:
    """The array whose memory one lies in; None of a number."""
    if not isinstance(x, np.ndarray):
        return object()
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


def _watched(function: Callable[[], Any]) -> tuple[int, int, Any]:
    """The most that is held while a function is run, and what its results hold, besides what was held before; and its results."""
    was_on = tracemalloc.is_tracing()
    try:
        if not was_on:
            tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        results = function()
        held, most = tracemalloc.get_traced_memory()
        return most - before, held - before, results
    finally:
        if not was_on:
            tracemalloc.stop()
