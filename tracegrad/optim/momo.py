"""Optimisers that find their learning rate by the value of the loss: momo, momo_adam."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Decay, NotNegative, checked
from tracegrad.optim.base import (
    GradientTransformationExtraArgs,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    first_count,
    required,
    safe_increment,
)
from tracegrad.optim.formulas import casts, for_leaves, like, moment, per_leaf, unbiased, value_of
from tracegrad.optim.tree import dtype, norm, vdot, zeros_like
from tracegrad.typing import Array, ArrayLike, PyTree


class MomoState(NamedTuple):
    """Moving averages of the gradients, of the values, and of <g, w>; the lower bound of the loss; the number of steps."""

    exp_avg: PyTree
    barf: Array
    gamma: Array
    lb: Array
    count: Array


def _bounded(model: Any, divisor: Any, largest: Any) -> Any:
    """A step by Polyak's rule for a model of the loss, at most the largest."""
    vanishes = divisor <= np.finfo(np.float64).eps
    return np.minimum(largest, np.where(vanishes, 0, np.maximum(model, 0) / np.where(vanishes, 1, divisor)))


@checked
def momo(
    learning_rate: ScalarOrSchedule = 1.0,
    beta: Decay = 0.9,
    lower_bound: ArrayLike = 0.0,
    weight_decay: NotNegative = 0.0,
    adapt_lower_bound: bool = False,
) -> GradientTransformationExtraArgs:
    """MoMo: momentum with Polyak's step for the mean of the latest linear models of the loss, at most the learning rate.

        w ← w - min(learning_rate, max(f̄ + <m, w> - γ - lower_bound, 0) / |m|²) m,    f̄, γ: averages of f and <g, w>

    Schaipp et al., "MoMo: momentum models for adaptive learning rates", 2024. `update(grads, state, params, value=loss)` needs the loss.

    Args:
        learning_rate: the longest step, a number or a schedule.
        beta: decay of the averages.
        lower_bound: of the loss.
        weight_decay: as in `adamw`.
        adapt_lower_bound: whether the bound is raised where the loss cannot come down to it.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.momo()
    >>> w = np.array([3.0])
    >>> opt.update(2 * w, opt.init(w), w, value=w[0] ** 2)[0].round(6).tolist()
    [-1.5]
    """

    def init(params: Params) -> MomoState:
        lowest = dtype(params, "lowest")
        zero = np.zeros((), lowest)
        return MomoState(zeros_like(params), zero, zero, np.array(lower_bound, lowest), first_count())

    def update(
        updates: Updates, state: MomoState, params: Params | None = None, *, value: Any, **extra_args: Any
    ) -> Any:
        params = required(params, "momo")
        kept = state.barf
        decay = cast(np.where(state.count == 0, 0, beta), kept)
        as_met = casts(decay)

        def average(g: Any, mean: Any) -> Any:
            (decay,) = as_met(g)
            return like(decay * mean + (1 - decay) * g, mean)

        mean = for_leaves(average, updates, state.exp_avg)
        mean_value = decay * kept + (1 - decay) * cast(value, kept)
        gamma = decay * state.gamma + (1 - decay) * cast(vdot(updates, params), kept)
        total, product = cast(norm(mean, squared=True), kept), cast(vdot(mean, params), kept)
        alpha = cast(value_of(learning_rate, state.count), kept)
        shrinking = 1 + alpha * cast(weight_decay, kept)
        least = cast(lower_bound, kept)
        bound = state.lb
        if adapt_lower_bound:
            cap = shrinking * (mean_value - gamma) + product
            bound = np.where(cap < shrinking * bound, np.maximum(cap / (2 * shrinking), least), bound)
        tau = _bounded(shrinking * (mean_value - bound - gamma) + product, total, alpha)
        if adapt_lower_bound:
            bound = np.maximum(mean_value + product - gamma - tau * total / 2, least)
        step_of = casts(alpha * cast(weight_decay, kept) / shrinking, tau)

        def move(p: Any, m: Any) -> Any:
            shrink, tau = step_of(p)
            return -shrink * p - tau * m

        state = MomoState(mean, mean_value, gamma, like(bound, kept), safe_increment(state.count))
        return for_leaves(move, params, mean), state

    return GradientTransformationExtraArgs(init, update)


class MomoAdamState(NamedTuple):
    """As `MomoState`, and the moving average of squared gradients."""

    exp_avg: PyTree
    exp_avg_sq: PyTree
    barf: Array
    gamma: Array
    lb: Array
    count: Array


@checked
def momo_adam(
    learning_rate: ScalarOrSchedule = 1e-2,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    lower_bound: ArrayLike = 0.0,
    weight_decay: NotNegative = 0.0,
    adapt_lower_bound: bool = False,
) -> GradientTransformationExtraArgs:
    """`momo` in the metric of Adam.

    Args:
        learning_rate: the longest step, a number or a schedule.
        b1, b2, eps: as in `adam`.
        lower_bound, weight_decay, adapt_lower_bound: as in `momo`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.momo_adam(0.5)
    >>> w = np.array([3.0])
    >>> opt.update(2 * w, opt.init(w), w, value=w[0] ** 2)[0].round(6).tolist()
    [-0.5]
    """

    def init(params: Params) -> MomoAdamState:
        lowest = dtype(params, "lowest")
        zero = np.zeros((), lowest)
        bound = np.array(lower_bound, lowest)
        return MomoAdamState(zeros_like(params), zeros_like(params), zero, zero, bound, first_count())

    def update(
        updates: Updates, state: MomoAdamState, params: Params | None = None, *, value: Any, **extra_args: Any
    ) -> Any:
        params = required(params, "momo_adam")
        count = safe_increment(state.count)
        kept = state.barf
        first, second = cast(unbiased(b1, count), kept), unbiased(b2, count)
        as_met = casts(second, eps)

        def moments(g: Any, mean: Any, square: Any) -> tuple[Any, Any, Any]:
            second, eps = as_met(g)
            square = like(moment(g * g, square, b2), square)
            return like(moment(g, mean, b1), mean), square, eps + np.sqrt(square / second)

        mean, square, metric = per_leaf(3, moments, updates, state.exp_avg, state.exp_avg_sq)
        mean_value = moment(cast(value, kept), kept, b1)
        gamma = moment(cast(vdot(updates, params), kept), state.gamma, b1)
        total = cast(vdot(mean, tree.map(lambda m, root: m / root, mean, metric)), kept)
        product = cast(vdot(mean, params), kept)
        alpha = cast(value_of(learning_rate, state.count), kept)
        shrinking = 1 + alpha * cast(weight_decay, kept)
        least = cast(lower_bound, kept)
        bound = state.lb
        if adapt_lower_bound:
            cap = shrinking * (mean_value - gamma) + product
            lower = np.maximum(cap / (2 * first * shrinking), least)
            bound = np.where(cap < shrinking * first * bound, lower, bound)
        tau = _bounded(shrinking * (mean_value - first * bound - gamma) + product, total, alpha / first)
        if adapt_lower_bound:
            bound = np.maximum((mean_value + product - gamma - tau * total / 2) / first, least)
        step_of = casts(alpha * cast(weight_decay, kept) / shrinking, tau)

        def move(p: Any, m: Any, root: Any) -> Any:
            shrink, tau = step_of(p)
            return -shrink * p - tau * m / root

        state = MomoAdamState(mean, square, mean_value, gamma, like(bound, kept), count)
        return for_leaves(move, params, mean, metric), state

    return GradientTransformationExtraArgs(init, update)
