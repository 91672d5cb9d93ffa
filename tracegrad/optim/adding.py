"""Transformations that add something to updates: decayed weights, noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import NotNegative, checked
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
from tracegrad.optim.tree import add_scale, random_like, unwrap_random_key_data
from tracegrad.random import PRNGKey, split
from tracegrad.typing import Array, ArrayLike


class WeightDecaySchedule(NamedTuple):
    """`count`: the number of steps, int32."""

    count: Array


@checked
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


class AddNoiseState(NamedTuple):
    """`count`: the number of steps, int32; `rng_key`: the key that the next step splits, uint32[2]."""

    count: Array
    rng_key: Array


@checked
def add_noise(
    eta: NotNegative, gamma: NotNegative, key: ArrayLike | None = None, *, seed: int | None = None
) -> GradientTransformation:
    """Updates plus normal noise of variance `eta / step**gamma`, where the first step is 1 (Neelakantan et al., "Adding Gradient Noise Improves
    Learning for Very Deep Networks", 2015).

    Args:
        eta: the variance in the first step.
        gamma: how fast it goes down.
        key: a key (of `tg.random.key`, or uint32[2]; jax's typed keys are taken too), or the number to make one of; None for that of 0.
        seed: an older name of the number.

    Raises:
        ValueError: both a key and a seed.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.add_noise(0.01, 0.55, key=0)
    >>> updates, state = opt.update(np.zeros(2, np.float32), opt.init(np.zeros(2, np.float32)))
    >>> updates.dtype, state.count
    (dtype('float32'), np.int32(1))
    """
    if key is not None and seed is not None:
        raise ValueError(f"add_noise got both a key and a seed, {seed}; write add_noise(eta, gamma, key={seed})")
    first = (0 if seed is None else seed) if key is None else unwrap_random_key_data(key)
    eta, gamma = number(eta), number(gamma)

    def init(params: Params) -> OptState:
        return AddNoiseState(count=first_count(), rng_key=first if np.ndim(first) else PRNGKey(first))

    def update(updates: Updates, state: AddNoiseState, params: Params | None = None) -> Any:
        count = safe_increment(state.count)
        own, mine = split(state.rng_key)
        noise = random_like(mine, updates)
        return add_scale(updates, np.sqrt(eta / count**gamma), noise), AddNoiseState(count=count, rng_key=own)

    return GradientTransformation(init, update)
