"""What a derivative keeps under a budget of memory.

The forward part's equations are cut into segments. Each value that a later segment's equations read is kept; the
backward part computes the others again just before it first reads them, so a segment at a time, and lets go of them
before it comes to the next (Chen et al., arXiv:1604.06174, 2016). No value is computed more than twice. The most that is
held at a time is what is kept and the largest segment: of a chain of n equal steps about 2 sqrt(n) values at the least.

Where to cut: for each of a row of sizes, from all in one segment to about one value in each, a dynamic programme over
the equations in order finds the cuts that keep least with no segment larger than that; a sliding minimum makes it
linear. Each such choice is then gone through as the backward part will, to find what it holds and computes again. What
the budget leaves goes to the values that cost most to compute for their bytes. Of the choices within the budget that one
is taken which computes least again. All sizes are tried for every budget, so the budget that an error calls the least
is enough. What lies in the memory of something else (a transpose, a reshape) is counted as if it had its own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.graph import Eqn, Graph, Var
from tracegrad.transforms.control.held import lazy_order

# The sizes of segments that are tried are so many times smaller, each than the one before.
RATIO = 1.2
# How often what the budget leaves is handed out, finding anew each time what it leaves.
ROUNDS = 3
# How many of the choices get what the budget leaves, those that compute least again without it.
FINALISTS = 3

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30}


def size_in_bytes(memory: Any, function: str = "checkpoint") -> int:
    """A budget such as 4096, "512KB" or "1.5 GiB" in bytes.

    >>> size_in_bytes("1.5KB"), size_in_bytes("2MiB"), size_in_bytes(4096)
    (1500, 2097152, 4096)
    """
    if isinstance(memory, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]I?|)B", memory.strip().upper())
        if found is not None:
            return int(float(found[1]) * _UNITS[found[2]])
    elif isinstance(memory, int) and not isinstance(memory, bool) and memory >= 0:
        return memory
    raise ValueError(
        f"{function}{at(user_source())}: memory must be a number of bytes, got {clip(repr(memory))}; write an int, or a "
        'string such as "64MB", "512KiB" or "1.5GB"'
    )


class _Pass(NamedTuple):
    """What a choice of values to keep comes to. kept: those of them that are read at all; again: what is computed again."""

    kept: frozenset[int]
    again: frozenset[int]
    cost: float
    peak: int


class _Problem:
    """The forward equations that the backward part depends on, numbered 0, 1, ... in order, and what reads them.

    `reads[i]` are the numbers of those that equation i reads; behind them, from `count` on, stand the equations of the
    backward part that read any, and the results. `wanted` are those that the backward part reads, `last` where each is
    read last among the forward equations.
    """

    def __init__(self, joint: Graph, forward: Graph, outputs: int) -> None:
        done = set(map(id, forward.eqns))
        backward = [list(e.inputs) for e in joint.eqns if id(e) not in done] + [list(joint.outputs[outputs:])]
        makers = {v: i for i, e in enumerate(forward.eqns) for v in e.outputs}

        def numbers(atoms: Iterable[Any], of: dict[Var, int]) -> list[int]:
            return list(dict.fromkeys([of[a] for a in atoms if type(a) is Var and a in of]))

        live = {i for atoms in backward for i in numbers(atoms, makers)}
        for i in range(len(forward.eqns) - 1, -1, -1):
            if i in live:
                live.update(numbers(forward.eqns[i].inputs, makers))
        self.chosen = sorted(live)
        eqns = [forward.eqns[i] for i in self.chosen]
        self.count = len(eqns)
        renumbered = {v: i for i, e in enumerate(eqns) for v in e.outputs}
        self.reads = [numbers(e.inputs, renumbered) for e in eqns]
        self.last = [0] * self.count
        for i, reads in enumerate(self.reads):
            for j in reads:
                self.last[j] = i
        users = [numbers(atoms, renumbered) for atoms in backward]
        self.reads += [reads for reads in users if reads]
        self.wanted = {j for reads in users for j in reads}
        self.sizes = [sum([v.type.size * v.type.dtype.itemsize for v in e.outputs]) for e in eqns]
        self.costs = [cost_of(e) for e in eqns]
        # The bytes that the backward part reads of the first i equations' values.
        self.before = [0]
        for i, size in enumerate(self.sizes):
            self.before.append(self.before[-1] + (size if i in self.wanted else 0))

    def cuts(self, most: int) -> list[int]:
        """The equations with which segments begin, such that none has more than so many bytes that the backward part
        reads, if it has more than one equation, and the values kept are about the fewest bytes."""
        before, last = self.before, self.last
        steps = [0] * (self.count + 2)
        for i, size in enumerate(self.sizes):
            # What is read so much later that there must be a cut in between is kept anyhow.
            if last[i] > i and before[last[i] + 1] - before[i] <= most:
                # What the backward part reads takes memory in its segment, if it is not kept.
                weight = size if i in self.wanted else 2 * size
                steps[i + 1] += weight
                steps[last[i] + 1] -= weight
        best = [0] * (self.count + 1)  # the least for the equations before i, if a segment ends there
        origin = [0] * (self.count + 1)
        across = 0
        window: deque[tuple[int, int]] = deque()  # (least with a cut at i, i), growing in both
        for i in range(1, self.count + 1):
            across += steps[i - 1]
            least = best[i - 1] + across
            while window and window[-1][0] > least:
                window.pop()
            window.append((least, i - 1))
            while window[0][1] < i - 1 and before[i] - before[window[0][1]] > most:
                window.popleft()
            best[i], origin[i] = window[0]
        found = []
        i = origin[self.count]
        while i:
            found.append(i)
            i = origin[i]
        return found[::-1]

    def crossing(self, cuts: Sequence[int]) -> frozenset[int]:
        """What is read on both sides of a cut."""
        found = []
        for i, last in enumerate(self.last):
            next_cut = bisect_right(cuts, i)
            if next_cut < len(cuts) and cuts[next_cut] <= last:
                found.append(i)
        return frozenset(found)

    def gone_through(self, kept: frozenset[int]) -> _Pass:
        """What the backward part computes again and holds if it is handed these."""
        reads = [[j for j in r if j not in kept] for r in self.reads]
        order = lazy_order(reads, self.count)
        last: dict[int, int] = {}
        used = set()
        for place, i in enumerate(order):
            last.update(dict.fromkeys(reads[i], place))
            used.update(self.reads[i])
        held = peak = 0
        for place, i in enumerate(order):
            if i < self.count:
                held += self.sizes[i]
                peak = max(peak, held)
            held -= sum([self.sizes[j] for j in reads[i] if last[j] == place])
        kept &= used
        again = frozenset([i for i in order if i < self.count])
        cost = sum([self.costs[i] for i in again])
        return _Pass(kept, again, cost, peak + sum([self.sizes[i] for i in kept]))

    def filled(self, choice: _Pass, memory: int) -> _Pass:
        """With what the budget leaves given to the values that cost most to compute again for their bytes."""
        for _ in range(ROUNDS):
            left = memory - choice.peak
            more = set()
            for i in sorted(choice.again, key=lambda i: (-self.costs[i] / max(self.sizes[i], 1), i)):
                if self.sizes[i] <= left:
                    more.add(i)
                    left -= self.sizes[i]
            if not more:
                break
            choice = self.gone_through(choice.kept | more)
        return choice


def _merit(choice: _Pass) -> tuple[float, int]:
    return choice.cost, choice.peak


def cost_of(eqn: Eqn) -> float:
    """About how long an equation takes, in elements read or written, and products of a contraction."""
    inner = [value for value in eqn.params.values() if type(value) is Graph]
    if inner:
        return sum([cost_of(e) for e in inner[0].eqns])
    types = [a.type for a in eqn.inputs]
    found = None if eqn.op.contraction is None else eqn.op.contraction(types, eqn.params)
    return sum([t.size for t in (*types, *[v.type for v in eqn.outputs])]) + (found[0] if found else 0)


def chosen_within(memory: int, joint: Graph, forward: Graph, outputs: int, name: str) -> tuple[int, ...]:
    """The numbers of the forward equations whose values are to be kept. `joint` is the Graph of values and derivatives,
    of whose outputs the first `outputs` are the values, `forward` what these need, `name` the function's."""
    problem = _Problem(joint, forward, outputs)
    if not problem.count:
        return ()
    total = problem.before[-1]
    choices = [frozenset(problem.wanted)]
    pieces = 1
    while pieces <= problem.count:
        choices.append(problem.crossing(problem.cuts(-(-total // pieces))))
        pieces = max(int(pieces * RATIO), pieces + 1)
    found = [problem.gone_through(kept) for kept in dict.fromkeys(choices)]
    if min([f.peak for f in found]) > memory:
        least = min([f.peak for f in found])
        raise ValueError(
            f"checkpoint{at(user_source())}: {memory} bytes are too few for the derivative of {name!r}, which needs "
            f"at least {least} bytes for what it keeps and computes again; write memory={least} or more, or checkpoint "
            "parts of the function by themselves"
        )
    fitting = sorted([f for f in found if f.peak <= memory], key=_merit)
    best = min([problem.filled(f, memory) for f in fitting[:FINALISTS]], key=_merit)
    return tuple([problem.chosen[i] for i in sorted(best.kept)])
