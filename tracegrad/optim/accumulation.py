"""Transformations that remember updates: momentum, moving averages, sums of several steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Share, checked, whole
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.types import type_of
from tracegrad.optim import tree as optim_tree
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    Updates,
    cast,
    chosen,
    first_count,
    number,
    passing,
    safe_increment,
    telling,
    told,
    users,
    with_extra_args_support,
)
from tracegrad.typing import Array, ArrayLike, DType


class TraceState(NamedTuple):
    """`trace`: the sum of the updates so far, each less by the decay for every step since."""

    trace: Params


@checked
def trace(decay: Share, nesterov: bool = False, accumulator_dtype: DType = None) -> GradientTransformation:
    """Momentum: `t = g + decay * t`, which is the update; with `nesterov=True` `g + decay * t` of the new t is (Sutskever et al., "On the
    importance of initialization and momentum in deep learning", 2013).

    Args:
        decay: what is left of a sum from one step to the next.
        nesterov: whether to look one step ahead.
        accumulator_dtype: the dtype of the state; None for that of the parameters.

    >>> opt = trace(0.5)
    >>> state = opt.init(np.zeros(1))
    >>> _, state = opt.update(np.array([1.0]), state)
    >>> opt.update(np.array([1.0]), state)
    (array([1.5]), TraceState(trace=array([1.5])))
    """
    decay = number(decay)

    def init(params: Params) -> OptState:
        return TraceState(optim_tree.zeros_like(params, accumulator_dtype))

    def update(updates: Updates, state: TraceState, params: Params | None = None) -> Any:
        def grown(g: Any, t: Any) -> Any:
            return None if g is None else g + cast(decay, t) * t

        new = tree.map(grown, updates, state.trace, is_leaf=lambda x: x is None)
        updates = tree.map(grown, updates, new) if nesterov else new
        return updates, TraceState(optim_tree.cast_like(new, state.trace))

    return GradientTransformation(init, update)


class EmaState(NamedTuple):
    """`count`: the number of steps, int32; `ema`: the moving average of the updates, which starts from 0."""

    count: Array
    ema: Params


@checked
def ema(decay: Share, debias: bool = True, accumulator_dtype: DType = None) -> GradientTransformation:
    """The exponential moving average of updates, `(1 - decay) * g + decay * average`, as the update.

    Args:
        decay: what the average so far counts for.
        debias: whether to divide by `1 - decay**count`: the average starts from 0, which its first values lean to.
        accumulator_dtype: the dtype of the state; None for that of the parameters.

    >>> opt = ema(0.5)
    >>> state = opt.init(np.zeros(1))
    >>> for g in (1.0, 4.0):
    ...     updates, state = opt.update(np.array([g]), state)
    >>> updates, state.ema
    (array([3.]), array([2.25]))
    """
    decay = number(decay)

    def init(params: Params) -> OptState:
        return EmaState(count=first_count(), ema=optim_tree.zeros_like(params, accumulator_dtype))

    def update(updates: Updates, state: EmaState, params: Params | None = None) -> Any:
        new = optim_tree.update_moment(updates, state.ema, decay, 1)
        count = safe_increment(state.count)
        updates = optim_tree.bias_correction(new, decay, count) if debias else new
        return updates, EmaState(count=count, ema=optim_tree.cast_like(new, state.ema))

    return GradientTransformation(init, update)


class ApplyEvery(NamedTuple):
    """`count`: the number of steps since the latest updates, int32; `grad_acc`: the sum of what has come since."""

    count: Array
    grad_acc: Updates


@checked
def apply_every(k: ArrayLike = 1) -> GradientTransformation:
    """The sum of `k` updates at each k-th step, zeros at those between. See `MultiSteps` for what hands the rest of a chain such sums only.

    >>> opt = apply_every(2)
    >>> state = opt.init(np.zeros(1))
    >>> for _ in range(4):
    ...     updates, state = opt.update(np.array([1.0]), state)
    ...     print(updates)
    [0.]
    [2.]
    [0.]
    [2.]
    """

    k = k if hasattr(k, "dtype") else whole(k, "apply_every", "k", 1)

    def init(params: Params) -> OptState:
        return ApplyEvery(count=first_count(), grad_acc=optim_tree.zeros_like(params))

    def update(updates: Updates, state: ApplyEvery, params: Params | None = None) -> Any:
        count = _remainder(state.count, k)
        goes_on, emits = count != 0, count == k - 1
        total = tree.map(lambda g, acc: cast(goes_on, acc) * acc + g, updates, state.grad_acc)
        updates = tree.map(lambda acc: cast(emits, acc) * acc, total)
        return updates, ApplyEvery(count=_remainder(safe_increment(state.count), k), grad_acc=total)

    return GradientTransformation(init, update)


def _remainder(count: Any, k: Any) -> Any:
    """`count % k` in the dtype of a count, whatever that of k is."""
    return (count % k).astype(type_of(count).dtype)


class MultiStepsState(NamedTuple):
    """The state of `MultiSteps`.

    mini_step        the number of gradients since the latest update, int32
    gradient_step    the number of updates, int32
    inner_opt_state  the state of the transformation within
    acc_grads        the mean (or sum) of the gradients since the latest update
    skip_state       what the function said that decides what to leave out
    """

    mini_step: Array
    gradient_step: Array
    inner_opt_state: Any
    acc_grads: Any
    skip_state: Any


ShouldSkipUpdateFunction = Callable[[Updates, Array, Params | None], tuple[Array, Any]]


def skip_not_finite(updates: Updates, gradient_step: Array, params: Params | None) -> tuple[Array, Any]:
    """For `MultiSteps`: leave out updates in which an element is NaN or infinite. The state holds `should_skip` and `num_not_finite`.

    >>> skip, info = skip_not_finite(np.array([np.nan]), np.array([1.0]), None)
    >>> bool(skip)
    True
    """
    return _not_finite(updates)


@accepting_jax
def _not_finite(updates: Updates) -> tuple[Array, Any]:
    count = optim_tree.sum(tree.map(lambda u: np.sum(~np.isfinite(u), dtype=np.int32), updates)) + np.int32(0)
    return count > 0, {"should_skip": count > 0, "num_not_finite": count}


def skip_large_updates(
    updates: Updates, gradient_step: Array, params: Params | None, max_squared_norm: ArrayLike
) -> tuple[Array, Any]:
    """For `MultiSteps`, through `functools.partial`: leave out updates whose squared norm is not below `max_squared_norm`, or NaN. The state holds
    `should_skip` and `norm_squared`.

    >>> skip, info = skip_large_updates(np.array([3.0, 4.0]), np.zeros(2), None, max_squared_norm=10.0)
    >>> bool(skip)
    True
    """
    return _too_large(updates, max_squared_norm)


@accepting_jax
def _too_large(updates: Updates, max_squared_norm: ArrayLike) -> tuple[Array, Any]:
    norm = optim_tree.norm(updates, squared=True)
    skip = ~(norm < cast(number(max_squared_norm), norm))
    return skip, {"should_skip": skip, "norm_squared": norm}


class MultiSteps:
    """Gradients of several steps, gathered to one for the transformation within: `opt` sees the mean of k gradients at each k-th step, and
    what it makes of that is the update; at the steps between updates are zeros. `init` and `update` are as of any transformation.

    Args:
        opt: the transformation within.
        every_k_schedule: k, or a function from the number of updates so far to it.
        use_grad_mean: whether the mean is taken, or the sum.
        should_skip_update_fn: called with (gradients, the number of updates so far, parameters), says by a bool whether to leave these
            gradients out, and something to keep in the state (`skip_not_finite`, `skip_large_updates`).
        accumulator_dtype: of the mean; None for that of the parameters.

    Raises:
        TypeError: `should_skip_update_fn` that returns no bool.
        ValueError: for a number of steps below 1.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.MultiSteps(tg.optim.scale_by_learning_rate(1.0), every_k_schedule=2)
    >>> state = opt.init(np.zeros(1))
    >>> for g in (1.0, 3.0):
    ...     updates, state = opt.update(np.array([g]), state)
    ...     print(updates)
    [0.]
    [-2.]
    """

    def __init__(
        self,
        opt: Any,
        every_k_schedule: int | Callable[[ArrayLike], ArrayLike],
        use_grad_mean: bool = True,
        should_skip_update_fn: ShouldSkipUpdateFunction | None = None,
        accumulator_dtype: DType = np.float32,
    ) -> None:
        if not callable(every_k_schedule):
            whole(every_k_schedule, "MultiSteps", "every_k_schedule", 1)
        self._opt = with_extra_args_support(opt)
        self._every_k = users(every_k_schedule) if callable(every_k_schedule) else lambda step: every_k_schedule
        self._use_grad_mean = use_grad_mean
        self._should_skip = should_skip_update_fn and users(should_skip_update_fn)
        self._dtype = accumulator_dtype

    @property
    def inner_opt(self) -> GradientTransformationExtraArgs:
        """The transformation within."""
        return self._opt

    def init(self, params: Params) -> MultiStepsState:
        """The state at the beginning."""
        step = first_count()
        _, skip_state = self._skips(optim_tree.zeros_like(params), step, params)
        return MultiStepsState(
            mini_step=first_count(),
            gradient_step=step,
            inner_opt_state=self._opt.init(params),
            acc_grads=optim_tree.zeros_like(params, self._dtype),
            skip_state=skip_state,
        )

    def _skips(self, updates: Updates, step: Any, params: Params | None) -> tuple[Any, Any]:
        if self._should_skip is None:
            return np.False_, ()
        told = self._should_skip(updates, step, params)
        if not isinstance(told, tuple) or len(told) != 2:
            raise TypeError(
                f"MultiSteps{at(user_source())}: should_skip_update_fn must return a bool and what to keep in the state, it returned {clip(repr(told))}; write "
                "return skip, ()"
            )
        skip, state = told
        found = type_of(skip)
        if found.dtype != np.bool_ or found.shape:
            raise TypeError(f"should_skip_update_fn must say by one bool whether to skip, it returned {found}")
        return skip, state

    def update(
        self, updates: Updates, state: MultiStepsState, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, MultiStepsState]:
        """The next update, zeros in most steps, and the next state."""
        skip, skip_state = self._skips(updates, state.gradient_step, params)

        def taken() -> tuple[Updates, MultiStepsState]:
            mean = _gathered(updates, state.acc_grads, state.mini_step, self._use_grad_mean)
            found, inner = self._opt.update(
                optim_tree.cast_like(mean, updates), state.inner_opt_state, params, **extra_args
            )
            return _emitted(found, inner, mean, state, self._every_k(state.gradient_step), skip_state)

        def left() -> tuple[Updates, MultiStepsState]:
            return optim_tree.zeros_like(updates), state._replace(skip_state=skip_state)

        out: tuple[Updates, MultiStepsState] = chosen(skip, left, taken) if self._should_skip else taken()
        return out

    def has_updated(self, state: MultiStepsState) -> Array:
        """Whether the latest step made an update that is not zero."""
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> GradientTransformation:
        """This as a pair of functions, `tg.optim.GradientTransformation`."""

        def update(updates: Updates, state: Any, params: Params | None = None, **extra_args: Any) -> Any:
            return self.update(updates, state, params, **extra_args)

        return passing(self.init, telling(update, lambda state: told(self._opt, state.inner_opt_state)))


@accepting_jax
def _gathered(updates: Updates, gathered: Updates, count: Any, mean: bool) -> Updates:
    """A running mean, which is of the size of its terms all the time, or a sum."""
    if not mean:
        return tree.map(lambda g, acc: g + acc, updates, gathered)
    return tree.map(lambda g, acc: acc + (g - acc) / cast(count + 1, g - acc), updates, gathered)


@accepting_jax
def _emitted(
    updates: Updates, inner: Any, gathered: Updates, state: MultiStepsState, k: Any, skip_state: Any
) -> tuple[Updates, MultiStepsState]:
    """What comes out, and what is kept, of a step that may be the last one of k."""
    emits = state.mini_step == k - 1

    def kept(old: Any, new: Any) -> Any:
        found = np.where(emits, new, old)
        return found.astype(type_of(old).dtype)

    return tree.map(lambda u: np.where(emits, u, np.zeros_like(u)), updates), MultiStepsState(
        mini_step=_remainder(safe_increment(state.mini_step), k),
        gradient_step=kept(state.gradient_step, safe_increment(state.gradient_step)),
        inner_opt_state=tree.map(kept, state.inner_opt_state, inner),
        acc_grads=tree.map(
            lambda acc, old: np.where(emits, np.zeros_like(acc), acc).astype(type_of(old).dtype),
            gathered,
            state.acc_grads,
        ),
        skip_state=skip_state,
    )
