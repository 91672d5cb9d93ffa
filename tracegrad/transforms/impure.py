"""What a function does while it is traced that no program would do again: it reads the clock, or changes a list, a dict or a set that
it was given or finds around it. What is run from then on would not.

Nothing is patched. Which lists, dicts and sets there are the names say that the function reads (`surroundings.py`); they are compared
with what they were. A clock is looked for where the code has the name of one: then the interpreter tells of each call.
"""

from __future__ import annotations

import datetime
import dis
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, FunctionType, ModuleType
from typing import Any, TypeVar

from tracegrad import tree
from tracegrad.core.errors import ImpureTraceError, Source, described, is_of_a_library
from tracegrad.core.reached import Name, codes, mentioned

T = TypeVar("T")

_CLOCKS = {name: getattr(time, name) for name in dir(time) if name.removesuffix("_ns") in (
    "time", "perf_counter", "monotonic", "process_time", "thread_time", "localtime", "gmtime", "ctime",
)}  # fmt: skip
_DATES = {"now": datetime.datetime, "utcnow": datetime.datetime, "today": datetime.date}
_WRITES = frozenset(
    ["STORE_SUBSCR", "STORE_SLICE", "DELETE_SUBSCR"]
)  # `l[i:j] = x` by one of its own from Python 3.12 on
_CHANGES = frozenset([
    "add", "append", "clear", "difference_update", "discard", "extend", "insert", "intersection_update", "pop", "popitem", "remove",
    "reverse", "setdefault", "sort", "symmetric_difference_update", "update",
])  # fmt: skip
_MANY = 4096  # elements of a container up to which it is looked at


def purely(
    function: Any, transform: str, around: Sequence[tuple[FunctionType, Sequence[Name]]], trace: Callable[[], T]
) -> T:
    """What `trace()` returns, which calls a function of the user's; `around` are those that it reaches, with the names that they read.
    ImpureTraceError where it has read the clock, or changed a container."""
    clocks = _Clocks() if any([_has_clock(f) for f, _ in around]) else None
    before = _contents(around)
    out = trace() if clocks is None else clocks.run(trace)
    if clocks is not None and clocks.source is not None:
        raise ImpureTraceError(
            f"{clocks.name} was called at {clocks.source}, while {transform} traced {described(function)}: what is run from then on "
            f"would have the same time each time.\n    {clocks.source.text}\n"
            "  Read the clock outside, and pass the time in as an argument."
        )
    if not _differing(before):
        return out
    # What is filled once, such as a table of what has been computed, is as good as what was always there.
    before = _contents(around)
    out = trace()
    for name in _differing(before):
        what = f"the {type(name.value).__name__} {name.name!r}"
        raise changed(what, name.name, function, transform, [f for f, _ in around])
    return out


def _contents(around: Sequence[tuple[FunctionType, Sequence[Name]]]) -> list[tuple[Name, list[Any]]]:
    return [(name, list(_content(name.value))) for _, names in around for name in names if _is_container(name.value)]


def _differing(before: Sequence[tuple[Name, list[Any]]]) -> list[Name]:
    """The containers that have got other content."""
    found = [(name, content, list(_content(name.value))) for name, content in before]
    return [
        name
        for name, content, now in found
        if len(now) != len(content) or any([x is not y for x, y in zip(now, content, strict=True)])
    ]


def require_unchanged(
    function: Any, transform: str, arguments: Any, leaves: Sequence[Any], structure: tree.PyTreeDef
) -> None:
    """ImpureTraceError where a function has changed the containers of its arguments, which were made of these leaves."""
    now, now_structure = tree.tree_flatten(arguments)
    if now_structure != structure or any([x is not y for x, y in zip(now, leaves, strict=True)]):
        raise changed("a list or dict that is an argument", "", function, transform, [function])


def changed(what: str, name: str, function: Any, transform: str, functions: Sequence[Any]) -> ImpureTraceError:
    """The error for a container that has been changed."""
    found = next((line for f in functions for line in _lines_that_change(f, name)), None)
    where = "" if found is None else f" at {found}"
    text = "" if found is None else f"\n    {found.text}"
    return ImpureTraceError(
        f"{what} was changed{where}, while {transform} traced {described(function)}: what is run from then on would not "
        f"change it.{text}\n  Change a copy, `dict(d)` or `list(l)`, and return what you want to have."
    )


def _is_container(x: Any) -> bool:
    return type(x) in (list, dict, set) and len(x) <= _MANY


def _content(x: Any) -> Iterator[Any]:
    if type(x) is dict:
        for pair in x.items():
            yield from pair
    else:
        yield from x


def _lines_that_change(function: Any, name: str) -> Iterator[Source]:
    """The lines of a function that change what has this name, as far as can be told from its code."""
    for code in codes(function.__code__) if type(function) is FunctionType else ():
        line, is_there = 0, not name
        for instruction in dis.get_instructions(code):
            position = instruction.positions.lineno if instruction.positions is not None else None
            if position is not None and position != line:
                line, is_there = position, not name
            found = instruction.argval  # from Python 3.13 on two names where one instruction reads both
            is_there = is_there or found == name or (type(found) is tuple and name in found)
            if is_there and (instruction.opname in _WRITES or instruction.argval in _CHANGES):
                yield Source(code.co_filename, line, code.co_name)


# ---------------------------------------------------------------------------------------------------------------------
# Clocks.


def _has_clock(function: FunctionType) -> bool:
    """Whether the code of a function may come to read one."""
    names = mentioned(function.__code__)
    for name in names:
        x = function.__globals__.get(name)
        if type(x) is ModuleType:
            if (x is time and not names.isdisjoint(_CLOCKS)) or (x is datetime and not names.isdisjoint(_DATES)):
                return True
        elif any([x is clock for clock in _CLOCKS.values()]) or (
            isinstance(x, type) and issubclass(x, datetime.date) and not names.isdisjoint(_DATES)
        ):
            return True
    return False


class _Clocks:
    """The first clock of Python's that the user's code reads."""

    name = ""
    source: Source | None = None

    def run(self, trace: Callable[[], T]) -> T:
        """What `trace()` returns."""
        if sys.getprofile() is not None:  # which is the user's
            return trace()
        sys.setprofile(self._called)
        try:
            return trace()
        finally:
            sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, arg: Any) -> None:
        if event != "c_call" or self.source is not None or is_of_a_library(frame.f_code.co_filename):
            return
        owner, name = getattr(arg, "__self__", None), getattr(arg, "__name__", "")
        if _CLOCKS.get(name) is arg:
            self.name = f"time.{name}()"
        elif name in _DATES and isinstance(owner, type) and issubclass(owner, _DATES[name]):
            self.name = f"{owner.__name__}.{name}()"
        else:
            return
        self.source = Source(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
