"""Python's garbage collector, kept from walking again and again over what is being made and will live on: compiling makes many
objects and hardly any cycles; left alone, the collector takes a fifth of the time that a long program needs."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

_stopped_by: dict[int, None] = {}  # the threads that have stopped it


def uncollected(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)` without collections. None of the user's code may run in it.

    It may be interrupted, and run in any number of threads: those that find the collector running stop it and start it
    again, and no other does either. (A signal is handled between two calls: not after `finally`
    and before what is called first there.)
    """
    was_enabled, thread = gc.isenabled(), threading.get_ident()
    try:
        if was_enabled:
            _stopped_by[thread] = None
            gc.disable()
        return function(*args)
    finally:
        if was_enabled:
            gc.enable()
            _stopped_by.pop(thread, None)


def _alone_after_fork() -> None:
    """Start the collector where a thread had stopped it that this process has not got."""
    thread = threading.get_ident()
    if _stopped_by and thread not in _stopped_by:
        gc.enable()
    for other in _stopped_by.keys() - {thread}:
        del _stopped_by[other]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone_after_fork)
