"""Mechanic: finds the learning rate of any optimiser."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Count, NotNegative, checked
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    Updates,
    cast,
    first_count,
    number,
    required,
    safe_increment,
    with_extra_args_support,
)
from tracegrad.optim.tree import dtype, norm, vdot
from tracegrad.typing import Array, PyTree


class MechanicState(NamedTuple):
    """The state of the optimiser within, the number of steps, for each β the reward, the largest product, the sum of squares and the scale,
    and the parameters that it began with."""

    base_optimizer_state: OptState
    count: Array
    r: Array
    m: Array
    v: Array
    s: Array
    x0: PyTree


@checked
def mechanize(
    base_optimizer: GradientTransformation,
    weight_decay: NotNegative = 1e-2,
    eps: NotNegative = 1e-8,
    s_init: NotNegative = 1e-6,
    num_betas: Count = 6,
) -> GradientTransformationExtraArgs:
    """An optimiser whose learning rate is found on the way: w = w₀ + Σs Δ, where Δ sums what the optimiser within has made, and each scale s
    grows while moving along Δ would have paid, h = <g, (w₀ - w) / Σs> > 0.

    Cutkosky, Defazio and Mehta, "Mechanic: A Learning Rate Tuner", 2023, algorithm 1, with h cut off at the largest one so far. For β = 1 - 10⁻¹, …,
    1 - 10⁻ⁿ: m = max(β m, |h| + eps), v = β² v + h², r = β r + h s, s = (s_init m / n + max(r, 0)) / (√v + eps).

    Args:
        base_optimizer: the optimiser within, with a learning rate of about 1 or a schedule up to that.
        weight_decay: times Σs |g| / |w|, what of the parameters is added to the gradients that decide about the scales.
        eps: keeps quotients finite.
        s_init: the scales at first; the smaller, the safer.
        num_betas: n.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.mechanize(tg.optim.sgd(1.0), s_init=0.1)
    >>> w = np.array([3.0])
    >>> state = opt.init(w)
    >>> for _ in range(3):
    ...     updates, state = opt.update(2 * w, state, w)
    ...     w = w + updates
    >>> bool(w < 3.0), int(state.count)
    (True, 3)

    Raises:
        ValueError: for an update without parameters.
    """
    inner = with_extra_args_support(base_optimizer)
    weight_decay, eps, s_init = number(weight_decay), number(eps), number(s_init)
    betas = 1 - 0.1 ** np.arange(1, num_betas + 1)

    def init(params: Params) -> MechanicState:
        zeros = np.zeros(num_betas, dtype(params, "lowest"))
        s = zeros + cast(s_init, zeros)
        return MechanicState(inner.init(params), first_count(), zeros, zeros, zeros, s, params)

    def update(updates: Updates, state: MechanicState, params: Params | None = None, **extra_args: Any) -> Any:
        params = required(params, "mechanize")
        made, inner_state = inner.update(updates, state.base_optimizer_state, params, **extra_args)
        # The parameters of the first step are those that count, whatever `init` was given.
        begins = state.count == 0
        x0 = tree.map(lambda p, first: np.where(begins, p, first), params, state.x0)
        s, total = state.s, np.sum(state.s)
        decay = cast(weight_decay, total) * total * norm(updates) / (norm(params) + cast(eps, total))
        decayed = tree.map(lambda g, p: g + cast(decay, g) * p, updates, params)
        before = tree.map(lambda first, p: (first - p) / cast(total + cast(eps, total), p), x0, params)
        delta = tree.map(lambda d, u: d - u, before, made)

        h = vdot(decayed, before).astype(s.dtype)
        beta, small = cast(betas, s), cast(eps, s)
        m = np.maximum(beta * state.m, np.abs(h) + small)
        v = beta**2 * state.v + h**2
        r = beta * state.r + np.clip(h, -state.m, state.m) * s
        wealth = cast(s_init / num_betas, s) * m + np.maximum(r, 0)
        s = wealth / (np.sqrt(v) + small)

        scale = np.sum(s)
        steps = tree.map(lambda first, d, p: first - cast(scale, d) * d - p, x0, delta, params)
        return steps, MechanicState(inner_state, safe_increment(state.count), r, m, v, s, x0)

    return GradientTransformationExtraArgs(init, update)
