"""L-BFGS: Newton's step by a few differences of gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import checked, whole
from tracegrad.lax import scan
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    chain,
    first_count,
    identity,
    required,
    safe_increment,
    scale,
    scale_by_learning_rate,
    scaled,
)
from tracegrad.optim.formulas import like
from tracegrad.optim.linesearch import scale_by_zoom_linesearch
from tracegrad.optim.tree import norm, vdot, zeros_like
from tracegrad.typing import Array, PyTree


class ScaleByLBFGSState(NamedTuple):
    """The number of steps, the parameters and the gradients of the latest one, and a ring of the latest differences of both, with
    the inverses of their products."""

    count: Array
    params: PyTree
    updates: PyTree
    diff_params_memory: PyTree
    diff_updates_memory: PyTree
    weights_memory: Array


@checked
def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True) -> GradientTransformation:
    """Gradients times an approximate inverse of the Hessian; see `lbfgs`.

    Args:
        memory_size: how many differences of parameters and of gradients are kept.
        scale_init_precond: whether the inverse begins as the identity times <y, s> / <y, y> of the latest differences, and at
            the first step times min(1, 1 / |g|); with False it is the identity.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.scale_by_lbfgs()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.shape
    (2,)
    """
    memory_size = whole(memory_size, "scale_by_lbfgs", "memory_size", 1)

    def ring(params: Params) -> PyTree:
        return tree.map(lambda p: np.zeros_like(p, shape=(memory_size, *np.shape(p))), params)

    def init(params: Params) -> ScaleByLBFGSState:
        return ScaleByLBFGSState(
            count=first_count(),
            params=zeros_like(params),
            updates=zeros_like(params),
            diff_params_memory=ring(params),
            diff_updates_memory=ring(params),
            weights_memory=np.zeros(memory_size),
        )

    def update(updates: Updates, state: ScaleByLBFGSState, params: Params | None = None) -> Any:
        params = required(params, "scale_by_lbfgs")
        is_later = state.count > 0
        place = state.count % memory_size
        place_before = (state.count - 1) % memory_size

        def difference(new: Any, old: Any) -> Any:
            return np.where(is_later, new - old, np.zeros_like(old))

        def with_latest(kept: Any, latest: Any) -> Any:
            rows = np.reshape(np.arange(memory_size) == place_before, (memory_size, *[1] * np.ndim(latest)))
            return like(np.where(rows, latest, kept), kept)

        moved = tree.map(difference, params, state.params)
        changed = tree.map(difference, updates, state.updates)
        product = np.real(vdot(changed, moved))
        is_zero = product == 0
        weight = np.where(is_zero, 0, 1 / np.where(is_zero, 1, product))
        steps = tree.map(with_latest, state.diff_params_memory, moved)
        changes = tree.map(with_latest, state.diff_updates_memory, changed)
        weights = with_latest(state.weights_memory, weight)

        beginning: Any = 1.0
        if scale_init_precond:
            total = norm(changed, squared=True)
            length = norm(updates)
            first = np.minimum(1, 1 / np.where(length > 0, length, 1))
            later = np.where(total > 0, product / np.where(total > 0, total, 1), 1)
            beginning = np.where(is_later, later, first)
        direction = _times_inverse(
            updates, steps, changes, weights, beginning, (place + np.arange(memory_size)) % memory_size
        )
        state = ScaleByLBFGSState(safe_increment(state.count), params, updates, steps, changes, weights)
        return direction, state

    return GradientTransformation(init, update)


def _times_inverse(
    vector: Updates, steps: PyTree, changes: PyTree, weights: Any, beginning: Any, order: Any
) -> Updates:
    """A vector times the inverse Hessian that the differences make of `beginning` times the identity, from the oldest on: the
    recursion of two loops, of which the first goes from the latest back."""
    in_order = tree.map(lambda x: np.take(x, order, axis=0), (steps, changes, weights))

    def minus(vector: Updates, factor: Any, others: Updates) -> Updates:
        return tree.map(lambda v, x: like(v - cast(factor, x) * x, v), vector, others)

    def back(vector: Updates, differences: Any) -> tuple[Updates, Any]:
        step, change, weight = differences
        alpha = weight * np.real(vdot(step, vector))
        return minus(vector, alpha, change), alpha

    def onward(vector: Updates, xs: Any) -> tuple[Updates, None]:
        (step, change, weight), alpha = xs
        beta = weight * np.real(vdot(change, vector))
        return minus(vector, beta - alpha, step), None

    vector, alphas = scan(back, vector, in_order, reverse=True)
    vector, _ = scan(onward, scaled(beginning, vector), (in_order, alphas))
    return vector


_ZOOM = scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")


@checked
def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: Any = _ZOOM,
) -> GradientTransformationExtraArgs:
    """L-BFGS: quasi-Newton steps from the latest differences of gradients, with a line search. For whole data, not for batches.

        w ← w - s H g,    H the inverse Hessian that BFGS would make of the latest differences, s by the line search

    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989; Nocedal and Wright, "Numerical
    optimization", 2006, algorithm 7.4.

    Args:
        learning_rate: a number or a schedule; None for 1, as line searches want it.
        memory_size: how many differences are kept.
        scale_init_precond: see `scale_by_lbfgs`.
        linesearch: a transformation that scales updates, of 20 tries from 1 on if not given; None for none.

    `update(grads, state, params, value=..., grad=grads, value_fn=...)` needs what the line search needs.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> opt = tg.optim.lbfgs()
    >>> x = np.array([-1.2, 1.0])
    >>> state = opt.init(x)
    >>> for _ in range(40):
    ...     value, g = tg.value_and_grad(f)(x)
    ...     updates, state = opt.update(g, state, x, value=value, grad=g, value_fn=f)
    ...     x = x + updates
    >>> x.round(6).tolist()
    [1.0, 1.0]
    """
    return chain(
        scale_by_lbfgs(memory_size=memory_size, scale_init_precond=scale_init_precond),
        scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate),
        identity() if linesearch is None else linesearch,
    )
