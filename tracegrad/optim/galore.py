"""GaLore: an optimiser of matrices that sees them through a projection of low rank, and keeps its state there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import NotNegative, checked
from tracegrad.lax import cond
from tracegrad.optim.adam import scale_by_adam
from tracegrad.optim.adding import add_decayed_weights
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    ScalarOrSchedule,
    Updates,
    cast,
    chain,
    first_count,
    safe_increment,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import for_leaves, like, per_leaf
from tracegrad.optim.masks import MaskOrFn
from tracegrad.typing import Array, PyTree


class GaLoreDimensionNumbers(NamedTuple):
    """Which axes of a parameter are the rows of its matrix, and which, all others, its columns.

    >>> import numpy as np, tracegrad as tg
    >>> tg.optim.GaLoreDimensionNumbers(0, (1, 2))  # of a projection (embedding, heads, size)
    GaLoreDimensionNumbers(reduction_axis=0, output_axis=(1, 2))
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


class GaLoreState(NamedTuple):
    """The number of steps, the state of the optimiser within, and the projection of each matrix; empty of what is none."""

    count: Array
    base_optimizer_state: OptState
    projector: PyTree


def _matrix(x: Any, numbers: GaLoreDimensionNumbers) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The axes of an array in the order that makes a matrix of it, and the sizes of that."""
    axes = [tuple([a % x.ndim for a in ((n,) if isinstance(n, int) else n)]) if x.ndim else () for n in numbers]
    order = axes[0] + axes[1]
    if x.ndim < 2 or sorted(order) != list(range(x.ndim)):
        raise ValueError(
            f"galore: an array of shape {x.shape} is no matrix with rows along {numbers[0]} and columns along {numbers[1]}; "
            "name each of its axes once in GaLoreDimensionNumbers(reduction_axis, output_axis), or give None to leave it as it is"
        )
    rows, columns = [math.prod([x.shape[axis] for axis in part]) for part in axes]
    return order, (rows, columns)


@checked
def scale_by_galore(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_dimension_numbers: Any = None,
) -> GradientTransformation:
    """Gradients of matrices through a projection of low rank: scale p `base_optimizer`(pᴴ g), where the columns of p are the first
    left singular vectors of a gradient g [rows, columns] with rows ≥ columns, and right ones on the other side otherwise.

    Args:
        rank: of the projection, at most.
        update_proj_gap: in how many steps the projection is made anew once.
        scale: of the steps of matrices.
        base_optimizer: what scales the projected gradients, and all others as they are; `scale_by_adam()` where not given. It sees
            no parameters, whose shapes are others.
        weight_dimension_numbers: `GaLoreDimensionNumbers` of all arrays with two axes or more, or a tree of these with None for
            what is not projected, or a function of the gradients that returns one; by default arrays of two axes are projected.

    Zhao et al., "GaLore: memory-efficient LLM training by gradient low-rank projection", ICML 2024.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_galore(rank=2)
    >>> state = opt.init({"w": np.ones((6, 4))})
    >>> state.base_optimizer_state.mu["w"].shape, state.projector["w"].shape
    ((2, 4), (6, 2))
    """
    if not isinstance(rank, int | np.integer) or rank < 1 or update_proj_gap < 1:
        raise ValueError(
            f"scale_by_galore: rank and update_proj_gap are whole numbers from 1 on, got {rank!r} and {update_proj_gap!r}"
        )
    base = scale_by_adam() if base_optimizer is None else base_optimizer

    def numbers_for(updates: Updates) -> PyTree:
        given = weight_dimension_numbers
        if callable(given):
            return given(updates)
        if given is None:
            return tree.map(lambda x: GaLoreDimensionNumbers() if np.ndim(x) == 2 else None, updates)
        if isinstance(given, GaLoreDimensionNumbers):
            return tree.map(lambda x: given if np.ndim(x) >= 2 else None, updates)
        return given

    def init(params: Params) -> GaLoreState:
        def leaf(x: Any, numbers: Any) -> tuple[Any, Any]:
            if numbers is None:
                return np.zeros_like(x), np.zeros((0, 0), x.dtype)
            _, (rows, columns) = _matrix(x, numbers)
            least = min(rank, rows, columns)
            small = (least, columns) if rows >= columns else (rows, least)
            return np.zeros(small, x.dtype), np.zeros((max(rows, columns), least), x.dtype)

        small, projector = per_leaf(2, leaf, params, numbers_for(params))
        return GaLoreState(first_count(), base.init(small), projector)

    def update(updates: Updates, state: GaLoreState, params: Params | None = None) -> Any:
        anew = state.count % update_proj_gap == 0
        numbers = numbers_for(updates)

        def down(g: Any, projector: Any, numbers: Any) -> tuple[Any, Any]:
            if numbers is None:
                return g, projector
            order, sizes = _matrix(g, numbers)
            g = g.transpose(order).reshape(sizes)
            is_tall = sizes[0] >= sizes[1]

            def vectors(g: Any, projector: Any) -> Any:
                wide = g.astype(np.float32) if g.dtype.itemsize == 2 else g
                u, _, vh = np.linalg.svd(wide, full_matrices=False)
                # A copy: the state would hold all of u otherwise, and products with columns that lie apart are rounded in another way.
                return like((u if is_tall else vh.conj().T)[:, : projector.shape[1]].copy(), projector)

            projector = cond(anew, vectors, lambda g, projector: projector, g, projector)
            return like(projector.conj().T @ g if is_tall else g @ projector, g), projector

        def up(u: Any, projector: Any, g: Any, numbers: Any) -> Any:
            if numbers is None:
                return u
            order, sizes = _matrix(g, numbers)
            full = projector @ u if sizes[0] >= sizes[1] else u @ projector.conj().T
            shape = [g.shape[axis] for axis in order]
            return like(cast(scale, full) * full.reshape(shape).transpose(np.argsort(order).tolist()), g)

        small, projector = per_leaf(2, down, updates, state.projector, numbers)
        small, base_state = base.update(small, state.base_optimizer_state, None)
        steps = for_leaves(up, small, projector, updates, numbers)
        return steps, GaLoreState(safe_increment(state.count), base_state, projector)

    return GradientTransformation(init, update)


@checked
def galore(
    learning_rate: ScalarOrSchedule,
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_decay: NotNegative = 0.0,
    mask: MaskOrFn = None,
    weight_dimension_numbers: Any = None,
) -> GradientTransformationExtraArgs:
    """GaLore: Adam whose averages of a matrix are of low rank, so that they take less memory. `scale_by_galore`, decay of weights, and
    the learning rate.

    Args:
        learning_rate: a number or a schedule.
        rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers: as of `scale_by_galore`.
        weight_decay: of the whole parameters.
        mask: which parameters decay; all by default.

    Zhao et al., "GaLore: memory-efficient LLM training by gradient low-rank projection", ICML 2024.

    >>> import numpy as np, tracegrad as tg
    >>> opt, params = tg.optim.galore(0.1, rank=1), {"w": np.ones((3, 2))}
    >>> updates, state = opt.update(params, opt.init(params), params)
    >>> updates["w"].round(3).tolist()
    [[-0.058, -0.058], [-0.058, -0.058], [-0.058, -0.058]]
    """
    return chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
