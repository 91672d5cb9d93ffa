"""What all generated text is made with: names that mean one thing each, and others' text that stays where it is put.

Names of functions, fields, keys, modules and files, and what a class gives for its `repr`, are text that somebody else
chose. Source that tracegrad generates takes every name in it from one `Names`, and has no such text in it but what comes
from `line` (for a comment, a file name, a listing), `string` or `literal`.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Container, Iterable, Mapping
from types import CodeType, FunctionType
from typing import Any

from tracegrad.core.reached import mentioned

# What a name in a program would hide, or could not be.
RESERVED = frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins)])


def identifier(text: Any) -> str:
    """The text as Python reads it where it stands for a name, or nothing where it cannot. (Names with two underscores in
    front are Python's own: it keeps warnings under one, for example.)"""
    if type(text) is not str or not text.isidentifier() or text.startswith("__"):
        return ""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


class Names:
    """The names of one program: none is given away twice, nor is one of Python's own.

    >>> names = Names({"sin": "the sine"})
    >>> [names.fresh("f"), names.fresh("f"), names.fresh("sin"), names.fresh("lambda x: x"), names.fresh("print")]
    ['f', 'f_2', 'sin_2', 'value', 'print_2']
    >>> cosine = "the cosine"
    >>> names.bind(cosine, "cos"), names.bind(cosine, "other"), names.values
    ('cos', 'cos', {'sin': 'the sine', 'cos': 'the cosine'})
    """

    def __init__(self, values: Mapping[str, Any], reserved: Iterable[str] = RESERVED) -> None:
        self.values: dict[str, Any] = dict(values)  # what the program is run with
        self._taken = {*reserved, *values}
        self._numbers: dict[str, int] = {}
        self._bound = {id(x): name for name, x in values.items()}

    def fresh(self, wanted: Any, otherwise: str = "value", besides: Container[str] = ()) -> str:
        """A name that nothing else has: the wanted one, or one made from it, or from `otherwise` if it is none at all; and
        none of those `besides`, which others are to have."""
        wanted = found = identifier(wanted) or otherwise
        while found in self._taken or found in besides:
            number = self._numbers[wanted] = self._numbers.get(wanted, 1) + 1
            found = f"{wanted}_{number}"
        self._taken.add(found)
        return found

    def take(self, name: Any) -> bool:
        """Whether just this name was to be had, and is taken now."""
        is_free = identifier(name) == name and name not in self._taken
        self._taken.add(name)
        return is_free

    def inner(self, besides: Iterable[str] = ()) -> Names:
        """The names of a function of the program, which hide none of the program's own, and are none of those `besides`."""
        return Names({}, self._taken.union(besides))

    def bind(self, value: Any, wanted: Any, otherwise: str = "value") -> str:
        """The name by which the program finds an object."""
        found = self._bound.get(id(value))
        if found is None:
            found = self._bound[id(value)] = self.fresh(wanted, otherwise)
            self.values[found] = value
        return found


def functions(codes: Iterable[CodeType], values: Mapping[str, Any]) -> dict[str, FunctionType]:
    """The functions that compiled source defines, each of which finds the values and the functions before it by name.

    A function that were found among its own globals would be a cycle, which waits for the garbage collector. So each has
    globals of its own, with the names alone that it mentions.

    >>> source = "def f(x):\\n    return x + one\\ndef g(x):\\n    return f(f(x))"
    >>> functions([compile(source, "<tracegrad example>", "exec")], {"one": 1})["g"](2)
    4
    """
    namespace = dict(values)
    for code in codes:
        exec(code, namespace)
    made: dict[str, FunctionType] = {}
    for name, x in namespace.items():
        if type(x) is FunctionType and x.__globals__ is namespace:
            found = {n: made.get(n, namespace[n]) for n in mentioned(x.__code__) if n in namespace}
            found["__builtins__"] = namespace["__builtins__"]  # where what NumPy is written in looks for `import`
            made[name] = FunctionType(x.__code__, found, name)
    namespace.clear()
    return made


def line(text: Any) -> str:
    """Text that ends no line and no comment, and can be written to any file: what does not print is escaped.

    >>> print(line("a.py" + chr(10) + "import os"), line("caf" + chr(0xDCE9)))
    a.py\\nimport os caf\\udce9
    """
    text = str.__str__(text)
    if not text.isprintable():
        text = "".join([c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text])
    return text


def comment(text: Any) -> str:
    """Text as a line of its own that does nothing, not even where it comes first and speaks of "coding:".

    >>> print(comment("vim: set fileencoding=utf-7 :"))
    # vim: set fileencoding =utf-7 :
    """
    return "# " + re.sub("coding([:=])", r"coding \1", line(text))


def string(text: str) -> str:
    """A string as source, in double quotes where that takes no escapes.

    >>> print(string("a b"), string('"'), string(chr(10)))
    "a b" '"' "\\n"
    """
    found = str.__repr__(text)
    return found if found[0] == '"' or '"' in found else f'"{found[1:-1]}"'


def literal(value: Any) -> str | None:
    """Source of just this value, or None: for values of Python's own types alone, whose text nobody else writes.

    >>> [literal(x) for x in (None, True, -3, -0.0, "it's", b"", float("inf"), [], 1 << 99)]
    ['None', 'True', '-3', '-0.0', '"it\\'s"', "b''", None, None, None]
    """
    kind = type(value)
    if value is None or kind in (bool, str, bytes):
        return repr(value)
    if value is ...:
        return "..."
    if kind is int:
        return repr(value) if -(1 << 63) <= value < 1 << 64 else None  # Python does not print very long ones
    if kind is float:
        return repr(value) if value - value == 0 else None
    return None
