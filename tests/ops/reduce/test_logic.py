"""Logic over axes: what is not zero, NaN included."""

from __future__ import annotations

import numpy as np

import tracegrad as tg
from tests.compare import same
from tests.ops.reduce import traced


def test_nan_is_not_zero() -> None:
    x = np.array([[0.0, np.nan], [0.0, 0.0]])
    for f in (np.any, np.all):
        same(traced(lambda x, f=f: f(x, 1), x), f(x, 1))
        same(tg.jit(lambda x, f=f: f(x, 1, keepdims=True))(x), f(x, 1, keepdims=True))


def test_a_choice_by_logic_has_the_derivative_of_what_is_chosen() -> None:
    f = lambda x: np.sum(np.where(np.any(x > 1, 0), x[0], 2 * x[1]))
    np.testing.assert_array_equal(tg.grad(f)(np.array([[0.5, 3.0], [0.5, 0.5]])), [[0.0, 1.0], [2.0, 0.0]])
