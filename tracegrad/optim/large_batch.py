"""Steps measured by the norms of whole layers, for large batches: lamb, lars, novograd, fromage."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import Decay, NotNegative, Share, checked
from tracegrad.optim.accumulation import trace
from tracegrad.optim.adam import scale_by_adam
from tracegrad.optim.adding import add_decayed_weights
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    ScalarOrSchedule,
    Schedule,
    Updates,
    cast,
    chain,
    first_count,
    init_empty_state,
    required,
    safe_increment,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import casts, for_leaves, like, moment, per_leaf
from tracegrad.optim.masks import MaskOrFn, masked
from tracegrad.optim.numerics import safe_root_mean_squares
from tracegrad.optim.tree import norm, zeros_like
from tracegrad.typing import Array, ArrayLike, DType, PyTree

# -- Norms of leaves


def _norm(x: Any, least: ArrayLike) -> Any:
    """The norm of a leaf, `least` at least, where its derivative is zero. By a sum of squares, of which programs make the same bits
    as NumPy; `np.linalg.norm` takes a dot product."""
    total = norm(x, squared=True)
    least = cast(least, total)
    is_small = total <= least**2
    return np.where(is_small, least, np.sqrt(np.where(is_small, 1, total)))


@checked
def scale_by_param_block_norm(min_scale: NotNegative = 1e-3) -> GradientTransformation:
    """Each leaf of the updates times the norm of its parameter, which counts as `min_scale` at least.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_param_block_norm()
    >>> opt.update(np.array([1.0, 2.0]), opt.init(None), np.array([3.0, 4.0]))[0].tolist()
    [5.0, 10.0]
    """

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        params = required(params, "scale_by_param_block_norm")
        return for_leaves(lambda u, p: u * cast(_norm(p, min_scale), u), updates, params), state

    return GradientTransformation(init_empty_state, update)


@checked
def scale_by_param_block_rms(min_scale: NotNegative = 1e-3) -> GradientTransformation:
    """Each leaf of the updates times the root mean square of its parameter, which counts as `min_scale` at least.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_param_block_rms()
    >>> opt.update(np.array([1.0, 2.0]), opt.init(None), np.array([4.0, 4.0]))[0].tolist()
    [4.0, 8.0]
    """

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        params = required(params, "scale_by_param_block_rms")
        return for_leaves(
            lambda u, p: u * cast(safe_root_mean_squares(p, cast(min_scale, p)), u), updates, params
        ), state

    return GradientTransformation(init_empty_state, update)


@checked
def scale_by_trust_ratio(
    min_norm: NotNegative = 0.0, trust_coefficient: NotNegative = 1.0, eps: NotNegative = 0.0
) -> GradientTransformation:
    """Each leaf of the updates scaled to the norm of its parameter; as it is where either norm is zero.

        u ← trust_coefficient |w| / (|u| + eps) u

    Args:
        min_norm: what norms count as at least.
        trust_coefficient: a factor.
        eps: added to the norm of the update.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_trust_ratio()
    >>> opt.update(np.array([0.0, 2.0]), opt.init(None), np.array([3.0, 4.0]))[0].tolist()
    [0.0, 5.0]
    """

    def leaf(u: Any, p: Any) -> Any:
        of_param, of_update = _norm(p, min_norm), _norm(u, min_norm)
        is_zero = (of_param == 0) | (of_update == 0)
        divisor = np.where(is_zero, 1, of_update + cast(eps, of_update))
        ratio = np.where(is_zero, 1, cast(trust_coefficient, of_param) * of_param / divisor)
        return u * cast(ratio, u)

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        params = required(params, "scale_by_trust_ratio")
        return for_leaves(leaf, updates, params), state

    return GradientTransformation(init_empty_state, update)


# -- lamb, lars, fromage


@checked
def lamb(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-6,
    eps_root: NotNegative = 0.0,
    weight_decay: NotNegative | Schedule = 0.0,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """LAMB: Adam's step with decay, scaled in each leaf to the norm of its parameters.

        u = m̂ / (√(v̂ + eps_root) + eps) + weight_decay w
        w ← w - learning_rate |w| / |u| u

    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020.

    Args:
        learning_rate, b1, b2, eps, eps_root: as in `adam`.
        weight_decay, mask: as in `adamw`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.lamb(0.1)
    >>> params = np.array([3.0, 4.0])
    >>> updates, _ = opt.update(np.array([0.0, 2.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [-0.0, -0.5]
    """
    return chain(
        scale_by_adam(b1=b1, b2=b2, eps=eps, eps_root=eps_root),
        add_decayed_weights(weight_decay=weight_decay, mask=mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


@checked
def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: NotNegative | Schedule = 0.0,
    weight_decay_mask: MaskOrFn = True,
    trust_coefficient: NotNegative = 0.001,
    eps: NotNegative = 0.0,
    trust_ratio_mask: MaskOrFn = True,
    momentum: Share = 0.9,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """LARS: gradient descent with momentum, with steps in proportion to the norm of each leaf's parameters.

        u = g + weight_decay w
        t ← momentum t - learning_rate trust_coefficient |w| / (|u| + eps) u
        w ← w + t

    You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017.

    Args:
        learning_rate: a number, or a schedule.
        weight_decay: added to the gradients as a multiple of the parameters.
        weight_decay_mask: which parameters decay.
        trust_coefficient: the length of a step as a part of the parameters'.
        eps: added to the norm of u.
        trust_ratio_mask: which parameters have their steps scaled. Biases and the scales of norms are best left out.
        momentum: decay of the sum of steps.
        nesterov: whether the momentum is Nesterov's.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.lars(1.0, trust_coefficient=0.1)
    >>> params = np.array([3.0, 4.0])
    >>> updates, _ = opt.update(np.array([0.0, 2.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.0, -0.5]
    """
    return chain(
        add_decayed_weights(weight_decay, mask=weight_decay_mask),
        masked(scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(decay=momentum, nesterov=nesterov),
    )


@checked
def fromage(learning_rate: ScalarOrSchedule, min_norm: NotNegative = 1e-6) -> GradientTransformationExtraArgs:
    """Fromage: steps in proportion to the norm of each leaf, and shrinking that keeps this norm from growing.

        w ← (w - learning_rate |w| / |g| g) / √(1 + learning_rate²)

    Bernstein et al., "On the distance between two neural networks and the stability of learning", 2020.

    Args:
        learning_rate: a number or a schedule.
        min_norm: what norms count as at least.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.fromage(0.75)
    >>> params = np.array([3.0, 4.0])
    >>> updates, _ = opt.update(np.array([0.0, 2.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [-0.6, -3.8]
    """

    def shrinking(rate: Any) -> Any:
        return 1 / (1 + rate**2) ** 0.5

    if callable(learning_rate):
        rate = learning_rate
        return chain(
            scale_by_trust_ratio(min_norm),
            scale_by_learning_rate(lambda count: shrinking(rate(count)) * rate(count)),
            add_decayed_weights(lambda count: shrinking(rate(count)) - 1),
        )
    factor = shrinking(learning_rate)
    return chain(
        scale_by_trust_ratio(min_norm), scale_by_learning_rate(learning_rate * factor), add_decayed_weights(factor - 1)
    )


# -- novograd


class ScaleByNovogradState(NamedTuple):
    """The number of steps, the momentum, and for each leaf one number: the moving average of its gradients' squared norm."""

    count: Array
    mu: PyTree
    nu: PyTree


@checked
def scale_by_novograd(
    b1: Decay = 0.9,
    b2: Decay = 0.25,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    weight_decay: NotNegative = 0.0,
    mu_dtype: DType = None,
) -> GradientTransformation:
    """Gradients divided by an average norm of their leaf, with momentum; see `novograd`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_novograd()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.6, 0.8]
    """

    def init(params: Params) -> ScaleByNovogradState:
        numbers = for_leaves(lambda p: np.zeros_like(p, shape=()), params)
        return ScaleByNovogradState(first_count(), zeros_like(params, mu_dtype), numbers)

    def update(updates: Updates, state: ScaleByNovogradState, params: Params | None = None) -> Any:
        params = required(params, "scale_by_novograd")
        count = safe_increment(state.count)
        is_first = count == 1
        as_met = casts(b1, eps, eps_root, weight_decay)

        def leaf(g: Any, mu: Any, nu: Any, p: Any) -> tuple[Any, Any, Any]:
            b1, eps, eps_root, weight_decay = as_met(g)
            total = norm(g, squared=True)
            nu = like(np.where(is_first, total, moment(total, nu, b2)), nu)
            term = g / (np.sqrt(nu + eps_root) + eps) + weight_decay * p
            step = like(np.where(is_first, term, b1 * mu + term), mu)
            return step, step, nu

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu, params)
        return updates, ScaleByNovogradState(count, mu, nu)

    return GradientTransformation(init, update)


@checked
def novograd(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.25,
    eps: NotNegative = 1e-6,
    eps_root: NotNegative = 0.0,
    weight_decay: NotNegative = 0.0,
) -> GradientTransformationExtraArgs:
    """NovoGrad: gradients divided by the norm of their layer, then momentum. The averages begin with the first gradients.

        v ← b2 v + (1 - b2)|g|²          one number for each leaf
        m ← b1 m + g / (√(v + eps_root) + eps) + weight_decay w
        w ← w - learning_rate m

    Ginsburg et al., "Stochastic gradient methods with layer-wise adaptive moments for training of deep networks", 2019.

    Args:
        learning_rate: a number, or a schedule.
        b1: decay of the momentum.
        b2: decay of the norms.
        eps, eps_root: added to the root, and under it.
        weight_decay: a multiple of the parameters that is added within the momentum.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.novograd(0.1)
    >>> params = np.zeros(2)
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [-0.06, -0.08]
    """
    return chain(
        scale_by_novograd(b1=b1, b2=b2, eps=eps, eps_root=eps_root, weight_decay=weight_decay),
        scale_by_learning_rate(learning_rate),
    )
