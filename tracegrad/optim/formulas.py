"""What the formulas of optimisers are made of.

Rules that all of them keep. What is computed for a leaf stays in the leaf's dtype: hyper-parameters meet it by `base.cast`, and
what follows from the count of steps is computed in float64 and cast then (`1 - 0.999**count` in float32 has lost half of its
digits). What is kept for a leaf has the same type after each step, so that a jitted step is traced once. None in the place
of a gradient stays None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.types import PYTHON_SCALARS
from tracegrad.optim.base import Updates, cast
from tracegrad.typing import PyTree


def per_leaf(results: int, f: Callable[..., Any], updates: Updates, *trees: PyTree) -> list[PyTree]:
    """What `f(update, *others)` returns for each leaf of the updates, a tuple of so many results, as that many trees.

    >>> per_leaf(2, lambda g, m: (g + m, g - m), {"a": 3.0, "b": None}, {"a": 1.0, "b": None})
    [{'a': 4.0, 'b': None}, {'a': 2.0, 'b': None}]
    """
    leaves, structure = tree.flatten(updates, is_leaf=_is_none)
    columns = [_like_updates(structure, other) for other in trees]
    nothing = (None,) * results
    rows = [nothing if row[0] is None else f(*row) for row in zip(leaves, *columns, strict=True)]
    return [structure.unflatten([row[i] for row in rows]) for i in range(results)]


def for_leaves(f: Callable[..., Any], updates: Updates, *trees: PyTree) -> PyTree:
    """The tree of `f(update, *others)` for each leaf of the updates."""
    return per_leaf(1, lambda *row: (f(*row),), updates, *trees)[0]


def _is_none(x: Any) -> bool:
    return x is None


def _like_updates(structure: tree.PyTreeDef, other: PyTree) -> list[Any]:
    try:
        return structure.flatten_up_to(other)
    except ValueError as error:
        raise ValueError(
            "the gradients have another structure than the parameters, or than those that the optimiser's state was made for; "
            f"give `update` gradients of the parameters that `init` was called with.\n{error}"
        ) from None


# -- Numbers


def like(x: Any, kept: Any) -> Any:
    """An array in the dtype of what is kept from step to step, itself if it has that."""
    return x if x.dtype == kept.dtype else x.astype(kept.dtype)


def casts(*xs: Any) -> Callable[[Any], list[Any]]:
    """Hyper-parameters as they meet a leaf, each cast once for all leaves of a dtype."""
    made: dict[Any, list[Any]] = {}

    def as_met(leaf: Any) -> list[Any]:
        found = made.get(leaf.dtype)
        if found is None:
            found = made[leaf.dtype] = [cast(x, leaf) for x in xs]
        return found

    return as_met


def is_zero(x: Any) -> bool:
    """Whether a number is known to be zero."""
    return type(x) in PYTHON_SCALARS and x == 0


def value_of(x: Any, count: Any) -> Any:
    """A number, or a schedule's value at this count."""
    return x(count) if callable(x) else x


# -- Moments


def squared(x: Any) -> Any:
    """x², of complex x |x|²."""
    return np.square(x) if x.dtype.kind != "c" else (x.conj() * x).real


def moment(x: Any, kept: Any, decay: Any) -> Any:
    """The moving average `(1 - decay) x + decay kept`, not yet in the dtype of what is kept."""
    return cast(1 - decay, x) * x + cast(decay, kept) * kept


def unbiased(decay: Any, count: Any) -> Any:
    """`1 - decay**count`: the sum of the weights of a moving average that began with zeros."""
    return 1 - np.power(decay, count)
