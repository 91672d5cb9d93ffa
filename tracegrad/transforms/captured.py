"""Arrays that a jitted function closes over: hidden inputs of its program, as their owner has them at each call.

On NumPy a program reads them where they are. On a device it reads copies, which are made anew when the arrays have been
written into. Their shapes and dtypes are those that the program was made for, and so are the values of those that were
looked into (a mask that selects, repeats, edges that have to ascend); where these change, the function is traced anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.graph import Var
from tracegrad.core.types import type_of

# Bytes up to which all of an array is compared with what it was, and how many elements are of a larger one.
WHOLE, SAMPLE = 1 << 18, 4096


def captured(constants: Mapping[Var, Any], looked_into: list[Any]) -> tuple[dict[Var, Captured], list[Captured]]:
    """Of the constants of a Graph and of the arrays that were looked into while it was made, those that somebody else has
    hold of, and may write into: not those that were made while tracing. (One reference too many, from wherever, only makes
    a constant an input.)"""
    looked = {id(x): x for x in looked_into}
    looked_into.clear()  # one reference to each
    both = {id(x) for x in constants.values()}.intersection(looked)

    def shared(found: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
        for key, x, references in _referenced(found):
            if references[0] > _OWN[0] + (id(x) in both) or max(references[1:], default=0) > _OWN[1]:
                yield key, x

    inputs = {v: Captured(x) for v, x in shared(constants)}
    return inputs, [Captured(x, x.tobytes()) for _, x in shared(looked)]


def _referenced(constants: Mapping[Any, Any]) -> Iterator[tuple[Any, ndarray[Any, Any], list[int]]]:
    """The arrays among the constants, each with the number of references to it and to those in whose memory it lies."""
    for v, x in constants.items():
        if type(x) is ndarray:
            references, lies_in = [sys.getrefcount(x)], x.base
            while lies_in is not None:
                # Of memory that is not NumPy's nobody knows who has hold of it.
                references.append(sys.getrefcount(lies_in) if type(lies_in) is ndarray else sys.maxsize)
                lies_in = getattr(lies_in, "base", None)
            yield v, x, references


class Captured:
    """An array from outside, with the type that it had when the function was traced, and if that looked into it, its
    content."""

    __slots__ = ("array", "content", "dtype", "shape")

    def __init__(self, array: ndarray[Any, Any], content: bytes | None = None) -> None:
        self.array = array
        self.dtype = array.dtype
        self.shape = array.shape
        self.content = content

    def change(self) -> str:
        """What has become of it, where the function has to be traced anew."""
        if self.array.shape == self.shape and self.array.dtype is self.dtype:
            if self.content is None or self.content == self.array.tobytes():
                return ""
            return f"the values of an array that the function closes over and looks into: {type_of(self.array)}"
        before = np.broadcast_to(np.empty((), self.dtype), self.shape)
        return f"an array that the function closes over: {type_of(self.array)}, before {type_of(before)}"


class OnDevice:
    """The copy on a device of an array from outside. `put` makes it."""

    def __init__(self, captured: Captured, put: Callable[[ndarray[Any, Any]], Any]) -> None:
        self.captured = captured
        self._put = put
        # The sample is taken before the copy: what is written in between is seen the next time.
        self._latest = self._sample(), put(captured.array)

    def _sample(self) -> bytes:
        x = self.captured.array
        return x.tobytes() if x.nbytes <= WHOLE else x.flat[:: x.size // SAMPLE | 1].tobytes()

    def copy(self) -> Any:
        """The copy, made anew if the array has been written into."""
        found = self._sample()
        seen, copy = self._latest
        if found != seen:
            copy = self._put(self.captured.array)
            self._latest = found, copy
        return copy


# The numbers for an array that only a dict of constants has, and for one that only a view of it has.
_OWN = next(_referenced({0: np.empty(1)[:]}))[2]
