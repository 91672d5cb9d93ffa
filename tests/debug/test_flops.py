"""How operations are counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.debug.flops import flops_of

X = np.ones((20, 30))


@pytest.mark.parametrize(
    ("f", "count"),
    [
        (lambda x: x @ x.T, 2 * 20 * 30 * 20),
        (lambda x: np.einsum("ij,kj->ik", x, x), 2 * 20 * 30 * 20),
        (np.sin, 600),
        (lambda x: np.sum(x, axis=1), 600),
        (lambda x: x.T[2:].reshape(-1), 0),
        (lambda x: np.linalg.solve(x[:, :20], x), round(2 * 20**3 / 3 + 2 * 20**2 * 30)),
        (lambda x: np.fft.fft(x), round(5 * 600 * np.log2(30))),
        (lambda x: np.sort(x, axis=0), round(600 * np.log2(20))),
        (lambda x: lax.scan(lambda c, _: (c * 2.0 + 1.0, None), x, np.ones(7))[0], 7 * 2 * 600),
        (lambda x: lax.cond(x[0, 0] > 0, lambda x: np.sin(np.sin(x)), np.cos, x), 2 * 600 + 1),
    ],
)
def test_counts(f: Callable[..., Any], count: int) -> None:
    graph = tg.jit(f).lower(X).graph
    assert sum(map(flops_of, graph.eqns)) == pytest.approx(count, abs=1)
