"""while_loop: a loop that runs as long as a condition holds, as one equation, differentiable in both modes.

Its reverse derivative runs the loop again to have the states that it went through, all of them or, under a bound on memory,
some, from which it runs stretches once more (Griewank, "Achieving logarithmic growth of temporal and spatial complexity in
reverse automatic differentiation", Optimization Methods and Software 1, 1992). Both derivatives of that derivative are
while loops and reverse derivatives of while loops again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.context import context
from tracegrad.core.errors import ShapeError, at, described, require_callable, user_source
from tracegrad.core.graph import Graph, Var, evaluate, remembered, replace
from tracegrad.core.names import wraps
from tracegrad.core.op import Held, Op, Params, Wanted, Written
from tracegrad.core.reuse import note_draws, warn_of_carries
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import concrete
from tracegrad.core.tracing import arrays_of, trace_graph
from tracegrad.core.types import ArrayType, is_inexact, type_of
from tracegrad.lower.numpy.lines import assigned, zeros
from tracegrad.lower.numpy.steps import loop_step
from tracegrad.lower.numpy.writer import compiled
from tracegrad.lower.passes import simplify
from tracegrad.transforms.batch import Batched, batch_graph, batched_types, rows_or_shared, with_batch
from tracegrad.transforms.control.bodies import (
    LOOPS,
    Sections,
    active_carries,
    batched_body,
    own_carry,
    tangent_body,
    traced_body,
    traced_until_stable,
    where,
)
from tracegrad.transforms.control.budget import size_in_bytes
from tracegrad.transforms.control.held import again
from tracegrad.transforms.control.held import reverse as derivative_of
from tracegrad.transforms.linear import strong, zeros_like_type
from tracegrad.typing import PyTree

# ---------------------------------------------------------------------------------------------------------------------
# while_loop. Inputs of the equation are the carry, the constants of the body, those of the condition; outputs the last
# carry.


def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any, *, memory: int | str | None = None
) -> PyTree:
    """Run `val = body_fun(val)` as long as `cond_fun(val)` holds.

    Args:
        cond_fun: a function of the carry that returns a boolean scalar.
        body_fun: a function of the carry, a pytree, that returns the next one. Both are traced by types only.
        init_val: the carry to start from. It keeps its shapes; its dtypes are widened to those that `body_fun` makes of them.
        memory: how much reverse mode may keep of the states that the loop went through, in bytes or as in "64MB"; None for
            all of them. What is not kept is computed again.

    Returns:
        The first carry for which the condition does not hold. It is differentiable in both modes, to any order.

    Raises:
        DtypeError: a carry that goes back to a narrower dtype, from step to step.
        ShapeError: a carry that changes its shape or structure, a condition that is no boolean scalar.

    >>> import tracegrad as tg
    >>> root = lambda x: tg.lax.while_loop(lambda y: abs(y * y - x) > 1e-12, lambda y: (y + x / y) / 2, x)
    >>> round(float(tg.grad(root)(4.0)), 6)
    0.25
    """
    require_callable(cond_fun, "lax.while_loop", "(cond, f, init)")
    require_callable(body_fun, "lax.while_loop", "(cond, f, init)")
    leaves, carry_tree = tree.tree_flatten(init_val)
    carry = arrays_of(leaves, lambda i: f"init_val{tree.keystr(tree.tree_leaves_with_path(init_val)[i][0])}")

    @wraps(body_fun)
    def step(carry: Any) -> Any:
        return where(lambda: cond_fun(carry), body_fun, carry)

    body, carry = traced_until_stable(
        "lax.while_loop", body_fun, step, carry_tree, carry, None, [], [], lambda out: out
    )
    types = [type_of(c) for c in carry]
    names = [f"the carry{tree.keystr(p)}" for p, _ in tree.tree_leaves_with_path(init_val)]
    in_tree = tree.tree_structure((tree.tree_unflatten(carry_tree, [0] * len(carry)),))
    cond = traced_body(cond_fun, in_tree, types, "lax.while_loop", names)
    note_draws(body.draws, carry)
    note_draws(cond.draws, carry)
    warn_of_carries(body.graph, len(carry), {**cond.draws, **body.draws})
    if len(cond.graph.outputs) != 1 or cond.graph.out_types[0].shape or cond.graph.out_types[0].dtype != bool:
        found = ", ".join(map(str, cond.graph.out_types)) or "nothing"
        raise ShapeError(
            f"lax.while_loop{at(user_source())}: the condition {described(cond_fun)} must return one boolean, got {found}; "
            "write a comparison, or np.any(...), np.all(...) of several"
        )
    params = {
        "cond": cond.graph, "body": body.graph, "carries": len(carry), "consts": len(body.consts),
        "memory": None if memory is None else size_in_bytes(memory, "lax.while_loop"),
    }  # fmt: skip
    outs = bind(while_op, (*carry, *body.consts, *cond.consts), params)
    return tree.tree_unflatten(carry_tree, list(outs))


def _sections(params: Params) -> Sections:
    """Of the inputs: the carry, the constants of the body, those of the condition."""
    return Sections(carry=params["carries"], body=params["consts"], cond=len(params["cond"].inputs) - params["carries"])


def _loop(params: Params, cond: Graph, body: Graph, carries: int, consts: int) -> Params:
    """The params of a loop like another, or like that of which this is the reverse derivative."""
    return {"cond": cond, "body": body, "carries": carries, "consts": consts, "memory": params["memory"]}


def _while(*arrays: Any, cond: Graph, body: Graph, carries: int, consts: int, memory: int | None) -> tuple[Any, ...]:
    holds, step = compiled(cond), loop_step(body, carries, arrays[carries : carries + consts])
    carry: Sequence[Any] = arrays[:carries]
    others = arrays[carries + consts :]
    number = 0
    while holds(*carry, *others)[0]:
        carry = step(carry, (), ())
        number += 1
    return tuple(own_carry(carry, arrays))


LOOPS[_while.__code__] = "while_loop", "number"


# Of a Graph a function of its inputs.
Run = Callable[[Graph], Callable[..., Sequence[Any]]]


def _op_by_op(graph: Graph) -> Callable[..., Sequence[Any]]:
    """As a linear map has it that will be transposed."""
    return lambda *arrays: evaluate(graph, arrays)


def _states(given: Any, params: Params, run: Run) -> Iterator[Any]:
    """All the states that a loop goes through, from the first to the one for which the condition does not hold."""
    holds, step = run(params["cond"]), run(params["body"])
    carry = given.carry
    yield carry
    while concrete(holds(*carry, *given.cond)[0], "the condition of lax.while_loop"):
        carry = step(*carry, *given.body)
        yield carry


def _steps(inputs: Sequence[Any], params: Params) -> int:
    """How many steps a loop takes."""
    given = _sections(params).split(inputs)
    return sum(1 for _ in _states(given, params, compiled)) - 1


def _while_replay(run: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    given = _sections(params).split(inputs)
    carry, step = given.carry, 0
    while run(f"the condition of while_loop, step {step}", params["cond"], [*carry, *given.cond])[0]:
        carry = run(f"step {step} of while_loop", params["body"], [*carry, *given.body])
        step += 1
    return carry


def _while_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    return params["body"].out_types


def _while_expand(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    if not trace.linear:
        return None
    *_, last = _states(_sections(params).split(inputs), params, _op_by_op)
    return last


def _with_tangent_loop(primals: Sequence[Any], tangents: Mapping[int, Any], params: Params) -> Any:
    """The loop that carries tangents too: its inputs and params, the carries that have them, and where in its inputs each
    input and each tangent is."""
    carries, body, cond = params["carries"], params["body"], params["cond"]
    count = len(body.inputs)
    wanted = tuple(sorted([i for i in tangents if i < count]))
    active, graph, _ = tangent_body(body, carries, 0, wanted)
    others = [i for i in wanted if i >= carries]
    start = [tangents[i] if i in tangents else zeros_like_type(strong(body.in_types[i])) for i in active]
    moving = [Var(strong(body.in_types[i])) for i in active]
    tests = replace(cond, inputs=(*cond.inputs[:carries], *moving, *cond.inputs[carries:]))
    given = _sections(params).split(primals)
    inputs = (*given.carry, *start, *given.body, *[tangents[i] for i in others], *given.cond)
    changed = _loop(params, tests, graph, carries + len(active), params["consts"] + len(others))
    places = {i: i if i < carries else i + len(active) for i in range(count)}
    return inputs, changed, active, places


def _while_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    moving = {i: t for i, t in enumerate(tangents) if t is not None}
    inputs, changed, active, _ = _with_tangent_loop(primals, moving, params)
    results = dict(zip(active, bind(while_op, inputs, changed)[params["carries"] :], strict=True))
    return [results.get(i) for i in range(len(out))]


def _while_vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    floats = _of_the_body(wanted, primals, params)
    found = dict(zip(floats, _pulled(primals, dict(enumerate(cts)), floats, params), strict=True))
    return [found.get(i) for i in wanted]


def _of_the_body(wanted: Wanted, primals: Sequence[Any], params: Params) -> Wanted:
    """Which of the inputs wanted have a derivative: floats that are not the condition's alone."""
    count = len(params["body"].inputs)
    return tuple([i for i in wanted if i < count and is_inexact(type_of(primals[i]).dtype)])


def _pulled(primals: Sequence[Any], cts: Mapping[int, Any], wanted: Wanted, params: Params) -> list[Any]:
    """The cotangents of the inputs `wanted` for those of the carries."""
    body = params["body"]
    active = active_carries(body, params["carries"], wanted)
    if all([cts.get(i) is None for i in active]):
        return [zeros_like_type(strong(body.in_types[i])) for i in wanted]
    full = [zeros_like_type(strong(body.in_types[i])) if cts.get(i) is None else cts[i] for i in active]
    once_more = _loop(params, again(params["cond"]), again(body), params["carries"], params["consts"])
    return list(bind(while_vjp_op, (*primals, *full), {**once_more, "wanted": wanted}))


def _while_batched(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    """The inputs and params of one loop for all rows, which runs as long as the condition holds for any. A row for which
    it does not keeps its state."""
    carries, consts, body, cond = params["carries"], params["consts"], params["body"], params["cond"]
    sections = _sections(params)
    which = sections.split(batched)
    graph, flags, _ = batched_body(body, carries, size, (*which.carry, *which.body))
    by_row, varies = _batched_condition(cond, size, (*flags[:carries], *which.cond))
    # Where each row has steps of its own, each has its own of every carry that a step changes.
    apart = [f or body.outputs[i] is not body.inputs[i] for i, f in enumerate(flags[:carries])]
    if varies and apart != list(flags[:carries]):
        graph, flags, _ = batched_body(body, carries, size, (*apart, *which.body))
        by_row, _ = _batched_condition(cond, size, (*flags[:carries], *which.cond))
    inputs = [
        with_batch(Batched(x) if b else x, size) if f else x
        for x, b, f in zip(inputs, batched, (*flags, *which.cond), strict=True)
    ]
    if not varies:
        return inputs, _loop(params, by_row, graph, carries, consts), flags

    def step(*arrays: Any) -> list[Any]:
        given = sections.split(arrays)
        (running,) = evaluate(by_row, [*given.carry, *given.cond])
        after = zip(evaluate(graph, [*given.carry, *given.body]), given.carry, flags, strict=False)
        return [
            np.where(np.reshape(running, (size, *(1,) * (len(n.shape) - 1))), n, old) if f else old
            for n, old, f in after
        ]

    def test(*arrays: Any) -> list[Any]:
        return [np.any(evaluate(by_row, arrays)[0])]

    def make() -> tuple[Graph, Graph]:
        types = [*graph.in_types, *by_row.in_types[carries:]]
        stepping = trace_graph(step, types, transform="vmap", user_function=body, abstract=True)
        testing = trace_graph(test, by_row.in_types, transform="vmap", user_function=cond, abstract=True)
        names = f"{body.name}_rows", f"{cond.name}_any"
        return simplify(replace(stepping, name=names[0])), simplify(replace(testing, name=names[1]))

    stepping, testing = remembered(graph, ("rows", by_row), make)
    others = sections.split(inputs).cond  # the condition's constants are the body's too
    return [*inputs, *others], _loop(params, testing, stepping, carries, consts + len(others)), flags


def _batched_condition(cond: Graph, size: int, batched: tuple[bool, ...]) -> tuple[Graph, bool]:
    """The condition for batches, and whether it gives a truth value for each row."""

    def make() -> tuple[Graph, bool]:
        varies = False

        def test(*arrays: Any) -> list[Any]:
            nonlocal varies
            (out,) = batch_graph(cond, size, arrays, batched)
            varies = type(out) is Batched
            return [out.value if varies else out]

        types = batched_types(cond, size, batched)
        graph = trace_graph(test, types, transform="vmap", user_function=cond, abstract=True)
        return simplify(replace(graph, name=f"{cond.name}_vmap")), varies

    axis = (context.batching, context.start) if context.batching in cond.axes else None
    return remembered(cond, ("condition", size, batched, axis), make)


def _while_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    inputs, changed, flags = _while_batched(size, batched, inputs, params)
    outs = bind(while_op, tuple(inputs), changed)
    return rows_or_shared(outs, flags[: len(outs)])


def _while_write(types: Sequence[ArrayType], params: Params) -> Written:
    def lines(
        functions: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], fresh: Callable[[str], str]
    ) -> list[str]:
        given = _sections(params).split(inputs)
        carry = [fresh("carry") if name == "_" else name for name in outputs]
        return [
            *[f"{name} = {start}" for name, start in zip(carry, given.carry, strict=True)],
            f"while {functions[0]}({', '.join([*carry, *given.cond])}):",
            f"    {assigned(carry, functions[1], [*carry, *given.body])}",
        ]

    return Written([params["cond"], params["body"]], lines)


def _while_flows(walk: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    """After any number of steps."""
    given = _sections(params).split(inputs)
    carry, before = [x.merged(x) for x in given.carry], None
    while carry != before:
        before = carry
        after = walk(params["body"], [*carry, *given.body])
        carry = [x.merged(y) for x, y in zip(carry, after, strict=True)]
    return carry


def _while_series(expanded: Any, inputs: Sequence[Sequence[Any]], params: Params) -> Sequence[Any]:
    """The condition is of the first coefficients; the others are further inputs that it does not read."""
    cond: Graph = params["cond"]
    given = _sections(params).split(inputs)
    carry, body, others = [[c for x in part for c in x] for part in (given.carry, given.body, given.cond)]
    heads = [
        v if k == 0 else Var(strong(v.type))
        for v, x in zip(cond.inputs, (*given.carry, *given.cond), strict=True)
        for k in range(len(x))
    ]
    changed = _loop(params, replace(cond, inputs=tuple(heads)), expanded(params["body"]), len(carry), len(body))
    outs: Sequence[Any] = bind(while_op, (*carry, *body, *others), changed)
    return outs


while_op = Op(
    "while_loop", evaluate=_while, infer=_while_type, jvp=_while_jvp, vjp=_while_vjp, batch=_while_batch, held=Held(expand=_while_expand, replay=_while_replay, write=_while_write, flows=_while_flows, series=_while_series, steps=_steps),
    multiple_results=True, never_aliases=True, kinds="",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The reverse derivative of a while loop, linear in the cotangents. Inputs of the equation are those of the loop, then the
# cotangents of the active carries; outputs the cotangents of the inputs `wanted`.


def _while_vjp_type(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    return tuple([strong(types[i]) for i in params["wanted"]])


def step_back(body: Graph, carries: int, wanted: Wanted) -> Graph:
    """Of (carry, constants, cotangents of the active carries after the step, sums of those of constants) to the
    cotangents before the step and the sums."""

    def make() -> Graph:
        active = active_carries(body, carries, wanted)
        summed = [i for i in wanted if i >= carries]
        parts = derivative_of(body, (*active, *summed))
        sections = Sections(primal=len(body.inputs), ct=len(active), sum=len(summed))

        def step(*arrays: Any) -> list[Any]:
            given = sections.split(arrays)
            cts = dict(zip(active, given.ct, strict=True))
            needed = parts.needed(given.primal, evaluate(again(parts.forward), given.primal))
            pulled = parts.pull(needed, [cts.get(i) for i in range(len(body.outputs))], evaluate)
            return [
                *[pulled[i] if i in pulled else zeros_like_type(strong(body.in_types[i])) for i in active],
                *[total + pulled[i] if i in pulled else total for i, total in zip(summed, given.sum, strict=True)],
            ]

        types = [*body.in_types, *[strong(body.in_types[i]) for i in (*active, *summed)]]
        graph = trace_graph(step, types, transform="vjp", user_function=body, abstract=True)
        return simplify(replace(graph, name=f"{body.name}_back"))

    return remembered(body, ("step back", carries, wanted), make)


def _run_while_vjp(*arrays: Any, **params: Any) -> tuple[Any, ...]:
    loop, cts = _split_cotangents(arrays, params)
    given, body, memory = _sections(params).split(loop), params["body"], params["memory"]
    states = _states(given, params, compiled)
    if memory is None:
        *kept, _ = states
        backwards = iter(kept[::-1])
    else:
        size = _size_of_state(params)
        slots = memory // max(size, 1)
        if slots < 3:
            raise ValueError(
                f"lax.while_loop with memory={memory}: three states of {size} bytes are the least that reverse mode keeps; "
                f"give memory={3 * size} or more"
            )
        backwards = states_backwards(given.carry, given.body, compiled(body), sum(1 for _ in states) - 1, slots)
    return tuple(own_carry(_swept(backwards, given.body, list(cts.values()), params, compiled), arrays))


def _while_vjp_steps(inputs: Sequence[Any], params: Params) -> int:
    return _steps(_split_cotangents(inputs, params)[0], params)


def _size_of_state(params: Params) -> int:
    return sum([t.size * t.dtype.itemsize for t in params["body"].in_types[: params["carries"]]])


def _kept(params: Params, steps: int) -> tuple[int, Graph]:
    """The states that are there at a time, but for the first, which is what is given; and a step back."""
    size, memory = _size_of_state(params), params["memory"]
    most = steps if memory is None else min(steps, memory // max(size, 1)) - 1
    return max(most, 0) * size, step_back(params["body"], params["carries"], params["wanted"])


def _while_vjp_replay(run: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    loop, cts = _split_cotangents(inputs, params)
    given = _sections(params).split(loop)
    *kept, _ = _states(given, params, compiled)
    steps = iter(range(len(kept) - 1, -1, -1))

    def one(graph: Graph) -> Callable[..., Sequence[Any]]:
        return lambda *arrays: run(f"step {next(steps)} of while_loop", graph, arrays)

    return _swept(kept[::-1], given.body, list(cts.values()), params, one)


def _swept(backwards: Iterable[Any], own: Sequence[Any], cts: Sequence[Any], params: Params, run: Run) -> list[Any]:
    """The cotangents of the inputs wanted, from the states before the steps, the last first."""
    body, carries, wanted = params["body"], params["carries"], params["wanted"]
    active, summed = active_carries(body, carries, wanted), [i for i in wanted if i >= carries]
    back = run(step_back(body, carries, wanted))
    sums: Sequence[Any] = [zeros_like_type(strong(body.in_types[i])) for i in summed]
    for carry in backwards:
        results = back(*carry, *own, *cts, *sums)
        cts, sums = results[: len(active)], results[len(active) :]
    found = dict(zip((*active, *summed), (*cts, *sums), strict=True))
    return [found[i] for i in wanted]


def states_backwards(
    carry: Sequence[Any], own: Sequence[Any], step: Callable[..., Any], count: int, slots: int
) -> Iterator[Any]:
    """The states before each of `count` steps, the last first, with never more than about `slots` of them kept: where
    they are more, half of the slots hold states spread evenly, and each stretch between two is gone through again in the
    same way with the other half. Two rounds serve slots**2 / 4 steps."""
    if count <= slots:
        kept = [carry]
        for _ in range(count - 1):
            kept.append(step(*kept[-1], *own))
        yield from reversed(kept[:count])
        return
    marks = max(slots // 2, 1)
    stretch = -(-count // (marks + 1))
    starts = range(0, count, stretch)
    kept = [carry]
    for start in starts[:-1]:
        for _ in range(min(stretch, count - start)):
            carry = step(*carry, *own)
        kept.append(carry)
    for start in reversed(starts):
        yield from states_backwards(kept.pop(), own, step, min(stretch, count - start), max(slots - len(kept), 2))


def _split_cotangents(inputs: Sequence[Any], params: Params) -> tuple[Sequence[Any], dict[int, Any]]:
    active = active_carries(params["body"], params["carries"], params["wanted"])
    loop, cts = inputs[: len(inputs) - len(active)], inputs[len(inputs) - len(active) :]
    return loop, dict(zip(active, cts, strict=True))


def _mixed(
    loop: Sequence[Any], cts: Mapping[int, Any], moving: Mapping[int, Any], wanted: Wanted, params: Params
) -> list[Any]:
    """The gradient with respect to the inputs `wanted` of <cotangents, derivative of the loop in the direction `moving`>."""
    inputs, changed, active, places = _with_tangent_loop(loop, moving, params)
    shifted = {params["carries"] + k: cts[i] for k, i in enumerate(active) if i in cts}
    return _pulled(inputs, shifted, tuple([places[i] for i in wanted]), changed)


def _while_vjp_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    wanted = params["wanted"]
    loop, cts = _split_cotangents(primals, params)
    moved = tangents[len(loop) :]
    terms: list[Any] = [None] * len(out)
    if any([t is not None for t in moved]):
        terms = _pulled(loop, dict(zip(cts, moved, strict=True)), wanted, params)
    moving = {i: t for i, t in enumerate(tangents[: len(params["body"].inputs)]) if t is not None}
    if moving:
        more = _mixed(loop, cts, moving, wanted, params)
        terms = [m if t is None else t + m for t, m in zip(terms, more, strict=True)]
    return terms


def _while_vjp_vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    loop, given = _split_cotangents(primals, params)
    moving = {i: u for i, u in zip(params["wanted"], cts, strict=True) if u is not None}
    floats = _of_the_body(wanted, primals, params)
    found = dict(zip(floats, _mixed(loop, given, moving, floats, params), strict=True)) if floats else {}
    if any([i >= len(loop) for i in wanted]):
        inputs, changed, active, _ = _with_tangent_loop(loop, moving, params)
        pushed = dict(zip(active, bind(while_op, inputs, changed)[params["carries"] :], strict=True))
        found |= {len(loop) + k: pushed.get(i) for k, i in enumerate(given)}
    return [found.get(i) for i in wanted]


def _while_vjp_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    wanted = params["wanted"]
    loop, given = _split_cotangents(inputs, params)
    flags = list(batched[: len(loop)])
    loop = list(loop)
    for i in wanted:  # each row has a derivative of its own
        if not flags[i]:
            loop[i], flags[i] = with_batch(loop[i], size), True
    inputs, changed, carried = _while_batched(size, flags, loop, params)
    cts = {i: ct if b else with_batch(ct, size) for (i, ct), b in zip(given.items(), batched[len(loop) :], strict=True)}
    assert all([carried[i] for i in cts])
    return tuple(_pulled(inputs, cts, wanted, changed))


def _while_vjp_expand(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    if not trace.linear:
        return None
    loop, cts = _split_cotangents(inputs, params)
    given = _sections(params).split(loop)
    *kept, _ = _states(given, params, _op_by_op)
    return _swept(reversed(kept), given.body, list(cts.values()), params, _op_by_op)


def _is_linear(positions: Iterable[int], params: Params) -> bool:
    """In all cotangents together."""
    start = params["consts"] + len(params["cond"].inputs)
    active = active_carries(params["body"], params["carries"], params["wanted"])
    return set(positions) == set(range(start, start + len(active)))


def _while_vjp_write(types: Sequence[ArrayType], params: Params) -> Written:
    """All states are kept, be there a bound on memory or not: that changes no bit."""
    body, carries, wanted = params["body"], params["carries"], params["wanted"]

    def lines(
        functions: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], fresh: Callable[[str], str]
    ) -> list[str]:
        loop, cts = _split_cotangents(inputs, params)
        given = _sections(params).split(loop)
        holds, step, back = functions
        states, state = fresh("states"), fresh("state")
        first, last = f"({', '.join(given.carry)})" if carries > 1 else given.carry[0], f"{states}[-1]"
        star = "*" if carries > 1 else ""
        names = {i: fresh("ct") if name == "_" else name for i, name in zip(wanted, outputs, strict=True)}
        moving = {i: names.get(i) or fresh("ct") for i in cts}
        sums = {i: names[i] for i in wanted if i >= carries}
        results = [*moving.values(), *sums.values()]
        types = body.in_types
        return [
            f"{states} = [{first}]",
            f"while {holds}({', '.join([star + last, *given.cond])}):",
            f"    {states}.append({step}({', '.join([star + last, *given.body])}))",
            *[f"{name} = {cts[i]}" for i, name in moving.items()],
            *[f"{name} = {zeros(types[i].shape, types[i].dtype)}" for i, name in sums.items()],
            f"for {state} in reversed({states}[:-1]):",
            f"    {assigned(results, back, [star + state, *given.body, *results])}",
        ]

    return Written([params["cond"], body, step_back(body, carries, wanted)], lines)


while_vjp_op = Op(
    "while_loop_vjp", evaluate=_run_while_vjp, infer=_while_vjp_type, jvp=_while_vjp_jvp, vjp=_while_vjp_vjp,
    batch=_while_vjp_batch, held=Held(expand=_while_vjp_expand, replay=_while_vjp_replay, write=_while_vjp_write, steps=_while_vjp_steps, keeps=_kept), multiple_results=True, never_aliases=True, kinds="", linear_if=_is_linear,
)  # fmt: skip
