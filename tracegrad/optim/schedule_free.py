"""Schedule-free training: an average of the iterates in place of a learning rate that falls."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Decay, NotNegative, checked
from tracegrad.core.boxes import accepting_jax
from tracegrad.optim.adaptive import scale_by_rms
from tracegrad.optim.adding import add_decayed_weights
from tracegrad.optim.base import (
    GradientTransformationExtraArgs,
    OptState,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    chain,
    required,
    safe_increment,
    scale_by_learning_rate,
    with_extra_args_support,
)
from tracegrad.optim.formulas import for_leaves, like, value_of
from tracegrad.optim.schedules import warmup_constant_schedule
from tracegrad.optim.sgd import sgd
from tracegrad.optim.tree import dtype
from tracegrad.typing import Array, ArrayLike, DType, PyTree


class ScheduleFreeState(NamedTuple):
    """The share of the average in the parameters, the sum of the weights of all steps, the number of the next step, the largest learning
    rate so far, the state of the optimiser inside, and its own parameters."""

    b1: Array
    weight_sum: Array
    step_count: Array
    max_lr: Array
    base_optimizer_state: OptState
    z: PyTree


def _averages(params: Params, z: Params, b1: Any) -> Params:
    """x of y = b1 x + (1 - b1) z."""
    return tree.map(lambda y, own: (y - cast(1 - b1, y) * own) / cast(b1, y), params, z)


@accepting_jax
def schedule_free_eval_params(state: Any, params: Params) -> Params:
    """The average of the iterates, which is what to evaluate and to keep; the parameters themselves are what gradients are taken at.

    Raises:
        ValueError: a state that is not one of `schedule_free`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.schedule_free_sgd(0.5)
    >>> params = np.array([1.0])
    >>> state = opt.init(params)
    >>> tg.optim.schedule_free_eval_params(state, params).tolist()
    [1.0]
    """
    b1, z = getattr(state, "b1", None), getattr(state, "z", None)
    if b1 is None or z is None:
        raise ValueError(
            f"schedule_free_eval_params takes the state of schedule_free, got a {type(state).__name__}; within a "
            "chain that is one of the states of the tuple"
        )
    return _averages(params, z, b1)


@checked
def schedule_free(
    base_optimizer: Any,
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    weight_lr_power: NotNegative = 2.0,
    state_dtype: DType = None,
) -> GradientTransformationExtraArgs:
    """An optimiser whose iterates z are averaged into x, with gradients taken at y between them, the parameters that the caller has:

        z ← z + its update by the gradients at y
        x ← (1 - c) x + c z,    c = w / Σw, w = max(learning_rate so far)^weight_lr_power
        y = b1 x + (1 - b1) z

    The optimiser should have no momentum of its own. Evaluate at x: `schedule_free_eval_params`. Defazio et al., "The road less
    scheduled", 2024.

    Args:
        base_optimizer: the optimiser of z.
        learning_rate: that of the optimiser, for the weights: a number, or a schedule (a warm-up, say) by steps from 1 on.
        b1: the share of the average in y.
        weight_lr_power: how much the weight of a step follows the largest learning rate.
        state_dtype: the dtype in which z is kept, the parameters' own if None.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.schedule_free(tg.optim.sgd(0.5), 0.5)
    >>> w = np.array([1.0])
    >>> state = opt.init(w)
    >>> for _ in range(100):
    ...     updates, state = opt.update(2 * w, state, w)
    ...     w = w + updates
    >>> bool(abs(tg.optim.schedule_free_eval_params(state, w)[0]) < 0.01)
    True
    """
    inner = with_extra_args_support(base_optimizer)

    def init(params: Params) -> ScheduleFreeState:
        lowest = dtype(params, "lowest")
        z = tree.map(lambda p: p.copy() if state_dtype is None else p.astype(state_dtype), params)
        return ScheduleFreeState(
            b1=np.array(b1, lowest),
            weight_sum=np.zeros((), lowest),
            step_count=np.ones((), np.int32),
            max_lr=np.zeros((), lowest),
            base_optimizer_state=inner.init(params),
            z=z,
        )

    def update(updates: Updates, state: ScheduleFreeState, params: Params | None = None, **extra_args: Any) -> Any:
        params = required(params, "schedule_free")
        rate = cast(value_of(learning_rate, state.step_count), state.max_lr)
        largest = np.maximum(state.max_lr, rate)
        weight = largest ** cast(weight_lr_power, largest)
        total = state.weight_sum + weight
        share = np.where(total == 0, 0, weight / np.where(total == 0, 1, total))
        found, inner_state = inner.update(updates, state.base_optimizer_state, params, **extra_args)
        z = tree.map(lambda own, u: like(own + u, own), state.z, found)
        x = _averages(params, state.z, b1)

        def step(y: Any, average: Any, own: Any) -> Any:
            average = cast(1 - share, y) * average + cast(share, y) * own
            return cast(b1, y) * average + cast(1 - b1, y) * own - y

        state = ScheduleFreeState(
            state.b1, total, safe_increment(state.step_count), like(largest, state.max_lr), inner_state, z
        )
        return for_leaves(step, params, x, z), state

    return GradientTransformationExtraArgs(init, update)


def _warmed_up(learning_rate: Any, warmup_steps: int | None) -> ScalarOrSchedule:
    return learning_rate if warmup_steps is None else warmup_constant_schedule(0, learning_rate, warmup_steps)


@checked
def schedule_free_sgd(
    learning_rate: ArrayLike = 1.0,
    warmup_steps: NotNegative | None = None,
    b1: Decay = 0.9,
    weight_decay: NotNegative | None = None,
    weight_lr_power: NotNegative = 2.0,
    state_dtype: DType = None,
) -> GradientTransformationExtraArgs:
    """`schedule_free` of gradient descent, which has momentum by it.

    Args:
        learning_rate: a number.
        warmup_steps: over how many steps it grows from 0.
        weight_decay: a multiple of the parameters that is added to the gradients; None for none.
        b1, weight_lr_power, state_dtype: as in `schedule_free`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.schedule_free_sgd(0.1)
    >>> w = np.array([1.0])
    >>> opt.update(2 * w, opt.init(w), w)[0].round(6).tolist()
    [-0.2]
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    inner: Any = sgd(rate)
    if weight_decay is not None:
        inner = chain(add_decayed_weights(weight_decay), inner)
    return schedule_free(inner, rate, b1, weight_lr_power, state_dtype)


@checked
def schedule_free_adamw(
    learning_rate: ArrayLike = 0.0025,
    warmup_steps: NotNegative | None = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    weight_lr_power: NotNegative = 2.0,
    state_dtype: DType = None,
) -> GradientTransformationExtraArgs:
    """`schedule_free` of AdamW, whose first moment is the average here.

    Args:
        learning_rate: a number.
        warmup_steps: over how many steps it grows from 0.
        b2, eps, weight_decay: as in `adamw`.
        b1, weight_lr_power, state_dtype: as in `schedule_free`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.schedule_free_adamw(0.1)
    >>> w = np.array([1.0])
    >>> opt.update(2 * w, opt.init(w), w)[0].round(6).tolist()
    [-0.1]
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    inner = chain(
        scale_by_rms(decay=b2, eps=eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(inner, rate, b1, weight_lr_power, state_dtype)
