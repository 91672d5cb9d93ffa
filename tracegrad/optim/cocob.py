"""An optimiser that finds its learning rate by betting: cocob."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import NotNegative, Positive, checked
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
    required,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import per_leaf
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import full_like, zeros_like
from tracegrad.typing import PyTree


class COCOBState(NamedTuple):
    """The first parameters, the sum of the negative gradients, their largest size, the sum of their sizes, and what was won."""

    init_particles: PyTree
    cumulative_gradients: PyTree
    scale: PyTree
    subgradients: PyTree
    reward: PyTree


@checked
def scale_by_cocob(alpha: Positive = 100.0, eps: NotNegative = 1e-8) -> GradientTransformation:
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
    alpha: Positive = 100.0,
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative | Schedule = 0.0,
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
