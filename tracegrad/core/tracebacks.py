"""Tracebacks as users see them: with their own frames, and none of this library's between them.

A function that users call lets every exception out by

    except BaseException as error:
        trim(error)
        raise

in its own frame. A `raise` without an argument adds no frame to the traceback, so that not even that of the function itself is
in it: the traceback ends where the user's code called something of ours, and a debugger stops there. With
TRACEGRAD_TRACEBACKS=full in the environment all frames stay.
"""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from tracegrad.core.errors import at, called_at, frames_here, is_hidden, is_of_a_library, raised_through
from tracegrad.core.numpy_warnings import again, has_warned, is_notice

_F = TypeVar("_F", bound=Callable[..., Any])

_OURS = (os.path.dirname(os.path.dirname(__file__)) + os.sep, "<tracegrad ")


# How Python says that its stack is full.
_FULL = "maximum recursion depth exceeded"


def trim(error: BaseException) -> None:
    """Take this library's frames out of the tracebacks of an exception and of all that it is chained to or consists of. What
    was raised and handled within the library goes out of the chain."""
    if is_notice(error):
        return
    if type(error) is RecursionError and str(error).startswith(_FULL):
        _explain_full(error)
    if os.environ.get("TRACEGRAD_TRACEBACKS") == "full":
        return
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        found.__traceback__ = _trimmed(found.__traceback__)
        while (context := found.__context__) is not None and _is_private(context) and id(context) not in seen:
            seen.add(id(context))
            found.__context__ = context.__context__
        waiting += [e for e in (found.__cause__, found.__context__) if e is not None]
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions


def trimming(function: _F) -> _F:
    """The function, letting exceptions out trimmed; for what is not called so often that another call would matter."""

    @functools.wraps(function)
    def trimmed(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if has_warned(error):
                return again(function, *args, **kwargs)
            trim(error)
            raise

    return trimmed  # type: ignore[return-value]


def _explain_full(error: RecursionError) -> None:
    """Say what fills Python's stack where it is not a function of the user's that calls itself: transforms, loops and branches
    in each other, which take many frames of ours each. (The text is the same at every level that the error comes by after that.)"""
    # But for this function, `trim`, and what calls that, which is the first that it was raised in.
    frames = [*list(frames_here())[:2:-1], *raised_through(error)]
    files = [code.co_filename for code, _ in frames]
    if 5 * sum([is_hidden(file) for file in files]) < len(frames):
        return
    private = [is_of_a_library(file) for file in files]
    calls = Counter([f for f, own, inner in zip(frames, private, private[1:], strict=False) if inner and not own])
    several = [
        f"{called_at(*call, 'a function')}{at(call)}{f', {times} times' if times > 1 else ''}"
        for call, times in calls.most_common(3)
    ]
    limit = sys.getrecursionlimit()
    error.args = (
        f"transforms, loops or branches are nested too deep in each other for Python's stack of {limit} frames: "
        f"{'; '.join(several)}.\n"
        "  In place of vmap in vmap write one vmap over a reshaped axis, in place of loops in loops one over all of their steps "
        "(np.unravel_index(i, (n, m)) gives the single indices). If there is an end to it and you want it as it stands, "
        f"`sys.setrecursionlimit({4 * limit})` makes room.",
    )


def _is_private(error: BaseException) -> bool:
    """Whether nothing of the user's was running when it was raised, or until it was handled."""
    return error.__traceback__ is not None and _trimmed(error.__traceback__) is None


def _trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without frames of ours, those of other libraries that ours called, and those of NumPy's and jax's that
    called ours."""
    entries = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    files = [entry.tb_frame.f_code.co_filename for entry in entries]
    is_ours = [file.startswith(_OURS) for file in files]
    if True not in is_ours:
        return entries[0] if entries else None
    keeps = [not ours for ours in is_ours]
    for i in range(1, len(files)):
        if keeps[i] and not keeps[i - 1]:
            keeps[i] = not is_of_a_library(files[i])
    for i in reversed(range(len(files) - 1)):
        if keeps[i] and not keeps[i + 1]:
            keeps[i] = not is_hidden(files[i])
    result: TracebackType | None = None
    for entry, keep in zip(reversed(entries), reversed(keeps), strict=True):
        if keep:
            result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result
