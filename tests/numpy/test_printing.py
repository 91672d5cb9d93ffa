"""Tracers as text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.notes import Notes


@pytest.mark.parametrize("name", ["array_repr", "array_str", "array2string"])
def test_tracers_are_printed_as_such(name: str) -> None:
    seen = Notes()

    def f(x: Any) -> Any:
        seen.extend([getattr(np, name)(x), getattr(tnp, name)(x)])
        return x

    x = np.ones(2)
    tg.jit(f)(x)
    assert seen == ["<traced f64[2] of jit>"] * 2
    tg.grad(lambda x: np.sum(f(x)))(x)
    assert seen[2:] == ["<traced f64[2] of grad = array([1., 1.])>"] * 2
    assert getattr(tnp, name)(x) == getattr(np, name)(x)
