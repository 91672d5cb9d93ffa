"""Transformations that add something to updates."""

from __future__ import annotations

from typing import Any, NamedTuple

from tracegrad import tree
from tracegrad.core.types import PYTHON_SCALARS
from tracegrad.optim.base import (
    EmptyState,
    GradientTransformation,
    OptState,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    first_count,
    number,
    required,
    safe_increment,
    telling,
)
from tracegrad.optim.masks import MaskOrFn, masked
from tracegrad.typing import Array


class WeightDecaySchedule(NamedTuple):
    """`count`: the number of steps, int32."""

    count: Array


def add_decayed_weights(weight_decay: ScalarOrSchedule = 0.0, mask: MaskOrFn = None) -> GradientTransformation:
    """Updates plus `weight_decay` times the parameters.

    Before a transformation such as Adam's this is L2 regularisation, of gradients; between it and the learning rate it is decoupled weight
    decay (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), as in `adamw`.

    Args:
        weight_decay: the factor, a number or a schedule.
        mask: which parameters decay (see `masked`); None for all.

    Raises:
        ValueError: `update` without parameters; a mask that does not fit them.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.add_decayed_weights(0.1, mask=tg.optim.decay_mask)
    >>> params = {"kernel": np.full((1, 1), 5.0), "bias": np.full(1, 5.0)}
    >>> opt.update(tg.tree.map(np.zeros_like, params), opt.init(params), params)[0]
    {'kernel': array([[0.5]]), 'bias': array([0.])}
    """
    schedule = weight_decay if callable(weight_decay) else None
    fixed = None if schedule else number(weight_decay)

    def init(params: Params) -> OptState:
        return WeightDecaySchedule(first_count()) if schedule else EmptyState()

    def factor(state: Any) -> Any:
        return schedule(state.count) if schedule else fixed

    def update(updates: Updates, state: Any, params: Params | None = None) -> Any:
        params = required(params, "add_decayed_weights")
        rate = factor(state)
        if schedule:
            state = WeightDecaySchedule(safe_increment(state.count))
        elif type(rate) in PYTHON_SCALARS and rate == 0:
            return updates, state

        def decayed(g: Any, p: Any) -> Any:
            return None if g is None else g + cast(rate, p) * p

        return tree.map(decayed, updates, params, is_leaf=lambda x: x is None), state

    own = GradientTransformation(init, telling(update, lambda state: {"weight_decay": factor(state)}))
    return own if mask is None else masked(own, mask)
