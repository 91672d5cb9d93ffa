"""checkpoint: derivatives that keep little of what the function computed, and compute the rest again.

A call is one equation that holds the function's Graph, like a jitted function's (`call.py`), with three differences. No
pass puts the Graph's equations in its place, so that what is computed again is not found to have been computed before.
Under reverse mode it hands over what the policy or the budget says, not all that the backward part can use. And that
part is such an equation again: of the values handed over, the inputs and the cotangents.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import at, clip, require_callable, user_source
from tracegrad.core.graph import Graph, Var, closed, remembered
from tracegrad.core.names import transformed, wraps
from tracegrad.core.op import Params, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.tracebacks import trimming
from tracegrad.core.types import type_of
from tracegrad.core.views import own_traced
from tracegrad.lower.passes import simplify
from tracegrad.transforms.control.budget import chosen_within, size_in_bytes
from tracegrad.transforms.control.checkpoint_policies import Policy, nothing_saveable
from tracegrad.transforms.control.held import Reverse, axis_indices, holding_one, reverse
from tracegrad.transforms.signatures import Backend, Signatures
from tracegrad.transforms.static_arguments import static_arguments
from tracegrad.typing import Array, P, R

_BACKEND = Backend("numpy", simplify)


def parts_of(graph: Graph, wanted: Wanted, params: Params) -> Reverse:
    """The reverse derivative, of which is kept what the user asked for: `policy` or `memory`."""
    key = tuple([(name, params[name]) for name in ("policy", "memory") if name in params])

    def saved(joint: Graph, forward: Graph) -> Sequence[int]:
        if "memory" in params:
            return chosen_within(params["memory"], joint, forward, len(graph.outputs), graph.name)
        policy = params.get("policy", nothing_saveable)
        asked = [policy(e.op, *[a.type for a in e.inputs], **e.params) for e in forward.eqns]
        return [i for i, answer in enumerate(asked) if answer]

    return reverse(graph, wanted, key, saved)


def _apply(graph: Graph, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    """Apply a Graph as one equation. It gets the index in each named axis that it speaks of as well, which it leaves
    aside: the equation then belongs to the traces that map over these axes, whatever its inputs depend on."""
    whole, consts = closed(graph)
    indices = axis_indices(whole.axes)
    if indices:
        heads = (*whole.inputs, *[Var(type_of(index)) for index in indices])
        eqns, outputs, name = whole.eqns, whole.outputs, whole.name
        whole = remembered(whole, "tied", lambda: Graph(heads, eqns, outputs, {}, name))
    found: Sequence[Any] = bind(checkpoint_op, (*inputs, *consts, *indices), {**params, "graph": whole})
    return found


def _of_parts(params: Params) -> Params:
    """Whether a compiled function may have the equations of a forward or backward part among its others."""
    if params.get("prevent_cse", True):
        return params
    return {**{name: x for name, x in params.items() if name != "prevent_cse"}, "inline": True}


checkpoint_op = holding_one(
    "checkpoint",
    _apply,
    parts_of,
    inline=lambda inputs, params: (params["graph"], inputs) if "inline" in params else None,
    params_of_parts=_of_parts,
)


@overload
def checkpoint(
    fun: np.ufunc,
    *,
    policy: Policy | None = None,
    memory: int | str | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    prevent_cse: bool = True,
) -> Callable[..., Array]: ...
@overload
def checkpoint(
    fun: Callable[P, R],
    *,
    policy: Policy | None = None,
    memory: int | str | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    prevent_cse: bool = True,
) -> Callable[P, R]: ...
@overload
def checkpoint(
    fun: Callable[..., Any],
    *,
    policy: Policy | None = None,
    memory: int | str | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    prevent_cse: bool = True,
) -> Callable[..., Any]: ...
@overload
def checkpoint(
    fun: None = None,
    *,
    policy: Policy | None = None,
    memory: int | str | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    prevent_cse: bool = True,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@trimming
def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    policy: Policy | None = None,
    memory: int | str | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
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
        static_argnums, static_argnames: positions or names of arguments that are handed to `fun` as they are, as with `jit`.
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
            checkpoint, policy=policy, memory=memory, static_argnums=static_argnums, static_argnames=static_argnames,
            prevent_cse=prevent_cse,
        )  # fmt: skip
    require_callable(fun, "checkpoint")
    how = _asked(policy, memory, prevent_cse)
    traced = Signatures(fun, static_arguments(fun, static_argnums, static_argnames, "checkpoint"), "checkpoint")

    @accepting_jax
    @wraps(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if traced.is_part():
            part, args, kwargs = traced.part(args, kwargs)
            return own_traced(part(*args, **kwargs))
        entry, leaves, _ = traced.entry_of(args, kwargs, _BACKEND)
        entry.note_draws(leaves)
        return tree.tree_unflatten(entry.out_tree, _apply(entry.graph, leaves, {"graph": entry.graph, **how}))

    return transformed(
        checkpointed, checkpoint, fun, policy=policy, memory=memory, static_argnums=static_argnums,
        static_argnames=static_argnames, prevent_cse=prevent_cse,
    )  # fmt: skip


remat = checkpoint


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
