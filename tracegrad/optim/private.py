"""Differential privacy: gradients of single examples, clipped, added up, and made noisy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import NotNegative, Share, checked
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.types import type_of
from tracegrad.optim.accumulation import trace
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    chain,
    identity,
    number,
    scale_by_learning_rate,
)
from tracegrad.optim.tree import unwrap_random_key_data
from tracegrad.random import key as key_of
from tracegrad.random import normal, split
from tracegrad.typing import Array, ArrayLike


class DifferentiallyPrivateAggregateState(NamedTuple):
    """`rng_key`: the key that the next step splits, uint32[2]."""

    rng_key: Array


def _examples(leaves: list[Any]) -> int:
    """How many examples the gradients are of: all leaves have them along axis 0."""
    sizes = {type_of(g).shape[:1] for g in leaves}
    if len(sizes) != 1 or () in sizes:
        raise ShapeError(
            f"differentially_private_aggregate{at(user_source())} takes gradients of single examples, with these along the first axis of "
            f"each leaf, got {', '.join([str(type_of(g)) for g in leaves])}; write tg.vmap(tg.grad(loss), (None, 0))(params, batch)"
        )
    return sizes.pop()[0]


@checked
def differentially_private_aggregate(
    l2_norm_clip: NotNegative, noise_multiplier: NotNegative, key: ArrayLike | None = None, *, seed: int | None = None
) -> GradientTransformation:
    """The mean of the gradients of single examples, each scaled down to a norm of `l2_norm_clip` at most, with normal noise of
    `l2_norm_clip * noise_multiplier` in their sum (Abadi et al., "Deep Learning with Differential Privacy", 2016).

    Gradients have the examples along axis 0 of each leaf, as `tg.vmap(tg.grad(loss), (None, 0))` makes them; updates have not.

    Args:
        l2_norm_clip: the largest norm of an example's gradient, over all leaves.
        noise_multiplier: the noise's standard deviation, in that norm.
        key: a key (uint32[2], of `tg.random.key`; jax's typed keys are taken too), or the number to make one of; None for that of 0.
        seed: an older name of the number.

    Raises:
        ShapeError: for gradients without examples, or of different numbers of them.
        ValueError: both a key and a seed.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.differentially_private_aggregate(l2_norm_clip=1.0, noise_multiplier=0.0, key=0)
    >>> gradients = np.array([[3.0, 4.0], [0.0, 0.5]])                   # of two examples
    >>> opt.update(gradients, opt.init(np.zeros(2)))[0].round(6).tolist()
    [0.3, 0.65]
    """
    if key is not None and seed is not None:
        raise ValueError(f"differentially_private_aggregate got both a key and a seed, {seed}; write key={seed}")
    first = (0 if seed is None else seed) if key is None else unwrap_random_key_data(key)
    clip, deviation = number(l2_norm_clip), number(l2_norm_clip) * number(noise_multiplier)

    def init(params: Params) -> OptState:
        return DifferentiallyPrivateAggregateState(first if np.ndim(first) else key_of(first))

    def update(
        updates: Updates, state: DifferentiallyPrivateAggregateState, params: Params | None = None
    ) -> tuple[Updates, OptState]:
        leaves, structure = tree.flatten(updates)
        count = _examples(leaves)
        squares = [np.sum(np.abs(np.reshape(g, (count, -1))) ** 2, 1) for g in leaves]
        norms = np.sqrt(sum(squares[1:], squares[0]))
        # An example without a gradient is not divided by its norm.
        factors = np.where(norms > cast(clip, norms), cast(clip, norms) / np.where(norms > 0, norms, 1), 1)
        own, *keys = split(state.rng_key, len(leaves) + 1)
        noisy = []
        for g, k in zip(leaves, keys, strict=True):
            total = np.tensordot(factors.astype(g.dtype), g, 1)
            noisy.append((total + cast(deviation, total) * normal(k, total.shape, total.dtype)) / count)
        return structure.unflatten(noisy), DifferentiallyPrivateAggregateState(own)

    return GradientTransformation(init, update)


@checked
def dpsgd(
    learning_rate: ScalarOrSchedule,
    l2_norm_clip: NotNegative,
    noise_multiplier: NotNegative,
    seed: int,
    momentum: Share | None = None,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """`sgd` of private gradients: what `differentially_private_aggregate` makes of those of single examples.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0)
    >>> w = np.array([3.0])
    >>> opt.update(np.array([[6.0], [0.5]]), opt.init(w), w)[0].round(6).tolist()
    [-0.075]
    """
    return chain(
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, seed),
        identity() if momentum is None else trace(momentum, nesterov),
        scale_by_learning_rate(learning_rate),
    )
