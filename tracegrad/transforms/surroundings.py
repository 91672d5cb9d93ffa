"""What a traced function reads from around it by name: globals, closure cells, and attributes of the user's own modules.

What a name was bound to is built into a program, so that this holds only while the name is bound to the same. Which names there are is
read off the code: that of the function, and that of each function of the user's which these names lead to. What a name
of a method or an attribute of an object stands for is not looked for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from tracegrad.core.errors import clip, is_of_the_user, ours
from tracegrad.core.generated import mentioned
from tracegrad.core.graph import exactly
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS

# What is told apart by its value: another object that is equal is as good.
_PLAIN = frozenset([*PYTHON_SCALARS, str, bytes, type(None)])
_NOTHING: Any = object()
# A function leads to no more others than that.
_MOST = 1000


class Name:
    """A name, the dict or the closure cell where it is bound, and what it was bound to."""

    __slots__ = ("name", "place", "value")

    def __init__(self, name: str, place: dict[str, Any] | CellType) -> None:
        self.name = name
        self.place = place
        self.value = self.now()

    def now(self) -> Any:
        """What it is bound to."""
        if isinstance(self.place, dict):
            return self.place.get(self.name, _NOTHING)
        try:
            return self.place.cell_contents
        except ValueError:
            return _NOTHING

    def change(self) -> str:
        """What it is bound to now, where that is something else."""
        now = self.now()
        if now is self.value:
            return ""
        if _is_plain(now) and _is_plain(self.value) and exactly(now) == exactly(self.value):
            self.value = now
            return ""
        kind = "global" if isinstance(self.place, dict) else "closure variable"
        if now is _NOTHING:
            return f"{kind} {self.name!r} is gone"
        if _is_plain(now) and _is_plain(self.value):
            return f"{kind} {self.name!r} changed: {clip(repr(now), 60)}, before {clip(repr(self.value), 60)}"
        return f"{kind} {self.name!r} changed"


def _is_plain(x: Any) -> bool:
    return all(map(_is_plain, x)) if type(x) is tuple else type(x) in _PLAIN


def names_around(function: Any) -> list[Name]:
    """The names that a function reads, and those that it calls."""
    return [name for _, names in functions_around(function) for name in names]


def functions_around(function: Any) -> Iterator[tuple[FunctionType, list[Name]]]:
    """The function and those of the user's which names in it lead to, each with the names that it reads, and no other before it has."""
    seen: set[Any] = set()
    waiting = [function]
    while waiting and len(seen) < _MOST:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if type(value) is not FunctionType:
            waiting += _behind(value)
            continue
        file = value.__code__.co_filename
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        if ours(file):  # what a transform returns
            waiting += [x for name, cell in cells if callable(x := Name(name, cell).value)]
        elif is_of_the_user(file):
            found = [name for name in _read(value, cells) if (id(name.place), name.name) not in seen]
            seen.update([(id(name.place), name.name) for name in found])
            waiting += [name.value for name in found]
            yield value, found
        if (wrapped := value.__dict__.get("__wrapped__")) is not None:
            waiting.append(wrapped)


def _behind(value: Any) -> list[Any]:
    """The functions that are called where something else is."""
    if type(value) is MethodType:
        return [value.__func__]
    if type(value) is functools.partial:
        return [value.func, *filter(callable, value.args)]
    if isinstance(value, type) or type(value) in _PLAIN or issubclass(type(value), Tracer):
        return []
    own = getattr(value, "__dict__", None)
    wrapped = own.get("__wrapped__") if type(own) is dict else None
    return [x for x in (wrapped, type(value).__dict__.get("__call__")) if x is not None]


def _read(function: FunctionType, cells: Iterable[tuple[str, CellType]]) -> Iterator[Name]:
    """The names that a function of the user's reads: modules are no values of programs, but what is read of the user's own is."""
    written = mentioned(function.__code__)
    every = [Name(name, cell) for name, cell in cells]
    every += [Name(name, function.__globals__) for name in written if name in function.__globals__]
    for module in [name.value for name in every if type(name.value) is ModuleType]:
        if is_of_the_user(getattr(module, "__file__", None) or "-packages"):
            every += [Name(name, module.__dict__) for name in written if name in module.__dict__]
    for name in every:
        if (
            type(name.value) is not ModuleType
            and name.value is not _NOTHING
            and not issubclass(type(name.value), Tracer)
        ):
            yield name
