"""Optimistic gradients: as they will be if they go on changing as they did."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import Decay, NotNegative, checked
from tracegrad.optim.adam import scale_by_adam
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    chain,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import like, per_leaf
from tracegrad.optim.tree import zeros_like
from tracegrad.typing import Array, ArrayLike, DType, PyTree


class ScaleByOptimisticGradientState(NamedTuple):
    """Whether no step has been made, and the gradients of the latest."""

    is_initial_step: Array
    previous_gradient: PyTree


@checked
def scale_by_optimistic_gradient(alpha: ArrayLike = 1.0, beta: ArrayLike = 1.0) -> GradientTransformation:
    """`(alpha + beta) g - beta g_before`: the gradients as they will be if they go on as they did. At the first step `alpha g`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_optimistic_gradient()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [3.0, 4.0]
    """

    def init(params: Params) -> ScaleByOptimisticGradientState:
        return ScaleByOptimisticGradientState(np.array(True), zeros_like(params))

    def update(updates: Updates, state: ScaleByOptimisticGradientState, params: Params | None = None) -> Any:
        def leaf(g: Any, before: Any) -> tuple[Any, Any]:
            latest = np.where(state.is_initial_step, g, before)
            return cast(alpha + beta, g) * g - cast(beta, g) * latest, like(g, before)

        updates, latest = per_leaf(2, leaf, updates, state.previous_gradient)
        return updates, ScaleByOptimisticGradientState(np.zeros_like(state.is_initial_step), latest)

    return GradientTransformation(init, update)


@checked
def optimistic_gradient_descent(
    learning_rate: ScalarOrSchedule, alpha: ArrayLike = 1.0, beta: ArrayLike = 1.0
) -> GradientTransformationExtraArgs:
    """Optimistic gradient descent, which converges in games where gradient descent turns in circles.

        w ← w - learning_rate ((alpha + beta) g - beta g_before)

    Mokhtari, Ozdaglar and Pattathil, "A unified analysis of extra-gradient and optimistic gradient methods for saddle point problems", 2020.

    Args:
        learning_rate: a number, or a schedule.
        alpha: the share of the gradient.
        beta: that of its change.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.optimistic_gradient_descent(0.1)
    >>> state = opt.init(np.zeros(1))
    >>> _, state = opt.update(np.array([1.0]), state)
    >>> opt.update(np.array([2.0]), state)[0].round(6).tolist()
    [-0.3]
    """
    return chain(scale_by_optimistic_gradient(alpha=alpha, beta=beta), scale_by_learning_rate(learning_rate))


@checked
def optimistic_adam_v2(
    learning_rate: ScalarOrSchedule,
    *,
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 1.0,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    mu_dtype: DType = None,
    nesterov: bool = True,
) -> GradientTransformationExtraArgs:
    """Adam's step made optimistic, as in `optimistic_gradient_descent`.

    Daskalakis et al., "Training GANs with optimism", 2018.

    Args:
        learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov: as in `adam`.
        alpha, beta: as in `optimistic_gradient_descent`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.optimistic_adam_v2(0.1)
    >>> opt.update(np.array([3.0]), opt.init(np.zeros(1)))[0].round(4).tolist()
    [-0.1474]
    """
    return chain(
        scale_by_adam(b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha=alpha, beta=beta),
        scale_by_learning_rate(learning_rate),
    )
