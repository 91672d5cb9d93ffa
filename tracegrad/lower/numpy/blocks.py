"""Chains of elementwise ops on large arrays, run block by block: what one op leaves in the cache the next one finds there,
and blocks are shared among threads, since NumPy lets go of the interpreter while it computes.

`with_chains` finds the chains in a Graph; `run_in_blocks` runs one.
"""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np

from tracegrad.core.graph import Eqn, Graph, Var
from tracegrad.core.memory import Strides, common_order, new_strides, strides_of
from tracegrad.core.op import Op, Params
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.lower.numpy.layouts import Layouts

# Elements. Below the first an array stays in the cache as a whole. Blocks of the second keep a few float64 arrays in a
# cache of 1 MiB, and keep NumPy long enough at work for the threads not to wait for the interpreter (measured on
# Black-Scholes: half as many take 4 % longer, twice as many 3 %). From the third on a second thread pays for being woken.
LARGE, BLOCK, SHARED = 1 << 17, 1 << 15, 1 << 18
CHAIN = 3  # ops from which on a chain is worth its own function


def _run(*arrays: Any, function: Callable[..., Any], whole: Whole, types: tuple[ArrayType, ...]) -> tuple[Any, ...]:
    shape = types[0].shape
    strides = [strides_of(x) if np.ndim(x) else () for x in arrays]
    order = common_order(shape, [s for s in strides if s != ()])
    if order is None:
        if not whole.ends_in_c_order(tuple(strides)):
            return tuple(whole(*arrays))
        order = list(range(len(shape)))  # what lies in another one is copied
    return tuple(run_in_blocks(function, arrays, shape, [t.dtype for t in types], order))


def _strides(inputs: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Strides | None:
    shape = params["types"][0].shape
    large = [x for x, t in zip(inputs, types, strict=True) if t.shape]
    return None if common_order(shape, large) is None else new_strides(shape, large)


# What stands for a chain in a Graph that is about to be written out. No transform ever meets it.
chain_op = Op(
    "chain",
    evaluate=_run,
    infer=lambda types, params: params["types"],
    strides=_strides,
    multiple_results=True,
    never_aliases=True,
    kinds="",
)


def with_chains(graph: Graph, compiled: Callable[[Graph, int], Callable[..., Any]]) -> Graph:
    """The Graph with an equation in place of each chain that is run block by block, by what `compiled` makes of it, given
    how many outputs it is to write into its last arguments.

    An equation that stands between those of a chain and needs none of its results comes before it.
    """
    if not any(map(_fits, graph.eqns)):
        return graph
    readers: dict[Var, list[int]] = {}
    for i, eqn in enumerate(graph.eqns):
        for a in eqn.inputs:
            if type(a) is Var:
                readers.setdefault(a, []).append(i)
    returned = {a for a in graph.outputs if type(a) is Var}
    eqns: list[Eqn] = []
    chain: dict[int, Eqn] = {}
    made: dict[Var, None] = {}  # what the chain makes, in order
    number = 0

    def flush() -> None:
        nonlocal number
        if len(chain) < CHAIN:
            eqns.extend(chain.values())
        else:
            number += 1
            read = [a for e in chain.values() for a in e.inputs if type(a) is Var and a not in made]
            outputs = tuple([v for v in made if v in returned or any(i not in chain for i in readers[v])])
            part = Graph(tuple(dict.fromkeys(read)), tuple(chain.values()), outputs, {}, f"chain{number}")
            params = {
                "function": compiled(part, len(part.outputs)),
                "whole": Whole(part, compiled),
                "types": part.out_types,
            }
            eqns.append(Eqn(chain_op, part.inputs, params, outputs, part.eqns[0].raw_source))
        chain.clear()
        made.clear()

    for i, eqn in enumerate(graph.eqns):
        fits = _fits(eqn)
        shape = next(iter(chain.values())).outputs[0].type.shape if chain else None
        if (fits and shape not in (None, eqn.outputs[0].type.shape)) or (
            not fits and not made.keys().isdisjoint(eqn.inputs)
        ):
            flush()
        if fits:
            chain[i] = eqn
            made.update(dict.fromkeys(eqn.outputs))
        else:
            eqns.append(eqn)
    flush()
    return Graph(graph.inputs, tuple(eqns), graph.outputs, graph.consts, graph.name)


class Whole:
    """The chain on arrays as they are, for those that do not lie alike: compiled when such come."""

    def __init__(self, part: Graph, compiled: Callable[[Graph, int], Callable[..., Any]]) -> None:
        self._part = part
        self._compile = compiled
        self._compiled: Callable[..., Any] | None = None
        self._ends: dict[tuple[Strides | None, ...], bool] = {}

    def __call__(self, *arrays: Any) -> Any:
        if self._compiled is None:
            self._compiled = self._compile(self._part, 0)
        return self._compiled(*arrays)

    def ends_in_c_order(self, strides: tuple[Strides | None, ...]) -> bool:
        """Whether all that the chain gives would lie in C order anyway, for inputs that lie like that, as it does where one of those
        that it is made of does; and no number depends on the order."""
        found = self._ends.get(strides)
        if found is None:
            graph = self._part
            layouts = Layouts(graph, last=strides)
            layouts.update((v, e) for e in graph.eqns for v in e.outputs)
            found = all([layouts.is_in_c_order(a) for a in graph.outputs]) and not any(
                [s is None or min(s, default=0) < 0 for s in strides]
                + [number_kind(v.type.dtype) == "c" for e in graph.eqns for v in e.outputs]
            )
            self._ends[strides] = found
        return found


def _fits(eqn: Eqn) -> bool:
    """Whether an equation may be run block by block: large, and each input of the same shape or a scalar."""
    if not eqn.op.elementwise or eqn.op.runs_user_code or len(eqn.outputs) != 1:
        return False
    found: ArrayType = eqn.outputs[0].type
    return found.size >= LARGE and all([a.type.shape in ((), found.shape) for a in eqn.inputs])


_queue: SimpleQueue[Callable[[], None]] | None = None


def workers() -> int:
    """How many threads there are processors for."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> SimpleQueue[Callable[[], None]]:
    """Where the threads besides the calling one get their work. Two callers that make some at the same time have each their
    own. (Queues of this kind are C's, and so are their locks: an executor of Python's is left locked for good by a signal
    that comes as it takes work.)"""
    global _queue
    if (found := _queue) is None:
        found = SimpleQueue()
        for _ in range(max(workers() - 1, 1)):
            threading.Thread(target=_serve, args=(found,), name="tracegrad", daemon=True).start()
        _queue = found
    return found


def _serve(tasks: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        tasks.get()()


def _share(run: Callable[[], None], done: SimpleQueue[BaseException | None]) -> None:
    try:
        run()
        done.put(None)
    except BaseException as error:
        done.put(error)


def _without_threads() -> None:
    """A fork leaves them behind."""
    global _queue
    _queue = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_without_threads)


def run_in_blocks(
    function: Callable[..., None],
    arrays: Sequence[Any],
    shape: tuple[int, ...],
    dtypes: Sequence[Any],
    order: Sequence[int] | None = None,
) -> list[Any]:
    """What a function of whole arrays computes, from calls with blocks of them and of the results to write into.

    `arrays` are of the given shape, or have no axes. They, and the results, have their axes in memory in this order (C
    order, if it is not given). Those with gaps are copied, which is one pass where a chain is many.
    """
    order = list(range(len(shape))) if order is None else list(order)
    large = [np.ndim(x) > 0 for x in arrays]
    flat = [x.transpose(order).reshape(-1) if big else x for x, big in zip(arrays, large, strict=True)]
    if order == list(range(len(shape))):
        outs = [np.empty(shape, dtype) for dtype in dtypes]
    else:
        like = arrays[large.index(True)]
        outs = [np.empty_like(like, dtype) for dtype in dtypes]
    flat_outs = [o.transpose(order).reshape(-1) for o in outs]
    size = outs[0].size
    count = workers() if size >= SHARED else 1
    length = -(-size // (count * -(-size // (count * BLOCK))))  # at most BLOCK, and as many blocks for each thread
    starts = iter(range(0, size, length))  # each thread takes the next block, so that none waits for a slow one

    def work() -> None:
        for start in starts:
            block = slice(start, start + length)
            function(
                *[x[block] if big else x for x, big in zip(flat, large, strict=True)], *[o[block] for o in flat_outs]
            )

    if count == 1:
        work()
        return outs
    tasks = _threads()
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    for _ in range(count - 1):
        # np.errstate and its like hold in the threads too.
        tasks.put(functools.partial(_share, functools.partial(contextvars.copy_context().run, work), done))
    try:
        work()
    finally:
        failures = [done.get() for _ in range(count - 1)]  # waits for all of them, since they write into our arrays
    for failure in failures:
        if failure is not None:
            raise failure
    return outs
