"""Sums of rows by the places that they go to, in rounds: in each the next row of every place that has one, all with one addition.

np.add.at takes a nanosecond for every number. What is added to a place is added in the same order here, so every bit is the same. To know
which rows a round has takes longer than one sum, so it is found out where the same places come for the second time, as those of a graph do,
whose edges stay where they are. (And so is all else that a sum has to know of them.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.types import Shape

LEAST = 1 << 12  # numbers to be added from which on it pays,
EACH = 1 << 10  # and so many for each round
LONGEST = 1 << 16  # index arrays that are compared with those before
KEPT = 4  # of those, the latest


class Rounds(NamedTuple):
    """In which order rows are laid for the rounds, how many each has, and where the sums of each place are then: those of places with most
    rows come first."""

    order: Any
    sizes: list[int]
    ranks: Any

    def pay(self, size: int) -> bool:
        """Whether they take less time than np.add.at, for so many numbers."""
        return size >= LEAST and size >= EACH * len(self.sizes)

    def sums(self, x: Any) -> Any:
        """Zeros, and at each place the sum of its rows of x."""
        laid = x.take(self.order, 0)
        found = np.zeros((len(self.ranks), *x.shape[1:]), x.dtype)
        end = 0
        for n in self.sizes:
            begin, end = end, end + n
            some = found[:n]
            np.add(some, laid[begin:end], some)
        return found.take(self.ranks, 0)


def rounds(places: Any, total: int) -> Rounds:
    """The rounds of rows that go to such places in range(total)."""
    counts = np.bincount(places, minlength=total)
    order, by_count = np.argsort(places, kind="stable"), np.argsort(-counts, kind="stable")
    first = (np.cumsum(counts) - counts)[by_count]
    left = np.cumsum(np.bincount(counts)[::-1])[::-1]  # how many places have so many rows, or more
    sizes = left[1:].tolist()
    rows = [order[first[:n] + k] for k, n in enumerate(sizes)]
    ranks = np.empty(total, np.intp)
    ranks[by_count] = np.arange(total)
    return Rounds(np.concatenate(rows) if rows else order, sizes, ranks)


# The index arrays that came last: the shape they point into, dtypes, contents; and what was planned for those that have come again.
_kept: tuple[tuple[tuple[Shape, Any, bytes], Any], ...] = ()


def seen_before(array: Any, shape: Shape, plan: Callable[[], Any]) -> Any:
    """What is to be known of an index array into an array of this shape, if the same one has come lately; else None."""
    global _kept
    key = shape, array.dtype, array.tobytes()
    kept = _kept
    for i, (known, found) in enumerate(kept):
        if known == key:
            if found is None:
                found = plan()
                _kept = ((known, found), *kept[:i], *kept[i + 1 :])
            return found
    _kept = ((key, None), *kept[: KEPT - 1])
    return None
