"""How the arrays of a Graph lie in memory, as far as the Graph says so: what its passes and its lowering have to leave as it
is, since NumPy's bits depend on it (see `tracegrad/core/memory.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var
from tracegrad.core.memory import Strides, axes_of, in_c_order, is_c_order, is_dense, new_strides, strides_of
from tracegrad.core.op import Definitions
from tracegrad.core.types import ArrayType


class Unknown(NamedTuple):
    """A layout that nothing is known of but that it is the layout of this variable; or, if `dense`, that of what NumPy makes
    of it element by element."""

    like: Var
    dense: bool


class Layout(NamedTuple):
    """Strides, or what stands for them; and of which inputs it was taken for granted that they are in C order without
    gaps, a bit for each."""

    strides: Strides | Unknown
    assumed: int = 0


_SCALAR = Layout(())


class Layouts(Definitions):
    """The equations of a Graph by the variables that they make, and the layouts of these, found when somebody asks. Inputs
    are taken to lie in C order without gaps, or with `any_order`, to lie anyhow; of the last ones it may be known (None where
    it is not). One that `guesses` takes for granted that what nothing is known of is in C order."""

    def __init__(
        self, graph: Graph, any_order: bool = False, last: Sequence[Strides | None] = (), guesses: bool = False
    ) -> None:
        super().__init__()
        self._guesses = guesses
        self._found: dict[Var, Layout] = {}
        self.assumed = 0  # what answers were given because of
        for i, v in enumerate(graph.inputs):
            shape = v.type.shape
            if any_order and shape:
                self._found[v] = Layout(Unknown(v, False))
            else:
                self._found[v] = Layout(in_c_order(shape), 1 << i if shape else 0)
        for v, strides in zip(graph.inputs[len(graph.inputs) - len(last) :], last, strict=True):
            self._found[v] = Layout(Unknown(v, False) if strides is None else strides)
        for v, x in graph.consts.items():
            known = strides_of(x) if type(x) is np.ndarray else None
            self._found[v] = Layout(
                known if known is not None else in_c_order(v.type.shape) if guesses else Unknown(v, False)
            )

    def made_by(self, eqn: Eqn) -> Layout:
        """The layout of what an equation makes."""
        return layout_of(eqn, eqn.outputs[0], [self.of(a) for a in eqn.inputs])

    def of(self, atom: Atom) -> Layout:
        if type(atom) is Literal:
            return _SCALAR
        found = self._found
        if atom in found:
            return found[atom]
        waiting: list[Any] = [atom]
        while waiting:
            v = waiting[-1]
            eqn = self[v]
            before = [a for a in eqn.inputs if type(a) is Var and a not in found]
            if before:
                waiting += before
            else:
                waiting.pop()
                inputs = [found[a] if type(a) is Var else _SCALAR for a in eqn.inputs]
                found[v] = layout_of(eqn, v, inputs)
                if self._guesses and type(found[v].strides) is Unknown:
                    found[v] = Layout(in_c_order(v.type.shape))
        return found[atom]  # type: ignore[index]

    def is_dense(self, x: Atom) -> bool:
        found, assumed = self.of(x)
        is_so = found.dense if type(found) is Unknown else is_dense(x.type.shape, found)  # type: ignore[arg-type]
        return self._because(assumed, is_so)

    def is_block(self, x: Atom) -> bool:
        """Whether a matrix is known to lie without gaps, row by row or column by column."""
        return type(self.of(x).strides) is not Unknown and self.is_dense(x)

    def lies_like(self, v: Var, found: Atom | None = None) -> None:
        """Note that what makes a variable writes it over an array that lies like that of another, or in C order."""
        self._found[v] = Layout(in_c_order(v.type.shape)) if found is None else self.of(found)

    def is_in_c_order(self, x: Atom) -> bool:
        found, assumed = self.of(x)
        return self._because(assumed, found == in_c_order(x.type.shape))

    def goes_forwards(self, x: Atom) -> bool:
        """Whether no axis is known to lie backwards, or may."""
        found, assumed = self.of(x)
        is_so = found.dense if type(found) is Unknown else min(found, default=0) >= 0  # type: ignore[type-var, operator]
        return self._because(assumed, is_so)

    def _because(self, assumed: int, is_so: bool) -> bool:
        if is_so:
            self.assumed |= assumed
        return is_so


def layout_of(eqn: Eqn, v: Var, inputs: Sequence[Layout]) -> Layout:
    """The layout of an output of an equation, for inputs that lie as said."""
    shape, op = v.type.shape, eqn.op
    if not shape:
        return _SCALAR
    is_ufunc = isinstance(op.evaluate, np.ufunc) and op.evaluate.signature is None
    if is_ufunc:
        ordered = in_c_order(shape)
        for x in inputs:
            if x.strides == ordered and not x.assumed:
                return x
    types = [a.type for a in eqn.inputs]
    if is_ufunc:
        return elementwise_layout(v, types, inputs)
    if op.elementwise and op.strides is None:
        # Of what is made of several functions, or may be its input, it is known where all is in C order without gaps.
        if all([x.strides == in_c_order(t.shape) for t, x in zip(types, inputs, strict=True)]):
            return Layout(in_c_order(shape), _assumed(inputs))
        return Layout(Unknown(v, op.never_aliases))
    if op.strides is not None:
        known = [None if type(x.strides) is Unknown else x.strides for x in inputs]
        anyhow = op.strides([None] * len(inputs), types, eqn.params)
        strides = op.strides(known, types, eqn.params) if anyhow is None else anyhow
        if strides is not None:
            strides = tuple([s if n > 1 else 0 for s, n in zip(strides, shape, strict=True)])
            return Layout(strides, _assumed(inputs) if anyhow is None else 0)
        if op.never_aliases:
            return Layout(in_c_order(shape) if axes_of(shape) <= 1 else Unknown(v, True))
    return Layout(Unknown(v, False))


def _assumed(inputs: Sequence[Layout]) -> int:
    found = 0
    for x in inputs:
        found |= x.assumed
    return found


def elementwise_layout(v: Var, types: Sequence[ArrayType], inputs: Sequence[Layout]) -> Layout:
    """The layout of what a ufunc makes."""
    shape = v.type.shape
    if axes_of(shape) <= 1:
        return Layout(in_c_order(shape))
    # An operand with one axis has no say in the order of axes.
    operands = [x for t, x in zip(types, inputs, strict=True) if axes_of(t.shape) > 1]
    known = [x for x in operands if type(x.strides) is not Unknown]
    in_order = [x for x in known if len(x.strides) == len(shape) and is_c_order(shape, x.strides)]  # type: ignore[arg-type]
    if in_order:  # C order wins
        return Layout(in_c_order(shape), min([x.assumed for x in in_order]))
    if len(known) == len(operands):
        return Layout(new_strides(shape, [x.strides for x in known]), _assumed(known))  # type: ignore[misc]
    like = {x.strides.like for x in operands if type(x.strides) is Unknown}
    is_alone = len(like) == 1 and not known and all([t.shape == shape for t in types if axes_of(t.shape) > 1])
    return Layout(Unknown(like.pop() if is_alone else v, True))
