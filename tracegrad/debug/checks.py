"""Conditions on values, which are checked wherever a function is run: `tg.debug.check`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.boxes import accepting_jax
from tracegrad.core.context import context
from tracegrad.core.errors import Source, resolve, user_source
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import type_of
from tracegrad.ops.external import External, external_call
from tracegrad.ops.families import all_batched
from tracegrad.transforms.control.bodies import LOOPS


class CheckError(RuntimeError):
    """A condition does not hold.

    source      the user's line
    rows        in which row of the batch, of each `vmap` from the outermost on; none within a branch that rows choose
    steps       in which steps of which loops, the outermost first
    index       of the first element for which it does not hold, in its row
    """

    source: Source | None = None
    rows: tuple[int, ...] = ()
    steps: tuple[str, ...] = ()
    index: tuple[int, ...] = ()


@accepting_jax
def check(cond: Any, message: str, **values: Any) -> None:
    """Raise where a condition does not hold: also in jitted functions on both backends, for a row of a batch, in a step of a loop.

    It is checked as often as the program comes to this line, for those rows of a batch that come to it; a derivative does not check it
    again. A jitted function on XLA that has checks is waited for.

    Args:
        cond: booleans, all of which must hold.
        message: what the error says, in which `{name}` stands for a value, as `str.format` has it: for the element for which the
            condition does not hold, if the value has the shape of the condition.
        **values: arrays, or anything else.

    Raises:
        CheckError: a RuntimeError, with the user's line, the row, the step and the index of the first element.

    >>> import numpy as np, tracegrad as tg
    >>> @tg.jit
    ... def log(x):
    ...     tg.debug.check(x > 0, "x must be > 0, got {x}", x=x)
    ...     return np.log(x)
    >>> log(np.array([1.0, 2.0])).round(3).tolist()
    [0.0, 0.693]
    >>> log(np.array([1.0, -2.0]))
    Traceback (most recent call last):
        ...
    tracegrad.debug.checks.CheckError: x must be > 0, got -2.0 at [1] (checked at <doctest ...>:3 (in log))
    """
    names = [name for name, x in values.items() if isinstance(x, Tracer | np.ndarray | np.generic) or is_jax_array(x)]
    others = {name: x for name, x in values.items() if name not in names}
    for chosen in reversed(context.chosen):
        cond = np.logical_or(cond, np.logical_not(_apart(chosen)))
    arrays = arrays_of([cond, *[values[name] for name in names]], lambda i: ("cond", *names)[i])
    like = [type_of(x).shape == type_of(arrays[0]).shape for x in arrays[1:]]
    source = resolve(user_source())
    external_call(_checking(_Check(message, names, others, like, source), ()), arrays)


def _apart(chosen: Callable[[], Any]) -> Any:
    """Whether a row gets here, where what finds it may have checks of its own."""
    around = context.chosen
    context.chosen = ()
    try:
        return chosen()
    finally:
        context.chosen = around


class _Check:
    """What is checked. `like` says which values have the shape of the condition."""

    def __init__(
        self, message: str, names: Sequence[str], others: dict[str, Any], like: Sequence[bool], source: Source | None
    ) -> None:
        self.message, self.names, self.others, self.like, self.source = message, names, others, like, source

    def __call__(self, starts: Sequence[int], cond: Any, values: Sequence[Any]) -> None:
        """Check arrays that have an axis in front for each batch, whose first rows have these numbers."""
        fails = np.argwhere(~np.asarray(cond, bool))
        if not len(fails):
            return
        place = tuple(map(int, fails[0]))
        count = len(starts)
        inside = place[count:]
        shown = dict(self.others)
        for name, x, alike in zip(self.names, values, self.like, strict=True):
            shown[name] = np.asarray(x)[place if alike else place[:count]]
        steps, apart = _steps()
        rows = () if apart else tuple([start + i for start, i in zip(starts, place, strict=False)])
        where = [f"in row {', '.join(map(str, rows))}"] if rows else []
        where += [f"in {step}" for step in steps]
        told = f" at [{', '.join(map(str, inside))}]" if inside else ""
        if where:
            told += f", {', '.join(where)}"
        if self.source is not None:
            told += f" (checked at {self.source})"
        error = CheckError(f"{self.message.format(**shown)}{told}")
        error.source, error.rows, error.steps, error.index = self.source, rows, steps, inside
        raise error


def _checking(check: _Check, starts: tuple[int, ...]) -> External:
    """The function that is called with arrays that have an axis in front for each of so many batches."""

    def call(cond: Any, *values: Any) -> Sequence[Any]:
        check(starts, cond, values)
        return ()

    def rows(size: int, batched: Sequence[bool], arrays: Sequence[Any]) -> tuple[Sequence[Any], Sequence[bool]]:
        outs = external_call(_checking(check, (context.start, *starts)), all_batched(size, batched, arrays))
        return outs, [False] * len(outs)

    return External("check", call, lambda types: (), rows, pure=False, raises=True)


def _steps() -> tuple[tuple[str, ...], bool]:
    """In which steps of which loops this is called, the outermost first, and whether it is for rows that were picked."""
    found: list[str] = []
    apart = False
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        loop = LOOPS.get(frame.f_code)
        if loop is not None:
            name, variable = loop
            apart = apart or not name
            if name:
                found.append(f"step {frame.f_locals[variable]} of {name}")
    return tuple(found[::-1]), apart
