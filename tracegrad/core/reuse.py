"""Keys that are used twice in one Graph: what is drawn from one key is a function of it, so the numbers of the two depend on each other.

Who draws from a key of which only the type is known notes that down with the trace that the key belongs to, and when that ends,
the keys are compared: by what they were computed from, so that `keys[0]` is the same key twice, and one of `keys`, if a transform has
drawn from all of those, and of `np.stack([keys[0], other])` (see `key_parts.py`). What a transform calls once more
(`f(key)` and `grad(f)(key)`), and two branches of which one is run, are no second use; nor is anything that a rule or a pass makes,
since only calls of the user's are noted.

A Graph that is traced for another (of one row, of a step, a branch, a function with rules) remembers which of its inputs are drawn
from (`draws_of`), and who calls it notes that down for what they are given, one level further out. What a step draws from a key that
is the same in all steps, from outside or of a carry that stays as it is, is drawn in each of them.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import traces_here
from tracegrad.core.errors import KeyReuseWarning, RawSource, at, location_of, origin, resolve, user_source
from tracegrad.core.graph import Graph
from tracegrad.core.key_parts import Owners, Parts, Range, overlap, ranges
from tracegrad.core.op import OPS
from tracegrad.core.trace import Equation
from tracegrad.core.tracer import Tracer, is_written, present

# The inputs of a Graph that are keys from which the user's code draws, by their positions: by what and where.
Draws = Mapping[int, tuple[str, RawSource]]

_BRANCHES = ("cond", "switch", "lax.cond", "lax.switch")


class Use(NamedTuple):
    """That numbers were drawn from a key: the key one level below the trace that has it; by what; where; the traces around, from the
    outermost on, as their levels and whether they are branches'; and whether a loop does it in each of its steps."""

    key: Any
    by: str
    source: RawSource
    around: tuple[tuple[int, bool], ...]
    repeated: bool


def note(key: Any, by: str, source: RawSource | None = None) -> None:
    """Note that the user's code draws from a key, by the function of this name."""
    if is_written(key):
        key = present(key)
    while type(key) is Tracer and key.origin.drawn is None:
        key = key.value
    traces = traces_here()
    if type(key) is Tracer:
        trace, inside = key.origin, [t for t in traces if t.level > key.origin.level]
    elif type(key) is np.ndarray:  # the outermost Graph has it, and so have all that are traced for that
        trace, inside = next((t for t in traces if t.drawn is not None), None), traces
    else:
        return
    here = user_source()
    if trace is None or trace.drawn is None or trace.ended or origin(here)[1]:
        return  # a derivative rule draws what has been drawn
    around = tuple([(t.level, t.transform in _BRANCHES) for t in traces])
    repeated = any([t.repeats for t in inside]) and _clones.get(id(key)) is not key
    trace.drawn.append(Use(key, by, here if source is None else source, around, repeated))


def cloned(words: Any) -> Any:
    """A copy of a key's words, which a loop may draw from again in each step, wherever the copy is made."""
    copy = np.copy(words)
    if type(copy) is np.ndarray:  # of a tracer, the equation says so
        _clones[id(copy)] = copy
    return copy


_clones: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def draws_of(graph: Graph) -> Draws:
    """Which inputs of a Graph, as it has been traced, are drawn from."""
    found: Draws = graph.memo.get("draws", {})
    return found


def note_draws(draws: Draws, values: Sequence[Any]) -> None:
    """Note what a call of a Graph draws from the values that it is called with."""
    for i, (by, source) in draws.items():
        note(values[i], by, source)


def warn_of_carries(graph: Graph, carries: int, draws: Draws) -> None:
    """Warn of keys that a step of a loop draws from and hands on to the next, which draws from them, too."""
    for after, out in zip(range(carries), graph.outputs, strict=False):
        for before in range(carries):
            if before in draws and after in draws and out is graph.inputs[before]:
                _warn_of_steps(graph.inputs[before].name, *draws[before])
                return


def draws_in(eqns: Sequence[Equation], uses: Sequence[Use]) -> Draws:
    """Warn of keys that are used twice in a trace that has ended. Which of its inputs are keys that are drawn from, by what and where."""
    repeated = [use for use in uses if use.repeated]
    if repeated:
        clones = {id(eqn[4]) for eqn in eqns if eqn[0] is OPS["copy"]}
        again = next((use for use in repeated if id(use.key) not in clones), None)
        if again is not None:
            _warn_of_steps(_name(again.key), again.by, again.source)
    if len(uses) > 1 or (uses and uses[0].key.ndim > 1):
        _warn_of_seconds(eqns, uses)
    return {u.key.source: (u.by, u.source) for u in uses if type(u.key) is Tracer and isinstance(u.key.source, int)}


def _warn_of_seconds(eqns: Sequence[Equation], uses: Sequence[Use]) -> None:
    parts = Parts(eqns)
    drawn: Owners[Use | None] = Owners()  # by whom, and None once that has been told; once is enough of each key
    unknown: list[tuple[list[Range], Use]] = []  # who draws from some of these keys

    def is_after(piece: Sequence[Use | None], use: Use) -> bool:
        return any([u is not None and _is_second(u, use) for u in piece])

    def tell(use: Use, before: Use, of: Sequence[Range]) -> None:
        _warn(use, before)
        for piece in drawn.pieces(of):
            piece.append(None)

    def first_of(pieces: Sequence[Sequence[Use | None]], use: Use) -> Use | None:
        untold = [u for piece in pieces if None not in piece for u in piece]
        return next((u for u in untold if u is not None and _is_second(u, use)), None)

    for use in uses:
        keys = parts.of(use.key)
        mine, twice = ranges(keys.words)
        pieces = drawn.pieces(mine)
        before = first_of(pieces, use) or (use if twice and not any([None in piece for piece in pieces]) else None)
        around = [ranges(words)[0] for words in keys.within]
        if before is not None:
            tell(use, before, mine)
        for piece in drawn.pieces(mine):
            piece.append(use)
        # Which of some keys it draws from is unknown, but each of them has been drawn from; or now each has.
        for of in around:
            pieces = drawn.pieces(of)
            before = first_of(pieces, use)
            if before is not None and all([is_after(piece, use) for piece in pieces]):
                tell(use, before, of)
        for of, one in unknown:
            if overlap(of, mine):
                pieces = drawn.pieces(of)
                if first_of(pieces, one) is not None and all([is_after(piece, one) for piece in pieces]):
                    tell(use, one, of)
        unknown += [(of, use) for of in around]


def _is_second(before: Use, use: Use) -> bool:
    """Whether two calls that draw from one key are two uses of it."""
    if use.around[-1:] != before.around[-1:]:
        if location_of(use.source) == location_of(before.source):
            return False  # the same call, made by a transform once more
        if any([b for _, b in set(use.around) - set(before.around)]) and any(
            [b for _, b in set(before.around) - set(use.around)]
        ):
            return False  # two branches
    return True


def _name(key: Any) -> str | None:
    return key.name if type(key) is Tracer else None


def _described(name: str | None) -> str:
    if name is None:
        return "a key"
    name = name.removesuffix(".words")
    return name if " " in name else f"the key {name}"  # as of a carry


def _warn(use: Use, before: Use) -> None:
    here, there = at(use.source), at(before.source)
    _tell(
        f"{_described(_name(use.key))} is used a second time{here}, by {use.by}: "
        f"{before.by} drew from it {'before, on the same line' if there == here else there.lstrip()}"
        ", and the numbers of both depend on each other.\n  Split it, and use each part once: `key, mine = tg.random.split(key)`; in a loop "
        "`tg.random.fold_in(key, i)`. Where they are to be the same numbers, write `tg.random.clone(key)`.",
        use.source,
    )


def _warn_of_steps(name: str | None, by: str, source: RawSource) -> None:
    _tell(
        f"{_described(name)} is used again in each step of a loop{at(source)}, by {by}, and all steps get the same numbers.\n  Split it in "
        "each step, and carry the rest on: `key, mine = tg.random.split(key)`; or draw from `tg.random.fold_in(key, i)` in step i, or loop "
        "over `tg.random.split(key, n)`. Where they are to be the same numbers, write `tg.random.clone(key)`.",
        source,
    )


def _tell(text: str, source: RawSource) -> None:
    line = resolve(source)
    if line is not None:
        warnings.warn_explicit(text, KeyReuseWarning, line.file, line.line, registry=_told)


_told: dict[Any, Any] = {}
