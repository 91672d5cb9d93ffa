"""Programs that run again, with other arrays in the place of those that the traced function closed over: what is made of these
alone is recorded too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.context import context, traces_here
from tracegrad.core.numpy_warnings import watch
from tracegrad.core.op import Op, Params
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import Tracer, depends_on, in_program, is_written
from tracegrad.core.types import DIRECT, number_kind


def bind_constant(op: Op, x: Any, params: Params, beside: Any) -> Any:
    """Apply an op to a plain value in the trace of types that is at work on the tracer `beside`, if there is one: its
    Graph has then the op, and not an array that is the result."""
    trace = _trace_of_types(beside)
    return bind(op, (x,), params) if trace is None else trace.apply_to_constant(op, x, params)


def _trace_of_types(x: Any) -> Trace | None:
    """The trace of types that is at work on a tracer, if there is one that makes a Graph."""
    while type(x) is Tracer:
        trace = x.origin
        if trace.abstract and not (trace.linear or trace.executes or trace.ended):
            return trace
        x = x.value
    return None


def call_anew(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call one of our functions, which may be made of many ops, in a program that will be run again: what it makes of plain
    arrays alone is recorded too. Where it needs their values, and of arrays of integers, which are mostly indices, the
    program depends on these."""
    if not in_program():
        return function(*args, **kwargs)
    every = [y for x in (*args, *kwargs.values()) for y in (x if type(x) in (list, tuple) else (x,))]
    plain = [x for x in every if type(x) is ndarray]
    trace = next((found for x in every if (found := _trace_of_types(x)) is not None), None)
    if not plain or trace is None or any(map(callable, args)):
        return function(*args, **kwargs)

    constants: list[Tracer] = []
    constant = functools.partial(_constant, trace=trace, constants=constants)
    if any([x.dtype.kind not in "iu" for x in plain]):
        try:
            out = function(*map(constant, args), **{k: constant(x) for k, x in kwargs.items()})
            # Else it is the plain array that was to be written into, which says so below.
            if not any(map(is_written, constants)):
                return out
        except (TypeError, IndexError):  # values are needed, or the call is wrong, which the one below will say
            pass
    for x in plain:
        depends_on(x)
    return function(*args, **kwargs)


def _constant(x: Any, trace: Trace, constants: list[Tracer]) -> Any:
    """An argument with the arrays in it as constants of the trace, which are noted down; integers stay as they are."""
    if type(x) in (list, tuple):
        return type(x)([_constant(y, trace, constants) for y in x])
    if type(x) is not ndarray:
        return x
    if x.dtype.kind not in "iu":
        constants.append(trace.constant(x))
        return constants[-1]
    depends_on(x)
    return x


def lifted(x: Any, beside: Sequence[Any]) -> Any:
    """A plain value (a cotangent to start from) as a constant of the Graph that is being made of what it stands beside,
    if that will be run again: what a rule makes of it and of an array from outside is then recorded, and not computed
    once and for all. So is it where a function is run for an explanation. Else the value as it is."""
    if type(x) is not Tracer and context.explains and type(x) in DIRECT:
        beside = [y for y in beside if type(y) is Tracer]
        return beside[0].origin.constant_like(np.asarray(x), beside[0]) if beside else x
    if context.trace is None or type(x) is Tracer or not in_program():
        return x
    trace = next((found for y in beside if (found := _trace_of_types(y)) is not None), None)
    return x if trace is None else trace.constant(x)


def made_here(x: Any, kinds: str = "biufc", is_new: bool = True) -> Any:
    """A plain array of these kinds of numbers that a traced function makes, as a constant of the innermost trace of this thread:
    so that traced values can be written into it. Anything else as it is. One that is not new belongs to somebody, who may
    write into it."""
    if type(x) is not ndarray or number_kind(x.dtype) not in kinds:
        return x
    trace = next((t for t in reversed(traces_here()) if t.folds or not (t.linear or t.ended)), None)
    if trace is None:
        return x
    if is_new and x.base is None:
        x.flags.writeable = False
    else:
        x = trace.copy_of(x)
    return trace.made(x)


watch(globals())
