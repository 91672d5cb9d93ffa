"""The two derivative interpreters. Both walk the equations of a finished trace: `pushforward` onward with tangents,
`backward` in reverse with cotangents. On arrays they compute; on tracers of an enclosing transform they are recorded.

A rule that an op does not give is found here by transposition: reverse mode is the transpose of the forward rule, a
linear map of the tangents, and the other way round (Radul et al., "You Only Linearize Once", POPL 2023).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tracegrad.core.context import context
from tracegrad.core.errors import DifferentiationError, at, user_source
from tracegrad.core.numpy_warnings import again, has_warned
from tracegrad.core.op import Op, Params, Wanted
from tracegrad.core.programs import lifted
from tracegrad.core.trace import Equation, Trace, bind
from tracegrad.core.tracer import Tracer, in_program, plain_value
from tracegrad.core.tracing import tracer_inputs
from tracegrad.core.types import ArrayType, is_inexact, type_of
from tracegrad.core.views import own
from tracegrad.ops.masks import Masked, filled, image, plus


def backward(eqns: list[Equation], cotangents: dict[int, Any], derives: bool = True) -> dict[int, Any]:
    """Pull cotangents, keyed by the id of the tracer they belong to, back through the equations. The list is emptied: what an equation
    keeps for its derivative goes when that has been taken.

    What is left in the dict belongs to the trace's inputs. A missing entry is a structural zero: rules are never called
    for it, and a sum starts from its first term. What rules record is of a derivative, or as the equations are if it is
    the transpose of what a rule has recorded (`Eqn.phase`).
    """
    take, get, last = cotangents.pop, cotangents.get, eqns.pop
    outer = context.cell
    cell: list[Any] = [None, derives]
    lifts = context.trace is not None and in_program()
    try:
        context.cell = cell
        while eqns:  # No function is made in here, as a comprehension is one: what it reads would lie in cells.
            eqn = last()
            op, inputs, values, params, out, wanted, residuals = eqn
            if op.multiple_results:
                ct, primal_out = _taken(out, take)
                if ct is None:
                    continue
                masked = Masked in map(type, ct)
            else:
                ct = take(id(out), None)
                if ct is None:
                    continue
                masked = type(ct) is Masked
                primal_out = out.value
            cell[0] = eqn
            rule = op.vjp
            if lifts:
                values = _lifted(values, ct if op.multiple_results else (ct,))
            try:
                if residuals is not None:
                    grads = op.held.pull(wanted, ct, residuals, primal_out, values, params)  # type: ignore[union-attr, misc]
                elif masked or rule is None:
                    grads = pulled(op, wanted, ct, primal_out, values, params)
                else:
                    grads = rule(wanted, ct, primal_out, values, params)
            except (TypeError, ValueError) as error:
                wanted, grads = _pulled_after(error, eqn, ct, primal_out, values)
            if len(wanted) == 1:  # zip would take a tenth of this loop's time
                grad = grads[0]
                if grad is not None:
                    key = id(inputs[wanted[0]])
                    prior = get(key)
                    cotangents[key] = grad if prior is None else plus(prior, grad)
                continue
            if not wanted:  # a constant that the function made (`Trace.made`)
                continue
            for i, grad in zip(wanted, grads, strict=True):
                if grad is not None:
                    key = id(inputs[i])
                    prior = get(key)
                    cotangents[key] = grad if prior is None else plus(prior, grad)
        for key, left in cotangents.items():
            if type(left) is Masked:
                cotangents[key] = left.filled()
    finally:
        context.cell = outer
    return cotangents


def _taken(out: Sequence[Tracer], take: Callable[..., Any]) -> tuple[list[Any] | None, tuple[Any, ...]]:
    """The cotangents of an op's several outputs, None if there are none, and the outputs' values."""
    cts = [take(id(o), None) for o in out]
    if all([c is None for c in cts]):
        return None, ()
    return cts, tuple([o.value for o in out])


def _pulled_after(error: Exception, eqn: Equation, ct: Any, out: Any, values: Sequence[Any]) -> tuple[Wanted, Any]:
    """The inputs and their cotangents of an equation whose rule has raised: where that was to tell of a warning, it is told. And rules
    are asked for what is no float, too, which has no derivative: where that fails, for the floats alone."""
    op, _, _, params, _, wanted, residuals = eqn
    if has_warned(error):
        if residuals is not None:
            return wanted, again(op.held.pull, wanted, ct, residuals, out, values, params)  # type: ignore[union-attr, arg-type]
        return wanted, again(pulled, op, wanted, ct, out, values, params)
    floats = tuple([i for i in wanted if is_inexact(type_of(values[i]).dtype)])
    if floats == wanted or residuals is not None:
        raise error
    return floats, pulled(op, floats, ct, out, values, params) if floats else ()


def pulled(op: Op, wanted: Wanted, ct: Any, out: Any, values: Sequence[Any], params: Params) -> Sequence[Any]:
    """The cotangents of an op's inputs for those of its outputs, None for zeros. There may be masks in both."""
    if Masked in map(type, ct if op.multiple_results else (ct,)):
        return _masked_vjp(op, wanted, ct, out, values, params)
    if op.vjp is None:
        return transposed_jvp(op, wanted, ct, out, values, params)
    return op.vjp(wanted, ct, out, values, params)


def _masked_vjp(op: Op, wanted: Wanted, ct: Any, out: Any, values: Sequence[Any], params: Params) -> Sequence[Any]:
    """An op's reverse rule for cotangents with masks (see ops/masks.py)."""
    if op.masked is not None:
        return op.masked.vjp(wanted, ct, out, values, params)

    def rule(cts: Sequence[Any]) -> Sequence[Any]:
        ct = tuple(cts) if op.multiple_results else cts[0]
        if op.vjp is None:
            return transposed_jvp(op, wanted, ct, out, values, params)
        return op.vjp(wanted, ct, out, values, params)

    cts = ct if op.multiple_results else (ct,)
    grads = rule([filled(c) for c in cts])
    if not op.nonnegative:
        return grads

    def masked(grad: Any, i: int) -> Any:
        return None if grad is None else Masked(filled(grad), image(lambda cts: rule(cts)[i], cts), True)

    return [masked(grad, i) for i, grad in enumerate(grads)]


def pushforward(eqns: list[Equation], tangents: dict[int, Any], outputs: Sequence[Any]) -> dict[int, Any]:
    """Push tangents, keyed by the id of the tracer they belong to, through the equations. Missing means zero. What comes
    out, for the outputs, may have masks.

    The list is emptied, and tangents and equations go as soon as nothing reads them any more."""
    read_last = _last_reads(eqns, outputs)
    eqns.reverse()
    while eqns:
        eqn = eqns.pop()
        found = pushed_through(eqn, tangents)
        gone = read_last.pop()
        for key in gone:
            tangents.pop(key, None)
        if found:
            for o, tangent in zip(eqn[4] if eqn[0].multiple_results else (eqn[4],), found, strict=True):
                if tangent is not None and id(o) not in gone:
                    tangents[id(o)] = tangent
    return tangents


def pushed_through(eqn: Equation, tangents: Mapping[int, Any]) -> Sequence[Any]:
    """The tangents of what an equation makes, None for zeros; nothing if none of its inputs has one."""
    op, inputs, values, params, out, wanted, _ = eqn
    incoming: list[Any] = [None] * len(inputs)
    missing = 0
    for i in wanted:
        found = incoming[i] = tangents.get(id(inputs[i]))
        missing += found is None
    if missing == len(wanted):
        return ()
    active = tuple([i for i in wanted if incoming[i] is not None]) if missing else wanted
    primal_out = tuple([o.value for o in out]) if op.multiple_results else out.value
    if context.trace is not None and in_program():
        values = _lifted(values, incoming)
    outer = context.cell
    try:
        context.cell = [eqn, True]
        try:
            result = pushed(op, active, incoming, primal_out, values, params)
        except TypeError as error:
            if not has_warned(error):
                raise
            result = again(pushed, op, active, incoming, primal_out, values, params)
    finally:
        context.cell = outer
    return result if op.multiple_results else (result,)


def _last_reads(eqns: Sequence[Equation], outputs: Sequence[Any]) -> list[list[int]]:
    """For each equation, from the last to the first, the ids of the tracers of which nothing after it reads a tangent."""
    seen = {id(x) for x in outputs}
    found = []
    for op, inputs, _, _, out, wanted, _ in reversed(eqns):
        tracers = [*(out if op.multiple_results else (out,)), *[inputs[i] for i in wanted]]
        gone = [key for key in dict.fromkeys(map(id, tracers)) if key not in seen]
        seen.update(gone)
        found.append(gone)
    return found


def pushed(op: Op, active: Wanted, tangents: Sequence[Any], out: Any, values: Sequence[Any], params: Params) -> Any:
    """The tangents of an op's outputs for those of its inputs, None for zeros. There may be masks in both."""
    if Masked in map(type, tangents):
        return _masked_jvp(op, active, tangents, out, values, params)
    if op.jvp is None:
        return transposed_vjp(op, active, tangents, out, values, params)
    return op.jvp(values, tangents, out, params)


def _masked_jvp(
    op: Op, active: Wanted, tangents: Sequence[Any], out: Any, values: Sequence[Any], params: Params
) -> Any:
    """An op's forward rule for tangents with masks (see ops/masks.py)."""
    if op.masked is not None:
        return op.masked.jvp(values, tangents, out, params)

    def rule(tangents: Sequence[Any]) -> Any:
        if op.jvp is None:
            return transposed_vjp(op, active, tangents, out, values, params)
        return op.jvp(values, tangents, out, params)

    def masked(found: Any, of: Callable[[Any], Any]) -> Any:
        return None if found is None else Masked(filled(found), image(lambda t: of(rule(t)), tangents), True)

    result = rule([filled(t) for t in tangents])
    if not op.nonnegative:
        return result
    if not op.multiple_results:
        return masked(result, lambda found: found)
    return [masked(part, operator.itemgetter(i)) for i, part in enumerate(result)]


def _lifted(values: Sequence[Any], beside: Sequence[Any]) -> list[Any]:
    """The operands of an op as its rule has them in a program that is being made: what it makes of constants is computed
    anew each time, too."""
    beside = (*values, *beside)
    return [lifted(v, beside) if type(v) is np.ndarray else v for v in values]


def with_own_constants(eqns: Sequence[Equation]) -> list[Equation]:
    """The equations with tracers of their own for those that came from outside, one for each, where a rule may look at
    them: what these stand for may be written into. (Of arrays the trace has its own copies already.)"""
    copies: dict[int, Any] = {}

    def kept(value: Any) -> Any:
        if type(value) is not Tracer:
            return value
        if id(value) not in copies:
            copies[id(value)] = own(value)
        return copies[id(value)]

    def with_own(eqn: Equation) -> Equation:
        op, inputs, values, params, out, wanted, residuals = eqn
        if not op.keeps_inputs or len(wanted) == len(values):
            return eqn
        values = [v if i in wanted else kept(v) for i, v in enumerate(values)]
        return op, inputs, values, params, out, wanted, residuals

    return [with_own(eqn) for eqn in eqns]


def transpose(
    linear: Callable[..., Sequence[Any]], types: Sequence[ArrayType], cotangents: Sequence[Any], what: str
) -> list[Any]:
    """Apply the transpose of a linear function, given by its input types, to cotangents of its outputs (None: zero)."""
    trace = Trace(what, linear, abstract=True)
    trace.linear = True
    inputs = tracer_inputs(trace, types)
    outputs, eqns = trace.recorded(linear, *inputs)
    return pull_back(trace, eqns, inputs, outputs, cotangents)


def pull_back(
    trace: Trace, eqns: Sequence[Equation], inputs: Sequence[Tracer], outputs: Sequence[Any], cotangents: Sequence[Any]
) -> list[Any]:
    """`backward` from a trace's outputs to its inputs."""
    if trace.abstract:
        require_linear(eqns, trace.transform)
    gathered: dict[int, Any] = {}
    for out, ct in zip(outputs, cotangents, strict=True):
        if ct is not None and type(out) is Tracer and out.origin is trace:
            prior = gathered.get(id(out))
            gathered[id(out)] = ct if prior is None else prior + ct
    backward(list(eqns), gathered, not (trace.linear and context.source is not None))
    return [gathered.get(id(x)) for x in inputs]


def with_folded_constants(trace: Trace, inputs: Sequence[Tracer], outputs: Sequence[Any]) -> list[Any]:
    """Have what does not depend on the inputs of a linear trace be values of those below in its equations: the arrays that the
    function makes are tracers, so that it can write into them, and constants to whoever asks what it is linear in. The outputs, too."""
    depends = set(map(id, inputs))
    values: dict[int, Any] = {}
    kept = []
    for eqn in trace.eqns:
        op, ins, _, params, out, wanted, residuals = eqn
        outs = out if op.multiple_results else (out,)
        moves = tuple([i for i in wanted if id(ins[i]) in depends])
        if moves != wanted or not wanted:
            ins = tuple([values.get(id(x), x) for x in ins])
            eqn = op, ins, ins, params, out, moves, residuals
        if moves or not ins:  # one without inputs is the place in a named axis
            depends.update(map(id, outs))
            kept.append(eqn)
        else:
            found = bind(op, ins, params)
            values.update(zip(map(id, outs), found if op.multiple_results else (found,), strict=True))
    trace.eqns[:] = kept
    return [values.get(id(x), x) for x in outputs]


def require_linear(eqns: Sequence[Equation], transform: str = "linear_transpose") -> None:
    """In a trace of types only, an op that is not linear in what is traced has no values to differentiate at."""
    for op, inputs, _, params, out, wanted, _ in eqns:
        if not op.is_linear_in(wanted, params):
            fix = "use tg.vjp for functions that are not linear"
            if transform != "linear_transpose":
                fix = "a rule must be linear in its tangents or cotangents"
            raise DifferentiationError(
                f"{transform} needs a linear function, but {_with_line(op, inputs, out)} is not linear in what is "
                f"transposed; {fix}"
            )


def require_no_offset(eqns: Sequence[Equation], outputs: Sequence[Any]) -> None:
    """Where an op is linear in several inputs together (a sum), those that are not traced must be zero: `x + 1` is
    affine, and its transpose would silently be that of `x`."""
    for op, inputs, _, params, out, wanted, _ in eqns:
        beside = [[x for i, x in enumerate(inputs) if i in group and i not in wanted] for group in op.linear]
        fits = [all(map(is_zero, b)) for b, group in zip(beside, op.linear, strict=True) if group.issuperset(wanted)]
        if not any(fits) and not op.is_linear_by_params(wanted, params):
            raise DifferentiationError(
                f"linear_transpose needs a linear function, but {_with_line(op, inputs, out)} brings in a constant that is "
                "not zero, which makes the function affine; leave the constant out, or use tg.vjp"
            )
    for i, x in enumerate(outputs):
        if type(x) is not Tracer and not is_zero(x):
            raise DifferentiationError(
                f"linear_transpose{at(user_source())} needs a linear function, but its output {i}, {type_of(x)}, is a "
                "constant that is not zero; leave it out, or use tg.vjp"
            )


def is_zero(x: Any) -> bool:
    """Whether a constant is known to be zero."""
    known = plain_value(x, "a constant")
    return known is not None and not np.any(known)


def _with_line(op: Op, inputs: Sequence[Any], out: Any) -> str:
    source = (out[0] if op.multiple_results else out).source
    return f"{op.name} of {', '.join([str(type_of(x)) for x in inputs])}{at(source)}"


def transposed_jvp(op: Op, wanted: Wanted, ct: Any, out: Any, values: Sequence[Any], params: Params) -> list[Any]:
    """An op's reverse rule as the transpose of its forward rule."""
    if op.jvp is None:
        raise DifferentiationError(f"{op.name}{at(context.source)} has no derivative")
    jvp = op.jvp
    differentiable = [i for i in wanted if is_inexact(type_of(values[i]).dtype)]
    if not differentiable:
        return [None] * len(wanted)

    def linear(*tangents: Any) -> Sequence[Any]:
        result = jvp(values, at_positions(len(values), differentiable, tangents), out, params)
        return result if op.multiple_results else (result,)

    types = [strong(type_of(values[i])) for i in differentiable]
    found = transpose(linear, types, ct if op.multiple_results else (ct,), _transposed(op, params))
    by_position = dict(zip(differentiable, found, strict=True))
    return [by_position.get(i) for i in wanted]


def transposed_vjp(
    op: Op, active: Wanted, tangents: Sequence[Any], out: Any, values: Sequence[Any], params: Params
) -> Any:
    """An op's forward rule as the transpose of its reverse rule."""
    if op.vjp is None:
        raise DifferentiationError(f"{op.name}{at(context.source)} has no derivative")
    vjp = op.vjp
    outs = out if op.multiple_results else (out,)
    types = [strong(type_of(o)) for o in outs]
    differentiable = [i for i, t in enumerate(types) if is_inexact(t.dtype)]

    def linear(*cts: Any) -> Sequence[Any]:
        full = at_positions(len(outs), differentiable, cts)
        return vjp(active, full if op.multiple_results else full[0], out, values, params)

    found = transpose(
        linear, [types[i] for i in differentiable], [tangents[i] for i in active], _transposed(op, params)
    )
    full = at_positions(len(outs), differentiable, found)
    return full if op.multiple_results else full[0]


def _transposed(op: Op, params: Params) -> str:
    name = repr(str(next(iter(params.values())))) if op.runs_user_code else op.name
    return f"the transpose of the derivative rule of {name}"


def at_positions(n: int, positions: Iterable[int], values: Iterable[Any]) -> list[Any]:
    """Tangents or cotangents of n arrays, of which these have any: None, a structural zero, for the others."""
    full: list[Any] = [None] * n
    for i, value in zip(positions, values, strict=True):
        full[i] = value
    return full


def strong(type: ArrayType) -> ArrayType:
    """Tangents and cotangents are never weak."""
    return ArrayType(type.shape, type.dtype) if type.weak else type


def zeros_like_type(type: ArrayType) -> Any:
    return np.zeros(type.shape, type.dtype)[()]
