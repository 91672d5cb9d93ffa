"""Two tiers: what a jitted function is run by for one signature, which begins on NumPy and ends on the faster of NumPy and XLA.

NumPy's program answers from the first call on. Its calls are timed, and once they have taken as long as XLA would take to compile, a
thread has XLA do that. The next calls are made by the two programs in turn, both timed, and the faster one stays. No call waits for any
of this, and none is computed twice, but for one whose result on XLA is in doubt.
"""

from __future__ import annotations

import atexit
import collections
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tracegrad import tree
from tracegrad.core.backends import xla
from tracegrad.core.graph import Eqn, Graph, Var, graphs_in, graphs_of
from tracegrad.core.late import LOADERS
from tracegrad.core.types import is_inexact, number_kind
from tracegrad.transforms.jit.xla import simplified
from tracegrad.transforms.signatures import Entry

Tier = Literal["numpy", "compiling", "xla"]

clock = time.perf_counter

_CALLS = 3  # so many are seen before anything is decided: the first ones have cold caches
# The calls of each program that are compared: at least so many, and so many seconds of them or so many at most. What else the
# machine does may slow down some of either, but not all.
_FEWEST, _SECONDS, _MOST = 4, 0.05, 32
_PLAIN = 4.0  # what is so many times faster is that after the fewest
_DOUBTS = 3  # calls whose results on XLA may be in doubt before NumPy is gone back to


def worth_compiling(calls: int, least: float, spent: float, graph: Graph) -> bool | None:
    """Whether XLA may pay for a program of which so many calls have taken `spent` seconds in all on NumPy and `least` the fastest; None
    while that is open. Nobody knows how many calls will follow, so that it is compiled when it would have paid: then all together take at
    most twice what they would have, had it been known."""
    # What a call of XLA's costs by itself: to hand over a program's arguments and results.
    if least < 10e-6 + 1.5e-6 * (len(graph.inputs) + len(graph.outputs)):
        return False if calls > 4 * _CALLS else None
    return True if calls >= _CALLS and spent > 0.05 + 1e-3 * len(graph.eqns) else None


def faster(numpy: Sequence[float], xla: Sequence[float]) -> bool | None:
    """Whether XLA is the faster one, by the seconds of calls of both programs; None while that is open."""
    xla = xla[1:]  # the first one sets up what the others find
    if len(numpy) < _FEWEST or len(xla) < _FEWEST:
        return None
    ratio = min(numpy) / min(xla)  # what disturbs a call only ever adds to its time
    if 1 / _PLAIN < ratio < _PLAIN and any([len(x) < _MOST and sum(x) < _SECONDS for x in (numpy, xla)]):
        return None
    return ratio > 1.05


class Tiers:
    """The programs for one signature. `tier` is "numpy", "compiling" (also while the two programs are compared), or "xla"; `error` is what
    has kept XLA from it. It runs by `Entry.run`, which it exchanges: calls that are on their way end as they began."""

    def __init__(self, entry: Entry, numpy: Callable[..., Any], fast: bool) -> None:
        self.tier: Tier = "numpy"
        self.error: BaseException | None = None
        self.is_open = True  # whether it is not decided yet
        self._entry = weakref.ref(entry)  # which holds this
        self._numpy = numpy
        self._graph, self._settled, self._out_tree = entry.graph, entry.settled, entry.out_tree
        self._fast = fast
        self._compiled = threading.Event()
        self._calls, self._spent, self._least = 0, 0.0, float("inf")
        self._in_arrays: list[bool] = []
        self._times: tuple[list[float], list[float]] = [], []
        self._doubts = 0
        _all.add(self)

    def count(self, *leaves: Any) -> Any:
        """A call on NumPy, of which it is noted how long it takes."""
        start = clock()
        out = self._numpy(*leaves)
        took = clock() - start
        self._calls += 1
        self._spent += took
        self._least = min(self._least, took)
        if not self._in_arrays:
            self._in_arrays = [type(x) is np.ndarray for x in tree.tree_leaves(out)]
        if self._calls >= _CALLS:
            pays = worth_compiling(self._calls, self._least, self._spent, self._graph)
            if pays:
                self.compile_soon()
            elif pays is not None:
                self.stay()
        return out

    def compile_soon(self) -> None:
        """Have the thread compile it, if it is not decided or on its way already."""
        with _lock:
            if not self.is_open or self.tier == "compiling":
                return
            if not self._in_arrays or _is_ended or not fits(self._graph, self._settled):
                self.stay()
                return
            self.tier = "compiling"
            self._run_by(self._numpy)
            _enqueue(self)

    def wait(self, seconds: float | None) -> bool:
        """Wait until it is compiled, if it is to be; whether that has come."""
        return not self.is_open or self._compiled.wait(seconds)

    def compile(self) -> None:
        """What the thread does."""
        try:
            program = self._program() if self._is_wanted() else None
            if program is None or not self._is_wanted():
                self.stay()
            else:
                self._xla, self._doubt = program, LOADERS["xla on cpu"]().Doubtful
                self._run_by(self._compare)
        except BaseException as error:
            self.stay(error.with_traceback(None))
        self._compiled.set()

    def stay(self, error: BaseException | None = None) -> None:
        """Stay on NumPy."""
        self.error = error
        self._run_by(self._numpy)
        self._decide("numpy")

    def _decide(self, tier: Tier) -> None:
        self.is_open, self.tier = False, tier
        self._compiled.set()

    def forked(self) -> None:
        """In a process that has been forked off, where XLA's threads are not."""
        self._compiled = threading.Event()
        if self.is_open or self.tier == "xla":
            self.stay()

    def _run_by(self, program: Callable[..., Any]) -> None:
        entry = self._entry()
        if entry is not None:
            entry.run = program

    def _compare(self, *leaves: Any) -> Any:
        """A call by the program whose turn it is, while it is open which one is faster."""
        on_numpy, on_xla = self._times
        program, times = (self._numpy, on_numpy) if len(on_numpy) < len(on_xla) else (self._called, on_xla)
        start = clock()
        out = program(*leaves)
        times.append(clock() - start)
        wins = faster(on_numpy, on_xla)
        if wins is not None and self.is_open:
            if wins:
                self._run_by(self._called)
                self._decide("xla")
            else:
                self.stay()
        return out

    def _called(self, *leaves: Any) -> Any:
        """A call on XLA. What it has no result for is asked of NumPy, which has one, or an error."""
        try:
            return self._xla(*leaves)
        except self._doubt:
            self._doubts += 1
            if self._doubts >= _DOUBTS:
                self.stay()
        except Exception as error:
            self.stay(error.with_traceback(None))
        return self._numpy(*leaves)

    def _is_wanted(self) -> bool:
        return self.is_open and not _is_ended and self._entry() is not None

    def _program(self) -> Callable[..., Any] | None:
        xla()  # or an error that says how to install it
        module = LOADERS["xla on cpu"]()
        atexit.unregister(_end)
        atexit.register(_end)  # before jax ends what is its own
        given, known = self._graph.consts, self._settled
        hidden = {v: x for v, x in given.items() if v not in known}
        rest = {v: x for v, x in given.items() if v in known}
        inputs = (*self._graph.inputs, *hidden)
        with np.errstate(all="ignore"):
            graph = simplified(
                Graph(inputs, self._graph.eqns, self._graph.outputs, rest, self._graph.name), fast=self._fast
            )
            suspects, points = _in_doubt(graph)
            program = module.program(graph, suspects, points, self._in_arrays, self._is_wanted)
        if program is None:
            return None
        arrays, unflatten = [*hidden.values()], self._out_tree.unflatten
        return lambda *leaves: unflatten(program(*leaves, *arrays))


# ---------------------------------------------------------------------------------------------------------------------
# What may be run by either.


def fits(graph: Graph, settled: Any) -> bool:
    """Whether XLA gives what NumPy gives, and it is seen where NumPy would raise."""
    if any([t.weak for t in graph.out_types]):
        return False  # Python scalars, which are arrays there
    if any([v.type.dtype.kind not in "biufc" or not v.type.dtype.isnative for v in graph.inputs]):
        return False
    for part in (*graphs_in(graph), graph):
        for eqn in part.eqns:
            if eqn.op.runs_user_code or eqn.op.acts(eqn.params):
                return False
            if _counts_in_python(eqn) or (
                eqn.op.evaluate is np.power and number_kind(eqn.outputs[0].type.dtype) in "iu"
            ):
                return False
            if part is not graph and _points(eqn, part.consts):
                return False  # in a loop, from which it is not told
    return True


def _counts_in_python(eqn: Eqn) -> bool:
    """Whether it computes with a Python int what NumPy does in as many digits as there are, or refuses where the other operand's
    dtype has too few."""
    whole = [number_kind(a.type.dtype) in "biu" for a in (*eqn.inputs, *eqn.outputs)]
    weak = [a.type.weak for a in (*eqn.inputs, *eqn.outputs)]
    outputs = len(eqn.outputs)
    by_int = any([w and i for w, i, a in zip(weak, whole, (*eqn.inputs, *eqn.outputs), strict=True) if type(a) is Var])
    return by_int and any(whole[-outputs:])


def _points(eqn: Eqn, known: Any) -> list[tuple[Any, range]]:
    """The variables among its inputs that hold indices, and what these may be. Of those that are known it has been seen that
    they are that."""
    if eqn.op.points is None:
        return []
    outs = [v.type for v in eqn.outputs]
    found = eqn.op.points([a.type for a in eqn.inputs], outs if eqn.op.multiple_results else outs[0], eqn.params)
    return [(eqn.inputs[i], n) for i, n in found if type(eqn.inputs[i]) is Var and eqn.inputs[i] not in known]


def _in_doubt(graph: Graph) -> tuple[list[Any], list[tuple[Any, range]]]:
    """What tells where NumPy might raise: variables that are not finite then, and others that point out of range. An op that is
    neither elementwise nor linear, nor moves what there is, may be one that has no result for some matrices."""
    suspects, points = [], []
    for eqn in graph.eqns:
        held = [e for g in graphs_of(eqn.params) for part in (*graphs_in(g), g) for e in part.eqns]
        if any(map(_may_fail, [e for e in (eqn, *held) if e.op.held is None])):
            suspects += [v for v in eqn.outputs if is_inexact(v.type.dtype)]
        points += _points(eqn, graph.consts)
    return suspects, [*dict.fromkeys(points)]


def _may_fail(eqn: Eqn) -> bool:
    op = eqn.op
    if op.elementwise or op.moves or op.broadcasts or op.same or op.points is not None:
        return False
    return not set(range(len(eqn.inputs))) <= {i for group in op.linear for i in group}


# ---------------------------------------------------------------------------------------------------------------------
# The thread, which is there while there is something to compile.

_lock = threading.RLock()
_waiting: collections.deque[Tiers] = collections.deque()
_thread: threading.Thread | None = None
_is_ended = False  # at exit, and in a process that has been forked off
_all: weakref.WeakSet[Tiers] = weakref.WeakSet()


def _enqueue(one: Tiers) -> None:
    global _thread
    _waiting.append(one)
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_work, name="tracegrad compiles for XLA", daemon=True)
        try:
            _thread.start()
        except RuntimeError as error:  # there may be no more threads, or the process is about to end
            _thread = None
            _waiting.clear()
            one.stay(error.with_traceback(None))


def _work() -> None:
    global _thread
    while True:
        with _lock:
            if not _waiting:
                _thread = None
                return
            one = _waiting.popleft()
        one.compile()


@atexit.register
def _end() -> None:
    """Call off what has not begun. What XLA is at cannot be cut off, and must not go on while its memory is taken down."""
    global _is_ended
    _is_ended = True
    thread = _thread
    if thread is not None:
        thread.join()


def _alone_after_fork() -> None:
    global _lock, _thread, _is_ended
    _lock, _thread, _is_ended = threading.RLock(), None, True
    _waiting.clear()
    for one in [*_all]:
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone_after_fork)
