"""Directions of the second order, by products with the Hessian or with Jacobians: no matrix is formed. What optax has none of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Count, NotNegative, checked
from tracegrad.lax import while_loop
from tracegrad.optim import tree as optim_tree
from tracegrad.optim.base import (
    EmptyState,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    Updates,
    chain,
    init_empty_state,
    number,
    required,
    scale_by_learning_rate,
)
from tracegrad.transforms.grad import grad
from tracegrad.transforms.linearize import linearize, vjp
from tracegrad.typing import ArrayLike


def _solved(apply: Callable[[Any], Any], b: Any, tolerance: Any, max_iterations: Count) -> Any:
    """x of `apply(x) = b` by conjugate gradients (Hestenes and Stiefel, 1952), to a residual of `tolerance` times the norm of b.

    Where the curvature along a direction is not positive it stops at what it has by then, b itself if that is nothing, which is a
    direction of ascent all the same (Steihaug, 1983)."""
    square = optim_tree.vdot(b, b).real
    enough = tolerance * tolerance * square

    def goes_on(carry: Any) -> Any:
        count, _, _, _, residual, is_convex = carry
        return (count < max_iterations) & (residual > enough) & is_convex

    def body(carry: Any) -> Any:
        count, x, r, p, residual, _ = carry
        image = apply(p)
        curvature = optim_tree.vdot(p, image).real
        is_convex = curvature > 0
        step = np.where(is_convex, residual / np.where(is_convex, curvature, 1), np.where(count == 0, 1, 0))
        x = optim_tree.add_scale(x, step, p)
        r = optim_tree.add_scale(r, -step, image)
        after = optim_tree.vdot(r, r).real
        p = optim_tree.add_scale(r, after / residual, p)
        return count + 1, x, r, p, after, is_convex

    start = np.int32(0), tree.map(np.zeros_like, b), b, b, square, np.True_
    return while_loop(goes_on, body, start)[1]


def _second_order(direction: Callable[..., Updates], learning_rate: Any) -> GradientTransformationExtraArgs:
    def update(updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any) -> Any:
        return direction(updates, params, **extra_args), EmptyState()

    return chain(GradientTransformationExtraArgs(init_empty_state, update), scale_by_learning_rate(learning_rate))


@checked
def newton_cg(
    learning_rate: ArrayLike | Callable[[ArrayLike], ArrayLike] = 1.0,
    tolerance: NotNegative | None = None,
    max_iterations: Count = 50,
) -> GradientTransformationExtraArgs:
    """Newton's step, `H⁻¹ g` found by conjugate gradients over products with the Hessian, cut where the curvature is not positive
    (Nocedal and Wright, "Numerical Optimization", algorithm 7.1).

    Args:
        learning_rate: the part of the step that is taken, a number or a schedule.
        tolerance: the residual at which the step is good enough, as a part of the gradient's norm; None for min(1/2, sqrt(norm)),
            with which convergence is faster than linear.
        max_iterations: how many products with the Hessian a step may take.

    `update(grads, state, params, value_fn=f)` needs the function of the parameters that is minimised.

    Raises:
        ValueError: `update` without parameters or without `value_fn`.

    >>> import numpy as np, tracegrad as tg
    >>> def f(x):
    ...     return np.sum((x - np.array([1.0, 2.0])) ** 2 * np.array([1.0, 100.0]))
    >>> opt = tg.optim.newton_cg(tolerance=1e-9)
    >>> x = np.zeros(2)
    >>> updates, _ = opt.update(tg.grad(f)(x), opt.init(x), x, value_fn=f)
    >>> updates.round(6)
    array([1., 2.])
    """
    tolerance = number(tolerance)

    def direction(
        updates: Updates, params: Params | None, value_fn: Callable[[Params], Any] | None = None, **extra_args: Any
    ) -> Updates:
        params = required(params, "newton_cg")
        if value_fn is None:
            raise ValueError(
                "newton_cg needs the function that is minimised; write update(grads, state, params, value_fn=f)"
            )
        _, hessian = linearize(grad(value_fn), params)
        near = tolerance
        if near is None:
            near = np.minimum(0.5, np.sqrt(optim_tree.norm(updates)))
        return _solved(hessian, updates, near, max_iterations)

    return _second_order(direction, learning_rate)


@checked
def gauss_newton(
    residuals: Callable[..., Any],
    learning_rate: ArrayLike | Callable[[ArrayLike], ArrayLike] = 1.0,
    damping: NotNegative = 0.0,
    tolerance: NotNegative = 1e-6,
    max_iterations: Count = 50,
) -> GradientTransformationExtraArgs:
    """Gauss's step for least squares, `(Jᵀ J + damping)⁻¹ g` with the Jacobian J of the residuals, by conjugate gradients; with damping that
    of Levenberg (1944).

    Args:
        residuals: a function of the parameters, and of `residual_args`, to arrays of residuals r, of which the gradients given are those of
            the sum of r² / 2.
        learning_rate: the part of the step that is taken, a number or a schedule.
        damping: what is added to the diagonal.
        tolerance: the residual of the linear system at which the step is good enough, as a part of the gradient's norm.
        max_iterations: how many products with J and its transpose a step may take.

    `update(grads, state, params, residual_args=(inputs, targets))` hands on what else the residuals depend on.

    Raises:
        ValueError: `update` without parameters.

    >>> import numpy as np, tracegrad as tg
    >>> t = np.arange(4.0)
    >>> residuals = lambda x: x[0] * np.exp(x[1] * t) - 3 * np.exp(-0.5 * t)
    >>> opt, x = tg.optim.gauss_newton(residuals), np.array([2.0, -1.0])
    >>> state = opt.init(x)
    >>> for _ in range(6):
    ...     x, state = tg.optim.step(opt, tg.grad(lambda x: np.sum(residuals(x) ** 2) / 2)(x), state, x)
    >>> x.round(6)
    array([ 3. , -0.5])
    """
    damping, tolerance = number(damping), number(tolerance)

    def direction(
        updates: Updates, params: Params | None, residual_args: tuple[Any, ...] = (), **extra_args: Any
    ) -> Updates:
        def of_params(p: Params) -> Any:
            return residuals(p, *residual_args)

        params = required(params, "gauss_newton")
        _, forward = linearize(of_params, params)
        _, backward = vjp(of_params, params)

        def damped(v: Any) -> Any:
            return optim_tree.add_scale(backward(forward(v))[0], damping, v)

        return _solved(damped, updates, tolerance, max_iterations)

    return _second_order(direction, learning_rate)
