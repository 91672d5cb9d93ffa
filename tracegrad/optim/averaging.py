"""Averages of parameters: kept beside them, or stepped back to."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Share, checked, whole
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.types import number_kind, type_of
from tracegrad.optim import tree as optim_tree
from tracegrad.optim.base import (
    GradientTransformation,
    OptState,
    Params,
    Updates,
    cast,
    first_count,
    number,
    passing,
    require_transformation,
    required,
    telling,
    told,
)
from tracegrad.typing import Array, DType


class LookaheadState(NamedTuple):
    """`fast_state`: that of the fast optimiser; `steps_since_sync`: the number of its steps since slow and fast parameters were the same, int32."""

    fast_state: Any
    steps_since_sync: Array


class LookaheadParams(NamedTuple):
    """The parameters that `lookahead` optimises, two of each.

    fast  what the fast optimiser steps along with, and gradients are taken of
    slow  what stays between synchronisations: to be evaluated and kept
    """

    fast: Params
    slow: Params

    @classmethod
    def init_synced(cls, params: Params) -> Self:
        """Both the same, as at the beginning."""
        return cls(fast=params, slow=params)


@checked
def lookahead(
    fast_optimizer: Any, sync_period: int, slow_step_size: Share, reset_state: bool = False
) -> GradientTransformation:
    """An optimiser in whose direction slow parameters take one step for several of its own, from where it then goes on (Zhang et al., "Lookahead
    Optimizer: k steps forward, 1 step back", 2019).

    Args:
        fast_optimizer: the optimiser.
        sync_period: how many of its steps make one slow one.
        slow_step_size: how far the slow step goes along the way between the two, from 0 to 1.
        reset_state: whether the optimiser begins anew after each slow step.

    Parameters are `LookaheadParams.init_synced(params)`, gradients those with respect to `params.fast`, and updates a LookaheadParams.

    Raises:
        ValueError: a period below 1; `update` without parameters.
        TypeError: parameters that are no LookaheadParams.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.lookahead(tg.optim.scale(-1.0), sync_period=2, slow_step_size=0.5)
    >>> params = tg.optim.LookaheadParams.init_synced(np.array([0.0]))
    >>> state = opt.init(params)
    >>> for _ in range(2):
    ...     updates, state = opt.update(np.array([1.0]), state, params)
    ...     params = tg.optim.apply_updates(params, updates)
    ...     print(params)
    LookaheadParams(fast=array([-1.]), slow=array([0.]))
    LookaheadParams(fast=array([-1.]), slow=array([-1.]))
    """
    require_transformation(fast_optimizer, "lookahead")
    whole(sync_period, "lookahead", "sync_period", 1)
    size = number(slow_step_size)

    def init(params: Params) -> OptState:
        fast = getattr(params, "fast", params)
        return LookaheadState(fast_state=fast_optimizer.init(fast), steps_since_sync=first_count())

    def update(updates: Updates, state: LookaheadState, params: Params | None = None) -> Any:
        params = required(params, "lookahead")
        if not hasattr(params, "fast"):
            raise TypeError(
                f"lookahead got parameters of type {type(params).__name__}; it optimises"
                " LookaheadParams.init_synced(params), with gradients with respect to .fast"
            )
        updates, fast_state = fast_optimizer.update(updates, state.fast_state, params.fast)
        found, syncs, steps = _with_slow(updates, state.steps_since_sync, params, sync_period, size)
        if reset_state:
            fast_state = optim_tree.where(syncs, fast_optimizer.init(params.fast), fast_state)
        return found, LookaheadState(fast_state, steps)

    return passing(init, telling(update, lambda state: told(fast_optimizer, state.fast_state)))


@accepting_jax
def _with_slow(updates: Updates, steps: Any, params: Any, period: int, size: Any) -> tuple[LookaheadParams, Any, Any]:
    """Updates of both parameters, whether they are the same afterwards, and how many steps later that was."""
    syncs = steps == period - 1
    ahead = tree.map(lambda f, u, s: f + u - s, params.fast, updates, params.slow)
    slow = tree.map(lambda d: cast(size, d) * (cast(syncs, d) * d), ahead)
    fast = tree.map(lambda u, d: u - cast(syncs, d) * cast(1 - size, d) * d, updates, ahead)
    return LookaheadParams(fast=fast, slow=slow), syncs, ((steps + 1) % period).astype(type_of(steps).dtype)


class EmaParamsState(NamedTuple):
    """`ema`: the moving average of the parameters, which starts from them."""

    ema: Params


@checked
def ema_params(decay: Share, accumulator_dtype: DType = None) -> GradientTransformation:
    """The exponential moving average of the parameters, kept in the state. Updates pass as they are; to be the last of a chain, where they are
    what is added to the parameters.

    Args:
        decay: what the average so far counts for: `decay * average + (1 - decay) * (params + updates)`.
        accumulator_dtype: the dtype of the average of floats; None for that of the parameters. (In bfloat16 a decay of 0.999 does not move.)

    Raises:
        ValueError: `update` without parameters.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.chain(tg.optim.scale(-1.0), tg.optim.ema_params(0.5))
    >>> params = {"w": np.array([2.0])}
    >>> state = opt.init(params)
    >>> params, state = tg.optim.step(opt, {"w": np.array([1.0])}, state, params)
    >>> params, tg.optim.tree.get(state, "ema")
    ({'w': array([1.])}, {'w': array([1.5])})
    """
    decay = number(decay)

    def init(params: Params) -> OptState:
        return EmaParamsState(tree.map(lambda p: p.astype(_kept_dtype(p, accumulator_dtype)), params))

    def update(updates: Updates, state: EmaParamsState, params: Params | None = None) -> Any:
        def averaged(old: Any, p: Any, u: Any) -> Any:
            new = p + u
            if number_kind(type_of(old).dtype) not in "fc":
                return new.astype(type_of(old).dtype)
            return (cast(decay, old) * old + cast(1 - decay, new) * new).astype(type_of(old).dtype)

        return updates, EmaParamsState(tree.map(averaged, state.ema, required(params, "ema_params"), updates))

    return GradientTransformation(init, update)


def _kept_dtype(p: Any, dtype: DType) -> Any:
    own = type_of(p).dtype
    return own if dtype is None or number_kind(own) not in "fc" else np.dtype(dtype)
