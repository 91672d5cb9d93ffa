"""What stands for a value that somebody looks at, in a Graph: `tg.debug.probe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracegrad.core.op import OPS, MaskRules, Op, Params
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.ops.masks import Masked


def _noted(d: Any, primal: Any, params: Params, what: str) -> Any:
    """A derivative at the same point. One of a derivative is no further one."""
    if params["what"] != "primal" or d is None:
        return d
    if type(d) is Masked:
        return Masked(_noted(d.filled(), primal, params, what), d.mask, True)
    if type(d) is not Tracer and type(primal) is Tracer:
        d = primal.origin.constant_like(d, primal)  # so that it is an equation of the same Graph
    return bind(OPS["probe"], (d,), {**params, "what": what})


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return _noted(tangents[0], primals[0], params, "tangent")


def _vjp(wanted: Any, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    return [_noted(ct, primals[0], params, "cotangent")]


# What stands for a probe where a function is run for what its probes see: the value as it is. No program has it.
probe_op = Op(
    "probe",
    evaluate=lambda x, name, what: x,
    infer=lambda types, params: types[0],
    jvp=_jvp,
    vjp=_vjp,
    masked=MaskRules(_jvp, _vjp, singular=False),
    linear=[{0}],
    batch=lambda size, batched, inputs, params: bind(OPS["probe"], tuple(inputs), params),
    kinds="",
)
