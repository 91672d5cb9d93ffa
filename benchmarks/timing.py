"""The harness: what a workload is, how its contenders are compared for equality and timed, how the result is printed.

A time taken alone says as much about the machine's minute as about the code. So all contenders of a workload are timed
in one process in interleaved rounds, one sample of each in every round; a contender's time is the minimum over its
samples (what disturbs a sample only ever adds to it), and claims are made on ratios of times from one run. Nothing is
timed before every contender has been seen to give the same result. The garbage collector stays on, as in the process of
a user.
"""

from __future__ import annotations

import gc
import importlib.util
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

Thunk = Callable[[], Any]
"""A contender made ready: a call of no arguments does the work once and gives its result."""

Sampler = Callable[[], float]
"""Takes one sample: the seconds of one call of a contender, as the mean over as many calls as it cares to make."""

UNITS = {"µs": 1e6, "µs an op": 1e6, "ms": 1e3}


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a workload.

    Args:
        name: its row and column in the table.
        build: imports its library, prepares its data and returns the thunk. Not timed.
        requires: the module without which it is reported as not installed; "" if it needs none.
        per: units of work in one call; its time is divided by that (the ops of a chain, for a time an op).
        expected: gives the right result, where that is not the result of the workload's reference.
        sampler: makes the sampler, where calling the thunk in a loop is not it (an import happens once a process).
        peak: gives the bytes that a call holds at most, where that is not what NumPy allocates in one.
    """

    name: str
    build: Callable[[], Thunk]
    requires: str = ""
    per: int = 1
    expected: Thunk | None = None
    sampler: Callable[[], Sampler] | None = None
    peak: Callable[[], float] | None = None

    def installed(self) -> bool:
        """Whether the module it requires exists. One that exists and fails to import is an error, not an absence."""
        return not self.requires or importlib.util.find_spec(self.requires) is not None


@dataclass(frozen=True)
class Target:
    """The claim that `contender` takes at most `at_most` times as long as `of`, or if that is more, `or_units`; without `of`, at most
    so many units; of a `difference`, at most so many units more than `of`."""

    contender: str
    at_most: float
    of: str = ""
    difference: bool = False
    or_units: float = 0.0

    def judge(self, seconds: Mapping[str, float], unit: str) -> tuple[str, bool | None]:
        """The line that is printed, and whether the target was met: None where a contender in it was not timed."""
        claim = f"{self.contender} {'-' if self.difference else '÷'} {self.of}" if self.of else self.contender
        claim += f", {unit}" if self.difference or not self.of else ""
        if self.contender not in seconds or (self.of and self.of not in seconds):
            return f"target: {claim} at most {number(self.at_most)}: not measured", None
        if 0 < seconds[self.contender] * UNITS[unit] <= self.or_units:
            took = number(seconds[self.contender] * UNITS[unit])
            return (
                f"target: {claim} at most {number(self.at_most)}, or {number(self.or_units)} {unit}: {took} {unit}, met",
                True,
            )
        got, of = seconds[self.contender], seconds.get(self.of, 0.0)
        got = got / of if self.of and not self.difference else (got - of) * UNITS[unit]
        met = got <= self.at_most
        return f"target: {claim} at most {number(self.at_most)}: {number(got)}, {'met' if met else 'MISSED'}", met


@dataclass(frozen=True)
class Workload:
    """Named work, the contenders that do it, and what is claimed of their times.

    Args:
        name: what the command line calls it.
        title: one line: the work, the sizes, the dtype.
        contenders: the rows of its table, in order.
        targets: see `Target`.
        unit: a key of `UNITS`.
        tolerance: results may differ from the expected by this much of the largest absolute value in the same array.
        with_peaks: whether the memory that a call holds at most is measured, too: what it allocates, its result among that.
        reference: the contender whose result is expected of the others, the hand-written one by custom. Where it is not
            installed the first that is installed stands in.
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    targets: tuple[Target, ...] = ()
    unit: str = "µs"
    tolerance: float = 1e-10
    reference: str = "numpy"
    with_peaks: bool = False

    def __post_init__(self) -> None:
        names = [contender.name for contender in self.contenders]
        spoken_of = [name for target in self.targets for name in (target.contender, target.of) if name]
        if len(set(names)) < len(names) or not set(spoken_of) <= set(names) or self.unit not in UNITS:
            raise ValueError(f"{self.name}: contenders {names}, targets speak of {spoken_of}, unit {self.unit!r}")

    def check(self) -> dict[str, Thunk]:
        """Builds every contender that is installed, runs each once and compares the results.

        Returns:
            The thunks, by contender, ready to be timed.
        Raises:
            AssertionError: a result differs from the expected one; names the workload, the contender and the leaf.
        """
        installed = [contender for contender in self.contenders if contender.installed()]
        thunks = {contender.name: contender.build() for contender in installed}
        results = {name: thunk() for name, thunk in thunks.items()}
        for contender in installed:
            if contender.expected is not None:
                expected = contender.expected()
            else:
                expected = results.get(self.reference, results[installed[0].name])
            assert_same(results[contender.name], expected, self.tolerance, f"{self.name}: {contender.name}")
        return thunks

    def measure(
        self, rounds: int = 30, limit: float = 3.0, checked: Mapping[str, Thunk] | None = None
    ) -> dict[str, float]:
        """Checks, then times: the seconds of each installed contender for one unit of work. See `minimum_of_rounds`."""
        thunks = self.check() if checked is None else checked
        installed = [contender for contender in self.contenders if contender.name in thunks]
        gc.collect()  # what the checks left behind is not to be collected on a contender's time
        samplers = {c.name: c.sampler() if c.sampler else loop_sampler(thunks[c.name]) for c in installed}
        seconds = minimum_of_rounds(samplers, rounds, limit)
        return {contender.name: seconds[contender.name] / contender.per for contender in installed}

    def peaks(self, checked: Mapping[str, Thunk]) -> dict[str, float]:
        """The bytes that a call of each contender holds at most, if this workload is about that."""
        if not self.with_peaks:
            return {}
        installed = [contender for contender in self.contenders if contender.name in checked]
        return {c.name: c.peak() if c.peak else allocated(checked[c.name]) for c in installed}

    def report(self, seconds: Mapping[str, float], peaks: Mapping[str, float] | None = None) -> tuple[str, bool]:
        """The table that is printed for these times and bytes, and whether no target was missed."""
        judged = [target.judge(seconds, self.unit) for target in self.targets]
        rows = table([contender.name for contender in self.contenders], seconds, self.unit, peaks or {})
        lines = [f"{self.name}: {self.title}", *rows, *(line for line, _ in judged)]
        return "\n  ".join(lines), all(met is not False for _, met in judged)


def loop_sampler(thunk: Thunk, seconds: float = 0.01, clock: Callable[[], float] = time.perf_counter) -> Sampler:
    """A sampler that calls `thunk` as often as fills about `seconds`, a number found here, once, by doubling."""

    def elapsed(calls: int) -> float:
        start = clock()
        for _ in repeat(None, calls):
            thunk()
        return clock() - start

    calls = 1
    while elapsed(calls) < seconds / 2:
        calls *= 2
    return lambda: elapsed(calls) / calls


def allocated(thunk: Thunk) -> float:
    """The bytes that one call allocates and holds at most, as NumPy and Python say. It has been called before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        thunk()
        return float(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def minimum_of_rounds(
    samplers: Mapping[str, Sampler], rounds: int, limit: float = 3.0, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """The minimum of each sampler's samples, taken in turn over `rounds` rounds.

    A sampler that has used up `limit` seconds sits out the remaining rounds, but for the first three: a contender a
    thousand times slower than the others is known well enough by then.
    """
    least = dict.fromkeys(samplers, float("inf"))
    spent = dict.fromkeys(samplers, 0.0)
    for number_of_round in range(rounds):
        for name, sample in samplers.items():
            if number_of_round < 3 or spent[name] < limit:
                start = clock()
                least[name] = min(least[name], sample())
                spent[name] += clock() - start
    return least


def assert_same(result: Any, expected: Any, tolerance: float, what: str) -> None:
    """Raises AssertionError unless both are trees of one structure, arrays of equal shapes and dtypes, close in value.

    Closeness is relative to the largest absolute value of the expected array, since a gradient's entries that are zero
    by cancellation are so only up to the rounding of the others.
    """
    got, wanted = dict(leaves(result)), dict(leaves(expected))
    assert got.keys() == wanted.keys(), f"{what}: leaves {sorted(got)}, expected {sorted(wanted)}"
    for path, array in got.items():
        want = wanted[path]
        for attribute in ("shape", "dtype"):
            have, need = getattr(array, attribute), getattr(want, attribute)
            assert have == need, f"{what}: result{path} has {attribute} {have}, expected {need}"
        if not np.issubdtype(want.dtype, np.number):
            assert np.array_equal(array, want), f"{what}: result{path} is {array}, expected {want}"
        elif want.size:
            error, bound = np.max(np.abs(array - want)), tolerance * np.max(np.abs(want))
            # Written so that a NaN, which compares as false, fails.
            assert error <= bound, f"{what}: result{path} is off by {error:.3g}, more than {bound:.3g}"


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of nested dicts, lists and tuples with their paths; no contender's own notion of a tree is used."""
    if isinstance(tree, Mapping):
        for key in tree:
            yield from leaves(tree[key], f"{path}[{key!r}]")
    elif isinstance(tree, (list, tuple)):
        for index, item in enumerate(tree):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, np.asarray(tree)


def table(names: Sequence[str], seconds: Mapping[str, float], unit: str, peaks: Mapping[str, float]) -> list[str]:
    """A row for each contender: its time, that time over the time of every contender in turn, and its memory if that is known."""
    timed = [name for name in names if name in seconds]
    heads = [unit, *(f"÷ {name}" for name in timed), *(["peak MB"] if peaks else [])]
    first = max(map(len, names))
    widths = [max(len(head), 9) for head in heads]

    def line(label: str, cells: Iterable[str]) -> str:
        return f"{label:<{first}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(cells, widths, strict=True))

    rows = [line("", heads)]
    for name in names:
        if name in seconds:
            ratios = (seconds[name] / seconds[peer] for peer in timed)
            memory = [peaks[name] / 1e6] if peaks else []
            rows.append(line(name, map(number, [seconds[name] * UNITS[unit], *ratios, *memory])))
        else:
            rows.append(f"{name:<{first}}  not installed")
    return rows


def number(value: float) -> str:
    """Three significant digits, or all the digits before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:#.3g}"


def main(arguments: Sequence[str], workloads: Iterable[Workload]) -> int:
    """The command line: measures the named workloads, or all of them, and prints their tables.

    Returns:
        The exit status: 1 if a target was missed and --strict was given, else 0.
    """
    import argparse

    known = {workload.name: workload for workload in workloads}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time tracegrad against its peers.")
    parser.add_argument("names", nargs="*", metavar="name", help="workloads to run; all without a name")
    parser.add_argument("--rounds", type=int, default=30, help="rounds to take the minimum over (default %(default)s)")
    parser.add_argument("--limit", type=float, default=3.0, help="seconds a contender may take, but for three rounds")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a target is missed")
    parser.add_argument("--list", action="store_true", help="list the workloads and their contenders, and run nothing")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - known.keys()):
        parser.error(f"no workload named {', '.join(unknown)}; there are {', '.join(known)}")
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    chosen = [known[name] for name in options.names] or list(known.values())

    if options.list:
        for workload in chosen:
            print(f"{workload.name}: {workload.title}\n  {', '.join(c.name for c in workload.contenders)}")
        return 0
    all_met = True
    for workload in chosen:
        checked = workload.check()
        text, met = workload.report(workload.measure(options.rounds, options.limit, checked), workload.peaks(checked))
        print(text, end="\n\n", flush=True)
        all_met &= met
    return int(options.strict and not all_met)
