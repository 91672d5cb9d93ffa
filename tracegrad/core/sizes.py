"""Sizes that a program is to hold for all of: numbers that note what the user's code compares them with.

A function is traced at some sizes, to find what it does at any (transforms/jit/sizes.py). What Python decides by a size is not in
the Graph, so a `Size` writes down each comparison that the user's code makes, with its line and how it came out.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from tracegrad.core.errors import ConcretizationTypeError, RawSource, at, is_of_a_library, user_source


class Comparison(NamedTuple):
    """`left compare right` at a line of the user's, and whether it held."""

    compare: Callable[[Any, Any], bool]
    left: int
    right: int
    holds: bool
    source: RawSource


class Size(int):
    """A size, whose comparisons in the user's code are appended to `noted`. Sums, differences and products are sizes too."""

    noted: list[Comparison]

    def __new__(cls, value: int, noted: list[Comparison]) -> Size:
        found = super().__new__(cls, value)
        found.noted = noted
        return found

    def counted(self) -> int:
        """What `len` makes of it, a plain number, which the user's code would compare unseen."""
        if not is_of_a_library(sys._getframe(2).f_code.co_filename):
            raise ConcretizationTypeError(
                f"len(){at(user_source())} of an axis that jit(dims=...) names; write x.shape[0], which may be any number"
            )
        return int(self)

    def __reduce__(self) -> Any:
        return int, (int(self),)


def _computing(name: str) -> Callable[[Size, Any], Any]:
    plain = getattr(int, name)

    def method(self: Size, other: Any) -> Any:
        found = plain(self, other)
        return found if found is NotImplemented else Size(found, self.noted)

    return method


def _comparing(name: str) -> Callable[[Size, Any], Any]:
    plain, compare = getattr(int, name), getattr(operator, name)

    def method(self: Size, other: Any) -> Any:
        found = plain(self, other)
        if found is not NotImplemented and not is_of_a_library(sys._getframe(1).f_code.co_filename):
            self.noted.append(Comparison(compare, int(self), int(other), found, user_source()))
        return found

    return method


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul"):
    setattr(Size, f"__{_name}__", _computing(f"__{_name}__"))
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    setattr(Size, f"__{_name}__", _comparing(f"__{_name}__"))
Size.__hash__ = int.__hash__  # type: ignore[method-assign]
