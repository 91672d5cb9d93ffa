"""Large values that no derivative rule reads, which equations do not keep.

Whether a rule reads an operand of its op, or what the op made, beyond its type, is found out by applying the rule once, for each kind of
call, to tracers of types, and to a stand-in for what may go: a rule that computes with that fails. So nobody has to say of an op
what its rules need: `x + y` neither of them, `np.sin` the operand, `np.exp` the result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.constants import LARGE
from tracegrad.core.context import capturing, context
from tracegrad.core.op import Op, Params, Wanted
from tracegrad.core.trace import Equation, Trace
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, is_inexact, type_of
from tracegrad.ops.masks import Mask, Masked
from tracegrad.transforms.linear import pulled, pushed
from tracegrad.transforms.values import Values, stand_in

_OUT = -1  # in the place of an operand's position: what an op made
_KNOWN = 4096  # kinds of calls that are remembered
_FEW = 8  # operands and results that are tried one by one

_unread: dict[Any, frozenset[int]] = {}
_NONE: frozenset[int] = frozenset()


def unread(op: Op, wanted: Wanted, values: Sequence[Any], out: Any, params: Params, reverse: bool) -> frozenset[int]:
    """The positions of the operands that a rule of an op does not read beyond their types, and `_OUT` if not what the op made."""
    if op.held is not None or op.acts(params):
        return _NONE
    # By the arrays' own attributes: no type is made of them, whose hash would be Python's to compute.
    key: list[Any] = [op, wanted, reverse, *params.items()] if params else [op, wanted, reverse]
    for v in values:
        kind = type(v)
        if kind is ndarray:
            key += v.shape, v.dtype
        else:
            key.append(kind if kind in PYTHON_SCALARS else type_of(v))
    try:
        known = _unread.get(kinds := tuple(key))
    except TypeError:  # params that cannot be hashed
        return _NONE
    if known is None:
        if len(_unread) >= _KNOWN:
            _unread.clear()
        known = _unread[kinds] = frozenset(_found_unread(op, wanted, values, out, params, reverse))
    return known


def _found_unread(
    op: Op, wanted: Wanted, values: Sequence[Any], out: Any, params: Params, reverse: bool
) -> Iterator[int]:
    """The same, found out."""
    types = [type_of(v) for v in values]
    if not all([is_inexact(types[i].dtype) for i in wanted]):
        return
    outs = tuple(map(type_of, out)) if op.multiple_results else type_of(out)
    groups = [
        {*wanted, _OUT}
    ]  # all at once, or else one after the other: of many operands that would take quadratic time
    while groups:
        group = groups.pop()
        if _works_without(group, op, wanted, types, outs, params, reverse):
            yield from group
        elif 1 < len(group) <= _FEW:
            groups += [{i} for i in group]


def _works_without(
    places: Collection[int],
    op: Op,
    wanted: Wanted,
    types: Sequence[ArrayType],
    outs: Any,
    params: Params,
    reverse: bool,
) -> bool:
    """Whether a rule works with stand-ins for the values in some places."""
    trace = Trace("derivative", op.evaluate, abstract=True)
    several = op.multiple_results

    def traced(type: ArrayType) -> Tracer:
        return Tracer(trace, None, None, type)

    def masked(type: ArrayType) -> Masked:
        places = traced(ArrayType(type.shape, np.dtype(bool)))
        return Masked(traced(type), Mask(lambda: places), False)

    def rule() -> None:
        values = [stand_in(t) if k in places else traced(t) for k, t in enumerate(types)]
        made = stand_in if _OUT in places else traced
        out = tuple(map(made, outs)) if several else made(outs)
        for derivative in (traced, masked) if op.masked is not None else (traced,):
            if reverse:
                ct = tuple(map(derivative, outs)) if several else derivative(outs)
                found = pulled(op, wanted, ct, out, values, params)
            else:
                tangents = [derivative(t) if k in wanted else None for k, t in enumerate(types)]
                found = pushed(op, wanted, tangents, out, values, params)
            for d in found if reverse or several else (found,):
                if type(d) is Masked:  # what it makes of the values when somebody asks
                    d.filled(), d.mask.array

    cell = context.cell
    try:
        context.cell = None
        trace.recorded(rule)
    except Exception:  # whatever a rule says of a value that has gone
        return False
    finally:
        context.cell = cell
    return True


class Sparing(Values):
    """What records the equations of a trace whose derivative will be taken, in the one direction or the other."""

    __slots__ = ("eqns", "reverse")

    def __init__(self, trace: Trace, reverse: bool) -> None:
        super().__init__()
        self.eqns = trace.eqns
        self.reverse = reverse
        trace.record = self

    def __call__(self, eqn: Equation) -> None:
        op, inputs, values, params, out, wanted, residuals = eqn
        outs: tuple[Tracer, ...] = out if op.multiple_results else (out,)
        x: Any
        free: frozenset[int] = _NONE
        for x in (*values, *outs) if residuals is None else outs:
            while type(x) is Tracer:  # also of an array that is traced further down
                x = x.value
            if (x.nbytes if type(x) is ndarray else getattr(x, "nbytes", 0)) >= LARGE:
                free = unread(op, wanted, values, out, params, self.reverse)
                break
        if free:
            values = [stand_in(type_of(v)) if i in free and _is_large(v) else v for i, v in enumerate(values)]
        self.eqns.append(self.own(eqn, values, residuals))
        self.note(op, inputs, outs, _OUT in free)


def _is_large(x: Any) -> bool:
    while type(x) is Tracer:
        x = x.value
    size: int = getattr(x, "nbytes", 0)
    return size >= LARGE


def spare(trace: Trace, reverse: bool = True) -> None:
    """Have a trace keep no large value that its rules do not read. (Where a Graph is being made there are none.)"""
    is_plain = getattr(trace.record, "__self__", None) is trace.eqns
    if is_plain and context.trace is None and not context.explains and not capturing:
        Sparing(trace, reverse)
