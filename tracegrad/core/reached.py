"""What a function reaches: the names that it reads (globals, closure cells, attributes of modules), and what these lead to in turn.
Which names there are is read off the code: that of the function, and of those that are defined in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

NOTHING: Any = object()
_MOST = 1000  # what is looked at in all


class Name:
    """A name, the dict or the closure cell where it is bound, and what it was bound to."""

    __slots__ = ("name", "place", "value")

    def __init__(self, name: str, place: dict[str, Any] | CellType) -> None:
        self.name = name
        self.place = place
        self.value = self.now()

    def now(self) -> Any:
        """What it is bound to; NOTHING if it is not."""
        if isinstance(self.place, dict):
            return self.place.get(self.name, NOTHING)
        try:
            return self.place.cell_contents
        except ValueError:
            return NOTHING


def codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, and of those that are defined in it.

    >>> def f():
    ...     return lambda: 1
    >>> [c.co_name for c in codes(f.__code__)]
    ['f', '<lambda>']
    """
    waiting = [code]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [c for c in code.co_consts[::-1] if type(c) is CodeType]


def mentioned(code: CodeType) -> set[str]:
    """The names that may be globals in a function and in those inside of it."""
    return {name for c in codes(code) for name in c.co_names}


def cells_of(function: FunctionType) -> Iterator[Name]:
    """What a function closes over."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield Name(name, cell)


def names_read(function: FunctionType, is_open: Callable[[str], bool]) -> Iterator[tuple[str, Name]]:
    """The names that a function reads, as it writes them, those of modules among them; and those of modules that it may be
    reading, of which it is told by their files whether to look into them."""
    written = mentioned(function.__code__)
    every = [
        *cells_of(function),
        *[Name(name, function.__globals__) for name in written if name in function.__globals__],
    ]
    for one in every:
        yield one.name, one
    for module in every:
        if type(module.value) is ModuleType and is_open(getattr(module.value, "__file__", None) or "<frozen "):
            inner = vars(module.value)
            yield from [(f"{module.name}.{name}", Name(name, inner)) for name in written if name in inner]


def walk(function: Any, look: Callable[[str, Any], Iterable[tuple[str, Any]]]) -> bool:
    """Call `look(label, x)` of a function and of all that it leads to, each once: what it returns is looked at next. False if
    there is more than is looked at.

    >>> leads, seen = {1: [2, 3], 2: [1], 3: []}, []
    >>> walk(1, lambda label, x: seen.append(label) or [(f"{x} to {y}", y) for y in leads[x]])
    True
    >>> seen
    ['', '1 to 3', '1 to 2']
    """
    seen: dict[int, Any] = {}  # which keeps what may be gone otherwise, and another thing be where it was
    waiting: list[tuple[str, Any]] = [("", function)]
    while waiting and len(seen) < _MOST:
        label, x = waiting.pop()
        if id(x) not in seen:
            seen[id(x)] = x
            waiting += look(label, x)
    return not waiting
