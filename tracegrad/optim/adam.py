"""Adam and those that differ from it in a term: with Nesterov's momentum, with decoupled weight decay, with a maximum for the second moment."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import Decay, NotNegative, checked
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
    safe_increment,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import casts, is_zero, like, moment, per_leaf, squared, unbiased
from tracegrad.optim.masks import MaskOrFn
from tracegrad.optim.tree import zeros_like
from tracegrad.typing import ArrayLike, DType, PyTree


class ScaleByAdamState(NamedTuple):
    """The number of steps, int32, and the moving averages of gradients and of their squares."""

    count: Any
    mu: PyTree
    nu: PyTree


def nesterov_moment(g: Any, m: Any, decay: ArrayLike, now: Any, ahead: Any) -> Any:
    """The unbiased first moment with the gradient once more, as it will count in the next one (Dozat, 2016)."""
    return cast(decay, m) * (m / ahead) + cast(1 - decay, g) * (g / now)


@checked
def scale_by_adam(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    mu_dtype: DType = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Gradients divided by the root of their mean square, after Adam; see `adam`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_adam()
    >>> updates, state = opt.update(np.array([0.5, -20.0]), opt.init(np.zeros(2)))
    >>> updates.round(6).tolist(), int(state.count)
    ([1.0, -1.0], 1)
    """

    def init(params: Params) -> ScaleByAdamState:
        return ScaleByAdamState(first_count(), zeros_like(params, mu_dtype), zeros_like(params))

    def update(
        updates: Updates, state: ScaleByAdamState, params: Params | None = None
    ) -> tuple[Updates, ScaleByAdamState]:
        count = safe_increment(state.count)
        now, ahead, root = unbiased(b1, count), unbiased(b1, safe_increment(count)), np.sqrt(unbiased(b2, count))
        # m / now / (sqrt(v / root² + eps_root) + eps), with the numbers together: fewer operations on arrays.
        as_met = casts(now, ahead, now / root, eps_root * root**2, eps * now, eps)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            m, v = moment(g, mu, b1), moment(squared(g), nu, b2)
            now, ahead, ratio, inner, outer, eps = as_met(m)
            spread = np.sqrt(v if is_zero(eps_root) else v + inner) * ratio
            if nesterov:
                step = nesterov_moment(g, m, b1, now, ahead) / (spread / now + eps)
            else:
                step = m / (spread + outer)
            return step, like(m, mu), like(v, nu)

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        return updates, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)


@checked
def adam(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    mu_dtype: DType = None,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adam: steps of about the learning rate in each entry, whatever the size of its gradients.

        m ← b1 m + (1 - b1) g            m̂ = m / (1 - b1ᵗ)
        v ← b2 v + (1 - b2) g²           v̂ = v / (1 - b2ᵗ)
        w ← w - learning_rate m̂ / (√(v̂ + eps_root) + eps)

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015.

    Args:
        learning_rate: a number, or a schedule: a function of the number of steps taken, an int32 without axes.
        b1: decay of the mean of the gradients.
        b2: decay of the mean of their squares.
        eps: added to the root. In float16 1e-8 is zero: give it 1e-4 there.
        eps_root: added under the root, for derivatives through the step.
        mu_dtype: the dtype in which m is kept, the parameters' own if None.
        nesterov: with Nesterov's momentum; see `nadam`.

    Returns:
        A GradientTransformation. There is no weight decay among its arguments: that is `adamw`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adam(0.1)
    >>> params = {"w": np.array([1.0, -2.0])}
    >>> state = opt.init(params)
    >>> for _ in range(100):
    ...     updates, state = opt.update({"w": 2 * params["w"]}, state)
    ...     params = {"w": params["w"] + updates["w"]}
    >>> bool(np.all(np.abs(params["w"]) < 0.02))
    True
    """
    return chain(
        scale_by_adam(b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )


@checked
def adamw(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    mu_dtype: DType = None,
    weight_decay: NotNegative | Schedule = 1e-4,
    mask: MaskOrFn = None,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adam with decoupled weight decay: the parameters shrink by `learning_rate * weight_decay` besides, whatever their gradients.

        w ← w - learning_rate (m̂ / (√(v̂ + eps_root) + eps) + weight_decay w)

    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019. In PyTorch the default of `weight_decay` is 1e-2.

    Args:
        learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov: as in `adam`.
        weight_decay: a number or a schedule.
        mask: which parameters decay, as `add_decayed_weights` takes it.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adamw(0.1, weight_decay=0.5)
    >>> params = np.array([4.0])
    >>> updates, _ = opt.update(np.array([0.0]), opt.init(params), params)
    >>> updates.tolist()
    [-0.2]
    """
    return chain(
        scale_by_adam(b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


nadam = functools.partial(adam, nesterov=True)
nadam.__doc__ = """Adam with Nesterov's momentum: `adam(..., nesterov=True)`.

    m̂ = b1 m / (1 - b1ᵗ⁺¹) + (1 - b1) g / (1 - b1ᵗ)

Dozat, "Incorporating Nesterov momentum into Adam", 2016.
"""

nadamw = functools.partial(adamw, nesterov=True)
nadamw.__doc__ = """`adamw` with Nesterov's momentum, which is in `nadam`: `adamw(..., nesterov=True)`."""


class ScaleByAmsgradState(NamedTuple):
    """As Adam's, and the largest second moment so far."""

    count: Any
    mu: PyTree
    nu: PyTree
    nu_max: PyTree


@checked
def scale_by_amsgrad(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    mu_dtype: DType = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    """Gradients divided by the root of the largest mean square so far; see `amsgrad`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_amsgrad()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [1.0, 1.0]
    """

    def init(params: Params) -> ScaleByAmsgradState:
        zeros = zeros_like(params)
        return ScaleByAmsgradState(first_count(), zeros_like(params, mu_dtype), zeros, zeros_like(params))

    def update(
        updates: Updates, state: ScaleByAmsgradState, params: Params | None = None
    ) -> tuple[Updates, ScaleByAmsgradState]:
        count = safe_increment(state.count)
        as_met = casts(unbiased(b1, count), unbiased(b2, count), eps, eps_root)

        def leaf(g: Any, mu: Any, nu: Any, largest: Any) -> tuple[Any, Any, Any, Any]:
            m, v = moment(g, mu, b1), moment(squared(g), nu, b2)
            first, second, eps, eps_root = as_met(m)
            largest = like(np.maximum(largest, v / second if bias_correction_nu else v), largest)
            step = (m / first if bias_correction_mu else m) / (np.sqrt(largest + eps_root) + eps)
            return step, like(m, mu), like(v, nu), largest

        updates, mu, nu, nu_max = per_leaf(4, leaf, updates, state.mu, state.nu, state.nu_max)
        return updates, ScaleByAmsgradState(count, mu, nu, nu_max)

    return GradientTransformation(init, update)


@checked
def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    eps_root: NotNegative = 0.0,
    mu_dtype: DType = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformationExtraArgs:
    """AMSGrad: Adam with steps that never grow again, by the largest second moment so far.

        v_max ← max(v_max, v̂)
        w ← w - learning_rate m̂ / (√(v_max + eps_root) + eps)

    Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018.

    Args:
        learning_rate, b1, b2, eps, eps_root, mu_dtype: as in `adam`.
        bias_correction_mu, bias_correction_nu: whether m and v are divided by 1 - bᵗ; the paper does without.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.amsgrad(0.1)
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(np.array([1.0])))
    >>> updates.round(6).tolist()
    [-0.1]
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )


@checked
def scale_by_adamax(b1: Decay = 0.9, b2: Decay = 0.999, eps: NotNegative = 1e-8) -> GradientTransformation:
    """Gradients divided by a decaying maximum of their size; see `adamax`.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_adamax()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [1.0, 1.0]
    """

    def init(params: Params) -> ScaleByAdamState:
        return ScaleByAdamState(first_count(), zeros_like(params), zeros_like(params))

    def update(
        updates: Updates, state: ScaleByAdamState, params: Params | None = None
    ) -> tuple[Updates, ScaleByAdamState]:
        count = safe_increment(state.count)
        as_met = casts(unbiased(b1, count), eps, b2)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            m = moment(g, mu, b1)
            first, eps, b2 = as_met(m)
            v = np.maximum(np.abs(g) + eps, b2 * nu)
            return m / first / v, like(m, mu), like(v, nu)

        updates, mu, nu = per_leaf(3, leaf, updates, state.mu, state.nu)
        return updates, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)


@checked
def adamax(
    learning_rate: ScalarOrSchedule, b1: Decay = 0.9, b2: Decay = 0.999, eps: NotNegative = 1e-8
) -> GradientTransformationExtraArgs:
    """Adamax: Adam by a decaying maximum of the gradients' size in place of a mean of squares.

        v ← max(|g| + eps, b2 v)
        w ← w - learning_rate m̂ / v

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, section 7.

    Args:
        learning_rate, b1: as in `adam`.
        b2: decay of the maximum.
        eps: added to the gradients' size.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adamax(0.1)
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(np.array([1.0])))
    >>> updates.round(6).tolist()
    [-0.1]
    """
    return chain(scale_by_adamax(b1=b1, b2=b2, eps=eps), scale_by_learning_rate(learning_rate))


@checked
def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative | Schedule = 1e-4,
    mask: MaskOrFn = None,
) -> GradientTransformationExtraArgs:
    """`adamax` with decoupled weight decay, which is as in `adamw`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.adamaxw(0.1, weight_decay=0.5)
    >>> params = np.array([4.0])
    >>> updates, _ = opt.update(np.array([3.0]), opt.init(params), params)
    >>> updates.round(6).tolist()
    [-0.3]
    """
    return chain(
        scale_by_adamax(b1=b1, b2=b2, eps=eps),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
