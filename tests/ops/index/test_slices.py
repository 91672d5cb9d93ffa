"""Slices, what is written where one was taken, and indices into slices of slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad.ops.index import unslice

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("index", [np.s_[1], np.s_[:, ::-1], np.s_[..., 1:3], np.s_[0, None, 2:0:-1], np.s_[:, 1, ::3]])
def test_a_derivative_lies_where_the_slice_was(index: Any) -> None:
    expected = np.zeros_like(X)
    expected[index] = np.cos(X[index])
    gradient = tg.grad(lambda x: np.sum(np.sin(x[index])))
    near(gradient(X), expected, 0.0)
    near(tg.jit(gradient)(X), expected, 0.0)


def test_a_slice_of_a_slice_is_one_to_write_into() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        y[1:, ::2][0, 1, 1:] = 7.0
        y[..., ::-1][:, [0, 2], 1] *= 2.0
        return y

    near(tg.vjp(f, X)[0], f(X), 0.0)
    near(tg.jit(f)(X), f(X), 0.0)


def test_zeros_with_a_part_written() -> None:
    part = np.array([1.0, 2.0])
    near(unslice(part, (1, "::2"), (2, 4)), [[0.0] * 4, [1.0, 0.0, 2.0, 0.0]], 0.0)
    near(tg.grad(lambda v: np.sum(unslice(v, (1, "::2"), (2, 4)) ** 2))(part), 2 * part, 0.0)
