"""Traces go without the garbage collector."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import jax
import numpy as np

import tracegrad as tg

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_traces_are_freed_without_the_collector() -> None:
    """A gradient leaves no cycles behind that would keep its arrays until the next garbage collection."""

    class Marked(np.ndarray):
        pass

    gc.collect()
    gc.disable()
    try:
        captured = []

        def f(x: Any) -> Any:
            y = np.sin(x)
            captured.append(weakref.ref(y.value.base if y.value.base is not None else y.value))
            return np.sum(y * y)

        tg.grad(f)(X)
        assert captured[0]() is None
        tg.jvp(f, (X,), (X,))
        assert captured[1]() is None
    finally:
        gc.enable()
