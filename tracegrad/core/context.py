"""What a thread is doing, as far as that is not in what it was called with: one place for all of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

# How many entries an equation of a running trace has (see `trace.py`), by which it is told from the source of one.
EQUATION = 7


class Context(threading.local):
    """What this thread is doing.

    cell        a list, which costs the interpreters' loops a quarter of writing here. First comes the source of the equation
                whose rule an interpreter is applying, to whose line belongs what the rule records, or that equation in a
                trace, if it is a derivative rule; None in the user's own code. Then, for a derivative rule, whether what it
                records is a derivative (and not the transpose of one, which is one already); in the user's own code the
                open scopes and the calls that are kept, if any (`errors.Calls`)
    bound       the named axes that are being mapped over, outermost first
    batching    the one that batching rules are being applied for, None if that one has no name
    start       the first example of those that they are applied to
    trace       the innermost trace of types, to which belongs what depends on no array but on the place in an axis
    boxes       how many calls that have foreign arrays in boxes have not returned
    explains    whether a function is run for an explanation: equations are told which rows of which `vmap` they are for, and
                jitted functions are traced as a part of what calls them
    probed      what probes have seen meanwhile, None where nobody asks
    refused     why a tracer was no size lately, which NumPy does not hand on
    chosen      what says whether a row of a batch gets to what is being traced, a branch or a step of a loop that it may be computed
                for anyhow: functions that give a boolean, traced there; those of what is around it first
    """

    cell: list[Any] | None = None
    bound: tuple[Any, ...] = ()
    batching: Any = None
    start: int = 0
    trace: Any = None
    boxes: int = 0
    explains: bool = False
    probed: list[Any] | None = None
    refused: str = ""
    chosen: tuple[Any, ...] = ()

    @property
    def source(self) -> Any:
        """Where in the user's code the equation stands whose rule is being applied."""
        found = None if self.cell is None else self.cell[0]
        if found is not None and len(found) == EQUATION:
            out = found[4]
            found = (out[0] if type(out) is tuple else out).source
        return found

    @property
    def scope(self) -> tuple[str, ...]:
        """The names of the scopes that the user's code is in."""
        cell = self.cell
        return () if cell is None or cell[0] is not None or type(cell[1]) is not tuple else cell[1]


context = Context()

# Thread -> the trace that records all that is done to tracers in that thread, those from outside included: that of a
# branch, in which must be all that it computes. Nearly always empty, which is quicker to see than what a thread has.
capturing: dict[int, Any] = {}

# The traces that have not ended, in all threads, by level, with None for a call whose foreign arrays are in boxes: where
# there are none, nobody has a tracer that is of use, which is quickly seen.
open_traces: dict[int, Any] = {}

# Thread -> what calls a transformed or jitted function in its way, `(function, args, kwargs)`, and looks at what comes out
# (`tg.debug.nans`). Nearly always empty, like `capturing`.
watching: dict[int, Callable[..., Any]] = {}

# Thread -> what notes what happens to the sizes of what it traces (`sizes.Notes`), where that is to hold for others too.
sizing: dict[int, Any] = {}


def watcher() -> Callable[..., Any] | None:
    """What watches this thread's calls, if anything does."""
    return watching.get(threading.get_ident())


def traces_here() -> list[Any]:
    """The open traces of this thread, from the outermost on. No other thread may touch them."""
    thread = threading.get_ident()
    return [t for t in list(open_traces.values()) if t is not None and t.thread == thread]


# The levels of those into whose arrays something has been written: where there are none, no tracer is a `Written`.
writing: set[int] = set()


def _alone_after_fork() -> None:
    """Forget the traces of threads that this process has not got."""
    thread = threading.get_ident()
    for level, trace in list(open_traces.items()):
        if not context.boxes if trace is None else trace.thread != thread:
            del open_traces[level]
            writing.discard(level)
    for other in capturing.keys() - {thread}:
        del capturing[other]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone_after_fork)
