"""checkpoint: derivatives that keep little of what the function computed, and compute the rest again.

A call is one equation that holds the function's Graph, like a jitted function's (`call.py`), with three differences. No
pass puts the Graph's equations in its place, so that what is computed again is not found to have been computed before.
Under reverse mode it hands over what the policy or the budget says, not all that the backward part can use. And that
part is such an equation again: of the values handed over, the inputs and the cotangents.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import at, clip, require_callable, user_source
from tracegrad.core.graph import Graph, Var, evaluate, remembered
from tracegrad.core.names import wraps
from tracegrad.core.op import Held, Inlining, Op, Params, Wanted
from tracegrad.core.trace import Trace, Tracer, bind
from tracegrad.core.types import type_of
from tracegrad.lower.numpy.writer import compiled
from tracegrad.lower.passes import simplify
from tracegrad.ops.collective import axis_index_op
from tracegrad.transforms.control.budget import chosen_within, size_in_bytes
from tracegrad.transforms.control.call import (
    Reverse,
    batch_of,
    closed,
    cut,
    floating,
    forward_part,
    joint_of,
    places,
    tangents_of,
    through_masks,
)
from tracegrad.transforms.control.checkpoint_policies import Policy
from tracegrad.transforms.signatures import Backend, Signatures, static_arguments

_BACKEND = Backend("numpy", simplify)


class Parts(NamedTuple):
    """The reverse derivative in two Graphs, and the numbers of the first's equations whose outputs the second may have."""

    reverse: Reverse
    saved: tuple[int, ...]


def parts_of(
    graph: Graph, wanted: Wanted, given: tuple[int, ...], how: Params, foreseen: tuple[int, ...] | None = None
) -> Parts:
    """The reverse derivative with respect to the inputs `wanted` for cotangents of the outputs `given`.

    `how` has what the user asked for: `policy` or `memory`. The forward part may have been run for the cotangents
    `foreseen`; what is kept is then what was kept there.
    """

    if foreseen == given:
        foreseen = None

    def make() -> Parts:
        joint, found = joint_of(graph, wanted, given)
        inputs, outputs = len(graph.inputs), len(graph.outputs)
        forward = forward_part(joint, inputs, outputs)
        saved: tuple[int, ...] = ()
        if foreseen is not None:
            called = parts_of(graph, wanted, foreseen, how)
            if [e.op for e in forward.eqns] == [e.op for e in called.reverse.forward.eqns]:
                saved = called.saved
        elif "memory" in how:
            saved = chosen_within(how["memory"], joint, forward, outputs, graph.name)
        elif "policy" in how:
            policy = how["policy"]
            asked = [policy(e.op, *[a.type for a in e.inputs], **e.params) for e in forward.eqns]
            saved = tuple([i for i, answer in enumerate(asked) if answer])
        return Parts(cut(joint, inputs, outputs, found, graph.name, saved), saved)

    return remembered(graph, ("parts", wanted, given, tuple(sorted(how.items())), foreseen), make)


def apply_graph(op: Op, graph: Graph, inputs: Sequence[Any], how: Params) -> list[Any]:
    """Apply a Graph as one equation. It gets the index in each named axis that it speaks of as well, which it leaves
    aside: the equation then belongs to the traces that map over these axes, whatever its inputs depend on."""
    whole, consts = closed(graph)
    indices: list[Any] = [
        bind(axis_index_op, (), {"axis_name": axis}) for axis in sorted(whole.axes, key=lambda axis: axis.depth)
    ]
    if indices:
        heads = (*whole.inputs, *[Var(type_of(index)) for index in indices])
        eqns, outputs, name = whole.eqns, whole.outputs, whole.name
        whole = remembered(whole, "tied", lambda: Graph(heads, eqns, outputs, {}, name))
    found = bind(op, (*inputs, *consts, *indices), {"graph": whole, **how})
    return list(found)


def _expand(op: Op, top: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    graph = params["graph"]
    if top.linear:
        return evaluate(graph, inputs)  # a linear map is transposed op by op
    how = _how(params)
    if not top.reverse or "of" in params or not how:
        return None
    # The backward pass will need some of what is computed now: keep that.
    wanted = tuple([i for i, x in enumerate(inputs) if type(x) is Tracer and x.origin is top])
    forward = parts_of(graph, wanted, floating(graph), how).reverse.forward
    params = {"graph": forward, "of": graph, "wanted": wanted, **how}
    return bind(_op_of_parts(how), inputs, params)[: len(graph.outputs)]


def _how(params: Params) -> dict[str, Any]:
    """What the user asked for."""
    return {name: params[name] for name in ("policy", "memory", "prevent_cse") if name in params}


def _evaluate(*arrays: Any, graph: Graph, **how: Any) -> tuple[Any, ...]:
    return tuple(compiled(graph)(*arrays))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    active = tuple([i for i, t in enumerate(tangents) if t is not None])
    graph, found = tangents_of(params["graph"], active)
    given = [*primals, *[tangents[i] for i in active]]
    results = iter(apply_graph(checkpoint_op, graph, given, _how(params)))
    return [next(results) if i in found else None for i in range(len(out))]


def _vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    given = tuple([i for i, ct in enumerate(cts) if ct is not None])
    how = _how(params)
    op = _op_of_parts(how)
    of: Graph = params.get("of", params["graph"])
    if "of" in params and wanted == params["wanted"] and max(given) < len(of.outputs):
        every = floating(of)
        parts = parts_of(of, wanted, given, how, every).reverse
        needs = places(parts, parts_of(of, wanted, every, how).reverse, len(of.outputs))
    else:
        # Nothing was kept with this derivative in view: the forward part is run again, if it hands over anything.
        of = params["graph"]
        parts = parts_of(of, wanted, given, how).reverse
        needs = parts.needs
        if any([which for which, _ in needs]):
            out = apply_graph(op, parts.forward, primals, how)
    if needs is None:
        # These cotangents need something that was not foreseen: all is computed again from the inputs.
        parts = parts_of(of, wanted, given, {}).reverse
        needs = parts.needs
    kept = [(primals, out)[which][i] for which, i in needs]
    results = apply_graph(op, parts.backward, [*kept, *[cts[i] for i in given]], how)
    found = dict(zip(parts.found, results, strict=True))
    return [found.get(i) for i in wanted]


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return tuple(apply_graph(checkpoint_op, batch_of(params["graph"], size, batched), inputs, _how(params)))


def _declared(name: str, inlined: Inlining | None = None) -> Op:
    op = Op(
        name,
        evaluate=_evaluate,
        infer=lambda types, params: params["graph"].out_types,
        jvp=_jvp,
        vjp=_vjp,
        masked=through_masks(_jvp, _vjp, lambda graph, arrays, params: apply_graph(op, graph, arrays, _how(params))),
        batch=_batch,
        several=True,
        fresh=True,
        kinds="",
        held=Held(expand=lambda trace, inputs, params: _expand(op, trace, inputs, params), inline=inlined),
    )
    return op


checkpoint_op = _declared("checkpoint")
# A forward or backward part whose equations jit may put among the others, with `prevent_cse=False`.
open_checkpoint_op = _declared("open_checkpoint", inlined=lambda inputs, params: (params["graph"], inputs))


def _op_of_parts(how: Params) -> Op:
    return checkpoint_op if how.get("prevent_cse", True) else open_checkpoint_op


def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    policy: Policy | None = None,
    memory: int | str | None = None,
    static_argnums: int | Sequence[int] = (),
    prevent_cse: bool = True,
) -> Any:
    """A function that does what `fun` does, but whose derivative keeps only its arguments, and computes the rest again.

    It takes less memory for more time: reverse mode keeps all that the backward pass will need, and of a chain of n
    checkpointed steps it keeps n arrays and what one step needs.

    Args:
        fun: a function of arrays and pytrees of them. Like that of `jit` it is traced by types only, once for each
            signature, so `checkpoint(fun)` is best made once, outside of what is called again and again: a Python branch
            may depend on shapes, dtypes and static arguments, not on values. Left out, a decorator is returned.
        policy: what else may be kept, one of `tg.checkpoint_policies` or a hashable function
            `policy(op, *types, **params) -> bool` that is asked of each equation whether its outputs may be. All else
            that the backward pass needs is computed again from these and the arguments.
        memory: in place of a policy a budget in bytes, or such as "64MB", "1.5GB", "512KiB" (kB, MB and GB are powers of
            1000, KiB, MiB and GiB of 1024): what is kept is chosen so that at no time of the backward pass more is held
            of the function's intermediate values, kept and computed again, at the least that has to be computed
            again. Arguments and cotangents are not counted; where a derivative is batched from outside, by
            `vmap(grad(f))`, the budget is that of one example. See `tracegrad/transforms/control/budget.py`.
        static_argnums: positions of arguments that are handed to `fun` as they are, as with `jit`.
        prevent_cse: under `jit`, run what is computed again as a program of its own. With False it may be merged with
            what was computed before, which saves its time and loses the memory.

    Returns:
        A function with the same arguments, results and derivatives of any order.

    Raises:
        ConcretizationTypeError: where `fun` needs a value, with the user's line.
        ValueError: a budget that cannot be read; under differentiation, one that cannot be met, with the least that can.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda x: np.sin(np.sin(np.sin(x)))
    >>> x = np.ones(1000)
    >>> len(tg.debug.residuals(f, x)), len(tg.debug.residuals(tg.checkpoint(f), x))
    (3, 1)
    >>> bool(np.all(tg.vjp(tg.checkpoint(f), x)[1](x)[0] == tg.vjp(f, x)[1](x)[0]))
    True

    Source: Griewank and Walther, Algorithm 799: revolve, ACM TOMS 26, 2000; Chen, Xu, Zhang and Guestrin, Training Deep
    Nets with Sublinear Memory Cost, arXiv:1604.06174, 2016, for the budget.
    """
    if fun is None:
        return functools.partial(
            checkpoint, policy=policy, memory=memory, static_argnums=static_argnums, prevent_cse=prevent_cse
        )
    require_callable(fun, "checkpoint")
    how = _asked(policy, memory, prevent_cse)
    traced = Signatures(fun, static_arguments(fun, static_argnums, transform="checkpoint"), "checkpoint")

    @accepting_jax
    @wraps(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        entry, leaves, _ = traced.entry_of(args, kwargs, _BACKEND)
        return tree.tree_unflatten(entry.out_tree, apply_graph(checkpoint_op, entry.graph, leaves, how))

    return checkpointed


def _asked(policy: Any, memory: Any, prevent_cse: Any) -> dict[str, Any]:
    """The options as the params of an equation: those that differ from what is done without."""
    how: dict[str, Any] = {}
    if policy is not None:
        if not callable(policy):
            raise TypeError(
                f"checkpoint{at(user_source())}: policy must be a function such as "
                f"tg.checkpoint_policies.dots_saveable, got {clip(repr(policy))}"
            )
        try:
            hash(policy)
        except TypeError:
            raise TypeError(
                f"checkpoint{at(user_source())}: policy must be hashable, got {clip(repr(policy))}; write a function"
            ) from None
        if memory is not None:
            raise ValueError(
                f"checkpoint{at(user_source())}: policy and memory both say what is kept; give one of them"
            )
        how["policy"] = policy
    if memory is not None:
        how["memory"] = size_in_bytes(memory)
    if not prevent_cse:
        how["prevent_cse"] = False
    return how
