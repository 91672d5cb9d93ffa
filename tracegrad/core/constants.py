"""Arrays that a traced function has from outside, as they were when it used them.

Whoever owns them may write into them at any time: the function itself, when it goes on, or another thread. What a derivative
or a Graph needs later is therefore a copy of what was there when an op read it, and the op itself reads the copy, so that no
two of them can differ. (A checksum that catches all that is done to arrays, and does so twice, takes eight times as long as
one copy, and could only raise.) Nothing of the array itself is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.memory import copied

SMALL = 4096  # bytes that are copied in less time than it takes to find out whether they have been
LARGE = 1 << 16  # bytes of an array that is not kept longer than somebody needs it
_AS_BYTES = 1 << 14  # up to here two arrays are quicker compared as bytes than bit pattern by bit pattern

Array = ndarray[Any, Any]


def is_immutable(array: Array) -> bool:
    """Whether nobody can write into an array: neither it nor the array that owns its memory is writeable, or the memory is
    of an object that lets nobody write (bytes, a file that was mapped to be read)."""
    owner: Any = array
    while isinstance(owner, ndarray | memoryview):
        if isinstance(owner, memoryview):
            owner = owner.obj
            continue
        if owner.flags.writeable:
            return False
        if owner.base is None:
            return True
        owner = owner.base
    try:
        return memoryview(owner).readonly
    except TypeError:
        return False


def frozen_copy(array: Array) -> Array:
    """A copy that lies in memory as the array does, and is immutable."""
    copy = copied(array)
    owner: Array | None = copy
    while owner is not None:
        owner.flags.writeable = False
        owner = owner.base
    return copy


def is_same(x: Array, y: Array) -> bool:
    """Whether two arrays of one shape and dtype are equal bit by bit."""
    if x.nbytes <= _AS_BYTES or x.itemsize not in (1, 2, 4, 8):
        if x.dtype.kind == "c" and x.itemsize == 16:
            return is_same(x.real, y.real) and is_same(x.imag, y.imag)
        return x.tobytes() == y.tobytes()
    bits = f"u{x.itemsize}"
    return np.array_equal(x.view(bits), y.view(bits))


class Constants:
    """The copies that a trace, or all traces of one program, have of the arrays that they were given from outside: one for
    each content that an array had."""

    def __init__(self) -> None:
        self._copies: dict[Any, Array] = {}  # the latest, by where the array lies in memory and how

    def copy_of(self, array: Array) -> Array:
        """What the array holds now, for good."""
        if is_immutable(array):
            return array
        key = array.__array_interface__["data"][0], array.shape, array.strides, array.dtype
        copy = self._copies.get(key)
        if copy is None or not is_same(array, copy):
            copy = self._copies[key] = frozen_copy(array)
            self.note(array, copy)
        return copy

    def note(self, array: Array, copy: Array) -> None:
        """A further copy has been made."""


class Lasting(Constants):
    """Those of a program that will be run again, when the arrays may have been written into: it reads them anew then, so its
    Graph has the arrays themselves, but for those that were written into while it was traced. Of such it has what they held,
    and if somebody has them still, the program is for one call alone: what the function writes it will write anew, and what
    another thread writes may be read.

    looked_into     arrays whose values the traced function looked at, each with what it held then: for that alone the program
                    holds
    written         arrays that were written into while the function was traced, after it had used them
    drawn           the inputs that are keys from which random numbers are drawn, by their positions: by what and where
    """

    def __init__(self) -> None:
        super().__init__()
        self._originals: dict[int, tuple[Array, Array]] = {}
        self.looked_into: dict[int, tuple[Array, bytes]] = {}
        self.written: dict[int, Array] = {}
        self.drawn: Mapping[int, tuple[str, Any]] = {}

    def note(self, array: Array, copy: Array) -> None:
        self._originals[id(copy)] = array, copy

    def original(self, copy: Array) -> Array:
        """What a Graph is to have in place of a copy."""
        array, _ = self._originals.get(id(copy), (copy, copy))
        if array is copy or id(array) in self.written:
            return copy
        if array.shape == copy.shape and array.dtype == copy.dtype and is_same(array, copy):
            return array
        self.written[id(array)] = array
        return copy

    def look_into(self, array: Array) -> None:
        """Note that the values which an array holds now have been looked at."""
        array, _ = self._originals.get(id(array), (array, array))
        self.looked_into.setdefault(id(array), (array, array.tobytes()))

    def settle(self) -> None:
        """Let go of all that the Graph, which is made, has no use for."""
        self._copies.clear()
        self._originals.clear()
