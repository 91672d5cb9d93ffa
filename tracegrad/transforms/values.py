"""Which values of a running trace are of use yet.

What is written into, and which values depend on the inputs, is read off a trace's equations, so that these stay, and the tracers in
them, which are what tells one variable from another. A tracer's value is of use to nobody but those who have the tracer. Python
knows how many have it: where these are the equations alone, the value goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getrefcount
from typing import Any

from numpy import ndarray

from tracegrad.core.constants import LARGE
from tracegrad.core.op import Op
from tracegrad.core.trace import Equation, Trace
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType

# So many more variables than there are may have been made before somebody looks what has become of them, or LARGE bytes.
_VARIABLES = 6

_GONE = Trace("derivative", None, abstract=True)
_GONE.end()


def stand_in(type: ArrayType) -> Tracer:
    """In place of a value that has gone: it has the type, and says so loudly if it is computed with."""
    return Tracer(_GONE, None, None, type)


def has_gone(x: Any) -> bool:
    """Whether it is such."""
    return type(x) is Tracer and x.origin is _GONE


def _nobody() -> int:
    """What Python counts where nobody has a value but a dict: by as many more as there are besides, for all alike."""
    held = {0: object()}
    return getrefcount(held[0])


_NOBODY = _nobody()


class Values:
    """The variables that have values which may go; how many times equations name them, how many views of them there are, and what
    they are views of. All by id."""

    __slots__ = ("bases", "held", "made", "named", "room", "views")

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}
        self.named: dict[int, int] = {}
        self.views: dict[int, int] = {}
        self.bases: dict[int, int] = {}
        self.made = 0  # bytes, since somebody looked
        self.room = (_VARIABLES, LARGE)

    @staticmethod
    def own(eqn: Equation, values: Sequence[Any], residuals: Any) -> Equation:
        """The equation with tuples of its own: others may be the user's, who has then what is in them."""
        op, inputs, _, params, out, wanted, _ = eqn
        own: Any = (*out,) if op.multiple_results else out
        return op, (*inputs,), values, params, own, wanted, residuals

    def note(self, op: Op, inputs: Sequence[Any], outs: Sequence[Any], may_go: bool = True) -> None:
        """Note an equation that has been recorded."""
        held, named = self.held, self.named
        for x in inputs:
            if (key := id(x)) in named:
                named[key] += 1
        if not may_go:
            return
        for o in outs:
            key = id(o)
            held[key] = o
            named[key] = 1
            value = o.value
            self.made += value.nbytes if type(value) is ndarray else getattr(value, "nbytes", 0)
            if op.view is not None and (base := id(inputs[0])) in held:
                self.bases[key] = base
                self.views[base] = self.views.get(base, 0) + 1
        count, size = self.room
        if len(held) > count or self.made > size:
            self.let_go()

    def let_go(self) -> None:
        """Have values go that nobody can ask for."""
        held, named, size = self.held, self.named, 0
        for key in reversed(list(held)):  # a view before what it is a view of
            if self.views.get(key) or getrefcount(held[key]) - named[key] != _NOBODY:
                size += getattr(held[key].value, "nbytes", 0)
                continue
            tracer = held.pop(key)
            del named[key]
            tracer._type = tracer.type
            tracer.value = stand_in(tracer._type)
            self.gone(key)
            base = self.bases.pop(key, None)
            if base is not None:
                self.views[base] -= 1
        self.made = 0
        self.room = 2 * len(held) + _VARIABLES, max(size // 4, LARGE)

    def gone(self, key: int) -> None:
        """What else goes with a variable's value."""
