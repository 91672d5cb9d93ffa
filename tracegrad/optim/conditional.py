"""Transformations that are applied under a condition, and left out otherwise."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import NotNegative, checked
from tracegrad.core.boxes import accepting_jax
from tracegrad.optim import tree as optim_tree
from tracegrad.optim.base import (
    GradientTransformationExtraArgs,
    OptState,
    Params,
    Updates,
    chosen,
    first_count,
    passing,
    safe_increment,
    telling,
    told,
    users,
    with_extra_args_support,
)
from tracegrad.typing import Array

ConditionFn = Callable[..., Any]


class ConditionallyTransformState(NamedTuple):
    """`inner_state`: that of the transformation within; `step`: the number of steps, int32."""

    inner_state: Any
    step: Array


class ConditionallyMaskState(NamedTuple):
    """`step`: the number of steps, int32; `inner_state`: that of the transformation within."""

    step: Array
    inner_state: Any


def _conditionally(
    inner: Any,
    condition: ConditionFn,
    forward_extra_args: bool,
    state_of: Callable[..., Any],
    otherwise: Callable[[Updates], Updates],
) -> GradientTransformationExtraArgs:
    inner, condition = with_extra_args_support(inner), users(condition)

    def init(params: Params) -> OptState:
        return state_of(inner_state=inner.init(params), step=first_count())

    def update(updates: Updates, state: Any, params: Params | None = None, **extra_args: Any) -> Any:
        updates, inner_state = chosen(
            condition(state.step, **(extra_args if forward_extra_args else {})),
            lambda: inner.update(updates, state.inner_state, params, **extra_args),
            lambda: (otherwise(updates), state.inner_state),
        )
        return updates, state_of(inner_state=inner_state, step=safe_increment(state.step))

    return passing(init, telling(update, lambda state: told(inner, state.inner_state)))


@checked
def conditionally_transform(
    inner: Any, should_transform_fn: ConditionFn, forward_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """A transformation where `should_transform_fn(step)` is True; at other steps updates pass as they are, and its state stays.

    Args:
        inner: the transformation.
        should_transform_fn: called with the number of the step, from 0 on.
        forward_extra_args: whether it gets the extra arguments of `update` too, as keywords.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.conditionally_transform(tg.optim.scale(10.0), lambda step: step % 2 == 1)
    >>> state = opt.init(np.zeros(1))
    >>> for _ in range(3):
    ...     updates, state = opt.update(np.array([1.0]), state)
    ...     print(updates)
    [1.]
    [10.]
    [1.]
    """
    return _conditionally(
        inner, should_transform_fn, forward_extra_args, ConditionallyTransformState, lambda updates: updates
    )


@checked
def conditionally_mask(
    inner: Any, should_transform_fn: ConditionFn, forward_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """The same with updates of zeros at other steps. Arguments as for `conditionally_transform`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.conditionally_mask(tg.optim.scale(-1.0), lambda step: step > 0)
    >>> params = np.ones(2)
    >>> state = opt.init(params)
    >>> first, state = opt.update(params, state)
    >>> second, state = opt.update(params, state)
    >>> first.tolist(), second.tolist()
    ([0.0, 0.0], [-1.0, -1.0])
    """
    return _conditionally(inner, should_transform_fn, forward_extra_args, ConditionallyMaskState, optim_tree.zeros_like)


class ApplyIfFiniteState(NamedTuple):
    """The state of `apply_if_finite`.

    notfinite_count  how many of the latest updates had a NaN or infinity, one after the other, int32
    last_finite      whether the latest one had none
    total_notfinite  how many there were in all, int32
    inner_state      the state of the transformation within
    """

    notfinite_count: Any
    last_finite: Any
    total_notfinite: Any
    inner_state: Any


@checked
def apply_if_finite(inner: Any, max_consecutive_errors: NotNegative) -> GradientTransformationExtraArgs:
    """A transformation of updates without NaN and infinities. Others give updates of zeros and leave its state as it is; but after
    `max_consecutive_errors` of them in a row they are taken, so that the fault shows.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.apply_if_finite(tg.optim.scale(-0.5), 5)
    >>> opt.update(np.array([1.0, np.nan]), opt.init(np.zeros(2)))[0]
    array([0., 0.])
    """
    inner = with_extra_args_support(inner)

    def init(params: Params) -> OptState:
        return ApplyIfFiniteState(first_count(), np.ones((), np.bool_), first_count(), inner.init(params))

    def update(updates: Updates, state: ApplyIfFiniteState, params: Params | None = None, **extra_args: Any) -> Any:
        finite, in_a_row, in_all, goes = _counted(updates, state, max_consecutive_errors)
        updates, inner_state = chosen(
            goes,
            lambda: inner.update(updates, state.inner_state, params, **extra_args),
            lambda: (optim_tree.zeros_like(updates), state.inner_state),
        )
        return updates, ApplyIfFiniteState(in_a_row, finite, in_all, inner_state)

    return passing(init, telling(update, lambda state: told(inner, state.inner_state)))


@accepting_jax
def _counted(updates: Updates, state: ApplyIfFiniteState, largest: int) -> tuple[Any, Any, Any, Any]:
    finite = functools.reduce(operator.and_, [np.all(np.isfinite(u)) for u in tree.leaves(updates)], np.True_)
    in_a_row = np.where(finite, first_count(), safe_increment(state.notfinite_count))
    in_all = np.where(finite, state.total_notfinite, safe_increment(state.total_notfinite))
    return finite, in_a_row, in_all, finite | (in_a_row > largest)
