"""scan: a loop whose number of steps is known, as one equation.

Its reverse derivative keeps, step by step, what the backward part of the body needs, and is a scan the other way.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import ShapeError, at, clip, described, name_of, require_callable, user_source
from tracegrad.core.graph import Graph, evaluate, remembered
from tracegrad.core.op import Held, Op, Params, Wanted
from tracegrad.core.trace import Trace, Tracer, bind
from tracegrad.core.tracing import arrays_of, kind_of, trace_graph
from tracegrad.core.types import ArrayType, is_inexact, type_of
from tracegrad.lower.numpy.steps import loop_step
from tracegrad.lower.passes import eliminate_dead_code, simplify
from tracegrad.transforms.batch import with_batch
from tracegrad.transforms.control.bodies import (
    active_carries,
    batched_body,
    own_carry,
    tangent_body,
    traced_until_stable,
)
from tracegrad.transforms.control.call import Reverse
from tracegrad.transforms.control.call import reverse as derivative_of
from tracegrad.transforms.linear import strong, zeros_like_type

# ---------------------------------------------------------------------------------------------------------------------
# scan. Inputs of the equation are the carry, the stacked elements, the constants of the body; outputs the last carry and
# what the steps gave, stacked.


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

    def step(carry: Any, x: Any) -> Any:
        out = f(carry, x)
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(
                f"lax.scan{at(user_source())}: {described(f)} must return a pair (carry, y), got {kind_of(out)}; write "
                "`return carry, y`, with None for y if nothing is kept"
            )
        return out

    step.__name__ = name_of(f)
    names = [f"the element{tree.keystr(path)}" for path, _ in found]
    body, carry = traced_until_stable(
        "lax.scan", f, step, carry_tree, carry, element_tree, types, names, lambda out: out[0]
    )
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


def _scan(
    *arrays: Any, body: Graph, carries: int, elements: int, length: int, reverse: bool, of: Any = None, wanted: Any = ()
) -> tuple[Any, ...]:
    stacked = [np.empty((length, *t.shape), t.dtype) for t in body.out_types[carries:]]
    xs, consts = arrays[carries : carries + elements], arrays[carries + elements :]
    step = loop_step(body, carries, consts)
    carry: Sequence[Any] = arrays[:carries]
    for i in range(length - 1, -1, -1) if reverse else range(length):
        carry = step(carry, [x[i] for x in xs], [y[i, ...] for y in stacked])
    return (*own_carry(carry, arrays), *stacked)


def _scan_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    outs, carries = params["body"].out_types, params["carries"]
    return (*outs[:carries], *[ArrayType((params["length"], *t.shape), t.dtype) for t in outs[carries:]])


class ScanReverse(NamedTuple):
    """The reverse derivative of a scan.

    parts      that of its body
    active     the carries that have cotangents
    forward    the body that gives besides what the backward part needs of each step
    keys       what that is: ("input", i) or (equation, output)
    backward   the body of the scan the other way: of (cotangents of the active carries, sums of those of constants), (what
               is needed of the step, cotangents of what it gave), (the constants needed)
    """

    parts: Reverse
    active: list[int]
    forward: Graph
    keys: list[Any]
    backward: Graph


def _scan_reverse(params: Params, wanted: Wanted, given: tuple[int, ...]) -> ScanReverse:
    """For cotangents of the active carries and of the stacked outputs `given`."""
    body: Graph = params["body"]
    carries, elements = params["carries"], params["elements"]

    def make() -> ScanReverse:
        active = active_carries(body, carries, wanted)
        others = [i for i in wanted if i >= carries]
        parts = derivative_of(body, (*active, *others), (*active, *[carries + i for i in given]))
        count = len(body.outputs)
        kept = {
            v: key
            for (which, i), (v, key) in zip(parts.needs, _keys(parts), strict=True)
            if _place(which, i, carries, elements, count) == "stacked"
        }
        forward = replace(parts.forward, outputs=(*parts.forward.outputs[:count], *kept))
        return ScanReverse(parts, active, forward, list(kept.values()), _backward_body(params, parts, active, given))

    return remembered(body, ("scan reverse", carries, elements, wanted, given), make)


def _keys(parts: Reverse) -> list[tuple[Any, Any]]:
    """What the backward part needs, each with a name for it that is the same whatever cotangents there are."""
    numbers: dict[Any, Any] = {v: (k, j) for k, e in enumerate(parts.forward.eqns) for j, v in enumerate(e.outputs)}
    found: list[Any] = [(parts.forward.inputs if which == 0 else parts.forward.outputs)[i] for which, i in parts.needs]
    return [(v, numbers.get(v, ("input", i))) for v, (_, i) in zip(found, parts.needs, strict=True)]


def _place(which: int, i: int, carries: int, elements: int, outputs: int) -> str:
    """Where a scan has what its body's backward part needs."""
    if which == 0 and i >= carries:
        return "element" if i < carries + elements else "constant"
    return "given" if which == 1 and carries <= i < outputs else "stacked"


def _backward_body(params: Params, parts: Reverse, active: Sequence[int], given: Sequence[int]) -> Graph:
    body: Graph = params["body"]
    carries, elements, count = params["carries"], params["elements"], len(params["body"].outputs)
    summed = [i for i in parts.found if i >= carries + elements]
    places = [_place(which, i, carries, elements, count) for which, i in parts.needs]

    def step(*arrays: Any) -> list[Any]:
        rest = iter(arrays)
        cts = [next(rest) for _ in active]
        sums = [next(rest) for _ in summed]
        varying = iter([next(rest) for p in places if p != "constant"])
        cts += [next(rest) for _ in given]
        needs = [next(rest) if p == "constant" else next(varying) for p in places]
        found = dict(zip(parts.found, evaluate(parts.backward, [*needs, *cts]), strict=True))
        zeros = [zeros_like_type(strong(body.in_types[i])) for i in active]
        return [
            *[found.get(i, zero) for i, zero in zip(active, zeros, strict=True)],
            *[s + found[i] for i, s in zip(summed, sums, strict=True)],
            *[found[i] for i in parts.found if carries <= i < carries + elements],
        ]

    needs = parts.backward.in_types[: len(places)]
    types = [
        *[strong(body.in_types[i]) for i in (*active, *summed)],
        *[t for t, p in zip(needs, places, strict=True) if p != "constant"],
        *[strong(body.out_types[carries + i]) for i in given],
        *[t for t, p in zip(needs, places, strict=True) if p == "constant"],
    ]
    graph = trace_graph(step, types, transform="vjp", user_function=body, abstract=True)
    return simplify(replace(graph, name=f"{body.name}_backward"))


def _scan_expand(top: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    if top.linear:
        return _unrolled(inputs, params)
    if not top.reverse or "of" in params:
        return None
    wanted = tuple([i for i, x in enumerate(inputs) if type(x) is Tracer and x.origin is top])
    wanted = tuple([i for i in wanted if is_inexact(type_of(inputs[i]).dtype)])
    body = params["body"]
    forward = _scan_reverse(params, wanted, _floating_stacked(params)).forward
    return bind(scan_op, inputs, {**params, "body": forward, "of": body, "wanted": wanted})[: len(body.outputs)]


def _floating_stacked(params: Params) -> tuple[int, ...]:
    stacked = params["body"].out_types[params["carries"] :]
    return tuple([i for i, t in enumerate(stacked) if is_inexact(t.dtype)])


def _unrolled(inputs: Sequence[Any], params: Params) -> list[Any]:
    """Step by step, in as many equations as that takes: for a linear map that is transposed op by op."""
    carries, elements, length = params["carries"], params["elements"], params["length"]
    carry, xs, consts = list(inputs[:carries]), inputs[carries : carries + elements], inputs[carries + elements :]
    rows: list[Any] = [None] * length
    for i in range(length - 1, -1, -1) if params["reverse"] else range(length):
        outs = evaluate(params["body"], [*carry, *[x[i] for x in xs], *consts])
        carry, rows[i] = outs[:carries], outs[carries:]
    types = params["body"].out_types[carries:]
    stacked = [
        np.stack([row[j] for row in rows]) if length else np.zeros((0, *t.shape), t.dtype) for j, t in enumerate(types)
    ]
    return [*carry, *stacked]


def _scan_vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    carries, elements = params["carries"], params["elements"]
    of = params.get("of")
    floats = tuple([i for i in wanted if is_inexact(type_of(primals[i]).dtype)])
    called = None
    if of is not None and floats == params["wanted"] and all([ct is None for ct in cts[len(of.outputs) :]]):
        params = {**params, "body": of}
        called = _scan_reverse(params, floats, _floating_stacked(params))
        cts = cts[: len(of.outputs)]
    params = {k: v for k, v in params.items() if k not in ("of", "wanted")}
    body: Graph = params["body"]
    count = len(body.outputs)
    given = tuple([i for i, ct in enumerate(cts[carries:]) if ct is not None])
    back = _scan_reverse(params, floats, given)
    kept = None if called is None else _kept(back, called, out[count:])
    if kept is None:
        # Not what was foreseen when it was run, as in a second derivative: run again for what is needed.
        out = bind(scan_op, tuple(primals), {**params, "body": back.forward})
        kept = out[count:]
    by_key = dict(zip(back.keys, kept, strict=True))
    varying, constant = [], []
    for (which, i), (_, key) in zip(back.parts.needs, _keys(back.parts), strict=True):
        place = _place(which, i, carries, elements, count)
        if place == "constant":
            constant.append(primals[i])
        elif place == "element":
            varying.append(primals[i])
        elif place == "given":
            varying.append(out[i])
        else:
            varying.append(by_key[key])
    summed = [i for i in back.parts.found if i >= carries + elements]
    start = [zeros_like_type(strong(body.in_types[i])) if cts[i] is None else cts[i] for i in back.active]
    start += [zeros_like_type(strong(body.in_types[i])) for i in summed]
    steps = [*varying, *[cts[carries + i] for i in given]]
    results = bind(
        scan_op,
        (*start, *steps, *constant),
        {
            "body": back.backward, "carries": len(start), "elements": len(steps), "length": params["length"],
            "reverse": not params["reverse"],
        },
    )  # fmt: skip
    by_element = [i for i in back.parts.found if carries <= i < carries + elements]
    found = dict(zip([*back.active, *summed, *by_element], results, strict=True))
    return [found.get(i) for i in wanted]


def _kept(back: ScanReverse, called: ScanReverse, kept: Sequence[Any]) -> list[Any] | None:
    """What the steps kept, for some of the cotangents, if the scan was run for all of them; None if it is not all there."""
    if back is called:
        return list(kept)
    if [e.op for e in back.parts.forward.eqns] != [e.op for e in called.parts.forward.eqns]:
        return None
    if not set(back.keys) <= set(called.keys):
        return None
    return [kept[called.keys.index(key)] for key in back.keys]


def _scan_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    carries, elements = params["carries"], params["elements"]
    body: Graph = params["body"]
    wanted = tuple([i for i, t in enumerate(tangents) if t is not None])
    active, graph, found = tangent_body(body, carries, elements, wanted)
    others = [i for i in wanted if i >= carries]
    start = [zeros_like_type(strong(body.in_types[i])) if tangents[i] is None else tangents[i] for i in active]
    ends = carries + elements
    inputs = (
        *primals[:carries], *start, *primals[carries:ends], *[tangents[i] for i in others if i < ends],
        *primals[ends:], *[tangents[i] for i in others if i >= ends],
    )  # fmt: skip
    results = bind(
        scan_op,
        inputs,
        {
            "body": graph, "carries": carries + len(active), "elements": elements + sum([i < ends for i in others]),
            "length": params["length"], "reverse": params["reverse"],
        },
    )  # fmt: skip
    by_output = dict(zip(active, results[carries:], strict=False))
    by_output |= dict(zip([carries + i for i in found], results[len(out) + len(active) :], strict=True))
    return [by_output.get(i) for i in range(len(out))]


def _scan_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    carries, elements = params["carries"], params["elements"]
    ends = carries + elements
    graph, flags = batched_body(params["body"], carries, size, tuple(batched))
    inputs = [with_batch(x, size) if f and not b else x for x, b, f in zip(inputs, batched, flags, strict=True)]
    inputs[carries:ends] = [
        np.moveaxis(x, 0, 1) if b else x for x, b in zip(inputs[carries:ends], batched[carries:ends], strict=True)
    ]
    outs = bind(scan_op, tuple(inputs), {**_plain(params), "body": graph})
    last = [x if f else with_batch(x, size) for x, f in zip(outs[:carries], flags, strict=False)]
    return (*last, *[np.moveaxis(y, 1, 0) for y in outs[carries:]])


def _plain(params: Params) -> Params:
    return {k: v for k, v in params.items() if k not in ("of", "wanted")}


def _scan_prune(
    inputs: tuple[Any, ...], params: Params, used: Sequence[bool]
) -> tuple[tuple[Any, ...], Params, Sequence[int]]:
    """Without what the steps give and nobody reads, and the elements and constants that it alone needed."""
    body, carries, elements = params["body"], params["carries"], params["elements"]
    left = [i for i, flag in enumerate(used) if flag or i < carries]
    smaller = eliminate_dead_code(replace(body, outputs=tuple([body.outputs[i] for i in left])))
    read = {a for e in smaller.eqns for a in e.inputs} | set(smaller.outputs)
    kept = [i for i, v in enumerate(smaller.inputs) if i < carries or v in read]
    smaller = replace(smaller, inputs=tuple([smaller.inputs[i] for i in kept]))
    count = sum([carries <= i < carries + elements for i in kept])
    changed = {**_plain(params), "body": remembered(body, ("pruned", tuple(left)), lambda: smaller), "elements": count}
    return tuple([inputs[i] for i in kept]), changed, left


scan_op = Op(
    "scan", evaluate=_scan, infer=_scan_type, jvp=_scan_jvp, vjp=_scan_vjp, batch=_scan_batch,
    held=Held(expand=_scan_expand, prune=_scan_prune), several=True, fresh=True, kinds="",
)  # fmt: skip
