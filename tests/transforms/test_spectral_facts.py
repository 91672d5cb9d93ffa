"""What is known of values that a decomposition went into: programs that are spectral functions, and some that nearly are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

A = np.diag([1.0, 2.0, 3.0])

SPECTRAL: dict[str, Callable[[Any, Any], Any]] = {
    "scaled": lambda w, v: (v * w) @ v.T,
    "columns and their values": lambda w, v: (v[:, 1:] * w[1:]) @ v[:, 1:].T,
    "a diagonal": lambda w, v: v @ np.diag(np.exp(w)) @ v.T,
    "turned twice": lambda w, v: (v.T * w[:, None]).T @ v.T,
}
OTHERS: dict[str, Callable[[Any, Any], Any]] = {
    "scaled in rows": lambda w, v: (v * w[:, None]) @ v.T,
    "not turned": lambda w, v: (v * w) @ v,
    "columns and the values of others": lambda w, v: (v[:, 1:] * w[:2]) @ v[:, 1:].T,
    "rows in another order": lambda w, v: (v[::-1] * w) @ v.T,
    "columns of two decompositions": lambda w, v: (v * w) @ np.linalg.eigh(A + 1.0)[1].T,
}


def ops(f: Callable[[Any, Any], Any]) -> list[str]:
    return [e.op.name for e in tg.make_graph(lambda a: f(*np.linalg.eigh(a)))(A).eqns]


@pytest.mark.parametrize("name", SPECTRAL)
def test_what_is_a_spectral_function(name: str) -> None:
    assert ops(SPECTRAL[name])[-1] == "spectral"


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_none(name: str) -> None:
    assert "spectral" not in ops(OTHERS[name])
