"""Whose memory the variables of a Graph lie in, when it is read last, and what may be written over it."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tracegrad.core.graph import Atom, Eqn, Graph, Var
from tracegrad.core.memory import in_c_order
from tracegrad.core.types import ArrayType
from tracegrad.lower.numpy.layouts import Layouts

# In bytes. From this size on dead arrays are let go, so that their memory is used again while it is in the cache.
MEDIUM = 1024

# In bytes. From this size on an array may be memory that malloc has from the kernel, and gives back.
LENT = 1 << 17

# Beyond so many arrays in whose memory a variable may lie, they are not told apart any more: they may lie ANYWHERE, and
# none of them is written over. Without a bound a chain of views would take time quadratic in its length.
MANY = 8
ANYWHERE = Var(ArrayType((), np.dtype(bool)))


@functools.cache
def keep_freed_memory() -> None:
    """Have malloc keep what a call frees for the next one. glibc's gives back to the kernel what is free at the end of its memory, beyond
    twice the largest array that was ever freed, and each page that comes again costs a microsecond: a third of the time of a network of
    convolutions. One array of 31 MiB, which nobody touches, makes that 62 MiB for good, as any such array of the user's does. Another
    malloc takes no notice."""
    with contextlib.suppress(MemoryError):
        np.empty(31 << 20, np.uint8)


class Memory:
    """The memory of a function that runs the equations of a Graph one after the other; `i` is the number of one of them.

    `roots` are the variables whose arrays a variable may lie in, itself if it is none of an input's, `pinned` those that are
    never written over: what the function is given, but for what is `donated`, and what it returns. Where nobody compares
    bits, `layouts` are None.
    """

    def __init__(self, graph: Graph, layouts: Layouts | None, donated: frozenset[Var] = frozenset()) -> None:
        self.layouts = layouts
        self.given = {*graph.inputs, *graph.consts} - donated
        self.pinned = {*self.given, ANYWHERE}
        self.roots: dict[Var, frozenset[Var]] = {v: frozenset([v]) for v in (*graph.inputs, *graph.consts)}
        self._read: dict[Var, int] = {}  # where each variable is read last
        self._last: dict[Var, int] = {}  # where each root is
        self._writeable = set(donated)  # what is an array of ours, or a view of one that may be written into
        for i, eqn in enumerate(graph.eqns):
            op, view = eqn.op, eqn.op.view
            for a in eqn.inputs:
                self._reads(a, i)
            for v in eqn.outputs:
                if layouts is not None:
                    layouts[v] = eqn
                is_fresh = op.never_aliases or (view is not None and not v.type.shape and _is_number(eqn))
                self.roots[v] = frozenset([v]) if is_fresh else self._shared(eqn) | {v}
                if v.type.shape and (is_fresh or (view is not None and view.put and eqn.inputs[0] in self._writeable)):
                    self._writeable.add(v)
        for a in graph.outputs:
            self._reads(a, len(graph.eqns))
            if type(a) is Var:
                self.pinned |= self.roots[a]

    def _reads(self, atom: Atom, i: int) -> None:
        if type(atom) is Var:
            self._read[atom] = i
            for root in self.roots[atom]:
                self._last[root] = i

    def _shared(self, eqn: Eqn) -> frozenset[Var]:
        """The roots of the inputs of an equation whose outputs may be views of them."""
        shared = frozenset().union(*[self.roots[a] for a in eqn.inputs if type(a) is Var])
        if len(shared) > MANY:
            self.pinned |= shared
        # Without any it is a constant broadcast, which nobody may write into.
        return shared if 0 < len(shared) <= MANY else frozenset([ANYWHERE])

    def dies(self, v: Var, i: int) -> bool:
        """Whether the variable owns its array, and this equation reads it last."""
        return v not in self.pinned and self._last.get(v) == i and len(self.roots[v]) == 1

    def lives_on(self, v: Var) -> None:
        """Have the memory that the variable lies in never die: another one has it from now on."""
        self._read[v] = -1
        for root in self.roots[v]:
            self._last[root] = -1

    def dead(self, eqn: Eqn, i: int) -> Iterator[tuple[Var, bool]]:
        """The larger variables that nothing reads any more behind an equation: views of what others own, or of what is
        pinned; and with True those that own their array."""
        inputs = dict.fromkeys([a for a in eqn.inputs if type(a) is Var])
        for a in inputs:
            is_shared = len(self.roots[a]) > 1 or a in self.pinned
            if is_shared and a not in self.given and self._read[a] == i and size_of(a.type) >= MEDIUM:
                yield a, False
        for root in dict.fromkeys([r for a in inputs for r in self.roots[a]]):
            if self.dies(root, i) and size_of(root.type) >= MEDIUM:
                yield root, True

    def may_overwrite(self, eqn: Eqn, i: int, in_spare: bool) -> bool:
        """Whether an equation whose output is its first input but for a part may write that into it: where nothing reads
        what lies in that memory any more. `in_spare` says whether it is memory that must not be returned."""
        x, (made,) = eqn.inputs[0], eqn.outputs
        if x not in self._writeable:
            return False
        memory = self.roots[x]
        if any([r in self.pinned or self._last[r] != i for r in memory]):
            return False
        if self.layouts is not None and not self.layouts.is_dense(x):
            return False  # a copy has no gaps
        if made in self.pinned and (len(memory) > 1 or in_spare):
            return False  # what is returned holds no other array alive
        # NumPy minds what overlaps, but for arrays of indices.
        overlaps = [type(a) is Var and not memory.isdisjoint(self.roots[a]) for a in eqn.inputs[1:]]
        return len(eqn.inputs) == 2 or not any(overlaps)

    def overwritten(self, eqn: Eqn) -> None:
        """Note that an equation has been written into its first input."""
        self.lives_on(eqn.inputs[0])  # type: ignore[arg-type]
        self._writeable.add(eqn.outputs[0])

    def lie_alike(self, v: Var, made: Var) -> bool:
        """Whether NumPy lays out a new array as that of `v` lies."""
        if self.layouts is None:
            return True
        found, wanted = self.layouts.of(v), self.layouts.of(made)
        if found.strides != wanted.strides or not self.layouts.is_dense(v):
            return False
        self.layouts.assumed |= wanted.assumed
        return True

    def neighbours(self, outputs: Sequence[Atom]) -> Iterator[list[Var]]:
        """For each of what a function returns, what else the caller sees that may lie in the same memory: arguments,
        constants, and what is returned before it. Of more than `MANY` only so many that this is seen."""
        visible: dict[Var, list[Var]] = {v: [v] for v in self.given}  # by the root that it may lie in
        anywhere = any([type(a) is Var and ANYWHERE in self.roots[a] for a in outputs])
        for a in outputs:
            if type(a) is not Var or a.type.weak:
                yield []
                continue
            roots = visible if anywhere else self.roots[a]
            found: dict[Var, None] = {}
            for o in itertools.chain.from_iterable(visible.get(r, ()) for r in roots):
                found[o] = None
                if len(found) > MANY:
                    break
            yield list(found)
            for r in self.roots[a]:
                visible.setdefault(r, []).append(a)


def _is_number(eqn: Eqn) -> bool:
    """Whether the output of an equation that makes views, in some cases, is a number, as x[3] is."""
    assert eqn.op.view is not None
    of = eqn.inputs[0].type
    return eqn.op.view.layout(np.empty(of.shape, of.dtype), **eqn.params) is None


def size_of(type: ArrayType) -> int:
    """In bytes, and nothing for a scalar."""
    return type.size * type.dtype.itemsize if type.shape else 0


def bytes_moved(eqn: Eqn) -> int:
    """The bytes that an equation reads and writes."""
    return sum([size_of(a.type) for a in (*eqn.inputs, *eqn.outputs)])


def is_view(eqn: Eqn, strides: Any = None) -> bool:
    """Whether what an equation makes lies in the memory of its first input, which has these strides, in elements; C order if none
    are known."""
    view = eqn.op.view
    if view is None or not eqn.outputs[0].type.shape:
        return False
    of = eqn.inputs[0].type
    ordered = in_c_order(of.shape)
    steps = strides if type(strides) is tuple else ordered
    reach = [s * (n - 1) for s, n in zip(steps, of.shape, strict=True)]
    # One that does not lie in C order may be copied to find out, and so needs memory.
    size = 1 if steps == ordered else 1 + sum(map(abs, reach))
    if size > _SEEN:
        return False
    first = -sum([r for r in reach if r < 0]) if size > 1 else 0
    memory = np.empty(size, of.dtype)[first:]
    there = as_strided(memory, of.shape, [s * of.dtype.itemsize for s in steps])
    return view.layout(there, **eqn.params) is not None


_SEEN = 1 << 20  # elements of an array that is made to see what is a view of it
