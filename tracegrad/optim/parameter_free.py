"""Optimisers that find their learning rate: by how far they have come (prodigy, dadapt_adamw, dog, dowg, mechanize), by the value of the loss
(momo), by betting (cocob)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import checked
from tracegrad.optim.adding import add_decayed_weights
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    chain,
    first_count,
    identity,
    required,
    safe_increment,
    scale_by_learning_rate,
    scaled,
)
from tracegrad.optim.formulas import casts, for_leaves, like, moment, per_leaf, unbiased, value_of
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import dtype, full_like, norm, vdot, zeros_like
from tracegrad.optim.tree import sum as sum_of
from tracegrad.typing import Array, ArrayLike, PyTree


def _sub(a: PyTree, b: PyTree) -> PyTree:
    return tree.map(lambda x, y: x - y, a, b)


# -- prodigy, dadapt_adamw


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
    beta3: ArrayLike | None = None,
    eps: ArrayLike = 1e-8,
    estim_lr0: ArrayLike = 1e-6,
    estim_lr_coef: ArrayLike = 1.0,
    weight_decay: ArrayLike = 0.0,
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
        progress = vdot(updates, _sub(state.params0, params))
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
    eps: ArrayLike = 1e-8,
    estim_lr0: ArrayLike = 1e-6,
    weight_decay: ArrayLike = 0.0,
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


# -- dog, dowg


class DoGState(NamedTuple):
    """Whether no step has been made, the first parameters, the largest distance from them, the sum of the squared norms of gradients."""

    is_init_step: Array
    init_params: PyTree
    max_dist: Array
    sum_sq_norm_grads: Array


@checked
def scale_by_dog(init_step: tuple[str, ArrayLike], eps: ArrayLike = 1e-8) -> GradientTransformation:
    """Gradients times the distance from the start over the root of their sum of squares; see `dog`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_dog(("distance", 1e-3))
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.0006, 0.0008]
    """
    kind, size = init_step
    if kind not in ("distance", "heuristic", "learning_rate"):
        raise ValueError(
            f"scale_by_dog: init_step={init_step!r} begins with 'distance', 'heuristic' or 'learning_rate'"
        )

    def init(params: Params) -> DoGState:
        lowest = dtype(params, "lowest")
        first: Any = {"distance": size, "learning_rate": 0.0}.get(kind)
        if first is None:
            first = size * (1 + norm(params))
        far = np.zeros((), lowest) + cast(first, np.zeros((), lowest))
        return DoGState(np.array(True), params, like(far, np.zeros((), lowest)), np.zeros((), lowest))

    def update(updates: Updates, state: DoGState, params: Params | None = None) -> Any:
        far = np.maximum(state.max_dist, norm(_sub(state.init_params, required(params, "scale_by_dog"))))
        total = state.sum_sq_norm_grads + norm(updates, squared=True)
        rate = far / np.sqrt(total + cast(eps, total))
        if kind == "learning_rate":
            rate = np.where(state.is_init_step, cast(size, rate), rate)
        state = DoGState(
            np.zeros_like(state.is_init_step),
            state.init_params,
            like(far, state.max_dist),
            like(total, state.sum_sq_norm_grads),
        )
        return scaled(rate, updates), state

    return GradientTransformation(init, update)


@checked
def dog(
    learning_rate: ScalarOrSchedule = 1.0,
    init_step: tuple[str, ArrayLike] = ("heuristic", 1e-6),
    eps: ArrayLike = 1e-8,
    weight_decay: ScalarOrSchedule | None = None,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """DoG, distance over gradients: w ← w - learning_rate max|w - w₀| / √(Σ|g|² + eps) g.

    Ivgi, Hinder and Carmon, "DoG is SGD's best friend", 2023. Average the parameters that it goes through.

    Args:
        learning_rate: a factor, or a schedule.
        init_step: the first step: ("distance", r) for r as that distance, ("heuristic", a) for a (1 + |w₀|) as that, or
            ("learning_rate", s) for s as the learning rate.
        eps: added under the root.
        weight_decay, mask: added to the gradients, as in `add_decayed_weights`; None for not.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.dog(init_step=("distance", 0.5))
    >>> w = np.array([3.0])
    >>> opt.update(2 * w, opt.init(w), w)[0].round(6).tolist()
    [-0.5]
    """
    return chain(
        identity() if weight_decay is None else add_decayed_weights(weight_decay, mask),
        scale_by_dog(init_step, eps),
        scale_by_learning_rate(learning_rate),
    )


class DoWGState(NamedTuple):
    """The first parameters, the weighted sum of squared norms of gradients, the largest squared distance from the start."""

    init_params: PyTree
    weighted_sq_norm_grads: Array
    estim_sq_dist: Array


@checked
def scale_by_dowg(init_estim_sq_dist: ArrayLike | None = None, eps: ArrayLike = 1e-4) -> GradientTransformation:
    """Gradients times a squared distance over the root of their weighted sum of squares; see `dowg`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_dowg()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.006, 0.008]
    """

    def init(params: Params) -> DoWGState:
        lowest = dtype(params, "lowest")
        first = eps if init_estim_sq_dist is None else init_estim_sq_dist
        return DoWGState(params, np.zeros((), lowest), np.array(first, lowest))

    def update(updates: Updates, state: DoWGState, params: Params | None = None) -> Any:
        moved = _sub(state.init_params, required(params, "scale_by_dowg"))
        far = np.maximum(state.estim_sq_dist, norm(moved, squared=True))
        total = far * norm(updates, squared=True) + state.weighted_sq_norm_grads
        rate = far / (np.sqrt(total) + cast(eps, total))
        state = DoWGState(state.init_params, like(total, state.estim_sq_dist), like(far, state.estim_sq_dist))
        return scaled(rate, updates), state

    return GradientTransformation(init, update)


@checked
def dowg(
    learning_rate: ScalarOrSchedule = 1.0,
    init_estim_sq_dist: ArrayLike | None = None,
    eps: ArrayLike = 1e-4,
    weight_decay: ScalarOrSchedule | None = None,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """DoWG, distance over weighted gradients: w ← w - learning_rate r² / (√Σ r²|g|² + eps) g, with r the largest |w - w₀|.

    Khaled, Mishchenko and Jin, "DoWG unleashed", 2023.

    Args:
        learning_rate: a factor, or a schedule.
        init_estim_sq_dist: the first r²; `eps` if None.
        eps: added to the root.
        weight_decay, mask: added to the gradients, as in `add_decayed_weights`; None for not.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.dowg(init_estim_sq_dist=0.25)
    >>> w = np.array([3.0])
    >>> opt.update(2 * w, opt.init(w), w)[0].round(3).tolist()
    [-0.5]
    """
    return chain(
        identity() if weight_decay is None else add_decayed_weights(weight_decay, mask),
        scale_by_dowg(init_estim_sq_dist, eps),
        scale_by_learning_rate(learning_rate),
    )


# -- momo


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
    beta: ArrayLike = 0.9,
    lower_bound: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
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
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    lower_bound: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
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


# -- cocob


class COCOBState(NamedTuple):
    """The first parameters, the sum of the negative gradients, their largest size, the sum of their sizes, and what was won."""

    init_particles: PyTree
    cumulative_gradients: PyTree
    scale: PyTree
    subgradients: PyTree
    reward: PyTree


@checked
def scale_by_cocob(alpha: ArrayLike = 100.0, eps: ArrayLike = 1e-8) -> GradientTransformation:
    """Gradients as bets of a gambler; see `cocob`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_cocob()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [-0.01, -0.01]
    """

    def init(params: Params) -> COCOBState:
        zeros = [zeros_like(params) for _ in range(3)]
        return COCOBState(params, zeros[0], full_like(params, eps), zeros[1], zeros[2])

    def leaf(g: Any, first: Any, total: Any, largest: Any, sizes: Any, won: Any, p: Any) -> tuple[Any, ...]:
        largest = np.maximum(largest, np.abs(g))
        sizes = sizes + np.abs(g)
        won = np.maximum(won - g * (p - first), 0)
        total = total - g
        bet = total / (largest * np.maximum(sizes + largest, cast(alpha, g) * largest)) * (largest + won)
        return -p + (first + bet), first, total, largest, sizes, won

    def update(updates: Updates, state: COCOBState, params: Params | None = None) -> Any:
        updates, *kept = per_leaf(6, leaf, updates, *state, required(params, "scale_by_cocob"))
        return updates, COCOBState(*kept)

    return GradientTransformation(init, update)


@checked
def cocob(
    learning_rate: ScalarOrSchedule = 1.0,
    alpha: ArrayLike = 100.0,
    eps: ArrayLike = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """COCOB: each parameter is a gambler that bets a part of what it has won on the sign of the next gradient; no learning rate.

    Orabona and Tommasi, "Training deep networks without learning rates through coin betting", 2017, algorithm 2.

    Args:
        learning_rate: a factor of the gradients.
        alpha: how careful the first bets are.
        eps: what the largest gradient begins with.
        weight_decay, mask: added to the gradients, as in `add_decayed_weights`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.cocob()
    >>> w = np.array([3.0])
    >>> opt.update(2 * w, opt.init(w), w)[0].round(6).tolist()
    [-0.01]
    """
    return chain(
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_cocob(alpha, eps),
    )
