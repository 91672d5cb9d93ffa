"""scan: a loop whose number of steps is known, as one equation.

Inputs of the equation are the carry, the stacked elements, the constants of the body; outputs the last carry and what the
steps gave, stacked. Its reverse derivative keeps, step by step, what the backward part of the body needs, and is a scan the
other way.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import ShapeError, at, clip, described, require_callable, user_source
from tracegrad.core.graph import Graph, closed, evaluate, remembered, replace
from tracegrad.core.names import wraps
from tracegrad.core.op import Held, Op, Params, Wanted, Written
from tracegrad.core.reuse import note_draws, warn_of_carries
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of, kind_of, trace_graph
from tracegrad.core.types import ArrayType, is_inexact, type_of
from tracegrad.lower.numpy.lines import assigned, empty
from tracegrad.lower.numpy.steps import loop_step
from tracegrad.lower.passes import simplify
from tracegrad.transforms.batch import rows_or_shared, with_batch
from tracegrad.transforms.control.behind import around_scan
from tracegrad.transforms.control.bodies import (
    LOOPS,
    Sections,
    active_carries,
    batched_body,
    own_carry,
    tangent_body,
    traced_until_stable,
)
from tracegrad.transforms.control.held import Parts, keeping, pruned
from tracegrad.transforms.control.held import reverse as derivative_of
from tracegrad.transforms.control.zeros import without
from tracegrad.transforms.linear import at_positions, strong, zeros_like_type


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
) -> tuple[Any, Any]:
    """Run `carry, y = f(carry, x)` over the elements of `xs` along axis 0.

    Args:
        f: a function of the carry and one element, both pytrees, that returns the next carry and what is kept of this step.
            It is traced by types only: once, and again if its carry has to be widened.
        init: the carry to start from. It keeps its shapes; its dtypes are widened to those that `f` makes of them.
        xs: a pytree of arrays with equal first axes, None for no elements.
        length: the number of steps; needed where `xs` has no arrays.
        reverse: from the last element to the first. What the steps give is stacked in the order of the elements.
        unroll: accepted as in jax; there is nothing to gain from it here.

    Returns:
        The last carry, and a pytree like `y` of arrays with an axis in front.

    Raises:
        DtypeError: a carry that goes back to a narrower dtype, from step to step.
        ShapeError: elements of different lengths, a carry that changes its shape or structure.

    >>> import numpy as np, tracegrad as tg
    >>> total, partial_sums = tg.lax.scan(lambda c, x: (c + x, c + x), 0.0, np.arange(4.0))
    >>> float(total), partial_sums.tolist()
    (6.0, [0.0, 1.0, 3.0, 6.0])
    """
    require_callable(f, "lax.scan", "(f, init, xs)")
    found, element_tree = tree.tree_flatten_with_path(xs)
    elements = arrays_of([x for _, x in found], lambda i: f"xs{tree.keystr(found[i][0])}")
    steps = _length(found, elements, length)
    leaves, carry_tree = tree.tree_flatten(init)
    carry = arrays_of(leaves, lambda i: f"init{tree.keystr(tree.tree_leaves_with_path(init)[i][0])}")
    types = [ArrayType(type_of(x).shape[1:], type_of(x).dtype) for x in elements]

    @wraps(f)
    def step(carry: Any, x: Any) -> Any:
        out = f(carry, x)
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(
                f"lax.scan{at(user_source())}: {described(f)} must return a pair (carry, y), got {kind_of(out)}; write "
                "`return carry, y`, with None for y if nothing is kept"
            )
        return out

    names = [f"the element{tree.keystr(path)}" for path, _ in found]
    body, carry = traced_until_stable(
        "lax.scan", f, step, carry_tree, carry, element_tree, types, names, lambda out: out[0], repeats=steps > 1
    )
    note_draws(body.draws, [*carry, *elements])
    if steps > 1:
        warn_of_carries(body.graph, len(carry), body.draws)
    params = {
        "body": body.graph, "carries": len(carry), "elements": len(elements), "length": steps, "reverse": bool(reverse),
    }  # fmt: skip
    outs = bind(scan_op, (*carry, *elements, *body.consts), params)
    return tree.tree_unflatten(body.out_tree, list(outs))


def _length(found: Sequence[Any], elements: Sequence[Any], length: int | None) -> int:
    """The number of steps, on which all must agree."""
    try:
        steps = None if length is None else operator.index(length)
    except TypeError as error:
        if isinstance(length, Tracer):
            raise  # whose own error says more
        raise TypeError(
            f"lax.scan{at(user_source())}: length, the number of steps, must be an int, got {clip(repr(length))} of type "
            f"{type(length).__name__}; write int(n)"
        ) from error
    for (path, _), x in zip(found, elements, strict=True):
        t = type_of(x)
        if not t.shape:
            raise ShapeError(
                f"lax.scan{at(user_source())}: xs{tree.keystr(path)} is {t}, without an axis to run over; close over what "
                "all steps share"
            )
        if steps is None:
            steps = t.shape[0]
        elif t.shape[0] != steps:
            other = f"length={length}" if length is not None else f"xs{tree.keystr(found[0][0])} has {steps}"
            raise ShapeError(
                f"lax.scan{at(user_source())}: xs{tree.keystr(path)}, {t}, has {t.shape[0]} elements, but {other}; all "
                "must have equally many"
            )
    if steps is None or steps < 0:
        raise ShapeError(
            f"lax.scan{at(user_source())}: without arrays in xs the number of steps is needed, got length={length}; write "
            "length=n"
        )
    return steps


# ---------------------------------------------------------------------------------------------------------------------
# The op.


def _sections(params: Params) -> Sections:
    """Of the inputs, and of those of the body."""
    carries, elements = params["carries"], params["elements"]
    return Sections(carry=carries, element=elements, const=len(params["body"].inputs) - carries - elements)


def _rows(y: Any, order: range) -> Iterator[Any]:
    """The places in an array for what the steps give. One of a single axis gives numbers by itself, and not where they are."""
    return iter(y[:: order.step]) if y.ndim > 1 else (y[i, ...] for i in order)


def _scan(*arrays: Any, body: Graph, carries: int, elements: int, length: int, reverse: bool) -> tuple[Any, ...]:
    stacked = [np.empty((length, *t.shape), t.dtype) for t in body.out_types[carries:]]
    xs, consts = arrays[carries : carries + elements], arrays[carries + elements :]
    step = loop_step(body, carries, consts, [x[0] for x in xs] if length else ())
    carry: Sequence[Any] = arrays[:carries]
    order = range(length)[::-1] if reverse else range(length)
    elements_of = zip(*[x[::-1] if reverse else x for x in xs], strict=True) if xs else itertools.repeat(())
    rows_of = zip(*[_rows(y, order) for y in stacked], strict=True) if stacked else itertools.repeat(())
    for _i, x, rows in zip(order, elements_of, rows_of, strict=False):
        carry = step(carry, x, rows)
    return (*own_carry(carry, arrays), *stacked)


LOOPS[_scan.__code__] = "scan", "_i"


def _scan_replay(run: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    given, length, carries = _sections(params).split(inputs), params["length"], params["carries"]
    stacked = [np.zeros((length, *t.shape), t.dtype) for t in params["body"].out_types[carries:]]
    carry = given.carry
    for i in range(length - 1, -1, -1) if params["reverse"] else range(length):
        outs = run(f"step {i} of scan", params["body"], [*carry, *[x[i] for x in given.element], *given.const])
        carry = outs[:carries]
        for y, out in zip(stacked, outs[carries:], strict=True):
            y[i, ...] = out
    return [*carry, *stacked]


def _scan_flows(walk: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    given, length, carries = _sections(params).split(inputs), params["length"], params["carries"]
    carry = given.carry
    rows: list[Any] = [None] * length
    for i in range(length - 1, -1, -1) if params["reverse"] else range(length):
        outs = walk(params["body"], [*carry, *[x.at(i) for x in given.element], *given.const])
        carry, rows[i] = outs[:carries], outs[carries:]
    kind = type(inputs[0])
    types = _scan_type([x.type for x in inputs], params)[carries:]
    return [*carry, *[kind.stacked([row[j] for row in rows], t) for j, t in enumerate(types)]]


def _scan_series(expanded: Any, inputs: Sequence[Sequence[Any]], params: Params) -> Sequence[Any]:
    given = _sections(params).split(inputs)
    carry, elements, consts = [[c for x in part for c in x] for part in (given.carry, given.element, given.const)]
    changed = {**params, "body": expanded(params["body"]), "carries": len(carry), "elements": len(elements)}
    outs: Sequence[Any] = bind(scan_op, (*carry, *elements, *consts), changed)
    return outs


def _scan_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    outs, carries = params["body"].out_types, params["carries"]
    return (*outs[:carries], *[ArrayType((params["length"], *t.shape), t.dtype) for t in outs[carries:]])


def _scan_expand(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    """For a linear map that is transposed op by op: step by step, in as many equations as that takes."""
    if not trace.linear:
        return None
    given, carries, length = _sections(params).split(inputs), params["carries"], params["length"]
    carry = given.carry
    rows: list[Any] = [None] * length
    for i in range(length - 1, -1, -1) if params["reverse"] else range(length):
        outs = evaluate(params["body"], [*carry, *[x[i] for x in given.element], *given.const])
        carry, rows[i] = outs[:carries], outs[carries:]
    types = params["body"].out_types[carries:]
    stacked = [
        np.stack([row[j] for row in rows]) if length else np.zeros((0, *t.shape), t.dtype) for j, t in enumerate(types)
    ]
    return [*carry, *stacked]


def _scan_parts(params: Params, wanted: Wanted) -> Parts:
    key = "scan parts", *[params[name] for name in ("carries", "elements", "length", "reverse")], wanted
    return remembered(params["body"], key, lambda: _reversed(params, wanted))


def _reversed(params: Params, wanted: Wanted) -> Parts:
    """The body of the scan the other way takes (cotangents of the active carries, sums of those of constants), (what is needed
    of the step, cotangents of what it gave), (the constants needed)."""
    body: Graph = params["body"]
    carries, count = params["carries"], len(body.outputs)
    ends = carries + params["elements"]
    wanted = tuple([i for i in wanted if is_inexact(body.in_types[i].dtype)])
    active = active_carries(body, carries, wanted)
    parts = derivative_of(body, (*active, *[i for i in wanted if i >= carries]), carries=carries)
    # What the steps do not have anyhow they give: residuals, and carries before and after them.
    held = [place for place in parts.needs if place[1] < carries or place >= (1, count)]
    more = parts.needed(parts.forward.inputs, parts.forward.outputs)
    outputs = [a for a, place in zip(more, parts.needs, strict=True) if place in held]
    forward = replace(parts.forward, outputs=(*parts.forward.outputs[:count], *outputs))
    places = {place: (1, count + k) for k, place in enumerate(held)}
    varying = [places.get(place, place) for place in parts.needs if place[0] == 1 or place[1] < ends]
    constant = [i for which, i in parts.needs if which == 0 and i >= ends]
    summed = [i for i in parts.found if i >= ends]
    given = [i for i in parts.given if i >= carries]
    sections = Sections(ct=len(active), sum=len(summed), varying=len(varying), given=len(given), constant=len(constant))
    found: list[int] = []

    def step(*arrays: Any) -> list[Any]:
        s = sections.split(arrays)
        moving, fixed = iter(s.varying), iter(s.constant)
        needed = [next(fixed) if which == 0 and i >= ends else next(moving) for which, i in parts.needs]
        cts = at_positions(count, (*active, *given), s.ct + s.given)
        pulled = parts.pull(needed, cts, evaluate)
        found.extend([i for i in pulled if carries <= i < ends])
        return [
            *[pulled[i] if i in pulled else zeros_like_type(strong(body.in_types[i])) for i in active],
            *[total + pulled[i] if i in pulled else total for i, total in zip(summed, s.sum, strict=True)],
            *[pulled[i] for i in found],
        ]

    needs = list(zip(parts.needs, parts.backward.in_types, strict=False))
    types = sections.join(
        ct=[strong(body.in_types[i]) for i in active],
        sum=[strong(body.in_types[i]) for i in summed],
        varying=[t for (which, i), t in needs if which == 1 or i < ends],
        given=[strong(body.out_types[i]) for i in given],
        constant=[t for (which, i), t in needs if which == 0 and i >= ends],
    )
    traced = trace_graph(step, types, transform="vjp", user_function=body, abstract=True)
    backward = {
        "body": simplify(replace(traced, name=f"{body.name}_backward")), "carries": len(active) + len(summed),
        "elements": len(varying) + len(given), "length": params["length"], "reverse": not params["reverse"],
    }  # fmt: skip
    takes = sections.join(
        ct=[(2, i) for i in active], sum=[None] * len(summed), varying=varying, given=[(2, i) for i in given],
        constant=[(0, i) for i in constant],
    )  # fmt: skip
    return Parts({**params, "body": forward}, (), count, backward, takes, types, (*active, *summed, *found))


def _scan_without(params: Params, zeros: tuple[int, ...]) -> tuple[Params, Any, Any, tuple[Any, ...]]:
    """A carry that is zero before a step and after it is zero always."""
    body, carries = params["body"], params["carries"]
    ends = carries + params["elements"]
    while True:
        kept = [i for i in range(carries) if i not in zeros]
        rest = without(body, zeros, kept, kept)
        grown = {i for i in rest.found if i < carries}.difference(kept)
        if not grown:
            break
        zeros = tuple([i for i in zeros if i not in grown])
    graph, consts = closed(rest.graph)
    elements = len([i for i in rest.left if carries <= i < ends])
    return {**params, "body": graph, "carries": len(kept), "elements": elements}, rest.left, rest.found, consts


def _scan_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    carries = params["carries"]
    body: Graph = params["body"]
    wanted = tuple([i for i, t in enumerate(tangents) if t is not None])
    active, graph, found = tangent_body(body, carries, params["elements"], wanted)
    start = [zeros_like_type(strong(body.in_types[i])) if tangents[i] is None else tangents[i] for i in active]
    values, moved = _sections(params).split(primals), _sections(params).split(tangents)
    varying = [t for t in moved.element if t is not None]
    shared = [t for t in moved.const if t is not None]
    inputs = (*values.carry, *start, *values.element, *varying, *values.const, *shared)
    changed = {
        **params, "body": graph, "carries": carries + len(active), "elements": params["elements"] + len(varying)
    }  # fmt: skip
    results = bind(scan_op, inputs, changed)
    by_output = dict(zip(active, results[carries:], strict=False))
    by_output |= dict(zip([carries + i for i in found], results[len(out) + len(active) :], strict=True))
    return [by_output.get(i) for i in range(len(out))]


def _scan_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    carries = params["carries"]
    graph, flags, varying = batched_body(params["body"], carries, size, tuple(batched))
    inputs = [with_batch(x, size) if f and not b else x for x, b, f in zip(inputs, batched, flags, strict=True)]
    given, which = _sections(params).split(inputs), _sections(params).split(batched)
    elements = [np.moveaxis(x, 0, 1) if b else x for x, b in zip(given.element, which.element, strict=True)]
    outs = bind(scan_op, (*given.carry, *elements, *given.const), {**params, "body": graph})
    stacked = [np.moveaxis(y, 1, 0) if v else y for y, v in zip(outs[carries:], varying[carries:], strict=True)]
    return rows_or_shared([*outs[:carries], *stacked], varying)


def _scan_prune(
    inputs: tuple[Any, ...], params: Params, used: Sequence[bool]
) -> tuple[tuple[Any, ...], Params, Sequence[int]]:
    """Without what the steps give and nobody reads, and the elements and constants that it alone needed."""
    carries, ends = params["carries"], params["carries"] + params["elements"]
    outputs = tuple([i for i, flag in enumerate(used) if flag or i < carries])
    (body,), left = pruned((params["body"],), outputs, range(carries))
    elements = len([i for i in left if carries <= i < ends])
    return tuple([inputs[i] for i in left]), {**params, "body": body, "elements": elements}, outputs


def _scan_write(types: Sequence[ArrayType], params: Params) -> Written:
    body, carries, length = params["body"], params["carries"], params["length"]

    def lines(
        functions: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], fresh: Callable[[str], str]
    ) -> list[str]:
        given = _sections(params).split(inputs)
        carry = [fresh("carry") if name == "_" else name for name in outputs[:carries]]
        before = [f"{name} = {start}" for name, start in zip(carry, given.carry, strict=True)]
        stacked = outputs[carries:]
        for name, t in zip(stacked, body.out_types[carries:], strict=True):
            if name != "_":
                before.append(f"{name} = {empty((length, *t.shape), t.dtype)}")
        is_counted = given.element or any([name != "_" for name in stacked])
        i = fresh("i") if is_counted else "_"
        steps = f"reversed(range({length}))" if params["reverse"] and is_counted else f"range({length})"
        results = [*carry, *[name if name == "_" else f"{name}[{i}]" for name in stacked]]
        step = assigned(results, functions[0], [*carry, *[f"{x}[{i}]" for x in given.element], *given.const])
        return [*before, f"for {i} in {steps}:", f"    {step}"]

    return Written([body], lines)


scan_op: Op = Op(
    "scan",
    evaluate=_scan,
    infer=_scan_type,
    jvp=_scan_jvp,
    batch=_scan_batch,
    held=Held(
        _scan_expand,
        *keeping(lambda: scan_op, _scan_parts),
        _scan_without,
        None,
        _scan_prune,
        _scan_replay,
        write=_scan_write,
        flows=_scan_flows,
        series=_scan_series,
        ahead=around_scan,
    ),
    multiple_results=True,
    never_aliases=True,
    kinds="",
)
