"""Projections of a tree onto a set: its nearest point there, for gradient steps under constraints. Names, arguments and values are those of
`optax.projections` (optax 0.2.8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad import tree as trees
from tracegrad.core.arguments import is_number
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.types import type_of
from tracegrad.optim.base import cast, scaled
from tracegrad.optim.masks import apart, as_vector
from tracegrad.optim.tree import norm, vdot
from tracegrad.typing import ArrayLike, PyTree


@accepting_jax
def projection_non_negative(tree: PyTree) -> PyTree:
    """Onto what has no negative element.

    >>> projection_non_negative({"w": np.array([-1.0, 2.0])})
    {'w': array([0., 2.])}
    """
    return trees.map(lambda x: np.maximum(x, 0), tree)


@accepting_jax
def projection_box(tree: PyTree, lower: Any, upper: Any) -> PyTree:
    """Onto `lower <= x <= upper`, each a number or a tree of the same structure.

    >>> projection_box(np.array([-3.0, 0.5, 9.0]), 0.0, 1.0)
    array([0. , 0.5, 1. ])
    """
    low, high = (trees.map(lambda _, x=x: x, tree) if is_number(x) else x for x in (lower, upper))
    return trees.map(lambda x, a, b: np.clip(x, cast(a, x), cast(b, x)), tree, low, high)


def projection_hypercube(tree: PyTree, scale: Any = 1) -> PyTree:
    """Onto `0 <= x <= scale`.

    >>> projection_hypercube(np.array([-3.0, 0.5, 9.0]))
    array([0. , 0.5, 1. ])
    """
    return projection_box(tree, 0, scale)


def projection_linf_ball(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Onto what has no element of more than `scale` in absolute value.

    >>> projection_linf_ball(np.array([-3.0, 0.5]))
    array([-1. ,  0.5])
    """
    return projection_box(tree, -scale, scale)


@accepting_jax
def projection_simplex(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Onto what has no negative element and adds up to `scale`: `max(x - t, 0)` for the t that gives this sum (Held, Wolfe and Crowder,
    "Validation of subgradient optimization", 1974).

    >>> projection_simplex(np.array([2.5, 3.0, 0.5])).tolist()
    [0.25, 0.75, 0.0]
    """
    x = as_vector(tree)
    total = cast(scale, x)
    descending = np.flip(np.sort(x))
    sums = np.cumsum(descending)
    counts = np.arange(1, len(x) + 1, dtype=type_of(x).dtype)
    kept = descending * counts > sums - total  # the largest ones, of which there is one at least
    threshold = (np.sum(np.where(kept, descending, 0)) - total) / np.sum(kept, dtype=type_of(x).dtype)
    return apart(np.maximum(x - threshold, 0), tree)


@accepting_jax
def projection_l1_sphere(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Onto what has absolute values that add up to `scale`.

    >>> projection_l1_sphere(np.array([-2.5, 3.0, 0.5])).tolist()
    [-0.25, 0.75, 0.0]
    """
    return trees.map(lambda x, size: np.sign(x) * size, tree, projection_simplex(trees.map(np.abs, tree), scale))


@accepting_jax
def projection_l1_ball(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Onto what has absolute values that add up to `scale` or less.

    >>> projection_l1_ball(np.array([-2.5, 3.0, 0.5])).tolist(), projection_l1_ball(np.array([0.25, 0.5])).tolist()
    ([-0.25, 0.75, 0.0], [0.25, 0.5])
    """
    inside = norm(tree, 1) <= scale
    return trees.map(lambda x, y: np.where(inside, x, y), tree, projection_l1_sphere(tree, scale))


@accepting_jax
def projection_l2_sphere(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Onto what has the norm `scale`. Of zero there is no nearest point, and NaN comes out.

    >>> projection_l2_sphere(np.array([3.0, 4.0]), 10.0).tolist()
    [6.0, 8.0]
    """
    size = norm(tree)
    return scaled(cast(scale, size) / size, tree)


@accepting_jax
def projection_l2_ball(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Onto what has a norm of at most `scale`.

    >>> projection_l2_ball(np.array([6.0, 8.0]), 5.0).tolist(), projection_l2_ball(np.array([0.3, 0.4])).tolist()
    ([3.0, 4.0], [0.3, 0.4])
    """
    squared = norm(tree, squared=True)
    radius = cast(scale, squared)
    return scaled(radius / np.sqrt(np.maximum(squared, radius**2)), tree)


@accepting_jax
def projection_vector(x: PyTree, a: PyTree) -> PyTree:
    """Onto the line through 0 along `a`: `a * <x, a> / <a, a>`.

    >>> projection_vector(np.array([3.0, 4.0]), np.array([2.0, 0.0])).tolist()
    [3.0, 0.0]
    """
    return scaled(vdot(x, a) / vdot(a, a), a)


@accepting_jax
def projection_hyperplane(x: PyTree, a: PyTree, b: ArrayLike) -> PyTree:
    """Onto the plane `<a, y> = b`.

    >>> projection_hyperplane(np.array([3.0, 4.0]), np.array([2.0, 0.0]), 2.0).tolist()
    [1.0, 4.0]
    """
    return _moved(x, a, _along(x, a, b))


@accepting_jax
def projection_halfspace(x: PyTree, a: PyTree, b: ArrayLike) -> PyTree:
    """Onto `<a, y> <= b`.

    >>> projection_halfspace(np.array([3.0, 4.0]), np.array([2.0, 0.0]), 2.0).tolist()
    [1.0, 4.0]
    """
    return _moved(x, a, np.minimum(_along(x, a, b), 0))


def _along(x: PyTree, a: PyTree, b: ArrayLike) -> Any:
    """How many times `a` lies between x and the plane."""
    found = vdot(x, a)
    return (cast(b, found) - found) / vdot(a, a)


def _moved(x: PyTree, a: PyTree, times: Any) -> PyTree:
    return trees.map(lambda own, along: own + cast(times, along) * along, x, a)
