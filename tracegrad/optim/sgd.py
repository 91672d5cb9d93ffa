"""Gradient descent: plain, with momentum, with noise, with Polyak's step."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.arguments import NotNegative, Share, checked
from tracegrad.optim.accumulation import trace
from tracegrad.optim.adding import add_noise
from tracegrad.optim.base import (
    GradientTransformationExtraArgs,
    OptState,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    chain,
    identity,
    init_empty_state,
    scale_by_learning_rate,
    scaled,
)
from tracegrad.optim.tree import norm
from tracegrad.typing import ArrayLike, DType


@checked
def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: Share | None = None,
    nesterov: bool = False,
    accumulator_dtype: DType = None,
) -> GradientTransformationExtraArgs:
    """Gradient descent, with momentum if that is given.

        t ← g + momentum t
        w ← w - learning_rate t                     or with Nesterov's: w - learning_rate (g + momentum t)

    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.

    Args:
        learning_rate: a number, or a schedule.
        momentum: decay of the sum of gradients; None keeps no sum.
        nesterov: whether the momentum is Nesterov's.
        accumulator_dtype: the dtype in which the sum is kept, the parameters' own if None.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.sgd(0.1, momentum=0.5)
    >>> state = opt.init(np.array([1.0]))
    >>> updates, state = opt.update(np.array([2.0]), state)
    >>> updates, state = opt.update(np.array([2.0]), state)
    >>> updates.round(6).tolist()
    [-0.3]
    """
    return chain(
        identity()
        if momentum is None
        else trace(decay=momentum, nesterov=nesterov, accumulator_dtype=accumulator_dtype),
        scale_by_learning_rate(learning_rate),
    )


@checked
def scale_by_polyak(
    f_min: ArrayLike = 0.0, max_learning_rate: NotNegative = 1.0, eps: NotNegative = 0.0, variant: str = "sps"
) -> GradientTransformationExtraArgs:
    """Updates by Polyak's step; see `polyak_sgd`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_polyak()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params, value=5.0)
    >>> updates.round(4).tolist()
    [0.6, 0.8]
    """
    if variant not in ("sps", "sps+"):
        raise ValueError(f"scale_by_polyak: variant={variant!r}, but there are 'sps' and 'sps+'")

    def update(
        updates: Updates, state: OptState, params: Params | None = None, *, value: Any, **extra_args: Any
    ) -> Any:
        total = norm(updates, squared=True)
        gap = cast(value, total) - cast(f_min, total)
        if variant == "sps+":
            gap = np.maximum(gap, 0)
        divisor = total + cast(eps, total)
        vanishes = divisor <= np.finfo(np.float64).eps
        step = np.minimum(gap / np.where(vanishes, 1, divisor), cast(max_learning_rate, total))
        return scaled(np.where(vanishes, 0, step), updates), state

    return GradientTransformationExtraArgs(init_empty_state, update)


@checked
def polyak_sgd(
    max_learning_rate: NotNegative = 1.0,
    scaling: ScalarOrSchedule = 1.0,
    f_min: ArrayLike = 0.0,
    eps: NotNegative = 0.0,
    variant: str = "sps",
) -> GradientTransformationExtraArgs:
    """Gradient descent with the step that would reach the least value of the loss, if it were linear.

        w ← w - scaling min((f - f_min) / (|g|² + eps), max_learning_rate) g

    Loizou et al., "Stochastic Polyak step-size for SGD", 2021; Garrigos, Gower and Schaipp, "Function value learning", 2023, for 'sps+'.

    Args:
        max_learning_rate: the longest step.
        scaling: a factor of the step, a number or a schedule.
        f_min: the least value of the loss, 0 where it can be fitted to all data.
        eps: added to the squared norm of the gradients.
        variant: 'sps+' does not step where the loss is below `f_min`; 'sps' goes uphill there.

    `update(grads, state, params, value=loss)` needs the loss.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.polyak_sgd()
    >>> updates, _ = opt.update(np.array([2.0]), opt.init(np.array([1.0])), value=1.0)  # of x² at 1
    >>> updates.tolist()
    [-0.5]
    """
    return chain(
        sgd(learning_rate=scaling),
        scale_by_polyak(max_learning_rate=max_learning_rate, f_min=f_min, eps=eps, variant=variant),
    )


@checked
def noisy_sgd(
    learning_rate: ScalarOrSchedule,
    eta: NotNegative = 0.01,
    gamma: NotNegative = 0.55,
    key: ArrayLike | None = None,
    *,
    seed: int | None = None,
) -> GradientTransformationExtraArgs:
    """`sgd` of gradients with noise, the less the more steps have been taken. Arguments as for `add_noise`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.noisy_sgd(0.1, key=0)
    >>> params = {"w": np.ones(2)}
    >>> updates, _ = opt.update(params, opt.init(params))
    >>> updates["w"].shape
    (2,)
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))
