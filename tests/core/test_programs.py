"""Programs that run again: what is made of arrays from outside is made anew, or they hold for their values alone."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracegrad as tg


def test_what_several_ops_make_of_a_captured_array_is_recorded() -> None:
    table = np.array([1.0, 2.0, 4.0])
    f = tg.jit(lambda x: np.sum(np.convolve(table, x)) + np.sum(np.outer(table, x)))
    x = np.array([0.5, 1.0])
    for _ in range(2):
        assert np.allclose(f(x), np.sum(np.convolve(table, x)) + np.sum(np.outer(table, x)), rtol=1e-14)
        table *= 3.0
    assert len(f.trace_log) == 1


def test_what_looks_at_values_is_traced_anew_for_others() -> None:
    counts = np.array([1, 2])
    f = tg.jit(lambda x: np.repeat(x, counts))
    x = np.array([0.5, 1.0])
    assert f(x).tolist() == [0.5, 1.0, 1.0] and f(x).tolist() == [0.5, 1.0, 1.0]
    counts[0] = 0
    assert f(x).tolist() == [1.0, 1.0]


def test_a_cotangent_to_start_from_is_no_constant() -> None:
    weight = np.array([2.0, 3.0])

    def f(x: Any) -> Any:
        return tg.vjp(lambda x: weight * x, x)[1](np.ones(2))[0]

    jitted = tg.jit(f)
    x = np.ones(2)
    assert jitted(x).tolist() == [2.0, 3.0]
    weight[0] = 5.0
    assert jitted(x).tolist() == [5.0, 3.0]
