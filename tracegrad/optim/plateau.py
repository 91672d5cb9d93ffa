"""Smaller steps once the loss does not fall any more."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import NotNegative, Positive, checked
from tracegrad.optim.base import (
    GradientTransformationExtraArgs,
    Params,
    Updates,
    cast,
    first_count,
    safe_increment,
    scaled,
)
from tracegrad.optim.formulas import like
from tracegrad.optim.tree import dtype
from tracegrad.typing import Array


class ReduceLROnPlateauState(NamedTuple):
    """The factor of the updates, the best value so far, the numbers of values without progress, of those to wait for, and of those that are in
    the present mean, and that mean."""

    scale: Array
    best_value: Array
    plateau_count: Array
    cooldown_count: Array
    count: Array
    avg_value: Array


@checked
def reduce_on_plateau(
    factor: float = 0.1,
    patience: NotNegative = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: NotNegative = 0,
    accumulation_size: Positive = 1,
    min_scale: NotNegative = 0.0,
) -> GradientTransformationExtraArgs:
    """Updates times a number that shrinks whenever the value, a mean over some calls, has not got better for a while. It goes behind an optimiser in
    `chain`; `update(grads, state, params, value=loss)` needs the value.

    Args:
        factor: what the number is multiplied by, between 0 and 1.
        patience: after how many means without progress.
        rtol, atol: progress is a mean below `(1 - rtol) best - atol`.
        cooldown: how many means to wait afterwards.
        accumulation_size: of how many values a mean is taken.
        min_scale: what the number is at least.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.chain(tg.optim.sgd(1.0), tg.optim.reduce_on_plateau(factor=0.5, patience=2))
    >>> state = opt.init(np.zeros(1))
    >>> for _ in range(3):
    ...     updates, state = opt.update(np.array([1.0]), state, value=3.0)
    >>> updates.tolist()
    [-0.5]
    """
    if not 0 < factor < 1:
        raise ValueError(f"reduce_on_plateau: factor={factor}, but steps get smaller by a factor between 0 and 1")
    if rtol < 0 or atol < 0 or rtol > 1 or (rtol == 0 and atol == 0):
        raise ValueError(
            f"reduce_on_plateau: rtol={rtol} and atol={atol}, but progress is measured by numbers from 0 on, of which one is "
            "not 0 and rtol is at most 1"
        )

    def init(params: Params) -> ReduceLROnPlateauState:
        highest = dtype(params, "highest")
        return ReduceLROnPlateauState(
            scale=np.ones((), dtype(params, "lowest")),
            best_value=np.array(np.inf, highest),
            plateau_count=first_count(),
            cooldown_count=first_count(),
            count=first_count(),
            avg_value=np.zeros((), highest),
        )

    def update(
        updates: Updates,
        state: ReduceLROnPlateauState,
        params: Params | None = None,
        *,
        value: Any,
        **extra_args: Any,
    ) -> Any:
        count = safe_increment(state.count)
        mean = like(
            (cast(state.count, state.avg_value) * state.avg_value + cast(value, state.avg_value))
            / cast(count, state.avg_value),
            state.avg_value,
        )
        is_full = count == accumulation_size
        is_better = mean < (1 - rtol) * state.best_value - atol
        waited = np.where(is_better, 0, safe_increment(state.plateau_count))
        cools = state.cooldown_count > 0
        is_stuck = (waited == patience) & np.logical_not(cools)
        reduced = np.where(
            cools, state.scale, np.maximum(np.where(is_stuck, state.scale * factor, state.scale), min_scale)
        )

        def chosen(new: Any, old: Any) -> Any:
            return like(np.where(is_full, new, old), old)

        state = ReduceLROnPlateauState(
            scale=chosen(reduced, state.scale),
            best_value=chosen(np.where(is_better, mean, state.best_value), state.best_value),
            plateau_count=chosen(np.where(cools | is_stuck, 0, waited), state.plateau_count),
            cooldown_count=chosen(
                np.where(cools, state.cooldown_count - 1, np.where(is_stuck, cooldown, 0)), state.cooldown_count
            ),
            count=like(np.where(is_full, 0, count), state.count),
            avg_value=like(np.where(is_full, 0, mean), state.avg_value),
        )
        return scaled(state.scale, updates), state

    return GradientTransformationExtraArgs(init, update)
