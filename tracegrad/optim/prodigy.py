"""Optimisers that find their learning rate by the distance to the solution, which gradients tell: prodigy, dadapt_adamw."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import DECAY, Decay, NotNegative, Positive, checked, require_within
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
from tracegrad.optim.formulas import casts, for_leaves, like, per_leaf, unbiased, value_of
from tracegrad.optim.tree import dtype, sub, vdot, zeros_like
from tracegrad.optim.tree import sum as sum_of
from tracegrad.typing import Array, ArrayLike, PyTree


class ProdigyState(NamedTuple):
    """The two moments, the weighted sum of the gradients, the first parameters, the estimate of the distance to the solution with what it is
    a quotient of, and the number of steps."""

    exp_avg: PyTree
    exp_avg_sq: PyTree
    grad_sum: PyTree
    params0: PyTree
    estim_lr: Array
    numerator_weighted: Array
    count: Array


@checked
def prodigy(
    learning_rate: ScalarOrSchedule = 1.0,
    betas: tuple[ArrayLike, ArrayLike] = (0.9, 0.999),
    beta3: Decay | None = None,
    eps: NotNegative = 1e-8,
    estim_lr0: NotNegative = 1e-6,
    estim_lr_coef: Positive = 1.0,
    weight_decay: NotNegative = 0.0,
    safeguard_warmup: bool = False,
) -> GradientTransformationExtraArgs:
    """Prodigy: Adam with a learning rate d that grows to the distance of the solution, which gradients tell, r = <g, w₀ - w>:

        d ← max(d, coef Σ d² r / |Σ d² g|₁)

    Mishchenko and Defazio, "Prodigy: an expeditiously adaptive parameter-free learner", 2023.

    Args:
        learning_rate: a factor, 1 for most; a schedule should end at 0.
        betas: decay of the two moments.
        beta3: decay of the sums; the root of the second of `betas` if None.
        eps: added to the root, times d.
        estim_lr0: the first d.
        estim_lr_coef: a factor of the estimate.
        weight_decay: as in `adamw`.
        safeguard_warmup: whether the learning rate is left out of the sums, for schedules that warm up.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.prodigy()
    >>> w = np.array([4.0, -3.0])
    >>> state = opt.init(w)
    >>> for _ in range(300):
    ...     updates, state = opt.update(2 * w, state, w)
    ...     w = w + updates
    >>> bool(np.all(np.abs(w) < 0.5))
    True
    """
    beta1, beta2 = betas
    require_within("prodigy", DECAY, betas=betas)
    decay = beta2**0.5 if beta3 is None else beta3

    def init(params: Params) -> ProdigyState:
        lowest = dtype(params, "lowest")
        first, second, total = [zeros_like(params) for _ in range(3)]
        return ProdigyState(
            first, second, total, params, np.array(estim_lr0, lowest), np.zeros((), lowest), first_count()
        )

    def update(updates: Updates, state: ProdigyState, params: Params | None = None, **extra_args: Any) -> Any:
        params = required(params, "prodigy")
        count = safe_increment(state.count)
        d = state.estim_lr
        rate = value_of(learning_rate, state.count)
        correction = np.sqrt(unbiased(beta2, count)) / unbiased(beta1, count)
        step = cast(d * rate * correction, d)
        weight = (d if safeguard_warmup else step) / cast(estim_lr0, d)
        as_met = casts(d, step, weight, beta1, 1 - beta1, beta2, 1 - beta2, decay, eps, weight_decay)

        def moments(g: Any, first: Any, second: Any, total: Any) -> tuple[Any, Any, Any]:
            d, _, weight, beta1, rest1, beta2, rest2, decay, *_ = as_met(g)
            scaled_g = d * g
            return (
                like(beta1 * first + rest1 * scaled_g, first),
                like(beta2 * second + rest2 * scaled_g * scaled_g, second),
                like(decay * total + weight * scaled_g, total),
            )

        first, second, total = per_leaf(3, moments, updates, state.exp_avg, state.exp_avg_sq, state.grad_sum)
        progress = vdot(updates, sub(state.params0, params))
        numerator = cast(decay, d) * state.numerator_weighted + d / cast(estim_lr0, d) * step * cast(progress, d)
        divisor = sum_of(tree.map(np.abs, total))
        # Where all gradients have been zero there is no estimate yet.
        estimate = cast(estim_lr_coef, d) * numerator / np.where(divisor == 0, 1, divisor)
        new_d = like(np.where(divisor == 0, d, np.maximum(d, estimate)), d)
        with_new = casts(new_d)

        def move(p: Any, first: Any, second: Any) -> Any:
            _, step, *_, eps, weight_decay = as_met(p)
            return -weight_decay * step * p - step * first / (np.sqrt(second) + with_new(p)[0] * eps)

        state = ProdigyState(first, second, total, state.params0, new_d, like(numerator, d), count)
        return for_leaves(move, params, first, second), state

    return GradientTransformationExtraArgs(init, update)


class DAdaptAdamWState(NamedTuple):
    """The two moments, the weighted sum of the gradients, the estimate of the distance to the solution with what it is a quotient of, and
    the number of steps."""

    exp_avg: PyTree
    exp_avg_sq: PyTree
    grad_sum: PyTree
    estim_lr: Array
    numerator_weighted: Array
    count: Array


@checked
def dadapt_adamw(
    learning_rate: ScalarOrSchedule = 1.0,
    betas: tuple[ArrayLike, ArrayLike] = (0.9, 0.999),
    eps: NotNegative = 1e-8,
    estim_lr0: NotNegative = 1e-6,
    weight_decay: NotNegative = 0.0,
) -> GradientTransformationExtraArgs:
    """D-Adaptation: AdamW with a learning rate d that grows to a bound of the distance of the solution, by gradients in the metric of Adam.

    Defazio and Mishchenko, "Learning-rate-free learning by D-adaptation", 2023.

    Args:
        learning_rate: a factor, 1 for most, or a schedule.
        betas: decay of the two moments.
        eps: added to the root.
        estim_lr0: the first d.
        weight_decay: as in `adamw`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.dadapt_adamw()
    >>> w = np.array([4.0, -3.0])
    >>> state = opt.init(w)
    >>> for _ in range(300):
    ...     updates, state = opt.update(2 * w, state, w)
    ...     w = w + updates
    >>> bool(np.all(np.abs(w) < 0.5))
    True
    """
    beta1, beta2 = betas
    require_within("dadapt_adamw", DECAY, betas=betas)
    decay = beta2**0.5

    def init(params: Params) -> DAdaptAdamWState:
        lowest = dtype(params, "lowest")
        first, second, total = [zeros_like(params) for _ in range(3)]
        return DAdaptAdamWState(first, second, total, np.array(estim_lr0, lowest), np.zeros((), lowest), first_count())

    def update(updates: Updates, state: DAdaptAdamWState, params: Params | None = None, **extra_args: Any) -> Any:
        params = required(params, "dadapt_adamw")
        count = safe_increment(state.count)
        d = state.estim_lr
        rate = value_of(learning_rate, state.count)
        step = cast(d * rate * (np.sqrt(unbiased(beta2, count)) / unbiased(beta1, count)), d)
        as_met = casts(step, beta1, 1 - beta1, beta2, 1 - beta2, decay, 1 - decay, eps, weight_decay)

        def moments(g: Any, first: Any, second: Any, total: Any) -> tuple[Any, Any, Any, Any]:
            step, beta1, rest1, beta2, rest2, decay, rest, eps, _ = as_met(g)
            return (
                total / (np.sqrt(second) + eps),
                like(beta1 * first + rest1 * step * g, first),
                like(beta2 * second + rest2 * g * g, second),
                like(decay * total + rest * step * g, total),
            )

        measured, first, second, total = per_leaf(4, moments, updates, state.exp_avg, state.exp_avg_sq, state.grad_sum)
        progress = vdot(updates, measured)
        numerator = cast(decay, d) * state.numerator_weighted + cast(1 - decay, d) * step * cast(progress, d)
        divisor = cast(1 - decay, d) * sum_of(tree.map(np.abs, total))
        estimate = numerator / np.where(divisor == 0, 1, divisor)
        new_d = like(np.where(divisor == 0, d, np.maximum(d, estimate)), d)

        def move(p: Any, first: Any, second: Any) -> Any:
            step, *_, eps, weight_decay = as_met(p)
            return -weight_decay * step * p - first / (np.sqrt(second) + eps)

        state = DAdaptAdamWState(first, second, total, new_d, like(numerator, d), count)
        return for_leaves(move, params, first, second), state

    return GradientTransformationExtraArgs(init, update)
