"""Derivatives that the user gives: `custom_jvp` and `custom_vjp`.

A call is one op in the trace, `custom_call`, whose params hold the function and its rules. It evaluates by running the
function, so outside derivatives it is that function. Where one mode's rule is missing, `linear.py` transposes the other.

What function and rules close over of enclosing traces are further inputs of the op, since the rules may be run when those
traces have ended and others stand for these values (a batch of them, the elements of a loop). The rules know no derivative
with respect to them, so whoever takes one is told to make an argument of it.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import within
from tracegrad.core.boxes import accepting_jax, is_boxed, with_boxes_of
from tracegrad.core.context import context, open_traces
from tracegrad.core.errors import (
    DifferentiationError,
    DtypeError,
    ShapeError,
    UnexpectedTracerError,
    at,
    described,
    name_of,
    require_callable,
    user_source,
)
from tracegrad.core.graph import Graph, evaluate, replace
from tracegrad.core.memory import compact, copied
from tracegrad.core.names import global_name, output_name, wraps
from tracegrad.core.op import EVERY, Held, Op, Params, Wanted, Written
from tracegrad.core.trace import Trace, Tracer, bind, in_program, is_lent, present, settled_tree
from tracegrad.core.tracing import arrays_of, kind_of, trace_graph
from tracegrad.core.types import DIRECT, ArrayType, float0, is_inexact, number_kind, type_of
from tracegrad.core.views import own
from tracegrad.lower.passes import simplify
from tracegrad.ops.families import total
from tracegrad.ops.masks import filled
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.transforms.batch import batch_graph, with_batch
from tracegrad.transforms.control.call import call as call_graph
from tracegrad.transforms.control.held import axis_indices, batched_graph, written_call
from tracegrad.transforms.linear import strong, transposed_jvp, transposed_vjp, zeros_like_type
from tracegrad.transforms.signatures import argument_names, existing_numbers, places_of
from tracegrad.typing import F, P, R

Owner = TypeVar("Owner")  # whose method a function with rules is
Q = ParamSpec("Q")


class SymbolicZero:
    """What stands for a tangent or a cotangent that is zero, in rules with `symbolic_zeros=True`. It has the `shape` and
    `dtype` of what it belongs to (float0 for integers and booleans). Rules may return it, too.

    >>> import numpy as np, tracegrad as tg
    >>> zero = tg.custom_derivatives.zero_from_primal(np.ones((2, 3)))
    >>> zero.shape, zero.dtype.name
    ((2, 3), 'float64')
    """

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @classmethod
    def from_primal_value(cls, x: Any) -> SymbolicZero:
        """The zero that belongs to an array."""
        return _symbolic_zero(type_of(x))

    def __repr__(self) -> str:
        return f"SymbolicZero({self.shape}, {self.dtype.name if self.dtype != float0 else 'float0'})"


def _symbolic_zero(of: ArrayType) -> SymbolicZero:
    return SymbolicZero(of.shape, of.dtype if is_inexact(of.dtype) else float0)


@dataclasses.dataclass(frozen=True)
class CustomVJPPrimal:
    """A leaf of the arguments of `fwd` in rules with `symbolic_zeros=True`: its `value`, and whether a derivative with
    respect to it is `perturbed`, wanted."""

    value: Any
    perturbed: bool


class Rules:
    """A function of flat arrays with its derivative rules, hashed by identity: the params of one `custom_call`.

    call(*arrays) -> list of arrays
    jvp(primals, tangents, out) -> list of output tangents; or None where only a vjp is given
    fwd(primals, perturbed, out) -> list of outputs (None: not known), what `bwd` needs; or None where only a jvp is given
    bwd(residuals, primals, cts) -> one cotangent for each input
    own     how many of the inputs are arguments; there is no derivative with respect to the others
    closed  what the inputs after these stand for, if function and rules close over something
    reads   how many of the inputs, from the first on, `call` looks at
    settled whether it was bound in a program that will be run again, whose inputs all that it closes over then became
    graph   what `call` is, where that is known and nothing of it can change: it runs as a compiled function
    acts    whether `call` does more than its outputs say

    A tangent or cotangent is None where it is zero. `perturbed` says of each input whether its cotangent is wanted, and `out` are
    the outputs, which a rule need not compute again.
    """

    __slots__ = ("acts", "bwd", "call", "closed", "fwd", "graph", "is_batch", "jvp", "name", "own", "reads", "settled")

    def __init__(
        self,
        name: str,
        own: int,
        call: Callable[..., Sequence[Any]],
        jvp: Callable[..., Sequence[Any]] | None = None,
        fwd: Callable[..., tuple[Sequence[Any] | None, Any]] | None = None,
        bwd: Callable[..., Sequence[Any]] | None = None,
        closed: Sequence[Tracer] = (),
        is_batch: bool = False,
        graph: Graph | None = None,
        acts: bool = False,
        reads: int | None = None,
    ) -> None:
        self.reads = own if reads is None else reads
        self.settled = False
        self.graph = graph
        self.acts = acts
        self.is_batch = is_batch  # of others, which have what is closed over among their inputs
        self.name = name
        self.own = own
        self.call = call
        self.jvp = jvp
        self.fwd = fwd
        self.bwd = bwd
        self.closed = closed

    def __repr__(self) -> str:
        return self.name


class _ClosesOver(UnexpectedTracerError):
    """What a call raises that is seen to close over something. `closed` is that, and `call` a function of all inputs, of
    which it has the last."""

    def __init__(self, name: str, closed: Sequence[Any], call: Callable[..., Sequence[Any]]) -> None:
        super().__init__(
            f"the function {name!r} with custom derivatives uses {_described(closed)} from outside; pass it as an argument"
        )
        self.closed = closed
        self.call = call


def _described(closed: Sequence[Any]) -> str:
    return next((x.described() for x in closed if type(x) is Tracer), "an array")


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
    except _ClosesOver as found:
        known = set(map(id, found.closed))
        # The call takes its own from the end.
        more = [x for x in closed if id(x) not in known]
        return _bound(inputs, rules, [*more, *found.closed], ties, found.call)


def _bound(
    inputs: Sequence[Any], rules: Rules, closed: Sequence[Any], ties: Sequence[Any], call: Any = None
) -> tuple[Any, ...]:
    if closed or ties:
        rules = _with_closed(rules, inputs, tuple(closed), call)
    rules.settled = in_program()
    found: tuple[Any, ...] = bind(_custom, (*inputs, *closed, *ties), {"rules": rules})
    return found


def _with_closed(rules: Rules, inputs: Sequence[Any], closed: tuple[Any, ...], call: Any) -> Rules:
    """The rules for further inputs: what stands for that over which they close, and what they leave aside."""
    run, jvp, fwd, bwd, own = rules.call, rules.jvp, rules.fwd, rules.bwd, len(inputs)
    ends = own + len(closed)

    def moved(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> Sequence[Any]:
        assert jvp is not None
        rule = lambda arrays: jvp(arrays[:own], arrays[own : 2 * own], arrays[2 * own :])
        return _through(closed, primals[own:ends], rule, [*primals[:own], *tangents[:own], *out])

    def forward(
        primals: Sequence[Any], perturbed: Sequence[bool], out: Sequence[Any]
    ) -> tuple[Sequence[Any] | None, Any]:
        assert fwd is not None
        if _are_themselves(closed, primals[own:ends]):
            return fwd(primals[:own], perturbed[:own], out)
        return None, _Later(tuple(perturbed[:own]), out)

    def pulled(residuals: Any, primals: Sequence[Any], cts: Sequence[Any]) -> Sequence[Any]:
        assert fwd is not None and bwd is not None
        if type(residuals) is _Later:
            rule = _pull_of(fwd, bwd, own, residuals)
            found = _through(closed, primals[own:ends], rule, [*primals[:own], *residuals.out, *cts])
        else:
            found = bwd(residuals, primals[:own], cts)
        return [*found, *[None] * (len(primals) - own)]

    @functools.wraps(run)
    def called(*inputs: Any) -> Sequence[Any]:
        if call is not None:
            found: Sequence[Any] = call(*inputs[:ends])
            return found
        return run(*inputs[:own])

    return Rules(
        rules.name, rules.own, called, None if jvp is None else moved, None if fwd is None else forward,
        None if bwd is None else pulled, (*rules.closed, *inputs[rules.own + len(rules.closed) :], *closed),
        acts=rules.acts, reads=rules.reads if call is None else ends,
    )  # fmt: skip


class _Later:
    """What is kept for a backward pass whose forward rule is run with it."""

    __slots__ = ("out", "perturbed")

    def __init__(self, perturbed: tuple[bool, ...], out: Sequence[Any]) -> None:
        self.perturbed = perturbed
        self.out = out


def _pull_of(
    fwd: Callable[..., Any], bwd: Callable[..., Sequence[Any]], count: int, later: _Later
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """The two rules as one, of the inputs, the outputs and the cotangents of these."""
    ends = count + len(later.out)

    def pull(arrays: Sequence[Any]) -> Sequence[Any]:
        primals = list(arrays[:count])
        return bwd(fwd(primals, later.perturbed, arrays[count:ends])[1], primals, arrays[ends:])

    return pull


def _are_themselves(closed: Sequence[Any], given: Sequence[Any]) -> bool:
    return all([x is c for x, c in zip(given, closed, strict=True)])


def _through(
    closed: Sequence[Any], given: Sequence[Any], rule: Callable[[Sequence[Any]], Sequence[Any]], arrays: Sequence[Any]
) -> Sequence[Any]:
    """What a rule makes of arrays, with `given` in the place of that over which it closes."""
    if _are_themselves(closed, given):
        return rule(arrays)
    tracers = [c for c in closed if type(c) is Tracer]

    def run(flat: Callable[..., Sequence[Any]], known: Sequence[int]) -> Sequence[Any]:
        inputs = [arrays[i] for i in known]
        graph = trace_graph(
            flat,
            [type_of(x) for x in inputs],
            transform="call",
            user_function=rule,
            abstract=True,
            captures=True,
            lent=tracers,
        )
        stand_ins = {id(c): x for c, x in zip(closed, given, strict=True)}
        heads = {v: stand_ins[id(x)] for v, x in graph.consts.items() if id(x) in stand_ins}
        rest = {v: x for v, x in graph.consts.items() if v not in heads}
        whole = Graph((*graph.inputs, *heads), graph.eqns, graph.outputs, rest, graph.name)
        return evaluate(whole, [*inputs, *heads.values()])

    return _without_none(rule, arrays, run)


def _without_none(
    function: Callable[[Sequence[Any]], Sequence[Any]],
    arrays: Sequence[Any],
    run: Callable[[Callable[..., Sequence[Any]], Sequence[int]], Sequence[Any]],
) -> list[Any]:
    """What a function makes of arrays, among which and its results may be None. `run` applies one of those that are not
    None, which it is told the positions of."""
    known = [i for i, x in enumerate(arrays) if x is not None]
    results: Sequence[Any] = ()

    def flat(*given: Any) -> list[Any]:
        nonlocal results
        full: list[Any] = [None] * len(arrays)
        for i, x in zip(known, given, strict=True):
            full[i] = x
        results = function(full)
        return [r for r in results if r is not None]

    found = iter(run(flat, known))
    return [None if r is None else next(found) for r in results]


def closed_over(functions: Sequence[Any]) -> list[Tracer]:
    """The tracers that functions hold: in their cells and defaults, in what they are bound to, in functions among these.
    That is for the rules, which are run later; what the function itself uses is seen when it is called."""
    found: dict[int, Tracer] = {}
    seen: dict[int, Any] = {}
    waiting = list(functions)
    while waiting:
        x = waiting.pop()
        if id(x) in seen:
            continue
        seen[id(x)] = x
        if isinstance(x, Tracer):
            x = x if type(x) is Tracer else present(x)
            if not is_boxed(x) and (not x.origin.ended or is_lent(x)):
                found[id(x)] = x
        elif isinstance(x, types.FunctionType):
            cells = [cell.cell_contents for cell in x.__closure__ or () if cell != _EMPTY]
            waiting += [*cells, *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()]
        elif isinstance(x, types.MethodType):
            waiting += [x.__func__, *getattr(x.__self__, "__dict__", {}).values()]
        elif isinstance(x, functools.partial):
            waiting += [x.func, *x.args, *x.keywords.values()]
        elif isinstance(x, _CustomFunction):
            waiting += vars(x).values()
        elif isinstance(x, dict):
            waiting += x.values()
        elif isinstance(x, list | tuple):
            waiting += x
        elif type(x) not in DIRECT:
            waiting += tree.tree_leaves(x)
    return list(found.values())


_EMPTY = types.CellType()


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
            raise _closing(rules.name, outputs)
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


def _closing(name: str, outputs: Sequence[Any]) -> _ClosesOver:
    """For outputs that depend on more than arguments. They have been computed, and are what is closed over themselves."""
    places = {i: k for k, i in enumerate([i for i, o in enumerate(outputs) if type(o) is Tracer and not is_boxed(o)])}

    def call(*inputs: Any) -> list[Any]:
        given = inputs[len(inputs) - len(places) :]
        return [given[places[i]] if i in places else o for i, o in enumerate(outputs)]

    return _ClosesOver(name, [outputs[i] for i in places], call)


def _infer(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    rules: Rules = params["rules"]
    if rules.graph is not None:
        return rules.graph.out_types
    graph = trace_graph(rules.call, list(types), transform="call", user_function=rules.call, abstract=True)
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
        raise _ClosesOver(
            rules.name,
            list(closed.values()),
            lambda *inputs: evaluate(whole, (*inputs[:count], *inputs[len(inputs) - len(closed) :])),
        )
    return graph.out_types


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
    what = _described(rules.closed[i - rules.own :])
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
    types = [_example_type(x, b) for x, b in zip(inputs, batched, strict=True)]
    axes = context.bound, context.batching, context.start  # what runs later has the named axes of now

    def over_batch(
        function: Callable[..., Sequence[Any]], types: list[ArrayType], batched: list[bool]
    ) -> Callable[..., Any]:
        def run(*arrays: Any) -> list[Any]:
            graph = trace_graph(function, types, transform="vmap", user_function=rules.call)
            return [with_batch(r, size) for r in batch_graph(graph, size, arrays, batched)]

        return lambda *arrays: within(*axes, run, *arrays)

    flags = list(batched)
    count = len(types)
    graph: Graph | None = None
    call: Callable[..., Any]
    if rules.graph is not None:
        outs = rules.graph.out_types
        graph, _ = batched_graph(rules.graph, size, batched, [True] * len(outs))
        call = functools.partial(_call_flat, graph)
    else:
        call = over_batch(rules.call, types, flags)
        outs = trace_graph(rules.call, types, transform="vmap", user_function=rules.call).out_types

    def rows(
        function: Callable[[Sequence[Any]], Sequence[Any]], types: list[ArrayType], flags: list[bool], arrays: list[Any]
    ) -> list[Any]:
        def run(flat: Callable[..., Sequence[Any]], known: Sequence[int]) -> Sequence[Any]:
            chosen = over_batch(flat, [types[i] for i in known], [flags[i] for i in known])
            found: Sequence[Any] = chosen(*[arrays[i] for i in known])
            return found

        return _without_none(function, arrays, run)

    jvp = fwd = bwd = None
    if rules.jvp is not None:
        given_jvp = rules.jvp

        def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> Sequence[Any]:
            rule = lambda arrays: given_jvp(arrays[:count], arrays[count : 2 * count], arrays[2 * count :])
            every = flags * 2 + [True] * len(outs)
            return rows(rule, [*types * 2, *outs], every, [*primals, *tangents, *out])

    if rules.fwd is not None and rules.bwd is not None:
        given_fwd, given_bwd = rules.fwd, rules.bwd

        def fwd(primals: Sequence[Any], perturbed: Sequence[bool], out: Sequence[Any]) -> tuple[None, _Later]:
            return None, _Later(tuple(perturbed), out)  # what one example keeps is no array of the batch's

        def bwd(residuals: _Later, primals: Sequence[Any], cts: Sequence[Any]) -> Sequence[Any]:
            rule = _pull_of(given_fwd, given_bwd, count, residuals)
            every = flags + [True] * (2 * len(outs))
            found = rows(rule, [*types, *outs, *outs], every, [*primals, *residuals.out, *cts])
            return [r if b or r is None else total(r, 0) for r, b in zip(found, flags, strict=True)]

    changed = Rules(rules.name, rules.own, call, jvp, fwd, bwd, rules.closed, True, graph, rules.acts)
    return bind(_custom, tuple(inputs), {"rules": changed})


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


class _CustomFunction(Generic[P, R]):
    """What both decorators share: binding arguments, leaving the nondiff ones out, flattening the rest."""

    __name__: str  # the function's own, as is `__wrapped__`
    __wrapped__: Callable[P, R]

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        transform = type(self).__name__
        require_callable(fun, transform, "(f)")
        self.fun: Callable[..., R] = fun
        self.nondiff_argnums = existing_numbers(fun, nondiff_argnums, "nondiff_argnums", transform)
        names = argument_names(fun, nondiff_argnames, "nondiff_argnames", transform)
        if names:
            numbers, _ = places_of(fun, self.nondiff_argnums, names)
            self.nondiff_argnums = tuple(sorted(numbers))
        wrapper: Any = self
        functools.update_wrapper(wrapper, fun, updated=())  # its __dict__ may be that of another one of these

    def __reduce_ex__(self, protocol: Any) -> Any:
        return global_name(self) or super().__reduce_ex__(protocol)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(
        self: _CustomFunction[Concatenate[Owner, Q], R], instance: Owner, owner: Any = None
    ) -> Callable[Q, R]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        wrapper: Any = self
        return self if instance is None else functools.partial(wrapper, instance)

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, with defaults, as the rules expect them."""
        if not kwargs:
            try:
                signature = inspect.signature(self.fun)
            except (ValueError, TypeError):
                return args
            bound = signature.bind(*args)
        else:
            bound = inspect.signature(self.fun).bind(*args, **kwargs)
        if bound.kwargs:
            raise TypeError(
                f"{described(self.fun)} has custom derivatives, and so takes no keyword-only arguments, got "
                f"{', '.join(bound.kwargs)}{at(user_source())}; let them be positional too (no * in the signature)"
            )
        bound.apply_defaults()
        return bound.args

    def _split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], list[Any], Any, Callable[..., tuple[Any, ...]]]:
        """The nondiff arguments, the flat differentiable leaves, their tree, and how to put all together again."""
        args = self._positional(args, kwargs)
        count = len(args)
        fixed = {i % count: args[i] for i in self.nondiff_argnums}
        for i, x in fixed.items():
            if any(type(leaf) is Tracer for leaf in tree.tree_leaves(x)):
                raise UnexpectedTracerError(
                    f"{described(self.fun)}: argument {i} is in nondiff_argnums but is traced{at(user_source())}; "
                    "take it out of nondiff_argnums and return zeros for its derivative"
                )
        leaves, in_tree = tree.tree_flatten(tuple([x for i, x in enumerate(args) if i not in fixed]))

        def join(flat: Sequence[Any]) -> tuple[Any, ...]:
            rest = iter(tree.tree_unflatten(in_tree, list(flat)))
            return tuple([fixed[i] if i in fixed else next(rest) for i in range(count)])

        arrays = arrays_of(leaves, lambda i: f"argument {i} of {described(self.fun)}")
        return list(fixed.values()), arrays, in_tree, join

    def _of_plain(self, args: tuple[Any, ...]) -> Any:
        """What the function itself makes of arguments that are not traced. If it closes over something that is, the result
        has no derivative."""
        out = self.fun(*args)
        if not open_traces or not any([isinstance(x, Tracer) for x in tree.tree_leaves(out)]):
            return out
        outputs, out_tree = tree.tree_flatten(settled_tree(out))
        if all([type(o) is not Tracer or is_boxed(o) for o in outputs]):
            return out
        found = _closing(name_of(self.fun), outputs)
        rules = Rules(name_of(self.fun), 0, found.call, closed=found.closed)
        return tree.tree_unflatten(out_tree, list(bind(_custom, tuple(found.closed), {"rules": rules})))

    def _flat_call(self, join: Callable[..., tuple[Any, ...]]) -> tuple[Callable[..., list[Any]], Callable[[], Any]]:
        """The function of the flat leaves, with flat outputs, and the tree of those that it returned last."""
        found: list[Any] = []

        @wraps(self.fun)
        def call(*flat: Any) -> list[Any]:
            out = self.fun(*join(flat))
            outputs, out_tree = tree.tree_flatten(out)
            found[:] = [out_tree]
            return arrays_of(outputs, lambda i: output_name(self.fun, out, i))

        return call, lambda: found[0]


def parts_of(ct: Any, argument: Any) -> list[Any] | None:
    """The leaves of a cotangent, None for each of those of a part that is None; None if it is not structured so."""
    leaves, prefix = tree.tree_flatten(ct, is_leaf=lambda x: x is None)
    try:
        structures = list(map(tree.tree_structure, prefix.flatten_up_to(argument)))
    except ValueError:
        return None
    if not all([x is None or tree.treedef_is_leaf(t) for x, t in zip(leaves, structures, strict=True)]):
        return None
    return [x for x, t in zip(leaves, structures, strict=True) for _ in range(t.num_leaves)]


def checked_like(found: Any, primals: Sequence[Any], name: str, rule: str, paths: Sequence[str]) -> list[Any]:
    """What a rule returned for one leaf after the other, each against the type of what it belongs to."""
    checked: list[Any] = []
    for x, primal, path in zip(found, primals, paths, strict=True):
        expected = type_of(primal)
        if x is None or type(x) is SymbolicZero or not is_inexact(expected.dtype):
            checked.append(None)
            continue
        where = f"what the {rule} rule of {name} returned for {path}"
        (x,) = arrays_of([x], [where].__getitem__)
        got = type_of(x)
        if got.shape != expected.shape:
            raise ShapeError(
                f"the {rule} rule of {name}, called{at(context.source)}, returned {got} for {path}, which is "
                f"{expected}; their shapes must be equal"
            )
        if number_kind(got.dtype) == "c" != number_kind(expected.dtype):
            raise DtypeError(
                f"the {rule} rule of {name}, called{at(context.source)}, returned {got} for {path}, which is "
                f"{expected}; return the real part of it (.real)"
            )
        checked.append(
            x
            if got.dtype == expected.dtype
            else np.astype(np.asarray(x) if got.weak and type(x) is not Tracer else x, expected.dtype)
        )
    return checked


class custom_jvp(_CustomFunction[P, R]):
    """A function with a forward derivative rule of its own. Reverse mode follows by transposing the rule.

    Args:
        fun: the function, of arrays and pytrees of them.
        nondiff_argnums: positions of arguments that are handed to the rule first, as they are.
        nondiff_argnames: the same by name; those of both then come in the order of the parameters.

    Give the rule with `defjvp(rule)`, where `rule(*nondiff, primals, tangents)` returns `(out, tangent_out)` and is
    linear in the tangents; or with `defjvps(*rules)`, one `rule(tangent, out, *primals)` for each argument (None: zero).

    >>> import numpy as np, tracegrad as tg
    >>> @tg.custom_jvp
    ... def log1pexp(x):
    ...     return np.log1p(np.exp(x))
    >>> @log1pexp.defjvp
    ... def _(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t / (1 + np.exp(-x))
    >>> float(tg.grad(log1pexp)(100.0))
    1.0
    """

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        super().__init__(fun, nondiff_argnums, nondiff_argnames)
        self.rule: Callable[..., Any] | None = None
        self.rules: tuple[Callable[..., Any] | None, ...] | None = None  # one for each argument
        self.symbolic_zeros = False

    def defjvp(self, rule: F, symbolic_zeros: bool = False) -> F:
        """Set the rule `(*nondiff, primals, tangents) -> (out, tangent_out)`. Usable as a decorator.

        With `symbolic_zeros` it gets a `tg.custom_derivatives.SymbolicZero` for each leaf of the tangents that is known
        to be zero, instead of an array of zeros, and may return such.
        """
        require_callable(rule, "custom_jvp", "(f).defjvp(rule)")
        self.rule, self.rules, self.symbolic_zeros = rule, None, bool(symbolic_zeros)
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Set one rule `(tangent, out, *primals) -> tangent_out` for each argument, None for a zero derivative."""
        self.rule, self.rules, self.symbolic_zeros = None, rules, False

    def _by_arguments(self, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        """The rule that those of `defjvps` make together."""
        rules = self.rules
        assert rules is not None
        call: Callable[..., R] = self
        out = call(*primals)
        total = None
        if len(rules) != len(primals):
            raise DifferentiationError(
                f"defjvps of {described(self.fun)} was given {len(rules)} rule{'s' * (len(rules) != 1)} for "
                f"{len(primals)} arguments; give one for each (None: zero)"
            )
        for r, t in zip(rules, tangents, strict=True):
            if r is not None:
                term = r(t, out, *primals)
                total = term if total is None else tree.tree_map(lambda a, b: a + b, total, term)
        return out, tree.tree_map(lambda o: np.zeros_like(o), out) if total is None else total

    @accepting_jax
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        fixed, leaves, in_tree, join = self._split(args, kwargs)
        if not any([type(x) is Tracer for x in leaves]):
            return self._of_plain(join(leaves))
        rule: Callable[..., Any] | None = self.rule if self.rules is None else self._by_arguments
        if rule is None:
            raise DifferentiationError(
                f"{described(self.fun)} has no rules yet, and is differentiated{at(user_source())}; give "
                "one with .defjvp(rule)"
            )
        zeros = _symbolic_zero if self.symbolic_zeros else zeros_like_type
        call, out_tree = self._flat_call(join)

        def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> list[Any]:
            full = [zeros(type_of(p)) if t is None else t for p, t in zip(primals, tangents, strict=True)]
            result = rule(*fixed, tree.tree_unflatten(in_tree, list(primals)), tree.tree_unflatten(in_tree, full))
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise DifferentiationError(
                    f"the jvp rule of {described(self.fun)} must return a pair (out, tangent_out), got "
                    f"{kind_of(result)}"
                )
            out_leaves, got_tree = tree.tree_flatten(result[0])
            tangent_leaves, tangent_tree = tree.tree_flatten(result[1])
            if got_tree != out_tree():
                raise ShapeError(
                    f"the jvp rule of {described(self.fun)} returned an output of structure {got_tree}, but the "
                    f"function itself returned {out_tree()}; return (f(*primals), tangent_out)"
                )
            if tangent_tree != got_tree:
                raise ShapeError(
                    f"the jvp rule of {described(self.fun)} returned an output of structure {got_tree} with a "
                    "tangent of "
                    f"structure {tangent_tree}; they must be equal"
                )
            paths = [f"output{tree.keystr(p)}" for p, _ in tree.tree_leaves_with_path(result[0])]
            return checked_like(tangent_leaves, out_leaves, described(self.fun), "jvp", paths)

        name = name_of(self.fun)
        outputs = call_by_rules(leaves, Rules(name, len(leaves), call, jvp=jvp), (self.fun, rule))
        return tree.tree_unflatten(out_tree(), list(outputs))


class custom_vjp(_CustomFunction[P, R]):
    """A function with a reverse derivative rule of its own. Forward mode follows by transposing the rule.

    Args:
        fun: the function, of arrays and pytrees of them.
        nondiff_argnums: positions of arguments that `bwd` gets first, as they are.
        nondiff_argnames: the same by name; those of both then come in the order of the parameters.

    Give the rules with `defvjp(fwd, bwd)`: `fwd(*args)` returns `(out, residuals)`, `bwd(*nondiff, residuals, ct)` a
    tuple of cotangents, one for each differentiable argument. None is zero, for a whole argument or a part of one.

    >>> import numpy as np, tracegrad as tg
    >>> @tg.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1.0, 1.0),))
    >>> float(tg.grad(lambda x: 10.0 * clip_gradient(x))(2.0))
    1.0
    """

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        super().__init__(fun, nondiff_argnums, nondiff_argnames)
        self.fwd: Callable[..., Any] | None = None
        self.bwd: Callable[..., Any] | None = None
        self.symbolic_zeros = False

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any], symbolic_zeros: bool = False) -> None:
        """Set the rules; see the class.

        With `symbolic_zeros` each leaf of the differentiable arguments comes to `fwd` as a
        `tg.custom_derivatives.CustomVJPPrimal`, with its `value` and whether it is `perturbed`, and `bwd` gets a
        `SymbolicZero` for each leaf of the cotangent that is known to be zero.
        """
        for rule in (fwd, bwd):
            require_callable(rule, "custom_vjp", "(f).defvjp(fwd, bwd)")
        self.fwd, self.bwd, self.symbolic_zeros = fwd, bwd, bool(symbolic_zeros)

    @accepting_jax
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        fixed, leaves, in_tree, join = self._split(args, kwargs)
        if not any([type(x) is Tracer for x in leaves]):
            return self._of_plain(join(leaves))
        if self.fwd is None or self.bwd is None:
            raise DifferentiationError(
                f"{described(self.fun)} has no rules yet, and is differentiated{at(user_source())}; give "
                "them with .defvjp(fwd, bwd)"
            )
        name = name_of(self.fun)
        fwd, bwd, symbolic = self.fwd, self.bwd, self.symbolic_zeros
        zeros = _symbolic_zero if symbolic else zeros_like_type
        call, out_tree = self._flat_call(join)

        def flat_fwd(primals: Sequence[Any], perturbed: Sequence[bool], out: Sequence[Any]) -> tuple[list[Any], Any]:
            given = list(map(CustomVJPPrimal, primals, perturbed)) if symbolic else primals
            result = fwd(*join(given))
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise DifferentiationError(
                    f"fwd of {described(self.fun)} must return a pair (out, residuals), got {kind_of(result)}"
                )
            outputs, structure = tree.tree_flatten(result[0])
            return outputs, (result[1], structure, [type_of(o) for o in outputs])

        def flat_bwd(residuals: Any, primals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
            kept, structure, types = residuals
            full = [zeros(t) if ct is None else ct for t, ct in zip(types, cts, strict=True)]
            found = bwd(*fixed, kept, tree.tree_unflatten(structure, full))
            arguments = tree.tree_unflatten(in_tree, list(primals))
            if not isinstance(found, tuple | list) or len(found) != len(arguments):
                raise DifferentiationError(
                    f"bwd of {described(self.fun)} must return a tuple with one cotangent for each of its "
                    f"{len(arguments)} differentiable argument{'s' * (len(arguments) != 1)}, got {kind_of(found)}"
                )
            flat: list[Any] = []
            for i, (ct, argument) in enumerate(zip(found, arguments, strict=True)):
                expected = tree.tree_structure(argument)
                parts = parts_of(ct, argument)
                if parts is None:
                    raise ShapeError(
                        f"bwd of {described(self.fun)} returned a cotangent of structure {tree.tree_structure(ct)} for "
                        f"argument {i}, whose structure is {expected}; they must be equal, but for None where a part is zero"
                    )
                flat.extend(parts)
            paths = [f"argument{tree.keystr(p)}" for p, _ in tree.tree_leaves_with_path(arguments)]
            return checked_like(flat, primals, described(self.fun), "vjp", paths)

        rules = Rules(name, len(leaves), call, fwd=flat_fwd, bwd=flat_bwd)
        outputs = call_by_rules(leaves, rules, (self.fun, fwd, bwd))
        return tree.tree_unflatten(out_tree(), list(outputs))
