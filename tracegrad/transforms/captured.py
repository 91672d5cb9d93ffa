"""Arrays that a jitted function closes over: hidden inputs of its program, as their owner has them at each call.

On NumPy a program reads them where they are. On a device it reads copies, which are made anew when the arrays have been
written into. Their shapes and dtypes are those that the program was made for, and so are the values of those that were
looked into (a mask that selects, repeats, edges that have to ascend); where these change, the function is traced anew.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.constants import Lasting, frozen_copy, is_same
from tracegrad.core.graph import Graph, Var
from tracegrad.core.types import type_of


def captured(constants: Mapping[Var, Any], lasting: Lasting) -> tuple[dict[Var, Captured], list[Captured], str]:
    """Of the constants of a Graph and of the arrays that were looked into while it was made, those that somebody else has
    hold of, and may write into, and those that were looked into: not those that were made while tracing. (One reference too many, from wherever, only makes
    a constant an input.) And why the Graph is for one call alone, if it is."""
    lasting.settle()
    contents = {key: content for key, (_, content) in lasting.looked_into.items()}
    looked = {key: x for key, (x, _) in lasting.looked_into.items()}
    written = dict(lasting.written)
    lasting.looked_into.clear()
    lasting.written.clear()
    theirs = _shared([constants, looked, written])
    inputs = {v: Captured(x) for v, x in constants.items() if id(x) in theirs and id(x) not in looked}
    once = next(
        (
            f"{type_of(x)}, which it closes over, was written into meanwhile"
            for x in written.values()
            if id(x) in theirs
        ),
        "",
    )
    return inputs, [Captured(x, contents[key]) for key, x in looked.items() if key in theirs], once


def look_into_constants(graph: Graph, lasting: Lasting) -> None:
    """Have a program depend on the values of the small arrays of indices among its constants of which it makes something that
    saves more time than comparing them at each call takes."""
    for eqn in graph.eqns:
        if eqn.op.with_constants is not None:
            for x in [graph.consts.get(a) for a in eqn.inputs if type(a) is Var]:
                if type(x) is ndarray and x.dtype.kind in "iu" and x.size <= 1 << 14:
                    lasting.look_into(x)


def _shared(mappings: Sequence[Mapping[Any, Any]]) -> set[int]:
    """The ids of the arrays in some dicts, which nothing else of ours refers to, that somebody else has, or arrays in whose
    memory they lie: those with more references than an array that nobody else has."""
    probe = {None: np.empty(1)[:]}
    every: dict[int, Any] = {}  # the arrays, and those in whose memory they lie
    references: collections.Counter[int] = collections.Counter()  # from the dicts and from each other
    for mapping in (probe, *mappings):
        for x in mapping.values():
            if type(x) is ndarray:
                references[id(x)] += 1
                while type(x) is ndarray and id(x) not in every:
                    every[id(x)] = x
                    references[id(x.base)] += 1
                    x = x.base
    del mapping, x
    more = {key: sys.getrefcount(x) - references[key] for key, x in every.items()}
    least = more[id(probe[None])]
    found: set[int] = set()
    for key, x in every.items():
        while type(x) is ndarray and more[id(x)] <= least:
            x = x.base
        if x is not None:  # of memory that is not NumPy's nobody knows who has hold of it
            found.add(key)
    return found


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
        self._latest = self._taken()

    def _taken(self) -> tuple[ndarray[Any, Any], Any]:
        """What the array holds now, here and on the device."""
        here = frozen_copy(self.captured.array)
        return here, self._put(here)

    def copy(self) -> Any:
        """The copy, made anew if the array has been written into."""
        here, copy = self._latest
        if not is_same(self.captured.array, here):
            self._latest = _, copy = self._taken()
        return copy
