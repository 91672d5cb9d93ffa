"""Forward mode while the function runs: a tangent is pushed through each equation as this is recorded, and values go when the function
that is traced lets go of them.

What is written into, and which values depend on the inputs, is read off a trace's equations, so that these stay, and the tracers in
them, which are what tells one variable from another. A tracer's value is of use to nobody but those who have the tracer. Python
knows how many have it: where these are the equations alone, the value goes, and with it the tangent.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getrefcount
from typing import Any

from tracegrad.core.numpy_warnings import watch
from tracegrad.core.trace import Equation, Trace
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import needed
from tracegrad.ops.masks import filled
from tracegrad.transforms.linear import pushed_through, pushforward

# So much more than there is may have been made before somebody looks what has become of it, in bytes and in variables.
_BYTES = 1 << 16
_VARIABLES = 6


def _references(held: dict[int, Any], key: int) -> int:
    """By how many a value of the dict is referred to: by as many more than there are besides this, for all alike."""
    tracer = held[key]
    return getrefcount(tracer)


_NOBODY = _references({0: object()}, 0)  # who has it besides the dict


class Forward:
    """What records the equations of a trace from inputs with these tangents (None: zero)."""

    __slots__ = ("bases", "eqns", "held", "later", "made", "named", "room", "starts", "tangents", "trace", "views")

    def __init__(self, trace: Trace, inputs: Sequence[Tracer], tangents: Sequence[Any]) -> None:
        self.trace = trace
        self.eqns = trace.eqns
        self.starts = tangents
        self.tangents: dict[int, Any] = {id(x): t for x, t in zip(inputs, tangents, strict=True) if t is not None}
        # The variables that have values; how many times equations name them, how many views of them there are, and what they are
        # views of. All by id.
        self.held: dict[int, Any] = {}
        self.named: dict[int, int] = {}
        self.views: dict[int, int] = {}
        self.bases: dict[int, int] = {}
        self.made = 0  # bytes, since somebody looked
        self.room = (_VARIABLES, _BYTES)
        # Where equations are recognised, which others take the place of, all that follow wait until the outputs are known.
        self.later: list[Equation] = []
        trace.record = self

    def __call__(self, eqn: Equation) -> None:
        op, inputs, _, params, out, wanted, _ = eqn
        outs: Any = out if op.multiple_results else (out,)
        # In tuples of its own: others may be the user's, who has then what is in them.
        own: Any = tuple([*out]) if op.multiple_results else out
        self.eqns.append((op, tuple([*inputs]), (), params, own, wanted, None))
        if self.trace.prunes:
            self.later.append(eqn)
            return
        found = pushed_through(eqn, self.tangents)
        held, named = self.held, self.named
        for x in inputs:
            if (key := id(x)) in named:
                named[key] += 1
        for o in outs:
            key = id(o)
            held[key], named[key] = o, 1
            self.made += getattr(o.value, "nbytes", 0)
            if op.view is not None and (base := id(inputs[0])) in held:
                self.bases[key] = base
                self.views[base] = self.views.get(base, 0) + 1
        for o, tangent in zip(outs, found, strict=False):  # there may be none
            if tangent is not None:
                self.tangents[id(o)] = tangent
        count, size = self.room
        if len(held) > count or self.made > size:
            self.let_go()

    def let_go(self) -> None:
        """Have values go that nobody can ask for."""
        held, named, size = self.held, self.named, 0
        for key in reversed(list(held)):  # a view before what it is a view of
            if self.views.get(key) or _references(held, key) - named[key] != _NOBODY:
                size += getattr(held[key].value, "nbytes", 0)
                continue
            tracer = held.pop(key)
            del named[key]
            tracer._type = tracer.type
            tracer.value = None
            self.tangents.pop(key, None)
            base = self.bases.pop(key, None)
            if base is not None:
                self.views[base] -= 1
        self.made = 0
        self.room = 2 * len(held) + _VARIABLES, max(size // 4, _BYTES)

    def of(self, outputs: Sequence[Any]) -> list[Any]:
        """The tangents of the outputs, None for zero, when the trace has ended."""
        found = self.tangents
        if self.later:
            found = pushforward(needed(self.later, outputs, derivative=True), found, outputs)
        trace = self.trace
        return [filled(found.get(id(x))) if type(x) is Tracer and x.origin is trace else None for x in outputs]


watch(globals())
