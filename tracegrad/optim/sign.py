"""Steps of which the sign of something decides the direction: sign_sgd, signum, lion, rprop."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import Decay, Growth, NotNegative, Positive, Share, checked
from tracegrad.optim.accumulation import ema
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
    safe_increment,
    scale,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import for_leaves, like, moment, per_leaf
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import full_like, zeros_like
from tracegrad.typing import Array, ArrayLike, DType, PyTree

# -- sign_sgd, signum


@checked
def scale_by_sign() -> GradientTransformation:
    """The signs of the updates.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_sign()
    >>> opt.update(np.array([-3.0, 0.0, 0.1]), opt.init(None))[0].tolist()
    [-1.0, 0.0, 1.0]
    """

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        return for_leaves(np.sign, updates), state

    return GradientTransformation(init_empty_state, update)


@checked
def sign_sgd(learning_rate: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Steps of one size in all entries: w ← w - learning_rate sign(g).

    Bernstein et al., "signSGD: compressed optimisation for non-convex problems", 2018.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.sign_sgd(0.1)
    >>> opt.update(np.array([-3.0, 0.2]), opt.init(np.zeros(2)))[0].tolist()
    [0.1, -0.1]
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


@checked
def signum(
    learning_rate: ScalarOrSchedule, beta: Decay = 0.9, accumulator_dtype: DType = None
) -> GradientTransformationExtraArgs:
    """`sign_sgd` with momentum: w ← w - learning_rate sign(m), with m the moving average of the gradients.

    Bernstein et al., "signSGD: compressed optimisation for non-convex problems", 2018.

    Args:
        learning_rate: a number, or a schedule.
        beta: decay of the average.
        accumulator_dtype: the dtype in which it is kept, the parameters' own if None.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.signum(0.1)
    >>> state = opt.init(np.zeros(2))
    >>> _, state = opt.update(np.array([-3.0, 0.2]), state)
    >>> opt.update(np.array([1.0, 1.0]), state)[0].tolist()
    [0.1, -0.1]
    """
    return chain(
        ema(beta, debias=False, accumulator_dtype=accumulator_dtype),
        scale_by_sign(),
        scale_by_learning_rate(learning_rate),
    )


# -- lion


class ScaleByLionState(NamedTuple):
    """The number of steps, and the moving average of the gradients."""

    count: Array
    mu: PyTree


_LION = {
    "hard": lambda x, beta: np.sign(x),
    "smooth": lambda x, beta: np.tanh(cast(beta, x) * x),
    "refined": lambda x, beta: np.where(np.abs(x) < 1, x, np.sign(x)),
}


@checked
def scale_by_lion(
    b1: Decay = 0.9,
    b2: Decay = 0.99,
    mu_dtype: DType = None,
    *,
    mode: str = "hard",
    smooth_beta: Share = 1.0,
) -> GradientTransformation:
    """The signs of momentum and gradient together; see `lion`.

    Args:
        b1, b2, mu_dtype: as in `lion`.
        mode: "hard" for signs; "smooth" for `tanh(smooth_beta x)`; "refined" for x itself between -1 and 1, signs beyond.
        smooth_beta: how steep that tanh is.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_lion()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [1.0, 1.0]
    """
    if mode not in _LION:
        raise ValueError(f"scale_by_lion: mode={mode!r}, but there are {', '.join(map(repr, _LION))}")

    def init(params: Params) -> ScaleByLionState:
        return ScaleByLionState(first_count(), zeros_like(params, mu_dtype))

    def leaf(g: Any, mu: Any) -> tuple[Any, Any]:
        return _LION[mode](moment(g, mu, b1), smooth_beta), like(moment(g, mu, b2), mu)

    def update(updates: Updates, state: ScaleByLionState, params: Params | None = None) -> Any:
        updates, mu = per_leaf(2, leaf, updates, state.mu)
        return updates, ScaleByLionState(safe_increment(state.count), mu)

    return GradientTransformation(init, update)


@checked
def lion(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.99,
    mu_dtype: DType = None,
    weight_decay: NotNegative | Schedule = 1e-3,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """Lion: the sign of a momentum, in steps of one size. The learning rate should be three to ten times smaller than Adam's.

        w ← w - learning_rate (sign(b1 m + (1 - b1) g) + weight_decay w)
        m ← b2 m + (1 - b2) g

    Chen et al., "Symbolic discovery of optimization algorithms", 2023.

    Args:
        learning_rate: a number, or a schedule.
        b1: the share of the momentum in the step.
        b2: decay of the momentum.
        mu_dtype: the dtype in which it is kept, the parameters' own if None.
        weight_decay, mask: as in `adamw`; by as much larger as the learning rate is smaller.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.lion(0.1, weight_decay=0.0)
    >>> params = np.zeros(2)
    >>> opt.update(np.array([-3.0, 0.2]), opt.init(params), params)[0].tolist()
    [0.1, -0.1]
    """
    return chain(
        scale_by_lion(b1=b1, b2=b2, mu_dtype=mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


# -- rprop


class ScaleByRpropState(NamedTuple):
    """The step of each entry, and the latest update, zero where the gradient had turned."""

    step_sizes: PyTree
    prev_updates: PyTree


@checked
def scale_by_rprop(
    learning_rate: ArrayLike,
    eta_minus: Share = 0.5,
    eta_plus: Growth = 1.2,
    min_step_size: NotNegative = 1e-6,
    max_step_size: Positive = 50.0,
) -> GradientTransformation:
    """Steps that grow while gradients keep their sign; see `rprop`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_rprop(0.1)
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.0, 0.0]
    """

    def init(params: Params) -> ScaleByRpropState:
        return ScaleByRpropState(full_like(params, learning_rate), zeros_like(params))

    def leaf(g: Any, size: Any, before: Any) -> tuple[Any, Any, Any]:
        kept = g * before
        has_turned = kept < 0
        changed = size * np.where(kept > 0, cast(eta_plus, size), cast(eta_minus, size))
        changed = np.clip(changed, cast(min_step_size, size), cast(max_step_size, size))
        size = like(np.where(kept == 0, size, changed), size)
        latest = like(np.where(has_turned, 0, size * np.sign(g)), before)
        return np.where(has_turned, 0, before), size, latest

    def update(updates: Updates, state: ScaleByRpropState, params: Params | None = None) -> Any:
        updates, sizes, latest = per_leaf(3, leaf, updates, state.step_sizes, state.prev_updates)
        return updates, ScaleByRpropState(sizes, latest)

    return GradientTransformation(init, update)


@checked
def rprop(
    learning_rate: ArrayLike,
    eta_minus: Share = 0.5,
    eta_plus: Growth = 1.2,
    min_step_size: NotNegative = 1e-6,
    max_step_size: Positive = 50.0,
) -> GradientTransformationExtraArgs:
    """Rprop: steps by the sign of the gradient alone, longer while it stays, shorter once it turns. For whole data, not for batches.

        s ← clip(s eta_plus) if the sign of g stayed, clip(s eta_minus) if it turned, in [min_step_size, max_step_size]
        w ← w - s sign(g), but for the entries whose gradient turned

    As in optax each step is made one call late: an update is what the call before has found, and the first one is zero.

    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning", 1993.

    Args:
        learning_rate: the first step, a number.
        eta_minus, eta_plus: by what steps shrink and grow.
        min_step_size, max_step_size: their bounds.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.rprop(0.1)
    >>> state = opt.init(np.zeros(2))
    >>> _, state = opt.update(np.array([1.0, -1.0]), state)
    >>> updates, state = opt.update(np.array([1.0, 1.0]), state)
    >>> updates.round(6).tolist(), state[0].step_sizes.round(6).tolist()
    ([-0.1, -0.0], [0.12, 0.05])
    """
    return chain(
        scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size),
        scale(-1.0),
    )
