"""Keys that are used twice in one Graph: what is drawn from one key is a function of it, so the numbers of the two depend on each other.

Who draws from a key of which only the type is known notes that down with the trace that the key belongs to, and when that ends,
the keys are compared: by what they were computed from, so that `keys[0]` is the same key twice, and one of `keys`, if a transform has
drawn from all of those, and of `np.stack([keys[0], other])`. What a transform calls once more
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
    numbers = _numbers(eqns)
    made = {id(eqn[4]): eqn for eqn in eqns if type(eqn[4]) is Tracer and eqn[4].dtype == np.uint32}
    drawn: dict[Any, list[Use]] = {}  # from the keys of a number, all of them
    in_part: dict[Any, list[Use]] = {}  # from some of them
    told: set[Any] = set()  # of which keys, and by which uses; once is enough of each
    for i, use in [(i, u._replace(key=key)) for i, u in enumerate(uses) for key in _put_together(u.key, made)]:
        number, around = _number(use.key, numbers), [_number(x, numbers) for x in _selected_from(use.key, made)]
        earlier = (before for n in (number, *around) for before in drawn.get(n, ()))
        for before in (*earlier, *in_part.get(number, ())):
            if told.isdisjoint((number, ("use", i))) and _is_second(before, use):
                told.update((number, ("use", i)))
                _warn(use, before)
        drawn.setdefault(number, []).append(use)
        for n in around:
            in_part.setdefault(n, []).append(use)


def _put_together(key: Any, made: Mapping[int, Equation]) -> list[Any]:
    """The keys, or arrays of keys, that an array of keys has been put together from; else that itself."""
    found, left = [], [key]
    while left:
        x = left.pop()
        eqn = made.get(id(x))
        if eqn is not None and eqn[0].name in ("stack", "concatenate") and eqn[3]["axis"] != x.ndim - 1:
            left.extend(reversed(eqn[1]))
        elif eqn is not None and eqn[0].name == "reshape" and _are_keys(x) and _are_keys(eqn[1][0]):
            left.append(eqn[1][0])
        else:
            found.append(x)
    return found


def _selected_from(key: Any, made: Mapping[int, Equation]) -> list[Any]:
    """The arrays of keys that a key, or an array of keys, is a part of."""
    found: list[Any] = []
    eqn = made.get(id(key))
    while eqn is not None and key.size and eqn[0].name in ("slice", "gather", "reshape") and _are_keys(eqn[1][0]):
        found.append(eqn[1][0])
        eqn = made.get(id(found[-1]))
    return [x for x in found if x.ndim > 1]


def _are_keys(x: Any) -> bool:
    return type(x) in (Tracer, np.ndarray) and x.shape[-1:] == (2,)


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


def _number(x: Any, numbers: dict[int, Any]) -> Any:
    if type(x) is Tracer or type(x) is np.ndarray:
        return numbers.get(id(x), id(x))
    return repr(x)


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
