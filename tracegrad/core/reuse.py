"""Keys that are used twice in one Graph: what is drawn from one key is a function of it, so the numbers of the two depend on each other.

Who draws from a key of which only the type is known notes that down with the trace that the key belongs to, and when that ends,
the keys are compared: by what they were computed from, so that `keys[0]` is the same key twice. What a transform calls once more
(`f(key)` and `grad(f)(key)`), and two branches of which one is run, are no second use; nor is anything that a rule or a pass makes,
since only calls of the user's are noted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import context, traces_here
from tracegrad.core.errors import KeyReuseWarning, RawSource, at, location_of, resolve, user_source
from tracegrad.core.op import OPS
from tracegrad.core.trace import Equation, Trace
from tracegrad.core.tracer import Tracer, is_written, present

_BRANCHES = ("cond", "switch", "lax.cond", "lax.switch")


class Use(NamedTuple):
    """That numbers were drawn from a key: the key one level below the trace that has it; by what; where; and the traces around, from the
    outermost on, as their levels and whether they are branches'."""

    key: Any
    by: str
    source: RawSource
    around: tuple[tuple[int, bool], ...]


def note(key: Any, by: str, source: RawSource | None = None) -> None:
    """Note that the user's code draws from a key, by the function of this name."""
    if is_written(key):
        key = present(key)
    while type(key) is Tracer and key.origin.drawn is None:
        key = key.value
    trace = key.origin if type(key) is Tracer else context.trace if type(key) is np.ndarray else None
    if trace is None or trace.drawn is None or trace.ended:
        return
    around = tuple([(t.level, t.transform in _BRANCHES) for t in traces_here()])
    trace.drawn.append(Use(key, by, user_source() if source is None else source, around))


def drawn_inputs(trace: Trace, eqns: Sequence[Equation], uses: Sequence[Use]) -> dict[int, tuple[str, RawSource]]:
    """Warn of keys that are used twice in a trace that has ended. Which of its inputs are keys that are drawn from, by what and where."""
    if len(uses) > 1:
        numbers = _numbers(trace, eqns)
        of_keys: dict[Any, list[Use]] = {}
        for use in uses:
            of_keys.setdefault(_number(use.key, numbers), []).append(use)
        for known in of_keys.values():
            pairs = ((use, before) for i, use in enumerate(known) for before in known[:i] if _is_second(before, use))
            if (found := next(pairs, None)) is not None:
                _warn(*found)
    return {u.key.source: (u.by, u.source) for u in uses if type(u.key) is Tracer and isinstance(u.key.source, int)}


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


def _numbers(trace: Trace, eqns: Sequence[Equation]) -> dict[int, Any]:
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


def _warn(use: Use, before: Use) -> None:
    line = resolve(use.source)
    here, there = at(use.source), at(before.source)
    name = use.key.name if type(use.key) is Tracer else None
    key = f"the key {name.removesuffix('.words')}" if name is not None else "a key"
    text = (
        f"{key} is used a second time{here}, by {use.by}: "
        + f"{before.by} drew from it {'before, on the same line' if there == here else there.lstrip()}"
        ", and the numbers of both depend on each other.\n  Split it, and use each part once: `key, mine = tg.random.split(key)`; in a loop "
        "`tg.random.fold_in(key, i)`. Where they are to be the same numbers, write `tg.random.clone(key)`."
    )
    if line is not None:
        warnings.warn_explicit(text, KeyReuseWarning, line.file, line.line, registry=_told)


_told: dict[Any, Any] = {}
