"""`isinstance`, `np.isscalar` and `match` answer of a traced value as they would of the value."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.notes import Notes
from tracegrad.core.tracer import Tracer

jax.config.update("jax_enable_x64", True)


VALUES = {
    "array": np.arange(3.0),
    "matrix of float32": np.ones((2, 2), np.float32),
    "NumPy scalar": np.float64(2.0),
    "float32 scalar": np.float32(2.0),
    "Python float": 2.0,
}
KINDS = (
    np.ndarray, np.generic, np.floating, np.float64, np.float32, np.integer, float, int, complex, bool, numbers.Number,
    numbers.Real, list, str,
)  # fmt: skip


def collected(transform: Callable[..., Any], x: Any) -> tuple[list[bool], str]:
    found = Notes()

    def f(x: Any) -> Any:
        assert type(x) is Tracer
        found.append([isinstance(x, kind) for kind in KINDS] + [bool(np.isscalar(x))])
        match x:
            case np.ndarray():
                found.append("array")
            case float():
                found.append("float")
            case _:
                found.append("other")
        return np.sum(x * x)

    transform(f)(x)
    return found[0], found[1]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("transform", ["grad", "jit", "make_graph", "grad of grad"])
def test_a_traced_value_is_what_it_stands_for(name: str, transform: str) -> None:
    x = VALUES[name]
    wanted = [isinstance(x, kind) for kind in KINDS] + [bool(np.isscalar(x))]
    matched = "array" if isinstance(x, np.ndarray) else "float" if isinstance(x, float) else "other"
    run: Any = {
        "grad": tg.grad, "jit": tg.jit, "make_graph": tg.make_graph,
        "grad of grad": lambda f: lambda x: tg.grad(lambda y: np.sum(tg.grad(f)(y)))(x),
    }[transform]  # fmt: skip
    assert collected(run, x) == (wanted, matched)


def test_kinds_of_results() -> None:
    def f(x: Any, n: int) -> Any:
        assert isinstance(x[0], np.float64) and isinstance(np.sum(x), float) and isinstance(x > 0, np.ndarray)
        assert isinstance(n, int) and isinstance(n + 1, int) and not isinstance(n, float) and isinstance(n * 2.0, float)
        assert isinstance(np.argmax(x), np.integer) and isinstance(x[0] > 0, np.bool_)
        u = x.copy()
        u[0] = 1.0
        assert isinstance(u, np.ndarray) and u.__class__ is np.ndarray and not isinstance(u, np.generic)
        return np.sum(x) * n

    tg.jit(f)(np.ones(3), 2)
    tg.value_and_grad(f, allow_int=True, argnums=(0, 1))(np.ones(3), 2)


def test_the_branch_that_numpy_takes() -> None:
    f = lambda x: np.sum(x * x) if isinstance(x, np.ndarray) else 0.0 * np.sum(x)
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(tg.grad(f)(x), 2 * x)
