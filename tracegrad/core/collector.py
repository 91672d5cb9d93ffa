"""Python's garbage collector, kept from walking again and again over what is being made and will live on: compiling makes many
objects and hardly any cycles; left alone, the collector takes a fifth of the time that a long program needs."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any


def uncollected(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)` without collections. None of the user's code may run in it.

    Nothing is kept but in this call, so that it may be interrupted, and run in any number of threads: of several that stop
    the collector, those that found it running start it again. (A signal is handled between two calls: not after `finally`
    and before what is called first there.)
    """
    was_enabled = gc.isenabled()
    try:
        gc.disable()
        return function(*args)
    finally:
        if was_enabled:
            gc.enable()
