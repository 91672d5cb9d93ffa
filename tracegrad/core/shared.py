"""What threads share, without a lock.

What is kept here is found by keys, and made by functions, that may be the user's or call them: whoever held a lock meanwhile
would have other threads wait for a trace, or for ever, and a fork would leave it locked. So two threads that look for
the same at the same time may both make it, and both get what was there first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

_V = TypeVar("_V")


class cached(Generic[_V]):
    """An attribute that is computed when it is first asked for (`functools.cached_property` has a lock up to Python 3.11)."""

    def __init__(self, make: Callable[[Any], _V]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> _V:
        if instance is None:
            return self  # type: ignore[return-value]  # as documentation sees it
        found: _V = vars(instance).setdefault(self._name, self._make(instance))
        return found


class Recent(Generic[_V]):
    """A dict of what has been used of late."""

    def __init__(self) -> None:
        self._found: dict[Hashable, list[Any]] = {}  # when it was used, and the value
        self._clock = itertools.count().__next__

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: Hashable) -> _V | None:
        found = self._found.get(key)
        if found is None:
            return None
        found[0] = self._clock()
        value: _V = found[1]
        return value

    def keep(self, key: Hashable, value: _V, size: int) -> _V:
        """Keep a value, unless another thread has brought one for the same key; at most `size` of them. Returns what is
        kept."""
        found = self._found.setdefault(key, [self._clock(), value])
        while len(self._found) > size:
            oldest = min(list(self._found.items()), key=lambda item: item[1][0])[0]
            self._found.pop(oldest, None)
        kept: _V = found[1]
        return kept

    def drop(self, key: Hashable, value: _V) -> None:
        """Keep this value no longer; another one that a thread has brought meanwhile stays."""
        found = self._found.get(key)
        if found is not None and found[1] is value:
            self._found.pop(key, None)
