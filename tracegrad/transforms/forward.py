"""Forward mode while the function runs: a tangent is pushed through each equation as this is recorded, and goes with the value when the
function that is traced lets go of that (`values.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracegrad.core.numpy_warnings import watch
from tracegrad.core.trace import Equation, Trace
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import needed
from tracegrad.ops.masks import filled
from tracegrad.transforms.linear import pushed_through, pushforward
from tracegrad.transforms.values import Values


class Forward(Values):
    """What records the equations of a trace from inputs with these tangents (None: zero)."""

    __slots__ = ("eqns", "later", "starts", "tangents", "trace")

    def __init__(self, trace: Trace, inputs: Sequence[Tracer], tangents: Sequence[Any]) -> None:
        super().__init__()
        self.trace = trace
        self.eqns = trace.eqns
        self.starts = tangents
        self.tangents: dict[int, Any] = {id(x): t for x, t in zip(inputs, tangents, strict=True) if t is not None}
        # Where equations are recognised, which others take the place of, all that follow wait until the outputs are known.
        self.later: list[Equation] = []
        trace.record = self

    def __call__(self, eqn: Equation) -> None:
        self.eqns.append(self.own(eqn, (), None))
        if self.trace.prunes:
            self.later.append(eqn)
            return
        op, inputs, out = eqn[0], eqn[1], eqn[4]
        tangents = self.tangents
        outs: Any = out if op.multiple_results else (out,)
        for o, tangent in zip(outs, pushed_through(eqn, tangents), strict=False):  # there may be none
            if tangent is not None:
                tangents[id(o)] = tangent
        self.note(op, inputs, outs)

    def gone(self, key: int) -> None:
        self.tangents.pop(key, None)

    def of(self, outputs: Sequence[Any]) -> list[Any]:
        """The tangents of the outputs, None for zero, when the trace has ended."""
        found = self.tangents
        if self.later:
            found = pushforward(needed(self.later, outputs, derivative=True), found, outputs)
        trace = self.trace
        return [filled(found.get(id(x))) if type(x) is Tracer and x.origin is trace else None for x in outputs]


watch(globals())
