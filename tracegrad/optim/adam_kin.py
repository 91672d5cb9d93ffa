"""Kin of Adam: other second moments (adabelief, yogi), a rectified start (radam), differences of gradients (adan)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import Decay, NotNegative, checked
from tracegrad.optim.adam import ScaleByAdamState, nesterov_moment
from tracegrad.optim.adding import add_decayed_weights
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Params,
    ScalarOrSchedule,
    Schedule,
    Updates,
    cast,
    chain,
    first_count,
    safe_increment,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import casts, like, moment, per_leaf, squared, unbiased
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import full_like, zeros_like
from tracegrad.typing import PyTree

# -- radam


@checked
def scale_by_radam(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    threshold: NotNegative = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam's step once the variance of its second moment is known to be bounded, momentum before; see `radam`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_radam()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [3.0, 4.0]
    """

    def init(params: Params) -> ScaleByAdamState:
        return ScaleByAdamState(first_count(), zeros_like(params), zeros_like(params))

    def update(
        updates: Updates, state: ScaleByAdamState, params: Params | None = None
    ) -> tuple[Updates, ScaleByAdamState]:
        count = safe_increment(state.count)
        decayed = np.power(b2, count)
        longest = 2.0 / (1.0 - b2) - 1.0
        length = longest - 2 * decayed * count / (1 - decayed)
        is_long = length >= threshold
        # What is not chosen is not computed from the short length, of which the root might be NaN.
        ro = np.where(is_long, length, longest)
        rectified = np.sqrt((ro - 4) * (ro - 2) * longest / ((longest - 4) * (longest - 2) * ro))
        now, ahead = unbiased(b1, count), unbiased(b1, safe_increment(count))
        as_met = casts(now, ahead, unbiased(b2, count), rectified, eps, eps_root)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            m, v = moment(g, mu, b1), moment(squared(g), nu, b2)
            now, ahead, second, rectified, eps, eps_root = as_met(m)
            first = nesterov_moment(g, m, b1, now, ahead) if nesterov else m / now
            step = rectified * first / (np.sqrt(v / second + eps_root) + eps)
            return np.where(is_long, step, first), like(m, mu), like(v, nu)

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        return updates, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)


@checked
def radam(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    threshold: NotNegative = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Rectified Adam, which needs no warm-up: momentum alone for the first steps, then Adam's by a factor that grows to 1.

        ρ∞ = 2 / (1 - b2) - 1            ρ = ρ∞ - 2 t b2ᵗ / (1 - b2ᵗ)
        w ← w - learning_rate r m̂ / (√(v̂ + eps_root) + eps)    if ρ ≥ threshold,
                r² = (ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρ)
        w ← w - learning_rate m̂                                 else

    Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.

    Args:
        learning_rate, b1, b2, eps, eps_root, nesterov: as in `adam`.
        threshold: the length of the moving average, ρ, from which on the second moment is trusted; at least 4.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.radam(0.1)
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(np.array([1.0])))
    >>> updates.round(6).tolist()
    [-0.3]
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov), scale_by_learning_rate(learning_rate)
    )


# -- adabelief


class ScaleByBeliefState(NamedTuple):
    """The number of steps, and the moving averages of gradients and of their squared distance from that average."""

    count: Any
    mu: PyTree
    nu: PyTree


@checked
def scale_by_belief(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-16,
    eps_root: NotNegative = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Gradients divided by how far they are from what was expected; see `adabelief`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_belief()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [1.1111, 1.1111]
    """

    def init(params: Params) -> ScaleByBeliefState:
        return ScaleByBeliefState(first_count(), zeros_like(params), zeros_like(params))

    def update(
        updates: Updates, state: ScaleByBeliefState, params: Params | None = None
    ) -> tuple[Updates, ScaleByBeliefState]:
        count = safe_increment(state.count)
        now, ahead = unbiased(b1, count), unbiased(b1, safe_increment(count))
        as_met = casts(now, ahead, unbiased(b2, count), eps, eps_root)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            m = moment(g, mu, b1)
            now, ahead, second, eps, eps_root = as_met(m)
            v = moment(squared(g - m), nu, b2) + eps_root
            first = nesterov_moment(g, m, b1, now, ahead) if nesterov else m / now
            return first / (np.sqrt(v / second) + eps), like(m, mu), like(v, nu)

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        return updates, ScaleByBeliefState(count, mu, nu)

    return GradientTransformation(init, update)


@checked
def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-16,
    eps_root: NotNegative = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """AdaBelief: long steps where gradients are as expected, short ones where they are not.

        v ← b2 v + (1 - b2)(g - m)² + eps_root
        w ← w - learning_rate m̂ / (√v̂ + eps)

    Zhuang et al., "AdaBelief optimizer", 2020.

    Args:
        learning_rate, b1, b2, nesterov: as in `adam`.
        eps: added to the root.
        eps_root: added to the second moment in each step.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adabelief(0.1)
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(np.array([1.0])))
    >>> updates.round(6).tolist()
    [-0.111111]
    """
    return chain(scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov), scale_by_learning_rate(learning_rate))


# -- yogi


@checked
def scale_by_yogi(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-3,
    eps_root: NotNegative = 0.0,
    initial_accumulator_value: NotNegative = 1e-6,
) -> GradientTransformation:
    """Gradients divided by the root of a second moment that changes by their squares alone; see `yogi`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_yogi()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.9996, 0.9997]
    """

    def init(params: Params) -> ScaleByAdamState:
        start = initial_accumulator_value
        return ScaleByAdamState(first_count(), full_like(params, start), full_like(params, start))

    def update(
        updates: Updates, state: ScaleByAdamState, params: Params | None = None
    ) -> tuple[Updates, ScaleByAdamState]:
        count = safe_increment(state.count)
        as_met = casts(unbiased(b1, count), unbiased(b2, count), eps, eps_root)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            m, square = moment(g, mu, b1), squared(g)
            first, second, eps, eps_root = as_met(m)
            v = nu - cast(1 - b2, g) * np.sign(nu - square) * square
            return m / first / (np.sqrt(v / second + eps_root) + eps), like(m, mu), like(v, nu)

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        return updates, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)


@checked
def yogi(
    learning_rate: ScalarOrSchedule, b1: Decay = 0.9, b2: Decay = 0.999, eps: NotNegative = 1e-3
) -> GradientTransformationExtraArgs:
    """Yogi: Adam with a second moment that grows at once but shrinks no faster than by the squares of the gradients.

        v ← v - (1 - b2) sign(v - g²) g²

    Zaheer et al., "Adaptive methods for nonconvex optimization", 2018. m and v begin at 1e-6.

    Args:
        learning_rate, b1, b2: as in `adam`.
        eps: added to the root.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.yogi(0.1)
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(np.array([1.0])))
    >>> updates.round(4).tolist()
    [-0.1]
    """
    return chain(scale_by_yogi(b1=b1, b2=b2, eps=eps), scale_by_learning_rate(learning_rate))


# -- adan


class ScaleByAdanState(NamedTuple):
    """Moving averages of gradients, of their differences and of squares; the latest gradients; the number of steps."""

    m: PyTree
    v: PyTree
    n: PyTree
    g: PyTree
    t: Any


@checked
def scale_by_adan(
    b1: Decay = 0.98, b2: Decay = 0.92, b3: Decay = 0.99, eps: NotNegative = 1e-8, eps_root: NotNegative = 0.0
) -> GradientTransformation:
    """Gradients with Nesterov's momentum, divided by the root of its mean square; see `adan`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_adan()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [1.0, 1.0]
    """

    def init(params: Params) -> ScaleByAdanState:
        return ScaleByAdanState(
            m=zeros_like(params), v=zeros_like(params), n=zeros_like(params), g=zeros_like(params), t=first_count()
        )

    def update(
        updates: Updates, state: ScaleByAdanState, params: Params | None = None
    ) -> tuple[Updates, ScaleByAdanState]:
        t = safe_increment(state.t)
        is_first = state.t == 0
        as_met = casts(unbiased(b1, t), unbiased(b2, t), unbiased(b3, t), 1 - b2, eps, eps_root)

        def leaf(g: Any, m: Any, v: Any, n: Any, before: Any) -> tuple[Any, ...]:
            first, second, third, weight, eps, eps_root = as_met(g)
            change = np.where(is_first, np.zeros_like(g), g - before)
            new_m, new_v = moment(g, m, b1), moment(change, v, b2)
            new_n = moment(squared(g + weight * change), n, b3)
            step = (new_m / first + weight * (new_v / second)) / (np.sqrt(new_n / third + eps_root) + eps)
            return step, like(new_m, m), like(new_v, v), like(new_n, n), like(g, before)

        updates, m, v, n, g = per_leaf(5, leaf, updates, state.m, state.v, state.n, state.g)
        return updates, ScaleByAdanState(m, v, n, g, t)

    return GradientTransformation(init, update)


@checked
def adan(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.98,
    b2: Decay = 0.92,
    b3: Decay = 0.99,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 1e-8,
    weight_decay: NotNegative | Schedule = 0.0,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """Adan: Nesterov's momentum by differences of successive gradients, d = g - g_before (zero at first).

        m ← b1 m + (1 - b1) g            v ← b2 v + (1 - b2) d
        n ← b3 n + (1 - b3)(g + (1 - b2) d)²
        w ← w - learning_rate ((m̂ + (1 - b2) v̂) / (√(n̂ + eps_root) + eps) + weight_decay w)

    Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models", 2022, where b is 1 - b of this.

    Args:
        learning_rate, eps, eps_root: as in `adam`.
        b1, b2, b3: decay of m, v and n.
        weight_decay, mask: as in `adamw`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adan(0.1)
    >>> params = np.array([1.0])
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(params), params)
    >>> updates.round(6).tolist()
    [-0.1]
    """
    return chain(
        scale_by_adan(b1=b1, b2=b2, b3=b3, eps=eps, eps_root=eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
