"""What a traced function reads from around it by name: globals, closure cells, and attributes of the user's own modules.

What a name was bound to is built into a program, so that this holds only while the name is bound to the same. Which names there are is
read off the code: that of the function, and that of each function of the user's which these names lead to. What a name
of a method or an attribute of an object stands for is not looked for.
"""

from __future__ import annotations

import functools
from types import FunctionType, MethodType, ModuleType
from typing import Any

from tracegrad.core.errors import clip, is_of_the_user, ours
from tracegrad.core.graph import exactly
from tracegrad.core.reached import NOTHING, Name, cells_of, names_read, walk
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS

# What is told apart by its value: another object that is equal is as good.
_PLAIN = frozenset([*PYTHON_SCALARS, str, bytes, type(None)])


def change(name: Name) -> str:
    """What a name is bound to now, where that is something else than it was."""
    now = name.now()
    if now is name.value:
        return ""
    if _is_plain(now) and _is_plain(name.value) and exactly(now) == exactly(name.value):
        name.value = now
        return ""
    kind = "global" if isinstance(name.place, dict) else "closure variable"
    if now is NOTHING:
        return f"{kind} {name.name!r} is gone"
    if _is_plain(now) and _is_plain(name.value):
        return f"{kind} {name.name!r} changed: {clip(repr(now), 60)}, before {clip(repr(name.value), 60)}"
    return f"{kind} {name.name!r} changed"


def _is_plain(x: Any) -> bool:
    return all(map(_is_plain, x)) if type(x) is tuple else type(x) in _PLAIN


def functions_around(function: Any) -> list[tuple[FunctionType, list[Name]]]:
    """The function and those of the user's which names in it lead to, each with the names that it reads, and no other before it has."""
    around: list[tuple[FunctionType, list[Name]]] = []
    seen: set[tuple[int, str]] = set()

    def look(_: str, x: Any) -> list[tuple[str, Any]]:
        if type(x) is not FunctionType:
            return [("", part) for part in _behind(x)]
        file = x.__code__.co_filename
        parts: list[Any] = []
        if ours(file):  # what a transform returns
            parts = [name.value for name in cells_of(x) if callable(name.value)]
        elif is_of_the_user(file):
            found = [name for name in _read(x) if (id(name.place), name.name) not in seen]
            seen.update([(id(name.place), name.name) for name in found])
            parts = [name.value for name in found]
            around.append((x, found))
        return [("", part) for part in (*parts, x.__dict__.get("__wrapped__"))]

    walk(function, look)
    return around


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


def _read(function: FunctionType) -> list[Name]:
    """The names that a function of the user's reads: modules are no values of programs, but what is read of the user's own is."""
    return [
        name
        for _, name in names_read(function, is_of_the_user)
        if not (type(name.value) is ModuleType or name.value is NOTHING or issubclass(type(name.value), Tracer))
    ]
