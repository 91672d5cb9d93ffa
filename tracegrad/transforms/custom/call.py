"""A call of a function with derivative rules is one op in the trace, `custom_call`, whose params hold the function and its rules.
It evaluates by running the function, so outside derivatives it is that function. Where one mode's rule is missing, `linear.py`
transposes the other. What function and rules close over are further inputs of it (closures.py).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import within
from tracegrad.core.boxes import is_boxed, with_boxes_of
from tracegrad.core.context import context
from tracegrad.core.errors import DifferentiationError, ShapeError, at, user_source
from tracegrad.core.graph import Graph, evaluate, replace
from tracegrad.core.memory import compact, copied
from tracegrad.core.op import EVERY, Held, Op, Params, Wanted, Written
from tracegrad.core.reuse import draws_of, note_draws
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import Tracer, in_program
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import ArrayType, is_inexact, type_of
from tracegrad.core.views import own
from tracegrad.lower.passes import simplify
from tracegrad.ops.families import total
from tracegrad.ops.masks import filled
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.transforms.batch import batch_graph, with_batch
from tracegrad.transforms.control.call import call as call_graph
from tracegrad.transforms.control.held import axis_indices, batched_graph, written_call
from tracegrad.transforms.custom.closures import ClosesOver, closed_over, closing, described_first, with_closed
from tracegrad.transforms.custom.rules import Later, Rules, pull_of, without_none
from tracegrad.transforms.linear import strong, transposed_jvp, transposed_vjp


def call_by_rules(leaves: Sequence[Any], rules: Rules, functions: Sequence[Any]) -> Any:
    """The outputs of a call. Its function and rules, which are made of the user's `functions`, may hold collectives, so it
    gets the index in each named axis too, which they leave aside: it then belongs to the traces that map over these axes,
    whatever its arguments depend on. What they close over it gets as well, and in a program that will be run again also the
    arrays."""
    axes = () if context.trace is None else context.trace.axes
    ties = axis_indices([axis for axis in context.bound if axis in axes])
    return _bound_with_closed(leaves, rules, closed_over(functions), ties)


def _bound_with_closed(
    inputs: Sequence[Any], rules: Rules, closed: Sequence[Any], ties: Sequence[Any]
) -> tuple[Any, ...]:
    """A call with what it is known to close over, and with what it is then seen to."""
    try:
        return _bound(inputs, rules, closed, ties)
    except ClosesOver as found:
        known = set(map(id, found.closed))
        # The call takes its own from the end.
        more = [x for x in closed if id(x) not in known]
        return _bound(inputs, rules, [*more, *found.closed], ties, found.call)


def _bound(
    inputs: Sequence[Any], rules: Rules, closed: Sequence[Any], ties: Sequence[Any], call: Any = None
) -> tuple[Any, ...]:
    if closed or ties:
        rules = with_closed(rules, len(inputs), tuple(inputs[rules.own + len(rules.closed) :]), tuple(closed), call)
    rules.settled = in_program()
    found: tuple[Any, ...] = bind(_custom, (*inputs, *closed, *ties), {"rules": rules})
    note_draws(rules.drawn, inputs)
    return found


def _given(x: Any, rules: Rules) -> Any:
    """An argument of a user's function: its own, since it may write into it; but an array from outside is a constant of the
    program that is being made, if one is, and read anew in it. A Graph writes into nothing."""
    if rules.graph is not None:
        return x
    if type(x) is np.ndarray:
        return x if in_program() else compact(x)
    return own(x)


def call_with_rules(name: str, graph: Graph, inputs: Sequence[Any], **rules: Any) -> tuple[Any, ...]:
    """The outputs of a Graph whose derivatives are those of rules, which like it close over nothing but constants: those that
    `Rules` takes, `jvp` or `fwd` and `bwd`."""
    known = Rules(name, len(inputs), functools.partial(_call_flat, graph), graph=graph, **rules)
    found: tuple[Any, ...] = bind(_custom, tuple(inputs), {"rules": known})
    return found


def _call_flat(graph: Graph, *arrays: Any) -> list[Any]:
    return call_graph(graph, arrays)


def _evaluate(*arrays: Any, rules: Rules) -> tuple[Any, ...]:
    if rules.graph is not None:
        return tuple(with_boxes_of(arrays, call_graph, rules.graph, arrays))
    outputs = tuple(with_boxes_of(arrays, lambda: rules.call(*[_given(x, rules) for x in arrays])))
    for o in outputs:
        if (
            type(o) is Tracer
            and not is_boxed(o)
            and not any(type(a) is Tracer and a.origin.level >= o.origin.level for a in arrays)
        ):
            raise closing(rules.name, outputs)
    return outputs


def _replay(run: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    rules: Rules = params["rules"]
    found: Sequence[Any] = run("", rules.graph or _traced(rules, inputs), inputs)
    return found


def _traced(rules: Rules, inputs: Sequence[Any], abstract: bool = False) -> Graph:
    """The function, for such inputs: arrays, or types."""
    return trace_graph(
        lambda *xs: _evaluate(*xs, rules=rules),
        inputs,
        transform="call",
        user_function=rules.call,
        abstract=abstract,
    )


def _write(types: Sequence[ArrayType], params: Params) -> Written:
    rules: Rules = params["rules"]
    graph = rules.graph or simplify(_traced(rules, types, abstract=True))
    return written_call(replace(graph, name=rules.name))


def _infer(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    rules: Rules = params["rules"]
    if rules.graph is not None:
        return rules.graph.out_types
    graph = trace_graph(rules.call, list(types), transform="call", user_function=rules.call, abstract=True)
    rules.drawn = draws_of(graph)
    arrays = in_program()
    closed = {
        v: x
        for v, x in graph.consts.items()
        if (not is_boxed(x) if type(x) is Tracer else arrays and type(x) is np.ndarray)
    }
    if closed and not rules.is_batch:
        rest = {v: x for v, x in graph.consts.items() if v not in closed}
        count = rules.reads
        whole = Graph((*graph.inputs[:count], *closed), graph.eqns, graph.outputs, rest, graph.name)
        raise ClosesOver(
            rules.name,
            list(closed.values()),
            functools.partial(_of_arguments_and_closed, whole, count),
        )
    return graph.out_types


def _of_arguments_and_closed(graph: Graph, count: int, *inputs: Any) -> Sequence[Any]:
    """A Graph of so many arguments and of what is closed over, which are the first inputs and the last."""
    return evaluate(graph, (*inputs[:count], *inputs[len(inputs) - len(graph.inputs) + count :]))


def _expand(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    """In the trace of a linear map, which will be transposed, the function itself. In one for a backward pass, what has no
    derivative there is a constant: what is closed over may be, and then nobody asks for more than the rules know. In a program
    that will be run again, a call that comes from a Graph which was made elsewhere gets the arrays that it closes over."""
    rules: Rules = params["rules"]
    if trace.linear:
        return tuple(rules.call(*inputs))
    if rules.graph is None and not (rules.settled or rules.is_batch) and in_program():
        return _bound_with_closed(inputs, copy.copy(rules), (), ())
    if not trace.reverse or trace.abstract or len(inputs) == rules.own:
        return None
    constant = [
        i for i, x in enumerate(inputs)
        if i >= rules.own and type(x) is Tracer and x.origin is trace and not _has_derivative(x, trace)
    ]  # fmt: skip
    if not constant:
        return None
    return bind(_custom, tuple([x.value if i in constant else x for i, x in enumerate(inputs)]), params)


def _has_derivative(x: Tracer, trace: Trace) -> bool:
    """Whether a value depends on the inputs of a trace by more than `stop_gradient` and integers."""
    live = {id(x)} if is_inexact(x.type.dtype) else set()
    if live and isinstance(x.source, int):
        return True
    for op, inputs, _, _, out, wanted, _ in reversed(trace.eqns):
        if op is stop_gradient_op or not (
            any([id(o) in live for o in out]) if op.multiple_results else id(out) in live
        ):
            continue
        floats = [inputs[i] for i in wanted if is_inexact(inputs[i].type.dtype)]
        if any([isinstance(y.source, int) for y in floats]):
            return True
        live.update(map(id, floats))
    return False


def _refusal(rules: Rules, i: int) -> str:
    """Why there is no derivative with respect to an input that is no argument."""
    what = described_first(rules.closed[i - rules.own :])
    return (
        f"the function {rules.name!r} with custom derivatives, called{at(context.source)}, closes over {what}, and is "
        "differentiated with respect to that, of which its rules know nothing; pass it as an argument, or, for a "
        "derivative of zero, close over tg.stop_gradient of it"
    )


def _refuse(*cts: Any, type: ArrayType, text: str) -> Any:
    raise DifferentiationError(text)


def _refused(cts: Sequence[Any], type: ArrayType, text: str) -> Any:
    return bind(_no_derivative, tuple([ct for ct in cts if ct is not None]), {"type": type, "text": text})


# A cotangent that nobody knows. As an equation of a Graph it does no harm where it turns out that it is not needed, or that the
# cotangents which it is of are zero.
_no_derivative = Op(
    "no_derivative",
    evaluate=_refuse,
    infer=lambda types, params: params["type"],
    jvp=lambda primals, tangents, out, params: _refused(tangents, **params),
    vjp=lambda wanted, ct, out, primals, params: [
        _refused([ct], strong(type_of(primals[i])), params["text"]) for i in wanted
    ],
    linear=(EVERY,),
    batch=lambda size, batched, inputs, params: _refused(
        inputs, ArrayType((size, *params["type"].shape), params["type"].dtype), params["text"]
    ),
    kinds="",
)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    rules: Rules = params["rules"]
    for i, t in enumerate(tangents):
        if i >= rules.own and t is not None:
            raise DifferentiationError(_refusal(rules, i))
    if rules.jvp is None:
        active = tuple([i for i, t in enumerate(tangents) if t is not None])
        return transposed_vjp(_custom, active, tangents, out, primals, params)
    jvp = rules.jvp

    def call() -> Any:
        moving = [None if t is None else _given(t, rules) for t in tangents]
        return jvp([_given(x, rules) for x in primals], moving, out)

    found = with_boxes_of([*primals, *tangents], call)
    for o, t in zip(out, found, strict=True):
        if t is not None:
            _require_same_shape(rules.name, "jvp rule", t, o)
    return found


def _vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    rules: Rules = params["rules"]
    if rules.fwd is None:
        found = _refusals(wanted, list(map(filled, ct)), primals, rules)
        arguments = tuple([i for i in wanted if i < rules.own])
        found |= zip(arguments, transposed_jvp(_custom, arguments, ct, out, primals, params), strict=True)
        return [found[i] for i in wanted]
    return _pull(wanted, ct, _residuals(wanted, primals, out, rules), out, primals, params)


def _forward(wanted: Wanted, values: Sequence[Any], params: Params) -> tuple[Sequence[Any], Any]:
    """The outputs are the function's own. Those of `fwd` must be equal, but their derivative is that of what `fwd` does."""
    rules: Rules = params["rules"]
    out = bind(_custom, tuple(values), params)
    return out, None if rules.fwd is None else _residuals(wanted, values, out, rules)


def _residuals(wanted: Wanted, primals: Sequence[Any], out: Sequence[Any], rules: Rules) -> Any:
    fwd = rules.fwd
    assert fwd is not None

    def call() -> Any:
        given = [_given(x, rules) for x in primals]
        return given, fwd(given, [i in wanted for i in range(len(given))], out)

    given, (outputs, residuals) = with_boxes_of(primals, call)
    if outputs is not None:
        if len(outputs) != len(out):
            raise ShapeError(
                f"fwd of {rules.name!r}{at(user_source())} returned {len(outputs)} arrays, but the function itself "
                f"returned {len(out)}; return (f(*args), residuals)"
            )
        for got, expected in zip(outputs, out, strict=True):
            _require_same_shape(rules.name, "fwd rule", got, expected)
    if in_program():
        return (residuals,)
    # What is not the function's own may be written into before the backward pass.
    own_already = set(map(id, given))
    kept = lambda x: copied(x) if type(x) is np.ndarray and id(x) not in own_already else x
    return (tree.tree_map(kept, residuals),)


def _pull(wanted: Wanted, ct: Any, residuals: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    rules: Rules = params["rules"]
    bwd = rules.bwd
    assert bwd is not None
    ct = list(map(filled, ct))
    refused = _refusals(wanted, ct, primals, rules)

    def call() -> Any:
        return bwd(residuals[0], primals, [None if c is None else _given(c, rules) for c in ct])

    found = with_boxes_of([*primals, *ct], call)
    return [refused[i] if i in refused else found[i] for i in wanted]


def _refusals(wanted: Wanted, cts: Sequence[Any], primals: Sequence[Any], rules: Rules) -> dict[int, Any]:
    """The cotangents of the inputs `wanted` that are no arguments."""
    return {
        i: _refused(cts, strong(type_of(primals[i])), _refusal(rules, i))
        if is_inexact(type_of(primals[i]).dtype)
        else None
        for i in wanted
        if i >= rules.own
    }


def _require_same_shape(name: str, rule: str, got: Any, expected: Any) -> None:
    """What a rule makes of the output must have the shape of the function's own."""
    if type_of(got).shape != type_of(expected).shape:
        raise ShapeError(
            f"the {rule} of {name!r}, called{at(user_source())}, returned an output of type {type_of(got)}, but the "
            f"function itself returned {type_of(expected)}; their shapes must be equal"
        )


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    """The same call on batches: function and rules are each batched, and an input that all examples share gets the
    sum of their cotangents."""
    rules: Rules = params["rules"]
    types = tuple([_example_type(x, b) for x, b in zip(inputs, batched, strict=True)])
    if rules.graph is not None:
        outs = rules.graph.out_types
    else:
        outs = trace_graph(rules.call, types, transform="vmap", user_function=rules.call).out_types
    axes = context.bound, context.batching, context.start  # what runs later has the named axes of now
    changed = _batched_rules(rules, size, tuple(batched), types, tuple(outs), axes)
    return bind(_custom, tuple(inputs), {"rules": changed})


def _batched_rules(
    rules: Rules,
    size: int,
    flags: tuple[bool, ...],
    types: tuple[ArrayType, ...],
    outs: tuple[ArrayType, ...],
    axes: tuple[Any, ...],
) -> Rules:
    """Rules for a batch of this size, of examples of these types."""

    def over_batch(
        function: Callable[..., Sequence[Any]], types: Sequence[ArrayType], batched: Sequence[bool]
    ) -> Callable[..., Any]:
        def run(*arrays: Any) -> list[Any]:
            graph = trace_graph(function, types, transform="vmap", user_function=rules.call)
            return [with_batch(r, size) for r in batch_graph(graph, size, arrays, batched)]

        return lambda *arrays: within(*axes, run, *arrays)

    count = len(types)
    graph: Graph | None = None
    call: Callable[..., Any]
    if rules.graph is not None:
        graph, _ = batched_graph(rules.graph, size, flags, [True] * len(outs))
        call = functools.partial(_call_flat, graph)
    else:
        call = over_batch(rules.call, types, flags)

    def rows(
        function: Callable[[Sequence[Any]], Sequence[Any]],
        types: Sequence[ArrayType],
        flags: Sequence[bool],
        arrays: list[Any],
    ) -> list[Any]:
        def run(flat: Callable[..., Sequence[Any]], known: Sequence[int]) -> Sequence[Any]:
            chosen = over_batch(flat, [types[i] for i in known], [flags[i] for i in known])
            found: Sequence[Any] = chosen(*[arrays[i] for i in known])
            return found

        return without_none(function, arrays, run)

    jvp = fwd = bwd = None
    if rules.jvp is not None:
        given_jvp = rules.jvp

        def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> Sequence[Any]:
            rule = lambda arrays: given_jvp(arrays[:count], arrays[count : 2 * count], arrays[2 * count :])
            every = [*flags * 2, *[True] * len(outs)]
            return rows(rule, [*types * 2, *outs], every, [*primals, *tangents, *out])

    if rules.fwd is not None and rules.bwd is not None:
        given_fwd, given_bwd = rules.fwd, rules.bwd

        def fwd(primals: Sequence[Any], perturbed: Sequence[bool], out: Sequence[Any]) -> tuple[None, Later]:
            return None, Later(tuple(perturbed), out)  # what one example keeps is no array of the batch's

        def bwd(residuals: Later, primals: Sequence[Any], cts: Sequence[Any]) -> Sequence[Any]:
            rule = pull_of(given_fwd, given_bwd, count, residuals)
            every = [*flags, *[True] * (2 * len(outs))]
            found = rows(rule, [*types, *outs, *outs], every, [*primals, *residuals.out, *cts])
            return [r if b or r is None else total(r, 0) for r, b in zip(found, flags, strict=True)]

    changed = Rules(rules.name, rules.own, call, jvp, fwd, bwd, rules.closed, True, graph, rules.acts)
    changed.remake = (_batched_rules, rules, size, flags, types, outs, axes)
    return changed


def _example_type(x: Any, batched: bool) -> ArrayType:
    found = type_of(x)
    return ArrayType(found.shape[1:], found.dtype) if batched else found


_custom = Op(
    "custom_call",
    evaluate=_evaluate,
    infer=_infer,
    jvp=_jvp,
    vjp=_vjp,
    batch=_batch,
    multiple_results=True,
    kinds="",
    held=Held(_expand, _forward, _pull, replay=_replay, runs_user_code=True, write=_write),
    effect=lambda params: params["rules"].acts,
)
