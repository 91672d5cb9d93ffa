"""Ops that hold Graphs or functions: calls, checkpoints, loops, branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.boxes import boxed, unboxed, with_boxes
from tracegrad.core.errors import DifferentiationError
from tracegrad.core.graph import Graph
from tracegrad.core.op import Wanted
from tracegrad.transforms.control.bodies import active_carries
from tracegrad.transforms.control.held import batch_of
from tracegrad.transforms.control.while_loop import step_back
from tracegrad.transforms.custom.rules import Rules
from tracegrad.xla.emit import compiled, emit
from tracegrad.xla.values import cast, select, strong


@lowers("call")
def _call(out: Any, *inputs: Any, graph: Graph) -> Any:
    return compiled(graph)(*inputs)


@lowers("checkpoint")
def _checkpoint(out: Any, *inputs: Any, graph: Graph, **_: Any) -> Any:
    # Without a barrier XLA would find that it has computed all this before, and keep that.
    return emit(graph, lax.optimization_barrier(inputs))


@lowers("custom_call")
def _custom_call(out: Any, *inputs: Any, rules: Rules) -> Any:
    return tuple([unboxed(o) for o in with_boxes(rules.call, *map(boxed, inputs))])


@lowers("linear_solve")
def _linear_solve(out: Any, *inputs: Any, solve: Graph, **_: Any) -> Any:
    return emit(solve, inputs)


@lowers("no_derivative")
def _no_derivative(out: Any, *inputs: Any, type: Any, text: str) -> Any:
    raise DifferentiationError(text)


@lowers("switch")
def _switch(out: Any, index: Any, *operands: Any, branches: Sequence[Graph]) -> Any:
    functions = [lambda *operands, graph=g: tuple(emit(graph, operands)) for g in branches]
    index = lax.clamp(np.int32(0), cast(index, np.int32), np.int32(len(functions) - 1))
    return lax.switch(index, functions, *operands)


@lowers("switch_rows")
def _switch_rows(out: Any, index: Any, *operands: Any, branches: Sequence[Graph], batched: Sequence[bool]) -> Any:
    # XLA's shapes cannot depend on how many rows choose a branch: each is run on all rows.
    index = cast(index, np.int32)
    results = [emit(batch_of(g, len(index), batched), operands) for g in branches]
    found = list(results[-1])
    for k in range(len(results) - 2, -1, -1):
        for i, r in enumerate(results[k]):
            chosen = lax.broadcast_in_dim(lax.le(index, np.int32(k)), r.shape, (0,))
            found[i] = select(chosen, r, found[i])
    return found


@lowers("pull_rows")
def _pull_rows(out: Any, *inputs: Any, graph: Graph, **_: Any) -> Any:
    return emit(graph, inputs)


@lowers("scan")
def _scan(out: Any, *inputs: Any, body: Graph, carries: int, elements: int, length: int, reverse: bool) -> Any:
    ends = carries + elements

    def step(carry: Any, element: Any) -> Any:
        outs = emit(body, [*carry, *element, *inputs[ends:]])
        return tuple(outs[:carries]), tuple(outs[carries:])

    start = tuple([strong(x, t) for x, t in zip(inputs, body.in_types[:carries], strict=False)])
    carry, stacked = lax.scan(step, start, tuple(inputs[carries:ends]), length, reverse)
    return (*carry, *stacked)


@lowers("while_loop")
def _while_loop(out: Any, *inputs: Any, cond: Graph, body: Graph, carries: int, consts: int, memory: Any) -> Any:
    own, others = inputs[carries : carries + consts], inputs[carries + consts :]
    return lax.while_loop(
        lambda carry: emit(cond, [*carry, *others])[0],
        lambda carry: tuple(emit(body, [*carry, *own])),
        tuple([strong(x, t) for x, t in zip(inputs, body.in_types[:carries], strict=False)]),
    )


# On XLA, where shapes are fixed: so many states are kept at a time, and again so many of the stretch between two of them.
_SLOTS, _BYTES = 1024, 1 << 28


@lowers("while_loop_vjp")
def _while_loop_vjp(
    out: Any,
    *inputs: Any,
    cond: Graph,
    body: Graph,
    carries: int,
    consts: int,
    memory: int | None,
    wanted: Wanted,
) -> Any:
    """One run counts the steps, a second keeps states spread evenly over the loop; then each stretch between two of these
    is gone through again, the last first, keeping states spread evenly over it. Where all of them can be kept, no step is
    run more than four times; beyond slots**2 steps some more often."""
    active = active_carries(body, carries, wanted)
    summed = [i for i in wanted if i >= carries]
    loop, cts = inputs[: len(inputs) - len(active)], inputs[len(inputs) - len(active) :]
    carry, own, others = loop[:carries], loop[carries : carries + consts], loop[carries + consts :]
    start = tuple([strong(x, t) for x, t in zip(carry, body.in_types, strict=False)])
    size = sum([t.size * t.dtype.itemsize for t in body.in_types[:carries]])
    slots = max(3, min(_SLOTS, (memory or _BYTES) // max(2 * size, 1)))
    back = step_back(body, carries, wanted)

    def step(_: Any, carry: Any) -> Any:
        return tuple(emit(body, [*carry, *own]))

    def run(carry: Any, steps: Any) -> Any:
        return lax.fori_loop(0, steps, step, carry)

    def states_every(carry: Any, steps: Any, stride: Any) -> Any:
        """The states before the steps 0, stride, 2 stride, ... stacked."""

        def one(k: Any, state: Any) -> Any:
            carry, rows = state
            rows = tuple([lax.dynamic_update_index_in_dim(r, c, k, 0) for r, c in zip(rows, carry, strict=True)])
            return run(carry, lax.min(stride, steps - k * stride)), rows

        rows = tuple([lax.full((slots, *t.shape), 0, t.dtype) for t in body.in_types[:carries]])
        return lax.fori_loop(0, _ceil(steps, stride), one, (carry, rows))[1]

    def state_before(rows: Any, k: Any) -> Any:
        return tuple([lax.dynamic_index_in_dim(r, k, 0, keepdims=False) for r in rows])

    count, _ = lax.while_loop(
        lambda state: emit(cond, [*state[1], *others])[0],
        lambda state: (state[0] + 1, step(0, state[1])),
        (np.int64(0), start),
    )
    stretch = lax.max(_ceil(count, slots), np.int64(1))
    stride = _ceil(stretch, slots)
    marks = states_every(start, count, stretch)

    def stretch_back(k: Any, given: Any) -> Any:
        first = (_ceil(count, stretch) - 1 - k) * stretch
        steps = lax.min(stretch, count - first)
        rows = states_every(state_before(marks, first // stretch), steps, stride)

        def one_back(i: Any, given: Any) -> Any:
            number = steps - 1 - i
            carry = run(state_before(rows, number // stride), number % stride)
            return tuple(emit(back, [*carry, *own, *given]))

        return lax.fori_loop(0, steps, one_back, given)

    zeros = [lax.full(body.in_types[i].shape, 0, body.in_types[i].dtype) for i in summed]
    given = [strong(ct, body.in_types[i]) for i, ct in zip(active, cts, strict=True)]
    results = lax.fori_loop(0, _ceil(count, stretch), stretch_back, (*given, *zeros))
    found = dict(zip((*active, *summed), results, strict=True))
    return [found[i] for i in wanted]


def _ceil(a: Any, b: Any) -> Any:
    return (a + b - 1) // b
