"""Which of NumPy's functions know tracers."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.tracer import Tracer

jax.config.update("jax_enable_x64", True)


# These make numbers of what is given, or ask about it, or are for files and settings.
NOT_OF_ARRAYS = {"save", "savez", "savez_compressed", "savetxt", "show_config", "show_runtime", "info", "test"}


@pytest.mark.parametrize("ndim", [0, 1, 2])
def test_no_function_takes_a_tracer_for_a_plain_array(ndim: int) -> None:
    """Each of NumPy's functions that we have none for raises, or gives nothing that could have a derivative."""
    x = np.full((3,) * ndim, 0.5)[()]
    for name, function in list(vars(np).items()):
        if not callable(function) or isinstance(function, type) or name in NOT_OF_ARRAYS:
            continue
        if function in FUNCTIONS or isinstance(function, np.ufunc):
            continue

        def f(x: Any, function: Any = function) -> Any:
            found.append(function(x))
            return np.sum(x)

        found: list[Any] = []
        try:
            tg.grad(f)(x)
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, OSError, Warning):
            continue
        for leaf in tg.tree.tree_leaves(found):
            assert type(leaf) is Tracer or not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "fcO", name
