"""Second moments kept by rows, columns or axes, in little memory: adafactor, sm3."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import Decay, NotNegative, Positive, Share, checked
from tracegrad.core.errors import DtypeError
from tracegrad.core.types import number_kind, type_of
from tracegrad.optim.accumulation import ema
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
    required,
    safe_increment,
    scale,
    scale_by_learning_rate,
)
from tracegrad.optim.clipping import clip_by_block_rms
from tracegrad.optim.formulas import for_leaves, like, moment, per_leaf, squared
from tracegrad.optim.large_batch import scale_by_param_block_rms
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import zeros_like
from tracegrad.typing import Array, ArrayLike, DType, PyTree

# -- adafactor


class FactoredState(NamedTuple):
    """The number of steps; of each leaf that is factored the means of its second moment over one axis and over another, of all
    others the second moment itself. Arrays of one zero stand in the other places."""

    count: Array
    v_row: PyTree
    v_col: PyTree
    v: PyTree


def _power_decay(step: Any, exponent: Any) -> Any:
    return 1 - np.power(step + 1.0, -exponent)


def _factored_axes(shape: tuple[int, ...], factored: bool, least: int) -> tuple[int, int] | None:
    """The second largest axis and the largest, if a leaf of this shape is factored."""
    if not factored or len(shape) < 2:
        return None
    *_, second, largest = np.argsort(shape)
    return (int(second), int(largest)) if shape[second] >= least else None


@checked
def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: NotNegative = 0.8,
    step_offset: ArrayLike = 0,
    min_dim_size_to_factor: NotNegative = 128,
    epsilon: NotNegative = 1e-30,
    decay_rate_fn: Callable[[Any, Any], Any] = _power_decay,
) -> GradientTransformation:
    """Gradients divided by the root of a mean square that is kept as the product of a row and a column; see `adafactor`.

    Args:
        factored: whether second moments are factored at all.
        decay_rate: the exponent that `decay_rate_fn` takes.
        step_offset: subtracted from the count of steps, where an earlier training is taken up.
        min_dim_size_to_factor: leaves are factored whose two largest axes are of at least this size.
        epsilon: added to squared gradients.
        decay_rate_fn: the decay of the mean by step, from 0 on, and `decay_rate`: `1 - (step + 1)**-decay_rate` if not given.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_factored_rms()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [1.0, 1.0]
    """

    def parts_of(p: Any) -> tuple[Any, Any, Any]:
        shape, none = np.shape(p), np.zeros_like(p, shape=(1,))
        axes = _factored_axes(shape, factored, min_dim_size_to_factor)
        if axes is None:
            return none, none, np.zeros_like(p)
        rows, columns = [np.zeros_like(p, shape=shape[:i] + shape[i + 1 :]) for i in axes[::-1]]
        return rows, columns, none

    def init(params: Params) -> FactoredState:
        return FactoredState(first_count(), *per_leaf(3, parts_of, params))

    def update(updates: Updates, state: FactoredState, params: Params | None = None) -> Any:
        params = required(params, "scale_by_factored_rms")
        decay = decay_rate_fn(state.count - step_offset, decay_rate)

        def leaf(g: Any, v_row: Any, v_col: Any, v: Any, p: Any) -> tuple[Any, Any, Any, Any]:
            square = squared(g) + cast(epsilon, g)
            axes = _factored_axes(p.shape, factored, min_dim_size_to_factor)
            if axes is None:
                v = like(moment(square, v, decay), v)
                return g / np.sqrt(v), v_row, v_col, v
            second, largest = axes
            v_row = like(moment(np.mean(square, axis=largest), v_row, decay), v_row)
            v_col = like(moment(np.mean(square, axis=second), v_col, decay), v_col)
            mean = np.mean(v_row, axis=second - (second > largest), keepdims=True)
            rows, columns = np.sqrt(v_row / mean), np.sqrt(v_col)
            return g / np.expand_dims(rows, largest) / np.expand_dims(columns, second), v_row, v_col, v

        updates, *kept = per_leaf(4, leaf, updates, state.v_row, state.v_col, state.v, params)
        return updates, FactoredState(safe_increment(state.count), *kept)

    return GradientTransformation(init, update)


@checked
def adafactor(
    learning_rate: ScalarOrSchedule | None = None,
    min_dim_size_to_factor: NotNegative = 128,
    decay_rate: NotNegative = 0.8,
    decay_offset: ArrayLike = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Positive | None = 1.0,
    momentum: Share | None = None,
    dtype_momentum: DType = np.float32,
    weight_decay_rate: NotNegative | Schedule | None = None,
    eps: NotNegative = 1e-30,
    factored: bool = True,
    weight_decay_mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """Adafactor: Adam's step with a second moment of rows and columns alone, and steps in proportion to the parameters.

        r ← b r + (1 - b) mean(g² + eps over columns)     c ← b c + (1 - b) mean(g² + eps over rows)     b = 1 - t^-decay_rate
        u = g / √(r c / mean(r))
        w ← w - learning_rate max(rms(w), 1e-3) u / max(1, rms(u) / clipping_threshold)

    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018.

    Args:
        learning_rate: a number or a schedule; None for 1, with the parameters' scale alone.
        min_dim_size_to_factor: matrices are factored whose sides are of at least this size.
        decay_rate: how fast the decay of the second moment goes to 1.
        decay_offset: subtracted from the count of steps, where an earlier training is taken up.
        multiply_by_parameter_scale: whether steps are in proportion to the root mean square of the parameters.
        clipping_threshold: the largest root mean square of a step before that; None for any.
        momentum: decay of a moving average of the steps; None keeps none.
        dtype_momentum: the dtype of that.
        weight_decay_rate: how much parameters decay in each step, not times the learning rate; None for not.
        eps: added to squared gradients.
        factored: whether second moments are factored at all.
        weight_decay_mask: which parameters decay.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adafactor(0.1)
    >>> params = np.array([2.0])
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(params), params)
    >>> updates.round(6).tolist()
    [-0.2]
    """
    parts: list[Any] = [
        scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps),
    ]
    if clipping_threshold is not None:
        parts.append(clip_by_block_rms(clipping_threshold))
    if learning_rate is not None:
        parts.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if multiply_by_parameter_scale:
        parts.append(scale_by_param_block_rms())
    if momentum is not None:
        parts.append(ema(momentum, debias=False, accumulator_dtype=dtype_momentum))
    if weight_decay_rate is not None:
        parts.append(add_decayed_weights(weight_decay_rate, mask=weight_decay_mask))
    return chain(*parts, scale(-1))


# -- sm3


class ScaleBySM3State(NamedTuple):
    """For each leaf a list of the largest second moments along each axis, and the momentum."""

    mu: PyTree
    nu: PyTree


@checked
def scale_by_sm3(b1: Decay = 0.9, b2: Share = 1.0, eps: NotNegative = 1e-8) -> GradientTransformation:
    """Gradients divided by the root of a sum of squares that is bounded by one number for each row, column, ...; see `sm3`.

    Args:
        b1: decay of the momentum.
        b2: decay of the sum of squares; 1 for a sum.
        eps: added under the root.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_sm3()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.1, 0.1]
    """

    def axes_of(p: Any) -> list[Any]:
        if number_kind(type_of(p).dtype) == "c":
            raise DtypeError(
                f"sm3 is for real parameters, got one of {type_of(p)}; wrap it in split_real_and_imaginary"
            )
        return [np.zeros_like(p, shape=(n,)) for n in np.shape(p)] or [np.zeros_like(p)]  # one of a number too

    def init(params: Params) -> ScaleBySM3State:
        return ScaleBySM3State(for_leaves(axes_of, params), zeros_like(params))

    def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
        along = [np.reshape(v, (*[1] * i, -1, *[1] * (g.ndim - i - 1))) for i, v in enumerate(mu)] if g.ndim else mu
        bound = functools.reduce(np.minimum, along)
        weight = 1.0 if isinstance(b2, int | float) and b2 == 1 else 1 - b2
        total = cast(weight, g) * np.square(g) + cast(b2, g) * bound
        step = g / np.sqrt(np.where(total > 0, total + cast(eps, g), np.inf))
        others = [tuple([j for j in range(g.ndim) if j != i]) for i in range(len(mu))]
        largest = [like(np.max(total, axis=axes) if axes else total, v) for axes, v in zip(others, mu, strict=True)]
        momentum = moment(step, nu, b1)
        return momentum, largest, like(momentum, nu)

    def update(updates: Updates, state: ScaleBySM3State, params: Params | None = None) -> Any:
        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        return updates, ScaleBySM3State(mu, nu)

    return GradientTransformation(init, update)


@checked
def sm3(learning_rate: ArrayLike, momentum: Share = 0.9) -> GradientTransformationExtraArgs:
    """SM3: Adagrad with one number for each row, each column, ..., in place of one for each entry.

        s_ij = min(r_i, c_j) + g_ij²
        r_i ← max_j s_ij                 c_j ← max_i s_ij
        m ← momentum m + (1 - momentum) g / √s
        w ← w - learning_rate m

    Anil, Gupta, Koren and Singer, "Memory-efficient adaptive optimization", 2019.

    Args:
        learning_rate: a number. Schedules are not taken here, as optax takes none: write
            `chain(scale_by_sm3(momentum), scale_by_learning_rate(schedule))`.
        momentum: decay of the momentum.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.sm3(0.1, momentum=0.0)
    >>> updates, _ = opt.update(np.array([3.0, 0.0]), opt.init(np.zeros(2)))
    >>> updates.round(6).tolist()
    [-0.1, -0.0]
    """
    return chain(scale_by_sm3(momentum), scale_by_learning_rate(learning_rate))
