"""What of a trace takes part in a derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracegrad.trace import Equation, Trace


def pruned(eqns: Sequence[Equation], outputs: Sequence[Any], trace: Trace) -> Sequence[Equation]:
    """The equations through which tangents reach the outputs. In a trace that asks for it (`Trace.prunes`): there is a
    decomposition in it, of which some parts may have no derivative, and need none where nothing depends on them."""
    if not trace.prunes:
        return eqns
    live = {id(x) for x in outputs}
    kept = []
    for eqn in reversed(eqns):
        op, inputs, _, params, out, wanted = eqn
        if (any(id(o) in live for o in out)) if op.several else id(out) in live:
            kept.append(eqn)
            data = () if op.data is None else op.data(params)
            live.update([id(inputs[i]) for i in wanted if i not in data])
    return kept[::-1]
