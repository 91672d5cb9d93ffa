"""Which keys an array of keys is made of: that of another one in parts, turned, in another shape or put together with others."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from tracegrad.core.op import OPS
from tracegrad.core.trace import Equation
from tracegrad.core.tracer import Tracer

T = TypeVar("T")


class Keys(NamedTuple):
    """A number for each word of an array of keys, the same for one that has been moved; and the arrays of keys of which some, which ones
    being unknown, are among them."""

    words: Any
    within: tuple[Any, ...]


class Parts:
    """Of the arrays of words that are computed in a trace. Ops that move elements say where: they are run on the numbers."""

    def __init__(self, eqns: Sequence[Equation]) -> None:
        self._numbers = _numbers(eqns)
        self._made = {id(x): eqn for eqn in eqns for x in _outputs(eqn) if type(x) is Tracer and x.dtype == np.uint32}
        self._roots: dict[Any, Any] = {}
        self._known: dict[int, Keys] = {}
        self._count = 1  # zero is a zero that an op puts in

    def of(self, key: Any) -> Keys:
        left = [key]
        while left:
            x = left[-1]
            moving, fixed = _moving(self._made.get(id(x)))
            missing = [y for y in moving if id(y) not in self._known]
            if missing and id(x) not in self._known:
                left += missing
                continue
            left.pop()
            if id(x) not in self._known:
                self._known[id(x)] = self._found(x, moving, fixed)
        return self._known[id(key)]

    def _found(self, x: Any, moving: Sequence[Any], fixed: bool) -> Keys:
        within = tuple([part for y in moving for part in self._known[id(y)].within])
        if not moving:
            return Keys(self._root(x), ())
        if not fixed:
            return Keys(self._root(x), (*within, *[self._known[id(y)].words for y in moving]))
        op, inputs, _, params, *_ = eqn = self._made[id(x)]
        words = op.evaluate(*[self._known[id(y)].words if id(y) in self._known else y for y in inputs], **params)
        if op.multiple_results:
            words = words[next(i for i, y in enumerate(_outputs(eqn)) if y is x)]
        return Keys(words, within)

    def _root(self, x: Any) -> Any:
        """New numbers, those of the first words of all keys one after the other, and then those of the second."""
        number = self._numbers.get(id(x), id(x))
        if number not in self._roots:
            shape = (x.shape[-1], *x.shape[:-1]) if x.ndim else ()
            words = np.arange(self._count, self._count + x.size).reshape(shape)
            self._roots[number] = np.moveaxis(words, 0, -1) if x.ndim else words
            self._count += x.size
        return self._roots[number]


def _outputs(eqn: Equation) -> tuple[Any, ...]:
    return eqn[4] if type(eqn[4]) is tuple else (eqn[4],)


def _moving(eqn: Equation | None) -> tuple[list[Any], bool]:
    """The inputs of which an equation moves the elements, and whether it is known where to. A copy is what `clone` makes, and new."""
    if eqn is None or not eqn[0].moves or eqn[0] is OPS["copy"]:
        return [], True
    positions = {i for group in eqn[0].linear for i in (range(len(eqn[1])) if group is None else group)}
    moving = [x for i, x in enumerate(eqn[1]) if i in positions and type(x) in (Tracer, np.ndarray)]
    return moving, not any([type(x) is Tracer for i, x in enumerate(eqn[1]) if i not in positions])


def _numbers(eqns: Sequence[Equation]) -> dict[int, Any]:
    """What stands for the value of each array of words that is computed in a trace: equal for what is computed in the same way."""
    numbers: dict[int, Any] = {}
    known: dict[Any, int] = {}
    copy = OPS["copy"]
    for op, inputs, _, params, out, _, _ in eqns:
        first = out[0] if type(out) is tuple and out else out
        if type(first) is not Tracer or first.dtype.kind != "u" or op is copy:
            continue
        key = (op, repr(params), *[_number(x, numbers) for x in inputs])
        number = known.setdefault(key, len(known))
        for i, x in enumerate(out if type(out) is tuple else (out,)):
            numbers[id(x)] = ("computed", number, i)
    return numbers


def _number(x: Any, numbers: Mapping[int, Any]) -> Any:
    if type(x) is Tracer or type(x) is np.ndarray:
        return numbers.get(id(x), id(x))
    return repr(x)


Range = tuple[int, int, int]


def ranges(words: Any) -> tuple[list[Range], bool]:
    """The keys of an array of their words, each once: first and last number of the first word of some that follow each other, and how far
    from these their second words are. And whether one of them is there twice."""
    pairs = np.reshape(words, (-1, 2))
    pairs = pairs[np.all(pairs > 0, axis=1)]
    apart = pairs[:, 1] - pairs[:, 0]
    order = np.lexsort((pairs[:, 0], apart))
    first, apart = pairs[order, 0], apart[order]
    same = apart[1:] == apart[:-1]
    steps = first[1:] - first[:-1]
    ends = np.flatnonzero(~(same & (steps <= 1)))
    begins = np.concatenate([np.zeros(min(len(first), 1), int), ends + 1])
    ends = np.concatenate([ends, np.full(min(len(first), 1), len(first) - 1)])
    found = [(int(apart[i]), int(first[i]), int(first[j]) + 1) for i, j in zip(begins, ends, strict=True)]
    return found, bool(np.any(same & (steps == 0)))


def overlap(some: Iterable[Range], others: Sequence[Range]) -> bool:
    """Whether a key is among both."""
    return any([a == b and i < l and k < j for a, i, j in some for b, k, l in others])


class Owners(Generic[T]):
    """What is noted of ranges of keys: cut where they overlap, so that a piece has what is noted of all of it."""

    def __init__(self) -> None:
        self._starts: dict[int, list[int]] = {}
        self._noted: dict[tuple[int, int], list[T]] = {}

    def pieces(self, of: Iterable[Range]) -> list[list[T]]:
        """What is noted of each piece of these ranges."""
        found = []
        for apart, start, stop in of:
            starts = self._starts.setdefault(apart, [0])
            i, j = [self._cut(apart, starts, at) for at in (start, stop)]
            found += [self._noted.setdefault((apart, at), []) for at in starts[i:j]]
        return found

    def _cut(self, apart: int, starts: list[int], at: int) -> int:
        i = bisect.bisect_left(starts, at)
        if i == len(starts) or starts[i] != at:
            self._noted[apart, at] = [*self._noted.get((apart, starts[i - 1]), [])]
            starts.insert(i, at)
        return i
