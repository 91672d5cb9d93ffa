"""What is done with updates: applied to parameters, mixed into older ones."""

from __future__ import annotations

from typing import Any

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.types import type_of
from tracegrad.optim.base import Params, Updates


def _is_none(x: Any) -> bool:
    return x is None


@accepting_jax
def apply_updates(params: Params, updates: Updates) -> Params:
    """`params + updates`, of which each leaf keeps its parameter's dtype. None for a parameter stays None.

    >>> import numpy as np
    >>> apply_updates({"w": np.ones(2, np.float32), "b": None}, {"w": np.array([1.0, 2.0]), "b": None})
    {'w': array([2., 3.], dtype=float32), 'b': None}
    """

    def applied(p: Any, u: Any) -> Any:
        if p is None:
            return None
        dtype, found = type_of(p).dtype, p + u
        return found if type_of(found).dtype == dtype else found.astype(dtype)

    return tree.map(applied, params, updates, is_leaf=_is_none)
