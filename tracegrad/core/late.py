"""What is loaded when it is first used: `import tracegrad` brings what a first `grad` needs, and no more.

The package, which alone may import anything, puts into LOADERS what loads the rest.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

LOADERS: dict[str, Callable[[], Any]] = {}

_K = TypeVar("_K")
_V = TypeVar("_V")
# Held while files are loaded, which runs none of the user's code. Who forks waits for that: the child would have modules of
# which a part is there, and which are locked for good.
_loading = threading.RLock()
_loader = 0  # the thread that loads them
_tables: list[Table[Any, Any]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


def imported(name: str) -> Any:
    """A module that may be imported now for the first time."""
    with _loading:
        return _loaded(lambda: importlib.import_module(name))


def _loaded(load: Callable[[], Any]) -> Any:
    """What `load` returns. What it puts into tables is there for other threads when it has ended: the functions of a file are
    of use when all of that has been read."""
    global _loader
    if _loader:  # this thread's
        return load()
    try:
        _loader = threading.get_ident()
        return load()
    finally:
        _loader = 0
        for table in _tables:
            dict.update(table, table.read)
            table.read.clear()


def complete() -> None:
    """Have all files loaded that fill a `Table`. Whoever asks while another thread loads them waits for that."""
    with _loading:
        load = LOADERS.pop("tables", None)
        if load is not None:
            _loaded(lambda: _all_or_nothing(load))


def _all_or_nothing(load: Callable[[], Any]) -> None:
    modules, contents = set(sys.modules), [dict(table.read) for table in _tables]
    try:
        load()
    except BaseException:
        # An interrupt, or no more stack. A file is read anew the next time, and must find of itself nothing in a table.
        for name in set(sys.modules) - modules:
            if name.startswith("tracegrad."):
                del sys.modules[name]
        for table, before in zip(_tables, contents, strict=True):
            table.read = before
        LOADERS["tables"] = load
        raise


class Table(dict[_K, _V]):
    """A dict that is filled by files as these are loaded. Whoever looks for what is not in it, or for all that is, has the
    rest of them loaded first."""

    known = dict.get  # what is in it by now

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[_K, _V] = {}  # from files that are being loaded
        _tables.append(self)

    def __setitem__(self, key: _K, value: _V) -> None:
        if _loader == threading.get_ident():
            self.read[key] = value
        else:
            dict.__setitem__(self, key, value)

    def __getitem__(self, key: _K) -> _V:
        return dict.__getitem__(self, key)  # which asks __missing__

    def __missing__(self, key: _K) -> _V:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: Any, default: Any = None) -> Any:
        if not dict.__contains__(self, key):
            if _loader == threading.get_ident() and key in self.read:
                return self.read[key]
            complete()
        return dict.get(self, key, default)

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[_K]:
        complete()
        return dict.__iter__(self)

    def __len__(self) -> int:
        complete()
        return dict.__len__(self)

    def keys(self) -> Any:
        complete()
        return dict.keys(self)

    def values(self) -> Any:
        complete()
        return dict.values(self)

    def items(self) -> Any:
        complete()
        return dict.items(self)
