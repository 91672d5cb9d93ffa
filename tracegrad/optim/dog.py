"""Optimisers that find their learning rate by how far they have come: dog, dowg."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import NotNegative, checked
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
    identity,
    required,
    scale_by_learning_rate,
    scaled,
)
from tracegrad.optim.formulas import like
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import dtype, norm, sub
from tracegrad.typing import Array, ArrayLike, PyTree


class DoGState(NamedTuple):
    """Whether no step has been made, the first parameters, the largest distance from them, the sum of the squared norms of gradients."""

    is_init_step: Array
    init_params: PyTree
    max_dist: Array
    sum_sq_norm_grads: Array


@checked
def scale_by_dog(init_step: tuple[str, ArrayLike], eps: NotNegative = 1e-8) -> GradientTransformation:
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
        far = np.maximum(state.max_dist, norm(sub(state.init_params, required(params, "scale_by_dog"))))
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
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative | Schedule | None = None,
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
def scale_by_dowg(init_estim_sq_dist: NotNegative | None = None, eps: NotNegative = 1e-4) -> GradientTransformation:
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
        moved = sub(state.init_params, required(params, "scale_by_dowg"))
        far = np.maximum(state.estim_sq_dist, norm(moved, squared=True))
        total = far * norm(updates, squared=True) + state.weighted_sq_norm_grads
        rate = far / (np.sqrt(total) + cast(eps, total))
        state = DoWGState(state.init_params, like(total, state.estim_sq_dist), like(far, state.estim_sq_dist))
        return scaled(rate, updates), state

    return GradientTransformation(init, update)


@checked
def dowg(
    learning_rate: ScalarOrSchedule = 1.0,
    init_estim_sq_dist: NotNegative | None = None,
    eps: NotNegative = 1e-4,
    weight_decay: NotNegative | Schedule | None = None,
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
