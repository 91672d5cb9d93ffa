"""Sharpness-aware minimisation: gradients at the worst parameters nearby."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import checked
from tracegrad.lax import pmean
from tracegrad.optim.apply import apply_updates
from tracegrad.optim.base import (
    EmptyState,
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    Updates,
    cast,
    first_count,
    init_empty_state,
    required,
    with_extra_args_support,
)
from tracegrad.optim.formulas import for_leaves, like
from tracegrad.optim.tree import norm
from tracegrad.typing import Array, PyTree

NormalizeState = EmptyState


@checked
def normalize() -> GradientTransformation:
    """Updates divided by the norm of all of them together.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.normalize()
    >>> opt.update({"a": np.array([3.0]), "b": np.array([4.0])}, opt.init(None))[0]
    {'a': array([0.6]), 'b': array([0.8])}
    """

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        total = norm(updates)
        return for_leaves(lambda g: g / cast(total, g), updates), state

    return GradientTransformation(init_empty_state, update)


class SAMState(NamedTuple):
    """How many calls there have been since the latest step, the states of both optimisers, the parameters of that step."""

    steps_since_sync: Array
    opt_state: OptState
    adv_state: OptState
    cache: PyTree


@checked
def sam(
    optimizer: Any,
    adv_optimizer: Any,
    sync_period: int = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> GradientTransformationExtraArgs:
    """SAM: some steps uphill, then a step of the optimiser from where they began, by the gradients at their end, which leads to flat minima.

    Without `opaque_mode` the parameters that a training loop has go uphill and come back: every `sync_period` calls make one step.
    With it all of that happens in one call, for which `update` needs `grad_fn`, gradients by parameters and the number of the
    step uphill.

    Foret et al., "Sharpness-aware minimization for efficiently improving generalization", 2021: there `adv_optimizer` is
    `chain(normalize(), sgd(rho))`, with rho 0.05 or so.

    Args:
        optimizer: of the step.
        adv_optimizer: of those uphill; its updates lead downhill, as of any optimiser, and are made here with their signs turned.
        sync_period: one more than the number of steps uphill.
        reset_state: whether `adv_optimizer` begins anew each time.
        opaque_mode: whether the steps uphill are hidden in `update`.
        batch_axis_name: a mapped axis over which those gradients are averaged.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.sam(tg.optim.sgd(0.1), tg.optim.chain(tg.optim.normalize(), tg.optim.sgd(0.5)), opaque_mode=True)
    >>> w = np.array([1.0])
    >>> opt.update(2 * w, opt.init(w), w, grad_fn=lambda w, i: 2 * w)[0].round(6).tolist()  # by the gradient at 1.5
    [-0.3]
    """
    if sync_period < 1:
        raise ValueError(f"sam: sync_period={sync_period}, but a step is made every 1, 2, ... calls")
    optimizer, adv_optimizer = with_extra_args_support(optimizer), with_extra_args_support(adv_optimizer)

    def init(params: Params) -> SAMState:
        cache = None if opaque_mode else params
        return SAMState(first_count(), optimizer.init(params), adv_optimizer.init(params), cache)

    def chosen(condition: Any, x: PyTree, y: PyTree) -> PyTree:
        return tree.map(lambda a, b: like(np.where(condition, a, b), b), x, y)

    def in_view(
        updates: Updates, state: SAMState, params: Params | None = None, *, grad_fn: Any = None, **extra_args: Any
    ) -> Any:
        params = required(params, "sam")
        is_first = state.steps_since_sync == 0
        is_last = state.steps_since_sync == sync_period - 1
        uphill, adv_state = adv_optimizer.update(updates, state.adv_state, params)
        downhill, opt_state = optimizer.update(updates, state.opt_state, state.cache)
        back = tree.map(lambda kept, p, u: kept - p + u, state.cache, params, downhill)
        kept = adv_optimizer.init(params) if reset_state else state.adv_state
        steps = chosen(is_last, back, tree.map(np.negative, uphill))
        return steps, SAMState(
            steps_since_sync=(state.steps_since_sync + 1) % np.int32(sync_period),
            opt_state=chosen(is_last, opt_state, state.opt_state),
            adv_state=chosen(is_last, kept, adv_state),
            cache=chosen(is_first, params, state.cache),
        )

    def hidden(
        updates: Updates,
        state: SAMState,
        params: Params | None = None,
        *,
        grad_fn: Callable[..., Any] | None = None,
        **extra_args: Any,
    ) -> Any:
        params = required(params, "sam")
        if grad_fn is None:
            raise ValueError(
                "sam with opaque_mode=True computes gradients itself: write update(..., grad_fn=f), f(params, i)"
            )
        moved, adv_state = params, state.adv_state
        for i in range(sync_period - 1):
            uphill, adv_state = adv_optimizer.update(updates, adv_state, moved)
            moved = apply_updates(moved, tree.map(np.negative, uphill))
            updates = grad_fn(moved, i)
            if batch_axis_name is not None:
                updates = pmean(updates, axis_name=batch_axis_name)
        if reset_state:
            adv_state = adv_optimizer.init(params)
        steps, opt_state = optimizer.update(updates, state.opt_state, params)
        return steps, SAMState(np.zeros_like(state.steps_since_sync), opt_state, adv_state, None)

    return GradientTransformationExtraArgs(init, hidden if opaque_mode else in_view)
