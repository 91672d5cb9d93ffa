"""Python's garbage collector, kept from walking again and again over what is being made and will live on.

Tracing and compiling make many objects and hardly any cycles; left alone, the collector takes half of the time that a
long program needs.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

CALM = 100_000  # objects made between two collections, where Python's own number is 700

_lock = threading.Lock()
_calmed = 0
_thresholds = (0, 0, 0)


@contextlib.contextmanager
def collector_calmed() -> Iterator[None]:
    """With rarer collections, for as long as a user's function is traced, which may make garbage of its own."""
    global _calmed, _thresholds
    with _lock:
        if _calmed == 0:
            _thresholds = gc.get_threshold()
            if _thresholds[0]:  # else collections are off
                gc.set_threshold(max(_thresholds[0], CALM), *_thresholds[1:])
        _calmed += 1
    try:
        yield
    finally:
        with _lock:
            _calmed -= 1
            if _calmed == 0:
                gc.set_threshold(*_thresholds)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Without collections, while none of the user's code runs."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
