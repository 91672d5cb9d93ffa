"""Newer relatives of Adam: adopt, ademamix, simplified_ademamix, madgrad, acprop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import Decay, NotNegative, Share, checked
from tracegrad.optim.adam import ScaleByAdamState
from tracegrad.optim.adam_kin import ScaleByBeliefState
from tracegrad.optim.adding import add_decayed_weights
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Params,
    ScalarOrSchedule,
    Schedule,
    Updates,
    chain,
    first_count,
    required,
    safe_increment,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import casts, like, moment, per_leaf, squared, unbiased, value_of
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import zeros_like
from tracegrad.typing import Array, DType, PyTree

# -- adopt


def _fourth_root(count: Any) -> Any:
    return np.power(count, 0.25)


@checked
def scale_by_adopt(
    b1: Decay = 0.9,
    b2: Decay = 0.9999,
    eps: NotNegative = 1e-6,
    mu_dtype: DType = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Any], Any] = _fourth_root,
) -> GradientTransformation:
    """The momentum of gradients that were divided by the second moment of those before them; see `adopt`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_adopt()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.0, 0.0]
    """

    def init(params: Params) -> ScaleByAdamState:
        return ScaleByAdamState(first_count(), zeros_like(params, mu_dtype), zeros_like(params))

    def update(updates: Updates, state: ScaleByAdamState, params: Params | None = None) -> Any:
        is_later = state.count > 0
        first, second = np.where(is_later, b1, 1.0), np.where(is_later, b2, 0.0)
        as_met = casts(eps, clip_value_fn(state.count))

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            eps, bound = as_met(g)
            normed = g / np.maximum(np.sqrt(nu), eps)
            if use_clipping:
                normed = np.clip(normed, -bound, bound)
            m = moment(normed, mu, first)
            step = moment(normed, m, first) if nesterov else m
            return step, like(m, mu), like(moment(squared(g), nu, second), nu)

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        return updates, ScaleByAdamState(safe_increment(state.count), mu, nu)

    return GradientTransformation(init, update)


@checked
def adopt(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.9999,
    eps: NotNegative = 1e-6,
    mu_dtype: DType = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Any], Any] = _fourth_root,
) -> GradientTransformationExtraArgs:
    """ADOPT: Adam that divides by the second moment of the steps before and takes the momentum after, so that it converges for any b2. The first
    step only fills the moment.

        m ← b1 m + (1 - b1) clip(g / max(√v, eps))
        v ← b2 v + (1 - b2) g²
        w ← w - learning_rate m

    Taniguchi et al., "ADOPT: modified Adam can converge with any β2 with the optimal rate", 2024.

    Args:
        learning_rate, b1, b2, mu_dtype: as in `adam`.
        eps: what roots count as at least.
        nesterov: whether the momentum is Nesterov's.
        use_clipping: whether entries are clipped.
        clip_value_fn: to what, by the number of steps before; its fourth root if not given.

    >>> import numpy as np, tracegrad as tg
    >>> opt = adopt(0.1)
    >>> state = opt.init(np.zeros(1))
    >>> _, state = opt.update(np.array([3.0]), state)
    >>> opt.update(np.array([3.0]), state)[0].round(6).tolist()
    [-0.01]
    """
    return chain(
        scale_by_adopt(
            b1, b2, eps, mu_dtype, nesterov=nesterov, use_clipping=use_clipping, clip_value_fn=clip_value_fn
        ),
        scale_by_learning_rate(learning_rate),
    )


# -- ademamix


class ScaleByAdemamixState(NamedTuple):
    """The number of steps, twice, the fast and the slow moving average of the gradients, that of their squares."""

    count: Array
    count_m2: Array
    m1: PyTree
    m2: PyTree
    nu: PyTree


@checked
def scale_by_ademamix(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    b3: Decay | Schedule = 0.9999,
    alpha: ScalarOrSchedule = 6.0,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    mu_dtype: DType = None,
) -> GradientTransformation:
    """Adam's step with a second, slow momentum; see `ademamix`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_ademamix()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [1.0006, 1.0006]
    """

    def init(params: Params) -> ScaleByAdemamixState:
        moments = [zeros_like(params, mu_dtype) for _ in range(3)]
        return ScaleByAdemamixState(first_count(), first_count(), *moments)

    def update(updates: Updates, state: ScaleByAdemamixState, params: Params | None = None) -> Any:
        count = safe_increment(state.count)
        slow, share = value_of(b3, state.count_m2), value_of(alpha, state.count_m2)
        as_met = casts(unbiased(b1, count), unbiased(b2, count), share, eps, eps_root)

        def leaf(g: Any, m1: Any, m2: Any, nu: Any) -> tuple[Any, Any, Any, Any]:
            first, second, share, eps, eps_root = as_met(g)
            fast_mean, slow_mean, v = moment(g, m1, b1), moment(g, m2, slow), moment(squared(g), nu, b2)
            step = (fast_mean / first + share * slow_mean) / (np.sqrt(v / second + eps_root) + eps)
            return step, like(fast_mean, m1), like(slow_mean, m2), like(v, nu)

        updates, *moments = per_leaf(4, leaf, updates, state.m1, state.m2, state.nu)
        return updates, ScaleByAdemamixState(count, safe_increment(state.count_m2), *moments)

    return GradientTransformation(init, update)


@checked
def ademamix(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    b3: Decay | Schedule = 0.9999,
    alpha: ScalarOrSchedule = 5.0,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    mu_dtype: DType = None,
    weight_decay: NotNegative | Schedule = 0.0,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """AdEMAMix: Adam with a second momentum, which remembers gradients for tens of thousands of steps.

        w ← w - learning_rate ((m̂₁ + alpha m₂) / (√(v̂ + eps_root) + eps) + weight_decay w),    m₂ ← b3 m₂ + (1 - b3) g

    Pagliardini, Ablin and Grangier, "The AdEMAMix optimizer: better, faster, older", 2024.

    Args:
        learning_rate, b1, b2, eps, eps_root: as in `adam`.
        b3: decay of the slow momentum, a number or a schedule.
        alpha: its share, a number or a schedule.
        mu_dtype: the dtype of the three moments.
        weight_decay, mask: as in `adamw`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = ademamix(0.1)
    >>> w = np.array([1.0])
    >>> opt.update(np.array([3.0]), opt.init(w), w)[0].round(5).tolist()
    [-0.10005]
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


class ScaleBySimplifiedAdEMAMixState(NamedTuple):
    """The number of steps, the sum of the gradients and the moving average of their squares."""

    t: Array
    m: PyTree
    n: PyTree


@checked
def scale_by_simplified_ademamix(
    b1: Decay = 0.99,
    b2: Decay = 0.95,
    alpha: ScalarOrSchedule = 0.0,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
) -> GradientTransformation:
    """A momentum and a share of the gradient over the root of the mean square; see `simplified_ademamix`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_simplified_ademamix()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [1.0, 1.0]
    """

    def init(params: Params) -> ScaleBySimplifiedAdEMAMixState:
        return ScaleBySimplifiedAdEMAMixState(first_count(), zeros_like(params), zeros_like(params))

    def update(updates: Updates, state: ScaleBySimplifiedAdEMAMixState, params: Params | None = None) -> Any:
        t = safe_increment(state.t)
        as_met = casts(b1, value_of(alpha, state.t), unbiased(b2, t), eps, eps_root)

        def leaf(g: Any, m: Any, n: Any) -> tuple[Any, Any, Any]:
            decay, share, second, eps, eps_root = as_met(g)
            total, square = g + decay * m, moment(g * g, n, b2)
            step = (total + share * g) / (np.sqrt(square / second + eps_root) + eps)
            return step, like(total, m), like(square, n)

        updates, m, n = per_leaf(3, leaf, updates, state.m, state.n)
        return updates, ScaleBySimplifiedAdEMAMixState(t, m, n)

    return GradientTransformation(init, update)


@checked
def simplified_ademamix(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.99,
    b2: Decay = 0.95,
    alpha: ScalarOrSchedule = 0.0,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    weight_decay: NotNegative | Schedule = 0.0,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """AdEMAMix with one momentum, to which a share of the newest gradient is added. Its learning rate is (1 - b1) times Adam's.

        m ← b1 m + g,    w ← w - learning_rate ((m + alpha g) / (√(n̂ + eps_root) + eps) + weight_decay w)

    Morwani et al., "Connections between schedule-free optimizers, AdEMAMix, and accelerated SGD variants", 2025.

    Args:
        learning_rate, eps, eps_root: as in `adam`.
        b1: decay of the sum of the gradients.
        b2: decay of the mean square.
        alpha: the share of the newest gradient, a number or a schedule.
        weight_decay, mask: as in `adamw`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = simplified_ademamix(0.1)
    >>> w = np.array([1.0])
    >>> opt.update(np.array([3.0]), opt.init(w), w)[0].round(6).tolist()
    [-0.1]
    """
    return chain(
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


# -- madgrad


class MadgradState(NamedTuple):
    """The number of steps, the weighted sums of squares and of gradients, and the first parameters."""

    count: Array
    grad_sum_sq: PyTree
    s: PyTree
    x0: PyTree


@checked
def scale_by_madgrad(
    learning_rate: ScalarOrSchedule, momentum: Share = 0.9, eps: NotNegative = 1e-6
) -> GradientTransformation:
    """Dual averages with momentum; see `madgrad`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_madgrad(0.1)
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [-0.0311, -0.0342]
    """

    def init(params: Params) -> MadgradState:
        return MadgradState(first_count(), zeros_like(params), zeros_like(params), params)

    def update(updates: Updates, state: MadgradState, params: Params | None = None) -> Any:
        rate = value_of(learning_rate, state.count) + eps
        as_met = casts(rate * np.sqrt(state.count + 1.0), eps, momentum, 1 - momentum)

        def leaf(g: Any, squares: Any, total: Any, start: Any, p: Any) -> tuple[Any, Any, Any]:
            weight, eps, momentum, rest = as_met(g)
            squares = like(squares + weight * (g * g), squares)
            total = like(total + weight * g, total)
            z = start - total / (np.cbrt(squares) + eps)
            return rest * z + momentum * p - p, squares, total

        start, params = state.x0, required(params, "scale_by_madgrad")
        updates, squares, total = per_leaf(3, leaf, updates, state.grad_sum_sq, state.s, start, params)
        return updates, MadgradState(safe_increment(state.count), squares, total, start)

    return GradientTransformation(init, update)


@checked
def madgrad(
    learning_rate: ScalarOrSchedule,
    momentum: Share = 0.9,
    weight_decay: NotNegative | Schedule = 0.0,
    eps: NotNegative = 1e-6,
) -> GradientTransformationExtraArgs:
    """MADGRAD: dual averaging by cube roots, with momentum.

        λ = (learning_rate + eps) √t,    s ← s + λ g,    q ← q + λ g²
        w ← momentum w + (1 - momentum)(w₀ - s / (∛q + eps))

    Defazio and Jelassi, "Adaptivity without compromise: a momentumized, adaptive, dual averaged gradient method", 2022.

    Args:
        learning_rate: a number, or a schedule.
        momentum: the share of the parameters before.
        weight_decay: added to the gradients as a multiple of the parameters.
        eps: added to the cube root.

    >>> import numpy as np, tracegrad as tg
    >>> opt = madgrad(0.1)
    >>> w = np.array([1.0])
    >>> opt.update(np.array([3.0]), opt.init(w), w)[0].round(4).tolist()
    [-0.0311]
    """
    return chain(add_decayed_weights(weight_decay), scale_by_madgrad(learning_rate, momentum, eps))


# -- acprop


@checked
def scale_by_acprop(
    b1: Decay = 0.9, b2: Decay = 0.999, eps: NotNegative = 1e-16, eps_root: NotNegative = 1e-16
) -> GradientTransformation:
    """Gradients divided by how far those before were from what was expected; see `acprop`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_acprop()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [3.0, 4.0]
    """

    def init(params: Params) -> ScaleByBeliefState:
        return ScaleByBeliefState(first_count(), zeros_like(params), zeros_like(params))

    def update(updates: Updates, state: ScaleByBeliefState, params: Params | None = None) -> Any:
        count = safe_increment(state.count)
        is_first = state.count == 0
        as_met = casts(unbiased(b2, np.maximum(state.count, 1)), eps, eps_root)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            second, eps, eps_root = as_met(g)
            step = g / (np.sqrt(np.where(is_first, 1, nu / second)) + eps)
            return step, like(moment(g, mu, b1), mu), like(moment(squared(g - mu), nu, b2) + eps_root, nu)

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        return updates, ScaleByBeliefState(count, mu, nu)

    return GradientTransformation(init, update)


@checked
def acprop(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-16,
    eps_root: NotNegative = 1e-16,
    weight_decay: NotNegative | Schedule = 0.0,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """ACProp: `adabelief` without momentum in the step, and with the second moment of the steps before.

        w ← w - learning_rate (g / (√v̂ + eps) + weight_decay w),    then v ← b2 v + (1 - b2)(g - m)² + eps_root, m the average before

    Zhuang et al., "Momentum centering and asynchronous update for adaptive gradient methods", 2021.

    Args:
        learning_rate, b1, b2, eps, eps_root: as in `adabelief`.
        weight_decay, mask: as in `adamw`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = acprop(0.1)
    >>> w = np.array([1.0])
    >>> opt.update(np.array([3.0]), opt.init(w), w)[0].round(6).tolist()
    [-0.3]
    """
    return chain(
        scale_by_acprop(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
