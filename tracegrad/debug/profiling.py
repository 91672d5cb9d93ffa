"""Where a function's time goes, by line: `tg.debug.profile`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from tracegrad.core.errors import Source, require_callable
from tracegrad.core.graph import Eqn, Graph, replace
from tracegrad.core.quiet import quietly
from tracegrad.debug.cost import jitted_on_numpy, line_of, place_of, table
from tracegrad.debug.profile_page import page
from tracegrad.lower.numpy.writer import lower, ticking

# A function is run until this many nanoseconds are spent in it, so many times at least and at most.
_LONG, _LEAST, _MOST = 200_000_000, 3, 1000


@dataclass(frozen=True)
class LineTime:
    """How long a line of the user's takes.

    source      the line; None for what has none
    seconds     of one call of the function
    backward    as much of it as is spent in derivatives
    ops         the operations of the generated program, with the seconds of each, the dearest first
    """

    source: Source | None
    seconds: float
    backward: float
    ops: dict[str, float]


@dataclass(frozen=True)
class Profile:
    """Where the time goes: `lines`, the dearest first; `seconds`, what one call takes within them, the mean over `runs` calls.
    str() of it is a table; in a notebook, and by `to_html`, it is the source with a bar beside each line."""

    lines: tuple[LineTime, ...]
    seconds: float
    runs: int

    @property
    def ops(self) -> dict[str, float]:
        """The seconds of each operation, of all lines, the dearest first."""
        found: dict[str, float] = {}
        for line in self.lines:
            for op, seconds in line.ops.items():
                found[op] = found.get(op, 0.0) + seconds
        return _dearest_first(found)

    def __str__(self) -> str:
        rows = [("time", "share", "backward", "line", "", "operations")]
        for x in self.lines:
            ops = ", ".join([f"{op} {shown_time(seconds)}" for op, seconds in list(x.ops.items())[:4]])
            rows.append((shown_time(x.seconds), self.share(x), _if_any(x.backward), *place_of(x.source, 60), ops))
        back = sum([x.backward for x in self.lines])
        rows.append((shown_time(self.seconds), "100 %", _if_any(back), "in all", "", ""))
        return table(rows, right=3)

    __repr__ = __str__

    def share(self, line: LineTime) -> str:
        """A line's part of the time, in per cent."""
        return f"{100 * line.seconds / self.seconds:.0f} %" if self.seconds else ""

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The page, which is written to a file too if `path` is given."""
        lines = [(x.source, x.seconds, x.backward, x.ops) for x in self.lines]
        text = page(lines, self.seconds, self.runs, self.ops, shown_time)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _repr_html_(self) -> str:
        return self.to_html()


def shown_time(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.0f} ns"


def _if_any(seconds: float) -> str:
    return shown_time(seconds) if seconds else ""


def profile(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Profile:
    """Where the time of `fun` under `jit` on NumPy goes, by line of the user's and by operation.

    The program that `jit` generates is compiled once more with a look at the clock behind each of its lines, bodies of loops and
    branches too, and run for a fifth of a second (three times at least). Of what runs on several threads, as large chains of
    elementwise operations do, the time is that of the calling thread.

    Args:
        fun: a function of arrays and pytrees of them, jitted or not.
        *args, **kwargs: its arguments. None of them is written over. Where `fun` branches on values, the path that they go is run.

    Returns:
        `Profile(lines, seconds, runs)` where `lines` are `LineTime(source, seconds, backward, ops)`. print() shows a table,
        `.to_html("profile.html")` writes a page.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.ones((100, 100))
    >>> found = tg.debug.profile(tg.grad(lambda x: np.sum(np.tanh(x @ x))), x)
    >>> sorted(found.ops)[:2], found.lines[0].backward > 0
    (['add', 'matmul'], True)
    """
    require_callable(fun, "debug.profile", "(f, x)")
    jitted, backend = jitted_on_numpy(fun)
    entry, leaves, _ = jitted.signatures.entry_of(args, kwargs, backend, jitted.follows)
    if entry.paths is not None:  # that of these arguments
        entry = jitted.signatures.entry_for(args, kwargs, backend, True, with_asked=True)
    clock = _Clock()
    token = ticking.set(clock)
    try:
        run = lower(_anew(entry.graph), settled=entry.settled).function
        quietly(("all",), run, *leaves)  # which compiles bodies of loops and branches
    finally:
        ticking.reset(token)
    clock.spent = [0] * len(clock.eqns)
    runs = 0
    begin = perf_counter_ns()
    while runs < _LEAST or (perf_counter_ns() - begin < _LONG and runs < _MOST):
        quietly(("all",), run, *leaves)
        runs += 1
    lines: dict[Any, _Sums] = {}
    for eqn, spent in zip(clock.eqns, clock.spent, strict=True):
        if spent:
            sums = lines.setdefault(line_of(eqn.source), _Sums(eqn.source))
            sums.ops[eqn.op.name] = sums.ops.get(eqn.op.name, 0.0) + spent * 1e-9 / runs
            sums.backward += spent * 1e-9 / runs if eqn.phase else 0.0
    found = [LineTime(s.source, sum(s.ops.values()), s.backward, _dearest_first(s.ops)) for s in lines.values()]
    found.sort(key=lambda x: -x.seconds)
    return Profile(tuple(found), sum([x.seconds for x in found]), runs)


@dataclass
class _Sums:
    source: Source | None
    ops: dict[str, float] = field(default_factory=dict)
    backward: float = 0.0


class _Clock:
    """What programs call behind each line (see `writer.ticking`). What is called from within a line has its time to itself."""

    def __init__(self) -> None:
        self.eqns: list[Eqn] = []
        self.spent: list[int] = []
        self._thread = threading.get_ident()
        self._last = 0

    def number(self, eqn: Eqn) -> int:
        """The number of an equation."""
        self.eqns.append(eqn)
        self.spent.append(0)
        return len(self.eqns) - 1

    def __call__(self, number: int) -> None:
        now = perf_counter_ns()
        if threading.get_ident() == self._thread:
            if number >= 0:
                self.spent[number] += now - self._last
            self._last = perf_counter_ns()


def _anew(graph: Graph) -> Graph:
    """The Graph and all that its equations hold, of none of which anything has been compiled."""

    def copied(value: Any) -> Any:
        if type(value) is tuple:
            return tuple([copied(part) for part in value]) if any([type(part) is Graph for part in value]) else value
        return _anew(value) if type(value) is Graph else value

    eqns = [eqn._replace(params={k: copied(v) for k, v in eqn.params.items()}) for eqn in graph.eqns]
    return replace(graph, eqns=tuple(eqns))


def _dearest_first(ops: dict[str, float]) -> dict[str, float]:
    return dict(sorted(ops.items(), key=lambda item: -item[1]))
