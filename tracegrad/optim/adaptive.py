"""Steps divided by sums or averages of squared gradients, without a first moment: adagrad, adadelta, rmsprop."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import NotNegative, Share, checked
from tracegrad.optim.accumulation import trace
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
    identity,
    safe_increment,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import casts, like, moment, per_leaf, squared, unbiased
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import full_like, zeros_like
from tracegrad.typing import PyTree

# -- adagrad


class ScaleByRssState(NamedTuple):
    """The sum of all squared gradients."""

    sum_of_squares: PyTree


@checked
def scale_by_rss(initial_accumulator_value: NotNegative = 0.1, eps: NotNegative = 1e-7) -> GradientTransformation:
    """Gradients divided by the root of the sum of all their squares; see `adagrad`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_rss()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.9945, 0.9969]
    """

    def init(params: Params) -> ScaleByRssState:
        return ScaleByRssState(full_like(params, initial_accumulator_value))

    def leaf(g: Any, kept: Any) -> tuple[Any, Any]:
        total = squared(g) + kept
        # An entry of which no gradient has come yet stays where it is: divided by infinity.
        root = np.sqrt(np.where(total > 0, total + cast(eps, total), np.inf))
        return g / root, like(total, kept)

    def update(
        updates: Updates, state: ScaleByRssState, params: Params | None = None
    ) -> tuple[Updates, ScaleByRssState]:
        updates, total = per_leaf(2, leaf, updates, state.sum_of_squares)
        return updates, ScaleByRssState(total)

    return GradientTransformation(init, update)


@checked
def adagrad(
    learning_rate: ScalarOrSchedule, initial_accumulator_value: NotNegative = 0.1, eps: NotNegative = 1e-7
) -> GradientTransformationExtraArgs:
    """Adagrad: the learning rate of each entry falls as its gradients add up. For sparse gradients.

        s ← s + g²
        w ← w - learning_rate g / √(s + eps)

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.

    Args:
        learning_rate: a number, or a schedule.
        initial_accumulator_value: where s begins; 0 in PyTorch.
        eps: added to s.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adagrad(1.0, initial_accumulator_value=0.0)
    >>> updates, _ = opt.update(np.array([3.0, 0.0]), opt.init(np.zeros(2)))
    >>> updates.round(6).tolist()
    [-1.0, -0.0]
    """
    return chain(
        scale_by_rss(initial_accumulator_value=initial_accumulator_value, eps=eps),
        scale_by_learning_rate(learning_rate),
    )


# -- adadelta


class ScaleByAdaDeltaState(NamedTuple):
    """The moving averages of the squares of gradients and of steps."""

    e_g: PyTree
    e_x: PyTree


@checked
def scale_by_adadelta(rho: Share = 0.9, eps: NotNegative = 1e-6) -> GradientTransformation:
    """Gradients in the units of the parameters; see `adadelta`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_adadelta()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.0032, 0.0032]
    """

    def init(params: Params) -> ScaleByAdaDeltaState:
        return ScaleByAdaDeltaState(zeros_like(params), zeros_like(params))

    def leaf(g: Any, e_g: Any, e_x: Any) -> tuple[Any, Any, Any]:
        small = cast(eps, g)
        of_gradients = moment(np.square(g), e_g, rho)
        step = np.sqrt(e_x + small) / np.sqrt(of_gradients + small) * g
        of_steps = moment(np.square(step), e_x, rho)
        return step, like(of_gradients, e_g), like(of_steps, e_x)

    def update(
        updates: Updates, state: ScaleByAdaDeltaState, params: Params | None = None
    ) -> tuple[Updates, ScaleByAdaDeltaState]:
        updates, e_g, e_x = per_leaf(3, leaf, updates, state.e_g, state.e_x)
        return updates, ScaleByAdaDeltaState(e_g, e_x)

    return GradientTransformation(init, update)


@checked
def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: Share = 0.9,
    eps: NotNegative = 1e-6,
    weight_decay: NotNegative | Schedule = 0.0,
    weight_decay_mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """Adadelta: steps as large as the latest ones, by the root of the mean square of either.

        a ← rho a + (1 - rho) g²
        d = g √(b + eps) / √(a + eps)
        b ← rho b + (1 - rho) d²
        w ← w - learning_rate d

    Zeiler, "Adadelta: an adaptive learning rate method", 2012.

    Args:
        learning_rate: a number or a schedule. With None updates are d itself, as in optax: nothing turns them downhill.
        rho: decay of the averages.
        eps: added under the roots.
        weight_decay, weight_decay_mask: added to the gradients, as in `add_decayed_weights`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adadelta(1.0)
    >>> params = np.array([1.0])
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(params), params)
    >>> updates.round(6).tolist()
    [-0.003162]
    """
    return chain(
        add_decayed_weights(weight_decay, mask=weight_decay_mask),
        scale_by_adadelta(rho=rho, eps=eps),
        scale_by_learning_rate(learning_rate),
    )


# -- rmsprop


class ScaleByRmsState(NamedTuple):
    """The moving average of squared gradients."""

    nu: PyTree


class ScaleByRmsWithCountState(NamedTuple):
    """The same with the number of steps, by which it is corrected."""

    count: Any
    nu: PyTree


@checked
def scale_by_rms(
    decay: Share = 0.9,
    eps: NotNegative = 1e-8,
    initial_scale: NotNegative = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Gradients divided by the root of their mean square; see `rmsprop`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_rms()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [3.1623, 3.1623]
    """

    def init(params: Params) -> Any:
        nu = full_like(params, initial_scale)
        return ScaleByRmsWithCountState(first_count(), nu) if bias_correction else ScaleByRmsState(nu)

    def update(updates: Updates, state: Any, params: Params | None = None) -> tuple[Updates, Any]:
        count = safe_increment(state.count) if bias_correction else None
        as_met = casts(eps, unbiased(decay, count) if bias_correction else 1.0)

        def leaf(g: Any, kept: Any) -> tuple[Any, Any]:
            v = moment(squared(g), kept, decay)
            eps, second = as_met(v)
            return g / _root(v / second if bias_correction else v, eps, eps_in_sqrt), like(v, kept)

        updates, nu = per_leaf(2, leaf, updates, state.nu)
        return updates, ScaleByRmsWithCountState(count, nu) if bias_correction else ScaleByRmsState(nu)

    return GradientTransformation(init, update)


def _root(x: Any, eps: Any, eps_in_sqrt: bool) -> Any:
    return np.sqrt(x + eps) if eps_in_sqrt else np.sqrt(x) + eps


class ScaleByRStdDevState(NamedTuple):
    """The moving averages of gradients and of their squares."""

    mu: PyTree
    nu: PyTree


class ScaleByRStdDevWithCountState(NamedTuple):
    """The same with the number of steps, by which they are corrected."""

    count: Any
    mu: PyTree
    nu: PyTree


@checked
def scale_by_stddev(
    decay: Share = 0.9,
    eps: NotNegative = 1e-8,
    initial_scale: NotNegative = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Gradients divided by their standard deviation; see `rmsprop` with `centered=True`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_stddev()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [3.3333, 3.3333]
    """

    def init(params: Params) -> Any:
        moments = zeros_like(params), full_like(params, initial_scale)
        if bias_correction:
            return ScaleByRStdDevWithCountState(first_count(), *moments)
        return ScaleByRStdDevState(*moments)

    def update(updates: Updates, state: Any, params: Params | None = None) -> tuple[Updates, Any]:
        count = safe_increment(state.count) if bias_correction else None
        as_met = casts(eps, unbiased(decay, count) if bias_correction else 1.0)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            m, v = moment(g, mu, decay), moment(squared(g), nu, decay)
            eps, weights = as_met(m)
            mean, square = (m / weights, v / weights) if bias_correction else (m, v)
            return g / _root(square - squared(mean), eps, eps_in_sqrt), like(m, mu), like(v, nu)

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        if bias_correction:
            return updates, ScaleByRStdDevWithCountState(count, mu, nu)
        return updates, ScaleByRStdDevState(mu, nu)

    return GradientTransformation(init, update)


@checked
def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: Share = 0.9,
    eps: NotNegative = 1e-8,
    initial_scale: NotNegative = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Share | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformationExtraArgs:
    """RMSProp: steps divided by the root of a moving average of squared gradients.

        v ← decay v + (1 - decay) g²
        w ← w - learning_rate g / √(v + eps)

    Hinton, "Overview of mini-batch gradient descent", Coursera, 2012; centred by Graves, "Generating sequences with recurrent
    neural networks", 2013.

    Args:
        learning_rate: a number, or a schedule.
        decay: of the average; 0.99 in PyTorch.
        eps: added under the root, or to the root with `eps_in_sqrt=False`, as PyTorch does.
        initial_scale: where v begins.
        centered: divide by the standard deviation, √(v - m² + eps), with m the average of the gradients.
        momentum: decay of a sum of steps, taken after the learning rate (see `trace`); None is none.
        nesterov: whether that is Nesterov's.
        bias_correction: whether the averages are divided by 1 - decayᵗ.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.rmsprop(0.1)
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(np.array([1.0])))
    >>> updates.round(6).tolist()
    [-0.316228]
    """
    by = scale_by_stddev if centered else scale_by_rms
    return chain(
        by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(decay=momentum, nesterov=nesterov),
    )
